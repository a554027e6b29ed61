//! Makes one `cargo build` carry everything: builds the stubs and the tasks and writes `OUT_DIR/embedded.rs`, which
//! `host/src/stubs.rs` includes, and what `waft new` writes to `OUT_DIR/templates.rs`. Why it is done this way: docs/decisions/0006-stubs-and-tasks-are-built-in.md.
//!
//! | variable | meaning |
//! |---|---|
//! | `WAFT_STUB_DIR` | take the stubs from this folder (`leaf-x86_64`, `hop-x86_64`, ..) and build none |
//! | `WAFT_STUB_PROFILE` | cargo profile of the stubs, `stub` when not set; `dev` builds in a fraction of the time |
//! | `WAFT_RUST_DIR` | see scripts/wasm-toolchain.sh |

#[path = "build/embed.rs"]
mod embed;
#[path = "build/interpreters.rs"]
mod interpreters;
#[path = "build/stubs.rs"]
mod stubs;
#[path = "build/tasks.rs"]
mod tasks;
#[path = "build/templates.rs"]
mod templates;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Why the build stops: one sentence for whoever typed `cargo build`.
type Failure = String;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("cargo::error={}", failure.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let root = repository()?;
    let out = PathBuf::from(variable("OUT_DIR")?);
    for watched in ["host/build.rs", "host/build", "Cargo.toml", "Cargo.lock"] {
        watch(&root.join(watched));
    }
    templates::write(&root, &out)?;
    // The tasks first: a missing target is better reported now than after the minutes that the stubs take.
    let tasks = tasks::gather(&root, &out)?;
    let stubs = stubs::gather(&root)?;
    let interpreters = interpreters::gather(&root)?;
    embed::write(&out, &stubs, &tasks, &interpreters)
}

fn repository() -> Result<PathBuf, Failure> {
    let host = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = host.parent().ok_or("the package `waft` lies in no repository")?;
    Ok(root.to_owned())
}

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| format!("{name} is not set: this is a build script, started by cargo"))
}

/// Runs this script again when the file, or any file of the folder, is newer than its last run.
fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    format!("could not {what} {}: {error}", path.display())
}
