use crate::interpreted::{calls_everything, draws_other_numbers_each_time, put, tests_pass};
use crate::page;
use crate::project::Project;
use std::fs;
use waft_tests::Result;

/// Of a component as the template makes it, bytes.
const COMPONENT_BYTES_MAX: u64 = 1_500_000;

#[test]
fn what_is_new_builds_tests_and_runs() -> Result<()> {
    let (project, said) = page::followed("javascript", "greets-javascript")?;
    let bytes = fs::metadata(project.wasm()).expect("a component").len();
    assert!(bytes <= COMPONENT_BYTES_MAX, "{bytes}");
    assert!(said.contains("it greets") && said.contains("pass 2"), "{said}");
    project.greets()?;
    project.installs_again("componentize-qjs")
}

#[test]
fn every_import_can_be_called_by_the_module() -> Result<()> {
    let project = Project::new("javascript", "calls-javascript")?;
    put(&project, "javascript/calls.js", "task.js");
    tests_pass(&project, "javascript", "node", &["--test", "binding.test.js"])?;
    project.make(None)?;
    calls_everything(&project)?;
    draws_other_numbers_each_time(&project)
}
