//! What of a run is in the log, and what is not.

use super::super::actor::Actor;
use super::super::record::Recorder;
use super::Place;
use crate::event::{Body, Call, Event, Placed, Policy, Sequence, Stayed, Stream, TargetResult, Traffic};
use crate::run::{Head, Request};
use crate::tree::{Endpoint, Shape, Target, ViaMode, shape};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use waft_proto::id::{Hash, RunId};
use waft_proto::run::{Problem, Status};

const SECRET: &str = "hunter2";

fn request() -> Request {
    Request {
        task: "a\"\n\u{1b}]0;x\u{7}\u{202e}}{".to_owned(),
        wasm: Arc::from(&b"\0asm"[..]),
        params: format!(r#"{{"password":"{SECRET}"}}"#).into_bytes(),
        allow: vec!["exec:/bin/id".to_owned(), "out:1M".to_owned()],
        check: false,
        diff: false,
        timeout: Duration::from_secs(90),
        head: Head::default(),
        vouched: Default::default(),
        along: Default::default(),
        secrets: crate::secret::Sent::default(),
        after_reboot: None,
    }
}

fn tree() -> Shape {
    let endpoint = |name: &str| Endpoint::named(name);
    let bastion = Endpoint {
        user: Some("ops".to_owned()),
        address: Some("2001:db8::1".to_owned()),
        port: Some(2222),
        ..endpoint("bastion")
    };
    let inner = Endpoint { via_mode: ViaMode::Tunnel, ..endpoint("inner") };
    let web = Endpoint { address: Some("10.0.0.5".to_owned()), ..endpoint("web1") };
    let allow = vec!["facts".to_owned()];
    shape(&[
        Target { endpoint: web, via: vec![bastion.clone()], allow },
        Target { endpoint: endpoint("deep"), via: vec![bastion, inner], allow: Vec::new() },
    ])
    .expect("a tree")
}

fn actor() -> Actor {
    Actor {
        name: Some("ann".to_owned()),
        uid: 1000,
        login_uid: Some(1001),
        host: "ctl".to_owned(),
        ssh_client: Some("192.0.2.1:50022".to_owned()),
        tty: None,
    }
}

fn result() -> TargetResult {
    TargetResult {
        exit_code: Some(3),
        stdout: format!("{SECRET}\n\"}}\u{0}").into_bytes(),
        stderr: b"\xff\n{\"event\":\"result\"}\n".to_vec(),
        stdout_truncated: true,
        ms: u64::MAX,
        walls: vec!["wasm".to_owned(), "\n\u{9b}".repeat(200)],
        policy: Policy::None,
        audit: Some(Hash([9; 32])),
        ..TargetResult::without_start(Status::Failed, Some(Problem::new("task.exit\n", SECRET)))
    }
}

fn events() -> Vec<Event> {
    let mut sequence = Sequence::new(RunId([7; 16]));
    let names = vec!["web1".to_owned(), "deep".to_owned()];
    let web = || Some(Arc::from("web1"));
    let output = |text: &str| Body::Output { stream: Stream::Stdout, bytes: text.as_bytes().to_vec() };
    let counts = BTreeMap::from([(Status::Failed, 1)]);
    [
        (None, Body::RunStarted { task: "t".to_owned(), hash: None, targets: names }),
        (web(), output(SECRET)),
        (None, Body::Note(Problem::new("x", SECRET))),
        (web(), Body::Result(Box::new(result()))),
        (None, Body::RunFinished { counts, ms: 15, bytes: Traffic::default() }),
    ]
    .map(|(target, body)| sequence.event(SystemTime::UNIX_EPOCH, target, body))
    .to_vec()
}

#[test]
fn a_call_is_a_line_with_its_target_and_bounded() {
    let place = Place::new();
    let mut recorder =
        Recorder::begin(place.log.clone(), &request(), &tree(), &actor()).expect("it can be written");
    let call = Call {
        call: "exec".to_owned(),
        subject: "/bin/id \u{1b}[2J".to_owned() + &"x".repeat(5000),
        ok: false,
        code: Some("grant.missing".to_owned()),
        ms: u64::MAX,
        files: vec![Placed { fd: 3, hash: Some("f".repeat(5000)) }; 20],
        stays: vec![Stayed { pid: 7, name: "web\u{1b}".repeat(500) }; 50],
        stay_count: Some(50),
        ..Call::default()
    };
    let mut sequence = Sequence::new(RunId([7; 16]));
    let event = sequence.event(SystemTime::UNIX_EPOCH, Some(Arc::from("web1")), Body::Call(call));
    recorder.event(&event).expect("written");
    let text = String::from_utf8(place.bytes()).expect("UTF-8");
    assert!(text.len() < 8000 && !text.contains('\u{1b}'), "{text}");
    let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&line["event"], &line["target"], &line["call"]),
        (&json!("call"), &json!("web1"), &json!("exec"))
    );
    let subject = line["subject"].as_str().expect("text");
    assert!(
        subject.starts_with("/bin/id \\x1b[2Jxxx") && subject.len() == 512,
        "with its arguments: {subject}"
    );
    assert_eq!((&line["code"], &line["ok"]), (&json!("grant.missing"), &json!(false)));
    assert_eq!((line["stays"].as_array().map(Vec::len), &line["stay_count"]), (Some(32), &json!(50)));
    assert!(
        line["stays"][0]["name"].as_str().is_some_and(|name| name.len() == 64 && !name.contains('\u{1b}'))
    );
    assert_eq!(line["files"], json!(vec![json!({"fd": 3, "hash": "f".repeat(256)}); 8]));
    assert_eq!(place.walked().defect, None);
}

#[test]
fn a_run_is_three_lines_without_a_secret() {
    let place = Place::new();
    let request = request();
    let mut recorder =
        Recorder::begin(place.log.clone(), &request, &tree(), &actor()).expect("it can be written");
    for event in events() {
        recorder.event(&event).expect("written");
    }
    let text = String::from_utf8(place.bytes()).expect("UTF-8");
    assert!(!text.contains(SECRET), "{text}");
    assert!(text.chars().all(|c| c == '\n' || u32::from(c) >= 0x20), "{text:?}");
    assert_eq!(text.lines().count(), 3);
    assert_eq!(place.walked().defect, None);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut expected = json!({
        "v": 1, "seq": 1, "event": "run_started", "run": "07070707-0707-0707-0707-070707070707",
        "time": "1970-01-01T00:00:00.000Z", "prev": "0".repeat(64), "hash": lines[0]["hash"],
        "waft": env!("CARGO_PKG_VERSION"),
        "user": { "name": "ann", "uid": 1000, "login_uid": 1001 },
        "from": { "host": "ctl", "ssh_client": "192.0.2.1:50022", "tty": null },
        "task": request.task,
        "module": Hash::of(b"\0asm").to_string(),
        "signers": [],
        "params": Hash::of(&request.params).to_string(),
        "grants": ["exec:/bin/id", "out:1M"],
        "check": false,
        "timeout_ms": 90_000,
        "hops": { "bastion": "ops@[2001:db8::1]:2222", "inner": null },
        "targets": [
            { "name": "web1", "at": "10.0.0.5", "grants": ["facts"],
              "way": [{ "hop": "bastion", "mode": "relay" }] },
            { "name": "deep", "at": null, "grants": [],
              "way": [{ "hop": "bastion", "mode": "tunnel" }, { "hop": "inner", "mode": "relay" }] },
        ],
    });
    // The tree's order, which is not that of the command line, is not the point here.
    let by_name = |value: &serde_json::Value| value["name"].as_str().map(str::to_owned);
    let mut told = lines[0].clone();
    for value in [&mut told, &mut expected] {
        value["targets"].as_array_mut().expect("targets").sort_by_key(by_name);
    }
    assert_eq!(told, expected);
    let result = result();
    let walls = json!(["wasm", "\n\\x9b".repeat(256 / 5) + "\n"]);
    let expected = json!({
        "v": 1, "seq": 2, "event": "result", "run": lines[0]["run"], "time": lines[0]["time"],
        "prev": lines[0]["hash"], "hash": lines[1]["hash"],
        "target": "web1", "status": "failed", "exit_code": 3, "signal": null, "ms": 9_007_199_254_740_991_u64,
        "walls": walls, "policy": "none", "node_head": "09".repeat(32), "error": "task.exit\n",
        "stdout": { "blake3": Hash::of(&result.stdout).to_string(), "bytes": 11, "truncated": true },
        "stderr": { "blake3": Hash::of(&result.stderr).to_string(), "bytes": 21, "truncated": false },
    });
    assert_eq!(lines[1], expected);
    // The next order carries what was written last.
    assert_eq!(request.head.get().map(|head| json!(head.to_string())), Some(lines[2]["hash"].clone()));
    assert_eq!(lines[2]["event"], "run_finished");
    assert_eq!((&lines[2]["counts"]["failed"], &lines[2]["counts"]["ok"]), (&json!(1), &json!(0)));
    assert_eq!((&lines[2]["ms"], &lines[2]["prev"]), (&json!(15), &lines[1]["hash"]));
}

#[test]
fn after_a_line_that_could_not_be_written_none_follows() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let mut recorder = Recorder::begin(place.log.clone(), &request(), &tree(), &actor()).expect("good");
    let events = events();
    recorder.event(&events[0]).expect("written");
    let chmod = |mode| {
        std::fs::set_permissions(place.log.file(), std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    chmod(0o622);
    assert_eq!(recorder.event(&events[3]).expect_err("refused").code, "audit.mode");
    chmod(0o600);
    recorder.event(&events[4]).expect("silent");
    assert_eq!(place.lines().len(), 1);
}
