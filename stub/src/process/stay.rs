//! What a program that was granted `:daemon` leaves running, and why that is all that stays.
//!
//! An orphan falls to the next subreaper above it, and these are its supervisor, the stub and the keeper, which end what is
//! below them. So the supervisor of such a program lives on, with all that the program left below it, however that forks:
//! the stub passes it over from then on, and tells the keeper, by a pipe that only these two have, to do the same. When both
//! are gone, the supervisor goes as well, and what is below falls to whoever takes orphans in on that machine. Killing the
//! stub or the keeper changes nothing in it; killing the supervisor before makes them end what was left to it.

use super::tree::{self, Process};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{PidfdFlags, getppid, pidfd_open, set_child_subreaper};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::Duration;

/// Between two looks whether a parent is gone, where the kernel does not tell (before 5.3), and after it told.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Read at a time from the stub, bytes.
const READ_BYTES: usize = 4096;
/// Whoever has this number takes orphans in, and does not end.
const INIT: u32 = 1;

/// Where the stub tells its keeper who stays.
static KEEPER: OnceLock<OwnedFd> = OnceLock::new();

/// For the keeper to read and for the stub to write. Neither waits: the keeper reads when nobody writes any more, and a stub
/// that cannot tell lets nobody stay.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// In the stub.
pub(super) fn tells(keeper: OwnedFd) {
    // It is kept once in a life.
    let _ = KEEPER.set(keeper);
}

/// In the stub: this supervisor and all below it are passed over from now on. None: they are not.
pub fn spare(pid: u32) -> Option<Process> {
    let process = Process::find(pid)?;
    let told = process.told();
    // So few bytes are written whole, or not at all.
    if KEEPER.get().is_some_and(|keeper| rustix::io::write(keeper, &told) != Ok(told.len())) {
        return None;
    }
    tree::spare(process);
    Some(process)
}

/// In the keeper, when the stub is gone.
pub(super) fn hear(stub: &OwnedFd) {
    let (mut told, mut bytes) = (Vec::new(), [0; READ_BYTES]);
    loop {
        match rustix::io::read(stub, &mut bytes) {
            Ok(count @ 1..) => told.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            Err(Errno::INTR) => {}
            _ => break,
        }
    }
    Process::heard(&told).for_each(tree::spare);
}

/// The stub that started us, and its keeper.
#[derive(Clone, Copy, Debug)]
pub struct Above {
    stub: Option<u32>,
    keeper: Option<u32>,
}

/// In a supervisor, before it says anything: later both may be gone, and whoever is above then is there for ever.
pub fn above() -> Above {
    let other = |pid: &u32| *pid != INIT;
    let stub = parent().filter(other);
    Above { stub, keeper: stub.and_then(tree::parent).filter(other) }
}

/// In a supervisor whose program left something: waits for the end of those above, and lets what is below fall to whoever
/// takes orphans in then. Whoever calls this ends afterwards.
pub fn outlast(above: Above) {
    for process in [above.stub, above.keeper].into_iter().flatten() {
        while parent() == Some(process) {
            if let Some(pid) = super::pid(process)
                && let Ok(end) = pidfd_open(pid, PidfdFlags::empty())
                && parent() == Some(process)
            {
                let _ = poll(&mut [PollFd::new(&end, PollFlags::IN)], None);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
    // Else they would fall to us until the very end, and then to the same.
    let _ = set_child_subreaper(None);
}

fn parent() -> Option<u32> {
    getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned())
}
