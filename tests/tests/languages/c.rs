use crate::greeting::Kept;
use crate::project::{Project, repository};
use crate::{calls, contract, greeting, page};
use std::fs;
use waft_tests::Result;

/// Of a module as the template makes it, bytes.
const MODULE_BYTES_MAX: u64 = 100 * 1000;
const WARN: [&str; 5] = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I."];

/// A failure in one file is seen in another.
const OTHER: &str =
    "#include \"waft.h\"\nbool other(void) { return waft_fail(\"other.code\", NULL, \"no\"); }\n";

#[test]
fn what_is_new_builds_tests_and_runs() -> Result<()> {
    let kept = Kept::new("c");
    let (project, said) = page::followed("c", kept.name())?;
    let bytes = fs::metadata(project.wasm()).expect("a module").len();
    assert!(bytes <= MODULE_BYTES_MAX, "{bytes}");
    assert!(said.contains("all good"), "{said}");
    greeting::keeps(&project, &kept)
}

#[test]
fn every_import_can_be_called_by_the_header() -> Result<()> {
    let project = Project::new("c", "calls")?;
    // In place of the template's own; without a manifest it asks for what it is given.
    fs::copy(calls::source("c", "calls.c"), project.path("calls.c")).expect("a copy");
    fs::remove_file(project.path("calls.toml")).expect("the template's manifest");
    let built = project.program("make", &[&format!("WARN={}", WARN.join(" "))])?;
    assert!(built.status.success(), "{}{}", built.stdout_text(), built.stderr_text());
    calls::all(&project, &project.wasm())
}

/// Under sanitizers, which find what is read or written beyond its end.
#[test]
fn the_header_reads_what_is_json_and_nothing_else() -> Result<()> {
    let project = Project::new("c", "header")?;
    let source = repository().join("tests/languages/c/header.c");
    let words = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", "header"];
    // Of several files each may include it.
    fs::write(project.path("other.c"), OTHER).expect("written");
    let words = [&WARN[..], &words, &[source.to_str().expect("UTF-8"), "other.c"]].concat();
    let built = project.program("cc", &words)?;
    assert!(built.status.success(), "{}", built.stderr_text());
    let ran = project.program("./header", &[])?;
    assert!(ran.status.success(), "{}{}", ran.stdout_text(), ran.stderr_text());
    assert!(ran.stdout_text().contains("header: all good"));
    contract::holds(&project, "./header task")?;
    // Who writes C++ can include it as well.
    let words = ["-fsyntax-only", "-Wall", "-Werror", "-x", "c++", "waft.h"];
    let read = project.program("cc", &words)?;
    assert!(read.status.success(), "{}", read.stderr_text());
    Ok(())
}
