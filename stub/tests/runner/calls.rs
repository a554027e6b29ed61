//! Calls of `waft_v1` beside programs: good, refused, and wrong in every way that a module can be.

use crate::lab::{Ran, asks, command, pool, task};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
    for (handle, code) in [("0", "net"), ("1", "net"), ("7", "net"), ("1073741824", "blob"), ("-1", "blob")] {
        let body = format!(
            "(if (i32.ne (call $read (i32.const {handle}) (i32.const 0) (i32.const 9)) (i32.const -4)) (then (unreachable)))
             (call $show)
             (if (i32.ne (call $send (i32.const {handle}) (i32.const 0) (i32.const 9)) (i32.const -4)) (then (unreachable)))
             (call $show)"
        );
        let ran = task(command("", &body)).run().await;
        assert_eq!((ran.outcome.status, ran.answers().len()), (Status::Ok, 2), "{}", ran.message());
        assert_eq!(ran.answers()[0]["error"]["code"], format!("{code}.handle"));
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

/// Opens what `function` opens and copies what `$read` gives to stdout, in pieces of `piece` bytes; `before` and `after`
/// that, with the handle in `$handle`.
fn reads(function: &str, request: &str, piece: u32, before: &str, after: &str) -> String {
    let body = format!(
        "(local $handle i32) (local $got i32) (local $at i32) (local $digit i32)
         (drop (call ${function} (i32.const 1024) (i32.const {})))
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
         {before}
         (loop $more
           (local.set $got (call $read (local.get $handle) (i32.const 70000) (i32.const {piece})))
           (if (i32.lt_s (local.get $got) (i32.const 0)) (then (unreachable)))
           (if (i32.gt_s (local.get $got) (i32.const 0)) (then
             (call $write (i32.const 1) (i32.const 70000) (local.get $got))
             (br $more))))
         {after}",
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
    let read_only = "(if (i32.ne (call $send (local.get $handle) (i32.const 0) (i32.const 1)) (i32.const -4)) (then (unreachable)))";
    for piece in [1000, 100_000] {
        let ran = task(reads("blob", &whole, piece, "", read_only))
            .file(bytes.clone())
            .grant(format!("blob:{hash}"))
            .run()
            .await;
        assert_eq!(ran.outcome.status, Status::Ok, "{}", ran.message());
        assert!(ran.stdout == bytes, "{} bytes came", ran.stdout.len());
        assert_eq!(ran.recorded(), [("blob", ""), ("write", "blob.read_only")]);
        assert_eq!(ran.calls[0]["subject"], hash.to_string());
    }
    let ran = task(reads("blob", &answer, 9999, "", ""))
        .file(bytes.clone())
        .grant(format!("blob:{hash}"))
        .run()
        .await;
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
    assert_eq!(ran.answers(), [json!({"value": "[secret db/password]"})], "and its output does not tell it");
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

#[tokio::test]
async fn files_are_changed_where_that_was_granted_and_nowhere_else() {
    let dirs = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dirs.path().join(name).display().to_string();
    for name in ["open", "read", "shut"] {
        std::fs::create_dir(path(name)).expect("made");
        std::fs::write(path(&format!("{name}/x")), "x").expect("written");
    }
    let chmod =
        |name: &str| json!({"op": "chmod", "path": path(&format!("{name}/x")), "mode": "0600"}).to_string();
    let stat = json!({"op": "stat", "path": path("read/x")}).to_string();
    let order = asks(&[
        ("file", chmod("open")),
        ("file", chmod("open")),
        ("file", chmod("read")),
        ("file", chmod("shut")),
        ("file", stat),
        ("file", json!({"op": "chmood"}).to_string()),
    ]);
    let order = order.grant(format!("fs:{}:rw", path("open"))).grant(format!("fs:{}", path("read")));
    let ran = order.run().await;
    let answers = ran.answers();
    assert_eq!(answers[..2], [json!({"changed": true}), json!({"changed": false})]);
    assert_eq!(
        (&answers[2]["error"]["code"], &answers[3]["error"]["code"]),
        (&"grant.missing".into(), &"grant.missing".into())
    );
    assert_eq!(answers[2]["error"]["hint"], format!("--allow fs:{}:rw", path("read")));
    assert_eq!((&answers[4]["kind"], &answers[5]["error"]["code"]), (&"file".into(), &"file.request".into()));
    let codes = ["", "", "grant.missing", "grant.missing", "", "file.request"];
    assert_eq!(ran.recorded(), codes.map(|code| ("file", code)));
    assert!(ran.calls[0]["subject"].as_str().is_some_and(|subject| subject.contains("open/x")));
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path(&format!("{name}/x"))).expect("there").permissions().mode() & 0o777
    };
    assert_eq!(mode("open"), 0o600);
    assert!(mode("read") != 0o600 && mode("shut") != 0o600);
    // A dry run changes what it sees, and nothing else.
    let change = json!({"op": "chmod", "path": path("open/x"), "mode": "0644"}).to_string();
    let dry = asks(&[("file", change)]).grant(format!("fs:{}:rw", path("open"))).check().run().await;
    assert_eq!((&dry.answers()[0], mode("open")), (&json!({"changed": true}), 0o600));
    let told = String::from_utf8(dry.changes).expect("text");
    assert!(told.contains("open/x") && told.contains("0644") && dry.outcome.changes == 1, "{told}");
}

/// What is cut is clean before: half of a value would not be found any more.
#[tokio::test]
async fn no_half_of_a_secret_stands_where_a_text_was_cut_nor_one_that_was_quoted_again() {
    const VALUE: &str = "pw\"k3y'r$d\\4711";
    let cut = |at: usize| format!("{}{VALUE}", "-".repeat(at - VALUE.len() / 2));
    let order = || {
        asks(&[
            ("emit", json!({"log": cut(8192)}).to_string()),
            ("emit", json!({"progress": {"done": 1, "text": cut(512)}}).to_string()),
            ("task", json!({"name": cut(512), "params": {}}).to_string()),
            ("exec", json!({"argv": ["/bin/true", cut(502)]}).to_string()),
            ("file", json!({"op": "stat", "path": format!("/nowhere/{VALUE}/x")}).to_string()),
        ])
    };
    let said = |ran: &Ran| {
        let calls = serde_json::to_string(&ran.calls).expect("JSON");
        let progress = serde_json::to_string(&ran.progress).expect("JSON");
        let problem = format!("{:?}", ran.outcome.problem);
        [String::from_utf8_lossy(&ran.log).into_owned(), ran.stdout().to_owned(), progress, calls, problem]
            .concat()
    };
    let open = said(&order().run().await);
    let given = order().secret("db/password", VALUE).grant("secret:db/password");
    let closed = said(&given.run().await);
    assert!(open.matches("k3y").count() >= 5, "without the secret it is there: {open}");
    assert!(!closed.contains("k3y") && closed.contains("[secret db/password]"), "{closed}");
}

#[tokio::test]
async fn a_number_that_is_a_secret_is_not_told_and_breaks_no_request() {
    let progress = |fields: serde_json::Value| ("emit", json!({ "progress": fields }).to_string());
    let order = asks(&[
        ("emit", r#"{"log":"it is 100\u003000 here"}"#.to_owned()),
        ("emit", json!({"log": "100000"}).to_string()),
        progress(json!({"done": 100_000, "total": 100_001})),
        progress(json!({"done": 5, "total": 100_000, "text": "of 100000"})),
    ]);
    let ran = order.secret("db", "100000").grant("secret:db").run().await;
    assert_eq!(ran.stdout(), "{}{}{}{}", "{:?}", ran.calls);
    assert_eq!(String::from_utf8_lossy(&ran.log), "it is [secret db] here\n[secret db]\n");
    assert_eq!(ran.progress, [json!({"done": 5, "text": "of [secret db]"})]);
}

#[tokio::test]
async fn a_task_that_prints_its_secret_in_pieces_prints_its_name() {
    let forms = [
        "h\"nter2/z",
        r#"h\"nter2\/z"#,
        "h%22nter2%2Fz",
        "68226e746572322f7a",
        "aCJudGVyMi96",
        "h\\\"nter2/z",
    ];
    let text: String = forms.iter().map(|form| format!("<{form}>\n")).collect();
    // All but its last byte, at the end: what is held back then is no reason to tell it.
    let text = text + "h\"nter2/";
    let log = json!({"log": text}).to_string();
    let mut body = String::new();
    for fd in [1, 2] {
        for at in (0..text.len()).step_by(3) {
            let (at, len) = (1024 + at, 3.min(text.len() - at));
            body.push_str(&format!("(call $write (i32.const {fd}) (i32.const {at}) (i32.const {len}))\n"));
        }
    }
    let at = 1024 + text.len();
    body.push_str(&format!("(drop (call $emit (i32.const {at}) (i32.const {})))", log.len()));
    let module = command(&format!("{text}{log}"), &body);
    let ran =
        task(module.clone()).secret("db/password", *b"h\"nter2/z").grant("secret:db/password").run().await;
    let expected = "<[secret db/password]>\n".repeat(forms.len());
    assert_eq!(ran.stdout(), format!("{expected}[secret db/password]"));
    assert_eq!(String::from_utf8_lossy(&ran.stderr), ran.stdout());
    assert_eq!(
        String::from_utf8_lossy(&ran.log),
        format!("{expected}h\"nter2/\n"),
        "here more came after it"
    );
    // The same module without the secret: it is the value that is looked for.
    assert_eq!(task(module).run().await.stdout(), text);
}

/// A server for one connection, and its port.
async fn server<F: Future<Output = ()>>(
    serve: impl FnOnce(tokio::net::TcpStream) -> F,
) -> (u16, impl Future<Output = ()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    (port, async move {
        let (stream, _) = listener.accept().await.expect("somebody comes");
        serve(stream).await;
    })
}

fn open(port: u16) -> String {
    json!({"op": "open", "host": "127.0.0.1", "port": port}).to_string()
}

const SEND_WORD: &str = "(if (i32.ne (call $send (local.get $handle) (i32.const 1024) (i32.const 5)) (i32.const 5)) (then (unreachable)))";

#[tokio::test]
async fn a_connection_to_what_was_granted_goes_both_ways() {
    let (port, served) = server(|mut stream| async move {
        let mut word = [0; 5];
        stream.read_exact(&mut word).await.expect("a word");
        assert_eq!(&word, b"{\"hos");
        stream.write_all(&vec![b'x'; 200_000]).await.expect("taken");
    })
    .await;
    let order =
        task(reads("net", &open(port), 100_000, SEND_WORD, "")).grant(format!("net:127.0.0.1:{port}"));
    let (ran, ()) = tokio::join!(order.run(), served);
    assert_eq!(ran.outcome.status, Status::Ok, "{}", ran.message());
    assert!(
        ran.stdout.len() == 200_000 && ran.stdout.iter().all(|byte| *byte == b'x'),
        "{}",
        ran.stdout.len()
    );
    assert_eq!(ran.recorded(), [("net", "")]);
    assert!(ran.calls[0]["subject"].as_str().is_some_and(|subject| subject.contains(&port.to_string())));
}

#[tokio::test]
async fn nothing_is_dialled_without_a_grant_or_in_a_dry_run() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("bound").port();
    let asked = asks(&[("net", open(port))]);
    let ran = asked.run().await;
    assert_eq!(ran.answers()[0]["error"]["code"], "grant.missing");
    assert_eq!(ran.answers()[0]["error"]["hint"], format!("--allow net:127.0.0.1:{port}"));
    let ran = asked.grant(format!("net:127.0.0.1:{port}")).check().run().await;
    assert_eq!(ran.answers()[0]["error"]["code"], "grant.check");
    assert!(listener.accept().is_err(), "nobody came");
}

#[tokio::test]
async fn a_silent_peer_does_not_hold_the_deadline() {
    let (port, served) = server(|mut stream| async move {
        // Until the other end is gone.
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let order =
        task(reads("net", &open(port), 10, "", "")).grant(format!("net:127.0.0.1:{port}")).timeout_ms(700);
    let (ran, ()) = tokio::join!(order.run(), served);
    assert_eq!(ran.outcome.status, Status::TimedOut);
    assert_eq!(ran.recorded(), [("net", ""), ("read", "task.timeout")]);
}

#[tokio::test]
async fn a_peer_that_does_not_read_does_not_hold_it_either() {
    let (port, served) = server(|stream| async move {
        let mut byte = [0];
        // Open, and not read from, until the other end is gone.
        while !matches!(stream.ready(tokio::io::Interest::ERROR | tokio::io::Interest::READABLE).await, Ok(ready) if ready.is_read_closed() || ready.is_error()) {
            let _ = stream.peek(&mut byte).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let flood =
        "(loop $again (drop (call $send (local.get $handle) (i32.const 0) (i32.const 100000))) (br $again))";
    let order = task(reads("net", &open(port), 10, flood, ""))
        .grant(format!("net:127.0.0.1:{port}"))
        .timeout_ms(1_000);
    let ran = tokio::select! {
        ran = order.run() => ran,
        () = served => panic!("the server ends with its client"),
    };
    assert_eq!(ran.outcome.status, Status::TimedOut);
    assert_eq!(ran.recorded(), [("net", ""), ("write", "task.timeout")]);
}
