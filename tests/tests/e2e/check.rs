//! `waft run --check --diff`: what a real target would change, and that it does not. Each kind of write, each way in which
//! there is no overlay, and other users are tried by `stub/tests/runner/check.rs`.

use crate::LIMIT;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::snapshot::Snapshot;
use waft_tests::waft::{Output, Waft};

const OLD: &str = "one\ntwo\nthree\nfour\nfive\n";

/// A task that knows nothing of dry runs: it writes `text` to `app.conf`, makes `new`, deletes `gone`, and says that it has
/// changed nothing.
fn task(text: &str) -> Vec<u8> {
    let data = |text: &str| text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let wat = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "app.conf") (data (i32.const 110) "new") (data (i32.const 120) "gone")
  (data (i32.const 200) "{}")
  (data (i32.const 4000) "{{\"changed\":false}}")
  (func $try (param $error i32) (if (local.get $error) (then (call $exit (local.get $error)))))
  (func $put (param $fd i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
    (call $try (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $file (param $name i32) (param $length i32)
    (call $try (call $open (i32.const 3) (i32.const 1) (local.get $name) (local.get $length) (i32.const 9) (i64.const 64)
      (i64.const 0) (i32.const 0) (i32.const 16)))
    (call $put (i32.load (i32.const 16)) (i32.const 200) (i32.const {})))
  (func (export "_start")
    (call $file (i32.const 100) (i32.const 8))
    (call $file (i32.const 110) (i32.const 3))
    (call $try (call $unlink (i32.const 3) (i32.const 120) (i32.const 4)))
    (call $put (i32.const 1) (i32.const 4000) (i32.const 17))))"#,
        data(text),
        text.len()
    );
    wat::parse_str(wat).expect("a module")
}

struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new(text: &str) -> Desk {
        let desk = Desk { dir: tempfile::tempdir().expect("a directory") };
        fs::create_dir(desk.path("app")).expect("a directory");
        fs::write(desk.path("app/app.conf"), OLD).expect("a file");
        fs::write(desk.path("app/gone"), "gone\n").expect("a file");
        fs::write(desk.path("task.wasm"), task(text)).expect("a file");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the task on `h1`, after which the directory is what it was.
    fn check(&self, lab: &Lab, words: &[&str]) -> Result<Output> {
        let app = self.path("app");
        let before = Snapshot::take(&[&app], &[])?;
        let waft = Waft::new("run")?.lab(lab).arg(self.path("task.wasm")).args(["-t", "h1", "--check"]);
        let output =
            waft.arg("--allow").arg(format!("fs:{}:rw", app.display())).args(words).limit(LIMIT).run()?;
        let changes = before.diff(&Snapshot::take(&[&app], &[])?);
        assert!(changes.is_empty(), "a dry run changed:\n{changes}");
        Ok(output)
    }
}

#[test]
fn a_dry_run_tells_what_would_change_whatever_the_task_says_and_changes_nothing() -> Result<()> {
    let desk = Desk::new("one\n2\nthree\nfour\nfive\n");
    let lab = Lab::of(1)?;
    let guard = LeakGuard::start();
    let output = desk.check(&lab, &["--diff", "--format", "jsonl"])?.expect_code(0)?;
    let result = output.result_of("h1")?;
    assert_eq!(
        (&result["status"], &result["result"]["changed"]),
        (&json!("changed"), &json!(false)),
        "{result}"
    );
    let events: Vec<Value> = output.events_of("change")?;
    let app = desk.path("app").display().to_string();
    let told: Vec<_> = events.iter().map(|event| (event["path"].clone(), event["change"].clone())).collect();
    let expected = [("app.conf", "modified"), ("gone", "deleted"), ("new", "created")]
        .map(|(name, change)| (json!(format!("{app}/{name}")), json!(change)));
    assert_eq!(told, expected);
    assert_eq!(
        events[0]["diff"],
        format!(
            "--- a{app}/app.conf\n+++ b{app}/app.conf\n@@ -1,5 +1,5 @@\n one\n-two\n+2\n three\n four\n five\n"
        )
    );
    let list = result["changes"].as_array().expect("changes");
    assert_eq!(list.len(), 3);
    assert_eq!((&list[1]["path"], &result["changes_truncated"]), (&events[1]["path"], &json!(false)));
    // What is really done is what was told.
    let app_dir = desk.path("app");
    let patch = desk.path("patch");
    fs::write(&patch, events[0]["diff"].as_str().expect("a diff")).expect("a file");
    let mut tool = std::process::Command::new("patch");
    tool.args(["-s", "-o", "-"]).arg(app_dir.join("app.conf")).arg(&patch);
    let patched = tool.output().expect("patch is installed").stdout;
    let real = Waft::new("run")?.lab(&lab).arg(desk.path("task.wasm")).args(["-t", "h1"]);
    let real = real.arg("--allow").arg(format!("fs:{app}:rw")).limit(LIMIT).run()?.expect_code(0)?;
    assert_eq!(fs::read(app_dir.join("app.conf")).expect("a file"), patched);
    assert!(app_dir.join("new").exists() && !app_dir.join("gone").exists());
    drop((output, real));
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn people_read_the_changes_and_nothing_in_them_moves_the_cursor() -> Result<()> {
    let desk = Desk::new("one\ntwo\n\u{1b}[2Jthree\u{202e}\nfour\nfive\n");
    let lab = Lab::of(1)?;
    let output = desk.check(&lab, &["--diff"])?.expect_code(0)?;
    let (out, err) = (output.stdout(), output.stderr());
    let app = desk.path("app").display().to_string();
    for line in [
        format!("~ {app}/app.conf (file modified, 24 B -> 31 B)"),
        "-three".to_owned(),
        "+\\x1b[2Jthree\\u{202e}".to_owned(),
        format!("- {app}/gone (file deleted, 5 B)"),
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line}\nis not in\n{out}");
    }
    assert!(out.lines().any(|line| line.starts_with(&format!("+ {app}/new (file created"))), "{out}");
    assert!(!out.contains('\u{1b}') && !out.contains('\u{202e}'));
    assert!(err.contains("h1: 3 changes would be made"), "{err}");
    // Without --diff nobody sees the lines.
    let output = desk.check(&lab, &[])?.expect_code(0)?;
    assert!(!output.stdout().contains("@@") && output.stdout().contains("app.conf"), "{output}");
    Ok(())
}

#[test]
fn a_diff_without_a_dry_run_is_refused_before_anything_is_dialled() -> Result<()> {
    let desk = Desk::new("x");
    let output =
        Waft::new("run")?.arg(desk.path("task.wasm")).args(["-t", "nowhere.invalid", "--diff"]).run()?;
    let output = output.expect_code(2)?;
    assert!(output.stderr().contains("--diff") && output.stderr().contains("add --check"), "{output}");
    let output = Waft::new("exec")?.args(["-t", "nowhere.invalid", "--diff", "--", "/bin/true"]).run()?;
    assert!(output.expect_code(2)?.stderr().contains("add --check"));
    Ok(())
}

#[test]
fn a_program_is_started_in_a_dry_run_only_as_a_probe_and_then_named() -> Result<()> {
    let lab = Lab::of(1)?;
    let exec = |allow: &[&str]| -> Result<Output> {
        let waft =
            Waft::new("exec")?.lab(&lab).args(["-t", "h1", "--check", "--format", "jsonl"]).args(allow);
        waft.args(["--", "/bin/echo", "it's", "a  b"]).limit(LIMIT).run()
    };
    let refused = exec(&[])?.expect_code(5)?.result_of("h1")?;
    assert_eq!(
        (&refused["status"], &refused["error"]["code"]),
        (&json!("refused"), &json!("grant.check")),
        "{refused}"
    );
    // The line to paste, as a shell reads it.
    let hint = refused["error"]["hint"].as_str().unwrap_or_default();
    let line = hint.strip_prefix("the operator did not give it: ").unwrap_or_else(|| panic!("{refused}"));
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &format!("printf '%s\\n' {line}")]);
    let words = waft_tests::process::run_tool(shell, b"")?;
    let words: Vec<&str> = words.lines().collect();
    assert_eq!(words, ["--allow", r#"exec:/bin/echo it's "a  b":probe"#], "{line}");
    let asked = exec(&words)?.expect_code(0)?.result_of("h1")?;
    let probes = &asked["probes"];
    assert_eq!(
        (&asked["stdout"], probes),
        (&json!("it's a  b\n"), &json!(["/bin/echo it's a  b"])),
        "{asked}"
    );
    let people =
        Waft::new("exec")?.lab(&lab).args(["-t", "h1", "--check", "--", "/bin/true"]).limit(LIMIT).run()?;
    let shown = people.expect_code(5)?;
    let (out, err) = (shown.stdout(), shown.stderr());
    assert!((out + &err).contains("--allow exec:/bin/true:probe"), "{shown}");
    Ok(())
}
