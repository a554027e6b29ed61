//! The second reader (tests/reader, in Python, made from docs/protocol.md) agrees with this code: on the
//! golden bytes, and as a stub at the other end of a link.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use waft_proto::envelope::{Artifact, Envelope};
use waft_proto::frame::Decoder;
use waft_proto::id::{Hash, NodeId, NodeRange, RunId};
use waft_proto::limits::KEEPALIVE_INTERVAL_MS;
use waft_proto::msg::*;
use waft_proto::node::{Event, Node, Peer};
use waft_proto::run::Status;

/// Far more than a slow machine needs; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);
const UNIX: u64 = 1_800_000_000;
const STUB: NodeId = NodeId(1);

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/reader/waft_reader.py")
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").arg(script());
    command
}

#[test]
fn reads_the_golden_bytes() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.txt");
    let output = python().arg("--golden").arg(golden).output().expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(" golden entries, 0 wrong"), "{said}");
}

/// A root whose one child is the reader.
struct Rig {
    root: Node,
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    reading: Option<JoinHandle<()>>,
    tap: Decoder,
    now: u64,
    pongs: usize,
    reports: Vec<Report>,
    key: ed25519_dalek::SigningKey,
}

impl Rig {
    fn start() -> Rig {
        let mut child = python()
            .arg("--stub")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let input = child.stdin.take();
        let mut stdout = child.stdout.take().expect("a pipe");
        let (send, output) = channel();
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count) = stdout.read(&mut buffer)
                && count > 0
                && send.send(buffer[..count].to_vec()).is_ok()
            {}
        });
        let key = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
        let mut root = Node::root(0, UNIX);
        root.expect(STUB, STUB, StubKind::Leaf);
        root.attach(STUB, "reader".into(), key.verifying_key().to_bytes(), None, 0);
        let mut rig = Rig {
            root,
            child,
            input,
            output,
            reading: Some(reading),
            tap: Decoder::default(),
            now: 0,
            pongs: 0,
            reports: Vec::new(),
            key,
        };
        let mut said = Vec::new();
        let preamble = loop {
            said.extend(rig.output.recv_timeout(PATIENCE).expect("a preamble"));
            if let Some(at) = said.windows(PREAMBLE.len()).position(|window| window == PREAMBLE) {
                break at;
            }
        };
        rig.root.started(STUB, 0);
        rig.take(&said[preamble + PREAMBLE.len()..]);
        rig
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(frame) = self.tap.next(&mut rest).expect("frames") {
            let messages = Msg::decode_all(&frame.body).expect("messages");
            self.pongs += messages.iter().filter(|(msg, _)| *msg == Msg::Pong).count();
        }
        self.root.handle_bytes(Peer::Child(STUB), bytes, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(event) = self.root.poll_event() {
            if let Event::Report { report, charge, .. } = event {
                self.reports.push(report);
                if let Some(charge) = charge {
                    self.root.release(charge);
                }
            }
        }
        let mut out = Vec::new();
        while self.root.poll_transmit(Peer::Child(STUB), self.now, &mut out) {
            if let Some(input) = &mut self.input {
                input.write_all(&out).and_then(|()| input.flush()).expect("the stub reads");
            }
            out.clear();
        }
    }

    fn wait(&mut self, what: &str, done: impl Fn(&Rig) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            match self.output.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in time: {:?}", self.reports),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the stub ended before {what}: {:?}", self.reports)
                }
            }
        }
    }

    fn order(&mut self, order: Order) {
        self.root.order(vec![NodeRange::one(STUB)], order, self.now);
        self.settle();
    }

    fn run(&mut self, number: u8, code: &[u8], input: Input, params: Hash) {
        let engine = Engine { arch: Arch::X86_64, profile: Profile::Small };
        let artifact = self.root.store().insert(BlobKind::Artifact, code.into());
        let envelope = Envelope {
            run: RunId([number; 16]),
            task: "reader".into(),
            targets: vec![NodeRange::one(STUB)],
            module: Hash::of(b"wasm"),
            artifacts: vec![Artifact { engine, hash: artifact, bytes: code.len() as u64 }],
            params,
            grants: Vec::new(),
            check: false,
            timeout_ms: 1000,
            expires: UNIX + 60,
            nonce: [number; 8],
        };
        let (envelope, signature) = envelope.seal(&self.key).expect("sealed");
        self.order(Order::Run(Run { envelope, signature, input }));
    }

    fn outcome(&self, number: u8) -> Option<&Outcome> {
        self.reports.iter().find_map(|report| match report {
            Report::Result { run, outcome } if *run == RunId([number; 16]) => Some(&**outcome),
            _ => None,
        })
    }

    fn output_of(&self, number: u8, of: Stream) -> Vec<u8> {
        let parts = self.reports.iter().filter_map(|report| match report {
            Report::Output { run, stream, bytes } if *run == RunId([number; 16]) && *stream == of => {
                Some(bytes)
            }
            _ => None,
        });
        parts.flatten().copied().collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.input = None;
        // It may have ended by itself, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
    }
}

fn joined(rig: &Rig) -> bool {
    rig.reports.iter().any(|report| matches!(report, Report::Joined(hello) if hello.release == "reader"))
}

#[test]
fn is_a_stub_that_this_node_can_work_with() {
    let mut rig = Rig::start();
    rig.wait("a hello", joined);

    // Two quiet intervals of virtual time make the root ping.
    rig.now += KEEPALIVE_INTERVAL_MS * 2;
    rig.root.handle_timeout(rig.now);
    rig.settle();
    rig.wait("a pong", |rig| rig.pongs == 1);
    rig.order(Order::Ping { nonce: 99 });
    rig.wait("the answer to a ping", |rig| rig.reports.contains(&Report::Pong { nonce: 99 }));

    // More than the first window, so that credit must come back; every hash is checked there.
    let code: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let input = b"{\"name\":\"x\"}".to_vec();
    rig.run(1, &code, Input::Inline(input.clone()), Hash::of(&input));
    rig.wait("a result", |rig| rig.outcome(1).is_some());
    assert_eq!(
        rig.outcome(1).map(|outcome| (outcome.status, outcome.exit_code)),
        Some((Status::Ok, Some(0)))
    );
    let said = String::from_utf8(rig.output_of(1, Stream::Stdout)).expect("text");
    assert!(said.starts_with("artifact of 300000 bytes, input of 12 bytes"), "{said}");
    assert_eq!(rig.output_of(1, Stream::Stderr), input);

    // The same module again, with a large input that comes back whole, through its own window.
    let input: Vec<u8> = (0..400_000_u32).map(|n| (n % 241) as u8).collect();
    let hash = rig.root.store().insert(BlobKind::File, input.clone().into());
    rig.run(2, &code, Input::Blob { hash, bytes: input.len() as u64 }, hash);
    rig.wait("a second result", |rig| rig.outcome(2).is_some());
    assert!(rig.output_of(2, Stream::Stderr) == input, "the input came back changed");

    rig.run(3, &code, Input::Inline(b"{}".to_vec()), Hash::of(b"something else"));
    rig.wait("a refusal", |rig| rig.outcome(3).is_some());
    assert_eq!(rig.outcome(3).map(|outcome| outcome.status), Some(Status::Refused));

    let violations = rig.reports.iter().filter(|report| matches!(report, Report::Violation { .. })).count();
    assert_eq!(violations, 0, "{:?}", rig.reports);

    rig.order(Order::Stop);
    let until = Instant::now() + PATIENCE;
    // The pipe closes when it ends.
    while rig.output.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
    assert!(rig.child.wait().expect("its end").success());
}
