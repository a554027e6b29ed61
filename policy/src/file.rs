//! The policy as a file: obeyed only when nobody but root or the expected owner can have written it.
//!
//! What is checked is what is read: every directory from the root down is opened from the one above it, without
//! following links, and looked at as it is open; so is the file. A file that others can write is not ignored but a
//! refusal, because ignoring it would be what an attacker wants.

use crate::{POLICY_BYTES_MAX, Policy};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, openat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use waft_proto::run::Problem;

/// What the file is called in refusals.
const POLICY: &str = "the policy";
const ROOT: u32 = 0;
/// Writable by group or others.
const WRITABLE: u32 = 0o022;
const STICKY: u32 = 0o1000;
const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A FIFO must not keep anybody waiting, and a terminal is nobody's.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// The policy in `path`; `None` when there is no such file. `owner` is whose file it may be besides root's.
pub fn read(path: &Path, owner: u32) -> Result<Option<Policy>, Problem> {
    let Some(text) = read_text(path, owner)? else { return Ok(None) };
    match Policy::parse(&text) {
        Ok(policy) => Ok(Some(policy)),
        Err(problems) => Err(malformed(path, problems)),
    }
}

/// The text of it, whatever it says.
pub fn read_text(path: &Path, owner: u32) -> Result<Option<String>, Problem> {
    let Some(bytes) = read_bytes(POLICY, path, owner, POLICY_BYTES_MAX)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| unreadable(POLICY, path, &"it is no UTF-8 text"))
}

/// The bytes of a file that is as safe as a policy has to be. `what` names it in refusals.
pub fn read_bytes(what: &str, path: &Path, owner: u32, most: usize) -> Result<Option<Vec<u8>>, Problem> {
    let Some(file) = open_safe(what, path, owner)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let cap = most as u64 + 1;
    file.take(cap).read_to_end(&mut bytes).map_err(|error| unreadable(what, path, &error))?;
    if bytes.len() > most {
        let long = format!("{what} {} has more than {most} bytes", path.display());
        return Err(Problem::new("policy.long", long));
    }
    Ok(Some(bytes))
}

/// A file that nobody but root or `owner` can have written, nor put in that place; `None` when there is none.
pub fn open_safe(what: &str, path: &Path, owner: u32) -> Result<Option<std::fs::File>, Problem> {
    let unreadable = |error: &dyn std::fmt::Display| unreadable(what, path, error);
    let absolute = std::path::absolute(path).map_err(|error| unreadable(&error))?;
    let mut names: Vec<&OsStr> = Vec::new();
    for component in absolute.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name),
            Component::ParentDir | Component::Prefix(_) => {
                return Err(
                    unreadable(&"its path has `..` in it").hint("write the path as `realpath` prints it")
                );
            }
        }
    }
    let Some((name, above)) = names.split_last() else {
        return Err(unreadable(&"it is a directory"));
    };
    let mut here = PathBuf::from("/");
    let mut dir = open("/", DIRECTORY, Mode::empty()).map_err(|error| unreadable(&error))?;
    check_directory(what, &dir, &here, owner)?;
    for name in above {
        here.push(name);
        dir = match openat(&dir, *name, DIRECTORY, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(linked(what, &here, "is no directory, or a symbolic link to one"));
            }
            Err(error) => return Err(unreadable(&error)),
        };
        check_directory(what, &dir, &here, owner)?;
    }
    here.push(name);
    let file = match openat(&dir, *name, FILE, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(linked(what, &here, "is a symbolic link")),
        Err(error) => return Err(unreadable(&error)),
    };
    let stat = fstat(&file).map_err(|error| unreadable(&error))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Problem::new("policy.unsafe", format!("{what} {} is no regular file", here.display()))
            .hint("put a file there"));
    }
    check_owner(what, &stat, &here, owner)?;
    if stat.st_mode & WRITABLE != 0 {
        return Err(writable(what, &stat, &here));
    }
    Ok(Some(file.into()))
}

fn unreadable(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Problem {
    Problem::new("policy.unreadable", format!("{what} {} cannot be read: {error}", path.display()))
}

/// A directory in which no one else can put another file in the place of ours. Where all may write and the sticky
/// bit is set, as in /tmp, what is root's or ours stays; what we pass on the way is checked to be that.
fn check_directory(what: &str, dir: &OwnedFd, path: &Path, owner: u32) -> Result<(), Problem> {
    let stat = fstat(dir.as_fd()).map_err(|error| {
        Problem::new("policy.unreadable", format!("{} cannot be looked at: {error}", path.display()))
    })?;
    check_owner(what, &stat, path, owner)?;
    let is_shared = stat.st_mode & STICKY != 0 && stat.st_uid == ROOT;
    if stat.st_mode & WRITABLE != 0 && !is_shared { Err(writable(what, &stat, path)) } else { Ok(()) }
}

fn check_owner(what: &str, stat: &Stat, path: &Path, owner: u32) -> Result<(), Problem> {
    if stat.st_uid == ROOT || stat.st_uid == owner {
        return Ok(());
    }
    let others = match owner {
        ROOT => "root's".to_owned(),
        owner => format!("root's or user {owner}'s"),
    };
    let message = format!(
        "{what} does not count: {} belongs to user {} and has to be {others}",
        path.display(),
        stat.st_uid
    );
    Err(Problem::new("policy.unsafe", message).hint(format!("chown root {}", shell(path))))
}

fn writable(what: &str, stat: &Stat, path: &Path) -> Problem {
    let message = format!(
        "{what} does not count: others can write {} (mode {:04o}, user {}, group {})",
        path.display(),
        stat.st_mode & 0o7777,
        stat.st_uid,
        stat.st_gid
    );
    Problem::new("policy.unsafe", message).hint(format!("chmod go-w {}", shell(path)))
}

fn linked(file: &str, path: &Path, what: &str) -> Problem {
    Problem::new("policy.unsafe", format!("{file} does not count: {} {what}", path.display()))
        .hint("name the place itself, as `realpath` prints it")
}

fn malformed(path: &Path, problems: Vec<Problem>) -> Problem {
    let more = problems.len().saturating_sub(1);
    let first =
        problems.into_iter().next().unwrap_or_else(|| Problem::new("policy.invalid", "it is no policy"));
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    let message = format!("the policy {} cannot be obeyed: {}{more}", path.display(), first.message);
    Problem::new(&first.code, message).hint(format!("all of it: waft policy check {}", shell(path)))
}

/// One word for a POSIX shell, to paste.
fn shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests;
