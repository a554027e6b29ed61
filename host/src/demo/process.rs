//! Processes of the demo's hosts: how they start, and how they all end.
//!
//! Each starts in a session of its own with [`MARK`] in its environment. When its channel ends, so does
//! everything it began: whatever is in its session, carries its mark, or descends from such a process. That finds
//! daemons too. Out of reach is only what left the session, cleared its environment *and* outlived its parent
//! before the channel ended.
//!
//! Every process is held by a pidfd from the moment it is found, so that a reused number is never signalled. The first
//! process is not reaped before the end: as long as it is a zombie, its number, and so the session's, is taken.

use super::pty::{Pty, Terminal};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::timeout;

/// The variable that says which fleet and channel a process belongs to: `FLEET.CHANNEL`.
const MARK: &str = "WAFT_DEMO_CHANNEL";

/// For a process whose channel has closed: to see the end of its input and tidy up, as under any SSH server.
const END_OF_INPUT_GRACE: Duration = Duration::from_millis(300);

/// Between SIGHUP and SIGKILL.
const HANGUP_GRACE: Duration = Duration::from_millis(200);

/// For the kernel to finish what was killed.
const KILL_WAIT: Duration = Duration::from_secs(1);

/// How often to look for what was forked while the others were being killed.
const SWEEPS_MAX: usize = 8;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to start, and where.
pub(super) struct Start<'a> {
    pub(super) host: &'a str,
    pub(super) user: &'a str,
    pub(super) home: &'a Path,
    /// `FLEET.CHANNEL`.
    pub(super) mark: String,
    /// A line for the shell; none is the shell itself.
    pub(super) line: Option<&'a [u8]>,
    pub(super) environment: &'a [(String, String)],
    pub(super) terminal: Option<&'a Terminal>,
}

/// The process's end of a channel.
pub(super) enum Streams {
    Pipes { stdin: pipe::Sender, stdout: pipe::Receiver, stderr: pipe::Receiver },
    Terminal(Pty),
}

impl Start<'_> {
    /// Must be called on a tokio runtime with IO.
    pub(super) fn start(self) -> io::Result<(Tree, Streams)> {
        let (program, login_arg) = shell(self.terminal.is_some() && self.line.is_none());
        let mut command = Command::new(program);
        match self.line {
            Some(line) => command.arg("-c").arg(OsStr::from_bytes(line)),
            None => command.args(login_arg),
        };
        command.current_dir(self.home).env_clear();
        for name in ["LANG", "LC_ALL", "TZ"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()))
            .env("HOME", self.home)
            .env("USER", self.user)
            .env("LOGNAME", self.user)
            .env("SHELL", program)
            .env("PS1", format!("{}$ ", self.host))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("WAFT_DEMO_HOST", self.host)
            .env(MARK, &self.mark);

        let with_terminal = self.terminal.is_some();
        let pty = match self.terminal {
            Some(terminal) => {
                let (pty, tty) = Pty::open(terminal)?;
                command
                    .env("TERM", terminal.name())
                    .stdin(tty.try_clone()?)
                    .stdout(tty.try_clone()?)
                    .stderr(tty);
                Some(pty)
            }
            None => {
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                None
            }
        };
        // SAFETY: between fork and exec, only two system calls are made, on no memory but the stack;
        // descriptor 0 is open there because every way above gives the child a standard input.
        unsafe {
            command.pre_exec(move || {
                rustix::process::setsid()?;
                if with_terminal {
                    rustix::process::ioctl_tiocsctty(BorrowedFd::borrow_raw(0))?;
                }
                Ok(())
            });
        }

        let mut child = command.spawn()?;
        // Held from here on, so that an error below leaves no process behind.
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let tree = Tree::hold(child, self.mark)?;
        let streams = match (pty, pipes) {
            (Some(pty), _) => Streams::Terminal(pty),
            (None, (Some(stdin), Some(stdout), Some(stderr))) => Streams::Pipes {
                stdin: pipe::Sender::from_owned_fd(stdin.into())?,
                stdout: pipe::Receiver::from_owned_fd(stdout.into())?,
                stderr: pipe::Receiver::from_owned_fd(stderr.into())?,
            },
            (None, _) => return Err(io::Error::other("the process has no pipes")),
        };
        Ok((tree, streams))
    }
}

/// The shell, and its arguments when it runs without a line. A person gets bash when there is one, without the machine's
/// own start-up files: they would replace the prompt that names the host.
fn shell(person: bool) -> (&'static str, &'static [&'static str]) {
    match person {
        true if Path::new("/bin/bash").exists() => ("/bin/bash", &["--noprofile", "--norc", "-i"]),
        true => ("/bin/sh", &["-i"]),
        false => ("/bin/sh", &[]),
    }
}

/// How a process ended.
pub(super) enum Ended {
    Code(u32),
    Signal { number: i32, core_dumped: bool },
}

/// A process and all it started. To be ended by [`Tree::end`]; dropping it kills its process group at once.
pub(super) struct Tree {
    child: Child,
    first: Held,
    mark: String,
    ended: bool,
}

impl Tree {
    fn hold(mut child: Child, mark: String) -> io::Result<Tree> {
        match Held::open(Pid::from_child(&child)) {
            Ok(first) => Ok(Tree { child, first, mark, ended: false }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Waits for the first process, and leaves it unreaped.
    pub(super) async fn exited(&self) -> io::Result<Ended> {
        self.first.gone().await?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = rustix::process::waitid(WaitId::PidFd(self.first.descriptor.as_fd()), options)?;
        status
            .and_then(|status| Ended::from_status(&status))
            .ok_or_else(|| io::Error::other("no exit status"))
    }

    /// Sends a signal to the process group of the first process.
    pub(super) fn signal(&self, signal: Signal) {
        // That nobody is left to hear it is no error.
        let _ = rustix::process::kill_process_group(self.first.pid, signal);
    }

    /// Ends all of it: end of input, SIGHUP, SIGKILL, with a moment between. The caller must have closed its streams.
    pub(super) async fn end(mut self) {
        // A stub ends by itself here, and takes along what it walled off from us.
        let _ = timeout(END_OF_INPUT_GRACE, self.first.gone()).await;
        let who = Who::Channel { mark: self.mark.clone(), session: self.first.pid };
        end_all(who).await;
        if timeout(KILL_WAIT, self.first.gone()).await.is_ok() {
            self.ended = self.child.wait().is_ok();
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::KILL);
            // Both fail only when there is nothing left to do.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    fn from_status(status: &WaitIdStatus) -> Option<Ended> {
        let code = status.exit_status().map(|code| Ended::Code(code.unsigned_abs()));
        let signal = || {
            let number = status.terminating_signal()?;
            Some(Ended::Signal { number, core_dumped: status.dumped() })
        };
        code.or_else(signal)
    }
}

/// A process that cannot become another one while we look.
struct Held {
    pid: Pid,
    descriptor: AsyncFd<OwnedFd>,
}

impl Held {
    fn open(pid: Pid) -> io::Result<Held> {
        let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        Ok(Held { pid, descriptor: watch(descriptor, Interest::READABLE)? })
    }

    async fn gone(&self) -> io::Result<()> {
        // A pidfd stays readable once its process has exited: the readiness is never cleared.
        self.descriptor.readable().await.map(drop)
    }

    fn signal(&self, signal: Signal) {
        // It may have exited by itself meanwhile.
        let _ = rustix::process::pidfd_send_signal(self.descriptor.as_fd(), signal);
    }
}

/// Registers a descriptor with the runtime.
pub(super) fn watch(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, stays the same descriptor, and the `AsyncFd` owns it to its end.
    unsafe { Ok(AsyncFd::register_with_interest(descriptor, interest)?) }
}

/// Whose processes.
#[derive(Clone)]
enum Who {
    Channel { mark: String, session: Pid },
    Fleet { mark: String },
}

/// Ends what is left of a whole fleet. `fleet` is the first half of its marks.
pub(super) async fn end_fleet(fleet: &str) {
    end_all(Who::Fleet { mark: fleet.into() }).await;
}

/// The same without waiting for anything, for a fleet that was dropped.
pub(super) fn kill_fleet_now(fleet: &str) {
    let who = Who::Fleet { mark: fleet.into() };
    for _ in 0..SWEEPS_MAX {
        let found = who.find();
        if found.is_empty() {
            return;
        }
        for (_, descriptor) in found {
            let _ = rustix::process::pidfd_send_signal(descriptor, Signal::KILL);
        }
    }
}

async fn end_all(who: Who) {
    // Those found early stay ours when their parent, and so our way to find them, is gone.
    let mut held: Vec<Held> = Vec::new();
    for sweep in 0..SWEEPS_MAX {
        let asked = who.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || asked.find()).await else { return };
        let mut alive = Vec::new();
        for process in held {
            if timeout(Duration::ZERO, process.gone()).await.is_err() {
                alive.push(process);
            }
        }
        held = alive;
        for (pid, descriptor) in found {
            let known = held.iter().any(|process| process.pid == pid);
            if !known && let Ok(descriptor) = watch(descriptor, Interest::READABLE) {
                held.push(Held { pid, descriptor });
            }
        }
        if held.is_empty() {
            return;
        }
        for process in &held {
            if sweep == 0 {
                process.signal(Signal::HUP);
                // A stopped process hears no SIGHUP.
                process.signal(Signal::CONT);
            } else {
                process.signal(Signal::KILL);
            }
        }
        let all_gone = async {
            for process in &held {
                let _ = process.gone().await;
            }
        };
        let _ = timeout(if sweep == 0 { HANGUP_GRACE } else { KILL_WAIT }, all_gone).await;
    }
}

impl Who {
    /// All living processes that belong, each with a pidfd. Reads `/proc`: some ten microseconds a process.
    fn find(&self) -> Vec<(Pid, OwnedFd)> {
        let everyone: Vec<Stat> =
            numbered_folders("/proc").iter().filter_map(|path| Stat::read(path)).collect();
        let mut ours: HashSet<i32> =
            everyone.iter().filter(|stat| self.owns(stat)).map(|stat| stat.pid).collect();
        loop {
            let before = ours.len();
            ours.extend(
                everyone
                    .iter()
                    .filter(|stat| ours.contains(&stat.parent))
                    .map(|stat| stat.pid)
                    .collect::<Vec<_>>(),
            );
            if ours.len() == before {
                break;
            }
        }
        let hold = |stat: &Stat| {
            let pid = Pid::from_raw(stat.pid)?;
            let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
            // The number may have changed hands before the pidfd was there: look again through the same eyes.
            let still = Stat::read(&Path::new("/proc").join(stat.pid.to_string()))?;
            (still.started == stat.started).then_some((pid, descriptor))
        };
        everyone.iter().filter(|stat| ours.contains(&stat.pid)).filter_map(hold).collect()
    }

    fn owns(&self, stat: &Stat) -> bool {
        match self {
            Who::Channel { session, mark } => {
                stat.session == session.as_raw_nonzero().get()
                    || stat.mark().is_some_and(|found| found == mark.as_bytes())
            }
            Who::Fleet { mark } => stat.mark().is_some_and(|found| {
                found.strip_prefix(mark.as_bytes()).is_some_and(|rest| rest.starts_with(b"."))
            }),
        }
    }
}

/// What `/proc/PID/stat` says about a living process.
struct Stat {
    pid: i32,
    parent: i32,
    session: i32,
    /// In clock ticks since boot; with the pid, a name that is never used twice.
    started: u64,
}

impl Stat {
    /// None for what is gone, or is a zombie and cannot be ended any further.
    fn read(folder: &Path) -> Option<Stat> {
        let pid = folder.file_name()?.to_str()?.parse().ok()?;
        let text = fs::read(folder.join("stat")).ok()?;
        // The name in parentheses may hold anything, parentheses too: the fields follow the last one.
        let after_name = text.iter().rposition(|byte| *byte == b')')?;
        let fields = std::str::from_utf8(text.get(after_name + 1..)?).ok()?;
        let mut fields = fields.split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(15)?.parse().ok()?;
        Some(Stat { pid, parent, session, started })
    }

    /// The value of [`MARK`] that the process was started with, when we may know.
    fn mark(&self) -> Option<Vec<u8>> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        environment.split(|byte| *byte == 0).find_map(|variable| {
            variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec)
        })
    }
}

fn numbered_folders(path: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let is_number = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
    entries.flatten().filter(|entry| is_number(&entry.file_name())).map(|entry| entry.path()).collect()
}

#[cfg(test)]
pub(super) fn left_of(fleet: &str) -> usize {
    Who::Fleet { mark: fleet.into() }.find().len()
}
