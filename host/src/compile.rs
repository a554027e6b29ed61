//! From a module to an artifact: looked at here, compiled in a child process with limits, cached on disk.
//!
//! A compiler is a large program that is fed by strangers. It runs as a process of its own (`waft __compile`, see
//! [`child`]) behind the kernel's walls ([`walls`]), with bounded memory, CPU and wall time and an empty environment:
//! the module comes by a pipe, the artifact goes by a pipe, and there is nothing else that it can reach.
//!
//! The cache is a directory of files named after module and engine. Each begins with the hash of its module and that of
//! the rest, so that one which was damaged, or which has the name of another, is noticed and made again. Losing it costs
//! time only.

mod advice;
pub mod child;
pub mod component;
pub mod walls;

use crate::files;
use child::WALL_MARK;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use waft_engine::{Form, imports};
use waft_proto::id::Hash;
use waft_proto::limits::BLOB_BYTES_MAX;
use waft_proto::msg::{Arch, Engine, Profile};
use waft_proto::run::Problem;
use wasmparser::{Parser, Payload, TypeRef, Validator};

/// Address space of the compiler, bytes. Go's runtime, the largest common module, takes about 1 GiB.
const MEMORY_BYTES_MAX: u64 = 6 << 30;
/// CPU time of the compiler, seconds; python.wasm takes 9.
const CPU_SECONDS_MAX: u64 = 300;
/// Wall time of the compiler.
const WALL_TIME_MAX: Duration = Duration::from_secs(300);
/// A module, bytes.
pub const MODULE_BYTES_MAX: usize = 256 << 20;
/// What the child says when something is wrong, bytes of it that are shown.
const WORDS_BYTES_MAX: u64 = 2000;
/// The first bytes of a file in the cache.
const CACHE_MAGIC: &[u8; 8] = b"waftart2";

/// What one compilation may take.
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

/// Where artifacts are kept, which program compiles, and what it may take.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: Option<PathBuf>,
    compiler: Option<PathBuf>,
    bounds: Bounds,
}

impl Cache {
    /// `None`: nothing is kept.
    pub fn new(dir: Option<PathBuf>) -> Cache {
        Cache { dir, compiler: None, bounds: Bounds::default() }
    }

    /// Other bounds than the usual.
    pub fn bounds(self, bounds: Bounds) -> Cache {
        Cache { bounds, ..self }
    }

    /// Another program than this one as `PROGRAM __compile`.
    pub fn compiler(self, program: PathBuf) -> Cache {
        Cache { compiler: Some(program), ..self }
    }

    fn file(&self, (module, form): (Hash, Form), engine: Engine) -> Option<PathBuf> {
        let key = waft_engine::artifact_key(engine, form).ok()?;
        Some(self.dir.as_ref()?.join(format!("{module}-{key}")))
    }

    fn load(&self, module: (Hash, Form), engine: Engine) -> Option<Vec<u8>> {
        let bytes = std::fs::read(self.file(module, engine)?).ok()?;
        let rest = bytes.strip_prefix(CACHE_MAGIC)?.strip_prefix(&module.0.0)?;
        let (hash, artifact) = rest.split_first_chunk::<32>()?;
        (Hash::of(artifact).0 == *hash).then(|| artifact.to_vec())
    }

    fn keep(&self, module: (Hash, Form), engine: Engine, artifact: &[u8]) {
        let Some(file) = self.file(module, engine) else { return };
        let mut bytes = CACHE_MAGIC.to_vec();
        bytes.extend_from_slice(&module.0.0);
        bytes.extend_from_slice(&Hash::of(artifact).0);
        bytes.extend_from_slice(artifact);
        if let Err(error) = files::write_private(&file, &bytes) {
            tracing::warn!(
                "the artifact could not be kept in {}: {}",
                file.display(),
                crate::files::plain(&error)
            );
        }
    }
}

/// What is wrong with a module, before any host is dialled. `name` is the task's, for the sentences.
pub fn check_imports(name: &str, wasm: &[u8]) -> Result<(), Vec<Problem>> {
    check_header(name, wasm).map_err(|problem| vec![problem])?;
    let broken = |error: wasmparser::BinaryReaderError| {
        vec![
            Problem::new(
                "task.invalid",
                format!("{name} is no valid module: at byte {}: {}", error.offset(), error.message()),
            )
            .hint("the file may be truncated, or use a WebAssembly proposal that waft does not enable"),
        ]
    };
    if Form::of_wasm(wasm) == Form::Component {
        let problems = component::check(name, &component::outside(wasm).map_err(broken)?);
        return if problems.is_empty() { Ok(()) } else { Err(problems) };
    }
    let mut unknown = BTreeSet::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(section) = payload.map_err(broken)? {
            for import in section.into_imports() {
                let import = import.map_err(broken)?;
                let known = matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_))
                    && imports::functions(import.module).contains(&import.name);
                if !known {
                    unknown.insert((import.module.to_owned(), import.name.to_owned()));
                }
            }
        }
    }
    // Who built it for something else is told so, and not what that has beyond our features.
    if unknown.is_empty() {
        let mut validator = Validator::new_with_features(waft_engine::parser_features(Form::Module));
        return validator.validate_all(wasm).map(|_| ()).map_err(broken);
    }
    Err(unknown
        .into_iter()
        .map(|(module, function)| {
            let text = format!("{name} imports {module}.{function}, which no host of waft offers");
            Problem::new("task.import", text).hint(advice::of_module(&module, &function))
        })
        .collect())
}

fn check_header(name: &str, wasm: &[u8]) -> Result<(), Problem> {
    if wasm.len() > MODULE_BYTES_MAX {
        return Err(Problem::new(
            "task.size",
            format!("{name} has {} bytes; a module has at most {MODULE_BYTES_MAX}", wasm.len()),
        ));
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(Problem::new(
            "task.not_wasm",
            format!("{name} is no WebAssembly: it does not begin with \\0asm"),
        )
        .hint("give the compiled .wasm file; text (.wat) and sources are never compiled by waft"));
    }
    if !Parser::is_core_wasm(wasm) && Form::of_wasm(wasm) == Form::Module {
        return Err(Problem::new(
            "task.version",
            format!(
                "{name} is WebAssembly of another version than 1 (or 13, of a component), or it ends after its first bytes"
            ),
        ));
    }
    Ok(())
}

/// The artifact of a module for one engine: from the cache, or compiled now.
pub async fn artifact(
    cache: &Cache,
    name: &str,
    wasm: &[u8],
    arch: Arch,
    profile: Profile,
) -> Result<Vec<u8>, Problem> {
    check_header(name, wasm)?;
    let engine = Engine { arch, profile };
    let module = (Hash::of(wasm), Form::of_wasm(wasm));
    if let Some(artifact) = cache.load(module, engine) {
        return Ok(artifact);
    }
    let wall_time = cache.bounds.wall_time;
    let artifact =
        tokio::time::timeout(wall_time, compile(cache, name, wasm, engine)).await.unwrap_or_else(|_| {
            Err(Problem::new(
                "compile.timeout",
                format!(
                    "{name} was not compiled within {} s, and its compiler was ended",
                    wall_time.as_secs_f64()
                ),
            ))
        })?;
    cache.keep(module, engine, &artifact);
    Ok(artifact)
}

async fn compile(cache: &Cache, name: &str, wasm: &[u8], engine: Engine) -> Result<Vec<u8>, Problem> {
    let failed = |why: &dyn std::fmt::Display| {
        Problem::new("compile.start", format!("the compiler could not be run: {why}"))
    };
    let program = match &cache.compiler {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(|error| failed(&error))?,
    };
    let bounds = cache.bounds;
    let limits = [bounds.memory_bytes, bounds.cpu_seconds].map(|limit| limit.to_string());
    let mut child = Command::new(program)
        .args(["__compile", engine.arch.word(), profile_word(engine.profile)])
        .args(limits)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let Some(mut stdin) = child.stdin.take() else { return Err(failed(&"it has no stdin")) };
    let feed = async move {
        // A compiler that gave up early has said why.
        let _ = stdin.write_all(wasm).await;
    };
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed(&"its output cannot be read"));
    };
    // It parsed what a stranger wrote: no more is taken from it than could be right.
    let (artifact, words) =
        (read_at_most(out, bounds.artifact_bytes.saturating_add(1)), read_at_most(err, WORDS_BYTES_MAX));
    let ((), artifact, words) = tokio::join!(feed, artifact, words);
    let status = child.wait().await.map_err(|error| failed(&error))?;
    let artifact = artifact.map_err(|error| failed(&error))?;
    let words = words.unwrap_or_default();
    let (missing, words): (Vec<&[u8]>, Vec<&[u8]>) =
        words.split_inclusive(|byte| *byte == b'\n').partition(|line| line.starts_with(WALL_MARK.as_bytes()));
    for wall in missing {
        tracing::info!("the compiler runs with less around it: {}", waft_hop::stream::printable(wall));
    }
    if artifact.len() as u64 > bounds.artifact_bytes {
        let text = format!("{name} compiles to more than {} bytes, which is too much", bounds.artifact_bytes);
        return Err(Problem::new("compile.artifact", text));
    }
    if status.success() && !artifact.is_empty() {
        return Ok(artifact);
    }
    Err(why(name, bounds, status, &waft_hop::stream::printable(&words.concat())))
}

/// What ended a compiler, by the limit if it was one.
fn why(name: &str, bounds: Bounds, status: ExitStatus, words: &str) -> Problem {
    const SIGXCPU: i32 = rustix::process::Signal::XCPU.as_raw();
    let memory = format!("{} MiB of addresses", bounds.memory_bytes >> 20);
    let cpu = format!("{} s of CPU", bounds.cpu_seconds);
    if status.signal() == Some(SIGXCPU) {
        return Problem::new("compile.cpu", format!("{name} was not compiled within {cpu}"));
    }
    // As Rust's allocator says it, and its reader.
    if words.contains("memory allocation of ") || words.contains("out of memory") {
        return Problem::new("compile.memory", format!("{name} cannot be compiled with {memory}: {words}"));
    }
    let how = waft_hop::process::how(status);
    let why = if words.is_empty() { &how } else { words };
    Problem::new("compile.failed", format!("{name} could not be compiled: {why}"))
        .hint(format!("the compiler may use {memory} and {cpu}"))
}

/// Then the pipe is closed, whatever else would come.
async fn read_at_most(pipe: impl AsyncRead + Unpin, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(limit).read_to_end(&mut bytes).await.map(|_| bytes)
}

fn profile_word(profile: Profile) -> &'static str {
    match profile {
        Profile::Fast => "fast",
        Profile::Small => "small",
    }
}

#[cfg(test)]
mod tests;
