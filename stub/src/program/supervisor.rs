//! The supervisor's side: a process between the stub and one program, which every orphan of the program
//! comes to.

use super::confine::Rules;
use super::user::User;
use super::{LANG, Order, PATH, memory};
use crate::process::{self, Tied};
use crate::worker::wire::{FromWorker, Hitch, Link, ToWorker, cut, packet_buffer};
use rustix::fs::SeekFrom;
use rustix::process::{Resource, Rlimit, WaitOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Stack of the thread that waits for the end of the channel, bytes.
const WATCH_STACK_BYTES: usize = 256 * 1024;

/// Processes that stay and are told by number, at most.
const STAYING_MAX: usize = 32;

/// What `getrusage` counts writing in, bytes.
const BLOCK_BYTES: u64 = 512;

/// Starts the program, reports its end, and stays until nothing below is left: the rest ends by itself, or when
/// the stub closes the channel (or is gone), by SIGKILL. If the stub says so before, the rest stays.
pub(crate) fn supervise(link: Link, order: &Order<'_>) -> io::Result<()> {
    crate::process::adopt_orphans()?;
    let refused =
        |hitch, error: io::Error| link.send(&FromWorker::Refused { hitch, text: cut(&error.to_string()) });
    let mut command = Command::new(memory::real(order.path));
    if let [name, args @ ..] = &*order.argv {
        command.arg0(name).args(args);
    }
    command.env_clear().envs(order.env.iter().copied()).env("PATH", PATH).env("LANG", LANG);
    command.stdin(input(order.stdin)?);
    if let Some(user) = &order.user {
        become_user(&mut command, user.clone());
    }
    if let Some(dir) = order.cwd {
        // Only to have a reason of its own: as its user it may still be closed.
        match std::fs::metadata(dir) {
            Ok(found) if found.is_dir() => command.current_dir(dir),
            Ok(_) => return refused(Hitch::Cwd, io::ErrorKind::NotADirectory.into()),
            Err(error) => return refused(Hitch::Cwd, error),
        };
    }
    // After another user was taken on: that would undo it.
    process::isolate(&mut command, Tied::ToParent);
    if let Some(seconds) = order.cpu_seconds {
        limit_cpu(&mut command, seconds);
    }
    if let Some(confined) = &order.confined {
        match Rules::new(confined, order.path) {
            Ok(rules) => confine(&mut command, rules),
            Err(error) => return refused(Hitch::Confine, error),
        }
    }
    if let Err(error) = memory::place(&mut command, &order.files) {
        return refused(Hitch::Start, error);
    }
    let program = match command.spawn() {
        Ok(child) => child.id(),
        Err(error) => return refused(Hitch::Start, error),
    };
    drop(command);
    // The pipes are the program's: their end must be its end, not ours.
    process::close_others(&[link.as_raw_fd()]);
    let followed = follow(link, program);
    // Nothing may be left, whatever went wrong.
    process::kill_descendants();
    followed
}

/// The groups first, while we may; the directory is entered as the user.
fn become_user(command: &mut Command, user: User) {
    // SAFETY: only system calls; and this process has one thread.
    unsafe {
        command.pre_exec(move || {
            let done = |result: i32| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
            // Who is no root is this user already, and may not even say his own groups.
            if rustix::process::getuid().is_root() {
                done(libc::setgroups(user.groups.len(), user.groups.as_ptr()))?;
                done(libc::setgid(user.gid))?;
                done(libc::setuid(user.uid))?;
            }
            Ok(())
        });
    }
}

fn limit_cpu(command: &mut Command, seconds: u64) {
    // SAFETY: one system call.
    unsafe {
        command.pre_exec(move || {
            let most = Rlimit { current: Some(seconds), maximum: Some(seconds) };
            // Below ours, so nothing forbids it.
            rustix::process::setrlimit(Resource::Cpu, most).map_err(io::Error::from)
        });
    }
}

fn confine(command: &mut Command, mut rules: Rules) {
    // SAFETY: the child of a process with one thread is whole.
    unsafe { command.pre_exec(move || rules.enter()) };
}

/// Until no child is left, or something fails.
fn follow(link: Link, program: u32) -> io::Result<()> {
    // While the stub is there to hear the next word.
    let above = process::above();
    link.send(&FromWorker::Begun)?;
    let link = Arc::new(link);
    let watched = Arc::clone(&link);
    std::thread::Builder::new().stack_size(WATCH_STACK_BYTES).spawn(move || {
        // The stub says nothing more but that the rest may stay: whatever else comes is the end.
        if matches!(watched.receive(&mut packet_buffer()), Ok(Some(ToWorker::Stay))) {
            let below = process::below(std::process::id());
            let pids = below.iter().take(STAYING_MAX).map(|process| process.pid).collect();
            let count = u32::try_from(below.len()).unwrap_or(u32::MAX);
            // It may be gone: they stay all the same.
            let _ = watched.send(&FromWorker::Stays { pids, count });
            process::outlast(above);
        } else {
            process::kill_descendants();
        }
        std::process::exit(0);
    })?;
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().cast_unsigned() == program => {
                let (cpu_us, written) = used();
                let end = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => FromWorker::Exited { code: code.cast_unsigned(), cpu_us, written },
                    (None, signal) => FromWorker::Signalled { signal: signal.unwrap_or(0), cpu_us, written },
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

/// Of all below that ended and was waited for: processor time, microseconds, and what was written to disk, bytes.
fn used() -> (u64, u64) {
    // SAFETY: all zeroes are a good value of this structure, which the kernel fills.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) != 0 {
            return (0, 0);
        }
        usage
    };
    let us = |time: libc::timeval| time.tv_sec.cast_unsigned() * 1_000_000 + time.tv_usec.cast_unsigned();
    let written = usage.ru_oublock.cast_unsigned().saturating_mul(BLOCK_BYTES);
    (us(usage.ru_utime) + us(usage.ru_stime), written)
}

/// A file in memory: whole from the beginning, so that nobody has to feed it. Only to be read: else its bytes could be
/// started by the name of it, `/dev/stdin`.
fn input(text: &[u8]) -> io::Result<Stdio> {
    if text.is_empty() {
        return Ok(Stdio::null());
    }
    let file = memory::make(text, false)?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(Stdio::from(file))
}
