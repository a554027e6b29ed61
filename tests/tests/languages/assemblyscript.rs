use crate::interpreted::{calls_everything, put};
use crate::page;
use crate::project::Project;
use std::fs;
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
