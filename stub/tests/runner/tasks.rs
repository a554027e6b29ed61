//! Tasks that call tasks.

use crate::lab::{Order, asks, collect, command, eventually, pool, task};
use crate::programs::{daemon, lives, word};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use waft_proto::run::Status;
use waft_stub::pool::JobEvent;

fn call(name: &str) -> (&'static str, String) {
    ("task", json!({"name": name, "params": {"a": [1]}}).to_string())
}

/// Writes its stdin to stdout, one line to stderr, and one to the log.
fn echo() -> String {
    let log = r#"{"log":"logged"}"#;
    let body = format!(
        "(call $write (i32.const 2) (i32.const 1024) (i32.const 3))
         (drop (call $emit (i32.const 1027) (i32.const {})))
         (i32.store (i32.const 0) (i32.const 5000)) (i32.store (i32.const 4) (i32.const 1000))
         (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
         (call $write (i32.const 1) (i32.const 5000) (i32.load (i32.const 8)))",
        log.len()
    );
    command(&format!("hi\n{log}"), &body)
}

/// Asks for one thing, and answers with what it is told.
fn asking(function: &str, request: &Value) -> String {
    asks(&[(function, request.to_string())]).wat
}

fn calls(name: &str) -> Order {
    asks(&[call(name)]).grant(format!("call:{name}"))
}

#[tokio::test]
async fn a_task_is_called_with_parameters_and_answers() {
    let ran = calls("echo").callee("echo", echo(), &[]).run().await;
    let answer = &ran.answers()[0];
    assert_eq!(
        (&answer["status"], &answer["exit_code"], &answer["problem"]),
        (&"ok".into(), &0.into(), &Value::Null)
    );
    assert_eq!(answer["result"], json!({"a": [1]}));
    assert_eq!(
        (ran.stderr.as_slice(), ran.log.as_slice()),
        (&b"hi\n"[..], &b"logged\n"[..]),
        "these pass live"
    );
    assert_eq!(ran.recorded(), [("task", "")]);
    assert_eq!(ran.calls[0]["subject"], "echo");
}

#[tokio::test]
async fn what_a_called_task_says_is_told_as_it_is() {
    let text = command(
        "plain\n",
        "(call $write (i32.const 1) (i32.const 1024) (i32.const 6)) (call $proc_exit (i32.const 3))",
    );
    let ran = calls("other").callee("other", text, &[]).run().await;
    assert_eq!(ran.outcome.status, Status::Ok, "that the other failed is for the caller to judge");
    let answer = &ran.answers()[0];
    assert_eq!(
        (&answer["status"], &answer["exit_code"], &answer["stdout"]),
        (&"failed".into(), &3.into(), &"plain\n".into())
    );
    let changed =
        command(r#"{"changed":true}"#, "(call $write (i32.const 1) (i32.const 1024) (i32.const 16))");
    let ran = calls("other").callee("other", changed, &[]).run().await;
    assert_eq!(ran.answers()[0]["status"], "changed");
    let ran = calls("other").callee("other", command("", "unreachable"), &[]).run().await;
    assert_eq!(ran.answers()[0]["problem"]["code"], "task.trap");
    let flood = command(
        "x",
        "(loop $again (call $write (i32.const 1) (i32.const 1024) (i32.const 100000)) (br $again))",
    );
    let ran = calls("other").callee("other", flood, &["out:3M", "time:2s"]).grant("time:30s").run().await;
    let answer = &ran.answers()[0];
    assert_eq!((&answer["status"], &answer["stdout_truncated"]), (&"timed_out".into(), &true.into()));
}

#[tokio::test]
async fn nothing_is_called_without_a_grant_and_a_module() {
    let ran = asks(&[call("echo")]).callee("echo", echo(), &[]).run().await;
    assert_eq!(ran.answers()[0]["error"]["code"], "grant.missing");
    assert_eq!(ran.answers()[0]["error"]["hint"], "--allow call:echo");
    let ran = calls("echo").run().await;
    assert_eq!(ran.answers()[0]["error"]["code"], "task.missing");
    let ran = asks(&[("task", r#"{"name":"echo","params":[]}"#.to_owned())]).run().await;
    assert_eq!(ran.answers()[0]["error"]["code"], "task.request");
}

#[tokio::test]
async fn a_called_task_may_do_what_both_were_given() {
    let exec = asking("exec", &json!({"argv": ["echo", "x"]}));
    for (own, theirs, code) in [
        (&["exec:echo *"][..], &["exec:echo x"][..], ""),
        (&["exec:echo y"], &["exec:echo x"], "grant.missing"),
        (&[], &["exec:echo x"], "grant.missing"),
        (&["exec:echo *"], &[], "grant.missing"),
    ] {
        let mut order = calls("exec").callee("exec", exec.clone(), theirs);
        for grant in own {
            order = order.grant(*grant);
        }
        let ran = order.run().await;
        let result = &ran.answers()[0]["result"];
        assert_eq!(
            result["error"]["code"].as_str().unwrap_or_default(),
            code,
            "{own:?} {theirs:?}: {result}"
        );
        assert_eq!(ran.recorded(), [("exec", code), ("task", "")]);
    }
    // A dry run is one all the way down.
    let ran = calls("exec").callee("exec", exec, &["exec:echo x"]).grant("exec:echo *").check().run().await;
    assert_eq!(ran.answers()[0]["result"]["error"]["code"], "grant.check");
    let secret = asking("secret", &json!({"name": "s"}));
    let order = calls("s").callee("s", secret.clone(), &["secret:s"]).secret("s", *b"value!");
    let given = order.grant("secret:s").run().await;
    // It is told, and taken out of what is printed.
    assert_eq!(given.answers()[0]["result"], json!({"value": "[secret s]"}));
    let withheld = calls("s").callee("s", secret, &[]).secret("s", *b"value!").grant("secret:s").run().await;
    assert_eq!(withheld.answers()[0]["result"]["error"]["code"], "grant.missing");
}

#[tokio::test]
async fn calls_go_four_deep_and_no_deeper() {
    let own = asking("task", &json!({"name": "again"}));
    let ran = asks(&[call("again")]).grant("call:again").callee("again", own, &["call:again"]).run().await;
    let mut answer = ran.answers().remove(0);
    for _ in 0..3 {
        answer = answer["result"].clone();
    }
    assert_eq!(answer["result"]["error"]["code"], "task.depth", "{answer}");
}

#[tokio::test]
async fn one_execution_makes_sixty_four_calls() {
    let many: Vec<_> = (0..66).map(|_| call("other")).collect();
    let ran = asks(&many).grant("call:other").callee("other", command("", ""), &[]).run().await;
    let codes: Vec<_> =
        ran.answers().iter().map(|answer| answer["error"]["code"].as_str().map(str::to_owned)).collect();
    let many = Some("task.many".to_owned());
    assert!(codes[..64].iter().all(Option::is_none) && codes[64] == many && codes[65] == many, "{codes:?}");
}

#[tokio::test]
async fn the_deadline_of_the_caller_ends_all_of_them() {
    let word = word("nested");
    let script = daemon(&word, "echo there >&2; sleep 1000");
    let exec = asking("exec", &json!({"argv": ["sh", "-c", script], "stderr": "inherit"}));
    let order = calls("exec").callee("exec", exec, &["exec:sh **"]).grant("exec:sh **");
    let ran = order.timeout_ms(2_000).run().await;
    assert_eq!((ran.outcome.status, ran.stderr.as_slice()), (Status::TimedOut, &b"there\n"[..]));
    assert!(ran.recorded().contains(&("task", "task.timeout")), "{:?}", ran.calls);
    assert!(!lives(&word));
    eventually("no process is left", || waft_stub::process::below(std::process::id()).is_empty()).await;
}

#[tokio::test]
async fn a_cancelled_caller_ends_all_of_them() {
    let spins =
        command("x", "(call $write (i32.const 2) (i32.const 1024) (i32.const 1)) (loop $again (br $again))");
    let order = calls("spins").callee("spins", spins, &[]);
    let pool = pool();
    let (events, mut receiver) = mpsc::channel(1);
    let (cancel, cancelled) = oneshot::channel();
    let run = pool.run(order.job().expect("a good order"), events, cancelled);
    let watch = async {
        while !matches!(receiver.recv().await.expect("output"), JobEvent::Output { .. }) {}
        cancel.send(()).expect("it runs");
        collect(&mut receiver).await
    };
    let ((), ran) = tokio::join!(run, watch);
    assert_eq!(ran.outcome.status, Status::Cancelled);
    assert!(waft_stub::process::below(std::process::id()).is_empty(), "no worker is left");
    pool.shutdown().await;
}

#[tokio::test]
async fn what_a_called_task_uses_is_its_callers() {
    let spins = command("", "(loop $again (br $again))");
    let ran = calls("spins").callee("spins", spins.clone(), &[]).grant("cpu:300ms").run().await;
    assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, "limit.cpu"));
    let ran = calls("spins").callee("spins", spins, &["cpu:200ms"]).run().await;
    assert_eq!(ran.answers()[0]["problem"]["code"], "limit.cpu");
    assert_eq!(ran.outcome.status, Status::Ok);
    let traps = task(command("", "unreachable"));
    assert_eq!(traps.run().await.code(), "task.trap");
}
