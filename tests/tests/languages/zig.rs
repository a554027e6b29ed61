use crate::greeting::Kept;
use crate::project::Project;
use crate::{calls, contract, greeting, page};
use std::fs;
use waft_tests::Result;

/// Of a module as the template makes it, bytes.
const MODULE_BYTES_MAX: u64 = 200 * 1000;

#[test]
fn what_is_new_builds_tests_and_runs() -> Result<()> {
    let kept = Kept::new("zig");
    let (project, said) = page::followed("zig", kept.name())?;
    let bytes = fs::metadata(project.wasm()).expect("a module").len();
    assert!(bytes <= MODULE_BYTES_MAX, "{bytes}");
    assert!(said.contains("All 2 tests passed"), "{said}");
    let built =
        project.program("zig", &["build-exe", "--name", "native", &format!("{}.zig", kept.name())])?;
    assert!(built.status.success(), "{}", built.stderr_text());
    contract::holds(&project, "./native")?;
    greeting::keeps(&project, &kept)
}

#[test]
fn every_import_can_be_called_by_the_binding() -> Result<()> {
    let project = Project::new("zig", "calls")?;
    // Beside the binding: Zig imports nothing from outside of a file's directory.
    for file in ["calls.zig", "binding_test.zig"] {
        fs::copy(calls::source("zig", file), project.path(file)).expect("a copy");
    }
    let formatted = project.program("zig", &["fmt", "--check", "."])?;
    assert!(formatted.status.success(), "{}{}", formatted.stdout_text(), formatted.stderr_text());
    let tested = project.program("zig", &["test", "binding_test.zig"])?;
    assert!(tested.status.success(), "{}{}", tested.stdout_text(), tested.stderr_text());
    let words =
        ["build-exe", "-target", "wasm32-wasi", "-OReleaseSmall", "-fstrip", "--name", "all", "calls.zig"];
    let built = project.program("zig", &words)?;
    assert!(built.status.success(), "{}", built.stderr_text());
    calls::all(&project, &project.path("all.wasm"))
}
