//! The supervisor's side: a process between the stub and one program, which every orphan of the program
//! comes to.

use super::{LANG, Order, PATH};
use crate::process::{self, Tied};
use crate::worker::wire::{FromWorker, Link, cut, packet_buffer};
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::process::WaitOptions;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Stack of the thread that waits for the end of the channel, bytes.
const WATCH_STACK_BYTES: usize = 256 * 1024;

/// Starts the program, reports its end, and stays until nothing below is left: the rest ends by itself, or when
/// the stub closes the channel (or is gone), by SIGKILL.
pub(crate) fn supervise(link: Link, order: &Order<'_>) -> io::Result<()> {
    crate::process::adopt_orphans()?;
    let mut command = Command::new(order.path);
    if let [name, args @ ..] = order.argv {
        command.arg0(name).args(args);
    }
    command.env_clear().envs(order.env.iter().copied()).env("PATH", PATH).env("LANG", LANG);
    command.stdin(input(order.stdin)?);
    process::isolate(&mut command, Tied::ToParent);
    let program = match command.spawn() {
        Ok(child) => child.id(),
        Err(error) => return link.send(&FromWorker::Refused { text: cut(&error.to_string()) }),
    };
    drop(command);
    // The pipes are the program's: their end must be its end, not ours.
    process::close_others(&[link.as_raw_fd()]);
    let followed = follow(link, program);
    // Nothing may be left, whatever went wrong.
    process::kill_descendants();
    followed
}

/// Until no child is left, or something fails.
fn follow(link: Link, program: u32) -> io::Result<()> {
    link.send(&FromWorker::Begun)?;
    let link = Arc::new(link);
    let watched = Arc::clone(&link);
    std::thread::Builder::new().stack_size(WATCH_STACK_BYTES).spawn(move || {
        // The stub says nothing more: whatever comes is the end.
        let _ = watched.receive(&mut packet_buffer());
        process::kill_descendants();
        std::process::exit(0);
    })?;
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().cast_unsigned() == program => {
                let end = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => FromWorker::Exited(code.cast_unsigned()),
                    (None, signal) => FromWorker::Signalled(signal.unwrap_or(0)),
                };
                // A stub that is gone is no reason to go: the children of the program are still here, and
                // the other thread is about to kill them.
                let _ = link.send(&end);
            }
            // An orphan of the program's, or a signal.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// A file in memory: whole from the beginning, so that nobody has to feed it.
fn input(text: &[u8]) -> io::Result<Stdio> {
    if text.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = std::fs::File::from(rustix::fs::memfd_create("stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(Stdio::from(file))
}
