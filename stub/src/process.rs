//! Why nothing stays behind: who is whose descendant, and how all of them end.
//!
//! Orphans do not get away: the stub, its keeper and each supervisor are *child subreapers*, so a process
//! that called `setsid` or forked twice is still found below one of them. Killing follows `/proc`, stops
//! everything it finds before it kills, so that nothing can fork away from the list, and looks again until
//! nothing is left.
//!
//! Who notices whose death: the keeper waits for the stub; the stub reads from a pipe that the keeper holds;
//! supervisors read from their channel; workers ask the kernel for a SIGKILL. So killing any one of them
//! leaves nothing, but what was granted to stay ([`stay`]).

mod stay;
mod tree;

use rustix::process::{Pid, Signal, WaitOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub use stay::{Above, above, outlast, spare};
pub use tree::{Process, below, kill_below};
pub(crate) use tree::{Usage, Written, has_below, pages_below, pages_of, usage, usage_of, written};

/// Killing gives up on what is still there after this long: a process in the kernel's hands (a dead file
/// server) does not die before the kernel lets go of it.
pub const KILL_LIMIT: Duration = Duration::from_secs(3);
/// Between two looks at a process that was killed and is not gone yet: first, and at most.
const REAP_STEP: Duration = Duration::from_millis(1);
const REAP_STEP_MAX: Duration = Duration::from_millis(50);
/// Descriptors closed one by one where the kernel has no `close_range` with a flag (before 5.11).
const DESCRIPTORS_MAX: i32 = 4096;
/// Stack of the thread that watches the keeper, bytes.
const WATCH_STACK_BYTES: usize = 128 * 1024;

/// Kills everything that this process started, directly or not. Blocks, for at most [`KILL_LIMIT`].
pub fn kill_descendants() {
    kill_below(std::process::id(), KILL_LIMIT);
}

/// Makes orphans from below fall to this process. Only qemu-user 7.2 refuses with EINVAL (and Linux before 3.4, where
/// nothing of ours runs): there an orphan gets away when the process above it is gone.
pub(crate) fn adopt_orphans() -> rustix::io::Result<()> {
    match rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        Err(rustix::io::Errno::INVAL) => Ok(()),
        done => done,
    }
}

/// Splits the process: the parent becomes the *keeper*, which waits, and when the child (the stub) is dead
/// kills all that is left below and exits with its code. Returns in the child.
///
/// Must be called before the process has a second thread.
pub fn keep() -> io::Result<()> {
    adopt_orphans()?;
    let (ours, keepers) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (spared, tells) = stay::pipe()?;
    // SAFETY: there is one thread, so the child is whole: no lock can be held by a thread that it lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop((keepers, spared));
            stay::tells(tells);
            adopt_orphans()?;
            std::thread::Builder::new()
                .name("keeper".to_owned())
                .stack_size(WATCH_STACK_BYTES)
                .spawn(move || outlive(&ours))?;
            Ok(())
        }
        stub => {
            drop((ours, tells));
            std::process::exit(keeper(stub, &keepers, &spared))
        }
    }
}

/// The keeper's whole life. `held` is what the stub watches: it closes when the keeper ends. `spared` says who stays.
fn keeper(stub: i32, held: &OwnedFd, spared: &OwnedFd) -> i32 {
    // The link must end when the stub does, and not be held open by us.
    close_others(&[held.as_raw_fd(), spared.as_raw_fd()]);
    // What a terminal or an ending session sends to a whole group is the stub's to act on.
    for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == stub => {
                stay::hear(spared);
                kill_descendants();
                return status
                    .exit_status()
                    .unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
            }
            // An orphan from below, or a signal.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // No child at all: somebody else waited for the stub.
            Err(_) => return 1,
        }
    }
}

/// In the stub: nothing comes through the pipe but its end.
fn outlive(keeper: &OwnedFd) {
    let mut byte = [0];
    while let Err(rustix::io::Errno::INTR) = rustix::io::read(keeper, &mut byte) {}
    // The link ends first: else the parent could still hear how what is killed now has failed.
    leave_stdio();
    kill_descendants();
    std::process::exit(128 + libc::SIGKILL);
}

/// Points stdin, stdout and stderr at `/dev/null`.
fn leave_stdio() {
    if let Ok(null) = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()) {
        for dup in [rustix::stdio::dup2_stdin, rustix::stdio::dup2_stdout, rustix::stdio::dup2_stderr] {
            // A standard descriptor that was closed stays closed; then nobody can read or write it either.
            let _ = dup(&null);
        }
    }
}

/// Points stdin, stdout and stderr at `/dev/null` and closes all else but `kept`.
pub(crate) fn close_others(kept: &[i32]) {
    leave_stdio();
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
                .collect()
        })
        .unwrap_or_else(|_| (0..DESCRIPTORS_MAX).collect());
    for fd in open.into_iter().filter(|fd| *fd > libc::STDERR_FILENO && !kept.contains(fd)) {
        // SAFETY: called where a process begins its own life (keeper, worker, supervisor), before any owner
        // of these descriptors is used again.
        unsafe { libc::close(fd) };
    }
}

/// What is done in every child between fork and exec: a session of its own, no core files, no descriptor
/// but the standard three; `tied`: death by SIGKILL as soon as we are dead.
pub(crate) fn isolate(command: &mut Command, tied: Tied) {
    let parent = std::process::id();
    // SAFETY: only system calls without allocation, as must be after a fork of a process with threads.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            if tied == Tied::ToParent {
                rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
                if now != Some(parent) {
                    return Err(rustix::io::Errno::SRCH.into());
                }
            }
            let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
            rustix::process::setrlimit(rustix::process::Resource::Core, none)?;
            keep_none_open();
            Ok(())
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tied {
    /// The kernel kills it when the thread that started it is gone.
    ToParent,
    /// It notices by itself.
    No,
}

/// Marks all descriptors from 3 on to be closed by exec. The standard library needs one of its own until then.
fn keep_none_open() {
    // SAFETY: flags of descriptors; touches no memory.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    for fd in 3..DESCRIPTORS_MAX {
        // SAFETY: as above; a number that is not open is refused by the kernel.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Children that are ending, and that nobody waits for. Looked at again with each new child.
static UNREAPED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A process of ours: killed when dropped.
#[derive(Debug)]
pub(crate) struct Kin(Option<Child>);

impl Kin {
    pub(crate) fn new(child: Child) -> Kin {
        if let Ok(mut unreaped) = UNREAPED.lock() {
            unreaped.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        }
        Kin(Some(child))
    }

    /// No process at all.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn nobody() -> Kin {
        Kin(None)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.0.as_ref().map(Child::id)
    }

    /// Waits until it has ended by itself; none when it has not within `limit`.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let child = self.0.as_mut()?;
        let deadline = Instant::now() + limit;
        let mut step = REAP_STEP;
        loop {
            // An error means that there is nothing to wait for.
            match child.try_wait() {
                Ok(None) if Instant::now() < deadline => tokio::time::sleep(step).await,
                Ok(None) => return None,
                Ok(Some(status)) => {
                    self.0 = None;
                    return Some(status);
                }
                Err(_) => return None,
            }
            step = (step * 2).min(REAP_STEP_MAX);
        }
    }

    /// Lets it end by itself: it is not killed, only waited for, some time.
    pub(crate) fn release(&mut self) {
        if let (Some(child), Ok(mut unreaped)) = (self.0.take(), UNREAPED.lock()) {
            unreaped.push(child);
        }
    }

    /// It does nothing more until [`Kin::resume`], and can still be killed. Whoever waits for its end does not hear of it.
    pub(crate) fn pause(&self) {
        self.send(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.send(Signal::CONT);
    }

    /// As with [`Kin::kill`]: one that is gone already is none of our business.
    fn send(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(pid) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// SIGKILL. A child that nobody waited for keeps its pid, so this cannot hit a stranger.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
        }
    }
}

impl Drop for Kin {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut child) = self.0.take()
            && !matches!(child.try_wait(), Ok(Some(_)))
            && let Ok(mut unreaped) = UNREAPED.lock()
        {
            unreaped.push(child);
        }
    }
}

/// A pid as the kernel's calls take it.
fn pid(raw: u32) -> Option<Pid> {
    Pid::from_raw(raw.cast_signed())
}

#[cfg(test)]
mod tests;
