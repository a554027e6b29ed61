//! Calls of `waft_v1` beside programs: good, refused, and wrong in every way that a module can be.

use crate::lab::{asks, command, pool, task};
use serde_json::json;
use waft_proto::id::Hash;
use waft_proto::run::Status;

/// All that take a request.
const REQUESTS: [&str; 8] = ["exec", "facts", "file", "net", "task", "blob", "secret", "emit"];

#[tokio::test]
async fn addresses_outside_of_memory_and_lengths_beyond_it_are_told() {
    for function in REQUESTS.iter().chain(&["take"]) {
        let body = format!(
            "(if (i32.ne (call ${function} (i32.const 300000) (i32.const 1)) (i32.const -1)) (then (unreachable)))
             (if (i32.ne (call ${function} (i32.const -1) (i32.const -1)) (i32.const -1)) (then (unreachable)))
             (if (i32.ne (call ${function} (i32.const 0) (i32.const 262145)) (i32.const -1)) (then (unreachable)))"
        );
        let ran = task(command("", &body)).run().await;
        assert_eq!(ran.outcome.status, Status::Ok, "{function}: {}", ran.message());
        assert!(ran.calls.is_empty(), "nothing was asked");
    }
    for function in ["read", "send"] {
        let body = format!(
            "(if (i32.ne (call ${function} (i32.const 1) (i32.const 300000) (i32.const 1)) (i32.const -1)) (then (unreachable)))
             (if (i32.ne (call ${function} (i32.const 1) (i32.const 4) (i32.const -4)) (i32.const -1)) (then (unreachable)))
             (if (i32.ne (call ${function} (i32.const 1) (i32.const 4) (i32.const 0)) (i32.const 0)) (then (unreachable)))"
        );
        let ran = task(command("", &body)).run().await;
        assert_eq!(ran.outcome.status, Status::Ok, "{function}: {}", ran.message());
    }
}

#[tokio::test]
async fn long_requests_and_those_that_are_no_text_are_told() {
    for function in REQUESTS {
        let body = format!(
            "(drop (memory.grow (i32.const 20)))
             (if (i32.ne (call ${function} (i32.const 0) (i32.const 1048577)) (i32.const -2)) (then (unreachable)))
             (i32.store8 (i32.const 5000) (i32.const 255))
             (if (i32.ne (call ${function} (i32.const 5000) (i32.const 1)) (i32.const -3)) (then (unreachable)))
             (i32.store8 (i32.const 5000) (i32.const 32))
             (drop (call ${function} (i32.const 0) (i32.const 1048576)))
             (call $show)"
        );
        let ran = task(command("", &body)).run().await;
        assert_eq!(ran.outcome.status, Status::Ok, "{function}: {}", ran.message());
        assert!(ran.stdout().starts_with("{\"error\":{\"code\":\""), "{function}: {}", ran.stdout());
        assert_eq!(ran.calls.len(), 1, "{function}");
    }
}

#[tokio::test]
async fn handles_that_were_not_given_are_told() {
    for handle in ["0", "1", "7", "1073741824", "-1"] {
        let body = format!(
            "(if (i32.ne (call $read (i32.const {handle}) (i32.const 0) (i32.const 9)) (i32.const -4)) (then (unreachable)))
             (call $show)
             (if (i32.ne (call $send (i32.const {handle}) (i32.const 0) (i32.const 9)) (i32.const -4)) (then (unreachable)))
             (call $show)"
        );
        let ran = task(command("", &body)).run().await;
        assert_eq!((ran.outcome.status, ran.answers().len()), (Status::Ok, 2), "{}", ran.message());
        assert_eq!(ran.answers()[0]["error"]["code"], "call.handle");
        assert_eq!(ran.calls.len(), 2);
    }
}

#[tokio::test]
async fn logs_and_progress_go_their_own_ways() {
    let ran = asks(&[
        ("emit", json!({"log": "one\ntwo"}).to_string()),
        ("emit", json!({"progress": {"done": 1, "total": 3, "text": "first"}}).to_string()),
        ("emit", json!({"progress": {"done": 3, "total": 3}}).to_string()),
        ("emit", json!({"log": "x".repeat(20_000)}).to_string()),
        ("emit", json!({"logs": "x"}).to_string()),
    ])
    .run()
    .await;
    assert_eq!(ran.outcome.status, Status::Ok);
    assert!(ran.log.starts_with(b"one\ntwo\nxxx") && ran.log.len() == 8 + 8192 + 1, "{}", ran.log.len());
    assert_eq!(
        ran.progress,
        [json!({"done": 1, "total": 3, "text": "first"}), json!({"done": 3, "total": 3})]
    );
    assert!(ran.stderr.is_empty());
    assert_eq!(ran.outcome.stderr_bytes, ran.log.len() as u64, "logs count with stderr");
    assert_eq!(ran.recorded(), [("emit", "emit.request")], "what was said is its own record");
}

#[tokio::test]
async fn a_flood_of_logs_and_progress_is_bounded() {
    let log = json!({"log": "0123456789"}).to_string();
    let progress = json!({"progress": {"done": 5}}).to_string();
    let body = format!(
        "(local $i i32)
         (loop $again
           (drop (call $emit (i32.const 1024) (i32.const {})))
           (drop (call $emit (i32.const {}) (i32.const {})))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 2000))))",
        log.len(),
        1024 + log.len(),
        progress.len()
    );
    let ran = task(command(&(log + &progress), &body)).grant("out:1000").run().await;
    assert_eq!((ran.outcome.status, ran.log.len()), (Status::Ok, 1000));
    assert!(ran.outcome.stderr_truncated);
    let most = ran.outcome.ms / 100 + 2;
    assert!(
        (1..=most).contains(&(ran.progress.len() as u64)),
        "{} in {} ms",
        ran.progress.len(),
        ran.outcome.ms
    );
}

#[tokio::test]
async fn progress_is_not_held_back_by_a_task_that_waits() {
    // The second one waits for its turn while the task sleeps for the rest of its time.
    let first = json!({"progress": {"done": 1}}).to_string();
    let second = json!({"progress": {"done": 2}}).to_string();
    let body = format!(
        "(drop (call $emit (i32.const 1024) (i32.const {})))
         (drop (call $emit (i32.const {}) (i32.const {})))
         (loop $again (br $again))",
        first.len(),
        1024 + first.len(),
        second.len()
    );
    let ran = task(command(&(first + &second), &body)).timeout_ms(1_000).run().await;
    assert_eq!(ran.outcome.status, Status::TimedOut);
    assert_eq!(ran.progress, [json!({"done": 1}), json!({"done": 2})]);
}

#[tokio::test]
async fn calls_beyond_the_limit_of_records_are_counted() {
    let body = "(local $i i32)
         (loop $again
           (drop (call $facts (i32.const 1024) (i32.const 2)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 10050))))";
    let ran = task(command("{}", body)).run().await;
    assert_eq!((ran.outcome.status, ran.calls.len()), (Status::Ok, 10_001));
    assert_eq!(ran.calls[0]["code"], "grant.missing");
    assert_eq!(ran.calls[10_000], json!({"call": "more", "left_out": 50}));
}

/// Opens the blob and copies what `$read` gives to stdout, in pieces of `piece` bytes.
fn reads(request: &str, piece: u32) -> String {
    let body = format!(
        "(local $handle i32) (local $got i32) (local $at i32) (local $digit i32)
         (drop (call $blob (i32.const 1024) (i32.const {})))
         (drop (call $take (i32.const 8000) (i32.const 1000)))
         ;; The number behind the last colon.
         (local.set $at (i32.const 8000))
         (loop $find
           (local.set $at (i32.add (local.get $at) (i32.const 1)))
           (br_if $find (i32.ne (i32.load8_u (local.get $at)) (i32.const 104)))) ;; h of handle
         (loop $find
           (local.set $at (i32.add (local.get $at) (i32.const 1)))
           (br_if $find (i32.gt_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)) (i32.const 9))))
         (loop $digits
           (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
           (if (i32.le_u (local.get $digit) (i32.const 9)) (then
             (local.set $handle (i32.add (i32.mul (local.get $handle) (i32.const 10)) (local.get $digit)))
             (local.set $at (i32.add (local.get $at) (i32.const 1)))
             (br $digits))))
         (loop $more
           (local.set $got (call $read (local.get $handle) (i32.const 70000) (i32.const {piece})))
           (if (i32.lt_s (local.get $got) (i32.const 0)) (then (unreachable)))
           (if (i32.gt_s (local.get $got) (i32.const 0)) (then
             (call $write (i32.const 1) (i32.const 70000) (local.get $got))
             (br $more))))
         (if (i32.ne (call $send (local.get $handle) (i32.const 0) (i32.const 1)) (i32.const -4)) (then (unreachable)))",
        request.len()
    );
    command(request, &body)
}

#[tokio::test]
async fn a_blob_is_read_whole_and_in_part() {
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let hash = Hash::of(&bytes);
    let whole = json!({"hash": hash.to_string()}).to_string();
    let answer = json!({"hash": hash.to_string(), "offset": 1000, "length": 70_000}).to_string();
    for piece in [1000, 100_000] {
        let ran = task(reads(&whole, piece)).file(bytes.clone()).grant(format!("blob:{hash}")).run().await;
        assert_eq!(ran.outcome.status, Status::Ok, "{}", ran.message());
        assert!(ran.stdout == bytes, "{} bytes came", ran.stdout.len());
        assert_eq!(ran.recorded(), [("blob", ""), ("write", "blob.read_only")]);
        assert_eq!(ran.calls[0]["subject"], hash.to_string());
    }
    let ran = task(reads(&answer, 9999)).file(bytes.clone()).grant(format!("blob:{hash}")).run().await;
    assert!(ran.stdout == bytes[1000..71_000], "{} bytes came", ran.stdout.len());
    let refused = asks(&[("blob", whole)]).file(bytes).run().await;
    assert_eq!(refused.answers()[0]["error"]["code"], "grant.missing");
}

#[tokio::test]
async fn a_secret_is_told_to_whom_it_was_granted_and_its_worker_is_gone() {
    let ask =
        asks(&[("secret", json!({"name": "db/password"}).to_string())]).secret("db/password", *b"h\"nter2");
    let pool = pool();
    let given = ask.grant("secret:db/password");
    let ran = given.run_in(&pool).await;
    assert_eq!(ran.answers(), [json!({"value": "h\"nter2"})]);
    assert_eq!(ran.recorded(), [("secret", "")]);
    assert_eq!(ran.calls[0]["subject"], "db/password");
    assert!(pool.idle().is_empty(), "what knows a secret is not used again");
    // Nor does a secret go to a worker that ran before: this one would fit.
    let mut without = given;
    without.secrets.clear();
    without.run_in(&pool).await;
    let warm = pool.idle();
    assert_eq!(warm.len(), 1);
    without.secrets.push(("db/password".to_owned(), b"x".to_vec()));
    without.run_in(&pool).await;
    assert_eq!(pool.idle(), warm, "the warm one was not touched");
    pool.shutdown().await;
    let refused = asks(&[("secret", json!({"name": "db/password"}).to_string())]);
    let refused = refused.secret("db/password", *b"hunter2").run().await;
    assert_eq!(refused.answers()[0]["error"]["code"], "grant.missing");
}
