//! One module, ready to be executed: what is made once per worker (engine, module, linked imports) and what
//! is made anew for each execution (store, memory, WASI).

use super::Loaded;
use super::dry::{self, Unkept};
use super::host::{self, Calls, Replaced};
use super::output::Output;
use super::wire::{Dir, End, Fault, FromWorker, Limits, Link, Load, cut};
use std::fmt::{self, Write};
use std::fs::File;
use std::io;
use std::sync::Arc;
use waft_engine::Form;
use waft_engine::imports::{WASI, functions};
use waft_proto::msg::Stream;
use wasmtime::{
    Engine, InstancePre, Linker, Module, Store, StoreLimits, StoreLimitsBuilder, Trap, WasmBacktrace,
};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

mod listing;

use listing::Listings;

/// Tables of a module, and elements of each (16 bytes or less): Go and C++ modules use some ten thousand.
const TABLES_MAX: usize = 4;
pub(super) const TABLE_ELEMENTS_MAX: usize = 1 << 20;
/// Functions that the report of a trap names, innermost first.
const FRAMES_MAX: usize = 8;
const PAGE_BYTES: u64 = 64 << 10;

/// What the host functions of one execution know.
pub(super) struct State {
    pub(super) wasi: WasiP1Ctx,
    limits: StoreLimits,
    pub(super) calls: Calls,
    /// In a dry run: the errors that the real files would not have given.
    pub(super) denied: &'static [i32],
    listings: Listings,
}

pub(super) struct Guest {
    engine: Engine,
    module: InstancePre<State>,
    dirs: Vec<Dir>,
    limits: Limits,
    denied: &'static [i32],
}

/// How a guest leaves: WASI's `proc_exit` with any number. wasmtime's own traps from 126 on.
#[derive(Debug)]
struct Exit(u32);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task ended with exit code {}", self.0)
    }
}

impl std::error::Error for Exit {}

impl Loaded for Guest {
    /// What is opened is looked at before: see [`super::dry`].
    const COVERED: bool = false;

    fn load(artifact: File, load: &Load, denied: &'static [i32]) -> Result<Guest, (Fault, String)> {
        let broken = |error: wasmtime::Error| (Fault::Artifact, format!("{error:#}"));
        let engine = waft_engine::config(load.engine, Form::Module)
            .and_then(|config| Engine::new(&config))
            .map_err(broken)?;
        // SAFETY: the stub took these bytes from the blob that the controller named as this task's artifact,
        // by hash, and sealed the file, so they are what the controller's compiler wrote and stay so.
        let module = unsafe { Module::deserialize_open_file(&engine, artifact) }
            // What stands around the cause names descriptors and addresses.
            .map_err(|error| (Fault::Artifact, error.root_cause().to_string()))?;
        let mut linker = linker(&engine).map_err(broken)?;
        if load.dry.is_some() {
            dry::watch(&mut linker).map_err(broken)?;
        }
        fits(&module, &load.limits)?;
        known(&module)?;
        if module.get_export("_start").is_none_or(|start| start.func().is_none()) {
            return Err((Fault::Start, String::new()));
        }
        let module =
            linker.instantiate_pre(&module).map_err(|error| (Fault::Import, format!("{error:#}")))?;
        let guest = Guest { engine, module, dirs: load.dirs.clone(), limits: load.limits, denied };
        // A directory that is missing now is a better answer than a task that fails halfway.
        wasi(&guest.dirs, &[], &[], Vec::new())?;
        Ok(guest)
    }

    async fn execute(
        &self,
        link: &Arc<Link>,
        execution: u64,
        args: &[&str],
        env: &[(&str, &str)],
        params: Vec<u8>,
    ) -> io::Result<()> {
        let stdout = Output::new(link, execution, Stream::Stdout, self.limits.out_bytes);
        let stderr = Output::new(link, execution, Stream::Stderr, self.limits.out_bytes);
        let ended = match wasi(&self.dirs, args, env, params) {
            Ok(mut wasi) => {
                let wasi = wasi.stdout(stdout.clone()).stderr(stderr.clone()).build_p1();
                let (limits, calls) = (self.store_limits(), Calls::new(link, execution));
                let listings = Listings::default();
                self.call(State { wasi, limits, calls, denied: self.denied, listings }).await
            }
            Err((_, text)) => Err(wasmtime::Error::msg(text)),
        };
        let text;
        let end = match ended {
            Ok(()) => End::Exit(0),
            Err(error) => match error.downcast_ref::<Exit>() {
                Some(Exit(code)) => End::Exit(*code),
                None if error.is::<Replaced>() => End::Replaced,
                None => match error.downcast_ref::<Unkept>() {
                    Some(Unkept(errno)) => End::Unkept(errno.unsigned_abs()),
                    None => {
                        text = explain(&error);
                        End::Trap(cut(&text))
                    }
                },
            },
        };
        let (stdout_bytes, stderr_bytes) = (stdout.written(), stderr.written());
        link.send(&FromWorker::Done { execution, end, stdout_bytes, stderr_bytes })
    }
}

impl Guest {
    async fn call(&self, state: State) -> wasmtime::Result<()> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        // Nobody ticks the epoch: the deadline is the stub's, by SIGKILL.
        store.set_epoch_deadline(1);
        let instance = self.module.instantiate_async(&mut store).await?;
        instance.get_typed_func::<(), ()>(&mut store, "_start")?.call_async(&mut store, ()).await
    }

    fn store_limits(&self) -> StoreLimits {
        StoreLimitsBuilder::new()
            .memory_size(usize::try_from(self.limits.memory_bytes).unwrap_or(usize::MAX))
            .memories(1)
            .tables(TABLES_MAX)
            .table_elements(TABLE_ELEMENTS_MAX)
            .instances(1)
            .build()
    }
}

/// Everything but the outputs. No sockets, no environment of ours; clocks and randomness are allowed.
pub(super) fn wasi(
    dirs: &[Dir],
    args: &[&str],
    env: &[(&str, &str)],
    params: Vec<u8>,
) -> Result<WasiCtxBuilder, (Fault, String)> {
    let mut wasi = WasiCtxBuilder::new();
    // This process has nothing else to do while a task waits, and no other thread to do it on.
    wasi.allow_blocking_current_thread(true);
    wasi.args(args).envs(env).stdin(MemoryInputPipe::new(params));
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    for Dir { path, writable } in dirs {
        let perms = if *writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        wasi.preopened_dir(path, path, perms)
            .map_err(|error| (Fault::Dir, format!("{path}: {}", error.root_cause())))?;
    }
    Ok(wasi)
}

pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |state: &mut State| &mut state.wasi)?;
    linker.allow_shadowing(true);
    linker.func_wrap(WASI, "proc_exit", |code: u32| -> wasmtime::Result<()> { Err(Exit(code).into()) })?;
    listing::add(&mut linker)?;
    linker.allow_shadowing(false);
    host::add(&mut linker)?;
    Ok(linker)
}

/// What a module needs from the beginning can be told before it runs, with its name.
fn fits(module: &Module, limits: &Limits) -> Result<(), (Fault, String)> {
    let needs = module.resources_required();
    let memory = needs.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE_BYTES);
    if memory > limits.memory_bytes {
        return Err((
            Fault::Memory,
            format!("it begins with {memory} bytes of memory and may have {}", limits.memory_bytes),
        ));
    }
    let elements = needs.max_initial_table_size.unwrap_or(0);
    if elements > TABLE_ELEMENTS_MAX as u64 || needs.num_tables as usize > TABLES_MAX {
        let tables = needs.num_tables;
        return Err((
            Fault::Memory,
            format!(
                "it has {tables} tables with up to {elements} elements and may have {TABLES_MAX} with {TABLE_ELEMENTS_MAX}"
            ),
        ));
    }
    Ok(())
}

fn known(module: &Module) -> Result<(), (Fault, String)> {
    match module.imports().find(|import| !functions(import.module()).contains(&import.name())) {
        Some(import) => Err((Fault::Import, format!("{}.{}", import.module(), import.name()))),
        None => Ok(()),
    }
}

/// What a trap is called, and in which functions it happened, as far as the module names them.
pub(super) fn explain(error: &wasmtime::Error) -> String {
    let what = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let mut text = what.strip_prefix("wasm trap: ").unwrap_or(&what).to_owned();
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return text };
    for (at, frame) in backtrace.frames().iter().take(FRAMES_MAX).enumerate() {
        let link = if at == 0 { ", in" } else { ", called from" };
        // Writing to a string cannot fail.
        let _ = match frame.func_name() {
            Some(name) => write!(text, "{link} `{name}`"),
            None => write!(text, "{link} function {}", frame.func_index()),
        };
    }
    text
}

#[cfg(test)]
mod tests;
