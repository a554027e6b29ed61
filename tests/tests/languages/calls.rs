//! A task that calls every function of `waft_v1` by its language's binding, on a real target: what came back has to be the
//! same in each language.

use crate::project::{Project, TARGET, repository};
use crate::scene::{BLOB_BYTES, Scene, kernel};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use waft_tests::Result;

/// Beyond what each needs.
const GRANTS: [&str; 3] = ["exec:/usr/bin/env", "exec:/bin/sleep 60", "env:GREETING"];

/// Where the tasks lie: tests/languages/LANG.
pub(crate) fn source(language: &str, file: &str) -> PathBuf {
    repository().join("tests/languages").join(language).join(file)
}

/// Runs `module`, which the project's tools have made.
pub(crate) fn all(project: &Project, module: &Path) -> Result<()> {
    let scene = Scene::new()?;
    let given = scene.given();
    symlink("file", given.join("old")).expect("a symlink");
    let output = scene.run(project, module, &GRANTS, "s\u{f6}cret\"word")?;
    let kernel = kernel();
    let expected = json!({
        "changed": true,
        "msg": "all calls made",
        "check": false,
        "facts": kernel,
        "exec": {"exit_code": 0, "bytes": [97, 255, 0, 98]},
        "env": true,
        "timed_out": true,
        "stat": {"kind": "file", "size": 5, "mode": "0644"},
        "missing": Value::Null,
        "chmod": [true, false],
        "symlink": [true, "file"],
        "rename": true,
        "xattr": [97, 255],
        "attributes": ["user.waft"],
        "removed": true,
        "link": true,
        "utime": [true, false, "1767225600.500000000"],
        "space": true,
        "addresses": ["127.0.0.1"],
        "net": "HELLO OVER THERE",
        "task": {"status": "ok", "kernel": kernel},
        "blob": {"bytes": BLOB_BYTES, "sum": scene.sum, "tail": 5},
        // The word itself is taken out of what a task prints.
        "secret": "drow\"terc\u{f6}s",
        "refused": {"code": "grant.missing", "hint": true},
        "wrong": "blob.handle",
    });
    assert_eq!(output.result_of(TARGET)?["result"], expected, "{output}");
    let mode = fs::metadata(given.join("file")).expect("a file").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    assert_eq!(fs::read_link(given.join("new")).expect("a symlink"), Path::new("file"));
    let (heard, last) = scene.end(&output)?;
    assert_eq!(heard, "hello over there");
    assert_eq!((&last["done"], &last["total"]), (&2.into(), &2.into()), "{output}");
    Ok(())
}

/// The header's are compared with the host's by a test of waft-engine.
#[test]
fn every_binding_declares_the_same_functions() {
    let declared = |file: &str, before: &str, after: char| {
        let text = fs::read_to_string(repository().join(file)).expect("a binding");
        let names =
            text.lines().filter_map(|line| line.trim_start().strip_prefix(before)?.split(after).next());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    let header = declared("sdk/include/waft.h", "WAFT_IMPORT(\"", '"');
    assert_eq!(header.len(), 11, "{header:?}");
    assert_eq!(declared("sdk/zig/waft.zig", "pub extern \"waft_v1\" fn ", '('), header);
    assert_eq!(declared("sdk/go/imports.go", "//go:wasmimport waft_v1 ", '\n'), header);
}
