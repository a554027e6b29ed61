//! Parameters by the schema of a task: what is wrong is said before anything is dialled, and what is sensitive is shown
//! nowhere.

use crate::LIMIT;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::waft::{Output, Waft};

/// Writes its parameters to stdout, and once more to stderr.
const ECHO: &str = r#"
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $more
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (i32.store (i32.const 4) (i32.load (i32.const 8)))
      (if (i32.load (i32.const 8)) (then
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 12)))
        (br $more)))))"#;

const MANIFEST: &str = "name = 'deploy'
[params.path]
type = 'string'
required = true
aliases = ['dest']
[params.state]
enum = ['present', 'absent']
default = 'present'
[params.port]
type = 'integer'
minimum = 1
[params.src]
type = 'file'
[params.password]
type = 'string'
sensitive = true
[params.pin]
type = 'integer'
sensitive = true
[params.big]
type = 'array'
";

struct Task {
    dir: TempDir,
    file: PathBuf,
}

impl Task {
    fn new(manifest: Option<&str>) -> Task {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("deploy.wasm");
        let section = manifest.map(|text| format!("(@custom \"waft.task\" {text:?})")).unwrap_or_default();
        let module = wat::parse_str(format!("(module {section} {ECHO})")).expect("a module");
        fs::write(&file, module).expect("written");
        Task { dir, file }
    }

    fn waft(&self, words: &[&str]) -> Result<Waft> {
        Ok(Waft::new("run")?.arg(&self.file).args(words).limit(LIMIT))
    }

    /// On this machine.
    fn local(&self, words: &[&str], params: Option<&str>) -> Result<Output> {
        let waft = self.waft(words)?.args(["-t", "local", "--format", "jsonl"]);
        match params {
            Some(text) => waft.args(["--params", "-"]).stdin(text).run(),
            None => waft.run(),
        }
    }

    fn written(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.display().to_string()
    }
}

fn got(output: &Output) -> Result<Value> {
    Ok(output.result_of("local")?["result"].clone())
}

#[test]
fn all_that_is_wrong_is_told_and_nothing_is_dialled() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("deploy@{}", listener.local_addr().expect("an address"));
    let task = Task::new(Some(MANIFEST));
    let config = task.written("ssh_config", b"");
    let words =
        ["-t", &target, "--ssh-config", &config, "-p", "stat=absent", "-p", "port=0", "-p", "pin=x y"];
    let output = task.waft(&words)?.run()?.expect_code(2)?;
    assert_eq!(output.stdout(), "");
    let said = output.stderr();
    for words in [
        "the parameter `path` of deploy is missing",
        "deploy has no parameter `stat`",
        "did you mean `state`?",
        "the parameter `port` of deploy is 0, expected at least 1",
        "the parameter `pin` of deploy is (sensitive), expected a whole number",
    ] {
        assert!(said.contains(words), "{words} in {output}");
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("error")).count(), 4, "{output}");
    // `waft explain` says the same, but for what may come later.
    let waft = Waft::new("explain")?.arg(&task.file).args(["-p", "stat=absent"]).limit(LIMIT);
    let output = waft.run()?.expect_code(2)?;
    assert!(
        output.stderr().contains("no parameter `stat`") && !output.stderr().contains("missing"),
        "{output}"
    );
    listener.set_nonblocking(true).expect("a listener");
    let asked = listener.accept().map(|(_, from)| from);
    assert_eq!(asked.map_err(|why| why.kind()), Err(std::io::ErrorKind::WouldBlock));
    Ok(())
}

#[test]
fn a_task_gets_the_finished_object() -> Result<()> {
    let guard = LeakGuard::start();
    let task = Task::new(Some(MANIFEST));
    let output = task.local(&["-p", "dest=/srv", "-p", "port=22"], None)?.expect_code(0)?;
    assert_eq!(got(&output)?, json!({"path": "/srv", "port": 22, "state": "present"}));
    let file = task.written("app.conf", b"hello");
    let output = task.local(&["-p", "path=/srv", "-p", &format!("src={file}")], None)?.expect_code(0)?;
    let hash = blake3::hash(b"hello").to_hex().to_string();
    assert_eq!(got(&output)?["src"], json!({"hash": hash, "bytes": 5, "name": "app.conf"}));
    // Without a schema everything is as it was given.
    let plain = Task::new(None);
    let output = plain.local(&["-p", "port=22"], Some(r#"{"x": null}"#))?.expect_code(0)?;
    assert_eq!(got(&output)?, json!({"port": "22", "x": null}));
    guard.check()
}

#[test]
fn large_deep_and_broken_json_is_taken_or_told() -> Result<()> {
    let task = Task::new(Some(MANIFEST));
    // 10 MB go through; what comes back is too long for a result, and is counted.
    let long = json!({"path": "/srv", "big": ["x".repeat(10_000_000)]}).to_string();
    let lab = Lab::of(1)?;
    let waft =
        task.waft(&["-t", "h1", "--format", "jsonl", "--allow", "out:64M", "--params", "-"])?.lab(&lab);
    let output = waft.stdin(long).run()?.expect_code(0)?;
    let result = output.result_of("h1")?;
    assert_eq!((&result["status"], &result["stdout_truncated"]), (&json!("ok"), &json!(true)));
    let text = |event: &Value| event["text"].as_str().map_or(0, str::len);
    let events = output.events_of("output")?;
    let back: usize = events.iter().filter(|event| event["stream"] == "stdout").map(text).sum();
    assert_eq!(
        back,
        json!({"big": ["x".repeat(10_000_000)], "path": "/srv", "state": "present"}).to_string().len()
    );
    let wrong = |params: &str, words: &str| -> Result<()> {
        let output = task.local(&[], Some(params))?.expect_code(2)?;
        assert!(output.stderr().contains(words), "{words} in {}", output.stderr());
        assert_eq!(output.stdout(), "");
        Ok(())
    };
    wrong(&"x".repeat(17 << 20), "more than 16777216 bytes")?;
    wrong(
        &format!("{{\"big\": {}{}}}", "[".repeat(5000), "]".repeat(5000)),
        "more than 127 deep inside of each other",
    )?;
    wrong(r#"{"path": "/srv""#, "EOF while parsing")?;
    wrong(r#"{"path": "/srv"} {}"#, "trailing characters")?;
    wrong(r#"{"path": "/srv", "path": "/x"}"#, "is there twice")?;
    let output =
        task.waft(&["-t", "local", "--params", "-"])?.stdin(b"{\"path\": \"\xff\"}".to_vec()).run()?;
    let output = output.expect_code(2)?;
    assert!(output.stderr().contains("not UTF-8 text: byte 10"), "{output}");
    let file = task.written("p.json", b"\xff");
    let output = task.local(&["--params", &file], None)?.expect_code(2)?;
    assert!(output.stderr().contains(&file) && output.stderr().contains("not UTF-8"), "{output}");
    Ok(())
}

/// Every file of a directory whose bytes have this text.
fn with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let bytes = fs::read(&path).unwrap_or_default();
        if path.is_dir() {
            found.extend(with(&path, text));
        } else if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[test]
fn what_is_sensitive_is_shown_nowhere() -> Result<()> {
    let guard = LeakGuard::start();
    let task = Task::new(Some(MANIFEST));
    let words = ["-p", "path=/srv", "-p", "password=correct horse", "-p", "pin=87654321", "-t", "local"];
    for format in ["human", "jsonl", "json"] {
        let waft = task.waft(&words)?.args(["--format", format, "-vv"]);
        let output = waft.run()?.expect_code(0)?;
        for text in [output.stdout(), output.stderr()] {
            assert!(!text.contains("correct horse") && !text.contains("87654321"), "{text}");
        }
        assert!(output.stdout().contains("[secret param/password]"), "{output}");
        assert!(output.stdout().contains("[secret param/pin]"), "{output}");
        // The audit log has their hash with that of all others.
        assert!(with(waft.home(), "correct horse").is_empty(), "{format}");
        assert!(!with(waft.home(), "deploy").is_empty(), "the audit log is written");
    }
    // One that is too short to be told from other text is not taken out, and that is said.
    let output = task.local(&["-p", "path=/srv", "-p", "password=abc"], None)?.expect_code(0)?;
    assert!(
        output.stderr().contains("the sensitive parameter password is not taken out of output"),
        "{output}"
    );
    let output = task.local(&["-p", "password=a secret", "-p", "password:=7"], None)?.expect_code(2)?;
    assert!(!output.stderr().contains("a secret"), "{output}");
    guard.check()
}
