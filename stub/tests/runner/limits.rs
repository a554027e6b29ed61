//! What a task may use up.

use crate::lab::{asks, command, pool, task};
use serde_json::json;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use waft_proto::msg::Profile;
use waft_proto::run::Status;
use waft_stub::pool::JobEvent;

/// Writes 4096 bytes of zeros `times` times, or for ever.
fn flood(times: Option<u32>) -> String {
    let body = match times {
        Some(times) => format!(
            "(local $left i32) (local.set $left (i32.const {times}))
             (loop $more
               (call $write (i32.const 1) (i32.const 70000) (i32.const 4096))
               (local.set $left (i32.sub (local.get $left) (i32.const 1)))
               (br_if $more (local.get $left)))"
        ),
        None => "(loop $more (call $write (i32.const 1) (i32.const 70000) (i32.const 4096)) (br $more))"
            .to_owned(),
    };
    command("", &body)
}

#[tokio::test]
async fn output_beyond_the_limit_is_counted_and_dropped() {
    let ran = task(flood(Some(100))).grant("out:10000").run().await;
    assert_eq!(ran.outcome.status, Status::Ok);
    assert_eq!(ran.stdout.len(), 10_000);
    assert_eq!((ran.outcome.stdout_bytes, ran.outcome.stdout_truncated), (409_600, true));
    assert_eq!((ran.outcome.stderr_bytes, ran.outcome.stderr_truncated), (0, false));
}

#[tokio::test]
async fn output_of_exactly_the_limit_is_whole() {
    let ran = task(flood(Some(100))).grant("out:409600").run().await;
    assert_eq!((ran.stdout.len(), ran.outcome.stdout_truncated), (409_600, false));
}

#[tokio::test]
async fn a_flood_that_is_killed_is_known_to_be_truncated() {
    let ran = task(flood(None)).grant("out:10000").timeout_ms(500).run().await;
    assert_eq!(ran.outcome.status, Status::TimedOut);
    assert_eq!((ran.stdout.len(), ran.outcome.stdout_truncated), (10_000, true));
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_task() {
    let pool = pool();
    let (events, mut receiver) = mpsc::channel(1);
    let (_cancel, cancelled) = oneshot::channel();
    let order = task(flood(None)).grant("out:1G").timeout_ms(1_000);
    let run = pool.run(order.job().expect("a good order"), events, cancelled);
    let one = async {
        loop {
            if let JobEvent::Output { .. } = receiver.recv().await.expect("output comes") {
                break;
            }
        }
        // Far beyond the deadline, nobody takes a second one.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        loop {
            if let JobEvent::Done(outcome) = receiver.recv().await.expect("a Done comes") {
                return outcome;
            }
        }
    };
    let (outcome, ()) = tokio::join!(one, run);
    assert_eq!(outcome.status, Status::TimedOut);
    // The socket's own buffer is all that a flood of a second may fill.
    assert!(outcome.stdout_bytes < 1 << 20, "{} bytes went out", outcome.stdout_bytes);
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    // Grows until it may not, and exits with the number of MiB it has.
    let bomb = command(
        "",
        "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
         (call $proc_exit (i32.shr_u (memory.size) (i32.const 4)))",
    );
    for profile in [Profile::Fast, Profile::Small] {
        for (grant, mib) in [("mem:16M", 15), ("mem:64M", 63)] {
            let ran = task(bomb.clone()).profile(profile).grant(grant).run().await;
            assert_eq!((ran.outcome.status, ran.outcome.exit_code), (Status::Failed, Some(mib)), "{grant}");
        }
    }
    let unlimited = task(bomb).run().await;
    assert_eq!(unlimited.outcome.exit_code, Some(255), "256 MiB by default");
}

#[tokio::test]
async fn a_module_that_begins_too_large_is_told_so() {
    let wat = r#"(module (memory (export "memory") 300) (func (export "_start")))"#;
    let ran = task(wat).grant("mem:16M").run().await;
    assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, "limit.mem"));
    assert!(ran.message().contains("19660800"), "{}", ran.message());
    assert_eq!(task(wat).run().await.outcome.status, Status::Ok);
}

#[tokio::test]
async fn tables_end_at_their_limit() {
    let bomb = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1) (table $t 1 funcref)
      (func (export "_start")
        (loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 65536)) (i32.const -1))))
        (call $exit (i32.shr_u (table.size $t) (i32.const 16)))))"#;
    let ran = task(bomb).run().await;
    assert_eq!((ran.outcome.status, ran.outcome.exit_code), (Status::Failed, Some(15)));
    let huge = r#"(module (table 10000000 funcref) (func (export "_start")))"#;
    assert_eq!(task(huge).run().await.code(), "limit.mem");
}

#[tokio::test]
async fn one_long_call_does_not_outlive_the_deadline() {
    let body = "(drop (memory.grow (i32.const 3000)))
                (loop $again (drop (call $random_get (i32.const 0) (i32.const 60000000))) (br $again))";
    let ran = task(command("", body)).timeout_ms(300).run().await;
    assert_eq!(ran.outcome.status, Status::TimedOut);
    assert!(ran.outcome.ms < 5_000, "{} ms", ran.outcome.ms);
}

#[test]
fn every_limit_can_be_given() {
    for grant in ["time:1s", "files:9", "cpu:1s", "procs:5", "disk:1M", "mem:1M", "out:1M"] {
        assert!(task(command("", "")).grant(grant).job().is_ok(), "{grant}");
    }
}

/// A program that writes so many MiB to a file.
fn writes(dir: &std::path::Path, name: &str, mib: u32) -> (&'static str, String) {
    let (to, count) = (format!("of={}/{name}", dir.display()), format!("count={mib}"));
    let request = json!({"argv": ["dd", "if=/dev/zero", to, "bs=1M", count], "stderr": "null"});
    ("exec", request.to_string())
}

#[tokio::test]
async fn what_programs_write_to_disk_counts() {
    const TMPFS: i64 = 0x0102_1994;
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    if rustix::fs::statfs(dir).expect("a file system").f_type == TMPFS {
        eprintln!("SKIPPED ({} is in memory): what programs write to disk", dir.display());
        return;
    }
    let run = async |calls: &[_], limit: &str| {
        let ran = asks(calls).grant("exec:dd **").grant(limit).run().await;
        (ran.outcome.status, ran.code().to_owned(), ran.message().to_owned())
    };
    let (status, _, message) = run(&[writes(dir, "some", 2)], "disk:8M").await;
    assert_eq!(status, Status::Ok, "{message}");
    let (status, code, message) = run(&[writes(dir, "much", 64)], "disk:8M").await;
    assert_eq!((status, code.as_str()), (Status::Failed, "limit.disk"));
    assert!(message.contains("to disk than its 8M"), "{message}");
    // One after the other, each little: and the last one is over before anybody looks.
    let many: Vec<_> = (0..6).map(|at| writes(dir, &at.to_string(), 1)).collect();
    let (status, code, _) = run(&many, "disk:5M").await;
    assert_eq!((status, code.as_str()), (Status::Failed, "limit.disk"));
    let (status, _, message) = run(&many, "disk:16M").await;
    assert_eq!(status, Status::Ok, "{message}");
    // What a called task writes is its caller's.
    let callee = asks(&[writes(dir, "called", 4)]).wat;
    let call = ("task", json!({"name": "writer"}).to_string());
    let order = asks(&[call.clone(), call]).callee("writer", callee, &["exec:dd **"]).grant("call:writer");
    let ran = order.grant("exec:dd **").grant("disk:6M").run().await;
    assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, "limit.disk"), "{}", ran.message());
}

#[tokio::test]
async fn the_shorter_of_both_times_counts() {
    let ran = task(command("", "(loop $again (br $again))")).grant("time:200ms").run().await;
    assert_eq!(ran.outcome.status, Status::TimedOut);
    assert!((200..5_000).contains(&ran.outcome.ms), "{} ms", ran.outcome.ms);
}

#[tokio::test]
async fn a_task_that_spins_ends_at_its_processor_time() {
    let ran = task(command("", "(loop $again (br $again))")).grant("cpu:300ms").run().await;
    assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, "limit.cpu"));
    assert!(ran.message().contains("300ms"), "{}", ran.message());
    // Waiting costs nothing.
    let waits = asks(&[("exec", r#"{"argv":["sleep","0.4"]}"#.to_owned())]);
    let ran = waits.grant("exec:sleep *").grant("cpu:300ms").run().await;
    assert_eq!(ran.outcome.status, Status::Ok, "{}", ran.message());
}

#[tokio::test]
async fn programs_of_a_task_count_to_its_processor_time() {
    let script = "(while :; do :; done) & (while :; do :; done) & wait";
    for replace in [false, true] {
        let request = json!({"argv": ["sh", "-c", script], "replace": replace}).to_string();
        let ran = asks(&[("exec", request)]).grant("exec:sh **").grant("cpu:400ms").run().await;
        assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, "limit.cpu"), "{replace}");
    }
    // One after the other, each short.
    let one = json!({"argv": ["sh", "-c", "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"]}).to_string();
    let many: Vec<_> = (0..60).map(|_| ("exec", one.clone())).collect();
    let ran = asks(&many).grant("exec:sh **").grant("cpu:300ms").run().await;
    assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, "limit.cpu"));
}

#[tokio::test]
async fn more_programs_than_given_end_the_task() {
    let of = |number: u32, replace: bool| {
        let script = format!("for i in $(seq {number}); do sleep 1000 & done; wait");
        asks(&[("exec", json!({"argv": ["sh", "-c", script], "replace": replace}).to_string())])
            .grant("exec:sh **")
    };
    for replace in [false, true] {
        let ran = of(20, replace).grant("procs:8").run().await;
        assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, "limit.procs"), "{replace}");
    }
    // A shell and three of its children.
    let ran = of(3, false).grant("procs:8").timeout_ms(600).run().await;
    assert_eq!(ran.outcome.status, Status::TimedOut);
    let ran = of(1, false).grant("procs:0").run().await;
    assert_eq!(ran.answers()[0]["error"]["code"], "limit.procs");
}
