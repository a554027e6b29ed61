//! The loop's part in what only an installed stub does: runs that count once, modules that are compiled here, results
//! that are signed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use waft_proto::envelope::Wall;
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::{Outcome, Stream};
use waft_proto::node::ReadyRun;
use waft_proto::run::Problem;
use waft_proto::seal::OutputHash;
use waft_stub::policy::NodePolicy;
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
    /// Of each run its order, and what it has put out so far.
    proofs: HashMap<RunId, (Hash, OutputHash)>,
}

impl Installed {
    /// Before anything else is done for a run.
    pub(crate) fn begin(&mut self, ready: &ReadyRun, policy: &NodePolicy, now: u64) -> Result<Code, Problem> {
        self.proofs.insert(ready.envelope.run, (ready.order, OutputHash::default()));
        let wall = policy.admit(&ready.envelope, ready.order, now)?;
        Ok(if policy.compiles() { Code::Module(wall) } else { Code::Artifact })
    }

    pub(crate) fn output(&mut self, run: RunId, stream: Stream, bytes: &[u8]) {
        if let Some((_, output)) = self.proofs.get_mut(&run) {
            output.add(stream, bytes);
        }
    }

    /// The proof of what came of a run.
    pub(crate) fn end(&mut self, run: RunId, outcome: &Outcome, policy: &NodePolicy) -> Vec<u8> {
        let Some((order, output)) = self.proofs.remove(&run) else { return Vec::new() };
        policy.site().map(|site| site.prove(run, order, output.finish(), outcome)).unwrap_or_default()
    }
}

pub(crate) fn cancelled() -> Problem {
    Problem::new("run.cancelled", "the run was cancelled while its module was compiled")
}

/// Puts artifacts in the place of modules: of the task, and of those that it may call.
pub(crate) async fn compile_all(
    compiler: &RefCell<Compiler>,
    ready: &mut ReadyRun,
    wall: Wall,
) -> Result<(), Problem> {
    let own = one(compiler, &ready.envelope.task, ready.envelope.module, &ready.code, wall).await?;
    (ready.artifact, ready.code) = (own.hash, own.bytes);
    for callee in &ready.envelope.callees {
        let Some(module) = ready.blobs.get(&callee.module).cloned() else { continue };
        let artifact = one(compiler, &callee.name, callee.module, &module, wall).await?;
        ready.blobs.insert(callee.module, artifact.bytes);
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
