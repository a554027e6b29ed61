//! `waft_v1`: what WASI 0.1 lacks, as three functions for core modules. All take and return 32-bit numbers.
//!
//! * `facts(request, length)` and `exec(request, length)` send a JSON text (UTF-8, at the address `request`)
//!   to the stub, wait for the answer, keep it, and return its length in bytes; or one of the negative
//!   numbers below, and then nothing was asked.
//! * `take(buffer, length)` copies the next bytes of the kept answer to `buffer`, at most `length`, and
//!   returns how many; 0 when all was taken. A new call drops what was left.
//!
//! `exec` takes `{"argv": ["/bin/x", "a"], "stdin": "text", "replace": true}`; like exec(3) it returns only
//! when the program could not be started. An answer that is a refusal or a failure is
//! `{"error": {"code", "message", "hint"}}`.
//!
//! Nothing is decided here. The stub checks grants with its own copy.

use super::guest::State;
use super::wire::{
    FromWorker, Function, Link, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, ToWorker, packet_buffer, parts,
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

/// The calls of one execution.
pub(super) struct Calls {
    link: Arc<Link>,
    execution: u64,
    reply: Vec<u8>,
    taken: usize,
}

impl Calls {
    pub(super) fn new(link: &Arc<Link>, execution: u64) -> Calls {
        Calls { link: Arc::clone(link), execution, reply: Vec::new(), taken: 0 }
    }

    /// Asks the stub and keeps its answer.
    fn ask(&mut self, function: Function, request: &[u8]) -> wasmtime::Result<i32> {
        (self.reply, self.taken) = (Vec::new(), 0);
        for part in parts(request) {
            self.link.send(&FromWorker::Call { execution: self.execution, function, part })?;
        }
        let mut buffer = packet_buffer();
        loop {
            match self.link.receive(&mut buffer)? {
                Some(ToWorker::Replaced { execution }) if execution == self.execution => {
                    return Err(Replaced.into());
                }
                Some(ToWorker::Reply { execution, part }) if execution == self.execution => {
                    self.reply.extend_from_slice(part.bytes);
                    if self.reply.len() > REPLY_BYTES_MAX {
                        bail!("the answer of the stub is longer than its limit");
                    }
                    if !part.more {
                        return Ok(i32::try_from(self.reply.len())?);
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
    linker.func_wrap(WAFT, "facts", |caller: Caller<'_, State>, request: u32, length: u32| {
        call(caller, Function::Facts, request, length)
    })?;
    linker.func_wrap(WAFT, "exec", |caller: Caller<'_, State>, request: u32, length: u32| {
        call(caller, Function::Exec, request, length)
    })?;
    linker.func_wrap(WAFT, "take", take)?;
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
