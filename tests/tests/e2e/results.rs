//! What becomes of what a task prints and of how it ends, on a real target.

use crate::LIMIT;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::waft::{Output, Waft};

const TARGET: &str = "h1";

struct Site {
    dir: TempDir,
    lab: Lab,
}

impl Site {
    fn new() -> Result<Site> {
        Ok(Site { dir: tempfile::tempdir().expect("a directory"), lab: Lab::of(1)? })
    }

    /// A task that writes these bytes to stdout so often, and ends with this code.
    fn task(&self, text: impl AsRef<[u8]>, times: u32, code: i32) -> PathBuf {
        let text = text.as_ref();
        let data: String = text.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let module = format!(
            r#"(module
              (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") {pages})
              (data (i32.const 1024) "{data}")
              (func (export "_start") (local $left i32)
                (local.set $left (i32.const {times}))
                (i32.store (i32.const 0) (i32.const 1024))
                (i32.store (i32.const 4) (i32.const {length}))
                (loop $more
                  (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                  (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                (call $exit (i32.const {code}))))"#,
            length = text.len(),
            pages = 2 + text.len() / 65_536
        );
        let path = self.dir.path().join("prints.wasm");
        fs::write(&path, wat::parse_str(module).expect("good text")).expect("written");
        path
    }

    fn run(&self, task: &PathBuf, words: &[&str], code: i32) -> Result<Output> {
        let waft = Waft::new("run")?.lab(&self.lab);
        waft.arg(task).args(["-t", TARGET]).args(words).limit(LIMIT).run()?.expect_code(code)
    }

    fn result(&self, text: impl AsRef<[u8]>, code: i32, waft: i32) -> Result<Value> {
        self.run(&self.task(text, 1, code), &["--format", "jsonl"], waft)?.result_of(TARGET)
    }
}

#[test]
fn only_exactly_one_object_is_a_result_and_the_rest_is_output() -> Result<()> {
    let site = Site::new()?;
    let guard = LeakGuard::start();
    let whole = site.result("\n {\"changed\": true, \"a\": 1}\n", 0, 0)?;
    assert_eq!((&whole["status"], &whole["result"]), (&json!("changed"), &json!({"changed": true, "a": 1})));
    for text in [
        "{\"changed\": true, \"a\":",
        "{\"changed\": true}\n{\"changed\": true}\n",
        "{\"changed\": true} done",
        "[{\"changed\": true}]",
        "{\"changed\": true, \"deep\": ",
        "true",
        "",
    ] {
        let text = if text.contains("deep") {
            format!("{text}{}1{}}}", "[".repeat(500), "]".repeat(500))
        } else {
            text.to_owned()
        };
        let result = site.result(&text, 0, 0)?;
        assert_eq!(
            (&result["status"], &result["result"], &result["error"]),
            (&json!("ok"), &Value::Null, &Value::Null),
            "{text}"
        );
        assert_eq!(result["stdout"], text);
    }
    // What is no text is no JSON either, and every byte of it comes.
    let result = site.result(b"{\"changed\": true, \"a\": \"\xff\"}", 0, 0)?;
    assert_eq!((&result["status"], &result["result"]), (&json!("ok"), &Value::Null), "{result}");
    assert_eq!(result["stdout_base64"], "eyJjaGFuZ2VkIjogdHJ1ZSwgImEiOiAi/yJ9", "{result}");
    // An object of 10 MB: all of it is shown, and it is no result.
    let text = format!("{{\"a\": \"{}\"}}", "x".repeat(10 << 20));
    let words = ["--format", "jsonl", "--allow", "out:64M"];
    let output = site.run(&site.task(&text, 1, 0), &words, 0)?;
    let events = output.events_of("output")?;
    let shown: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert!(shown == text, "{} bytes came", shown.len());
    let result = output.result_of(TARGET)?;
    assert_eq!((&result["status"], &result["result"]), (&json!("ok"), &Value::Null));
    assert_eq!(result["stdout_truncated"], true);
    drop(output);
    site.lab.wait_idle()?;
    guard.check()
}

#[test]
fn a_hundred_megabytes_are_cut_and_a_failure_keeps_its_words() -> Result<()> {
    let site = Site::new()?;
    let guard = LeakGuard::start();
    // 100 writes of 1 MiB.
    let task = site.task("x".repeat(1 << 20), 100, 0);
    let output = site.run(&task, &["--format", "jsonl", "--allow", "out:2M"], 0)?;
    let result = output.result_of(TARGET)?;
    assert_eq!(
        (&result["status"], &result["stdout_truncated"], &result["result"]),
        (&json!("ok"), &json!(true), &Value::Null)
    );
    assert!(result["stdout"].as_str().is_some_and(|text| text.len() <= 1 << 20));
    assert!(output.finished.stdout.len() < 8 << 20, "{} bytes came", output.finished.stdout.len());
    let human = site.run(&task, &["--allow", "out:2M"], 0)?;
    assert!(human.stderr().contains("stdout was cut at the limit of this run"), "{}", human.stderr());
    // A failure keeps its result, and the terminal has message and hint.
    let said = r#"{"changed":false,"msg":"no such user","error":{"code":"user.none","message":"no such user","hint":"make it first"}}"#;
    let result = site.result(said, 1, 3)?;
    // For programs it is the error of the target, whole.
    assert_eq!(
        result["error"],
        json!({"code": "user.none", "message": "no such user", "hint": "make it first"})
    );
    assert_eq!(result["error"], result["result"]["error"]);
    let human = site.run(&site.task(said, 1, 1), &[], 3)?;
    assert!(
        human.stderr().contains("h1: failed: no such user (exit code 1)\n  hint: make it first\n"),
        "{human}"
    );
    site.lab.wait_idle()?;
    guard.check()
}

#[test]
fn how_a_task_ends_is_its_number() -> Result<()> {
    let site = Site::new()?;
    let guard = LeakGuard::start();
    for (code, is_its_own) in [(1, true), (3, true), (125, true), (126, false), (255, false)] {
        let result = site.result("", code, 3)?;
        assert_eq!((&result["status"], &result["exit_code"]), (&json!("failed"), &json!(code)), "{result}");
        match is_its_own {
            true => assert_eq!(result["error"], Value::Null),
            false => {
                assert_eq!(result["error"]["code"], "task.exit_code");
                let message = result["error"]["message"].as_str().unwrap_or_default();
                assert!(
                    message.contains(&format!("exit code {code}")) && message.contains("0 to 125"),
                    "{message}"
                );
            }
        }
    }
    site.lab.wait_idle()?;
    guard.check()
}
