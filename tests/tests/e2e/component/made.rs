//! The component of tests/guests, as toolchains make them: a module of WASI 0.1, the adapter of wasmtime, and the WIT that it
//! imports.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use waft_tests::process::run;
use waft_tests::{Context, Result};

/// The first build of the guests, on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(400);

fn built() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = root.join("target/guests/out");
    let mut build = Command::new(root.join("scripts/build-guests.sh"));
    build.arg(&out);
    let built = run(build, b"", BUILD_LIMIT)?;
    assert!(built.status.success(), "scripts/build-guests.sh: {}", built.stderr_text());
    Ok(out)
}

pub(crate) fn guest() -> Result<Arc<[u8]>> {
    Ok(fs::read(built()?.join("component.wasm")).context(|| "cannot read the guest".to_owned())?.into())
}

/// What the world `task` of sdk/wit/waft.wit has, one a line.
pub(super) fn world() -> Result<String> {
    fs::read_to_string(built()?.join("world.txt")).context(|| "cannot read the world".to_owned())
}
