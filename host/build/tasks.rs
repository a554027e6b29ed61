//! The tasks that are built in: all of tasks/, by the script that builds them by hand, too.

use crate::stubs::forget_outer_cargo;
use crate::{Failure, failed, watch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

pub(crate) fn gather(root: &Path, out: &Path) -> Result<Vec<Task>, Failure> {
    println!("cargo::rerun-if-env-changed=WAFT_RUST_DIR");
    let sources = [
        "sdk/Cargo.toml",
        "sdk/src",
        "tasks/Cargo.toml",
        "tasks/Cargo.lock",
        "scripts/build-tasks.sh",
        "scripts/wasm-toolchain.sh",
    ];
    for source in sources {
        watch(&root.join(source));
    }
    for folder in folders(&root.join("tasks"), "Cargo.toml")? {
        watch(&root.join("tasks").join(folder));
    }
    // What tasks share is a package without a program.
    let names = folders(&root.join("tasks"), "src/main.rs")?;

    require_wasm(root)?;
    let built = out.join("tasks");
    let mut command = Command::new(root.join("scripts/build-tasks.sh"));
    forget_outer_cargo(&mut command);
    let status = command.arg(&built).stdout(Stdio::null()).status();
    let status = status.map_err(|e| format!("could not start scripts/build-tasks.sh: {e}"))?;
    if !status.success() {
        return Err(format!("the tasks could not be built ({status}); the errors are above"));
    }
    Ok(names.into_iter().map(|name| Task { file: built.join(format!("{name}.wasm")), name }).collect())
}

/// The folders of tasks/ that have such a file, sorted so that the same tree gives the same program.
fn folders(dir: &Path, file: &str) -> Result<Vec<String>, Failure> {
    let entries = fs::read_dir(dir).map_err(|e| failed("read the folder", dir, &e))?;
    let packages = entries.flatten().filter(|entry| entry.path().join(file).is_file());
    let mut names: Vec<String> = packages.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn require_wasm(root: &Path) -> Result<(), Failure> {
    let mut command = Command::new(root.join("scripts/wasm-toolchain.sh"));
    forget_outer_cargo(&mut command);
    let found = command.arg("find").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("the tasks need the Rust target wasm32-wasip1, which is not installed: \
                      run `rustup target add wasm32-wasip1`, or `make setup`"
            .into()),
        Err(e) => Err(format!("could not start scripts/wasm-toolchain.sh: {e}")),
    }
}
