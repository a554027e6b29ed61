//! The controller as a library: connected once, used for many runs. `waft` itself has no process that stays, so this
//! is the only way to see what a run costs when the links are up.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use waft::compile::{Cache, artifact};
use waft::controller::{Controller, Seen, Setup};
use waft::event::{Body, Event, TargetResult, Traffic};
use waft::memory::Memory;
use waft::run::{Request, run};
use waft::ssh::resolver::SshResolver;
use waft::stubs::{Shelf, builtin_task};
use waft::tree::{Endpoint, Target, shape};
use waft_proto::id::{Hash, NodeId};
use waft_proto::msg::{Arch, BlobKind, Msg, Profile, StubKind};
use waft_proto::run::Problem;
use waft_proto::store::Store;
use waft_tests::lab::Lab;
use waft_tests::waft::binary;
use waft_tests::{Context, Error, Result};

use crate::LIMIT;

/// A tree of a lab that is connected, or being connected.
pub(crate) struct Connected {
    runtime: Runtime,
    controller: Controller,
    cache: Cache,
    /// Of the artifacts.
    _dir: TempDir,
}

/// What one run gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) results: Vec<TargetResult>,
    /// Frames of this run on the links of the root, without what SSH adds.
    pub(crate) frames: Traffic,
}

impl Connected {
    /// Begins to connect these hosts of a lab, each behind the hops that the lab gives it.
    pub(crate) fn to(lab: &Lab, names: &[&str]) -> Result<Connected> {
        let targets: Vec<Target> = names
            .iter()
            .map(|name| Target { endpoint: Endpoint::named(name), via: via(lab, name), allow: Vec::new() })
            .collect();
        Connected::with(lab, &targets)
    }

    /// The same, of targets with settings and grants of their own.
    pub(crate) fn with(lab: &Lab, targets: &[Target]) -> Result<Connected> {
        let shape = Arc::new(shape(targets).map_err(|problems| said(&problems[0]))?);
        let resolver = SshResolver::new(
            Some(lab.ssh_config.clone()),
            Some(lab.known_hosts.clone()),
            vec![lab.key.path.clone()],
        );
        let shelf = Arc::new(Shelf::load().map_err(|problem| said(&problem))?);
        let setup = Setup { resolver: Arc::new(resolver), shelf, memory: Memory::none(), key: None };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.context(|| "cannot start a runtime".to_owned())?;
        let controller = runtime.block_on(async { Controller::start(shape, setup) });
        let controller = controller.map_err(|problem| said(&problem))?;
        let dir = tempfile::tempdir().context(|| "cannot make a directory for artifacts".to_owned())?;
        // This program is not the compiler; waft is.
        let cache = Cache::new(Some(dir.path().to_owned())).compiler(binary()?);
        Ok(Connected { runtime, controller, cache, _dir: dir })
    }

    /// Waits for the hello of every node of the tree, the last one included.
    pub(crate) fn wait_joined(&mut self) -> Result<()> {
        let mut missing: Vec<NodeId> = self.controller.shape().nodes().iter().map(|node| node.id).collect();
        let controller = &mut self.controller;
        self.runtime.block_on(within(async {
            while !missing.is_empty() {
                match controller.next().await {
                    Seen::Up(node, _) => missing.retain(|other| *other != node),
                    Seen::Gone { problem, .. } => return Err(said(&problem)),
                    _ => {}
                }
            }
            Ok(())
        }))
    }

    /// A task's artifact, which is then at hand for every run.
    pub(crate) fn artifact(&self, request: &Request) -> Result<Vec<u8>> {
        let arch = Arch::here().ok_or_else(|| Error::new("waft has no stub for this machine"))?;
        let made = artifact(&self.cache, &request.task, &request.wasm, arch, Profile::Fast);
        self.runtime.block_on(made).map_err(|problem| said(&problem))
    }

    /// What a task's artifact takes on the way to whoever has nothing like it.
    pub(crate) fn artifact_bytes(&self, request: &Request) -> Result<u64> {
        Ok(wire_bytes(BlobKind::Artifact, &[&self.artifact(request)?]))
    }

    /// Where artifacts are kept, and who makes them.
    pub(crate) fn cache(&self) -> (&Cache, &Path) {
        (&self.cache, self._dir.path())
    }

    /// Runs a task on every target; each must end well.
    pub(crate) fn run(&mut self, request: &Request) -> Result<Ran> {
        self.run_seen(request, |_| {})
    }

    /// The same; `seen` is shown each event when it comes.
    pub(crate) fn run_seen(&mut self, request: &Request, seen: impl FnMut(&Event) + Send) -> Result<Ran> {
        let ran = self.attempt(request, seen)?;
        match ran.results.iter().find(|result| result.exit_code != Some(0)) {
            Some(bad) => Err(Error::new(format!("{} did not end well: {bad:?}", request.task))),
            None => Ok(ran),
        }
    }

    /// The same, however it ends.
    pub(crate) fn attempt(&mut self, request: &Request, mut seen: impl FnMut(&Event) + Send) -> Result<Ran> {
        let mut results = Vec::new();
        let mut sink = |event: &Event| {
            seen(event);
            if let Body::Result(result) = &event.body {
                results.push(TargetResult::clone(result));
            }
            Ok(())
        };
        let before = self.controller.bytes();
        let (controller, cache) = (&mut self.controller, &self.cache);
        self.runtime.block_on(within(async {
            run(controller, cache, request, &mut sink, pending()).await.map_err(|problem| said(&problem))
        }))?;
        let after = self.controller.bytes();
        Ok(Ran { results, frames: Traffic { up: after.0 - before.0, down: after.1 - before.1 } })
    }

    /// Ends all stubs; one that does not end in time is an error.
    pub(crate) fn stop(self) -> Result<()> {
        let stuck = self.runtime.block_on(self.controller.stop());
        match stuck.is_empty() {
            true => Ok(()),
            false => Err(Error::new(format!("{} did not end its stub", stuck.join(", ")))),
        }
    }
}

/// `waft exec -- PROGRAM ARG...`
pub(crate) fn exec(argv: &[&str]) -> Result<Request> {
    let params = serde_json::json!({ "argv": argv }).to_string().into_bytes();
    Ok(Request { params, allow: vec!["exec:*".to_owned()], ..task("exec")? })
}

/// `waft run facts --allow facts`
pub(crate) fn facts() -> Result<Request> {
    Ok(Request { allow: vec!["facts".to_owned()], ..task("facts")? })
}

fn task(name: &str) -> Result<Request> {
    let wasm = builtin_task(name).ok_or_else(|| Error::new(format!("there is no task `{name}`")))?;
    Ok(module(name, Arc::from(wasm)))
}

/// A module of the test's own, without grants.
pub(crate) fn module(name: &str, wasm: Arc<[u8]>) -> Request {
    Request {
        task: name.to_owned(),
        wasm,
        params: b"{}".to_vec(),
        allow: Vec::new(),
        check: false,
        diff: false,
        timeout: LIMIT,
        head: waft::run::Head::default(),
        vouched: Default::default(),
        along: Default::default(),
        secrets: waft::secret::Sent::default(),
        after_reboot: None,
    }
}

/// The compressed size of a stub as it crosses a link.
pub(crate) fn stub_bytes(kind: StubKind) -> Result<u64> {
    let shelf = Shelf::load().map_err(|problem| said(&problem))?;
    let stub = Arch::here().and_then(|arch| Some(shelf.find(arch, kind)?.blob.bytes));
    stub.ok_or_else(|| Error::new(format!("there is no {} stub for this machine", kind.word())))
}

/// The messages by which the last of these blobs goes to whoever was sent the others before, and the bytes of each.
pub(crate) fn messages(kind: BlobKind, blobs: &[&[u8]]) -> Vec<(Msg, u64)> {
    let mut store = Store::new(u64::MAX);
    let hashes: Vec<Hash> = blobs.iter().map(|blob| store.insert(kind, Arc::from(*blob))).collect();
    let Some((last, before)) = hashes.split_last() else { return Vec::new() };
    let has = |hash: Hash| before.contains(&hash);
    let plan = store.compare(*last, has);
    let (mut offset, mut sent) = (0, Vec::new());
    while let Some((message, bytes)) = store.message(*last, offset, plan.as_ref(), has) {
        offset += bytes;
        sent.push((message, bytes));
    }
    sent
}

/// What that takes: each message to its last byte.
pub(crate) fn wire_bytes(kind: BlobKind, blobs: &[&[u8]]) -> u64 {
    messages(kind, blobs).iter().map(|(message, _)| message.encode().len() as u64).sum()
}

/// The hops before a host, nearest to the controller first.
fn via(lab: &Lab, name: &str) -> Vec<Endpoint> {
    let mut hops = Vec::new();
    let mut at = lab.host(name).via.as_deref();
    while let Some(hop) = at {
        hops.push(Endpoint::named(hop));
        at = lab.host(hop).via.as_deref();
    }
    hops.reverse();
    hops
}

async fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    const LESS: Duration = Duration::from_secs(LIMIT.as_secs() / 2);
    match tokio::time::timeout(LESS, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(format!("not done after {} s", LESS.as_secs()))),
    }
}

fn said(problem: &Problem) -> Error {
    Error::new(format!("{}: {}", problem.code, problem.message))
}
