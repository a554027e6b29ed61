//! The loop's part in what only an installed stub does: runs that count once, modules that are compiled here, results
//! that are signed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use waft_proto::envelope::{self, Wall};
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::{Arch, Engine, Outcome, Stream};
use waft_proto::node::ReadyRun;
use waft_proto::run::{Problem, Status};
use waft_proto::seal::OutputHash;
use waft_stub::audit::NodeLog;
use waft_stub::policy::NodePolicy;
use waft_stub::site::Site;
use waft_stub::site::compile::{Artifact, Compiler, compile};

/// What a run comes with.
pub(crate) enum Code {
    Artifact,
    /// To be compiled behind these walls.
    Module(Wall),
}

#[derive(Default)]
pub(crate) struct Installed {
    pub(crate) compiler: Rc<RefCell<Compiler>>,
    runs: HashMap<RunId, Told>,
    /// Where the node records what is done to it: opened with the first order.
    log: Option<NodeLog>,
}

/// What a run has said so far.
struct Told {
    order: Hash,
    output: OutputHash,
    /// The beginning of a line about a call.
    line: Vec<u8>,
    /// Why a call could not be recorded.
    unrecorded: Option<Problem>,
}

impl Installed {
    /// Before anything else is done for a run.
    pub(crate) fn begin(&mut self, ready: &ReadyRun, policy: &NodePolicy, now: u64) -> Result<Code, Problem> {
        let told =
            Told { order: ready.order, output: OutputHash::default(), line: Vec::new(), unrecorded: None };
        self.runs.insert(ready.envelope.run, told);
        let log = match &self.log {
            Some(log) => log,
            None => self.log.insert(policy.log()?),
        };
        policy.record(log, &ready.envelope, now)?;
        let wall = policy.admit(&ready.envelope, ready.order, now)?;
        Ok(if policy.compiles() { Code::Module(wall) } else { Code::Artifact })
    }

    pub(crate) fn output(&mut self, run: RunId, stream: Stream, bytes: &[u8]) {
        let Some(told) = self.runs.get_mut(&run) else { return };
        told.output.add(stream, bytes);
        if stream != Stream::Call {
            return;
        }
        told.line.extend_from_slice(bytes);
        while let Some(end) = told.line.iter().position(|byte| *byte == b'\n') {
            let rest = told.line.split_off(end + 1);
            let line = std::mem::replace(&mut told.line, rest);
            let recorded = match (&self.log, serde_json::from_slice(&line)) {
                (Some(log), Ok(call)) => log.called(run, call),
                _ => Ok(()),
            };
            told.unrecorded = told.unrecorded.take().or(recorded.err());
        }
    }

    /// Records the end of a run, and gives the proof of what came of it. What could not be recorded did not end well.
    pub(crate) fn end(&mut self, run: RunId, outcome: &mut Outcome, policy: &NodePolicy) -> Vec<u8> {
        let Some(told) = self.runs.remove(&run) else { return Vec::new() };
        let recorded = match &self.log {
            Some(log) => log.ended(run, outcome),
            None => Ok(None),
        };
        match told.unrecorded.map_or(recorded, Err) {
            Ok(head) => outcome.audit = head,
            Err(problem) => {
                if outcome.status.is_done() {
                    outcome.status = Status::Failed;
                }
                outcome.problem.get_or_insert(problem);
            }
        }
        let prove = |site: &Site| site.prove(run, told.order, told.output.finish(), outcome);
        policy.site().map(prove).unwrap_or_default()
    }
}

pub(crate) fn cancelled() -> Problem {
    Problem::new("run.cancelled", "the run was cancelled while its module was compiled")
}

/// Puts artifacts in the place of modules: of the task, and of those that it may call. What the controller names as their
/// artifacts does not count here: a file may have come along that is one.
pub(crate) async fn compile_all(
    compiler: &RefCell<Compiler>,
    ready: &mut ReadyRun,
    wall: Wall,
) -> Result<(), Problem> {
    let own = one(compiler, &ready.envelope.task, ready.envelope.module, &ready.code, wall).await?;
    (ready.artifact, ready.code) = (own.hash, own.bytes);
    let arch = Arch::here();
    for callee in &mut ready.envelope.callees {
        callee.artifacts.clear();
        let Some(module) = ready.blobs.get(&callee.module).cloned() else { continue };
        let artifact = one(compiler, &callee.name, callee.module, &module, wall).await?;
        let engine = arch.map(|arch| Engine { arch, profile: waft_stub::profile() });
        let (hash, bytes) = (artifact.hash, artifact.bytes.len() as u64);
        callee.artifacts.extend(engine.map(|engine| envelope::Artifact {
            engine,
            hash,
            bytes,
            worker: None,
        }));
        ready.blobs.insert(hash, artifact.bytes);
    }
    Ok(())
}

async fn one(
    compiler: &RefCell<Compiler>,
    task: &str,
    module: Hash,
    wasm: &[u8],
    wall: Wall,
) -> Result<Artifact, Problem> {
    let kept = compiler.borrow_mut().kept(module);
    if let Some(artifact) = kept {
        return Ok(artifact);
    }
    let artifact = compile(task, wasm, wall).await?;
    compiler.borrow_mut().keep(module, artifact.clone());
    Ok(artifact)
}
