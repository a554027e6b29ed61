//! Symlinks, hard links and renames: what names are made of. Both ends are a directory, by descriptor, and a name in it.

use super::Call;
use super::beneath::Entry;
use super::meta::changed;
use rustix::fs::{AtFlags, RenameFlags, linkat, readlinkat, renameat_with, statat, symlinkat};
use rustix::io::Errno;
use serde_json::Value;
use waft_proto::run::Problem;

/// The target may be anything: whoever follows it does so with his own rights, and the stub not beyond what is granted.
pub(super) fn symlink(call: &Call<'_>) -> Result<Value, Problem> {
    let target = call.request.name("target")?;
    let new = file_entry(call, "path")?;
    match symlinkat(target, &new.dir, new.name) {
        Ok(()) => Ok(changed(true)),
        Err(Errno::EXIST) => match readlinkat(&new.dir, new.name, Vec::new()) {
            Ok(there) if there.as_bytes() == target.as_bytes() => Ok(changed(false)),
            _ => Err(call.failed(Errno::EXIST).hint("make it under another name, and rename that")),
        },
        Err(error) => Err(call.failed(error)),
    }
}

/// A symlink is linked itself, not what it leads to.
pub(super) fn link(call: &Call<'_>) -> Result<Value, Problem> {
    let (old, new) = (file_entry(call, "path")?, file_entry(call, "to")?);
    match linkat(&old.dir, old.name, &new.dir, new.name, AtFlags::empty()) {
        Ok(()) => Ok(changed(true)),
        Err(Errno::EXIST) if same(&old, &new) => Ok(changed(false)),
        Err(error) => Err(call.failed(error)),
    }
}

pub(super) fn rename(call: &Call<'_>) -> Result<Value, Problem> {
    let (old, new) = (call.entry("path")?, call.entry("to")?);
    let exchange = call.request.flag("exchange", false)?;
    let flags = match (call.request.flag("replace", true)?, exchange) {
        (true, false) => RenameFlags::empty(),
        (true, true) => RenameFlags::EXCHANGE,
        (false, false) => RenameFlags::NOREPLACE,
        (false, true) => return call.request.want("replace", "not false together with `exchange`", None),
    };
    // The kernel does nothing then, and both names stay.
    let nothing = same(&old, &new);
    match renameat_with(&old.dir, old.name, &new.dir, new.name, flags) {
        Ok(()) => Ok(changed(!nothing)),
        Err(Errno::INVAL) => Err(call.failed(Errno::INVAL).hint(
            "a directory does not go into itself, and not every file system knows `replace` and `exchange`",
        )),
        Err(error) => Err(call.failed(error)),
    }
}

/// A slash at the end would have the kernel follow what is there.
fn file_entry<'a>(call: &'a Call<'_>, field: &str) -> Result<Entry<'a>, Problem> {
    let entry = call.entry(field)?;
    if entry.name.ends_with('/') {
        return Err(
            call.problem("file.name", "the path ends in a slash, and no directory can be made this way")
        );
    }
    Ok(entry)
}

/// Whether both names are of one file.
fn same(old: &Entry<'_>, new: &Entry<'_>) -> bool {
    let id = |entry: &Entry<'_>| {
        let stat = statat(&entry.dir, entry.name.trim_end_matches('/'), AtFlags::SYMLINK_NOFOLLOW);
        stat.ok().map(|stat| (stat.st_dev, stat.st_ino))
    };
    id(old).is_some_and(|old| Some(old) == id(new))
}
