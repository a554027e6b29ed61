//! Programs that a task waits for: what it is told, what it is refused, and that nothing of them is left.

use crate::lab::{Order, asks, collect, eventually, pool};
use crate::programs::{daemon, lives, word};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use waft_proto::msg::Stream;
use waft_proto::run::Status;
use waft_stub::pool::JobEvent;

/// A task that asks for these programs one after the other. Shells are granted.
fn execs(requests: &[Value]) -> Order {
    let calls: Vec<_> = requests.iter().map(|request| ("exec", request.to_string())).collect();
    asks(&calls).grant("exec:sh **")
}

fn shell(script: &str) -> Value {
    json!({"argv": ["sh", "-c", script]})
}

/// The same with more fields.
fn with(mut request: Value, fields: Value) -> Value {
    let fields = fields.as_object().expect("an object").clone();
    request.as_object_mut().expect("an object").extend(fields);
    request
}

async fn one(request: Value) -> Value {
    execs(&[request]).run().await.answers().remove(0)
}

fn without_ms(mut answer: Value) -> Value {
    answer.as_object_mut().and_then(|answer| answer.remove("ms")).expect("it took some time");
    answer
}

#[tokio::test]
async fn a_task_is_told_how_a_program_ended() {
    let requests = [shell("echo out; echo err >&2; exit 4"), shell("kill -TERM $$"), shell("printf '\\377'")];
    let ran = execs(&requests).run().await;
    assert_eq!(ran.outcome.status, Status::Ok, "the task goes on after each");
    let answers: Vec<_> = ran.answers().into_iter().map(without_ms).collect();
    let told = |code: Value, signal: Value, out: Value, err: &str| {
        let rest = json!({"exit_code": code, "signal": signal, "timed_out": false, "stdout_truncated": false,
            "stderr": err, "stderr_truncated": false});
        with(rest, out)
    };
    let null = Value::Null;
    assert_eq!(answers[0], told(4.into(), null.clone(), json!({"stdout": "out\n"}), "err\n"));
    assert_eq!(answers[1], told(null.clone(), 15.into(), json!({"stdout": ""}), ""));
    assert_eq!(answers[2], told(0.into(), null, json!({"stdout_base64": "/w=="}), ""));
    assert_eq!(ran.recorded(), [("exec", ""); 3]);
    assert_eq!(ran.calls[1]["subject"], "sh -c kill -TERM $$");
}

#[tokio::test]
async fn input_directory_and_variables_are_the_requests() {
    let cat = |input: Value| with(json!({"argv": ["sh", "-c", "od -An -tx1"]}), input);
    assert_eq!(one(cat(json!({"stdin": "ab"}))).await["stdout"], " 61 62\n");
    assert_eq!(one(cat(json!({"stdin_base64": "AP8="}))).await["stdout"], " 00 ff\n");
    let long = "x".repeat(60_000);
    assert_eq!(one(with(shell("wc -c"), json!({"stdin": long}))).await["stdout"], "60000\n");
    assert_eq!(one(with(shell("pwd"), json!({"cwd": "/usr/bin"}))).await["stdout"], "/usr/bin\n");
    for (cwd, why) in [("/no/such/dir", "No such file"), ("/etc/passwd", "not a directory")] {
        let answer = one(with(shell("pwd"), json!({"cwd": cwd}))).await;
        assert_eq!(answer["error"]["code"], "exec.cwd", "{answer}");
        let text = answer["error"]["message"].as_str().expect("a sentence");
        assert!(text.contains(cwd) && text.contains(why), "{text}");
    }
    let env = with(shell("echo $WAFT_A:$PATH"), json!({"env": {"WAFT_A": "a b"}}));
    let given = execs(std::slice::from_ref(&env)).grant("env:WAFT_A").run().await;
    assert!(given.answers()[0]["stdout"].as_str().expect("text").starts_with("a b:/usr/local/sbin:"));
    let refused = execs(&[env]).run().await;
    assert_eq!(refused.answers()[0]["error"]["code"], "grant.missing");
    assert_eq!(refused.answers()[0]["error"]["hint"], "--allow env:WAFT_A");
    assert_eq!(refused.recorded(), [("exec", "grant.missing")]);
    let loader = execs(&[with(shell(":"), json!({"env": {"LD_PRELOAD": "/x.so"}}))]).run().await;
    assert_eq!(loader.answers()[0]["error"]["code"], "grant.missing");
}

#[tokio::test]
async fn what_is_not_granted_is_not_started() {
    let ran = execs(&[json!({"argv": ["/bin/echo", "x"]}), shell("echo after")]).run().await;
    assert_eq!(ran.answers()[0]["error"]["code"], "grant.missing");
    assert_eq!(ran.answers()[1]["stdout"], "after\n");
    assert_eq!(ran.recorded(), [("exec", "grant.missing"), ("exec", "")]);
    let dry = execs(&[shell("echo x")]).check().run().await;
    assert_eq!(dry.answers()[0]["error"]["code"], "grant.check");
}

#[tokio::test]
async fn captured_streams_have_a_limit_of_their_own() {
    let flood = shell("head -c 3000000 /dev/zero | tr '\\0' x; head -c 100 /dev/zero >&2");
    let answer = one(flood.clone()).await;
    assert_eq!(answer["stdout"].as_str().map(str::len), Some(64 << 10));
    assert_eq!((&answer["stdout_truncated"], &answer["stderr_truncated"]), (&true.into(), &false.into()));
    let answer = one(with(flood.clone(), json!({"limit_bytes": 7}))).await;
    assert_eq!((answer["stdout"].as_str(), &answer["stderr_truncated"]), (Some("xxxxxxx"), &true.into()));
    let most =
        with(shell("head -c 3000000 /dev/urandom | tee /dev/stderr"), json!({"limit_bytes": 512 << 10}));
    let answer = one(most).await;
    assert_eq!(answer["stdout_base64"].as_str().map(str::len), Some((512usize << 10).div_ceil(3) * 4));
    let gone = one(with(flood, json!({"stdout": "null", "stderr": "null"}))).await;
    assert!(gone.get("stdout").is_none() && gone.get("stderr").is_none(), "{gone}");
    assert_eq!(gone["exit_code"], 0);
}

#[tokio::test]
async fn inherited_output_is_the_tasks_own_and_in_order() {
    let inherit = |script| with(shell(script), json!({"stdout": "inherit", "stderr": "inherit"}));
    let ran = execs(&[inherit("echo one; echo err >&2"), inherit("echo two"), shell("echo no")]).run().await;
    let text = ran.stdout();
    let places: Vec<_> = ["one\n", "exit_code", "two\n"].iter().map(|part| text.find(part)).collect();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{text}");
    assert_eq!(ran.stderr, b"err\n");
    assert_eq!(ran.outcome.stderr_bytes, 4, "it counts as the task's");
    let limited = execs(&[inherit("head -c 9000 /dev/zero")]).grant("out:1000").run().await;
    assert!(limited.outcome.stdout_truncated && limited.stdout.len() == 1000);
}

#[tokio::test]
async fn inherited_output_comes_while_the_program_runs() {
    let order = execs(&[with(shell("echo there; sleep 1000"), json!({"stdout": "inherit"}))]);
    let pool = pool();
    let (events, mut receiver) = mpsc::channel(1);
    let (cancel, cancelled) = oneshot::channel();
    let run = pool.run(order.job().expect("a good order"), events, cancelled);
    let watch = async {
        loop {
            match receiver.recv().await.expect("output before the end") {
                JobEvent::Output { stream: Stream::Stdout, bytes } => {
                    assert_eq!(bytes, b"there\n");
                    break;
                }
                JobEvent::Ready | JobEvent::Running => {}
                other => panic!("{other:?}"),
            }
        }
        cancel.send(()).expect("it still runs");
        collect(&mut receiver).await
    };
    let ((), ran) = tokio::join!(run, watch);
    assert_eq!(ran.outcome.status, Status::Cancelled);
    assert_eq!(ran.recorded(), [("exec", "task.cancelled")]);
    pool.shutdown().await;
}

#[tokio::test]
async fn a_program_has_a_deadline_of_its_own() {
    let word = word("own-deadline");
    let late = with(shell(&daemon(&word, "echo there; sleep 1000")), json!({"timeout_ms": 1500}));
    let ran = execs(&[late, shell("echo after")]).run().await;
    let answers = ran.answers();
    assert_eq!((ran.outcome.status, answers.len()), (Status::Ok, 2));
    assert_eq!((&answers[0]["timed_out"], &answers[0]["exit_code"]), (&true.into(), &Value::Null));
    assert_eq!((&answers[0]["stdout"], &answers[0]["signal"]), (&"there\n".into(), &9.into()));
    assert_eq!(answers[1]["stdout"], "after\n");
    assert!(!lives(&word), "also what called setsid is gone");
}

#[tokio::test]
async fn a_program_that_floods_does_not_outlive_its_deadline() {
    let ran = execs(&[with(shell("cat /dev/zero"), json!({"timeout_ms": 300}))]).run().await;
    assert_eq!(
        (&ran.answers()[0]["timed_out"], &ran.answers()[0]["stdout_truncated"]),
        (&true.into(), &true.into())
    );
}

#[tokio::test]
async fn the_deadline_of_the_task_ends_its_program() {
    let word = word("task-deadline");
    let ran = execs(&[shell(&daemon(&word, "sleep 1000"))]).timeout_ms(1_500).run().await;
    assert_eq!((ran.outcome.status, ran.stdout()), (Status::TimedOut, ""));
    assert_eq!(ran.recorded(), [("exec", "task.timeout")]);
    assert!(!lives(&word));
}

#[tokio::test]
async fn a_daemon_is_gone_when_its_program_is() {
    let word = word("left");
    let ran =
        execs(&[shell(&daemon(&word, "echo there")), shell(&format!("pgrep -f {word} | wc -l"))]).run().await;
    assert_eq!(ran.answers()[0]["stdout"], "there\n");
    // The second sees itself and nobody else.
    assert!(
        ran.answers()[1]["stdout"]
            .as_str()
            .is_some_and(|count| count.trim().parse::<u32>().is_ok_and(|count| count <= 2))
    );
    assert!(!lives(&word));
}

#[tokio::test]
async fn many_programs_one_after_another() {
    let many: Vec<_> = (0..40).map(|at| shell(&format!("exit {at}"))).collect();
    let ran = execs(&many).run().await;
    let codes: Vec<_> = ran.answers().iter().map(|answer| answer["exit_code"].as_u64()).collect();
    assert_eq!(codes, (0..40).map(Some).collect::<Vec<_>>());
    assert_eq!(ran.calls.len(), 40);
    eventually("no supervisor is left", || waft_stub::process::below(std::process::id()).is_empty()).await;
}

#[tokio::test]
async fn root_may_start_a_program_as_somebody_else() {
    let id = |user: Value| {
        with(
            shell("id -u; id -g; id -G; cat /proc/self/status | grep -c 'CapEff:.0*$'"),
            json!({"user": user}),
        )
    };
    if rustix::process::getuid().is_root() {
        for user in [json!("daemon"), json!(1), json!("1")] {
            let answer = one(id(user)).await;
            assert_eq!(answer["stdout"], "1\n1\n1\n1\n", "{answer}");
        }
        let unnamed = one(id(json!(54_321))).await;
        assert_eq!(unnamed["stdout"], "54321\n54321\n54321\n1\n", "{unnamed}");
        // Its directory is entered as the user.
        let closed = with(id(json!("daemon")), json!({"cwd": "/root"}));
        let closed = one(closed).await;
        println!("{closed}");
        let word = word("other-user");
        let late = with(shell(&daemon(&word, "sleep 1000")), json!({"user": 1, "timeout_ms": 1500}));
        assert_eq!(one(late).await["timed_out"], true);
        assert!(!lives(&word));
    } else {
        println!("SKIPPED: starting programs as another user takes root");
        assert_eq!(one(id(json!("root"))).await["error"]["code"], "exec.user");
    }
    for nobody in [json!("no-such-user"), json!(-1), json!(4_294_967_295_u64), json!("")] {
        assert_eq!(one(id(nobody)).await["error"]["code"], "exec.user");
    }
    assert_eq!(one(id(json!([1]))).await["error"]["code"], "exec.request");
}
