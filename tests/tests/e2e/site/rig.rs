//! A controller that says what a test wants: the protocol's own root, over the system's ssh. waft itself sends nothing
//! that it knows to be wrong.

use super::Place;
use crate::LIMIT;
use ed25519_dalek::SigningKey;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant, SystemTime};
use waft_proto::envelope::{Artifact, Envelope, Wall};
use waft_proto::id::{Hash, NodeId, NodeRange, RunId};
use waft_proto::msg::{BlobKind, Hello, Input, Order, Outcome, PREAMBLE, Report, Run, StubKind};
use waft_proto::node::{Event, Node, Peer};
use waft_tests::lab::Lab;
use waft_tests::process::{kill_trees, spawn_bound};
use waft_tests::{Context, Error, Result};

const NODE: NodeId = NodeId(1);
const STEP: Duration = Duration::from_millis(20);

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// An envelope and its signature.
pub(super) type Sealed = (Vec<u8>, Vec<u8>);

/// A link to the stub of a place.
pub(super) struct Rig {
    node: Node,
    ssh: Child,
    incoming: Receiver<Vec<u8>>,
    began: Instant,
    pub(super) hello: Box<Hello>,
    stdout: Vec<u8>,
}

impl Rig {
    /// Logs in, as the controller with that key.
    pub(super) fn connect(place: &Place, key: &SigningKey) -> Result<Rig> {
        Rig::start(&place.lab, "web1", "exec /usr/bin/waft-stub --link installed", key)
    }

    /// The same with any host of a lab, where this line starts a stub.
    pub(super) fn start(lab: &Lab, host: &str, line: &str, key: &SigningKey) -> Result<Rig> {
        let mut command = lab.ssh_command(&lab.ssh_config, &[host, line]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut ssh = spawn_bound(command).context(|| "ssh".to_owned())?;
        let mut out = ssh.stdout.take().expect("a pipe");
        let (sender, incoming) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(bytes @ 1..) = out.read(&mut buffer) {
                if sender.send(buffer[..bytes].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut first = Vec::new();
        let at = loop {
            if let Some(at) = first.windows(PREAMBLE.len()).position(|window| window == PREAMBLE) {
                break at + PREAMBLE.len();
            }
            let bytes = incoming.recv_timeout(LIMIT);
            first.extend(bytes.context(|| format!("no stub: {}", String::from_utf8_lossy(&first)))?);
        };
        let mut node = Node::root(0, now());
        node.expect(NODE, NODE, StubKind::Leaf);
        node.attach(NODE, host.to_owned(), key.verifying_key().to_bytes(), None, 0);
        node.started(NODE, 0);
        node.handle_bytes(Peer::Child(NODE), &first[at..], 0);
        let mut rig =
            Rig { node, ssh, incoming, began: Instant::now(), hello: Box::new(nobody()), stdout: Vec::new() };
        rig.hello = rig.until(|report| match report {
            Report::Joined(hello) => Some(hello.clone()),
            _ => None,
        })?;
        Ok(rig)
    }

    fn until<T>(&mut self, wanted: impl Fn(&Report) -> Option<T>) -> Result<T> {
        loop {
            let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.node.handle_timeout(at);
            while let Some(event) = self.node.poll_event() {
                let Event::Report { report, charge, .. } = event else { continue };
                if let Report::Output { bytes, .. } = &report {
                    self.stdout.extend(bytes);
                }
                if let Some(charge) = charge {
                    self.node.release(charge);
                }
                if let Some(found) = wanted(&report) {
                    return Ok(found);
                }
                if let Report::Gone { problem, .. } = report {
                    return Err(Error::new(format!("{}: {}", problem.code, problem.message)));
                }
            }
            let mut out = Vec::new();
            while self.node.poll_transmit(Peer::Child(NODE), at, &mut out) {}
            if !out.is_empty() {
                let stdin = self.ssh.stdin.as_mut().expect("a pipe");
                stdin.write_all(&out).and_then(|()| stdin.flush()).context(|| "ssh is gone".to_owned())?;
            }
            match self.incoming.recv_timeout(STEP) {
                Ok(bytes) => self.node.handle_bytes(Peer::Child(NODE), &bytes, at),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(Error::new(format!("the stub is gone: {error}"))),
            }
            if self.began.elapsed() > LIMIT {
                return Err(Error::new("the stub says nothing"));
            }
        }
    }

    /// Gives the node what it may ask for.
    pub(super) fn offer(&mut self, kind: BlobKind, bytes: &[u8]) -> Hash {
        self.node.store().insert(kind, bytes.into())
    }

    /// What comes of orders that are given at once, by their runs.
    pub(super) fn orders(&mut self, sealed: &[(RunId, Sealed)]) -> Result<Vec<(RunId, Outcome)>> {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        for (_, (envelope, signature)) in sealed {
            let input = Input::Inline(PARAMS.to_vec());
            let run = Run { envelope: envelope.clone(), signature: signature.clone(), input };
            self.node.order(vec![NodeRange::one(NODE)], Order::Run(run), at);
        }
        let mut ended = Vec::new();
        while ended.len() < sealed.len() {
            ended.push(self.until(|report| match report {
                Report::Result { run, outcome, .. } => Some((*run, (**outcome).clone())),
                _ => None,
            })?);
        }
        Ok(ended)
    }

    /// What comes of an order, and the standard output.
    pub(super) fn order(&mut self, (envelope, signature): &Sealed) -> Result<(Outcome, String)> {
        let run = Run {
            envelope: envelope.clone(),
            signature: signature.clone(),
            input: Input::Inline(PARAMS.to_vec()),
        };
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.stdout.clear();
        self.node.order(vec![NodeRange::one(NODE)], Order::Run(run), at);
        let outcome = self.until(|report| match report {
            Report::Result { outcome, .. } => Some((**outcome).clone()),
            _ => None,
        })?;
        Ok((outcome, String::from_utf8_lossy(&self.stdout).into_owned()))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        kill_trees(&mut [&mut self.ssh]);
    }
}

pub(super) const PARAMS: &[u8] = b"{}";

/// An order for a module, that a test can change.
pub(super) fn envelope(module: Hash, artifacts: Vec<Artifact>) -> Envelope {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&u64::from(std::process::id()).to_le_bytes());
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos();
    id[8..].copy_from_slice(&nanos.to_le_bytes()[..8]);
    Envelope {
        run: RunId(id),
        task: "hello".to_owned(),
        targets: vec![NodeRange::one(NODE)],
        module,
        artifacts,
        params: Hash::of(PARAMS),
        grants: Vec::new(),
        check: false,
        timeout_ms: 30_000,
        expires: now() + 600,
        nonce: nanos.to_le_bytes()[..8].try_into().expect("eight"),
        wall: Wall::Best,
        diff: false,
        task_signatures: Vec::new(),
        approval: None,
        callees: Vec::new(),
        files: Vec::new(),
        audit: None,
    }
}

/// Until the hello has come.
fn nobody() -> Hello {
    use waft_proto::msg::{Arch, Engine, Policy, Profile};
    Hello {
        version_min: 0,
        version_max: 0,
        kind: StubKind::Leaf,
        engine: Engine { arch: Arch::X86_64, profile: Profile::Fast },
        release: String::new(),
        hostname: String::new(),
        kernel: String::new(),
        user: String::new(),
        uid: 0,
        pid: 0,
        delivery: String::new(),
        policy: Policy::None,
        walls: Vec::new(),
        seal_key: [0; 32],
        identity: None,
        compiles: false,
    }
}
