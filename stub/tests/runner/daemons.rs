//! Programs that were granted to leave something running, and all the others, which are not.

use crate::lab::{Order, asks, eventually, pool};
use crate::programs::{daemon, lives, word};
use serde_json::{Value, json};
use waft_proto::run::Status;

/// A shell script that may leave something.
pub(crate) fn leaves(script: &str, more: Value) -> Order {
    let mut request = json!({"argv": ["/bin/sh", "-c", script], "daemon": true});
    if let (Value::Object(request), Value::Object(more)) = (&mut request, more) {
        request.extend(more);
    }
    asks(&[("exec", request.to_string())])
}

pub(crate) const GRANT: &str = "exec:/bin/sh **:daemon";

/// Ends what a test left, by number.
pub(crate) struct Left(pub(crate) Vec<i32>);

impl Left {
    pub(crate) fn of(answer: &Value) -> Left {
        let stays = answer["stays"].as_array().into_iter().flatten();
        Left(stays.filter_map(|one| i32::try_from(one["pid"].as_i64()?).ok()).collect())
    }
}

impl Left {
    /// For whoever ends them himself.
    pub(crate) fn take(mut self) -> Vec<i32> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        for pid in self.0.iter().filter_map(|pid| rustix::process::Pid::from_raw(*pid)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[tokio::test]
async fn what_is_granted_to_stay_stays_and_is_named() {
    let word = word("stays");
    let pool = pool();
    // It has the pipes of the program: they do not hold the run.
    let ran = leaves(&daemon(&word, "echo there"), json!({})).grant(GRANT).run_in(&pool).await;
    let answer = &ran.answers()[0];
    let left = Left::of(answer);
    assert_eq!((&answer["exit_code"], &answer["stdout"]), (&json!(0), &json!("there\n")), "{answer}");
    // The shell, and two that sleep.
    assert_eq!((left.0.len(), &answer["stay_count"]), (3, &json!(3)), "{answer}");
    assert!(answer["stays"].as_array().expect("a list").iter().any(|one| one["name"] == "sh"), "{answer}");
    assert_eq!((&ran.calls[0]["stays"], &ran.calls[0]["stay_count"]), (&answer["stays"], &json!(3)));
    assert_eq!(ran.outcome.status, Status::Ok);

    // Another task comes and goes, and then all of them.
    let other = leaves("exit 0", json!({})).grant(GRANT).run_in(&pool).await;
    assert_eq!((&other.answers()[0]["stays"], &other.answers()[0]["stay_count"]), (&json!([]), &json!(0)));
    assert!(other.calls[0].get("stays").is_none(), "{}", other.calls[0]);
    pool.shutdown().await;
    waft_stub::process::kill_descendants();
    assert!(lives(&word));
    drop(left);
    eventually("it was killed by hand", || !lives(&word)).await;
    eventually("who watched over it ends", || {
        let all = std::fs::read_dir("/proc").expect("a list").flatten();
        let own = std::process::id().to_string();
        !all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok()).any(|stat| {
            let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            !rest.starts_with('Z') && rest.split(' ').nth(1) == Some(&own)
        })
    })
    .await;
}

#[tokio::test]
async fn what_cannot_stay_is_ended_and_the_call_fails() {
    let word = word("unstayed");
    // Stops the supervisor when it has told the end of the shell, and before anybody asks it what is left.
    let stops = "while kill -0 $1 2>/dev/null; do :; done; sleep 0.1; kill -STOP $2; sleep 1000";
    let script = format!("sh -c '{stops}' {word} $$ $PPID & exit 0");
    let ran = leaves(&script, json!({})).grant(GRANT).run().await;
    let answer = &ran.answers()[0];
    let _left = Left::of(answer);
    assert_eq!(answer["error"]["code"], "exec.stay", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("`/bin/sh`") && message.contains("was ended"), "{message}");
    assert!(!lives(&word));
}

#[tokio::test]
async fn what_stays_and_never_stops_writing_does_not_hold_the_call() {
    let word = word("flooding");
    // When the pipe is gone the one that fills it ends, and the one above begins again.
    let script = format!("sh -c 'while :; do yes flood 2>&-; done' {word} & exit 0");
    for stdout in ["null", "capture"] {
        let order = leaves(&script, json!({"stdout": stdout, "limit_bytes": 1000})).grant(GRANT);
        let ran = order.timeout_ms(20_000).run().await;
        let answer = &ran.answers()[0];
        let left = Left::of(answer);
        assert_eq!((&answer["exit_code"], left.0.is_empty()), (&json!(0), false), "{answer}");
        assert!(lives(&word));
    }
}

#[tokio::test]
async fn all_else_ends_with_its_program() {
    for (case, then, more, given) in [
        ("code", "exit 3", json!({}), GRANT),
        ("signal", "kill -KILL $$", json!({}), GRANT),
        ("deadline", "sleep 1000", json!({"timeout_ms": 1500}), GRANT),
        ("unasked", "exit 0", json!({"daemon": false}), GRANT),
    ] {
        let word = word(&format!("ends-{case}"));
        let ran = leaves(&daemon(&word, then), more).grant(given).run().await;
        let answer = &ran.answers()[0];
        assert!(answer.get("error").is_none(), "{case}: {answer}");
        assert!(answer["stays"].as_array().is_none_or(Vec::is_empty), "{case}: {answer}");
        assert!(!lives(&word), "{case}");
    }
    // The task is over before the program is.
    let word = word("ends-task");
    let ran = leaves(&daemon(&word, "sleep 1000"), json!({})).grant(GRANT).timeout_ms(1_500).run().await;
    assert_eq!(ran.outcome.status, Status::TimedOut);
    assert!(!lives(&word));
}

#[tokio::test]
async fn without_the_word_nothing_is_started_and_the_line_is_told() {
    let marks = tempfile::tempdir().expect("a directory");
    let path = marks.path().join("started");
    let script = format!("touch {}", path.display());
    // The task goes on: it was told.
    let refused = async |order: Order| {
        let ran = order.run().await;
        let error = ran.answers()[0]["error"].clone();
        assert_eq!(ran.recorded()[0].1, error["code"], "{error}");
        error
    };
    for plain in ["exec:/bin/sh **", "exec:/bin/sh **:probe"] {
        let error = refused(leaves(&script, json!({})).grant(plain)).await;
        assert_eq!(error["code"], "grant.missing", "{error}");
    }
    let error = refused(leaves(&script, json!({})).grant("exec:/bin/sh **")).await;
    let hint = error["hint"].as_str().expect("a line");
    // What is to be pasted gives it, and is one word of a shell.
    let grant = hint.strip_prefix("--allow ").expect("a flag").trim_matches(['"', '\'']).to_owned();
    assert!(grant.ends_with(":daemon"), "{hint}");
    for given in [GRANT, "exec:/bin/sh **:probe"] {
        let error = refused(leaves(&script, json!({})).grant(given).check()).await;
        assert_eq!(error["code"], "grant.check", "{error}");
    }
    assert!(!path.exists());
    let ran = leaves(&script, json!({})).grant(grant).run().await;
    assert_eq!(ran.outcome.status, Status::Ok, "{:?}", ran.outcome.problem);
    assert!(path.exists());
}

#[tokio::test]
async fn what_was_confined_is_confined_for_good() {
    let dirs = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dirs.path().join(name);
    for name in ["open", "shut"] {
        std::fs::create_dir(path(name)).expect("a directory");
    }
    let (open, shut) = (path("open"), path("shut"));
    // It goes on when the task is over.
    let waits = format!(
        "while [ ! -e {0}/go ]; do sleep 0.05; done; echo x > {1}/out; echo x > {0}/in; exec sleep 1000",
        open.display(),
        shut.display()
    );
    let script = format!("setsid sh -c '{waits}' >/dev/null 2>&1 & exit 0");
    let order = leaves(&script, json!({"confine": true})).grant(GRANT);
    let ran = order.grant(format!("fs:{}:rw", open.display())).run().await;
    let answer = &ran.answers()[0];
    let left = Left::of(answer);
    assert!(!left.0.is_empty(), "{answer}");
    std::fs::write(open.join("go"), "").expect("a file");
    eventually("it writes where that was granted", || open.join("in").exists()).await;
    assert!(!shut.join("out").exists());
    drop(left);
}
