//! Small text files of the system, replaced as a whole.

use crate::files::{Attributes, Backup, Replace, exists, resolved, text};
use waft_sdk::Error;

/// Of a file that is not there yet.
const MODE: &str = "0644";

/// The text of a file, also behind a symlink; none when there is no such file. A path that was not granted is refused as
/// the host says it.
pub fn read(path: &str) -> Result<Option<String>, Error> {
    let (path, stat) = resolved(path)?;
    if exists(&stat) { text(&path, &stat).map(Some) } else { Ok(None) }
}

/// Puts a text in the place of a file in one step: whoever reads meanwhile finds the old one or the new one. Its mode and
/// its owner stay, and so does a symlink that leads to it.
pub fn replace(path: &str, text: &str) -> Result<(), Error> {
    let (path, before) = resolved(path)?;
    let mode = if exists(&before) { None } else { Some(MODE) };
    let attributes = Attributes::new(mode, None, None)?;
    let replace = Replace { path: &path, before: &before, attributes: &attributes, backup: Backup::No };
    replace.with_bytes(text.as_bytes()).map(drop)
}
