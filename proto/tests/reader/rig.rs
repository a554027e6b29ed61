//! A root, and the reader as its stub.

use super::STUB;
use super::process::Reader;
use std::time::{SystemTime, UNIX_EPOCH};
use waft_proto::envelope::{Artifact, Envelope, Wall};
use waft_proto::id::{Hash, NodeRange, RunId};
use waft_proto::msg::*;
use waft_proto::node::{Event, Node, Peer};
use waft_proto::run::Status;

pub(super) fn key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[5; 32])
}

pub(super) fn welcome() -> Welcome {
    Welcome {
        version_min: 1,
        version_max: 1,
        node: STUB,
        last: STUB,
        name: "reader".into(),
        controller: key().verifying_key().to_bytes(),
    }
}

/// The reader compares an order's expiry with the real time.
pub(super) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

pub(super) fn envelope(number: u8, code: &[u8], params: Hash) -> Envelope {
    let engine = Engine { arch: Arch::X86_64, profile: Profile::Small };
    Envelope {
        run: RunId([number; 16]),
        task: "reader".into(),
        targets: vec![NodeRange::one(STUB)],
        module: Hash::of(b"wasm"),
        artifacts: vec![Artifact { engine, hash: Hash::of(code), bytes: code.len() as u64, worker: None }],
        params,
        grants: Vec::new(),
        check: false,
        timeout_ms: 1000,
        expires: unix() + 600,
        nonce: [number; 8],
        wall: Wall::Best,
        diff: false,
        task_signatures: Vec::new(),
        approval: None,
        callees: Vec::new(),
        files: Vec::new(),
        audit: None,
    }
}

pub(super) const INPUT: &[u8] = b"{\"name\":\"x\"}";

pub(super) fn signed(envelope: &Envelope, input: Input) -> Run {
    let (envelope, signature) = envelope.seal(&key()).expect("sealed");
    Run { envelope, signature, input }
}

/// Every result of that run: how it ended, and what it says of the problem.
pub(super) fn results<'a>(reports: impl Iterator<Item = &'a Report>, number: u8) -> Vec<(Status, String)> {
    reports
        .filter_map(|report| match report {
            Report::Result { run, outcome, .. } if *run == RunId([number; 16]) => {
                let words = outcome.problem.as_ref().map(|problem| problem.message.clone());
                Some((outcome.status, words.unwrap_or_default()))
            }
            _ => None,
        })
        .collect()
}

/// A root whose one child is the reader.
pub(super) struct Rig {
    pub(super) root: Node,
    pub(super) reader: Reader,
    pub(super) now: u64,
    pub(super) reports: Vec<Report>,
}

impl Rig {
    pub(super) fn start() -> Rig {
        let (reader, first) = Reader::start();
        let mut root = Node::root(0, unix());
        root.expect(STUB, STUB, StubKind::Leaf);
        root.attach(STUB, "reader".into(), key().verifying_key().to_bytes(), None, 0);
        root.started(STUB, 0);
        let mut rig = Rig { root, reader, now: 0, reports: Vec::new() };
        rig.take(&first);
        rig
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.root.handle_bytes(Peer::Child(STUB), bytes, self.now);
        self.settle();
    }

    pub(super) fn settle(&mut self) {
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
            self.reader.send(&out);
            out.clear();
        }
    }

    pub(super) fn wait(&mut self, what: &str, done: impl Fn(&Rig) -> bool) {
        while !done(self) {
            match self.reader.next() {
                Some(bytes) => self.take(&bytes),
                None => panic!("the stub ended before {what}: {:?}", self.reader.end()),
            }
        }
    }

    pub(super) fn order(&mut self, order: Order) {
        self.root.order(vec![NodeRange::one(STUB)], order, self.now);
        self.settle();
    }

    /// The reader does one thing after the other: when this is answered, all earlier orders have been obeyed.
    pub(super) fn ping(&mut self, nonce: u32) {
        self.order(Order::Ping { nonce });
        self.wait("the answer to a ping", |rig| rig.reports.contains(&Report::Pong { nonce }));
    }

    pub(super) fn results(&self, number: u8) -> Vec<(Status, String)> {
        results(self.reports.iter(), number)
    }

    pub(super) fn output_of(&self, number: u8, of: Stream) -> Vec<u8> {
        let parts = self.reports.iter().filter_map(|report| match report {
            Report::Output { run, stream, bytes } if *run == RunId([number; 16]) && *stream == of => {
                Some(bytes)
            }
            _ => None,
        });
        parts.flatten().copied().collect()
    }
}
