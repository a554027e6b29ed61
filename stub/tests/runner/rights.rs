//! What a task may reach.

use crate::lab::{command, task};
use waft_proto::run::Status;

/// Prints the name of its first preopened directory, makes `made` in it, exits with the error number.
fn makes_a_directory() -> String {
    command(
        "made",
        "(local $error i32)
         (local.set $error (call $prestat (i32.const 3) (i32.const 2000)))
         (if (local.get $error) (then (call $proc_exit (local.get $error))))
         (drop (call $dir_name (i32.const 3) (i32.const 70000) (i32.load (i32.const 2004))))
         (call $write (i32.const 1) (i32.const 70000) (i32.load (i32.const 2004)))
         (call $proc_exit (call $mkdir (i32.const 3) (i32.const 1024) (i32.const 4)))",
    )
}

#[tokio::test]
async fn a_granted_directory_stands_under_its_own_path() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("a plain path");
    let made = dir.path().join("made");

    let read = task(makes_a_directory()).grant(format!("fs:{path}")).run().await;
    assert_eq!(read.stdout(), path);
    assert_eq!(read.outcome.status, Status::Failed);
    assert!(!made.exists());

    let dry = task(makes_a_directory()).grant(format!("fs:{path}:rw")).check().run().await;
    assert_eq!((dry.outcome.status, dry.outcome.changes), (Status::Ok, 1), "{:?}", dry.outcome.problem);
    assert!(!made.exists());

    let write = task(makes_a_directory()).grant(format!("fs:{path}:rw")).run().await;
    assert_eq!((write.outcome.status, write.outcome.exit_code), (Status::Ok, Some(0)));
    assert!(made.is_dir());
}

#[tokio::test]
async fn without_a_grant_there_is_no_directory() {
    let ran = task(makes_a_directory()).run().await;
    // 8: no such descriptor.
    assert_eq!((ran.outcome.exit_code, ran.stdout()), (Some(8), ""));
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let ran = task(makes_a_directory()).grant("fs:/nowhere/at/all").run().await;
    assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, "task.dir"));
    assert!(ran.message().contains("/nowhere/at/all"), "{}", ran.message());
}

fn shows_facts() -> String {
    command(
        "{}",
        "(if (i32.lt_s (call $facts (i32.const 1024) (i32.const 2)) (i32.const 0)) (then unreachable)) (call $show)",
    )
}

#[tokio::test]
async fn facts_are_the_machines() {
    let ran = task(shows_facts()).grant("facts").run().await;
    assert_eq!(ran.outcome.status, Status::Ok, "{:?}", ran.outcome.problem);
    let facts: serde_json::Value = serde_json::from_str(ran.stdout()).expect("JSON");
    assert!(facts.as_object().is_some_and(|facts| !facts.is_empty()));
    assert!(facts.get("error").is_none());
}

#[tokio::test]
async fn a_refusal_that_a_task_survives_is_no_refusal() {
    let ran = task(shows_facts()).run().await;
    assert_eq!(ran.outcome.status, Status::Ok);
    let answer: serde_json::Value = serde_json::from_str(ran.stdout()).expect("JSON");
    assert_eq!(answer["error"]["code"], "grant.missing");
}

#[tokio::test]
async fn bad_addresses_are_told_and_ask_nothing() {
    // Beyond the memory; a length that runs over its end; no UTF-8; too long is more than the memory here.
    let ask = |request: &str| format!("(i32.add (call $facts {request}) (i32.const 100))");
    for (request, answer) in [
        ("(i32.const 900000) (i32.const 4)", -1),
        ("(i32.const 262140) (i32.const 8)", -1),
        ("(i32.const -1) (i32.const -1)", -1),
        ("(i32.const 1026) (i32.const 1)", -3),
    ] {
        let body =
            format!("(i32.store8 (i32.const 1026) (i32.const 255)) (call $proc_exit {})", ask(request));
        let ran = task(command("{}", &body)).grant("facts").run().await;
        assert_eq!(ran.outcome.exit_code, Some(100_u32.wrapping_add_signed(answer)), "{request}");
    }
    let long = "(drop (memory.grow (i32.const 100))) (call $proc_exit (i32.add (i32.const 100)
                  (call $facts (i32.const 0) (i32.const 1048577))))";
    assert_eq!(task(command("", long)).run().await.outcome.exit_code, Some(98));
    let take = "(call $proc_exit (i32.add (call $take (i32.const 262140) (i32.const 8)) (i32.const 100)))";
    assert_eq!(task(command("", take)).run().await.outcome.exit_code, Some(99));
}
