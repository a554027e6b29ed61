//! No path from a target is ever used as a path on the controller: the modules that hear targets open no files, and those
//! that open files hear no target. What passes between them is a line of a log, or a word of this program.

use std::collections::BTreeSet;
use std::path::Path;
use waft::memory::Memory;
use waft_proto::msg::{Arch, Remembered};

/// What is called to open, make, move or remove a file, or to reach one as a socket.
const OPENS: &[&str] = &[
    "File::",
    "OpenOptions",
    "fs::write",
    "fs::read",
    "fs::create",
    "fs::remove",
    "fs::rename",
    "fs::metadata",
    "fs::symlink",
    "fs::hard_link",
    "fs::copy",
    "fs::set_permissions",
    "DirBuilder",
    "write_private",
    "private_dir",
    "fs::open",
    "fs::mkdir",
    "fs::unlink",
    "persist",
    "tempfile",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "Command::new",
];
/// The types in which what a target says comes here.
const HEARS: &[&str] = &[
    "Hello",
    "Welcome",
    "Report::State",
    "Report::Output",
    "Report::Result",
    "Outcome",
    "Seen::",
    "TargetResult",
    "SignRequest",
    "Body::Result",
    "Body::Output",
];

/// All sources without their tests.
fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests" && name != "demo") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs")
            && path.file_stem().is_some_and(|name| name != "tests")
        {
            let text = std::fs::read_to_string(&path).expect("a source");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            found.push((path.display().to_string(), lines.join("\n")));
        }
    }
}

fn with(sources: &[(String, String)], words: &[&str]) -> BTreeSet<String> {
    // A word of its own, not the end of another one.
    let has = |code: &str, word: &str| {
        code.match_indices(word)
            .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    };
    sources
        .iter()
        .filter(|(_, code)| words.iter().any(|word| has(code, word)))
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn who_hears_a_target_opens_no_file() {
    let mut all = Vec::new();
    for folder in ["src", "../audit/src"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
    }
    let (opens, hears) = (with(&all, OPENS), with(&all, HEARS));
    // Neither list has become empty by a change of names.
    let ends = |set: &BTreeSet<String>, end: &str| set.iter().any(|name| name.ends_with(end));
    assert!(
        ["/compile.rs", "/files.rs", "/memory.rs", "/log.rs"].iter().all(|end| ends(&opens, end)),
        "{opens:?}"
    );
    assert!(
        ["/controller.rs", "/run/books.rs", "/census.rs", "/ssh/signer.rs"]
            .iter()
            .all(|end| ends(&hears, end)),
        "{hears:?}"
    );
    let both: Vec<&String> = opens.intersection(&hears).collect();
    assert!(both.is_empty(), "these do both: {both:?}");
}

#[test]
fn what_is_remembered_of_hosts_is_one_file_whatever_they_are_called() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("waft/hosts");
    let mut memory = Memory::load(file.clone());
    for name in ["../../up", "/etc/passwd", "a/b", "\0", "x\ny", "%2e%2e", "~root"] {
        memory.learn(name, Remembered { arch: Arch::X86_64, exact: true });
    }
    memory.save();
    let entries = |dir: &Path| {
        std::fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    assert_eq!(entries(dir.path()), [dir.path().join("waft")]);
    assert_eq!(entries(&dir.path().join("waft")), [file]);
}
