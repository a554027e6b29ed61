//! Tasks that call tasks, on a node that compiles them itself: each is judged by its own rule.

use super::rig::{Rig, envelope};
use super::{Place, WHO};
use crate::attack::arena::attacks;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use waft::compile::{Cache, artifact};
use waft_policy::site::key_text;
use waft_proto::envelope::{Artifact, Callee, FileBlob};
use waft_proto::id::Hash;
use waft_proto::msg::{Arch, BlobKind, Engine, Profile};
use waft_proto::run::Status;
use waft_tests::waft::{Output, binary};
use waft_tests::{Error, Result, need_root};

const CALLER: &str = r#"
[[rule]]
name = "caller"
tasks = ["caller"]
grants = ["given"]
"#;
const INNER: &str = r#"
[[rule]]
name = "inner"
tasks = ["inner"]
grants = ["facts"]
"#;

/// `caller` calls `inner`, which asks for facts.
fn run(place: &Place, rules: &str) -> Result<Output> {
    place.policy(&format!("precompiled = \"deny\"\n{}{rules}", place.controller()?))?;
    let params = json!({"attack": "call", "function": "facts", "request": "{}"});
    let request = json!({"name": "inner", "params": params});
    let waft = place
        .waft(&["run"])?
        .env("WAFT_PATH", place.dir.path())
        .arg(place.path("caller.wasm"))
        .lab(&place.lab);
    let waft = waft.args(["-t", "web1", "--format", "jsonl", "--allow", "call:inner", "--allow", "facts"]);
    waft.args(["-p", "attack=call", "-p", "function=task", "-p"]).arg(format!("request={request}")).run()
}

fn reply(result: &Value) -> Value {
    serde_json::from_str(result["result"]["reply"].as_str().unwrap_or_default()).unwrap_or_default()
}

#[test]
fn a_called_task_is_compiled_on_the_node_and_judged_by_a_rule_of_its_own() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    for name in ["caller.wasm", "inner.wasm"] {
        fs::write(place.path(name), attacks()?).expect("written");
    }
    let good = run(&place, &format!("{CALLER}{INNER}"))?.expect_code(0)?.result_of("web1")?;
    assert_eq!(good["policy"], "enforced");
    assert!(reply(&reply(&good))["kernel"].is_string(), "{good}");
    let output = run(&place, CALLER)?;
    let refused = reply(&output.result_of("web1")?);
    assert_eq!(refused["error"]["code"], "policy.no_rule", "{output}");
    Ok(())
}

/// An approval does not name tasks that are called: what nodes refuse, the controller refuses before.
#[test]
fn a_run_with_called_tasks_cannot_be_approved() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    for name in ["caller.wasm", "inner.wasm"] {
        fs::write(place.path(name), attacks()?).expect("written");
    }
    let waft = place
        .waft(&["run"])?
        .env("WAFT_PATH", place.dir.path())
        .arg(place.path("caller.wasm"))
        .lab(&place.lab);
    let request = place.path("request").display().to_string();
    let waft = waft.args(["-t", "web1", "--allow", "call:inner", "--approval-request", &request]);
    let output = waft.run()?.expect_code(2)?;
    assert!(output.stderr().contains("`call:inner` lets this run call another task"), "{output}");
    assert!(!place.path("request").exists());
    Ok(())
}

/// Says a word of seven letters.
fn says(word: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "\10\00\00\00\07\00\00\00")
          (data (i32.const 16) "{word}")
          (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    );
    wat::parse_str(text).expect("a module")
}

/// Calls `inner`, and prints what it is answered.
const CALLS: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "waft_v1" "task" (func $task (param i32 i32) (result i32)))
  (import "waft_v1" "take" (func $take (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\"name\":\"inner\"}")
  (func (export "_start") (local $length i32)
    (local.set $length (call $task (i32.const 1024) (i32.const 16)))
    (drop (call $take (i32.const 4096) (local.get $length)))
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// A controller that is let in names, for an honest module, code of another one, and sends that code as a file, which the
/// node takes.
#[test]
fn code_that_comes_as_a_file_is_not_what_a_called_task_was_compiled_to() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let controller = SigningKey::from_bytes(&[42; 32]);
    let known = key_text(&controller.verifying_key().to_bytes());
    place.policy(&format!(
        "precompiled = \"deny\"\n[[controller]]\nname = \"{WHO}\"\nkey = \"{known}\"\n[[rule]]\nname = \"all\"\ngrants = [\"given\"]\n"
    ))?;
    let mut rig = Rig::connect(&place, &controller)?;
    assert!(rig.hello.compiles);
    let (caller, honest): (Vec<u8>, _) = (wat::parse_str(CALLS).expect("a module"), says("honest!"));
    let engine = Engine { arch: Arch::here().expect("an engine for here"), profile: Profile::Fast };
    let wasm: Arc<[u8]> = says("forged!").into();
    let cache = Cache::new(None).compiler(binary()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let code = runtime.block_on(artifact(&cache, "forged", &wasm, engine.arch, engine.profile));
    let code = code.map_err(|problem| Error::new(problem.message))?;
    for module in [&caller, &honest] {
        rig.offer(BlobKind::Task, module);
    }
    let (hash, bytes) = (rig.offer(BlobKind::File, &code), code.len() as u64);
    let mut envelope = envelope(Hash::of(&caller), Vec::new());
    envelope.grants = vec!["call:inner".to_owned()];
    envelope.files = vec![FileBlob { hash, bytes }];
    envelope.callees = vec![Callee {
        name: "inner".to_owned(),
        module: Hash::of(&honest),
        artifacts: vec![Artifact { engine, hash, bytes, worker: None }],
        grants: Vec::new(),
    }];
    let (outcome, stdout) = rig.order(&envelope.seal(&controller).expect("sealed"))?;
    assert_eq!(outcome.status, Status::Ok, "{outcome:?}");
    assert!(stdout.contains("honest!") && !stdout.contains("forged!"), "{stdout}");
    Ok(())
}
