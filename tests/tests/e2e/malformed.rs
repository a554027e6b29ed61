//! Tasks that are not what they should be: manifests that cannot be read or do not tell the truth, imports that no host has,
//! traps. What can be known here is told before anything is dialled, all of it at once.

use crate::LIMIT;
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::snapshot::Snapshot;
use waft_tests::waft::{Output, Waft};

struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk { dir: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The module of this text, with these custom sections.
    fn task(&self, sections: &[&[u8]], text: &str) -> PathBuf {
        let data = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
        let sections: String =
            sections.iter().map(|bytes| format!("(@custom \"waft.task\" \"{}\")", data(bytes))).collect();
        let module = wat::parse_str(format!("(module {sections} {text})")).expect("good text");
        fs::write(self.path("odd.wasm"), module).expect("written");
        self.path("odd.wasm")
    }
}

/// A target that nobody may ask anything of.
struct Untouched(TcpListener);

impl Untouched {
    fn new() -> Untouched {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        Untouched(listener)
    }

    /// Bad input, with nothing on stdout and all of this on stderr.
    fn refuses(&self, task: &Path, errors: usize, words: &[&str]) -> Result<()> {
        let target = format!("deploy@{}", self.0.local_addr().expect("an address"));
        let waft = Waft::new("run")?.arg(task).args(["-t", &target, "--format", "jsonl"]);
        let output = waft.limit(LIMIT).run()?.expect_code(2)?;
        let said = output.stderr();
        assert!(output.stdout().is_empty(), "{output}");
        for word in words {
            assert!(said.contains(word), "no {word} in {output}");
        }
        assert_eq!(said.lines().filter(|line| line.starts_with("error:")).count(), errors, "{output}");
        assert_eq!(said.lines().filter(|line| line.starts_with("  hint:")).count(), errors, "{output}");
        let asked = self.0.accept().map(|(_, from)| from);
        assert_eq!(asked.map_err(|why| why.kind()), Err(ErrorKind::WouldBlock), "{task:?}");
        Ok(())
    }
}

#[test]
fn a_manifest_that_cannot_be_read_is_told_line_by_line() -> Result<()> {
    let (desk, target) = (Desk::new(), Untouched::new());
    let many = b"nmae = 'odd'\ncheck = 'yes'\ngrants = ['fs:relative', 'nothing:x']\n[params.a]\ntype = 'text'\n[params.b]\nminimum = 'x'\n";
    for (sections, errors, words) in [
        (
            &[&many[..]][..],
            6,
            &[
                "line 1: `nmae` is no key of a manifest",
                "did you mean `name`?",
                "line 2: `check` is true or false",
                "line 3: ",
                "line 5: `type` is `text`",
                "line 7: ",
            ][..],
        ),
        (&[b"name = \"odd\ngrants = ["], 2, &["line 1", "line 2"]),
        (&[b"name = 'odd'\n\xff\xfe"], 1, &["the section waft.task of odd", "is not UTF-8 text"]),
        (&[b"name = 'odd'", b"name = 'other'"], 1, &["waft.task"]),
        (&[b"[params.a]\ntype = 'integer'\ndefault = 'x'\n"], 1, &["the default of `params.a` is not right"]),
        (
            &[b"[params.a]\nrequired = true\n[[examples]]\nparams = { b = 1 }\n"],
            2,
            &["in an example", "`b`", "`a`"],
        ),
    ] {
        target.refuses(&desk.task(sections, ""), errors, words)?;
    }
    // A file beside it, which says something else than its section.
    fs::write(desk.path("odd.toml"), "name = 'odd'\ngrants = ['exec:*']\n").expect("written");
    target.refuses(&desk.task(&[b"name = 'odd'\n"], ""), 1, &["odd.toml"])?;
    fs::write(desk.path("odd.toml"), b"\xff").expect("written");
    target.refuses(&desk.task(&[], ""), 1, &["odd.toml", "UTF-8"])
}

#[test]
fn an_import_that_no_host_has_is_told_with_what_would_do() -> Result<()> {
    let (desk, target) = (Desk::new(), Untouched::new());
    for (import, words) in [
        (r#""env" "emscripten_sleep" (func)"#, ["env.emscripten_sleep", "-sSTANDALONE_WASM"]),
        (r#""wasi_unstable" "fd_write" (func)"#, ["wasi_unstable.fd_write", "WASI preview 0"]),
        (r#""wasi" "thread-spawn" (func)"#, ["wasi.thread-spawn", "threads are not offered"]),
        (r#""waft_v2" "exec" (func)"#, ["waft_v2.exec", "get a newer waft"]),
        (r#""waft_v1" "exce" (func)"#, ["waft_v1.exce", "waft_v1 has `exec`"]),
        (
            r#""wasi_snapshot_preview1" "fd_write" (global i32)"#,
            ["wasi_snapshot_preview1.fd_write", "wasm32-wasip1"],
        ),
    ] {
        target.refuses(&desk.task(&[], &format!("(import {import})")), 1, &words)?;
    }
    // All of them, each once.
    let several = r#"(import "env" "a" (func)) (import "env" "a" (func)) (import "gojs" "b" (func))"#;
    target.refuses(&desk.task(&[], several), 2, &["env.a", "gojs.b", "GOOS=wasip1"])
}

/// Writes `new` into the first granted directory, starts a program, or only prints; says that it has changed nothing.
const LIES: &str = r#"
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "waft_v1" "exec" (func $exec (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "new") (data (i32.const 200) "{\"changed\":false}") (data (i32.const 1000) "REQUEST")
  (func (export "_start")
    DO
    (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 17))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#;
const WRITES: &str =
    "(if (call $open (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 3) (i32.const 9) (i64.const 64)
    (i64.const 0) (i32.const 0) (i32.const 16)) (then (call $exit (i32.const 7))))";
const STARTS: &str = "(drop (call $exec (i32.const 1000) (i32.const LENGTH))) (call $exit (i32.const 125))";

#[test]
fn a_manifest_that_lies_gains_nothing() -> Result<()> {
    let (desk, lab) = (Desk::new(), Lab::of(1)?);
    let guard = LeakGuard::start();
    let place = desk.path("place");
    fs::create_dir(&place).expect("a directory");
    let dir = place.display().to_string();
    let request = json!({"argv": ["/bin/touch", format!("{dir}/new")], "replace": true}).to_string();
    let lies = |what: &str| {
        let what = what.replace("LENGTH", &request.len().to_string());
        LIES.replace("DO", &what).replace("REQUEST", &request.replace('"', "\\\""))
    };
    let run = |manifest: &str, what: &str, words: &[&str]| -> Result<Output> {
        let task = desk.task(&[manifest.as_bytes()], &lies(what));
        let before = Snapshot::take(&[&place], &[])?;
        let waft = Waft::new("run")?.lab(&lab).arg(task).args(["-t", "h1", "--format", "jsonl"]);
        let output = waft.args(words).limit(LIMIT).run()?;
        let changes = before.diff(&Snapshot::take(&[&place], &[])?);
        assert!(changes.is_empty(), "{changes}");
        Ok(output)
    };
    let (ro, rw) = (format!("fs:{dir}"), format!("fs:{dir}:rw"));
    let touch = format!("exec:/bin/touch {dir}/*");
    let hint = |result: &Value| result["error"]["hint"].as_str().unwrap_or_default().to_owned();

    // It asks for less than it uses: whatever is given, it gets no more than it asks for.
    let reads = run(&format!("grants = ['{ro}']"), WRITES, &["--allow", &rw])?;
    // WASI has only numbers for a refusal.
    let result = reads.expect_code(3)?.result_of("h1")?;
    assert_eq!((&result["status"], &result["exit_code"]), (&json!("failed"), &json!(7)), "{result}");
    let starts = run("grants = ['facts']", STARTS, &["--allow", "exec:*"])?;
    let result = starts.expect_code(5)?.result_of("h1")?;
    assert!(
        hint(&result).starts_with("it is given, but the manifest of odd does not ask for it"),
        "{result}"
    );
    // It asks for more than it is given.
    let result =
        run(&format!("grants = ['{rw}', 'exec:*']"), STARTS, &[])?.expect_code(5)?.result_of("h1")?;
    assert!(hint(&result).starts_with("the operator did not give it"), "{result}");

    // It says that it supports dry runs, and writes, and says that it did not.
    let honest = format!("check = true\ngrants = ['{rw}', 'exec:*']");
    let dry = run(&honest, WRITES, &["--allow", &rw, "--check"])?.expect_code(0)?;
    let result = dry.result_of("h1")?;
    assert_eq!(
        (&result["status"], &result["result"]["changed"]),
        (&json!("changed"), &json!(false)),
        "{result}"
    );
    assert_eq!(result["changes"][0]["path"], format!("{dir}/new"), "{result}");
    let dry = run(&honest, STARTS, &["--allow", &touch, "--check"])?.expect_code(5)?;
    let result = dry.result_of("h1")?;
    assert_eq!(result["error"]["code"], "grant.check", "{result}");
    // Its own word for what it starts being harmless is no grant.
    let probe = format!("check = true\ngrants = ['{touch}:probe']");
    let dry = run(&probe, STARTS, &["--allow", &touch, "--check"])?.expect_code(5)?;
    assert_eq!(dry.result_of("h1")?["error"]["code"], "grant.check");
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn a_trap_on_a_target_names_the_functions_or_how_to_have_their_names() -> Result<()> {
    let (desk, lab) = (Desk::new(), Lab::of(1)?);
    let guard = LeakGuard::start();
    let error = |text: &str| -> Result<Value> {
        let task = desk.task(&[], text);
        let waft = Waft::new("run")?.lab(&lab).arg(task).args(["-t", "h1", "--format", "jsonl"]);
        let result = waft.limit(LIMIT).run()?.expect_code(3)?.result_of("h1")?;
        assert_eq!((&result["status"], &result["exit_code"]), (&json!("failed"), &Value::Null), "{result}");
        assert_eq!(result["error"]["code"], "task.trap", "{result}");
        Ok(result["error"].clone())
    };
    for (body, why) in [
        ("unreachable", "unreachable"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divide by zero"),
        ("(drop (i32.load (i32.const 0x7fffffff)))", "out of bounds"),
    ] {
        let named = format!(
            r#"(memory (export "memory") 1) (func $settle {body}) (func $main (export "_start") (call $settle))"#
        );
        let told = error(&named)?;
        let message = told["message"].as_str().unwrap_or_default();
        assert!(message.contains(why) && message.contains("`settle`"), "{told}");
        assert_eq!(told["hint"], Value::Null, "{told}");
        let told = error(&named.replace("$settle", "0").replace("(func 0 ", "(func ").replace("$main ", ""))?;
        let message = told["message"].as_str().unwrap_or_default();
        assert!(message.contains(why) && !message.contains("settle"), "{told}");
        assert!(told["hint"].as_str().is_some_and(|hint| hint.contains("--keep-names")), "{told}");
    }
    lab.wait_idle()?;
    guard.check()
}
