//! What the tests of all formats share: a run written down shortly, and writers that can be looked at.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use waft_proto::id::{Hash, RunId};
use waft_proto::run::{Problem, Status, TargetState};

use super::{Format, Reporter, Terminal, Verbosity, reporter_to};
use crate::event::{Body, Policy, Sequence, Stream, TargetResult, Traffic};

/// A writer whose bytes can be read while somebody else owns it.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe nobody reads.
pub(crate) struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One run and its reporter.
pub(crate) struct Show {
    reporter: Box<dyn Reporter + Send>,
    sequence: Sequence,
    counts: BTreeMap<Status, u64>,
    pub(crate) out: Sink,
    pub(crate) err: Sink,
}

impl Show {
    pub(crate) fn new(format: Format, terminal: Terminal, verbosity: u8) -> Show {
        let (out, err) = (Sink::default(), Sink::default());
        let writers = (Box::new(out.clone()), Box::new(err.clone()));
        let reporter = reporter_to(format, terminal, Verbosity(verbosity), writers.0, writers.1);
        let sequence = Sequence::new(run());
        Show { reporter, sequence, counts: BTreeMap::new(), out, err }
    }

    pub(crate) fn event(&mut self, target: &str, body: Body) {
        let target = (!target.is_empty()).then(|| Arc::from(target));
        let event = self.sequence.event(when(), target, body);
        self.reporter.event(&event).expect("a sink takes everything");
    }

    pub(crate) fn start(&mut self, targets: &[&str]) {
        let targets = targets.iter().map(|&name| name.to_owned()).collect();
        self.event("", Body::RunStarted { task: "uptime".into(), hash: Some(Hash([0xab; 32])), targets });
    }

    pub(crate) fn state(&mut self, target: &str, state: TargetState) {
        self.event(target, Body::TargetState { state });
    }

    pub(crate) fn output(&mut self, target: &str, stream: Stream, bytes: impl AsRef<[u8]>) {
        self.event(target, Body::Output { stream, bytes: bytes.as_ref().to_vec() });
    }

    pub(crate) fn result(&mut self, target: &str, result: TargetResult) {
        *self.counts.entry(result.status).or_default() += 1;
        self.event(target, Body::Result(Box::new(result)));
    }

    /// Output and result of a target that printed `text` and ended with `status`.
    pub(crate) fn prints(&mut self, target: &str, status: Status, text: &str) {
        self.output(target, Stream::Stdout, text);
        self.result(target, ended(status, text));
    }

    pub(crate) fn finished(&mut self) {
        let bytes = Traffic { up: 12_345, down: 8_100 };
        self.event("", Body::RunFinished { counts: self.counts.clone(), ms: 1234, bytes });
        self.finish();
    }

    pub(crate) fn finish(&mut self) {
        self.reporter.finish().expect("a sink takes everything");
    }
}

pub(crate) fn run() -> RunId {
    RunId([0x01, 0x90, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1])
}

/// 2023-11-14T22:13:20.123Z
pub(crate) fn when() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
}

/// A result with this stdout, which is also `result` when it is an object.
pub(crate) fn ended(status: Status, stdout: &str) -> TargetResult {
    let result = serde_json::from_str(stdout).ok().filter(serde_json::Value::is_object);
    TargetResult {
        exit_code: Some(if status.is_done() { 0 } else { 3 }),
        result,
        stdout: stdout.into(),
        ms: 1200,
        bytes: Traffic { up: 1000, down: 20 },
        walls: vec!["seccomp".into(), "landlock".into()],
        policy: Policy::Advisory,
        ..TargetResult::without_start(status, None)
    }
}

pub(crate) fn unreachable(message: &str, hint: &str) -> TargetResult {
    let problem = Problem::new("ssh.connect", message).hint(hint);
    TargetResult::without_start(Status::Unreachable, Some(problem))
}
