//! The tasks `python`, `javascript` and `lua`: scripts in the sandbox of a target that has none of these interpreters.

mod desk;
mod javascript;
mod lua;
mod python;

use desk::{Desk, Script};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use waft_tests::Result;

fn problem(result: &Value) -> (&str, &str) {
    let of = |field: &str| result["error"][field].as_str().unwrap_or_default();
    (of("code"), of("message"))
}

fn text<'a>(result: &'a Value, field: &str) -> &'a str {
    result[field].as_str().unwrap_or_default()
}

/// On a target without any: neither a shell nor `env` would find one.
fn has_no_interpreter(desk: &Desk) -> Result<()> {
    for name in ["python3", "node", "lua"] {
        let missing = desk.exec(&[name, "--version"])?;
        assert_ne!(missing.code(), Some(0), "{missing}");
        assert!(missing.stdout().contains("exec.not_found"), "{missing}");
    }
    Ok(())
}

/// To the account that runs the tasks.
fn given_to_account(desk: &Desk, path: &str) {
    let owner = fs::metadata(desk.machine.path("/home/ops")).expect("a home");
    chown(desk.machine.path(path), Some(owner.uid()), Some(owner.gid())).expect("an owner");
}

/// What is the same for all; `script` by what it is to do.
fn works(desk: &Desk, script: impl Fn(&str, Value) -> Script) -> Result<()> {
    has_no_interpreter(desk)?;
    let dir = "/home/ops/data";
    fs::create_dir(desk.machine.path(dir)).expect("a directory");
    given_to_account(desk, dir);
    let rw = format!("fs:{dir}:rw");

    // Parameters, a file in a granted directory, what the host says of both.
    let write = script("write", json!({ "path": format!("{dir}/made"), "text": "h\u{e9}llo" }));
    let dry = desk.script(&write, &[&rw], &["--check", "--diff"])?.expect_code(0)?;
    assert!(!desk.machine.path(&format!("{dir}/made")).exists(), "{dry}");
    let result = dry.result_of(desk::TARGET)?;
    assert_eq!(
        (&result["status"], &result["result"]["check"]),
        (&"changed".into(), &true.into()),
        "{result}"
    );
    let changes = result["changes"].to_string();
    assert!(changes.contains("made") && changes.contains("+h\u{e9}llo"), "{result}");
    let result = desk.result(&write, &[&rw], &[], 0)?;
    assert_eq!(result["status"], "changed", "{result}");
    assert_eq!(
        result["result"],
        json!({ "changed": true, "msg": "written", "check": false, "read": "h\u{e9}llo", "args": ["one", "two"] })
    );
    let made = fs::read_to_string(desk.machine.path(&format!("{dir}/made")));
    assert_eq!(made.expect("the file"), "h\u{e9}llo");
    // No directory is granted: none is there.
    let outside = desk.result(&write, &[], &[], 3)?;
    assert_eq!(outside["status"], "failed", "{outside}");

    // A program that is granted, and one that is not.
    let run = script("run", json!({ "argv": ["/bin/echo", "from", "a", "program"] }));
    let result = desk.result(&run, &["exec:/bin/echo **"], &[], 0)?;
    assert_eq!(result["result"]["stdout"], "from a program\n", "{result}");
    let refused = desk.result(&run, &[], &[], 5)?;
    assert_eq!((&refused["status"], problem(&refused).0), (&"refused".into(), "grant.missing"), "{refused}");
    assert!(refused["error"]["hint"].to_string().contains("exec:"), "{refused}");

    // It ends when its time is over, wherever it is.
    let result = desk.result(&script("loop", json!({})), &[], &["--timeout", "2s"], 3)?;
    assert_eq!(problem(&result).0, "task.timeout", "{result}");
    // Its own exit code; what it printed before is there.
    let result = desk.result(&script("exit", json!({ "code": 7 })), &[], &[], 3)?;
    assert_eq!((&result["exit_code"], text(&result, "stdout")), (&7.into(), "before\n"), "{result}");
    Ok(())
}
