//! Archives, read and written: tar, plain or compressed by gzip or zstd, and zip. What `archive` and `unarchive` share.

mod format;
mod read;
mod tar;
mod write;
mod zip;

pub use format::Format;
pub use read::each;
pub use write::{Writer, gzip};
pub use zip::FILE_BYTES_MAX as ZIP_FILE_BYTES_MAX;

use waft_sdk::Error;

/// What one entry of an archive is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    File,
    Dir,
    Symlink(String),
    /// Another name of an entry before it.
    HardLink(String),
    /// A file without its holes: only what is between them is in the archive.
    Sparse,
    /// A device, a FIFO, or what nobody here knows.
    Other,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// As the archive has it.
    pub name: String,
    pub kind: Kind,
    /// Bits for everybody; no set-id.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub modified: u64,
}

pub(crate) fn broken(why: impl Into<String>) -> Error {
    let hint = "tar (also .gz and .zst) and zip are read here";
    Error { hint: Some(hint.into()), ..Error::new("archive.broken", why) }
}

pub(crate) fn unread(error: &std::io::Error) -> Error {
    broken(format!("the archive cannot be read: {error}"))
}

/// A number of so many bytes, the lowest first; zero where there are too few.
pub(crate) fn number(bytes: &[u8], at: usize, count: usize) -> u64 {
    let bytes = bytes.get(at..at + count).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
