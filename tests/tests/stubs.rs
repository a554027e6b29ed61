//! `waft stub list`, `path` and `build`: what a user sees of the stubs at hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use waft_tests::process;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Context, Error, Result};

/// A stub that has to be built anew takes a minute and a half.
const BUILD_LIMIT: Duration = Duration::from_secs(170);
const HERE: &str = std::env::consts::ARCH;

fn other() -> &'static str {
    if HERE == "x86_64" { "aarch64" } else { "x86_64" }
}

/// `waft stub WORDS` with this stub directory.
fn stub(dir: &Path, words: &[&str]) -> Result<Output> {
    Waft::new("stub")?.args(words).env("WAFT_STUB_DIR", dir).run()
}

fn directory() -> Result<TempDir> {
    tempfile::Builder::new().prefix("waft-stubs-").tempdir().context(|| "no directory".to_owned())
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(file, bytes).context(|| format!("cannot write {}", file.display()))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).context(|| format!("cannot read {}", file.display()))
}

/// A file that says of itself to be a program for that machine.
fn program(arch: &str) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64, 0);
    // e_type and e_machine.
    let machine = if arch == "aarch64" { 183 } else { 62 };
    elf.splice(16..20, [3, 0, machine, 0]);
    elf.resize(5000, 7);
    elf
}

/// Rows of `waft stub list` in words, without the headings.
fn list(dir: &Path) -> Result<Vec<Vec<String>>> {
    let text = stub(dir, &["list"])?.expect_code(0)?.stdout();
    let row = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut rows = text.lines().map(row);
    assert_eq!(
        rows.next().unwrap_or_default(),
        ["kind", "machine", "bytes", "gzip", "hash", "from"],
        "{text}"
    );
    Ok(rows.collect())
}

fn find<'a>(rows: &'a [Vec<String>], kind: &str, arch: &str) -> Vec<&'a Vec<String>> {
    rows.iter()
        .filter(|row| row.first().is_some_and(|is| is == kind) && row.get(1).is_some_and(|is| is == arch))
        .collect()
}

/// The path that `waft stub path` printed, and nothing else.
fn printed(output: &Output) -> PathBuf {
    let text = output.stdout();
    assert_eq!(text.lines().count(), 1, "{text}");
    PathBuf::from(text.trim_end())
}

fn version(stub: &Path) -> Result<String> {
    let mut command = Command::new(stub);
    command.arg("--version");
    process::run_tool(command, b"")
}

#[test]
fn both_kinds_are_built_in_for_this_machine_and_can_be_unpacked() -> Result<()> {
    let dir = directory()?;
    let rows = list(dir.path())?;
    for kind in ["leaf", "hop"] {
        let found = find(&rows, kind, HERE);
        let [row] = found.as_slice() else { panic!("{kind}: {rows:?}") };
        assert_eq!(row.get(5..).map(|from| from.join(" ")).as_deref(), Some("built in"), "{row:?}");
        let waft = Waft::new("stub")?.args(["path", "--kind", kind]).env("WAFT_STUB_DIR", dir.path());
        let path = printed(&waft.run()?.expect_code(0)?);
        assert!(path.starts_with(waft.home()), "{}", path.display());
        // The size it is listed with is its own.
        assert_eq!(row.get(2), Some(&read(&path)?.len().to_string()), "{row:?}");
        let said = version(&path)?;
        assert!(said.ends_with(&format!(" {kind} {HERE}\n")), "{said}");
    }
    Ok(())
}

#[test]
fn a_stub_in_the_stub_directory_goes_before_a_built_in_one() -> Result<()> {
    let dir = directory()?;
    let (leaf, hop) = (dir.path().join(format!("leaf-{HERE}")), dir.path().join(format!("hop-{}", other())));
    write(&leaf, &program(HERE))?;
    write(&hop, &program(other()))?;
    // These are no stubs by their names.
    write(&dir.path().join("README"), b"stubs of the site\n")?;
    write(&dir.path().join("leaf-riscv64"), &program(HERE))?;

    let rows = list(dir.path())?;
    for (kind, arch, file) in [("leaf", HERE, &leaf), ("hop", other(), &hop)] {
        let found = find(&rows, kind, arch);
        let [row] = found.as_slice() else { panic!("{kind} {arch}: {rows:?}") };
        assert_eq!(row.get(2).map(String::as_str), Some("5000"), "{row:?}");
        assert_eq!(row.get(5).map(Path::new), Some(file.as_path()), "{row:?}");
        let path = stub(dir.path(), &["path", "--kind", kind, "--arch", arch])?.expect_code(0)?;
        assert_eq!(&printed(&path), file);
    }
    assert_eq!(find(&rows, "hop", HERE).len(), 1, "{rows:?}");
    assert!(
        !rows.iter().flatten().any(|word| word.contains("riscv64") || word.contains("README")),
        "{rows:?}"
    );
    Ok(())
}

/// Each says what is wrong and, where something can be done, what.
#[test]
fn what_cannot_be_had_is_refused_with_what_to_do() -> Result<()> {
    let (dir, empty) = (directory()?, directory()?);
    let refused = |dir: &Path, words: &[&str], expected: &[&str]| -> Result<()> {
        let output = stub(dir, words)?.expect_code(2)?;
        let said = output.stderr();
        let missing: Vec<_> = expected.iter().filter(|text| !said.contains(**text)).collect();
        assert!(missing.is_empty(), "{words:?} does not say {missing:?}:\n{said}");
        assert_eq!(output.stdout(), "", "{words:?}");
        Ok(())
    };
    refused(dir.path(), &["path", "--arch", "riscv64"], &["x86_64 and aarch64", "riscv64"])?;
    refused(dir.path(), &["path", "--kind", "twig"], &["leaf", "hop", "twig"])?;
    refused(dir.path(), &["build", "--arch", "riscv64"], &["x86_64 and aarch64", "riscv64"])?;

    let source = empty.path().display().to_string();
    let no_source = format!("{source} is no source tree of waft");
    refused(dir.path(), &["build", "--source", &source], &[&no_source, "--source DIR"])?;

    let missing = dir.path().join("missing");
    let no_directory = format!("WAFT_STUB_DIR is {}, which is no directory", missing.display());
    refused(&missing, &["list"], &[&no_directory])?;

    let file = dir.path().join(format!("leaf-{}", other()));
    let shown = file.display().to_string();
    write(&file, &program(HERE))?;
    let wrong = format!("is no program for {}", other());
    refused(dir.path(), &["list"], &[&shown, &wrong, "waft stub build"])?;
    write(&file, b"#!/bin/sh\nexit 0\n")?;
    refused(dir.path(), &["list"], &[&shown, "is no program", "waft stub build"])
}

/// By the same script and to the same bytes as the one that is built in.
#[test]
fn a_stub_can_be_built_and_is_then_used() -> Result<()> {
    let dir = directory()?;
    let mut waft = Waft::new("stub")?.args(["build", "--kind", "leaf"]).limit(BUILD_LIMIT);
    // What cargo and rustup need of the account that runs the test.
    let home = std::env::var_os("HOME").map(PathBuf::from).ok_or_else(|| Error::new("no HOME"))?;
    for (name, usual) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        waft = waft.env(name, std::env::var_os(name).map_or_else(|| home.join(usual), PathBuf::from));
    }
    for name in ["RUSTUP_TOOLCHAIN", "WAFT_STUB_PROFILE", "WAFT_RUST_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            waft = waft.env(name, value);
        }
    }
    // Made by waft when it is not there; and not to be taken from where the script runs.
    let stubs = dir.path().join("new/stubs");
    let built = printed(&waft.env("WAFT_STUB_DIR", &stubs).run()?.expect_code(0)?);
    assert_eq!(built, stubs.join(format!("leaf-{HERE}")));
    let mode = fs::metadata(&built).context(|| "no stub".to_owned())?.permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "{mode:o}");
    assert!(version(&built)?.ends_with(&format!(" leaf {HERE}\n")));
    let rows = list(&stubs)?;
    let found = find(&rows, "leaf", HERE);
    assert_eq!(found.first().and_then(|row| row.get(5)).map(PathBuf::from), Some(built.clone()), "{rows:?}");
    // Nothing else lies there.
    let entries = fs::read_dir(&stubs).context(|| "no stub directory".to_owned())?;
    let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    assert_eq!(files, std::slice::from_ref(&built));

    // With that variable the build of waft took its stubs from elsewhere.
    if std::env::var_os("WAFT_STUB_DIR").is_some() {
        return Ok(());
    }
    let own = Waft::new("stub")?.args(["path", "--kind", "leaf"]).env("WAFT_STUB_DIR", "");
    let embedded = read(&printed(&own.run()?.expect_code(0)?))?;
    assert!(read(&built)? == embedded, "the built-in stub is another one: is `waft` older than its source?");
    Ok(())
}
