//! Whether a directory of waft's is its user's alone. Who could write there could give every target another stub or
//! another artifact, and cut the audit log.

use rustix::process::geteuid;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use waft_proto::run::Problem;

const GROUP_WRITABLE: u32 = 0o020;
const OTHERS_WRITABLE: u32 = 0o002;
/// Only the owner of an entry may rename or remove it.
const STICKY: u32 = 0o1000;

/// The directory `under` waft's directory `base`, whether or not it is there yet; [`super::private_dir`] makes it for this
/// user alone. Refused is what belongs to somebody else or can be written by others, and also a way there through
/// directories of which that is true. `variable` is what names another place.
pub fn guarded(base: &Path, under: &str, variable: &str) -> Result<PathBuf, Problem> {
    let dir = if under.is_empty() { base.to_owned() } else { base.join(under) };
    way(base, &dir, variable)?;
    Ok(dir)
}

/// Every directory as it is named, and as it is behind symbolic links.
fn way(base: &Path, dir: &Path, variable: &str) -> Result<(), Problem> {
    for step in dir.ancestors() {
        look(step, step.starts_with(base), variable)?;
    }
    let Some(there) = dir.ancestors().find_map(|step| step.canonicalize().ok()) else { return Ok(()) };
    for step in there.ancestors() {
        look(step, false, variable)?;
    }
    Ok(())
}

fn look(step: &Path, is_own: bool, variable: &str) -> Result<(), Problem> {
    let refused = |why: String, hint: String| {
        Problem::new("files.directory", format!("{} {why}; waft keeps nothing there", step.display()))
            .hint(hint)
    };
    let unreadable = |error: io::Error| {
        refused(format!("cannot be looked at: {}", super::plain(&error)), elsewhere(variable))
    };
    let link = match fs::symlink_metadata(step) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(error)),
    };
    // A link's mode means nothing; who owns it can lead it elsewhere.
    owned(&link).map_err(|why| refused(why, elsewhere(variable)))?;
    let there = match fs::metadata(step) {
        Ok(there) => there,
        Err(error) => return Err(unreadable(error)),
    };
    if !there.is_dir() {
        return Err(refused("is no directory".to_owned(), elsewhere(variable)));
    }
    owned(&there).map_err(|why| refused(why, elsewhere(variable)))?;
    if is_open(&there, is_own) {
        let why = format!("can be written by others (mode {:o})", there.mode() & 0o7777);
        return Err(refused(why, format!("`chmod go-w {}`, or {}", step.display(), elsewhere(variable))));
    }
    Ok(())
}

fn elsewhere(variable: &str) -> String {
    format!("set {variable} to a directory of yours")
}

/// Root can do anything in any case.
fn owned(entry: &Metadata) -> Result<(), String> {
    let own = geteuid().as_raw();
    match entry.uid() {
        0 => Ok(()),
        uid if uid == own => Ok(()),
        uid => Err(format!("belongs to another user (uid {uid}, this is {own})")),
    }
}

/// Where each user has a group of his own with his own number, home directories may be open to it.
fn is_open(dir: &Metadata, is_own: bool) -> bool {
    let is_private_group = !is_own && dir.gid() == dir.uid();
    let bits = if is_private_group { OTHERS_WRITABLE } else { OTHERS_WRITABLE | GROUP_WRITABLE };
    let is_sticky = !is_own && dir.mode() & STICKY != 0;
    dir.mode() & bits != 0 && !is_sticky
}

/// What the system says, without its number: `io::Error` and `Errno` put one behind their words.
pub fn plain(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let words = text.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (os error "));
    match words {
        Some((words, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => words.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    const NOBODY: u32 = 65534;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("its mode");
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o7777
    }

    fn refused(base: &Path, part: &str) {
        let problem = guarded(base, "artifacts", "XDG_CACHE_HOME").expect_err(part);
        assert_eq!(problem.code, "files.directory");
        assert!(problem.message.contains(part), "{problem}");
        assert!(problem.hint.is_some_and(|hint| hint.contains("XDG_CACHE_HOME")));
    }

    /// As it is after something was written there.
    fn made(base: &Path) -> PathBuf {
        let dir = guarded(base, "artifacts", "XDG_CACHE_HOME").expect("a good way");
        super::super::write_private(&dir.join("file"), b"text").expect("written");
        dir
    }

    #[test]
    fn a_new_directory_is_its_users_alone() {
        let top = tempfile::tempdir().expect("a directory");
        let base = top.path().join("cache/waft");
        let dir = made(&base);
        assert_eq!(dir, base.join("artifacts"));
        assert_eq!((mode(&dir), mode(&base), mode(&dir.join("file"))), (0o700, 0o700, 0o600));
        assert_eq!(made(&base), dir);
        fs::write(top.path().join("file"), "").expect("a file");
        refused(&top.path().join("file/waft"), "cannot be looked at: Not a directory");
    }

    #[test]
    fn what_others_can_write_is_refused_wherever_it_is_on_the_way() {
        let top = tempfile::tempdir().expect("a directory");
        let (home, base) = (top.path().join("home"), top.path().join("home/waft"));
        made(&base);
        for (path, bad, good) in [
            (base.join("artifacts"), 0o770, 0o700),
            (base.join("artifacts"), 0o702, 0o700),
            (base.clone(), 0o1777, 0o700),
            (home.clone(), 0o777, 0o755),
        ] {
            chmod(&path, bad);
            refused(&base, &format!("{} can be written by others (mode {bad:o})", path.display()));
            chmod(&path, good);
            guarded(&base, "artifacts", "XDG_CACHE_HOME").expect("it is good again");
        }
        // As /tmp is.
        chmod(&home, 0o1777);
        guarded(&base, "artifacts", "XDG_CACHE_HOME").expect("sticky");
        // By way of a link it is the same place.
        chmod(&home, 0o777);
        let link = top.path().join("link");
        symlink(&home, &link).expect("a link");
        refused(&link.join("waft"), "can be written by others");
    }

    #[test]
    fn what_belongs_to_others_is_refused() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: only root can give files away");
            return;
        }
        let top = tempfile::tempdir().expect("a directory");
        let base = top.path().join("home/waft");
        let dir = made(&base);
        for path in [dir, base.clone(), top.path().join("home")] {
            chown(&path, Some(NOBODY), None).expect("an owner");
            refused(&base, &format!("{} belongs to another user (uid 65534, this is 0)", path.display()));
            chown(&path, Some(0), None).expect("an owner");
        }
        let link = top.path().join("link");
        symlink(top.path().join("home"), &link).expect("a link");
        std::os::unix::fs::lchown(&link, Some(NOBODY), None).expect("an owner");
        refused(&link.join("waft"), "belongs to another user");
    }

    #[test]
    fn errors_are_said_without_their_numbers() {
        assert_eq!(plain(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(plain(&rustix::io::Errno::ACCESS), "Permission denied");
        assert_eq!(plain(&io::Error::other("odd (os error x)")), "odd (os error x)");
        assert_eq!(plain(&io::Error::other("odd")), "odd");
    }
}
