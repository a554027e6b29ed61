//! The controller as a library: connected once, used for many runs. `waft` itself has no process that stays, so this
//! is the only way to see what a run costs when the links are up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use waft::compile::{Cache, artifact};
use waft::controller::{Controller, Setup};
use waft::event::{Body, Event};
use waft::memory::Memory;
use waft::run::{Request, run};
use waft::ssh::resolver::SshResolver;
use waft::stubs::{Shelf, builtin_task};
use waft::tree::{Endpoint, Target, Transport, shape};
use waft_proto::msg::{Arch, Profile};
use waft_proto::run::{Problem, Status};
use waft_tests::lab::Lab;
use waft_tests::{Context, Error, Result};

use crate::bench::{Bench, PROGRAM};

/// Running time of one task; all of them end at once.
const TASK_TIMEOUT: Duration = Duration::from_secs(60);

/// A target with its link up.
pub(crate) struct Connected {
    runtime: Runtime,
    controller: Controller,
    cache: Cache,
}

impl Connected {
    /// One host of a lab, over SSH.
    pub(crate) fn to_host(bench: &Bench, lab: &Lab, host: &str) -> Result<Connected> {
        let (config, known_hosts) = (lab.ssh_config.clone(), lab.known_hosts.clone());
        let resolver = SshResolver::new(Some(config), Some(known_hosts), vec![lab.key.path.clone()]);
        Connected::start(bench, Endpoint::named(host), Vec::new(), resolver)
    }

    /// The same behind another host of it.
    pub(crate) fn to_host_behind(bench: &Bench, lab: &Lab, hop: &str, host: &str) -> Result<Connected> {
        let (config, known_hosts) = (lab.ssh_config.clone(), lab.known_hosts.clone());
        let resolver = SshResolver::new(Some(config), Some(known_hosts), vec![lab.key.path.clone()]);
        Connected::start(bench, Endpoint::named(host), vec![Endpoint::named(hop)], resolver)
    }

    /// This machine, over a pair of pipes.
    pub(crate) fn to_this_machine(bench: &Bench) -> Result<Connected> {
        let endpoint = Endpoint { transport: Transport::Local, ..Endpoint::named("local") };
        Connected::start(bench, endpoint, Vec::new(), SshResolver::new(None, None, Vec::new()))
    }

    fn start(
        bench: &Bench,
        endpoint: Endpoint,
        via: Vec<Endpoint>,
        resolver: SshResolver,
    ) -> Result<Connected> {
        let target = Target { endpoint, via, allow: Vec::new() };
        let shape = Arc::new(shape(&[target]).map_err(|problems| problem(&problems[0]))?);
        let shelf = Arc::new(Shelf::load().map_err(|e| problem(&e))?);
        let setup = Setup { resolver: Arc::new(resolver), shelf, memory: Memory::none(), key: None };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context(|| "cannot start a runtime".to_owned())?;
        let controller = runtime.block_on(async { Controller::start(shape, setup) });
        let controller = controller.map_err(|e| problem(&e))?;
        // This program is not the compiler; waft is.
        let cache = Cache::new(Some(bench.dir()?)).compiler(bench.waft.clone());
        Ok(Connected { runtime, controller, cache })
    }

    /// A task's artifact for this machine: compiled, or from the cache.
    pub(crate) fn artifact(&self, request: &Request) -> Result<Vec<u8>> {
        let arch = Arch::here().ok_or_else(|| Error::new("there are no stubs for this machine"))?;
        let made = artifact(&self.cache, &request.task, &request.wasm, arch, Profile::Fast);
        self.runtime.block_on(made).map_err(|e| problem(&e))
    }

    /// Runs the task once; it must end well.
    pub(crate) fn run(&mut self, request: &Request) -> Result<Duration> {
        let mut status = None;
        let mut sink = |event: &Event| {
            if let Body::Result(result) = &event.body {
                status = Some((result.status, result.problem.clone()));
            }
            Ok(())
        };
        let started = Instant::now();
        let never = std::future::pending();
        let finished =
            self.runtime.block_on(run(&mut self.controller, &self.cache, request, &mut sink, never));
        let took = started.elapsed();
        finished.map_err(|e| problem(&e))?;
        match status {
            Some((Status::Ok, _)) => Ok(took),
            other => Err(Error::new(format!("the task did not end well: {other:?}"))),
        }
    }

    pub(crate) fn stop(self) -> Result<()> {
        let stuck = self.runtime.block_on(self.controller.stop());
        match stuck.is_empty() {
            true => Ok(()),
            false => Err(Error::new(format!("{} did not end its stub", stuck.join(", ")))),
        }
    }
}

/// What `waft exec -- /bin/true` asks for.
pub(crate) fn exec() -> Result<Request> {
    let wasm = builtin_task("exec").ok_or_else(|| Error::new("there is no task `exec`"))?;
    let params = serde_json::json!({ "argv": [PROGRAM] }).to_string().into_bytes();
    Ok(Request { params, allow: vec!["exec:*".to_owned()], ..task("exec", wasm) })
}

/// A task without parameters or grants.
pub(crate) fn task(name: &str, wasm: &[u8]) -> Request {
    Request {
        task: name.to_owned(),
        wasm: Arc::from(wasm),
        params: b"{}".to_vec(),
        allow: Vec::new(),
        check: false,
        diff: false,
        timeout: TASK_TIMEOUT,
        head: waft::run::Head::default(),
        vouched: Default::default(),
        along: Default::default(),
        secrets: waft::secret::Sent::default(),
        after_reboot: None,
    }
}

/// The path of the leaf stub for this machine.
pub(crate) fn stub(bench: &Bench) -> Result<PathBuf> {
    Ok(PathBuf::from(bench.waft_stub(&["path", "--kind", "leaf"])?.trim()))
}

pub(crate) fn problem(problem: &Problem) -> Error {
    Error::new(format!("{}: {}", problem.code, problem.message))
}
