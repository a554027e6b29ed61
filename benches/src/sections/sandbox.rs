//! What the walls cost: the same artifact in this process, in a worker, and at the end of a link.
//!
//! ```text
//!  floor    store -> instantiate -> call                                  no WASI, no limits, no second process
//!  worker   pool -> channel -> worker: the same, with WASI and limits     the stub's library, in this process
//!  link     controller -> sign -> frames -> stub: verify -> worker        the controller's library, stub over pipes
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use waft_proto::envelope::{Artifact, Envelope, Wall};
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::{Arch, Engine};
use waft_proto::node::ReadyRun;
use waft_proto::run::Status;
use waft_stub::policy::NodePolicy;
use waft_stub::pool::{Job, JobEvent, Pool};
use waft_tests::{Context, Error, Result};
use wasmtime::{Caller, InstancePre, Linker, Module, Store};

use crate::bench::Bench;
use crate::library::{Connected, problem, stub, task};
use crate::measure::{Samples, take_turns};
use crate::report::{Row, Table};

pub(super) const NAME: &str = "sandbox";
const ABOUT: &str = "One execution of a task that prints `{}`, 0.2 kB of WebAssembly: nothing but the way to it. \
                     The ratio is to the floor, which is the engine alone: one store per execution, output into a \
                     vector, no WASI, no limits, no other process.";
const ROUNDS: usize = 300;
/// Starts a process each time.
const ROUNDS_STARTING: usize = 30;
/// For two messages between two processes; beyond it, an execution is held against the floor.
const WORKER_ALLOWED: Duration = Duration::from_micros(100);
/// Events of one execution: ready, running, output, done.
const EVENTS: usize = 8;
const TASK: &str = "print";

const WAT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\03\00\00\00")
    (data (i32.const 16) "{}\n")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
const PRINTED: &[u8] = b"{}\n";

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    let wasm = empty_task()?;
    let arch = Arch::here().ok_or_else(|| Error::new("there is no engine for this machine"))?;
    let engine = Engine { arch, profile: waft_stub::profile() };
    let artifact: Arc<[u8]> = waft_engine::compile(engine, &wasm).map_err(|e| failed(&e))?.into();

    let floor = Floor::new(engine, &artifact)?;
    let program = stub(bench)?;
    let start = |wall| Workers::new(Pool::with_program(program.clone()), engine, &wasm, &artifact, wall);
    let (workers, open) = (start(Wall::Required)?, start(Wall::Off)?);
    let mut link = Connected::to_this_machine(bench)?;
    let request = task(TASK, &wasm);
    let [in_process, in_worker, in_open_worker, over_link] = take_turns(
        bench.rounds(ROUNDS),
        [&mut || floor.execute(), &mut || workers.execute(), &mut || open.execute(), &mut || {
            link.run(&request)
        }],
    )?;
    workers.end();
    open.end();
    link.stop()?;
    let anew = |wall| {
        let workers = start(wall)?;
        let took = workers.execute();
        workers.end();
        took
    };
    let [new_worker, new_open_worker] =
        take_turns(bench.rounds(ROUNDS_STARTING), [&mut || anew(Wall::Required), &mut || anew(Wall::Off)])?;

    let row = |name: &str, samples: &Samples| Row::time(name, samples).against(samples, &in_process);
    let rows = vec![
        Row::time("floor: the engine in this process", &in_process),
        Row::time("a warm worker", &in_worker).against_after(WORKER_ALLOWED, &in_worker, &in_process),
        Row::time("a warm worker, beside one without the kernel's walls", &in_worker)
            .against(&in_worker, &in_open_worker),
        row("a run over a local link to a warm worker", &over_link),
        row("a new worker", &new_worker),
        row("a new worker without the kernel's walls", &new_open_worker),
        Row::time("a new worker, milliseconds", &new_worker).bounded_ms(&new_worker),
    ];
    Ok(Table { name: NAME, about: ABOUT, rows })
}

/// A task that prints `{}`.
pub(super) fn empty_task() -> Result<Vec<u8>> {
    wat::parse_str(WAT).context(|| "the task is no WebAssembly".to_owned())
}

/// The least that an execution in a store of its own can cost.
struct Floor {
    engine: wasmtime::Engine,
    module: InstancePre<Vec<u8>>,
}

impl Floor {
    fn new(engine: Engine, artifact: &[u8]) -> Result<Floor> {
        let build = || -> wasmtime::Result<Floor> {
            let engine = wasmtime::Engine::new(&waft_engine::config(engine, waft_engine::Form::Module)?)?;
            // SAFETY: our own compiler wrote these bytes a moment ago.
            let module = unsafe { Module::deserialize(&engine, artifact) }?;
            let mut linker = Linker::new(&engine);
            linker.func_wrap("wasi_snapshot_preview1", "fd_write", write)?;
            Ok(Floor { module: linker.instantiate_pre(&module)?, engine })
        };
        build().map_err(|e| failed(&e))
    }

    fn execute(&self) -> Result<Duration> {
        let started = Instant::now();
        let execute = || -> wasmtime::Result<Vec<u8>> {
            let mut store = Store::new(&self.engine, Vec::new());
            store.set_epoch_deadline(1);
            let instance = self.module.instantiate(&mut store)?;
            instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
            Ok(store.into_data())
        };
        let printed = execute().map_err(|e| failed(&e))?;
        let took = started.elapsed();
        expect_printed(&printed).map(|()| took)
    }
}

/// `fd_write` as far as the task uses it: one buffer, any descriptor.
fn write(
    mut caller: Caller<'_, Vec<u8>>,
    _fd: i32,
    iovec: i32,
    _count: i32,
    written: i32,
) -> wasmtime::Result<i32> {
    let memory = caller.get_export("memory").and_then(|export| export.into_memory());
    let memory = memory.ok_or_else(|| wasmtime::Error::msg("no memory"))?;
    let (bytes, printed) = memory.data_and_store_mut(&mut caller);
    let part = |at: u32, length: u32| {
        let at = at as usize;
        bytes
            .get(at..at + length as usize)
            .ok_or_else(|| wasmtime::Error::msg("an address outside of memory"))
    };
    let number = |at: u32| Ok::<u32, wasmtime::Error>(u32::from_le_bytes(part(at, 4)?.try_into()?));
    let iovec = iovec.cast_unsigned();
    let length = number(iovec + 4)?;
    printed.extend_from_slice(part(number(iovec)?, length)?);
    memory.write(&mut caller, written as usize, &length.to_le_bytes())?;
    Ok(0)
}

/// The stub's pool, which runs every job in a worker process.
struct Workers {
    pool: Pool,
    runtime: Runtime,
    run: ReadyRun,
}

impl Workers {
    fn new(pool: Pool, engine: Engine, wasm: &[u8], artifact: &Arc<[u8]>, wall: Wall) -> Result<Workers> {
        let (hash, params) = (Hash::of(artifact), b"{}".as_slice());
        let envelope = Envelope {
            run: RunId([0; 16]),
            task: TASK.to_owned(),
            targets: Vec::new(),
            module: Hash::of(wasm),
            artifacts: vec![Artifact { engine, hash, bytes: artifact.len() as u64, worker: None }],
            params: Hash::of(params),
            grants: Vec::new(),
            check: false,
            timeout_ms: 60_000,
            expires: u64::MAX,
            nonce: [0; 8],
            wall,
            diff: false,
            task_signatures: Vec::new(),
            approval: None,
            callees: Vec::new(),
            files: Vec::new(),
            audit: None,
        };
        let run = ReadyRun {
            envelope,
            artifact: hash,
            code: artifact.clone(),
            input: params.into(),
            blobs: BTreeMap::new(),
            workers: BTreeMap::new(),
            order: Hash::of(b""),
            secrets: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Workers { pool, runtime: runtime.context(|| "cannot start a runtime".to_owned())?, run })
    }

    fn execute(&self) -> Result<Duration> {
        let started = Instant::now();
        let job =
            Job::prepare(self.run.clone(), "here", &NodePolicy::default(), 0).map_err(|e| problem(&e))?;
        let (events, mut received) = mpsc::channel(EVENTS);
        let (_cancel, cancelled) = oneshot::channel();
        let mut printed = Vec::new();
        let outcome = self.runtime.block_on(async {
            let job = self.pool.run(job, events, cancelled);
            let listen = async {
                let mut outcome = None;
                while let Some(event) = received.recv().await {
                    match event {
                        JobEvent::Output { bytes, .. } => printed.extend(bytes),
                        JobEvent::Done(done) => outcome = Some(done),
                        JobEvent::Ready | JobEvent::Running => {}
                    }
                }
                outcome
            };
            tokio::join!(job, listen).1
        });
        let took = started.elapsed();
        match outcome {
            Some(outcome) if outcome.status == Status::Ok => expect_printed(&printed).map(|()| took),
            other => Err(Error::new(format!("the task did not end well: {other:?}"))),
        }
    }

    fn end(&self) {
        self.runtime.block_on(self.pool.shutdown());
    }
}

fn expect_printed(bytes: &[u8]) -> Result<()> {
    match bytes == PRINTED {
        true => Ok(()),
        false => Err(Error::new(format!("the task printed {:?}", String::from_utf8_lossy(bytes)))),
    }
}

fn failed(error: &wasmtime::Error) -> Error {
    Error::new(format!("the engine: {error:#}"))
}
