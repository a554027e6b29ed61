//! From a module to an artifact on the node itself: `waft-stub --compile`, behind the walls of a worker and under limits.
//!
//! A compiler is a large program that strangers feed. The module comes as a sealed memory file on stdin; what it makes,
//! or its complaint, goes into another on stdout.

use crate::process::{self, Kin, Tied};
use crate::worker::walls::{Limits, Wall, Walls};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use waft_proto::id::Hash;
use waft_proto::limits::BLOB_BYTES_MAX;
use waft_proto::msg::{Arch, Engine, Profile};
use waft_proto::run::Problem;

/// Address space of the compiler, bytes. Go's runtime, the largest common module, takes about 1 GiB.
const MEMORY_BYTES_MAX: u64 = 6 << 30;
/// CPU time of the compiler, seconds; python.wasm takes 9 on a fast machine.
const CPU_SECONDS_MAX: u64 = 300;
/// From the signal that says that this is over to the one that cannot be caught, seconds.
const CPU_GRACE_SECONDS: u64 = 2;
/// Wall time of the compiler.
const WALL_TIME_MAX: Duration = Duration::from_secs(300);
/// What it says when something is wrong, bytes of it that are shown.
const WORDS_BYTES_MAX: u64 = 1000;
/// Artifacts that are kept in memory, for the next run of the same module.
const KEPT_MAX: usize = 4;
/// Our own program, whatever became of its file.
const OURSELVES: &str = "/proc/self/exe";

/// Its exit codes.
const REFUSED: u8 = 1;
const NO_WALLS: u8 = 3;

/// What a compiler may take. The kernel holds it to all of it but the wall time.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    pub wall_time: Duration,
    pub artifact_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            memory_bytes: MEMORY_BYTES_MAX,
            cpu_seconds: CPU_SECONDS_MAX,
            wall_time: WALL_TIME_MAX,
            artifact_bytes: BLOB_BYTES_MAX,
        }
    }
}

impl Bounds {
    /// Of the process that this is called in, and of what it starts. Only system calls.
    fn keep(&self) -> rustix::io::Result<()> {
        for (resource, most, grace) in [
            (Resource::As, self.memory_bytes, 0),
            (Resource::Cpu, self.cpu_seconds, CPU_GRACE_SECONDS),
            (Resource::Fsize, self.artifact_bytes, 0),
        ] {
            let allowed = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let maximum = allowed.min(most.saturating_add(grace));
            setrlimit(resource, Rlimit { current: Some(maximum.min(most)), maximum: Some(maximum) })?;
        }
        Ok(())
    }
}

/// What was compiled by this process.
#[derive(Default)]
pub struct Compiler {
    /// Module, artifact; the last used at the end.
    kept: Vec<(Hash, Artifact)>,
}

#[derive(Clone)]
pub struct Artifact {
    pub hash: Hash,
    pub bytes: Arc<[u8]>,
}

impl Compiler {
    /// The artifact of a module, if it was compiled lately.
    pub fn kept(&mut self, module: Hash) -> Option<Artifact> {
        let at = self.kept.iter().position(|(known, _)| *known == module)?;
        let entry = self.kept.remove(at);
        let artifact = entry.1.clone();
        self.kept.push(entry);
        Some(artifact)
    }

    pub fn keep(&mut self, module: Hash, artifact: Artifact) {
        if self.kept.len() >= KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push((module, artifact));
    }
}

/// Compiles a module for this machine. `task` names it in sentences.
pub async fn compile(task: &str, wasm: &[u8], wall: Wall) -> Result<Artifact, Problem> {
    compile_with(OURSELVES, Bounds::default(), task, wasm, wall).await
}

/// The same by another program than this one, which must understand `--compile`, and within other bounds.
pub async fn compile_with(
    program: &str,
    bounds: Bounds,
    task: &str,
    wasm: &[u8],
    wall: Wall,
) -> Result<Artifact, Problem> {
    let failed = |error: io::Error| {
        Problem::new("compile.start", format!("the compiler could not be run for task `{task}`: {error}"))
    };
    let (mut kin, mut made) = start(program, bounds, wasm, wall).map_err(failed)?;
    let Some(status) = kin.ended(bounds.wall_time).await else {
        let message = format!("task `{task}` was not compiled within {} s", bounds.wall_time.as_secs());
        return Err(Problem::new("compile.timeout", message));
    };
    let read = |made: &mut File, most: u64| {
        let mut bytes = Vec::new();
        made.seek(SeekFrom::Start(0))?;
        made.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    if status.success() {
        let bytes: Arc<[u8]> = read(&mut made, bounds.artifact_bytes).map_err(failed)?.into();
        return Ok(Artifact { hash: Hash::of(&bytes), bytes });
    }
    let words = read(&mut made, WORDS_BYTES_MAX).map_err(failed)?;
    let words = waft_hop::stream::printable(&words);
    if status.code() == Some(i32::from(NO_WALLS)) {
        let message = format!("task `{task}` was not compiled: {words}");
        return Err(Problem::new("wall.missing", message).hint("the policy of this node demands all walls"));
    }
    Err(ended(task, bounds, status, words))
}

/// What ended a compiler, by the limit if it was one.
fn ended(task: &str, bounds: Bounds, status: ExitStatus, words: String) -> Problem {
    let memory = format!("{} MiB of addresses", bounds.memory_bytes >> 20);
    let cpu = format!("{} s of CPU", bounds.cpu_seconds);
    let signal = status.signal();
    if signal == Some(libc::SIGXCPU) {
        return Problem::new("compile.cpu", format!("task `{task}` was not compiled within {cpu}"));
    }
    if signal == Some(libc::SIGXFSZ) {
        let text = format!("task `{task}` compiles to more than {} bytes", bounds.artifact_bytes);
        return Problem::new("compile.artifact", text);
    }
    // As Rust's allocator says it, and the kernel.
    if ["memory allocation of ", "out of memory", "Cannot allocate memory"]
        .iter()
        .any(|said| words.contains(said))
    {
        let text = format!("task `{task}` cannot be compiled with {memory}: {words}");
        return Problem::new("compile.memory", text);
    }
    let (why, hint) = match (signal, words.is_empty()) {
        (Some(libc::SIGKILL), _) => (
            "the compiler was killed".to_owned(),
            "somebody on that host did it, or its kernel, for want of memory; try again".to_owned(),
        ),
        (Some(signal), _) => (format!("the compiler was ended by signal {signal}"), limits(&memory, &cpu)),
        (None, true) => ("the compiler gave no reason".to_owned(), limits(&memory, &cpu)),
        (None, false) => (words, limits(&memory, &cpu)),
    };
    Problem::new("compile.failed", format!("task `{task}` could not be compiled: {why}")).hint(hint)
}

fn limits(memory: &str, cpu: &str) -> String {
    format!("the compiler may use {memory} and {cpu}")
}

fn start(program: &str, bounds: Bounds, wasm: &[u8], wall: Wall) -> io::Result<(Kin, File)> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = |name: &str| {
        rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| rustix::fs::memfd_create(name, flags))
    };
    let mut module = File::from(memory("module")?);
    module.write_all(wasm)?;
    module.seek(SeekFrom::Start(0))?;
    rustix::fs::fcntl_add_seals(
        &module,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    let made = File::from(memory("artifact")?);
    let mut command = Command::new(program);
    command.arg0("waft-stub").args(["--compile", profile_word(crate::profile()), wall.word()]).env_clear();
    command.stdin(Stdio::from(module)).stdout(Stdio::from(made.try_clone()?)).stderr(Stdio::null());
    process::isolate(&mut command, Tied::ToParent);
    // SAFETY: only system calls without allocation, as must be after a fork of a process with threads.
    unsafe { command.pre_exec(move || Ok(bounds.keep()?)) };
    Ok((Kin::new(command.spawn()?), made))
}

fn profile_word(profile: Profile) -> &'static str {
    match profile {
        Profile::Fast => "fast",
        Profile::Small => "small",
    }
}

/// `waft-stub --compile PROFILE WALL`: the compiler's whole life.
pub fn main(profile: &str, wall: &str) -> ExitCode {
    let profile = if profile == "fast" { Profile::Fast } else { Profile::Small };
    let (Some(arch), Some(wall)) = (Arch::here(), Wall::read(wall)) else { return ExitCode::from(2) };
    let (module, made) = match descriptors() {
        Ok(both) => both,
        Err(_) => return ExitCode::from(2),
    };
    let mut made = File::from(made);
    match work(Engine { arch, profile }, wall, module, &mut made) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            // The stub reads it; there is nobody else.
            let _ = made.write_all(why.as_bytes());
            ExitCode::from(code)
        }
    }
}

fn descriptors() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let module = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    Ok((module, rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?))
}

fn work(engine: Engine, wall: Wall, module: OwnedFd, made: &mut File) -> Result<(), (u8, String)> {
    let refused = |error: &dyn std::fmt::Display| (REFUSED, error.to_string());
    let kept = [module.as_raw_fd(), made.as_raw_fd()];
    let none = Limits { memory_bytes: 0, out_bytes: 0, files: 0, counted: false };
    let walls = Walls::raise(wall, &[], &none, &kept).map_err(|(_, why)| (NO_WALLS, why))?;
    // The last words of who runs out of memory go where all others go.
    // SAFETY: /dev/null, which nothing here owns.
    unsafe { libc::close(libc::STDERR_FILENO) };
    let words = rustix::io::dup(&*made).map_err(|error| refused(&error))?;
    // Of the next number that is free: the one that was just given back.
    let _ = words.into_raw_fd();
    // What is compiled here does not run here.
    walls.close().map_err(|(_, why)| (NO_WALLS, why))?;
    let mut wasm = Vec::new();
    File::from(module).read_to_end(&mut wasm).map_err(|error| refused(&error))?;
    let artifact = waft_engine::compile(engine, &wasm).map_err(|error| (REFUSED, format!("{error:#}")))?;
    made.write_all(&artifact).map_err(|error| refused(&error))
}
