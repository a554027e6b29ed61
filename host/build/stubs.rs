//! The stubs: built by a cargo call of their own, or taken from a folder.
//!
//! Cargo unifies features over one invocation. Built along with the controller a stub would get the controller's
//! features of tokio, wasmtime and the rest, the compiler among them.

use crate::{Failure, failed, variable, watch};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const KINDS: [&str; 2] = ["leaf", "hop"];
const ARCHES: [&str; 2] = ["x86_64", "aarch64"];

/// What a stub is made of. Not whole folders: those of proto/fuzz fill up with what the fuzzer finds.
const SOURCES: [&str; 8] = [
    "proto/Cargo.toml",
    "proto/src",
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
    build(root)
}

fn in_dir(dir: &Path) -> Vec<Stub> {
    let names = ARCHES.iter().flat_map(|arch| KINDS.map(|kind| (kind, *arch)));
    let stubs = names.map(|(kind, arch)| Stub { kind, arch, file: dir.join(format!("{kind}-{arch}")) });
    stubs.filter(|stub| stub.file.is_file()).collect()
}

/// Builds both kinds for the architecture the controller is built for. Those of another one, made by
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
    // Both kinds come out of cargo under one name, and a debug and a release build may run side by side.
    let lock = build.join("waft.lock");
    let held = File::create(&lock).map_err(|e| failed("make", &lock, &e))?;
    held.lock().map_err(|e| failed("lock", &lock, &e))?;
    for kind in KINDS {
        let built = cargo(root, &build, &profile, &arch, kind)?;
        copy_if_new(&built, &shelf.join(format!("{kind}-{arch}")))?;
    }
    drop(held);
    let stubs = in_dir(&shelf);
    // Not the folder: what was copied into it just now would run this script a second time, for nothing.
    for stub in stubs.iter().filter(|stub| stub.arch != arch) {
        watch(&stub.file);
    }
    Ok(stubs)
}

/// One stub by cargo, which costs nothing when nothing changed. Answers the program.
fn cargo(root: &Path, build: &Path, profile: &str, arch: &str, kind: &str) -> Result<PathBuf, Failure> {
    let triple = format!("{arch}-unknown-linux-gnu");
    let mut command = Command::new(variable("CARGO")?);
    forget_outer_cargo(&mut command);
    command
        .current_dir(root)
        .env("RUSTFLAGS", rustflags(root))
        .args(["build", "--locked", "--package", "waft-stub", "--bin", "waft-stub", "--no-default-features"])
        .args(["--profile", profile, "--target", &triple, "--target-dir"])
        .arg(build)
        // What it prints on stdout would be read as instructions of this build script.
        .stdout(Stdio::null());
    if kind == "hop" {
        command.args(["--features", "hop"]);
    }
    let status = command.status().map_err(|e| format!("could not start cargo for the {kind} stub: {e}"))?;
    if !status.success() {
        return Err(format!("the {kind} stub could not be built ({status}); its own errors are above"));
    }
    // Cargo's name for what the profile `dev` makes.
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(build.join(triple).join(folder).join("waft-stub"))
}

/// Static, so that it runs on any Linux; and without this machine's paths in its panic messages.
fn rustflags(root: &Path) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    // One signature is checked per run: the serial backend of the curve is fast enough, and the smallest.
    // A static PIE relocates itself at its start, and glibc's can read the packed form since 2.36.
    let packed = if glibc_has_packed_relocations() { " -Clink-arg=-Wl,-z,pack-relative-relocs" } else { "" };
    format!(
        "-Ctarget-feature=+crt-static{packed} --cfg curve25519_dalek_backend=\"serial\" --remap-path-prefix={}=/waft --remap-path-prefix={cargo_home}/registry/src=/registry",
        root.display()
    )
}

fn glibc_has_packed_relocations() -> bool {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut numbers = text.trim().trim_start_matches("glibc ").split('.').map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(2)), Some(Ok(minor))) if minor >= 36)
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
    let mut new = fs::read(from).map_err(|e| failed("read", from, &e))?;
    crate::unwind::blank(&mut new);
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let partial = to.with_extension("partial");
    fs::copy(from, &partial).map_err(|e| failed("write", &partial, &e))?;
    fs::write(&partial, &new).map_err(|e| failed("write", &partial, &e))?;
    fs::rename(&partial, to).map_err(|e| failed("write", to, &e))
}
