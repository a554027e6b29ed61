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
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, Stdio};
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
    compile_with(OURSELVES, task, wasm, wall).await
}

/// The same by another program than this one, which must understand `--compile`.
pub async fn compile_with(program: &str, task: &str, wasm: &[u8], wall: Wall) -> Result<Artifact, Problem> {
    let failed = |error: io::Error| {
        Problem::new("compile.start", format!("the compiler could not be run for task `{task}`: {error}"))
    };
    let (kin, mut made) = start(program, wasm, wall).map_err(failed)?;
    let mut kin = kin;
    let Some(status) = kin.ended(WALL_TIME_MAX).await else {
        let message = format!("task `{task}` was not compiled within {} s", WALL_TIME_MAX.as_secs());
        return Err(Problem::new("compile.timeout", message));
    };
    let read = |made: &mut File, most: u64| {
        let mut bytes = Vec::new();
        made.seek(SeekFrom::Start(0))?;
        made.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    if status.success() {
        let bytes: Arc<[u8]> = read(&mut made, BLOB_BYTES_MAX).map_err(failed)?.into();
        return Ok(Artifact { hash: Hash::of(&bytes), bytes });
    }
    let words = read(&mut made, WORDS_BYTES_MAX).map_err(failed)?;
    let words = waft_hop::stream::printable(&words);
    if status.code() == Some(i32::from(NO_WALLS)) {
        let message = format!("task `{task}` was not compiled: {words}");
        return Err(Problem::new("wall.missing", message).hint("the policy of this node demands all walls"));
    }
    let why = match (status.signal(), words.is_empty()) {
        (Some(signal), _) => format!("the compiler was killed by signal {signal}"),
        (None, true) => "the compiler gave no reason".to_owned(),
        (None, false) => words,
    };
    let limits = format!(
        "the compiler may use {} GiB of addresses and {CPU_SECONDS_MAX} s of CPU",
        MEMORY_BYTES_MAX >> 30
    );
    Err(Problem::new("compile.failed", format!("task `{task}` could not be compiled: {why}")).hint(limits))
}

fn start(program: &str, wasm: &[u8], wall: Wall) -> io::Result<(Kin, File)> {
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
    let limits = [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Cpu, CPU_SECONDS_MAX),
        (Resource::Fsize, BLOB_BYTES_MAX),
    ];
    for (resource, most) in limits {
        let most = rustix::process::getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| refused(&error))?;
    }
    let kept = [module.as_raw_fd(), made.as_raw_fd()];
    let none = Limits { memory_bytes: 0, out_bytes: 0, files: 0 };
    let walls = Walls::raise(wall, &[], &none, &kept).map_err(|(_, why)| (NO_WALLS, why))?;
    // What is compiled here does not run here.
    walls.close().map_err(|(_, why)| (NO_WALLS, why))?;
    let mut wasm = Vec::new();
    File::from(module).read_to_end(&mut wasm).map_err(|error| refused(&error))?;
    let artifact = waft_engine::compile(engine, &wasm).map_err(|error| (REFUSED, format!("{error:#}")))?;
    made.write_all(&artifact).map_err(|error| refused(&error))
}
