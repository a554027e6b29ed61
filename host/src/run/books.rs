//! The books of a run: what each target said so far, and its one result.

use crate::dry;
use crate::event::{Body, Policy, Sequence, Stream, TargetResult, TextCutter, Traffic};
use crate::proof::Pinned;
use crate::run::Sink;
use crate::run::back::{self, Waited};
use crate::said::Said;
use crate::task::module::has_names;
use crate::tree::Shape;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use waft_proto::id::{NodeId, RunId};
use waft_proto::msg;
use waft_proto::run::{Problem, Status, TargetState};
use waft_proto::secret::redact::Redactor;

/// Output kept of each stream of each target for its result, bytes; the live output is not cut.
pub const CAPTURE_BYTES_MAX: usize = 1024 * 1024;

pub(super) struct Target {
    pub(super) name: Arc<str>,
    pub(super) state: TargetState,
    pub(super) joined: bool,
    /// Since when it runs.
    pub(super) running: Option<Instant>,
    pub(super) stdout: Captured,
    pub(super) stderr: Captured,
    pub(super) cutters: BTreeMap<Stream, TextCutter>,
    pub(super) changes: dry::Reader,
    /// What it says beside its output.
    pub(super) said: BTreeMap<Stream, Said>,
    pub(super) bytes: Traffic,
    pub(super) policy: Policy,
    /// Takes the secrets out once more: a target may have left them in.
    pub(super) redactor: Redactor,
    pub(super) done: bool,
    /// Its task has ended, and its machine boots again.
    pub(super) waiting: bool,
    /// The node's key, when the inventory has it, and what its proof has to be over.
    pub(super) pinned: Option<Pinned>,
}

#[derive(Default)]
pub(super) struct Captured {
    pub(super) bytes: Vec<u8>,
    pub(super) truncated: bool,
}

impl Captured {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let room = CAPTURE_BYTES_MAX.saturating_sub(self.bytes.len());
        self.truncated |= bytes.len() > room;
        self.bytes.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }
}

pub(super) struct Books<'a> {
    pub(super) events: Sequence,
    pub(super) started: Instant,
    pub(super) shape: Arc<Shape>,
    pub(super) targets: BTreeMap<NodeId, Target>,
    pub(super) counts: BTreeMap<Status, u64>,
    pub(super) open: usize,
    pub(super) sink: Sink<'a>,
    pub(super) broken: Option<io::Error>,
    pub(super) check: bool,
    /// What runs: where it has no names of functions, a trap cannot tell any.
    pub(super) wasm: Arc<[u8]>,
    /// Answers are shown when they are complete.
    pub(super) holds: bool,
}

impl Books<'_> {
    pub(super) fn emit(&mut self, target: Option<Arc<str>>, body: Body) {
        let event = self.events.event(SystemTime::now(), target, body);
        if self.broken.is_none()
            && let Err(error) = (self.sink)(&event)
        {
            self.broken = Some(error);
        }
    }

    /// Something about a target.
    pub(super) fn tell(&mut self, node: NodeId, body: Body) {
        let Some(target) = self.targets.get(&node).filter(|target| !target.done) else { return };
        let name = target.name.clone();
        self.emit(Some(name), body);
    }

    pub(super) fn state(&mut self, node: NodeId, state: TargetState) {
        let Some(target) = self.targets.get_mut(&node).filter(|target| !target.done) else { return };
        // A target that says it again would have its time anew.
        if target.state >= state {
            return;
        }
        target.state = state;
        if state == TargetState::Running {
            target.running.get_or_insert_with(Instant::now);
        }
        let name = target.name.clone();
        self.emit(Some(name), Body::TargetState { state });
    }

    pub(super) fn output(&mut self, node: NodeId, stream: Stream, bytes: Vec<u8>) {
        let Some(target) = self.targets.get_mut(&node).filter(|target| !target.done && !target.waiting)
        else {
            return;
        };
        // It runs, whether it said so or not.
        target.running.get_or_insert_with(Instant::now);
        if let Some(pinned) = &mut target.pinned {
            pinned.output(stream, &bytes);
        }
        let bytes = target.redactor.push(stream, bytes);
        self.clean_output(node, stream, bytes);
    }

    /// Output without secrets.
    pub(super) fn clean_output(&mut self, node: NodeId, stream: Stream, bytes: Vec<u8>) {
        let Some(target) = self.targets.get_mut(&node) else { return };
        match stream {
            Stream::Stdout => target.stdout.add(&bytes),
            Stream::Stderr | Stream::Log => target.stderr.add(&bytes),
            Stream::Progress | Stream::Call => return self.said(node, stream, &bytes),
            Stream::Change => return self.changes(node, &bytes),
        }
        if self.holds && stream == Stream::Stdout {
            return;
        }
        let bytes = target.cutters.entry(stream).or_default().push(bytes);
        let name = target.name.clone();
        if !bytes.is_empty() {
            self.emit(Some(name), Body::Output { stream, bytes });
        }
    }

    pub(super) fn said(&mut self, node: NodeId, stream: Stream, bytes: &[u8]) {
        let Some(target) = self.targets.get_mut(&node) else { return };
        let name = target.name.clone();
        for body in target.said.entry(stream).or_default().push(stream, bytes) {
            self.emit(Some(name.clone()), body);
        }
    }

    pub(super) fn changes(&mut self, node: NodeId, bytes: &[u8]) {
        // A target's policy may make a dry run of any run, so it may tell changes unasked.
        let Some(target) = self.targets.get_mut(&node).filter(|target| !target.done) else { return };
        let before = target.changes.push(bytes);
        let new = target.changes.changes.list.get(before..).unwrap_or_default().to_vec();
        let name = target.name.clone();
        for change in new {
            self.emit(Some(name.clone()), Body::Change(Box::new(change)));
        }
    }

    /// The one result of a target; a second is ignored.
    pub(super) fn end(&mut self, node: NodeId, mut outcome: msg::Outcome) {
        let Some(target) = self.targets.get_mut(&node).filter(|target| !target.done) else { return };
        target.waiting = false;
        self.flush(node);
        let Some(target) = self.targets.get_mut(&node) else { return };
        outcome.walls.iter_mut().for_each(|wall| target.redactor.patterns().clean_text(wall));
        outcome.problem.iter_mut().for_each(|problem| target.redactor.patterns().clean_problem(problem));
        if let Some(problem) =
            outcome.problem.as_mut().filter(|problem| problem.code == "task.trap" && problem.hint.is_none())
            && !has_names(&self.wasm)
        {
            problem.hint = Some(NAMELESS.to_owned());
        }
        target.done = true;
        let mut rest: Vec<(Stream, Vec<u8>)> = std::mem::take(&mut target.cutters)
            .into_iter()
            .map(|(stream, mut cutter)| (stream, cutter.finish()))
            .collect();
        let stdout = std::mem::take(&mut target.stdout);
        if self.holds {
            rest.push((Stream::Stdout, stdout.bytes.clone()));
        }
        let stderr = std::mem::take(&mut target.stderr);
        let truncated = stdout.truncated || outcome.stdout_truncated;
        let result = if truncated { None } else { object(&stdout.bytes) };
        let changed = result.as_ref().is_some_and(|result| result.get("changed") == Some(&true.into()));
        let status = match outcome.status {
            // What was found counts, whatever the task says; what it says beyond that may be no file's.
            Status::Ok if changed || outcome.changes > 0 => Status::Changed,
            status => status,
        };
        let changes = target.changes.finish(outcome.changes);
        let changes = (self.check || changes != dry::Changes::default()).then_some(changes);
        let body = TargetResult {
            status,
            exit_code: outcome.exit_code,
            signal: outcome.signal,
            result,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            stdout_truncated: truncated,
            stderr_truncated: stderr.truncated || outcome.stderr_truncated,
            stdout_cut: outcome.stdout_truncated,
            stderr_cut: outcome.stderr_truncated,
            ms: outcome.ms,
            bytes: target.bytes,
            walls: outcome.walls,
            policy: target.policy,
            audit: outcome.audit,
            problem: outcome.problem,
            changes,
        };
        let body = body.decided();
        let name = target.name.clone();
        let malformed: u64 = target.said.values().map(|said| said.malformed).sum();
        if malformed > 0 {
            let text = format!(
                "{malformed} of its records could not be read, so there are calls that nobody knows of"
            );
            self.emit(Some(name.clone()), Body::Note(Problem::new("record.malformed", text)));
        }
        for (stream, bytes) in rest.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            self.emit(Some(name.clone()), Body::Output { stream, bytes });
        }
        *self.counts.entry(status).or_default() += 1;
        self.open -= 1;
        self.emit(Some(name), Body::Result(Box::new(body)));
    }

    /// What the redactors still hold back.
    fn flush(&mut self, node: NodeId) {
        let rest = self.targets.get_mut(&node).map(|target| target.redactor.finish_all());
        for (stream, bytes) in rest.unwrap_or_default() {
            self.clean_output(node, stream, bytes);
        }
    }

    /// What a task that has ended answers, if that is one JSON object.
    pub(super) fn answer(&mut self, node: NodeId) -> Option<Map<String, Value>> {
        self.flush(node);
        let stdout = &self.targets.get(&node)?.stdout;
        match object(&stdout.bytes).filter(|_| !stdout.truncated) {
            Some(Value::Object(answer)) => Some(answer),
            _ => None,
        }
    }

    /// What a task answers is told together with what was waited for after it.
    pub(super) fn complete(&mut self, node: NodeId, boot: Option<&str>, waited: &Waited) {
        let mut answer = self.answer(node).unwrap_or_default();
        back::complete(&mut answer, boot, waited);
        if let Some(target) = self.targets.get_mut(&node) {
            target.stdout.bytes = format!("{}\n", Value::Object(answer)).into_bytes();
        }
    }

    /// The result of a node, or what can be believed of it where its key is known.
    pub(super) fn proven(
        &self,
        node: NodeId,
        run: RunId,
        outcome: msg::Outcome,
        proof: &[u8],
    ) -> msg::Outcome {
        match self.targets.get(&node).and_then(|target| Some((target, target.pinned.as_ref()?))) {
            Some((target, pinned)) => pinned.judge(&target.name, run, outcome, proof),
            None => outcome,
        }
    }

    pub(super) fn end_with(&mut self, node: NodeId, status: Status, problem: Problem) {
        self.end(node, msg::Outcome::without_start(status, Some(problem)));
    }

    /// A node is gone, and with it all that were behind it.
    pub(super) fn gone(&mut self, node: NodeId, lost: bool, problem: &Problem) {
        let shape = self.shape.clone();
        let Some(top) = shape.node(node) else { return };
        for id in (top.id.0..=top.last.0).map(NodeId) {
            let Some(target) = self.targets.get(&id).filter(|target| !target.waiting) else { continue };
            let status = match lost && target.joined {
                true => Status::Lost,
                false if id == node && problem.code == "node.key" => Status::Refused,
                false => Status::Unreachable,
            };
            let problem = if id == node {
                problem.clone()
            } else {
                let way = if lost { "was lost" } else { "could not be reached" };
                Problem {
                    code: format!("hop.{}", problem.code),
                    message: format!("its hop {} {way}: {}", top.endpoint.name, problem.message),
                    hint: problem.hint.clone(),
                }
            };
            self.end_with(id, status, problem);
        }
    }

    pub(super) fn open_nodes(&self) -> Vec<NodeId> {
        self.targets.iter().filter(|(_, target)| !target.done).map(|(id, _)| *id).collect()
    }
}

/// For a trap in a module that was stripped.
const NAMELESS: &str = "to see which functions: the module has no names of them. Build it with its names, and take out the rest \
     with `waft task strip --keep-names`";

/// A task's stdout that is exactly one JSON object is its result.
fn object(stdout: &[u8]) -> Option<serde_json::Value> {
    let first = stdout.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if *first != b'{' {
        return None;
    }
    serde_json::from_slice(stdout).ok().filter(serde_json::Value::is_object)
}
