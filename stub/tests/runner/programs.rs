//! Tasks that become programs, and that nothing of these is left.

use crate::lab::{Order, Ran, command, eventually, pool, task};
use serde_json::json;
use std::time::Duration;
use waft_proto::run::Status;

/// Asks for `argv`; when the answer comes back, prints it and exits with 9.
fn becomes(argv: &[&str], stdin: &str) -> Order {
    let request = json!({"argv": argv, "stdin": stdin, "replace": true}).to_string();
    let body = format!(
        "(call $write (i32.const 2) (i32.const 1024) (i32.const 1))
         (drop (call $exec (i32.const 1024) (i32.const {})))
         (call $show) (call $proc_exit (i32.const 9))",
        request.len()
    );
    task(command(&request, &body))
}

fn shell(script: &str) -> Order {
    becomes(&["/bin/sh", "-c", script], "").grant("exec:/bin/sh **")
}

/// Whether a process with this word among its arguments lives.
pub(crate) fn lives(word: &str) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    entries.flatten().any(|entry| {
        let numeric = entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        numeric && words.split(|byte| *byte == 0).any(|found| found == word.as_bytes())
    })
}

#[tokio::test]
async fn the_programs_output_and_code_are_the_tasks() {
    let ran = shell("echo out; echo err >&2; exit 4").run().await;
    assert_eq!((ran.outcome.status, ran.outcome.exit_code), (Status::Failed, Some(4)));
    assert_eq!((ran.stdout(), ran.stderr.as_slice()), ("out\n", &b"{err\n"[..]));
    assert_eq!((ran.outcome.stdout_bytes, ran.outcome.stderr_bytes), (4, 5));
    let good = shell("exit 0").run().await;
    assert_eq!((good.outcome.status, good.outcome.exit_code), (Status::Ok, Some(0)));
}

#[tokio::test]
async fn a_program_gets_its_input_and_a_bare_environment() {
    let long = "x".repeat(150_000);
    let ran = becomes(&["cat"], &long).grant("exec:cat").run().await;
    assert!(ran.stdout() == long, "{} bytes came back", ran.stdout.len());
    let env = becomes(&["env"], "").grant("exec:env").run().await;
    let mut names: Vec<_> = env.stdout().lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["LANG", "PATH"]);
    // Nothing of ours is open in it: standard descriptors, and the one that lists them.
    let files = becomes(&["/bin/ls", "/proc/self/fd"], "").grant("exec:/bin/ls **").run().await;
    assert_eq!(files.stdout().lines().count(), 4, "{}", files.stdout());
}

#[tokio::test]
async fn a_missing_grant_is_named_with_the_line_to_paste() {
    let ran = becomes(&["/bin/echo", "hello"], "").grant("exec:/bin/true").run().await;
    assert_eq!((ran.outcome.status, ran.code()), (Status::Refused, "grant.missing"));
    assert!(ran.message().contains("exec:/bin/echo hello"), "{}", ran.message());
    let hint = ran.outcome.problem.as_ref().and_then(|problem| problem.hint.clone()).unwrap_or_default();
    assert!(hint.contains("--allow") && hint.contains("exec:/bin/echo hello"), "{hint}");
    assert_eq!(ran.outcome.exit_code, Some(9), "the task went on and ended by itself");
    assert!(ran.stdout().contains("grant.missing"), "{}", ran.stdout());
}

#[tokio::test]
async fn a_dry_run_starts_only_probes() {
    let dry = becomes(&["/bin/echo", "hello"], "").grant("exec:/bin/echo *").check().run().await;
    assert_eq!((dry.outcome.status, dry.code()), (Status::Refused, "grant.check"));
    let probe = becomes(&["/bin/echo", "hello"], "").grant("exec:/bin/echo *:probe").check().run().await;
    assert_eq!((probe.outcome.status, probe.stdout()), (Status::Ok, "hello\n"));
}

#[tokio::test]
async fn a_program_that_cannot_start_is_answered() {
    let missing = becomes(&["/no/such/program"], "").grant("exec:/no/such/program").run().await;
    assert_eq!((missing.outcome.status, missing.outcome.exit_code), (Status::Failed, Some(9)));
    assert!(missing.stdout().contains("exec.start") && missing.stdout().contains("/no/such/program"));
    let plain = becomes(&["/etc/passwd"], "").grant("exec:/etc/passwd").run().await;
    assert!(plain.stdout().contains("Permission denied"), "{}", plain.stdout());
}

#[tokio::test]
async fn a_program_killed_by_a_signal_says_which() {
    let ran = shell("kill -TERM $$").run().await;
    assert_eq!(
        (ran.outcome.status, ran.outcome.signal, ran.code()),
        (Status::Failed, Some(15), "exec.signal")
    );
    assert_eq!(ran.outcome.exit_code, None);
}

#[tokio::test]
async fn the_output_of_a_program_is_limited_and_whole_up_to_there() {
    let ran = shell("head -c 1000000 /dev/zero").grant("out:300000").run().await;
    assert_eq!((ran.outcome.status, ran.stdout.len()), (Status::Ok, 300_000));
    assert_eq!((ran.outcome.stdout_bytes, ran.outcome.stdout_truncated), (1_000_000, true));
    let whole = shell("head -c 1000000 /dev/zero").run().await;
    assert_eq!((whole.stdout.len(), whole.outcome.stdout_truncated), (1_000_000, false));
}

/// A script that leaves a process with two below it in a session of its own, with `word` as an argument, and goes on when
/// they are there: until then one of them has the pipe open.
pub(crate) fn daemon(word: &str, then: &str) -> String {
    format!(
        "exec 4>&1; : $(setsid sh -c 'exec 3>&1 >&4; sleep 1000 3>&- & sleep 1000 3>&- & exec 3>&-; wait' {word} &); {then}"
    )
}

pub(crate) fn word(test: &str) -> String {
    format!("waft-{test}-{}", std::process::id())
}

#[tokio::test]
async fn at_the_deadline_everything_the_program_started_is_gone() {
    let word = word("deadline");
    let ran = shell(&daemon(&word, "echo there; sleep 1000")).timeout_ms(1_500).run().await;
    assert_eq!((ran.outcome.status, ran.stdout()), (Status::TimedOut, "there\n"));
    assert!(ran.outcome.ms < 6_000, "{} ms", ran.outcome.ms);
    assert!(!lives(&word));
}

#[tokio::test]
async fn a_daemon_that_keeps_the_pipes_does_not_hold_the_run() {
    let word = word("daemon");
    let ran = shell(&daemon(&word, "echo there; exit 3")).run().await;
    assert_eq!((ran.outcome.exit_code, ran.stdout()), (Some(3), "there\n"));
    assert!(ran.outcome.ms < 6_000, "{} ms", ran.outcome.ms);
    assert!(!lives(&word));
}

#[tokio::test]
async fn a_child_that_never_stops_writing_does_not_hide_that_the_program_ended() {
    let word = word("flood");
    let ran = shell(&format!("yes {word} & exit 3")).grant("out:1000").timeout_ms(20_000).run().await;
    assert_eq!((ran.outcome.status, ran.outcome.exit_code), (Status::Failed, Some(3)), "{:?}", ran.outcome);
    assert!(ran.stdout().starts_with(&word) && ran.outcome.stdout_truncated);
    assert!(!lives(&word));
}

#[tokio::test]
async fn a_child_that_ends_soon_after_the_program_is_heard() {
    let ran = shell("(sleep 0.05; echo late) & echo early").run().await;
    assert_eq!((ran.outcome.status, ran.stdout()), (Status::Ok, "early\nlate\n"));
}

#[tokio::test]
async fn a_run_that_is_given_up_takes_its_program_along() {
    let word = word("dropped");
    let pool = pool();
    let order = shell(&daemon(&word, "sleep 1000"));
    tokio::select! {
        _ = order.run_in(&pool) => panic!("it does not end by itself"),
        () = eventually("the daemon runs", || lives(&word)) => {}
    }
    eventually("the daemon is gone", || !lives(&word)).await;
}

#[tokio::test]
async fn the_worker_of_a_task_that_became_a_program_stays_warm() {
    let pool = pool();
    let order = shell("exit 0");
    order.run_in(&pool).await;
    let first = pool.idle();
    let again: Ran = order.run_in(&pool).await;
    assert_eq!((again.outcome.status, pool.idle()), (Status::Ok, first.clone()));
    assert_eq!(first.len(), 1);
    pool.shutdown().await;
    let gone = || first.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists());
    tokio::time::timeout(Duration::from_secs(5), eventually("the worker is gone", gone)).await.expect("soon");
}
