use crate::greeting::Kept;
use crate::project::Project;
use crate::{calls, contract, greeting, page};
use std::fs;
use waft_tests::Result;

/// Of a module as the template makes it, bytes: Go's runtime and encoding/json.
const MODULE_BYTES_MAX: u64 = 6 << 20;

#[test]
fn what_is_new_builds_tests_and_runs() -> Result<()> {
    let kept = Kept::new("go");
    let (project, said) = page::followed("go", kept.name())?;
    let bytes = fs::metadata(project.wasm()).expect("a module").len();
    assert!(bytes <= MODULE_BYTES_MAX, "{bytes}");
    assert!(said.contains("--- PASS: TestKeepsTheGreeting"), "{said}");
    let built = project.program("go", &["build", "-o", "native", "."])?;
    assert!(built.status.success(), "{}", built.stderr_text());
    contract::holds(&project, "./native")?;
    greeting::keeps(&project, &kept)
}

#[test]
fn every_import_can_be_called_by_the_binding() -> Result<()> {
    let project = Project::new("go", "calls")?;
    // In place of the template's own; without a manifest it asks for what it is given.
    for file in ["main.go", "main_test.go", "calls.toml"] {
        fs::remove_file(project.path(file)).expect("the template's file");
    }
    for file in ["calls.go", "binding_test.go"] {
        fs::copy(calls::source("go", file), project.path(file)).expect("a copy");
    }
    let unformatted = project.program("gofmt", &["-l", "."])?;
    assert_eq!((unformatted.stdout_text().trim(), unformatted.status.success()), ("", true));
    project.make(Some("test"))?;
    project.make(None)?;
    calls::all(&project, &project.wasm())
}
