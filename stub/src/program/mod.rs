//! A program that a task became: started by a supervisor of its own, watched, and gone afterwards with
//! everything that it started.
//!
//! ```text
//!   stub --- channel (packets) --- supervisor, a subreaper
//!     \__ stdout, stderr (pipes) ______ \__ program, in a session of its own
//!                                             \__ its children, also those that called setsid
//! ```
//!
//! The pipes are read one piece at a time and only when the reader of the output has room: a slow reader
//! holds the program. Programs get `PATH`, `LANG` and granted variables, and nothing else.

pub(crate) mod confine;
pub(crate) mod memory;
mod supervisor;
pub(crate) mod user;

use crate::pool::channel::Channel;
use crate::process::{self, Kin, Process, Tied};
use crate::worker::wire::{FromWorker, Hitch, PART_BYTES_MAX, ToWorker, parts, raw};
use confine::Confined;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout};
use user::User;
use waft_proto::msg::Stream;

pub(crate) use supervisor::supervise;

/// Where bare program names are looked for, and what programs get as `PATH`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
pub const LANG: &str = "C.UTF-8";

/// A program that has ended may leave children that hold its pipes: they get this long to end as well.
const LINGER: Duration = Duration::from_millis(300);
/// And this long when they go on writing into them.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// Read from the pipes after that, bytes: what stays may go on writing.
const LEFT_BYTES_MAX: usize = 1 << 20;
/// From the order to start until the supervisor says that the program runs, or why not.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);

/// A program to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order<'a> {
    /// What is executed; `argv[0]` may be another word.
    pub(crate) path: &'a str,
    pub(crate) argv: Vec<&'a str>,
    /// Beside `PATH` and `LANG`.
    pub(crate) env: Vec<(&'a str, &'a str)>,
    #[serde(with = "raw")]
    pub(crate) stdin: &'a [u8],
    /// Where it starts; without, where the stub is.
    pub(crate) cwd: Option<&'a str>,
    pub(crate) user: Option<User>,
    pub(crate) confined: Option<Confined>,
    /// Our descriptors, and the numbers at which the program finds them.
    pub(crate) files: Vec<(RawFd, RawFd)>,
    /// Processor time of each process, seconds.
    pub(crate) cpu_seconds: Option<u64>,
}

/// What a program left running, and was granted to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Staying {
    pub(crate) count: u32,
    /// The first of them.
    pub(crate) processes: Vec<Stayed>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Stayed {
    pub(crate) pid: u32,
    /// As it calls itself.
    pub(crate) name: String,
}

impl Stayed {
    fn new(pid: u32) -> Stayed {
        let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        Stayed { pid, name: String::from_utf8_lossy(&name).trim_end().to_owned() }
    }
}

/// Why a program did not start.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) hitch: Hitch,
    /// A sentence about the program.
    pub(crate) text: String,
}

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Exit(u32),
    Signal(i32),
    /// The supervisor was killed: nobody knows.
    Unknown,
}

pub(crate) enum Event {
    Output(Stream, Vec<u8>),
    /// The last one; nothing of the program is left.
    Ended(Ended),
}

/// With those who hold the pipes of a program that has ended.
#[derive(Clone, Copy)]
struct Patience {
    /// From here on the first moment in which nothing comes from them is the end.
    quiet: Instant,
    /// Whatever comes.
    longest: Instant,
}

pub(crate) struct Program {
    channel: Channel,
    supervisor: Kin,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    ended: Option<Ended>,
    /// Processor time of the program and what it waited for.
    cpu: Duration,
    /// What they wrote to disk, bytes.
    written: u64,
    /// When those who hold the pipes of a program that has ended are killed.
    patience: Option<Patience>,
    /// Read by [`Program::left`], bytes.
    left_bytes: usize,
    killed: bool,
    /// What it leaves running stays, if it ends well.
    is_daemon: bool,
    staying: Staying,
    /// The supervisor that lives on above what stays.
    spared: Option<Process>,
    /// Why what was left could not stay.
    unstayed: Option<String>,
}

impl Program {
    /// Starts a program; `stub` is our own binary. What a daemon leaves running when it ends with code 0 stays.
    pub(crate) async fn start(stub: &Path, order: &Order<'_>, is_daemon: bool) -> Result<Program, Failure> {
        let path = order.path;
        let start = |text: String| Failure { hitch: Hitch::Start, text };
        let failed = |error: io::Error| start(format!("`{path}` could not be started: {error}"));
        let (channel, theirs) = Channel::pair().map_err(failed)?;
        let (stdout, stderr) = (pipe().map_err(failed)?, pipe().map_err(failed)?);
        let mut command = Command::new(stub);
        command.arg0("waft-stub").arg("--worker").env_clear();
        command.stdin(Stdio::from(theirs)).stdout(Stdio::from(stdout.1)).stderr(Stdio::from(stderr.1));
        // Not tied to us: when we die it has work to do.
        process::isolate(&mut command, Tied::No);
        memory::keep(&mut command, order.files.iter().map(|(file, _)| *file).collect());
        let mut program = Program {
            channel,
            supervisor: Kin::new(command.spawn().map_err(failed)?),
            stdout: Some(stdout.0),
            stderr: Some(stderr.0),
            ended: None,
            cpu: Duration::ZERO,
            written: 0,
            patience: None,
            left_bytes: 0,
            killed: false,
            is_daemon,
            staying: Staying::default(),
            spared: None,
            unstayed: None,
        };
        // Our copies of the ends that the supervisor has.
        drop(command);
        match timeout(BEGIN_LIMIT, program.begin(order)).await {
            Ok(Ok(None)) => Ok(program),
            Ok(Ok(Some((hitch, reason)))) => {
                let text = match hitch {
                    Hitch::Start => format!("`{path}` could not be started: {reason}"),
                    Hitch::Cwd => {
                        let dir = order.cwd.unwrap_or_default();
                        format!(
                            "`{path}` was not started, because its directory `{dir}` cannot be entered: {reason}"
                        )
                    }
                    Hitch::Confine => {
                        format!("`{path}` was not started, because it cannot be confined: {reason}")
                    }
                };
                Err(Failure { hitch, text })
            }
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => {
                program.kill().await;
                let seconds = BEGIN_LIMIT.as_secs();
                Err(start(format!("`{path}` could not be started within {seconds} seconds")))
            }
        }
    }

    /// None, or the reason why it did not start.
    async fn begin(&mut self, order: &Order<'_>) -> io::Result<Option<(Hitch, String)>> {
        let order = postcard::to_allocvec(order).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut first = true;
        for part in parts(&order) {
            let message = if first { ToWorker::Supervise(part) } else { ToWorker::Input(part) };
            self.channel.send(&message).await?;
            first = false;
        }
        match self.channel.receive().await? {
            Some(FromWorker::Begun) => Ok(None),
            Some(FromWorker::Refused { hitch, text }) => Ok(Some((hitch, text.to_owned()))),
            _ => Ok(Some((Hitch::Start, "its supervisor ended at once".to_owned()))),
        }
    }

    /// The process above all others of this program.
    pub(crate) fn supervisor(&self) -> Option<u32> {
        self.supervisor.pid()
    }

    /// Processor time that the program took, once it has ended.
    pub(crate) fn cpu(&self) -> Duration {
        self.cpu
    }

    /// What stayed of it, once it has ended.
    pub(crate) fn staying(&mut self) -> Staying {
        std::mem::take(&mut self.staying)
    }

    /// The process above what stayed of it, once it has ended.
    pub(crate) fn spared(&self) -> Option<Process> {
        self.spared
    }

    /// Why what it left could not stay and was ended.
    pub(crate) fn unstayed(&mut self) -> Option<String> {
        self.unstayed.take()
    }

    /// Bytes that it wrote to disk, once it has ended.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The next piece of output, or the end. To be called again only after an `Output`.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if self.killed {
                // Nobody holds the pipes any more but what stays. What they have is here already.
                return self.left().unwrap_or(Event::Ended(self.ended.unwrap_or(Ended::Unknown)));
            }
            if self.ended.is_some() && self.stdout.is_none() && self.stderr.is_none() {
                self.finish().await;
                continue;
            }
            let (quiet, longest) = (self.patience.map(|it| it.quiet), self.patience.map(|it| it.longest));
            tokio::select! {
                // In this order: output that never ends must not hide the end of the program, and what comes out before
                // nobody has patience any more is whole. The end itself overtakes nothing: it is told after all output.
                biased;
                message = self.channel.receive(), if self.ended.is_none() => {
                    let (ended, cpu_us, written) = match message {
                        Ok(Some(FromWorker::Exited { code, cpu_us, written })) => {
                            (Ended::Exit(code), cpu_us, written)
                        }
                        Ok(Some(FromWorker::Signalled { signal, cpu_us, written })) => {
                            (Ended::Signal(signal), cpu_us, written)
                        }
                        _ => (Ended::Unknown, 0, 0),
                    };
                    self.ended = Some(ended);
                    (self.cpu, self.written) = (Duration::from_micros(cpu_us), written);
                    let now = Instant::now();
                    self.patience = Some(Patience { quiet: now + LINGER, longest: now + LINGER_MAX });
                }
                () = until(longest) => self.finish().await,
                read = read(&mut self.stdout) => match read {
                    Some(bytes) => return Event::Output(Stream::Stdout, bytes),
                    None => self.stdout = None,
                },
                read = read(&mut self.stderr) => match read {
                    Some(bytes) => return Event::Output(Stream::Stderr, bytes),
                    None => self.stderr = None,
                },
                () = until(quiet) => self.finish().await,
            }
        }
    }

    /// After [`Program::kill`]: output that waits in the pipes. None when that was all.
    pub(crate) fn left(&mut self) -> Option<Event> {
        for (pipe, stream) in [(&mut self.stdout, Stream::Stdout), (&mut self.stderr, Stream::Stderr)] {
            let mut bytes = Vec::with_capacity(PART_BYTES_MAX);
            if self.left_bytes < LEFT_BYTES_MAX
                && let Some(open) = pipe
                && let Ok(count @ 1..) = open.try_read_buf(&mut bytes)
            {
                self.left_bytes += count;
                return Some(Event::Output(stream, bytes));
            }
            *pipe = None;
        }
        None
    }

    /// The program has ended: so does all below it, unless it may stay.
    async fn finish(&mut self) {
        if self.is_daemon
            && self.ended == Some(Ended::Exit(0))
            && let Some(supervisor) = self.supervisor.pid()
            // A supervisor that has nothing to hold is not kept, and the keeper need not hear of it.
            && process::has_below(supervisor)
            && let Err(why) = self.stay(supervisor).await
        {
            self.unstayed = Some(why);
        }
        // Of what stays nothing is ended: its supervisor is not ours any more, and does not heed the end of the channel.
        self.kill().await;
    }

    async fn stay(&mut self, supervisor: u32) -> Result<(), String> {
        // Before the supervisor hears of it: from here on nobody else ends what is below.
        let spared = process::spare(supervisor).ok_or("the keeper of the stub cannot be told")?;
        let (pids, count) = timeout(BEGIN_LIMIT, self.leave())
            .await
            .map_err(|_| "its supervisor does not answer".to_owned())?
            .map_err(|error| format!("its supervisor does not answer: {error}"))?;
        self.staying = Staying { count, processes: pids.into_iter().map(Stayed::new).collect() };
        self.spared = Some(spared).filter(|_| count > 0);
        self.supervisor.release();
        Ok(())
    }

    /// The numbers of those that stay, and how many they are.
    async fn leave(&mut self) -> io::Result<(Vec<u32>, u32)> {
        self.channel.send(&ToWorker::Stay).await?;
        match self.channel.receive().await? {
            Some(FromWorker::Stays { pids, count }) => Ok((pids, count)),
            // Nothing was left.
            None => Ok((Vec::new(), 0)),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Ends everything: the program, all below it, and the supervisor.
    pub(crate) async fn kill(&mut self) {
        // The supervisor does it: it cannot overlook a child that comes to it while it looks.
        self.channel.close();
        if self.supervisor.ended(process::KILL_LIMIT).await.is_none()
            && let Some(pid) = self.supervisor.pid()
        {
            process::kill_below(pid, process::KILL_LIMIT);
            self.supervisor.kill();
        }
        self.killed = true;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // At the end of its channel the supervisor kills all below it and ends; killed by us, it could not.
        self.channel.close();
        self.supervisor.release();
    }
}

/// Where a bare name is found: the first file in [`PATH`] that somebody may execute.
pub(crate) fn look_up(name: &str) -> Option<String> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    PATH.split(':').map(|dir| format!("{dir}/{name}")).find(|path| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

fn pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(ours)?, theirs))
}

/// The next bytes; none at the end. Never, when there is no pipe.
async fn read(pipe: &mut Option<pipe::Receiver>) -> Option<Vec<u8>> {
    let Some(open) = pipe else { return std::future::pending().await };
    loop {
        open.readable().await.ok()?;
        let mut bytes = Vec::with_capacity(PART_BYTES_MAX);
        match open.try_read_buf(&mut bytes) {
            Ok(0) => return None,
            Ok(_) => return Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
