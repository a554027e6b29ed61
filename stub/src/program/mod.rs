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
//! holds the program. Programs get `PATH` and `LANG` and nothing else.

mod supervisor;

use crate::pool::channel::Channel;
use crate::process::{self, Kin, Tied};
use crate::worker::wire::{FromWorker, PART_BYTES_MAX, ToWorker, parts};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout};
use waft_proto::msg::Stream;

pub(crate) use supervisor::supervise;

/// Where bare program names are looked for, and what programs get as `PATH`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
pub const LANG: &str = "C.UTF-8";

/// A program that has ended may leave children that hold its pipes: they get this long to end as well.
const LINGER: Duration = Duration::from_millis(300);
/// From the order to start until the supervisor says that the program runs, or why not.
const BEGIN_LIMIT: Duration = Duration::from_secs(10);

/// A program to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// What is executed; `argv[0]` may be another word.
    pub(crate) path: &'a str,
    pub(crate) argv: &'a [&'a str],
    /// Beside `PATH` and `LANG`.
    pub(crate) env: &'a [(&'a str, &'a str)],
    pub(crate) stdin: &'a [u8],
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

pub(crate) struct Program {
    channel: Channel,
    supervisor: Kin,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    ended: Option<Ended>,
    /// When those who hold the pipes of a program that has ended are killed.
    patience: Option<Instant>,
    killed: bool,
}

impl Program {
    /// Starts a program; `stub` is our own binary. The error is a sentence about the program.
    pub(crate) async fn start(stub: &Path, order: &Order<'_>) -> Result<Program, String> {
        let path = order.path;
        let failed = |error: io::Error| format!("`{path}` could not be started: {error}");
        let (channel, theirs) = Channel::pair().map_err(failed)?;
        let (stdout, stderr) = (pipe().map_err(failed)?, pipe().map_err(failed)?);
        let mut command = Command::new(stub);
        command.arg0("waft-stub").arg("--worker").env_clear();
        command.stdin(Stdio::from(theirs)).stdout(Stdio::from(stdout.1)).stderr(Stdio::from(stderr.1));
        // Not tied to us: when we die it has work to do.
        process::isolate(&mut command, Tied::No);
        let mut program = Program {
            channel,
            supervisor: Kin::new(command.spawn().map_err(failed)?),
            stdout: Some(stdout.0),
            stderr: Some(stderr.0),
            ended: None,
            patience: None,
            killed: false,
        };
        // Our copies of the ends that the supervisor has.
        drop(command);
        match timeout(BEGIN_LIMIT, program.begin(order)).await {
            Ok(Ok(None)) => Ok(program),
            Ok(Ok(Some(reason))) => Err(format!("`{path}` could not be started: {reason}")),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => {
                program.kill().await;
                Err(format!("`{path}` could not be started within {} seconds", BEGIN_LIMIT.as_secs()))
            }
        }
    }

    /// None, or the reason why it did not start.
    async fn begin(&mut self, order: &Order<'_>) -> io::Result<Option<String>> {
        let mut first = true;
        for part in parts(order.stdin) {
            let message = if first {
                ToWorker::Supervise {
                    path: order.path,
                    argv: order.argv.to_vec(),
                    env: order.env.to_vec(),
                    stdin: part,
                }
            } else {
                ToWorker::Input(part)
            };
            self.channel.send(&message).await?;
            first = false;
        }
        match self.channel.receive().await? {
            Some(FromWorker::Begun) => Ok(None),
            Some(FromWorker::Refused { text }) => Ok(Some(text.to_owned())),
            _ => Ok(Some("its supervisor ended at once".to_owned())),
        }
    }

    /// The next piece of output, or the end. To be called again only after an `Output`.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if self.killed {
                // Nobody of ours holds the pipes any more. What they still have is here already.
                return self.left().unwrap_or(Event::Ended(self.ended.unwrap_or(Ended::Unknown)));
            }
            if self.ended.is_some() && self.stdout.is_none() && self.stderr.is_none() {
                self.kill().await;
                continue;
            }
            let patience = self.patience;
            tokio::select! {
                // Output first: the end of the program must not overtake it.
                biased;
                read = read(&mut self.stdout) => match read {
                    Some(bytes) => return Event::Output(Stream::Stdout, bytes),
                    None => self.stdout = None,
                },
                read = read(&mut self.stderr) => match read {
                    Some(bytes) => return Event::Output(Stream::Stderr, bytes),
                    None => self.stderr = None,
                },
                message = self.channel.receive(), if self.ended.is_none() => {
                    self.ended = Some(match message {
                        Ok(Some(FromWorker::Exited(code))) => Ended::Exit(code),
                        Ok(Some(FromWorker::Signalled(signal))) => Ended::Signal(signal),
                        _ => Ended::Unknown,
                    });
                    self.patience = Some(Instant::now() + LINGER);
                }
                () = until(patience) => self.kill().await,
            }
        }
    }

    /// After [`Program::kill`]: output that waits in the pipes. None when that was all.
    pub(crate) fn left(&mut self) -> Option<Event> {
        for (pipe, stream) in [(&mut self.stdout, Stream::Stdout), (&mut self.stderr, Stream::Stderr)] {
            let mut bytes = Vec::with_capacity(PART_BYTES_MAX);
            if let Some(open) = pipe
                && let Ok(1..) = open.try_read_buf(&mut bytes)
            {
                return Some(Event::Output(stream, bytes));
            }
            *pipe = None;
        }
        None
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
