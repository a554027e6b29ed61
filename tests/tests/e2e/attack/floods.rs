//! Using up what there is: memory, tables, files, stack, output, processes, time.

use super::arena::{Arena, Attack, Place, held, shape};
use crate::library::Connected;
use serde_json::json;
use std::fs;
use std::time::Duration;
use waft::event::TargetResult;
use waft_proto::envelope::Wall;
use waft_proto::run::Status;
use waft_tests::Result;
use waft_tests::leak::LeakGuard;

/// What tasks without end are given, milliseconds.
const SHORT_MS: u64 = 400;
/// More than is written until somebody looks.
const FLOOD_MIB: u64 = 1024;
/// Open files of a task, and what its worker may have besides.
const FILES: u64 = 40;
const WORKERS_OWN_FILES: u64 = 24;

fn module(name: &str) -> Attack {
    let (params, timeout) = (json!({}), Duration::from_secs(30));
    Attack { wasm: shape(name), params, allow: Vec::new(), timeout, check: false }
}

fn code(result: &TargetResult) -> &str {
    result.problem.as_ref().map_or("", |problem| &problem.code)
}

fn message(result: &TargetResult) -> &str {
    result.problem.as_ref().map_or("", |problem| &problem.message)
}

/// Runs it, then looks whether everything stands.
fn each(
    arena: &Arena,
    link: &mut Connected,
    attack: Attack,
    check: impl Fn(&Place, &TargetResult),
) -> Result<()> {
    for (place, result) in arena.run(link, attack)? {
        check(place, &result);
    }
    arena.stands(link)
}

fn timed_out(place: &Place, result: &TargetResult) {
    assert_eq!(
        (result.status, code(result)),
        (Status::TimedOut, "task.timeout"),
        "{}: {result:?}",
        place.name
    );
    assert_eq!((result.exit_code, result.signal), (None, None), "{}", place.name);
}

#[test]
fn writing_to_disk_ends_at_its_limit() -> Result<()> {
    const LIMIT_MIB: u64 = 8;
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(Some("rw"))?;
    let writes =
        |mib: u64| arena.with(json!({"attack": "disk", "mib": mib})).allow(format!("disk:{LIMIT_MIB}M"));
    each(&arena, &mut link, writes(LIMIT_MIB / 2), |place, result| {
        assert_eq!(held(place, result)["files"], LIMIT_MIB * 2, "{}", place.name);
    })?;
    // A little more than it may; and a flood, of which it must not see the end.
    for mib in [LIMIT_MIB + 1, FLOOD_MIB] {
        each(&arena, &mut link, writes(mib), |place, result| {
            let said = (result.status, code(result));
            assert_eq!(said, (Status::Failed, "limit.disk"), "{}: {result:?}", place.name);
            assert!(message(result).contains("to disk than its 8M"), "{}: {}", place.name, message(result));
            let last = place.granted(&format!("flood-{}", FLOOD_MIB * 4 - 1));
            assert!(!last.exists(), "{}: all of the flood was written", place.name);
        })?;
        for place in &arena.places {
            for file in fs::read_dir(place.granted("")).expect("the directory").flatten() {
                if file.file_name().to_string_lossy().starts_with("flood-") {
                    fs::remove_file(file.path()).expect("removed");
                }
            }
        }
    }
    link.stop()?;
    guard.check()
}

#[test]
fn memory_tables_and_files_end_at_their_limits() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(Some("rw"))?;
    each(&arena, &mut link, arena.attack("memory").allow("mem:32M"), |place, result| {
        let mib = held(place, result)["mib"].as_u64();
        assert!((Some(30)..=Some(32)).contains(&mib), "{}: {mib:?} MiB", place.name);
    })?;
    each(&arena, &mut link, arena.attack("files").allow(format!("files:{FILES}")), |place, result| {
        let said = held(place, result);
        let opened = said["opened"].as_u64().unwrap_or(0);
        // This limit is one of the kernel's walls: without them only the account's own counts.
        let most = if place.wall == Wall::Required { FILES + WORKERS_OWN_FILES } else { u64::MAX };
        assert!((FILES / 2..=most).contains(&opened) && said["errno"] != 0, "{}: {said}", place.name);
    })?;
    each(&arena, &mut link, module("table-flood"), |place, result| {
        assert_eq!((result.status, result.exit_code), (Status::Ok, Some(0)), "{}: {result:?}", place.name);
    })?;
    for name in ["huge-memory", "huge-table", "many-tables"] {
        each(&arena, &mut link, module(name), |place, result| {
            assert_eq!(
                (result.status, code(result)),
                (Status::Failed, "limit.mem"),
                "{name}, {}",
                place.name
            );
            let said = message(result);
            assert!(said.contains("attacks") && said.contains("may have"), "{name}, {}: {said}", place.name);
        })?;
    }
    each(&arena, &mut link, module("no-memory"), |place, result| {
        assert_eq!(result.status, Status::Ok, "{}: {result:?}", place.name);
    })?;
    link.stop()?;
    guard.check()
}

#[test]
fn stack_and_time_end_at_their_limits() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(None)?;
    // The stack in memory, that of wasmtime, and none at all.
    let recursion = [
        (arena.attack("recursion"), "out of bounds"),
        (module("deep-recursion"), "stack"),
        (arena.attack("trap"), "unreachable"),
    ];
    for (attack, word) in recursion {
        each(&arena, &mut link, attack, |place, result| {
            assert_eq!((result.status, code(result)), (Status::Failed, "task.trap"), "{}", place.name);
            assert_eq!(result.signal, None, "{}: the worker itself died", place.name);
            assert!(message(result).contains(word), "{}: {}", place.name, message(result));
        })?;
    }
    for attack in
        [arena.attack("loop"), arena.attack("sleep"), module("begins-in-start"), module("tail-calls")]
    {
        each(&arena, &mut link, attack.timeout_ms(SHORT_MS), timed_out)?;
    }
    link.stop()?;
    guard.check()
}

#[test]
fn output_ends_at_its_limit() -> Result<()> {
    const LIMIT_BYTES: usize = 100_000;
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(None)?;
    for name in ["output", "log", "lines"] {
        let attack = arena.attack(name).allow(format!("out:{LIMIT_BYTES}")).timeout_ms(SHORT_MS);
        each(&arena, &mut link, attack, |place, result| {
            timed_out(place, result);
            let (out, log) = (result.stdout.len(), result.stderr.len());
            assert!(out <= LIMIT_BYTES && log <= LIMIT_BYTES, "{name}, {}: {out}, {log}", place.name);
            // Short lines may not fill it in this time.
            let full = match name {
                "output" => out == LIMIT_BYTES && result.stdout_cut,
                "log" => log == LIMIT_BYTES && result.stderr_cut,
                _ => out > 0 && log > 0,
            };
            assert!(full, "{name}, {}: {out}, {log}", place.name);
        })?;
    }
    link.stop()?;
    guard.check()
}

#[test]
fn programs_that_multiply_or_do_not_end_are_gone_at_the_deadline() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(None)?;
    let sleeps =
        arena.with(json!({"attack": "exec", "argv": ["/bin/sleep", "1000"]})).allow("exec:/bin/sleep *");
    each(&arena, &mut link, sleeps.timeout_ms(SHORT_MS), timed_out)?;
    // Each in a session of its own, orphaned, and started by one that is orphaned as well.
    let flood = "i=0; while [ $i -lt 30 ]; do (setsid setsid sleep 1000 &) & i=$((i+1)); done; echo all; exec sleep 1000";
    let flood =
        arena.with(json!({"attack": "exec", "argv": ["/bin/sh", "-c", flood]})).allow("exec:/bin/sh **");
    each(&arena, &mut link, flood.timeout_ms(4_000), |place, result| {
        timed_out(place, result);
        assert_eq!(result.stdout, b"all\n", "{}", place.name);
    })?;
    // Nothing was granted.
    let other =
        arena.with(json!({"attack": "exec", "argv": ["/bin/sh", "-c", "true"]})).allow("exec:/bin/sleep *");
    each(&arena, &mut link, other, |place, result| {
        let reply = held(place, result)["reply"].to_string();
        assert!(
            reply.contains("grant.missing") && reply.contains("exec:/bin/sh -c true"),
            "{}: {reply}",
            place.name
        );
    })?;
    link.stop()?;
    guard.check()
}
