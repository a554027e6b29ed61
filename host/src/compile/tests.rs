//! What is said of modules before anything is compiled, and what the cache keeps. The compiler here is a program
//! that stands in for `waft`; that the real one works is seen by every end-to-end test.

use super::*;
use std::path::Path;

/// Writes its arguments: each engine has another artifact.
const ECHO: &str = "/bin/echo";
/// Reads no stdin, fails and says why: it has no file `__compile`.
const CAT: &str = "/bin/cat";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a module")
}

/// Code and message of all problems.
fn problems(wasm: &[u8]) -> Vec<(String, String)> {
    let problems = check_imports("t.wasm", wasm).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.code, problem.message)).collect()
}

#[track_caller]
fn assert_problem(wasm: &[u8], code: &str, part: &str) {
    match problems(wasm).as_slice() {
        [(said, message)] => {
            assert_eq!(said, code, "{message}");
            assert!(message.starts_with("t.wasm ") && message.contains(part), "{message}");
        }
        other => panic!("expected one problem: {other:?}"),
    }
}

fn kept_in(dir: &Path, compiler: &str) -> Cache {
    Cache::new(Some(dir.to_owned())).compiler(PathBuf::from(compiler))
}

async fn compiled(cache: &Cache, wasm: &[u8], arch: Arch, profile: Profile) -> Result<String, Problem> {
    let artifact = artifact(cache, "t.wasm", wasm, arch, profile).await?;
    Ok(String::from_utf8(artifact).expect("text"))
}

async fn fast(cache: &Cache, wasm: &[u8]) -> Result<String, Problem> {
    compiled(cache, wasm, Arch::X86_64, Profile::Fast).await
}

/// The only file of the cache.
fn only_file(dir: &Path) -> PathBuf {
    match files::list(dir).as_slice() {
        [file] => file.clone(),
        files => panic!("expected one file: {files:?}"),
    }
}

#[test]
fn what_tasks_may_import_is_accepted() {
    assert_eq!(problems(MODULE), []);
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
        (import "waft_v1" "facts" (func))
        (memory (export "memory") 1)
        (func (export "_start")))"#;
    assert_eq!(problems(&wasm(text)), []);
}

#[test]
fn each_unknown_import_is_a_problem_of_its_own() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "sock_connect_to_the_moon" (func))
        (import "env" "abort" (func))
        (import "env" "abort" (func))
        (import "waft_v2" "facts" (func))
        (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32))))"#;
    let problems = problems(&wasm(text));
    let named: Vec<_> = problems.iter().map(|(code, message)| (code.as_str(), message.as_str())).collect();
    let expected = |import: &str| format!("t.wasm imports {import}, which no host of waft offers");
    let (env, v2) = (expected("env.abort"), expected("waft_v2.facts"));
    let moon = expected("wasi_snapshot_preview1.sock_connect_to_the_moon");
    assert_eq!(named, [("task.import", env.as_str()), ("task.import", &v2), ("task.import", &moon)]);
}

#[test]
fn an_import_that_nobody_has_is_told_with_what_would_do() {
    let hint = |import: &str| {
        let text = format!("(module (import {import}))");
        let problem = check_imports("t.wasm", &wasm(&text)).expect_err("nobody has it").remove(0);
        assert_eq!(problem.code, "task.import", "{problem}");
        problem.hint.expect("a hint")
    };
    for (import, part) in [
        (r#""env" "abort" (func)"#, "built for a browser or by Emscripten"),
        (r#""env" "memory" (memory 1 1 shared)"#, "its own memory"),
        (r#""wasi_unstable" "fd_write" (func)"#, "WASI preview 0"),
        (r#""wasi_snapshot_preview1" "fd_wirte" (func)"#, "has `fd_write`"),
        (r#""wasi_snapshot_preview1" "sock_bind_to_everything" (func)"#, "WASI 0.1 has no such function"),
        (r#""wasi" "thread-spawn" (func)"#, "threads are not offered"),
        (r#""gojs" "runtime.wasmExit" (func)"#, "GOOS=wasip1"),
        (r#""wbg" "__wbg_log_1" (func)"#, "wasm-bindgen"),
        (r#""waft_v1" "exce" (func)"#, "has `exec`"),
        (r#""waft_v2" "exec" (func)"#, "or get a newer waft"),
        (r#""wasi:http/types@0.2.0" "x" (func)"#, "the core of a component"),
        (r#""wasix_32v1" "fork" (func)"#, "WASIX"),
        (r#""x" "y" (func)"#, "wasm32-wasip1"),
    ] {
        assert!(hint(import).contains(part), "{part} in {}", hint(import));
    }
    let component = |import: &str| {
        let text = format!(r#"(component (import "{import}" (instance)))"#);
        let problems = check_imports("t.wasm", &wasm(&text)).expect_err("nobody has it");
        format!("{} / {}", problems[0].message, problems[0].hint.clone().unwrap_or_default())
    };
    assert!(component("wasi:http/outgoing-handler@0.2.0").contains("ask for net:HOST:PORT"));
    assert!(component("wasi:nn/graph@0.2.0-rc").contains("waft has no such service"));
    let newer = component("waft:task/host@0.9.0");
    assert!(newer.contains("hosts of waft have 1.0.0") && newer.contains("or get a newer waft"), "{newer}");
}

#[test]
fn only_functions_can_be_imported() {
    for import in ["(memory 1)", "(global i32)", "(table 1 funcref)"] {
        let text = format!(r#"(module (import "wasi_snapshot_preview1" "fd_close" {import}))"#);
        assert_problem(&wasm(&text), "task.import", "wasi_snapshot_preview1.fd_close");
    }
}

#[test]
fn what_is_no_module_is_said_plainly() {
    for other in [&b""[..], b"\0as", b"(module)", b"\x7fELF\x02\x01\x01\0", b"#!/bin/sh\n"] {
        assert_problem(other, "task.not_wasm", "no WebAssembly");
    }
    assert_problem(b"\0asm", "task.version", "another version");
    assert_problem(b"\0asm\x02\0\0\0", "task.version", "another version");
}

#[test]
fn a_component_may_import_what_hosts_have_and_exports_run() {
    let of = |import: &str| {
        let text = format!(
            r#"(component
                (import "{import}" (instance (export "exit-with-code" (func (param "status-code" u8)))))
                (core module $m (func (export "run") (result i32) (i32.const 0)))
                (core instance $i (instantiate $m))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (instance $out (export "run" (func $run)))
                (export "wasi:cli/run@0.2.0" (instance $out)))"#
        );
        wasm(&text)
    };
    assert_eq!(problems(&of("wasi:cli/exit@0.2.12")), []);
    for (import, part) in [
        ("wasi:cli/stdin@0.2.0", "imports wasi:cli/stdin@0.2.0#exit-with-code"),
        ("wasi:cli/exit@0.3.0", "wasi:cli/exit of version 0.3.0; hosts of waft have 0.2.0 to 0.2.12"),
        ("wasi:cli/exit@0.2.13", "of version 0.2.13"),
        ("wasi:cli/exit", "imports wasi:cli/exit without a version"),
        ("wasi:http/types@0.2.0", "imports wasi:http/types@0.2.0, which no host of waft offers"),
    ] {
        assert_problem(&of(import), "task.import", part);
    }
    assert_problem(&wasm("(component)"), "task.start", "without wasi:cli/run@0.2.0");
    // What components inside import of one another is no import of the task.
    let nested = r#"(component (component (import "x" (func))) (core module (import "env" "f" (func))))"#;
    assert_problem(&wasm(nested), "task.start", "without wasi:cli/run");
    let broken = of("wasi:cli/exit@0.2.0");
    assert_problem(&broken[..broken.len() - 9], "task.invalid", "at byte ");
}

#[test]
fn a_damaged_module_is_said_with_the_place() {
    let whole = wasm("(module (func (result i32) i32.const 7))");
    // Cut within the last section: between two sections a shorter module may be a good one.
    const LAST_SECTION_BYTES: usize = 8;
    for missing in 1..=LAST_SECTION_BYTES {
        assert_problem(&whole[..whole.len() - missing], "task.invalid", "at byte ");
    }
}

#[test]
fn a_module_that_does_not_validate_is_refused() {
    assert_problem(&wasm("(module (func (result i32) i64.const 7))"), "task.invalid", "type mismatch");
}

#[test]
fn a_module_has_a_size() {
    let mut wasm = vec![0; MODULE_BYTES_MAX + 1];
    wasm[..MODULE.len()].copy_from_slice(MODULE);
    assert_problem(&wasm, "task.size", "at most");
}

#[tokio::test]
async fn an_artifact_is_compiled_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = fast(&kept_in(dir.path(), ECHO), MODULE).await;
    assert_eq!(first.as_deref(), Ok("__compile x86_64 fast 6442450944 300\n"));
    // A compiler that fails is not asked.
    assert_eq!(fast(&kept_in(dir.path(), CAT), MODULE).await, first);
}

#[tokio::test]
async fn each_module_and_engine_has_its_own_artifact() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = kept_in(dir.path(), ECHO);
    for (arch, profile, expected) in [
        (Arch::X86_64, Profile::Fast, "__compile x86_64 fast 6442450944 300\n"),
        (Arch::X86_64, Profile::Small, "__compile x86_64 small 6442450944 300\n"),
        (Arch::Aarch64, Profile::Fast, "__compile aarch64 fast 6442450944 300\n"),
        (Arch::Aarch64, Profile::Small, "__compile aarch64 small 6442450944 300\n"),
    ] {
        assert_eq!(compiled(&cache, MODULE, arch, profile).await.as_deref(), Ok(expected));
        // From the cache.
        let deaf = kept_in(dir.path(), CAT);
        assert_eq!(compiled(&deaf, MODULE, arch, profile).await.as_deref(), Ok(expected));
    }
    fast(&cache, &wasm("(module (func))")).await.expect("an artifact");
    assert_eq!(files::list(dir.path()).len(), 5);
}

#[tokio::test]
async fn a_damaged_artifact_is_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = kept_in(dir.path(), ECHO);
    let expected = fast(&cache, MODULE).await;
    let file = only_file(dir.path());
    let whole = std::fs::read(&file).expect("the file");
    let damages = (0..whole.len()).map(|at| {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        damaged
    });
    let cuts = (0..whole.len()).map(|bytes| whole[..bytes].to_vec());
    let longer = [whole.clone(), vec![0]].concat();
    for damaged in damages.chain(cuts).chain([longer]) {
        std::fs::write(&file, &damaged).expect("a damaged file");
        let used = fast(&kept_in(dir.path(), CAT), MODULE).await;
        assert_eq!(used.map_err(|problem| problem.code), Err("compile.failed".to_owned()), "{damaged:?}");
    }
    assert_eq!(fast(&cache, MODULE).await, expected);
    assert_eq!(std::fs::read(&file).expect("the file"), whole);
}

/// As good as whole, under the wrong name.
#[tokio::test]
async fn an_artifact_of_another_module_is_not_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = kept_in(dir.path(), ECHO);
    fast(&cache, MODULE).await.expect("an artifact");
    let ours = only_file(dir.path());
    let other = wasm("(module (func))");
    fast(&cache, &other).await.expect("an artifact");
    let theirs = files::list(dir.path()).into_iter().find(|file| *file != ours).expect("a second file");
    let whole = std::fs::read(&ours).expect("the file");
    std::fs::copy(&theirs, &ours).expect("planted");
    let used = fast(&kept_in(dir.path(), CAT), MODULE).await;
    assert_eq!(used.map_err(|problem| problem.code), Err("compile.failed".to_owned()));
    fast(&kept_in(dir.path(), CAT), &other).await.expect("its own is taken");
    fast(&cache, MODULE).await.expect("made again");
    assert_eq!(std::fs::read(&ours).expect("the file"), whole);
}

#[tokio::test]
async fn without_a_directory_nothing_is_kept() {
    let echo = Cache::new(None).compiler(PathBuf::from(ECHO));
    assert_eq!(fast(&echo, MODULE).await.as_deref(), Ok("__compile x86_64 fast 6442450944 300\n"));
    fast(&Cache::new(None).compiler(PathBuf::from(CAT)), MODULE).await.expect_err("compiled again");
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_time_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let blocked = dir.path().join("a file");
    std::fs::write(&blocked, "").expect("a file");
    assert_eq!(
        fast(&kept_in(&blocked, ECHO), MODULE).await.as_deref(),
        Ok("__compile x86_64 fast 6442450944 300\n")
    );
}

#[tokio::test]
async fn a_compiler_that_fails_is_quoted_and_nothing_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    // More than a pipe holds, so that the end of the compiler is met while the module is still being written.
    let mut large = wasm(&format!(r#"(module (memory 2) (data (i32.const 0) "{}"))"#, "a".repeat(100_000)));
    large.truncate(100_000);
    let problem = fast(&kept_in(dir.path(), CAT), &large).await.expect_err("a failure");
    assert_eq!(problem.code, "compile.failed");
    assert!(problem.message.starts_with("t.wasm could not be compiled: "), "{}", problem.message);
    assert!(problem.message.contains("__compile"), "{}", problem.message);
    assert_eq!(files::list(dir.path()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_compiler_that_fails_in_silence_is_told_by_its_exit() {
    let cache = Cache::new(None).compiler(PathBuf::from("/bin/false"));
    let problem = fast(&cache, MODULE).await.expect_err("a failure");
    assert_eq!(problem.message, "t.wasm could not be compiled: exit status 1");
}

#[tokio::test]
async fn a_compiler_that_is_not_there_is_our_own_fault() {
    let cache = Cache::new(None).compiler(PathBuf::from("/nonexistent/waft"));
    assert_eq!(fast(&cache, MODULE).await.map_err(|problem| problem.code), Err("compile.start".to_owned()));
}

#[tokio::test]
async fn what_is_no_module_starts_no_compiler() {
    let cache = Cache::new(None).compiler(PathBuf::from("/nonexistent/waft"));
    let said = fast(&cache, b"(module)").await;
    assert_eq!(said.map_err(|problem| problem.code), Err("task.not_wasm".to_owned()));
}
