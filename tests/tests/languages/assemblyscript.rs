use crate::interpreted::{calls_everything, put, tests_pass};
use crate::page;
use crate::project::Project;
use serde_json::json;
use std::fs;
use std::path::Path;
use waft_tests::Result;

/// Of a module as the template makes it, bytes.
const MODULE_BYTES_MAX: u64 = 30 * 1000;

#[test]
fn what_is_new_builds_tests_and_runs() -> Result<()> {
    let (project, said) = page::followed("assemblyscript", "greets-as")?;
    let bytes = fs::metadata(project.wasm()).expect("a module").len();
    assert!(bytes <= MODULE_BYTES_MAX, "{bytes}");
    assert!(said.contains("it greets") && said.contains("pass 2"), "{said}");
    project.greets()?;
    project.installs_again("@assemblyscript/wasi-shim")
}

#[test]
fn every_import_can_be_called_by_the_module() -> Result<()> {
    let project = Project::new("assemblyscript", "calls-as")?;
    put(&project, "assemblyscript/calls.ts", "task.ts");
    project.make(None)?;
    calls_everything(&project)
}

#[test]
fn what_is_no_text_is_answered_and_what_cannot_be_read_is_said() -> Result<()> {
    let project = Project::new("assemblyscript", "binding")?;
    put(&project, "assemblyscript/binding.ts", "task.ts");
    project.make(None)?;
    let given = project.path("given");
    fs::create_dir(&given).expect("a directory");
    fs::write(given.join("file"), "12345").expect("written");
    let grant = format!("fs:{}", given.display());
    // Half of a surrogate pair.
    let said = |path: &Path, code| {
        let path = format!("path={}", path.display());
        project.result(None, &["-p", &path, "-p", "base64=7aC9", "--allow", &grant], code)
    };
    let result = said(&given.join("file"), 0)?;
    let expected = json!({ "changed": true, "msg": "\u{fffd}", "file": "12345", "\u{fffd}": "\u{fffd}" });
    assert_eq!((&result["status"], &result["result"]), (&"changed".into(), &expected), "{result}");
    // A directory opens as a file does.
    let result = said(&given, 3)?;
    assert_eq!(result["result"]["error"]["code"], "file.failed", "{result}");
    tests_pass(&project, "assemblyscript", "node", &["--test", "binding.test.js"])
}
