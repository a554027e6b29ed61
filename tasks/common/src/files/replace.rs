//! Content of files: read with a bound, and replaced at once, so that nobody ever reads half of it.

use super::kept;
use super::{Attributes, child, exists, is_dir, is_file, parent};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};
use waft_sdk::Error;
use waft_sdk::file::{self, Stat};

/// Names that are tried for a new file: others are what tasks left that were stopped.
const NAMES_MAX: u32 = 100;

/// The bytes of a regular file, as far as they are not more than `most`.
pub fn read(path: &str, stat: &Stat, most: u64) -> Result<Vec<u8>, Error> {
    if !is_file(stat) {
        let kind = stat.kind.as_deref().unwrap_or("nothing");
        return Err(Error::new("files.kind", format!("{path} is no regular file, but {kind}")));
    }
    let large = || {
        Error::new("files.size", format!("{path} is larger than {most} bytes, which this task takes at most"))
    };
    if stat.size > most {
        return Err(large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
    let file = File::open(path).map_err(|error| read_failed(path, &error))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| read_failed(path, &error))?;
    if bytes.len() as u64 > most { Err(large()) } else { Ok(bytes) }
}

pub fn read_failed(path: &str, error: &io::Error) -> Error {
    let code = match error.kind() {
        ErrorKind::NotFound => "files.not_found",
        ErrorKind::PermissionDenied => "files.denied",
        _ => "files.read",
    };
    Error::new(code, format!("{path} cannot be read: {error}"))
}

/// What is there in the end: looked at again only when something was changed.
pub fn after(path: &str, changed: bool, before: Stat) -> Result<Stat, Error> {
    if changed { file::stat(path) } else { Ok(before) }
}

/// Why something cannot be written. Where a grant is missing WASI has no word for it, but the host has.
pub fn write_failed(path: &str, error: &io::Error) -> Error {
    // A rename of a file to itself does nothing, and is asked for like any other change.
    let refusal =
        !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::StorageFull);
    if refusal
        && let Err(said) = file::rename(path, path)
        && said.code.starts_with("grant.")
    {
        return said;
    }
    let (code, hint) = match error.kind() {
        ErrorKind::NotFound => ("files.not_found", Some("make the directory first, with the task `file`")),
        ErrorKind::PermissionDenied => {
            ("files.denied", Some("the account on the target may not write there"))
        }
        ErrorKind::StorageFull => ("files.full", None),
        _ => ("files.write", None),
    };
    let text = format!("{path} cannot be written: {error}");
    Error { hint: hint.map(str::to_owned), ..Error::new(code, text) }
}

/// A file that is to have another content.
pub struct Replace<'a> {
    pub path: &'a str,
    /// What is there.
    pub before: &'a Stat,
    pub attributes: &'a Attributes,
    pub backup: Backup,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backup {
    No,
    /// The old file stays, under a name with the time in it.
    Keep,
}

impl Replace<'_> {
    /// Writes a new file beside it, with the mode and the owner that it shall have, and puts that in its place. Answers the
    /// name of the backup.
    pub fn with(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<Option<String>, Error> {
        let mut new = self.begin()?;
        write(&mut new.file).map_err(|error| write_failed(&new.path, &error))?;
        new.place()
    }

    pub fn with_bytes(&self, bytes: &[u8]) -> Result<Option<String>, Error> {
        self.with(|file| file.write_all(bytes))
    }

    /// The new file, still empty, with the mode and the owner that it shall have.
    pub fn begin(&self) -> Result<New<'_>, Error> {
        let kept;
        let attributes = match is_file(self.before) {
            true => {
                kept = self.attributes.or_of(self.path, self.before)?;
                &kept
            }
            false => self.attributes,
        };
        let (path, file) = temporary(parent(self.path))?;
        let new = New { replace: self, path, file, placed: false };
        // While it is empty: what it will hold may not be for everybody.
        attributes.apply(&new.path, &file::stat(&new.path)?)?;
        if is_file(self.before) && kept::copy(self.path, &new.path)? {
            // The mode of a file with an ACL is what the ACL leaves of it.
            attributes.apply(&new.path, &file::stat(&new.path)?)?;
        }
        Ok(new)
    }
}

/// What is to take the place of a file. Removed again unless it does.
pub struct New<'a> {
    replace: &'a Replace<'a>,
    pub path: String,
    pub file: File,
    placed: bool,
}

impl New<'_> {
    /// Answers the name of the backup.
    pub fn place(mut self) -> Result<Option<String>, Error> {
        let Replace { path, before, backup, .. } = *self.replace;
        self.file.sync_all().map_err(|error| write_failed(&self.path, &error))?;
        let backup = match backup {
            Backup::Keep if is_file(before) => Some(backup_name(path)),
            _ => None,
        };
        if let Some(backup) = &backup {
            // The old file itself, with all that belongs to it.
            file::link(path, backup)?;
        }
        match file::rename(&self.path, path) {
            Ok(_) => {
                self.placed = true;
                Ok(backup)
            }
            Err(error) => {
                if let Some(backup) = &backup {
                    let _ = fs::remove_file(backup);
                }
                Err(error)
            }
        }
    }
}

impl Drop for New<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A new and empty file, which nobody else has.
fn temporary(dir: &str) -> Result<(String, File), Error> {
    let run = std::env::var("WAFT_RUN").unwrap_or_default();
    let run: String = run.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    for number in 0..NAMES_MAX {
        let path = child(dir, &format!(".waft-{run}-{number}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                let mut why = write_failed(dir, &error);
                if why.code.starts_with("grant.") {
                    // The directory itself cannot be renamed; a file in it can.
                    why = write_failed(&path, &error);
                }
                return Err(why);
            }
        }
    }
    let text = format!("{dir} holds {NAMES_MAX} files `.waft-{run}-*`, which tasks left that were stopped");
    Err(Error { hint: Some("remove them".into()), ..Error::new("files.temporary", text) })
}

/// As Ansible names it, but for the number of a process.
fn backup_name(path: &str) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    [path, ".", &moment(seconds), "~"].concat()
}

/// `2026-11-21@20:15:00`, in UTC.
fn moment(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March have their odd day at the end.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}@{hour:02}:{minute:02}:{second:02}")
}

/// Makes a directory and those above it that are missing. Answers those that it made, the uppermost first.
pub fn make_dirs(path: &str) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        let stat = file::stat(at)?;
        if is_dir(&stat) {
            break;
        }
        if exists(&stat) && (at == path || !is_dir(&super::resolved(at)?.1)) {
            let kind = stat.kind.as_deref().unwrap_or_default();
            return Err(Error::new("files.kind", format!("{at} is no directory, but {kind}")));
        }
        if exists(&stat) {
            break;
        }
        missing.push(at.to_owned());
        at = parent(at);
    }
    missing.reverse();
    for path in &missing {
        fs::create_dir(path).map_err(|error| write_failed(path, &error))?;
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01@00:00:00"),
            (951_782_399, "2000-02-28@23:59:59"),
            (951_782_400, "2000-02-29@00:00:00"),
            (1_709_251_200, "2024-03-01@00:00:00"),
            (1_767_225_599, "2025-12-31@23:59:59"),
            (4_107_542_400, "2100-03-01@00:00:00"),
        ] {
            assert_eq!(moment(seconds), text);
        }
    }
}
