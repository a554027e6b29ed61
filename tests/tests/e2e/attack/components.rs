//! The same attacks by a component, whose files are WASI 0.2's.

use super::arena::{Arena, Attack, held};
use crate::component::made::guest;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use waft::event::TargetResult;
use waft_proto::run::Status;
use waft_tests::Result;
use waft_tests::leak::LeakGuard;

fn attack(wasm: &Arc<[u8]>, params: Value) -> Attack {
    let timeout = Duration::from_secs(30);
    Attack { wasm: Arc::clone(wasm), params, allow: Vec::new(), timeout, check: false }
}

fn code(result: &TargetResult) -> &str {
    result.problem.as_ref().map_or("", |problem| &problem.code)
}

fn message(result: &TargetResult) -> &str {
    result.problem.as_ref().map_or("", |problem| &problem.message)
}

#[test]
fn a_component_gets_no_further_than_its_directory() -> Result<()> {
    let arena = Arena::new()?;
    let wasm = guest()?;
    let attack = |name: &str| attack(&wasm, json!({ "attack": name }));
    let guard = LeakGuard::start();
    for (access, name) in [("rw", "escape"), ("ro", "read-only")] {
        let mut link = arena.connect(Some(access))?;
        let before: Vec<_> = arena.places.iter().map(|place| place.snapshot()).collect::<Result<_>>()?;
        for (place, result) in arena.run(&mut link, attack("cat"))? {
            assert_eq!(held(place, &result)["text"], "inside", "{}", place.name);
        }
        for (place, result) in arena.run(&mut link, attack(name))? {
            let said = held(place, &result);
            assert!(said["tried"].as_u64() > Some(10), "{}: {said}", place.name);
        }
        for (place, before) in arena.places.iter().zip(&before) {
            let diff = before.diff(&place.snapshot()?);
            assert!(diff.is_empty(), "{}: {diff}", place.name);
        }
        // Not granted, there is nothing.
        link.stop()?;
    }
    let mut link = arena.connect(None)?;
    for (place, result) in arena.run(&mut link, attack("cat"))? {
        assert_eq!(result.status, Status::Ok, "{}: {result:?}", place.name);
        assert_eq!(result.result.as_ref().map(|said| &said["text"]), Some(&json!(null)), "{}", place.name);
    }
    link.stop()?;
    guard.check()
}

#[test]
fn no_call_of_a_component_reaches_what_was_not_granted() -> Result<()> {
    let arena = Arena::new()?;
    let wasm = guest()?;
    let guard = LeakGuard::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    listener.set_nonblocking(true).expect("it does not wait");
    let mut link = arena.connect(Some("rw"))?;
    let call = |name: &str, request: Value| {
        attack(&wasm, json!({ "attack": "call", "call": name, "request": request }))
    };
    let connect = json!({ "op": "open", "host": "127.0.0.1", "port": port });
    let is_refused = |at: &str, what: &Value, result: &TargetResult, codes: &[&str]| {
        let answer = held_answer(at, result);
        let code = answer["error"]["code"].as_str().unwrap_or_default();
        assert!(codes.contains(&code), "{at}: {what}: {answer}");
    };
    for (name, allow) in [("no address", None), ("another address", Some("net:127.0.0.1:1"))] {
        let mut attack = call("net", connect.clone());
        attack.allow.extend(allow.map(str::to_owned));
        for (place, result) in arena.run(&mut link, attack)? {
            is_refused(&format!("{}, {name}", place.name), &connect, &result, &["grant.missing"]);
        }
    }
    assert!(listener.accept().is_err(), "somebody came");
    // It is granted, or this proves nothing.
    for (place, result) in
        arena.run(&mut link, call("net", connect).allow(format!("net:127.0.0.1:{port}")))?
    {
        let answer = held_answer(&place.name, &result);
        assert!(answer["error"].is_null() && answer["handle"].is_number(), "{}: {answer}", place.name);
    }
    assert!(listener.accept().is_ok(), "nobody came");
    // Each place has paths of its own; those of the others are not granted either.
    for place in &arena.places {
        let (inside, outside) = (place.granted("file"), place.outside("file"));
        let above = place.granted("../outside/file");
        for path in [&outside, &above] {
            for request in [
                json!({ "op": "stat", "path": path }),
                json!({ "op": "chmod", "path": path, "mode": "0777" }),
                json!({ "op": "rename", "path": path, "to": place.granted("stolen") }),
                json!({ "op": "symlink", "path": place.outside("dir/new"), "target": "x" }),
            ] {
                for (at, result) in arena.run(&mut link, call("file", request.clone()))? {
                    is_refused(&at.name, &request, &result, &["grant.missing", "file.escape"]);
                }
            }
        }
        let stat = json!({ "op": "stat", "path": inside });
        for (at, result) in arena.run(&mut link, call("file", stat))? {
            let answer = held_answer(&at.name, &result);
            assert_eq!(answer["error"].is_null(), at.name == place.name, "{}: {answer}", at.name);
        }
    }
    arena.stands(&mut link)?;
    link.stop()?;
    drop(listener);
    guard.check()
}

fn held_answer(at: &str, result: &TargetResult) -> Value {
    let said = result.result.clone().unwrap_or_default();
    assert_eq!(result.status, Status::Ok, "{at}: {:?} {said}", result.problem);
    said["answer"].clone()
}

/// Texts and lists of a component are an address and a length, and so is the room for an answer.
#[test]
fn addresses_outside_of_its_memory_end_a_component() -> Result<()> {
    /// Of 4 GiB: more than any memory here has.
    const BEYOND: u32 = 0xffff_ff00;
    let arena = Arena::new()?;
    let wasm = guest()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(None)?;
    let astray = |call: &str, change: Value| {
        let mut params = json!({ "attack": "astray", "call": call });
        for (name, value) in change.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        // Granted: a trap after a refusal is told as the refusal.
        attack(&wasm, params).allow("facts")
    };
    for (place, result) in arena.run(&mut link, astray("facts", json!({})))? {
        let answer = held_answer(&place.name, &result);
        let facts = answer["text"].as_str().unwrap_or_default();
        assert!(facts.contains("\"kernel\""), "{}: {answer}", place.name);
    }
    for (place, result) in arena.run(&mut link, astray("write", json!({})))? {
        let answer = held_answer(&place.name, &result);
        assert!(answer["error"]["code"].is_string(), "{}: {answer}", place.name);
    }
    for (call, change) in [
        ("facts", json!({ "address": BEYOND })),
        ("facts", json!({ "address": u32::MAX, "length": u32::MAX })),
        ("facts", json!({ "length": 0x7fff_ffff })),
        ("facts", json!({ "no_text": true })),
        ("facts", json!({ "area": BEYOND })),
        ("facts", json!({ "area": 0x10001 })),
        ("facts", json!({ "answers": BEYOND })),
        ("exec", json!({ "answers": u32::MAX })),
        ("write", json!({ "address": BEYOND })),
        ("write", json!({ "length": u32::MAX })),
        ("write", json!({ "area": u32::MAX })),
    ] {
        for (place, result) in arena.run(&mut link, astray(call, change.clone()))? {
            let what = format!("{}, {call}, {change}", place.name);
            assert_eq!((result.status, code(&result)), (Status::Failed, "task.trap"), "{what}: {result:?}");
            assert_eq!(result.signal, None, "{what}: the worker itself died");
        }
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}

/// A component of so many core instances, each of this module, that would say nothing.
fn many(instances: usize, module: &str) -> Arc<[u8]> {
    let instances = "(core instance (instantiate $more))".repeat(instances);
    let text = format!(
        r#"(component
            (core module $more {module})
            (core module $m (func (export "run") (result i32) (i32.const 0)))
            {instances}
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $out (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $out)))"#
    );
    wat::parse_str(text).expect("a component").into()
}

/// A component in which each level instantiates the one below it twice: 50 bytes more for twice as many instances.
fn doubled(levels: u32) -> Arc<[u8]> {
    let innermost = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    let nested = (0..levels).fold(innermost, |inner, level| {
        let twice = format!("(instance (instantiate $c{level}))").repeat(2);
        format!("(component $c{} {inner} {twice})", level + 1)
    });
    let text = format!(
        r#"(component {nested} (instance (instantiate $c{levels}))
            (core module $m (func (export "run") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $out (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $out)))"#
    );
    wat::parse_str(text).expect("a component").into()
}

/// As `stub/src/worker/component.rs` has them: instances with that of `many` itself.
#[test]
fn instances_memories_and_tables_of_a_component_end_at_their_limits() -> Result<()> {
    const INSTANCES: usize = 64;
    const MEMORIES: usize = 16;
    const TABLES: usize = 32;
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(None)?;
    let four = "(table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref)";
    let large = "(table 0x30_0000 funcref)";
    let begins = "(table 10000 funcref) (func $s (loop $more (drop (table.grow (ref.null func) (i32.const 10000))) (br $more))) (start $s)";
    for (what, wasm, word) in [
        ("instances", many(INSTANCES, ""), "instance"),
        ("instances that double", doubled(10), "instance"),
        ("memories", many(MEMORIES + 1, "(memory 0)"), "memory"),
        ("tables", many(TABLES / 4 + 1, four), "table"),
        ("what memories have together", many(MEMORIES, "(memory 0x1000)"), "memory"),
        ("what tables have together", many(TABLES, large), "table"),
    ] {
        for (place, result) in arena.run(&mut link, attack(&wasm, json!({})))? {
            let said = message(&result);
            assert_eq!(result.status, Status::Failed, "{what}, {}: {result:?}", place.name);
            assert!(["task.trap", "limit.mem"].contains(&code(&result)), "{what}, {}: {said}", place.name);
            assert!(said.contains(word), "{what}, {}: {said}", place.name);
            assert_eq!(result.signal, None, "{what}, {}: the worker itself died", place.name);
        }
    }
    for (what, wasm) in [
        ("instances", many(INSTANCES - 1, "")),
        ("memories", many(MEMORIES, "(memory 0)")),
        ("tables", many(TABLES / 4, four)),
    ] {
        for (place, result) in arena.run(&mut link, attack(&wasm, json!({})))? {
            assert_eq!(result.status, Status::Ok, "{what}, {}: {result:?}", place.name);
        }
    }
    let wasm = many(1, begins);
    for (place, result) in arena.run(&mut link, attack(&wasm, json!({})).timeout_ms(400))? {
        assert_eq!(
            (result.status, code(&result)),
            (Status::TimedOut, "task.timeout"),
            "{}: {result:?}",
            place.name
        );
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}
