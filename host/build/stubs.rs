//! The stubs: built by a cargo call of their own (scripts/build-stub.sh), or taken from a folder.
//!
//! Cargo unifies features over one invocation. Built along with the controller a stub would get the controller's
//! features of tokio, wasmtime and the rest, the compiler among them.

use crate::{Failure, failed, variable, watch};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// `worker` runs components for the other two.
const KINDS: [&str; 3] = ["leaf", "hop", "worker"];
const ARCHES: [&str; 2] = ["x86_64", "aarch64"];

/// What a stub is made of, as in scripts/build-stub.sh. Not whole folders: those of proto/fuzz fill up with what the
/// fuzzer finds.
const SOURCES: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "proto/Cargo.toml",
    "proto/src",
    "policy/Cargo.toml",
    "policy/src",
    "hop/Cargo.toml",
    "hop/src",
    "stub/Cargo.toml",
    "stub/src",
    "stub/engine/Cargo.toml",
    "stub/engine/src",
];

/// A stub as a file, not compressed.
pub(crate) struct Stub {
    pub(crate) kind: &'static str,
    pub(crate) arch: &'static str,
    pub(crate) file: PathBuf,
}

pub(crate) fn gather(root: &Path) -> Result<Vec<Stub>, Failure> {
    println!("cargo::rerun-if-env-changed=WAFT_STUB_DIR");
    println!("cargo::rerun-if-env-changed=WAFT_STUB_PROFILE");
    if let Some(dir) = std::env::var_os("WAFT_STUB_DIR").filter(|dir| !dir.is_empty()) {
        let dir = PathBuf::from(dir);
        watch(&dir);
        let stubs = in_dir(&dir);
        if stubs.is_empty() {
            let example = dir.join("leaf-x86_64");
            return Err(format!(
                "WAFT_STUB_DIR holds no stub: expected a file such as {}",
                example.display()
            ));
        }
        return Ok(stubs);
    }
    for source in SOURCES {
        watch(&root.join(source));
    }
    watch(&root.join("scripts/build-stub.sh"));
    build(root)
}

fn in_dir(dir: &Path) -> Vec<Stub> {
    let names = ARCHES.iter().flat_map(|arch| KINDS.map(|kind| (kind, *arch)));
    let stubs = names.map(|(kind, arch)| Stub { kind, arch, file: dir.join(format!("{kind}-{arch}")) });
    stubs.filter(|stub| stub.file.is_file()).collect()
}

/// Builds all kinds for the architecture the controller is built for. Those of another one, made by
/// scripts/aarch64.sh, are taken along when they are there.
fn build(root: &Path) -> Result<Vec<Stub>, Failure> {
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let known = ARCHES.contains(&arch.as_str()) && variable("CARGO_CFG_TARGET_OS")? == "linux";
    if !known {
        return Err("stubs run on Linux, x86_64 or aarch64, and are built there: \
                    set WAFT_STUB_DIR to a folder with stubs built on such a machine"
            .into());
    }
    let profile = std::env::var("WAFT_STUB_PROFILE").unwrap_or_else(|_| "stub".into());
    let build = root.join("target/stub");
    let mut shelf = root.join("target/stubs");
    if profile != "stub" {
        shelf.push(&profile);
    }
    for dir in [&build, &shelf] {
        fs::create_dir_all(dir).map_err(|e| failed("make the folder", dir, &e))?;
    }
    // A debug and a release build may run side by side.
    let lock = build.join("shelf.lock");
    let held = File::create(&lock).map_err(|e| failed("make", &lock, &e))?;
    held.lock().map_err(|e| failed("lock", &lock, &e))?;
    for kind in KINDS {
        let built = build.join(format!("{kind}-{arch}-{profile}"));
        run_script(root, kind, &arch, &profile, &built)?;
        copy_if_new(&built, &shelf.join(format!("{kind}-{arch}")))?;
    }
    let others = others(&shelf)?;
    drop(held);
    // Not the folder: what was copied into it just now would run this script a second time, for nothing.
    watch(&others);
    let (fresh, old): (Vec<_>, Vec<_>) =
        in_dir(&shelf).into_iter().partition(|stub| stub.arch == arch || is_new(root, stub));
    for stub in old {
        println!(
            "cargo::warning=the {} stub for {} is older than its source and is left out; build it again (scripts/aarch64.sh)",
            stub.kind, stub.arch
        );
    }
    Ok(fresh)
}

/// The file that scripts/aarch64.sh touches when it wrote a stub: files that are not there yet cannot be watched.
fn others(shelf: &Path) -> Result<PathBuf, Failure> {
    let file = shelf.join("others");
    if !file.exists() {
        let made = File::create(&file).and_then(|made| made.set_modified(SystemTime::UNIX_EPOCH));
        made.map_err(|e| failed("make", &file, &e))?;
    }
    Ok(file)
}

/// Whether a stub of another architecture was built after the last change of its sources.
fn is_new(root: &Path, stub: &Stub) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let newest = SOURCES.iter().filter_map(|source| newest(&root.join(source))).max();
    modified(&stub.file) >= newest
}

/// When the file, or any file of the folder, was changed last.
fn newest(path: &Path) -> Option<SystemTime> {
    let own = fs::metadata(path).and_then(|data| data.modified()).ok();
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    below.filter_map(|entry| newest(&entry.path())).chain(own).max()
}

/// One stub, by the script that builds it for everybody; it costs nothing when nothing changed.
fn run_script(root: &Path, kind: &str, arch: &str, profile: &str, out: &Path) -> Result<(), Failure> {
    let mut command = Command::new(root.join("scripts/build-stub.sh"));
    forget_outer_cargo(&mut command);
    command
        .args([kind, arch])
        .arg(out)
        .env("CARGO", variable("CARGO")?)
        .env("WAFT_STUB_PROFILE", profile)
        // What it prints on stdout would be read as instructions of this build script.
        .stdout(Stdio::null());
    let status = command.status().map_err(|e| format!("could not start scripts/build-stub.sh: {e}"))?;
    if !status.success() {
        return Err(format!("the {kind} stub could not be built ({status}); its own errors are above"));
    }
    Ok(())
}

/// Cargo tells a build script about the package it builds for, and clippy its wrapper. Left in place they would change
/// what the inner cargo builds, or make it build everything anew each time somebody goes from `build` to `clippy`.
pub(crate) fn forget_outer_cargo(command: &mut Command) {
    // What the user configured rather than what cargo told; the job server keeps both cargos within one -j.
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_TERM_",
    ];
    const OTHERS: [&str; 9] = [
        "DEBUG",
        "HOST",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "TARGET",
    ];
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let told = name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept));
        if told || OTHERS.contains(&name) {
            command.env_remove(name);
        }
    }
}

/// Leaves an unchanged file alone: its time decides whether this script, and so the controller's link, runs again.
fn copy_if_new(from: &Path, to: &Path) -> Result<(), Failure> {
    let new = fs::read(from).map_err(|e| failed("read", from, &e))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let partial = to.with_extension("partial");
    fs::copy(from, &partial).map_err(|e| failed("write", &partial, &e))?;
    fs::rename(&partial, to).map_err(|e| failed("write", to, &e))
}
