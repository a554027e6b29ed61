//! The key by which nodes know this controller: made at its first use, kept in the state directory, and never anywhere
//! else. It signs the orders of every run.

use crate::files;
use ed25519_dalek::SigningKey;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use waft_policy::site::{key_text, parse_key};
use waft_proto::run::Problem;

/// In the state directory.
const FILE: &str = "controller.key";
/// Begins the file.
const MARK: &str = "waft-controller-key-v1 ";
/// The file, bytes: mark, 44 digits, a line end, and some room.
const FILE_BYTES_MAX: u64 = 256;
/// Read or written by others.
const OTHERS: u32 = 0o077;

/// A key for this process only: no node can know it.
pub fn passing() -> Result<SigningKey, Problem> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Problem::new("random", format!("this system gives no random numbers: {error}")))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The one of this account. Where there is no state directory, or none that can be written, one for this process.
pub fn own() -> Result<SigningKey, Problem> {
    let Some(dir) = files::state_dir() else { return passing() };
    match kept(&dir) {
        Err(problem) if problem.code == UNWRITABLE => {
            tracing::warn!("{}; nodes that know controllers will not know this one", problem.message);
            passing()
        }
        own => own,
    }
}

const UNWRITABLE: &str = "controller.key.write";

/// The one in this directory, made when there is none.
pub fn kept(dir: &Path) -> Result<SigningKey, Problem> {
    let file = dir.join(FILE);
    if let Some(key) = read(&file)? {
        return Ok(key);
    }
    let unwritable = |error: io::Error| {
        let why = error.kind();
        Problem::new(
            UNWRITABLE,
            format!("the key of this controller cannot be kept in {}: {why}", file.display()),
        )
    };
    let text = format!("{MARK}{}\n", key_text(&passing()?.to_bytes()));
    files::private_dir(dir).map_err(unwritable)?;
    let mut beside = tempfile::NamedTempFile::new_in(dir).map_err(unwritable)?;
    io::Write::write_all(&mut beside, text.as_bytes()).map_err(unwritable)?;
    beside.as_file().sync_all().map_err(unwritable)?;
    // Of several that make one at once, the first stays.
    match beside.persist_noclobber(&file) {
        Ok(_) => {}
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unwritable(error.error)),
    }
    read(&file)?.ok_or_else(|| unwritable(ErrorKind::NotFound.into()))
}

fn read(path: &Path) -> Result<Option<SigningKey>, Problem> {
    let bad = |why: String, mend: String| {
        Problem::new("controller.key", format!("the key of this controller, {}, {why}", path.display()))
            .hint(mend)
    };
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file: File = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(bad(
                format!("cannot be read: {}", error.kind()),
                "is it yours, and no link?".to_owned(),
            ));
        }
    };
    let unreadable =
        |error: io::Error| bad(format!("cannot be read: {}", error.kind()), "is it yours?".to_owned());
    let stat = file.metadata().map_err(unreadable)?;
    let us = rustix::process::geteuid().as_raw();
    if !stat.is_file() || stat.uid() != us || stat.mode() & OTHERS != 0 {
        let why = format!(
            "has to be a file that only user {us} can read (it is user {}'s, mode {:04o})",
            stat.uid(),
            stat.mode() & 0o7777
        );
        return Err(bad(why, format!("if nobody else has read it: chmod 600 {}", path.display())));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    match text.trim_end().strip_prefix(MARK).and_then(parse_key) {
        Some(seed) => Ok(Some(SigningKey::from_bytes(&seed))),
        None => Err(bad(
            "is damaged".to_owned(),
            "move it away: a new one is made, which nodes that know controllers have to be told".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn it_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        let key = kept(&state).expect("made");
        assert_eq!(kept(&state).expect("read").to_bytes(), key.to_bytes());
        let mode = |path: &Path| fs::metadata(path).expect("it").mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&state).expect("it").count(), 1);
        assert_ne!(passing().expect("one").to_bytes(), passing().expect("another").to_bytes());
    }

    #[test]
    fn one_that_others_can_read_or_that_is_damaged_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(FILE);
        let refused = || kept(dir.path()).expect_err("refused");
        kept(dir.path()).expect("made");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
        assert!(refused().message.contains("only user"), "{}", refused().message);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
        let text = fs::read_to_string(&file).expect("it");
        fs::write(&file, &text[..40]).expect("cut");
        assert!(refused().message.contains("damaged"), "{}", refused().message);
        fs::remove_file(&file).expect("gone");
        symlink("/etc/hostname", &file).expect("a link");
        assert!(refused().message.contains("cannot be read"), "{}", refused().message);
    }
}
