//! What a module can make of the compiler is bounded: each limit ends it, and the error names module and limit. The
//! compiler is the real one where the limit is one that the kernel keeps around it, and a stand-in where it must hang,
//! crash or flood.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use waft::compile::{Bounds, Cache, artifact};
use waft_proto::msg::{Arch, Engine, Profile};
use waft_proto::run::Problem;

const WAFT: &str = env!("CARGO_BIN_EXE_waft");
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

async fn compile(program: &Path, bounds: Bounds, wasm: &[u8]) -> Result<Vec<u8>, Problem> {
    let cache = Cache::new(None).compiler(program.to_owned()).bounds(bounds);
    artifact(&cache, "t.wasm", wasm, Arch::X86_64, Profile::Fast).await
}

#[track_caller]
fn assert_problem(outcome: Result<Vec<u8>, Problem>, code: &str, message: &str) {
    let problem = outcome.map(|artifact| artifact.len()).expect_err(code);
    assert_eq!(problem.code, code, "{problem}");
    assert!(problem.message.starts_with("t.wasm ") && problem.message.contains(message), "{problem}");
}

/// A module whose one function is long and in which everything depends on everything before it.
fn laborious(steps: usize) -> Vec<u8> {
    let step = "local.get 0 local.get 1 i64.mul local.tee 0 local.get 1 i64.xor local.set 1 \
                local.get 0 i64.const 3 i64.lt_u if local.get 1 local.set 0 end ";
    wat::parse_str(format!("(module (func (param i64 i64) (result i64) {} local.get 0))", step.repeat(steps)))
        .expect("a module")
}

/// A program of the shell's in the compiler's place.
fn stand_in(dir: &Path, script: &str) -> PathBuf {
    let file = dir.join("compiler");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a script");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("its mode");
    file
}

#[tokio::test]
async fn behind_its_walls_the_compiler_makes_the_same_artifact() {
    // Many functions, so that several threads share the work.
    let functions: String =
        (0..64).map(|number| format!("(func (result i32) i32.const {number} i32.const 7 i32.mul)")).collect();
    let wasm = wat::parse_str(format!("(module {functions})")).expect("a module");
    let walled = compile(Path::new(WAFT), Bounds::default(), &wasm).await.expect("an artifact");
    let engine = Engine { arch: Arch::X86_64, profile: Profile::Fast };
    let free = waft_engine::compile(engine, &wasm).expect("an artifact");
    assert!(walled == free, "{} and {} bytes", walled.len(), free.len());
}

#[tokio::test]
async fn a_module_that_takes_too_much_processor_time_is_given_up() {
    let bounds = Bounds { cpu_seconds: 1, ..Bounds::default() };
    let outcome = compile(Path::new(WAFT), bounds, &laborious(60_000)).await;
    assert_problem(outcome, "compile.cpu", "was not compiled within 1 s of CPU");
}

#[tokio::test]
async fn a_module_that_takes_too_much_memory_is_given_up() {
    // A module with a custom section that is larger than what it may take.
    const MEMORY: u64 = 192 << 20;
    let mut wasm = [MODULE, &[0, 0x80, 0x80, 0x80, 0x60]].concat();
    wasm.resize(wasm.len() + (0x60 << 21), 0);
    assert!(wasm.len() as u64 > MEMORY);
    let bounds = Bounds { memory_bytes: MEMORY, ..Bounds::default() };
    let outcome = compile(Path::new(WAFT), bounds, &wasm).await;
    assert_problem(outcome, "compile.memory", "cannot be compiled with 192 MiB of addresses");
}

/// A component in which each level instantiates the one below it twice: 50 bytes more for twice as many instances.
fn doubled(levels: u32) -> Vec<u8> {
    let innermost = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    let nested = (0..levels).fold(innermost, |inner, level| {
        let twice = format!("(instance (instantiate $c{level}))").repeat(2);
        format!("(component $c{} {inner} {twice})", level + 1)
    });
    let text = format!(
        r#"(component {nested} (instance (instantiate $c{levels}))
            (core module $m (func (export "run") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $out (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $out)))"#
    );
    wat::parse_str(text).expect("a component")
}

#[tokio::test]
async fn a_component_of_a_thousand_million_instances_is_given_up() {
    let bounds = Bounds { memory_bytes: 512 << 20, ..Bounds::default() };
    compile(Path::new(WAFT), bounds, &doubled(4)).await.expect("sixteen are not too many");
    let wasm = doubled(30);
    assert!(wasm.len() < 4096, "{} bytes", wasm.len());
    let outcome = compile(Path::new(WAFT), bounds, &wasm).await;
    assert_problem(outcome, "compile.memory", "cannot be compiled with 512 MiB of addresses");
}

#[tokio::test]
async fn a_compiler_that_hangs_is_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    let pid = dir.path().join("pid");
    let program =
        stand_in(dir.path(), &format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", pid.display()));
    let bounds = Bounds { wall_time: Duration::from_secs(2), ..Bounds::default() };
    assert_problem(compile(&program, bounds, MODULE).await, "compile.timeout", "within 2 s");
    let pid = std::fs::read_to_string(pid).expect("it was started");
    let until = Instant::now() + Duration::from_secs(10);
    let is_there = || {
        // One that nobody has waited for yet has ended as well.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while is_there() {
        assert!(Instant::now() < until, "it runs on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_compiler_that_crashes_is_told_by_its_signal() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = stand_in(dir.path(), "kill -SEGV $$");
    assert_problem(
        compile(&program, Bounds::default(), MODULE).await,
        "compile.failed",
        "killed by signal 11",
    );
}

#[tokio::test]
async fn a_compiler_that_floods_is_not_listened_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let bounds = Bounds { artifact_bytes: 1 << 20, ..Bounds::default() };
    let out = stand_in(dir.path(), "exec cat /dev/zero");
    assert_problem(compile(&out, bounds, MODULE).await, "compile.artifact", "more than 1048576 bytes");
    let words = stand_in(dir.path(), "exec cat /dev/zero >&2");
    assert_problem(compile(&words, bounds, MODULE).await, "compile.failed", "could not be compiled");
}

#[tokio::test]
async fn the_environment_of_the_controller_stays_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let (program, found) = (dir.path().join("compiler"), dir.path().join("environ"));
    stand_in(dir.path(), &format!("cat /proc/$$/environ > {}; echo artifact", found.display()));
    assert!(std::env::vars_os().next().is_some());
    compile(&program, Bounds::default(), MODULE).await.expect("an artifact");
    assert_eq!(std::fs::read(found).expect("what it found"), b"");
}
