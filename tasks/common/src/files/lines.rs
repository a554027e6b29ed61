//! Texts that a task changes.

use super::read;
use waft_sdk::Error;
use waft_sdk::file::Stat;

/// A text that a task looks into, bytes: it is in its memory twice while it is changed.
pub const TEXT_BYTES_MAX: u64 = 16 << 20;

/// The text of a file.
pub fn text(path: &str, stat: &Stat) -> Result<String, Error> {
    String::from_utf8(read(path, stat, TEXT_BYTES_MAX)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = format!("{path} is no text in UTF-8: byte {at} is none of any character");
        Error {
            hint: Some("send the whole file with the task `copy`".into()),
            ..Error::new("files.utf8", text)
        }
    })
}
