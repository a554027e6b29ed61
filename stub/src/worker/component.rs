//! A component, ready to be executed: as [`super::guest`] for a core module. WASI 0.2 and the world `waft:task` in
//! sdk/wit/waft.wit, whose requests and answers are those of `waft_v1`.

use super::Loaded;
use super::guest::{TABLE_ELEMENTS_MAX, explain, wasi};
use super::host::{Calls, FAILED, REQUESTS, Replaced};
use super::output::Output;
use super::streams;
use super::wire::{
    Dir, End, Fault, FromWorker, Function, Limits, Link, Load, PART_BYTES_MAX, REQUEST_BYTES_MAX, cut,
};
use serde::Deserialize;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use waft_engine::Form;
use waft_engine::imports::WAFT_HOST;
use waft_proto::msg::Stream;
use wasmtime::component::{Component, ComponentType, Lift, Linker, LinkerInstance, Lower, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, Store, StoreContextMut};
use wasmtime_wasi::p2::add_to_linker_async;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

/// Core modules of a component, its adapters included.
const INSTANCES_MAX: usize = 64;
const MEMORIES_MAX: usize = 16;
const TABLES_MAX: usize = 32;
/// Streams, descriptors and the like that are open at a time, number. Each costs the worker memory of its own.
const RESOURCES_MAX: usize = 4096;

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: Total,
    calls: Calls,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// What the memories, and the tables, of a component may have together.
struct Total {
    memory_bytes: usize,
    table_elements: usize,
}

/// Takes the growth from what is left.
fn take(left: &mut usize, current: usize, desired: usize) -> bool {
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

impl ResourceLimiter for Total {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        most: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(most.is_none_or(|most| desired <= most) && take(&mut self.memory_bytes, current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        most: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(most.is_none_or(|most| desired <= most) && take(&mut self.table_elements, current, desired))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

pub(super) struct Guest {
    engine: Engine,
    command: CommandPre<State>,
    dirs: Vec<Dir>,
    limits: Limits,
}

impl Loaded for Guest {
    /// Which calls of WASI 0.2 would not have failed on the real files is not told apart here, nor is a FIFO or a device from
    /// a file before it is opened.
    const COVERED: bool = true;

    fn load(artifact: File, load: &Load, _: &'static [i32]) -> Result<Guest, (Fault, String)> {
        let broken = |error: wasmtime::Error| (Fault::Artifact, format!("{error:#}"));
        let config = waft_engine::config(load.engine, Form::Component);
        let engine = config.and_then(|config| Engine::new(&config)).map_err(broken)?;
        let unread = |error: io::Error| (Fault::Artifact, error.to_string());
        let length = artifact.metadata().map_err(unread)?.len();
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        artifact.read_exact_at(&mut bytes, 0).map_err(unread)?;
        // SAFETY: as for a module: the controller's compiler wrote these bytes, and its signature names their hash.
        let component = unsafe { Component::deserialize(&engine, &bytes) }.map_err(broken)?;
        drop(bytes);
        let linker = linker(&engine).map_err(broken)?;
        let linked =
            linker.instantiate_pre(&component).map_err(|error| (Fault::Import, format!("{error:#}")))?;
        let command = CommandPre::new(linked).map_err(|_| (Fault::Start, String::new()))?;
        let guest = Guest { engine, command, dirs: load.dirs.clone(), limits: load.limits };
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
                let wasi = wasi.stdout(stdout.clone()).stderr(stderr.clone()).build();
                self.call(wasi, Calls::new(link, execution)).await
            }
            Err((_, text)) => Err(wasmtime::Error::msg(text)),
        };
        let text;
        let end = match ended {
            Ok(Ok(())) => End::Exit(0),
            Ok(Err(())) => End::Exit(1),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(code)) => End::Exit(code.cast_unsigned()),
                None if error.is::<Replaced>() => End::Replaced,
                None => {
                    text = explain(&error);
                    End::Trap(cut(&text))
                }
            },
        };
        let (stdout_bytes, stderr_bytes) = (stdout.written(), stderr.written());
        link.send(&FromWorker::Done { execution, end, stdout_bytes, stderr_bytes })
    }
}

impl Guest {
    async fn call(&self, wasi: WasiCtx, calls: Calls) -> wasmtime::Result<Result<(), ()>> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let limits = Total {
            memory_bytes: usize::try_from(self.limits.memory_bytes).unwrap_or(usize::MAX),
            table_elements: TABLE_ELEMENTS_MAX,
        };
        let mut store = Store::new(&self.engine, State { wasi, table, limits, calls });
        store.limiter(|state| &mut state.limits);
        // Nobody ticks the epoch: the deadline is the stub's, by SIGKILL.
        store.set_epoch_deadline(1);
        let command = self.command.instantiate_async(&mut store).await?;
        command.wasi_cli_run().call_run(&mut store).await
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    add_to_linker_async(&mut linker)?;
    streams::add(&mut linker)?;
    let mut host = linker.instance(WAFT_HOST)?;
    for function in REQUESTS {
        add(&mut host, function)?;
    }
    host.func_wrap("read", |mut cx: StoreContextMut<'_, State>, (handle, limit): (u32, u32)| {
        let calls = &mut cx.data_mut().calls;
        let room = usize::try_from(limit).unwrap_or(usize::MAX).min(PART_BYTES_MAX);
        let mut bytes = vec![0; room];
        let read = calls.read(handle, &mut bytes)?;
        bytes.truncate(usize::try_from(read).unwrap_or_default());
        Ok((if read == FAILED { Err(problem(&calls.reply)) } else { Ok(bytes) },))
    })?;
    host.func_wrap("write", |mut cx: StoreContextMut<'_, State>, (handle, bytes): (u32, Vec<u8>)| {
        let calls = &mut cx.data_mut().calls;
        let wrote = calls.write(handle, &bytes)?;
        Ok((if wrote == FAILED { Err(problem(&calls.reply)) } else { Ok(wrote.cast_unsigned()) },))
    })?;
    Ok(linker)
}

fn add(host: &mut LinkerInstance<'_, State>, function: Function) -> wasmtime::Result<()> {
    host.func_wrap(function.word(), move |mut cx: StoreContextMut<'_, State>, (request,): (String,)| {
        if request.len() > REQUEST_BYTES_MAX {
            let message = format!("a request has at most {REQUEST_BYTES_MAX} bytes");
            return Ok((Err(Refusal { code: "call.size".to_owned(), message, hint: None }),));
        }
        let calls = &mut cx.data_mut().calls;
        calls.ask(function, request.as_bytes())?;
        let reply = std::mem::take(&mut calls.reply);
        let answer =
            String::from_utf8(reply).map_err(|_| wasmtime::Error::msg("the stub answered no text"))?;
        // Else every answer would have to be read whole to know what it is.
        Ok((if answer.starts_with(ERROR) { Err(problem(answer.as_bytes())) } else { Ok(answer) },))
    })
}

/// How an answer begins that is a refusal or a failure.
const ERROR: &str = r#"{"error":"#;

/// `problem` of the world.
#[derive(ComponentType, Lift, Lower, Deserialize, Debug)]
#[component(record)]
struct Refusal {
    code: String,
    message: String,
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Deserialize)]
struct Failed {
    error: Refusal,
}

fn problem(reply: &[u8]) -> Refusal {
    match serde_json::from_slice(reply) {
        Ok(Failed { error }) => error,
        Err(_) => Refusal {
            code: "call.answer".to_owned(),
            message: String::from_utf8_lossy(cut_bytes(reply)).into_owned(),
            hint: None,
        },
    }
}

fn cut_bytes(bytes: &[u8]) -> &[u8] {
    bytes.get(..super::wire::TEXT_BYTES_MAX).unwrap_or(bytes)
}
