//! What a module can make of the compiler of an installed stub is bounded, and what ends it is named. The compiler is the
//! real one, in a process of its own (`scripts/build-stub.sh site` makes it, as in `make test`); stand-ins of the shell's hang, crash and flood.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use waft_proto::run::Problem;
use waft_stub::site::compile::{Bounds, compile_with};
use waft_stub::worker::walls::Wall;

/// As it is installed: what this test is linked with has other parts of the compiler, which starts threads.
const STUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/site/waft-stub");
const EMPTY: &[u8] = b"\0asm\x01\0\0\0";
/// For what has to happen in another process.
const PATIENCE: Duration = Duration::from_secs(20);

/// The bytes of the artifact, or why there is none.
async fn compile(program: &str, bounds: Bounds, wasm: &[u8]) -> Result<usize, Problem> {
    compile_with(program, bounds, "t", wasm, Wall::Required).await.map(|artifact| artifact.bytes.len())
}

#[track_caller]
fn assert_problem(outcome: Result<usize, Problem>, code: &str, message: &str) {
    let problem = outcome.expect_err(code);
    assert_eq!(problem.code, code, "{problem:?}");
    assert!(problem.message.starts_with("task `t` ") && problem.message.contains(message), "{problem:?}");
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn section(id: u8, entries: usize, body: &[u8]) -> Vec<u8> {
    let content = [leb(entries), body.to_vec()].concat();
    [vec![id], leb(content.len()), content].concat()
}

/// A module with these sections behind its head.
fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [EMPTY.to_vec(), sections.concat()].concat()
}

/// One function `(i64, i64) -> i64` with these instructions.
fn function(body: &[u8]) -> Vec<u8> {
    let body = [&[0], body, &[0x0b]].concat();
    let code = [leb(body.len()), body].concat();
    let types = section(1, 1, &[0x60, 2, 0x7e, 0x7e, 1, 0x7e]);
    module(&[types, section(3, 1, &[0]), section(10, 1, &code)])
}

/// Long, and everything in it depends on everything before it.
fn laborious(steps: usize) -> Vec<u8> {
    // local.get 0, local.get 1, i64.mul, local.tee 0, local.get 1, i64.xor, local.set 1
    let step = [0x20, 0, 0x20, 1, 0x7e, 0x22, 0, 0x20, 1, 0x85, 0x21, 1];
    function(&[step.repeat(steps), vec![0x20, 0]].concat())
}

/// Types that are nobody's.
fn many_types(count: usize) -> Vec<u8> {
    module(&[section(1, count, &[0x60, 0, 0].repeat(count))])
}

/// Functions that do nothing.
fn many_functions(count: usize) -> Vec<u8> {
    let types = section(1, 1, &[0x60, 0, 0]);
    module(&[types, section(3, count, &vec![0; count]), section(10, count, &[2, 0, 0x0b].repeat(count))])
}

/// Blocks within blocks.
fn nested(depth: usize) -> Vec<u8> {
    function(&[[0x02, 0x40].repeat(depth), vec![0x0b; depth], vec![0x20, 0]].concat())
}

/// Variables of one function.
fn many_locals(count: usize) -> Vec<u8> {
    let body = [vec![1], leb(count), vec![0x7e, 0x0b]].concat();
    let code = [leb(body.len()), body].concat();
    module(&[section(1, 1, &[0x60, 0, 0]), section(3, 1, &[0]), section(10, 1, &code)])
}

/// A program of the shell's in the compiler's place.
fn stand_in(dir: &Path, script: &str) -> String {
    let file = dir.join("compiler");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a script");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("its mode");
    file.to_str().expect("a plain path").to_owned()
}

#[tokio::test]
async fn a_module_that_takes_too_much_processor_time_is_given_up() {
    let bounds = Bounds { cpu_seconds: 1, ..Bounds::default() };
    assert_problem(compile(STUB, bounds, &laborious(150_000)).await, "compile.cpu", "within 1 s of CPU");
}

#[tokio::test]
async fn a_module_that_takes_too_much_memory_is_given_up() {
    let bounds = Bounds { memory_bytes: 192 << 20, ..Bounds::default() };
    compile(STUB, bounds, &many_functions(100)).await.expect("an artifact");
    let outcome = compile(STUB, bounds, &many_functions(400_000)).await;
    assert_problem(outcome, "compile.memory", "with 192 MiB of addresses");
}

#[tokio::test]
async fn a_module_that_compiles_to_too_much_is_given_up() {
    let wasm = laborious(2_000);
    let bytes = compile(STUB, Bounds::default(), &wasm).await.expect("an artifact");
    let bounds = Bounds { artifact_bytes: bytes as u64 / 2, ..Bounds::default() };
    assert_problem(compile(STUB, bounds, &wasm).await, "compile.artifact", "to more than");
}

#[tokio::test]
async fn what_is_large_in_one_way_is_compiled_or_refused_with_a_reason() {
    let bounds = Bounds { cpu_seconds: 60, ..Bounds::default() };
    // What is refused is so by a limit of the parser's, before anything is compiled.
    for (what, wasm, refused) in [
        ("types", many_types(400_000), None),
        ("more types", many_types(1_000_001), Some("types")),
        ("functions", many_functions(1_000_001), Some("functions")),
        ("locals", many_locals(50_000), None),
        ("more locals", many_locals(50_001), Some("locals")),
        ("blocks within blocks", nested(20_000), None),
        ("a long function", laborious(640_000), Some("size")),
    ] {
        let began = Instant::now();
        match (compile(STUB, bounds, &wasm).await, refused) {
            (Ok(_), None) => {}
            (outcome, Some(word)) => assert_problem(outcome, "compile.failed", word),
            (Err(problem), None) => panic!("{what}: {problem:?}"),
        }
        println!("{what}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn malformed_and_truncated_modules_are_refused_with_a_reason() {
    let whole = [laborious(3), many_functions(3)[8..].to_vec()].concat();
    assert_problem(compile(STUB, Bounds::default(), &whole).await, "compile.failed", "out of order");
    let whole = laborious(3);
    compile(STUB, Bounds::default(), &whole).await.expect("an artifact");
    for at in (0..whole.len()).step_by(3) {
        // A module may end behind any of its sections, but not with functions that have no code.
        if let Ok(bytes) = compile(STUB, Bounds::default(), &whole[..at]).await {
            assert!(at == 8 || at == 17, "{at}: {bytes}");
        }
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        for wasm in [&whole[..at], &changed] {
            if let Err(problem) = compile(STUB, Bounds::default(), wasm).await {
                assert_eq!(problem.code, "compile.failed", "{at}: {problem:?}");
                let why =
                    problem.message.strip_prefix("task `t` could not be compiled: ").unwrap_or_default();
                assert!(
                    !why.is_empty() && !why.contains("signal") && !why.contains("killed"),
                    "{at}: {problem:?}"
                );
            }
        }
    }
    assert_problem(compile(STUB, Bounds::default(), b"\x7fELF").await, "compile.failed", "magic");
    assert_problem(compile(STUB, Bounds::default(), b"").await, "compile.failed", "");
}

#[tokio::test]
async fn a_compiler_that_hangs_is_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    let pid = dir.path().join("pid");
    let program =
        stand_in(dir.path(), &format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", pid.display()));
    let bounds = Bounds { wall_time: Duration::from_secs(2), ..Bounds::default() };
    assert_problem(compile(&program, bounds, EMPTY).await, "compile.timeout", "within 2 s");
    let pid = std::fs::read_to_string(pid).expect("it was started");
    let until = Instant::now() + PATIENCE;
    // One that nobody has waited for yet has ended as well.
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    while !stat().is_empty() && !stat().contains(") Z ") {
        assert!(Instant::now() < until, "it runs on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_compiler_that_crashes_or_is_killed_is_told_by_its_signal() {
    let dir = tempfile::tempdir().expect("a directory");
    let crashes = stand_in(dir.path(), "kill -SEGV $$");
    assert_problem(compile(&crashes, Bounds::default(), EMPTY).await, "compile.failed", "ended by signal 11");
    let is_killed = stand_in(dir.path(), "kill -KILL $$");
    let outcome = compile(&is_killed, Bounds::default(), EMPTY).await;
    assert!(
        outcome
            .as_ref()
            .is_err_and(|problem| problem.hint.as_ref().is_some_and(|hint| hint.contains("kernel")))
    );
    assert_problem(outcome, "compile.failed", "the compiler was killed");
    let silent = stand_in(dir.path(), "exit 1");
    assert_problem(compile(&silent, Bounds::default(), EMPTY).await, "compile.failed", "gave no reason");
}

#[tokio::test]
async fn a_compiler_that_floods_is_ended_and_its_words_are_few() {
    let dir = tempfile::tempdir().expect("a directory");
    let bounds = Bounds { artifact_bytes: 1 << 20, ..Bounds::default() };
    let floods = stand_in(dir.path(), "exec cat /dev/zero");
    assert_problem(compile(&floods, bounds, EMPTY).await, "compile.artifact", "more than 1048576 bytes");
    let talks = stand_in(dir.path(), "head -c 500000 /dev/zero | tr '\\0' '\\33'; exit 1");
    let problem = compile(&talks, bounds, EMPTY).await.expect_err("no artifact");
    assert!(problem.message.len() < 8_000 && !problem.message.contains('\x1b'), "{}", problem.message.len());
}

#[tokio::test]
async fn nothing_of_the_stub_is_in_the_environment_of_the_compiler() {
    let dir = tempfile::tempdir().expect("a directory");
    let found = dir.path().join("environ");
    let program =
        stand_in(dir.path(), &format!("cat /proc/$$/environ > {}; ls /proc/$$/fd", found.display()));
    assert!(std::env::vars_os().next().is_some());
    compile(&program, Bounds::default(), EMPTY).await.expect("what it printed");
    assert_eq!(std::fs::read(found).expect("what it found"), b"");
}

/// The program that compiles, before it gets its module.
#[tokio::test]
async fn the_compiler_waits_for_its_module_behind_all_walls() {
    let made = tempfile::NamedTempFile::new().expect("a file");
    let mut child = Command::new(STUB)
        .args(["--compile", "fast", "required"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(made.reopen().expect("the file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the compiler");
    let proc = |name: &str| format!("/proc/{}/{name}", child.id());
    let field = |name: &str| {
        let status = std::fs::read_to_string(proc("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let until = Instant::now() + PATIENCE;
    while field("Seccomp_filters") != "2" {
        assert!(Instant::now() < until, "its filters: {}", field("Seccomp_filters"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!([field("Seccomp"), field("NoNewPrivs"), field("Threads")], ["2", "1", "1"]);
    let effective = u64::from_str_radix(&field("CapEff"), 16).expect("capabilities");
    if rustix::process::geteuid().is_root() {
        // Those for files of others, which a worker keeps for what is granted; here nothing is.
        assert!(effective & !0b1110 == 0, "{effective:x}");
        // Where it is there are no files at all.
        let root = std::fs::read_dir(proc("root")).expect("its root");
        let found: Vec<_> = root.flatten().map(|entry| entry.file_name()).collect();
        assert!(found.is_empty(), "{found:?}");
        let mut open: Vec<String> = std::fs::read_dir(proc("fd"))
            .expect("its descriptors")
            .flatten()
            .map(|entry| std::fs::read_link(entry.path()).unwrap_or_default().display().to_string())
            .collect();
        open.sort();
        let file = made.path().display().to_string();
        assert_eq!(open.len(), 5, "{open:?}");
        assert_eq!([&open[0], &open[1], &open[2], &open[3]], ["/dev/null", "/dev/null", &file, &file]);
        assert!(open[4].starts_with("pipe:"), "{open:?}");
    } else {
        assert_eq!(effective, 0);
        println!("SKIPPED: only root can look at the root directory and the descriptors of the compiler");
    }
    // With its walls it does its work.
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), EMPTY).expect("written");
    let status = child.wait().expect("its end");
    assert!(status.success(), "{status}");
    assert!(std::fs::read(made.path()).expect("an artifact").starts_with(b"\x7fELF"));
}
