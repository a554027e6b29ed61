//! A worker process as the stub holds it.

use super::channel::Channel;
use super::job::{Job, Key};
use crate::dry::Overlays;
use crate::process::{self, Kin, Tied};
use crate::worker::wire::{Fault, FromWorker, ToWorker};
use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::time::timeout;
use waft_proto::run::Problem;

/// From the start of the process until its module is loaded.
const LOAD_LIMIT: Duration = Duration::from_secs(20);
/// From the order to die until the worker is gone; then it is left to the kernel.
const END_LIMIT: Duration = Duration::from_secs(2);
/// A worker whose channel ended is about to be waited for.
const DEATH_LIMIT: Duration = Duration::from_millis(200);
/// Walls a worker may name: ours, and room for more.
const WALLS_MAX: usize = 32;

pub(super) struct Worker {
    key: Key,
    pub(super) channel: Channel,
    kin: Kin,
    pub(super) walls: Vec<String>,
    /// Of a dry run.
    pub(super) overlays: Overlays,
}

impl Worker {
    pub(super) async fn start(stub: &Path, job: &Job) -> Result<Worker, Problem> {
        let failed = |error: io::Error| {
            let text =
                format!("no worker can be started on `{}` for task `{}`: {error}", job.target, job.task);
            let problem = Problem::new("worker.start", text);
            match error.kind() {
                io::ErrorKind::PermissionDenied if job.worker().is_some() => problem.hint(
                    "components are run by a program in memory, which vm.memfd_noexec = 2 forbids there; modules run",
                ),
                _ => problem,
            }
        };
        if !is_whole(&job.code) {
            let text = format!("its code has {} bytes, and the end of it is missing", job.code.len());
            return Err(rejected(job, Fault::Artifact, &text));
        }
        let mut worker = spawn(stub, job).map_err(failed)?;
        let loaded = timeout(LOAD_LIMIT, async {
            worker.channel.send(&ToWorker::Load(job.key.load.clone())).await?;
            if let Some(dry) = &job.key.load.dry
                && let Some(rejected) = worker.overlays_of(job, dry.writable.len()).await?
            {
                return Ok(Err(rejected));
            }
            match worker.channel.receive().await? {
                Some(FromWorker::Loaded { walls }) => {
                    Ok(Ok(walls.into_iter().take(WALLS_MAX).map(str::to_owned).collect()))
                }
                Some(FromWorker::Rejected { fault, text }) => Ok(Err(rejected(job, fault, text))),
                None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended at once")),
                Some(_) => Err(io::ErrorKind::InvalidData.into()),
            }
        });
        worker.walls = match loaded.await {
            Ok(Ok(loaded)) => loaded?,
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => {
                let text = format!(
                    "task `{}` was not loaded within {} s on `{}`",
                    job.task,
                    LOAD_LIMIT.as_secs(),
                    job.target
                );
                return Err(Problem::new("worker.load_timeout", text));
            }
        };
        Ok(worker)
    }

    /// What the worker says of each directory before it loads the task, or why it will not.
    async fn overlays_of(&mut self, job: &Job, count: usize) -> io::Result<Option<Problem>> {
        for _ in 0..count {
            let mut descriptors = Vec::new();
            match self.channel.receive_with(&mut descriptors).await? {
                Some(FromWorker::Layer { dir, missing }) => match job.key.load.dirs.get(dir as usize) {
                    Some(dir) => self.overlays.add(dir, missing, descriptors)?,
                    None => return Err(io::ErrorKind::InvalidData.into()),
                },
                Some(FromWorker::Rejected { fault, text }) => return Ok(Some(rejected(job, fault, text))),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended at once")),
                Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(None)
    }

    /// A worker whose other end is somebody else: what it says is the test's choice.
    #[cfg(any(test, fuzzing))]
    pub(super) fn impostor(job: &Job, channel: Channel, kin: Kin) -> Worker {
        Worker { key: job.key.clone(), channel, kin, walls: Vec::new(), overlays: Overlays::default() }
    }

    /// Whether this worker may run that job.
    pub(super) fn fits(&self, job: &Job) -> bool {
        self.key == job.key
    }

    /// Nothing more is wanted of it for now. One that was taken over would go on, past the deadline and every limit, after it
    /// has said that it is done.
    pub(super) fn pause(&self) {
        self.kin.pause();
    }

    /// An idle worker says nothing; one that has something to say is dead or mad.
    pub(super) fn if_well(mut self) -> Option<Worker> {
        let silent =
            matches!(self.channel.try_receive(), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        silent.then(|| {
            self.kin.resume();
            self
        })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.kin.pid()
    }

    /// How it died by itself, if it did.
    pub(super) async fn died(&mut self) -> Option<ExitStatus> {
        self.kin.ended(DEATH_LIMIT).await
    }

    /// SIGKILL, and waits for its end. Messages that were sent before can still be read.
    pub(super) async fn kill(&mut self) {
        self.kin.kill();
        self.kin.ended(END_LIMIT).await;
    }

    pub(super) async fn end(mut self) {
        self.kill().await;
    }
}

fn spawn(stub: &Path, job: &Job) -> io::Result<Worker> {
    let artifact = sealed("artifact", &job.code, MemfdFlags::NOEXEC_SEAL)?;
    let program = job.worker().map(|bytes| sealed("worker", bytes, MemfdFlags::EXEC)).transpose()?;
    let (channel, theirs) = Channel::pair()?;
    let mut command = match &program {
        // Closed by the exec that runs it.
        Some(program) => Command::new(format!("/proc/self/fd/{}", program.as_raw_fd())),
        None => Command::new(stub),
    };
    command.arg0("waft-stub").arg("--worker").env_clear();
    command.stdin(Stdio::from(theirs)).stdout(Stdio::from(artifact)).stderr(Stdio::null());
    process::isolate(&mut command, Tied::ToParent);
    let kin = Kin::new(command.spawn()?);
    Ok(Worker { key: job.key.clone(), channel, kin, walls: Vec::new(), overlays: Overlays::default() })
}

/// Whether an artifact ends where its head says: it is an ELF file, which ends with the table of its sections. Of one that
/// is cut short wasmtime has no words for people.
fn is_whole(code: &[u8]) -> bool {
    let number = |at: usize, bytes: usize| {
        let field = code.get(at..at + bytes)?;
        Some(field.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    if !code.starts_with(b"\x7fELF") {
        return !code.is_empty();
    }
    let end = || number(40, 8)?.checked_add(number(58, 2)? * number(60, 2)?);
    end().is_some_and(|end| end <= code.len() as u64)
}

/// A file in memory that nobody can change any more, us included. Whether it is ever executed is `kind`: some systems
/// insist on hearing that (vm.memfd_noexec); kernels before 6.3 do not know the word.
pub(crate) fn sealed(name: &str, bytes: &[u8], kind: MemfdFlags) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let descriptor =
        rustix::fs::memfd_create(name, flags | kind).or_else(|_| rustix::fs::memfd_create(name, flags))?;
    let mut file = File::from(descriptor);
    file.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

fn rejected(job: &Job, fault: Fault, text: &str) -> Problem {
    let (task, target) = (&job.task, &job.target);
    match fault {
        Fault::Walls => {
            Problem::new("wall.missing", format!("task `{task}` was not started on `{target}`: {text}")).hint(
                "this host is set to `wall = \"required\"`; with \"best\" a result says which walls stood",
            )
        }
        Fault::Artifact => {
            Problem::new("task.artifact", format!("task `{task}` cannot be loaded on `{target}`: {text}"))
                .hint("waft and its stub must be of the same release")
        }
        Fault::Import => {
            Problem::new("task.import", format!("task `{task}` imports `{text}`, which no target offers"))
                .hint("a module may import wasi_snapshot_preview1 and waft_v1, a component wasi:cli/command 0.2 and waft:task")
        }
        Fault::Dry => Problem::new(
            "check.overlay",
            format!("no dry run of task `{task}` on `{target}`: no overlay here for {text}"),
        )
        .hint("a component needs one for each granted directory: docs/dry-run.md says what an overlay needs"),
        Fault::Start => Problem::new(
            "task.start",
            format!("task `{task}` has no function `_start`, or as a component no `wasi:cli/run`: it is a library, no command"),
        )
        .hint("build it as a program for wasm32-wasip1 or wasm32-wasip2"),
        Fault::Memory => Problem::new("limit.mem", format!("task `{task}` does not fit: {text}"))
            .hint("give it more with --allow mem:SIZE"),
        Fault::Dir => Problem::new(
            "task.dir",
            format!("a directory granted to task `{task}` cannot be opened on `{target}`: {text}"),
        )
        .hint("fs: grants name directories that exist on the target"),
    }
}
