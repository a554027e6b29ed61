//! What stays of a program, as long as its task runs: it counts, and is told in any case.

use crate::daemons::{GRANT, Left, leaves};
use crate::lab::{Order, Ran, asks, collect, eventually, pool};
use crate::programs::{lives, word};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use waft_proto::msg::Stream;
use waft_proto::run::Status;
use waft_stub::pool::JobEvent;

/// One call: a shell script that may leave something.
fn call(script: &str) -> (&'static str, String) {
    ("exec", json!({"argv": ["/bin/sh", "-c", script], "daemon": true}).to_string())
}

/// All that answers say to stay.
fn left(ran: &Ran) -> Left {
    Left(ran.answers().iter().flat_map(|answer| Left::of(answer).take()).collect())
}

/// All the codes that a run has.
fn codes(ran: &Ran) -> Vec<String> {
    let answers = ran.answers();
    let told = answers.iter().filter_map(|answer| answer["error"]["code"].as_str());
    told.chain([ran.code()]).filter(|code| !code.is_empty()).map(str::to_owned).collect()
}

/// Leaves one process.
const ONE: &str = "sleep 1000 >/dev/null 2>&1 & exit 0";

#[tokio::test]
async fn what_stays_counts_among_the_programs() {
    let many: Vec<_> = (0..12).map(|_| call(ONE)).collect();
    let alone = asks(&many).grant(GRANT).grant("procs:5").run().await;
    let all = left(&alone);
    assert!(all.0.len() <= 5 && !all.0.is_empty(), "{:?}", all.0);
    assert!(codes(&alone).contains(&"limit.procs".to_owned()), "{:?}", alone.outcome);
    // Also when it is what called tasks left.
    let calls: Vec<_> = (0..24).map(|_| ("task", json!({"name": "leaves"}).to_string())).collect();
    let callee = asks(&[call(ONE)]);
    let order = asks(&calls).grant(GRANT).grant("call:leaves").grant("procs:5");
    let called = order.callee("leaves", callee.wat(), &[GRANT]).run().await;
    let records = called.calls.iter().filter(|record| record.get("stays").is_some());
    let all = Left(records.flat_map(|record| Left::of(record).take()).collect());
    // Between two looks there may be more.
    assert!(all.0.len() <= 12 && !all.0.is_empty(), "{:?}", called.calls);
    assert!(format!("{:?} {:?}", called.answers(), called.outcome).contains("limit.procs"));
}

#[tokio::test]
async fn what_stays_uses_up_what_the_task_may_use() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on a disk");
    let file = place.path().join("flood");
    let spins = "(while :; do :; done) >/dev/null 2>&1 & exit 0".to_owned();
    let writes = format!(
        "(sleep 0.5; dd if=/dev/zero of={} bs=1M count=32; exec sleep 1000) >/dev/null 2>&1 & exit 0",
        file.display()
    );
    for (script, limit, code) in [(spins, "cpu:700ms", "limit.cpu"), (writes, "disk:8M", "limit.disk")] {
        let ran = asks(&[call(&script), call("sleep 10")]).grant(GRANT).grant(limit).run().await;
        let left = left(&ran);
        assert!(!left.0.is_empty(), "{limit}: {:?}", ran.answers());
        assert_eq!((ran.outcome.status, ran.code()), (Status::Failed, code), "{limit}: {:?}", ran.answers());
    }
}

#[tokio::test]
async fn only_so_many_programs_leave_something() {
    // What leaves nothing does not count.
    let mut many = vec![call("exit 0")];
    many.extend((0..101).map(|_| call(ONE)));
    let ran = asks(&many).grant(GRANT).timeout_ms(60_000).run().await;
    let all = left(&ran);
    assert_eq!((all.0.len(), codes(&ran)), (100, vec!["limit.daemons".to_owned()]));
    let message = ran.answers()[101]["error"]["message"].to_string();
    assert!(message.contains("100 programs of task `probe` on `web1` left something running"), "{message}");
}

/// The sockets that we have open: one of them is for the supervisor of the program, until that is over.
fn sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("a list").flatten();
    let names = open.filter_map(|file| std::fs::read_link(file.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test]
async fn what_stays_is_told_by_a_task_that_is_cancelled_meanwhile() {
    let word = word("cancelled");
    // So much that there is always some in the pipe.
    let script = format!("sh -c 'while :; do echo x; done' {word} & exit 0");
    let order: Order = leaves(&script, json!({"stdout": "inherit"})).grant(GRANT).grant("out:256M");
    let pool = pool();
    let (events, mut receiver) = mpsc::channel(1);
    let (cancel, cancelled) = oneshot::channel();
    let run = pool.run(order.job().expect("a good order"), events, cancelled);
    let watch = async {
        let mut most = 0;
        // Until the program is over, and what is left of its output is not.
        loop {
            match receiver.recv().await.expect("output before the end") {
                JobEvent::Ready | JobEvent::Running => {}
                JobEvent::Output { stream: Stream::Stdout, .. } if sockets() < most => break,
                JobEvent::Output { stream: Stream::Stdout, .. } => most = sockets(),
                other => panic!("{other:?}"),
            }
        }
        cancel.send(()).expect("it still runs");
        collect(&mut receiver).await
    };
    let ((), ran) = tokio::join!(run, watch);
    let record: &Value = ran.calls.first().expect("a record of the call");
    let left = Left::of(record);
    assert!(!left.0.is_empty() && record["stay_count"] != json!(0), "{record}");
    assert_eq!(ran.outcome.status, Status::Cancelled);
    drop(left);
    eventually("nobody of them is left", || !lives(&word)).await;
    pool.shutdown().await;
}
