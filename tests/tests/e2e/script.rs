//! `waft script`: scripts by an interpreter of the target, from memory, and by a task.

use crate::LIMIT;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::machine::{self, Login, Machine};
use waft_tests::waft::{Output, Waft};

const SHELL: &str = "exec:/bin/sh /dev/fd/3 **";
/// How long the end of a session may take.
const SETTLED: Duration = Duration::from_secs(20);

/// Says what it was asked: a task that is no interpreter, in the place of one.
const ECHO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 65000))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 4) (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Scripts on the controller.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn script(lab: &Lab, words: &[&str]) -> Result<Waft> {
    Ok(Waft::new("script")?.lab(lab).args(["-t", "h1", "--format", "jsonl"]).args(words).limit(LIMIT))
}

fn ran(lab: &Lab, words: &[&str], code: i32) -> Result<(Output, Value)> {
    let output = script(lab, words)?.run()?.expect_code(code)?;
    let result = output.result_of("h1")?;
    Ok((output, result))
}

#[test]
fn a_native_script_runs_from_memory_and_leaves_nothing() -> Result<()> {
    if !machine::is_possible() {
        eprintln!("SKIPPED (needs root or user namespaces): a target with a file system of its own");
        return Ok(());
    }
    let (lab, desk) = (Lab::of(0)?, Desk::new());
    let machine = Machine::start(&lab, "h1", Login::Ordinary, None)?;
    // Only the script's own writing would be seen, and there is nowhere to write to.
    let observation = machine.observe()?;
    let text = "#!/bin/sh -e\nread -r params; echo \"$params $1 $# $0\"; echo err >&2; exit 7\n";
    let fix = desk.file("fix.sh", text);
    let grant = "exec:/bin/sh -e /dev/fd/3 **";
    let words = ["--native", &fix, "-p", "a:=1", "--allow", grant, "--", "one two", "-x"];
    let (output, result) = ran(&lab, &words, 3)?;
    assert_eq!((&result["status"], &result["exit_code"]), (&json!("failed"), &json!(7)), "{result}");
    assert_eq!(result["stdout"], "{\"a\":1} one two 2 /dev/fd/3\n", "{result}");
    assert_eq!(result["stderr"], "err\n");
    let streams: Vec<_> = output.events_of("output")?.iter().map(|event| event["stream"].clone()).collect();
    assert!(streams.contains(&json!("stdout")) && streams.contains(&json!("stderr")), "{streams:?}");
    assert_eq!(output.events_of("call")?.len(), 1, "{output}");

    // One JSON object is a result.
    let object = desk.file("object.sh", "echo '{\"changed\": true, \"n\": 3}'");
    let (_, result) = ran(&lab, &["--native", &object, "--allow", SHELL], 0)?;
    assert_eq!((&result["status"], &result["result"]["n"]), (&json!("changed"), &json!(3)), "{result}");

    // Another interpreter, on a script from standard input.
    let perl =
        ["--native", "-", "--interpreter", "perl -w", "--allow", "exec:perl -w /dev/fd/3 **", "--", "x"];
    let output = script(&lab, &perl)?.stdin("print \"perl $ARGV[0]\\n\";").run()?.expect_code(0)?;
    assert_eq!(output.result_of("h1")?["stdout"], "perl x\n");

    let changes = observation.finish(SETTLED)?;
    assert!(changes.is_empty(), "{changes}");
    Ok(())
}

#[test]
fn a_native_script_needs_the_grant_that_is_printed() -> Result<()> {
    let (lab, desk) = (Lab::of(1)?, Desk::new());
    let file = desk.file("x.sh", "echo started");
    let (output, result) = ran(&lab, &["--native", &file], 5)?;
    assert_eq!(result["error"]["code"], "grant.missing", "{result}");
    assert!(output.stderr().contains("--allow \"exec:/bin/sh /dev/fd/3 **\""), "{output}");
    let (_, result) = ran(&lab, &["--native", &file, "--allow", "asked"], 0)?;
    assert_eq!(result["stdout"], "started\n");

    // What it does nobody knows: a dry run only where the operator says that it is harmless.
    let (_, result) = ran(&lab, &["--native", &file, "--allow", SHELL, "--check"], 5)?;
    assert_eq!(result["error"]["code"], "grant.check", "{result}");
    let hint = result["error"]["hint"].as_str().expect("a hint");
    assert!(hint.ends_with("--allow \"exec:/bin/sh /dev/fd/3:probe\""), "{result}");
    let probe = format!("{SHELL}:probe");
    let (_, result) = ran(&lab, &["--native", &file, "--allow", &probe, "--check"], 0)?;
    assert_eq!(result["stdout"], "started\n", "{result}");
    Ok(())
}

#[test]
fn a_script_is_the_input_of_the_task_that_interprets_it() -> Result<()> {
    let (lab, desk) = (Lab::of(1)?, Desk::new());
    let module = wat::parse_str(ECHO).expect("good text");
    for name in ["lua.wasm", "mine.wasm"] {
        desk.file(name, &module);
    }
    let file = desk.file("do.lua", "print \"\u{e9}\"\n");
    let with =
        |words: &[&str]| Ok::<_, waft_tests::Error>(script(&lab, words)?.env("WAFT_PATH", desk.path()));
    let output = with(&[&file, "-p", "n=1", "-p", "list:=[2]", "--", "a b"])?.run()?.expect_code(0)?;
    let expected = json!({"script": "print \"\u{e9}\"\n", "name": "do.lua", "params": {"n": "1", "list": [2]},
        "args": ["a b"]});
    assert_eq!(output.result_of("h1")?["result"], expected);
    let output = with(&[&file, "--interpreter", "mine"])?.run()?.expect_code(0)?;
    assert_eq!(output.result_of("h1")?["result"]["params"], json!({}));
    // The one that every waft has.
    let file = desk
        .file("own.lua", "#!/usr/bin/env lua\nreturn { n = waft.params.n, args = waft.args, name = arg[0] }");
    let output = script(&lab, &[&file, "-p", "n:=1", "--", "a b"])?.run()?.expect_code(0)?;
    let expected = json!({"changed": false, "n": 1, "args": ["a b"], "name": "own.lua"});
    assert_eq!(output.result_of("h1")?["result"], expected);
    Ok(())
}

#[test]
fn what_cannot_be_run_is_said_before_anything_is_dialled() -> Result<()> {
    let (lab, desk) = (Lab::of(1)?, Desk::new());
    let (plain, lua) = (desk.file("plain", "x"), desk.file("x.lua", "x"));
    let (bytes, long) = (desk.file("x.py", [0xff]), desk.file("y.py", vec![b'#'; (512 << 10) + 1]));
    let odd = desk.file("odd", "#!bin/sh\n");
    let missing = desk.path().join("none.py").display().to_string();
    let cases: [(&[&str], &str); 8] = [
        (&[&plain], "--native"),
        (&[&lua, "--interpreter", "ruby"], "WAFT_PATH"),
        (&[&lua, "--interpreter", "nothing"], "`nothing`, which is not here"),
        (&[&bytes], "not UTF-8"),
        (&[&long], "more than 524288 bytes"),
        (&["--native", &odd], "absolute path"),
        (&[&missing], "cannot be read"),
        (&["-", "--params", "-"], "both to be read from standard input"),
    ];
    for (words, said) in cases {
        let output = script(&lab, words)?.run()?.expect_code(2)?;
        assert!(output.stderr().contains(said) && output.stdout().is_empty(), "{output}");
    }
    let file = script(&lab, &["--native", &plain, "-p", &format!("f@{plain}")])?.run()?.expect_code(2)?;
    assert!(file.stderr().contains("no parameters that are files"), "{file}");
    let help = Waft::new("script")?.args(["--help"]).run()?.expect_code(0)?.stdout();
    assert!(help.contains("--native") && help.contains("Examples:"), "{help}");
    Ok(())
}
