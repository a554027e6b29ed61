use super::{NodeLog, Orderer};
use std::os::unix::net::UnixDatagram;
use waft_audit::line::Fields;
use waft_audit::{Log, log, walk};
use waft_proto::envelope::{Callee, Envelope, FileBlob, Wall};
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::Outcome;
use waft_proto::run::Status;

const RUN: RunId = RunId([7; 16]);

fn envelope() -> Envelope {
    Envelope {
        run: RUN,
        task: "probe".to_owned(),
        targets: Vec::new(),
        module: Hash([1; 32]),
        artifacts: Vec::new(),
        params: Hash([2; 32]),
        grants: vec!["fs:/etc:ro".to_owned()],
        check: false,
        timeout_ms: 1000,
        expires: 0,
        nonce: [0; 8],
        wall: Wall::Best,
        diff: false,
        task_signatures: Vec::new(),
        approval: None,
        callees: Vec::new(),
        files: Vec::new(),
        audit: Some(Hash([3; 32])),
    }
}

fn orderer(signers: &[String]) -> Orderer<'_> {
    Orderer { who: "ops", from: "192.0.2.1 5000 192.0.2.2 22", signers }
}

fn done() -> Outcome {
    Outcome::without_start(Status::Ok, None)
}

#[test]
fn a_run_is_a_chain_whose_head_goes_with_the_result() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = NodeLog::open(Some(&dir.path().join("waft")), None).expect("a log");
    let mut order = envelope();
    order.callees.push(Callee {
        name: "inner".to_owned(),
        module: Hash([4; 32]),
        artifacts: Vec::new(),
        grants: Vec::new(),
    });
    order.files.push(FileBlob { hash: Hash([5; 32]), bytes: 1 });
    node.ordered(&order, "web1", &orderer(&["alice".to_owned()])).expect("recorded");
    let call =
        Fields::from_iter([("call".to_owned(), "exec".into()), ("subject".to_owned(), "/bin/id".into())]);
    node.called(RUN, call).expect("recorded");
    let head = node.ended(RUN, &done()).expect("recorded").expect("a head");
    let mut lines = Vec::new();
    let file = Log::at(dir.path().join("waft"), "").file();
    let walked = walk(log::read(&file).expect("a log"), Some(head), &mut |line| {
        lines.push(line.clone());
        Ok(())
    })
    .expect("read");
    assert_eq!((walked.lines, walked.head, walked.since, walked.defect), (3, head, Some(0), None));
    let of = |at: usize, name: &str| lines[at].text(name).unwrap_or_default().to_owned();
    assert_eq!(lines.iter().map(|line| &*line.event).collect::<Vec<_>>(), ["ordered", "call", "result"]);
    assert_eq!((of(0, "who"), of(0, "target")), ("ops".to_owned(), "web1".to_owned()));
    assert_eq!(of(0, "controller_head"), "03".repeat(32));
    let calls = &lines[0].fields["calls"][0];
    assert_eq!((calls["name"].as_str(), calls["module"].as_str()), (Some("inner"), Some(&*"04".repeat(32))));
    assert_eq!(lines[0].fields["files"][0].as_str(), Some(&*"05".repeat(32)));
    assert_eq!((of(1, "subject"), of(2, "status")), ("/bin/id".to_owned(), "ok".to_owned()));
    assert!(lines.iter().all(|line| line.text("run") == Some(&*RUN.to_string())));
}

#[test]
fn the_host_gets_each_line_as_a_message_that_fits() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let host = UnixDatagram::bind(&path).expect("bound");
    let node = NodeLog::open(None, Some(&path)).expect("a log");
    let mut order = envelope();
    order.grants = vec!["x".repeat(20_000)];
    node.ordered(&order, "web1", &orderer(&[])).expect("told");
    assert_eq!(node.ended(RUN, &done()), Ok(None));
    let mut buffer = [0; 32 * 1024];
    let count = host.recv(&mut buffer).expect("a message");
    let first = String::from_utf8_lossy(&buffer[..count]).into_owned();
    assert!(first.starts_with(&format!("<86>waft-stub[{}]: ordered {{", std::process::id())), "{first}");
    assert_eq!(count, super::SYSLOG_BYTES_MAX);
    let count = host.recv(&mut buffer).expect("a message");
    assert!(String::from_utf8_lossy(&buffer[..count]).contains(r#"result {"changes":0,"#));
}

#[test]
fn what_cannot_be_recorded_is_an_error_that_names_the_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = NodeLog::open(None, Some(&dir.path().join("none"))).expect_err("nobody listens");
    assert_eq!(missing.code, "audit.syslog");
    std::fs::write(dir.path().join("file"), "").expect("written");
    let node = NodeLog::open(Some(&dir.path().join("file")), None).expect("opened when used");
    let problem = node.ordered(&envelope(), "web1", &orderer(&[])).expect_err("no directory");
    assert!(problem.code == "audit.dir" && problem.message.contains("file"), "{problem:?}");
    assert!(problem.hint.expect("a hint").contains("policy"));
}
