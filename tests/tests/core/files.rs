//! What tests of tasks on files have in common.

use crate::desk::{Desk, group_of};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use waft_tests::Result;
use waft_tests::snapshot::Snapshot;

/// A dry run with this for its status, after which the directory is what it was. Answers the result.
pub(crate) fn check(desk: &Desk, task: &str, params: &Value, status: &str) -> Result<Value> {
    let before = Snapshot::take(&[desk.dir()], &[])?;
    let result = desk.result(task, params, &[&desk.rw()], &["--check", "--diff"], 0)?;
    let changes = before.diff(&Snapshot::take(&[desk.dir()], &[])?);
    assert!(changes.is_empty(), "a dry run changed:\n{changes}");
    assert_eq!(result["status"], status, "{result}");
    // The task says the same, not only whoever compared.
    assert_eq!(result["result"]["changed"], status == "changed", "{result}");
    Ok(result)
}

/// What a dry run tells of this file of the directory.
pub(crate) fn change<'a>(desk: &Desk, result: &'a Value, name: &str) -> &'a Value {
    let path = desk.path(name);
    let changes = result["changes"].as_array().expect("changes");
    let change = changes.iter().find(|change| change["path"].as_str().map(Path::new) == Some(&path));
    change.unwrap_or_else(|| panic!("nothing is told of {name}: {result}"))
}

/// The diffs of a dry run, one after the other.
pub(crate) fn diffs(result: &Value) -> String {
    let changes = result["changes"].as_array().expect("changes");
    changes.iter().filter_map(|change| change["diff"].as_str()).collect()
}

/// Changed, and not a second time. Answers what the first says.
pub(crate) fn twice(desk: &Desk, task: &str, params: &Value) -> Result<Value> {
    let grants = desk.rw();
    let answer = desk.answer(task, params, &[&grants], true)?;
    desk.answer(task, params, &[&grants], false)?;
    Ok(answer)
}

/// Ends with exit code 3, and with this code from the task, whose message and hint hold `words`.
pub(crate) fn fails(desk: &Desk, task: &str, params: &Value, code: &str, words: &[&str]) -> Result<()> {
    let before = Snapshot::take(&[desk.dir()], &[])?;
    let result = desk.result(task, params, &[&desk.rw()], &[], 3)?;
    let error = &result["result"]["error"];
    assert_eq!(error["code"], code, "{result}");
    let said = format!("{} {}", error["message"], error["hint"]);
    for word in words {
        assert!(said.contains(word), "no {word} in {said}");
    }
    let changes = before.diff(&Snapshot::take(&[desk.dir()], &[])?);
    assert!(changes.is_empty(), "a task that failed changed:\n{changes}");
    Ok(())
}

/// Without a grant, and with one that is for reading only: `refused`, and the line to paste is told.
pub(crate) fn needs_grants(desk: &Desk, task: &str, params: &Value) -> Result<()> {
    let before = Snapshot::take(&[desk.dir()], &[])?;
    let read_only = format!("fs:{}", desk.dir().display());
    for grants in [&[][..], &[read_only.as_str()]] {
        let result = desk.result(task, params, grants, &[], 5)?;
        assert_eq!(result["error"]["code"], "grant.missing", "{grants:?} {result}");
        let hint = result["error"]["hint"].as_str().expect("a hint");
        assert!(hint.contains("--allow") && hint.contains(&desk.dir().display().to_string()), "{hint}");
    }
    let changes = before.diff(&Snapshot::take(&[desk.dir()], &[])?);
    assert!(changes.is_empty(), "a task that was refused changed:\n{changes}");
    Ok(())
}

/// Parameters that the task does not have: nothing is sent.
pub(crate) fn no_params(desk: &Desk, task: &str, params: &Value, word: &str) -> Result<()> {
    desk.unsent(task, params, &[&desk.rw()], &[&format!("`{word}`")])
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o7777
}

pub(crate) fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(path).expect("a file");
    (metadata.uid(), metadata.gid())
}

pub(crate) fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a text")
}

/// Names and contents in the directory.
fn names(desk: &Desk) -> Vec<(PathBuf, Option<String>)> {
    let entries = fs::read_dir(desk.dir()).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut names: Vec<_> = entries.map(|path| (path.clone(), fs::read_to_string(path).ok())).collect();
    names.sort();
    names
}

/// Nothing of what tasks write for a moment is left.
pub(crate) fn no_remains(desk: &Desk) {
    for entry in fs::read_dir(desk.dir()).expect("a directory") {
        let name = entry.expect("an entry").file_name();
        assert!(!name.to_string_lossy().starts_with(".waft"), "{name:?} is left");
    }
}

/// As an ordinary user: a file cannot be given away, and the error says so.
pub(crate) fn cannot_give_away(desk: &Desk, task: &str, params: &Value) -> Result<()> {
    if desk.is_root() {
        return Ok(());
    }
    let mut params = params.clone();
    params["owner"] = json!("root");
    // The directory has new times: what was written for it is gone again.
    let (before, result) = (names(desk), desk.result(task, &params, &[&desk.rw()], &[], 3)?);
    let error = &result["result"]["error"];
    assert_eq!(error["code"], "file.denied", "{result}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("only root")), "{error}");
    assert_eq!(before, names(desk));
    Ok(())
}

/// The same for a task that only reads.
pub(crate) fn needs_grant(desk: &Desk, task: &str, params: &Value) -> Result<()> {
    let result = desk.result(task, params, &[], &[], 5)?;
    assert_eq!(result["error"]["code"], "grant.missing", "{result}");
    let hint = result["error"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("--allow fs:/"), "{hint}");
    Ok(())
}

/// rw for the owner, r for the user 65534, the group and as the mask, nothing for others: as the kernel has it.
const ACL: [(u16, u16, u32); 5] =
    [(1, 6, u32::MAX), (2, 4, 65_534), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];

fn acl() -> Vec<u8> {
    let entry = |(tag, rights, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [2_u32.to_le_bytes().to_vec(), ACL.into_iter().flat_map(entry).collect()].concat()
}

/// Gives a file an ACL, by which its mode is 0640, and an attribute; whether the file system has such.
pub(crate) fn set_acl(path: &Path) -> bool {
    let set = |name: &str, value: &[u8]| setxattr(path, name, value, XattrFlags::empty());
    set("system.posix_acl_access", &acl()).and_then(|()| set("user.note", b"kept")).is_ok()
}

/// It still has both.
pub(crate) fn has_acl(path: &Path) {
    let get = |name: &str| {
        let mut value = [0_u8; 256];
        let length = getxattr(path, name, &mut value).expect("an attribute");
        value[..length].to_vec()
    };
    assert_eq!((get("system.posix_acl_access"), get("user.note")), (acl(), b"kept".to_vec()));
    assert_eq!(mode(path), 0o640);
}

/// A file below the directory, of the account, with this mode.
pub(crate) fn put(desk: &Desk, name: &str, text: &str) -> PathBuf {
    let path = desk.path(name);
    let mut missing: Vec<&Path> = path.ancestors().skip(1).take_while(|dir| !dir.exists()).collect();
    while let Some(dir) = missing.pop() {
        fs::create_dir(dir).expect("a directory");
        give(desk, dir, 0o755);
    }
    fs::write(&path, text).expect("a file");
    give(desk, &path, 0o644);
    path
}

pub(crate) fn give(desk: &Desk, path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    if let Some(user) = desk.user() {
        std::os::unix::fs::chown(path, Some(user.uid), Some(group_of(user))).expect("an owner");
    }
}
