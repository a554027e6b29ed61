//! `waft_v1`: what WASI 0.1 lacks, as a handful of functions for core modules. All take and return 32-bit numbers.
//!
//! * `exec`, `facts`, `file`, `net`, `task`, `blob`, `secret` and `emit`, each `(request, length)`, send a JSON text
//!   (UTF-8, at the address `request`) to the stub, wait for the answer, keep it, and return its length in bytes; or
//!   one of the negative numbers below, and then nothing was asked.
//! * `take(buffer, length)` copies the next bytes of the kept answer to `buffer`, at most `length`, and
//!   returns how many; 0 when all was taken. A new call drops what was left.
//! * `read(handle, buffer, length)` and `write(handle, bytes, length)` move the bytes behind a handle that `net` or
//!   `blob` gave, and return how many; `read` returns 0 at the end. [`FAILED`]: the answer says why.
//!
//! An answer that is a refusal or a failure is `{"error": {"code", "message", "hint"}}`. docs/waft-v1.md has all of it.
//!
//! Nothing is decided here. The stub checks grants with its own copy.

use super::guest::State;
use super::wire::{
    FromWorker, Function, Link, PART_BYTES_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, ToWorker, packet_buffer,
    parts,
};
use std::fmt;
use std::sync::Arc;
use waft_engine::imports::WAFT;
use wasmtime::{Caller, Linker, bail};

/// The request or buffer is not inside the module's exported memory `memory`.
pub const BAD_ADDRESS: i32 = -1;
/// The request is longer than 1 MiB.
pub const TOO_LONG: i32 = -2;
/// The request is no UTF-8.
pub const NOT_UTF8: i32 = -3;
/// A `read` or `write` failed: `take` gives the reason.
pub const FAILED: i32 = -4;

pub(super) const REQUESTS: [Function; 8] = [
    Function::Facts,
    Function::Exec,
    Function::File,
    Function::Net,
    Function::Task,
    Function::Blob,
    Function::Secret,
    Function::Emit,
];

/// The calls of one execution.
pub(super) struct Calls {
    link: Arc<Link>,
    execution: u64,
    pub(super) reply: Vec<u8>,
    taken: usize,
}

/// What the stub said.
enum Answer {
    Data(usize),
    Wrote(u32),
    /// A text, which is kept: the answer to a call, or why a `read` or `write` failed.
    Text,
}

impl Calls {
    pub(super) fn new(link: &Arc<Link>, execution: u64) -> Calls {
        Calls { link: Arc::clone(link), execution, reply: Vec::new(), taken: 0 }
    }

    /// Asks the stub and keeps its answer.
    pub(super) fn ask(&mut self, function: Function, request: &[u8]) -> wasmtime::Result<i32> {
        for part in parts(request) {
            self.link.send(&FromWorker::Call { execution: self.execution, function, part })?;
        }
        match self.answer(&mut [])? {
            Answer::Text => Ok(i32::try_from(self.reply.len())?),
            _ => bail!("the stub answered another call"),
        }
    }

    pub(super) fn read(&mut self, handle: u32, buffer: &mut [u8]) -> wasmtime::Result<i32> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let limit = u32::try_from(buffer.len().min(PART_BYTES_MAX))?;
        self.link.send(&FromWorker::Read { execution: self.execution, handle, limit })?;
        match self.answer(buffer)? {
            Answer::Data(bytes) => Ok(i32::try_from(bytes)?),
            Answer::Wrote(_) => bail!("the stub answered another call"),
            Answer::Text => Ok(FAILED),
        }
    }

    pub(super) fn write(&mut self, handle: u32, bytes: &[u8]) -> wasmtime::Result<i32> {
        let bytes = bytes.get(..PART_BYTES_MAX).unwrap_or(bytes);
        if bytes.is_empty() {
            return Ok(0);
        }
        self.link.send(&FromWorker::Write { execution: self.execution, handle, bytes })?;
        match self.answer(&mut [])? {
            Answer::Wrote(count) => Ok(i32::try_from(count)?),
            Answer::Data(_) => bail!("the stub answered another call"),
            Answer::Text => Ok(FAILED),
        }
    }

    /// What the stub says: bytes go to `buffer`, a text is kept.
    fn answer(&mut self, buffer: &mut [u8]) -> wasmtime::Result<Answer> {
        (self.reply, self.taken) = (Vec::new(), 0);
        let mut packet = packet_buffer();
        loop {
            match self.link.receive(&mut packet)? {
                Some(ToWorker::Replaced { execution }) if execution == self.execution => {
                    return Err(Replaced.into());
                }
                Some(ToWorker::Data { execution, bytes }) if execution == self.execution => {
                    let Some(buffer) = buffer.get_mut(..bytes.len()) else {
                        bail!("the answer of the stub is longer than asked for");
                    };
                    buffer.copy_from_slice(bytes);
                    return Ok(Answer::Data(bytes.len()));
                }
                Some(ToWorker::Wrote { execution, bytes }) if execution == self.execution => {
                    return Ok(Answer::Wrote(bytes));
                }
                Some(ToWorker::Reply { execution, part }) if execution == self.execution => {
                    self.reply.extend_from_slice(part.bytes);
                    if self.reply.len() > REPLY_BYTES_MAX {
                        bail!("the answer of the stub is longer than its limit");
                    }
                    if !part.more {
                        return Ok(Answer::Text);
                    }
                }
                _ => bail!("the stub did not answer the call"),
            }
        }
    }
}

/// Ends a guest whose execution has become a program.
#[derive(Debug)]
pub(super) struct Replaced;

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the execution became a program")
    }
}

impl std::error::Error for Replaced {}

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for function in REQUESTS {
        let asked = move |caller: Caller<'_, State>, request: u32, length: u32| {
            call(caller, function, request, length)
        };
        linker.func_wrap(WAFT, function.word(), asked)?;
    }
    linker.func_wrap(WAFT, "take", take)?;
    linker.func_wrap(WAFT, "read", read)?;
    linker.func_wrap(WAFT, "write", write)?;
    Ok(())
}

/// `length` bytes at `address` of the memory that the module exports, and the state beside it.
fn bytes<'a>(
    caller: &'a mut Caller<'_, State>,
    address: u32,
    length: u32,
) -> Option<(&'a mut [u8], &'a mut State)> {
    let memory = caller.get_export("memory")?.into_memory()?;
    let (data, state) = memory.data_and_store_mut(caller);
    let start = usize::try_from(address).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    Some((data.get_mut(start..end)?, state))
}

fn call(
    mut caller: Caller<'_, State>,
    function: Function,
    request: u32,
    length: u32,
) -> wasmtime::Result<i32> {
    let Some((request, state)) = bytes(&mut caller, request, length) else { return Ok(BAD_ADDRESS) };
    if request.len() > REQUEST_BYTES_MAX {
        return Ok(TOO_LONG);
    }
    if std::str::from_utf8(request).is_err() {
        return Ok(NOT_UTF8);
    }
    state.calls.ask(function, request)
}

fn take(mut caller: Caller<'_, State>, buffer: u32, length: u32) -> i32 {
    let Some((buffer, State { calls, .. })) = bytes(&mut caller, buffer, length) else { return BAD_ADDRESS };
    let left = calls.reply.get(calls.taken..).unwrap_or_default();
    let count = left.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(left) {
        *to = *from;
    }
    calls.taken += count;
    // At most the length of a reply, which is far below the largest i32.
    i32::try_from(count).unwrap_or(BAD_ADDRESS)
}

fn read(mut caller: Caller<'_, State>, handle: u32, buffer: u32, length: u32) -> wasmtime::Result<i32> {
    match bytes(&mut caller, buffer, length) {
        Some((buffer, state)) => state.calls.read(handle, buffer),
        None => Ok(BAD_ADDRESS),
    }
}

fn write(mut caller: Caller<'_, State>, handle: u32, from: u32, length: u32) -> wasmtime::Result<i32> {
    match bytes(&mut caller, from, length) {
        Some((bytes, state)) => state.calls.write(handle, bytes),
        None => Ok(BAD_ADDRESS),
    }
}
