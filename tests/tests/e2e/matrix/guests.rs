//! Guests that do not behave, run where they would do harm.

use super::{DEADLINE, PLACES, TARGET, held, target};
use std::path::PathBuf;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::waft::{Output, Waft};

/// A WASI command whose `_start` is `body`, as a file of the lab.
pub(super) fn module(lab: &Lab, name: &str, body: &str) -> PathBuf {
    written(lab, name, &command("", body))
}

fn command(more: &str, body: &str) -> String {
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 40)
          (data (i32.const 0) "\00\01\00\00\00\00\20\00")
          (func $flood (loop $more
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $more)))
          {more}
          (func (export "_start") {body}))"#
    )
}

fn written(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.dir.path().join(format!("{name}.wasm"));
    std::fs::write(&path, wat::parse_str(text).expect("good text")).expect("written");
    path
}

fn run(lab: &Lab, task: &PathBuf, more: &[&str]) -> Result<Output> {
    let waft = Waft::new("run")?.lab(lab).arg(task).args(["-t", TARGET, "--format", "jsonl"]);
    waft.args(more).limit(DEADLINE).run()
}

/// One subscription: a relative clock, an hour in nanoseconds.
const SLEEPS: &str = "(i32.store (i32.const 1016) (i32.const 1))
    (i64.store (i32.const 1024) (i64.const 3600000000000))
    (drop (call $poll (i32.const 1000) (i32.const 2000) (i32.const 1) (i32.const 3000)))";

#[test]
fn guests_that_never_end_are_timed_out() -> Result<()> {
    let guard = LeakGuard::start();
    let start = "(func $begin (loop $more (br $more))) (start $begin)";
    let cases = [
        ("loops", command("", "(loop $more (br $more))")),
        ("loops-in-its-start-function", command(start, "")),
        ("sleeps-for-an-hour", command("", SLEEPS)),
        ("floods", command("", "(call $flood)")),
    ];
    for place in PLACES {
        let lab = place.lab(target()).start()?;
        for (name, text) in &cases {
            let task = written(&lab, name, text);
            let output = run(&lab, &task, &["--timeout", "1s", "--allow", "out:1M"])?;
            let result = held(&format!("{place:?}, {name}"), &lab, output, &["timed_out"], 3)?;
            if *name == "floods" {
                let shown = result["stdout"].as_str().map(str::len);
                assert!(result["stdout_truncated"] == true && shown <= Some(1 << 20), "{name}: {shown:?}");
            }
        }
    }
    guard.check()
}

#[test]
fn exit_codes_that_are_not_a_guests_own_are_failures_with_the_number() -> Result<()> {
    let guard = LeakGuard::start();
    for place in PLACES {
        let lab = place.lab(target()).start()?;
        for (code, number) in [(126, 126_u32), (256, 256), (-1, u32::MAX)] {
            let task = module(&lab, "exits", &format!("(call $proc_exit (i32.const {code}))"));
            let result = held(&format!("{place:?}, {code}"), &lab, run(&lab, &task, &[])?, &["failed"], 3)?;
            assert_eq!(result["exit_code"], number, "{result}");
            let message = result["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains(&number.to_string()), "{result}");
        }
        let task = module(&lab, "traps", "(unreachable)");
        held(&format!("{place:?}, trap"), &lab, run(&lab, &task, &[])?, &["failed"], 3)?;
    }
    guard.check()
}

#[test]
fn output_that_is_too_much_for_a_result_is_only_output() -> Result<()> {
    let lab = super::Place::BehindABastion.lab(target()).start()?;
    // An object of 2 MiB: one byte "{", spaces, "}" at the end, written as one piece of memory.
    let fill = "(i32.store8 (i32.const 256) (i32.const 123))
        (memory.fill (i32.const 257) (i32.const 32) (i32.const 2097150))
        (i32.store8 (i32.const 2097407) (i32.const 125))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let task = module(&lab, "huge", fill);
    let result = held("a huge object", &lab, run(&lab, &task, &[])?, &["ok"], 0)?;
    assert!(result["result"].is_null(), "more than a MiB is no result");
    assert_eq!((&result["stdout_truncated"], &result["error"]), (&true.into(), &serde_json::Value::Null));
    // Escapes of a terminal are escapes of JSON here.
    let hostile = r#"(i64.store (i32.const 256) (i64.const 0x0a075d5b325b1b41))
        (i32.store (i32.const 4) (i32.const 8))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"#;
    let output = run(&lab, &module(&lab, "hostile", hostile), &[])?;
    assert!(!output.finished.stdout.contains(&0x1b), "no escape reaches stdout");
    held("escapes", &lab, output, &["ok"], 0)?;
    Ok(())
}
