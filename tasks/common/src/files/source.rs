//! Where new content comes from.

use super::{is_file, read_failed};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use waft_sdk::file::Stat;
use waft_sdk::{Blob, Error};

/// Bytes that are read, compared and written at a time: what one call of the host moves.
const PIECE_BYTES: usize = 32 * 1024;

/// A file of the controller, which was sent with the run.
#[derive(Clone, Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, expecting = "a file of the controller: -p NAME@FILE on the command line")]
pub struct Sent {
    pub hash: String,
    pub bytes: u64,
    /// Without directories.
    pub name: String,
}

impl Sent {
    /// The whole of it, as far as it is not more than `most`.
    pub fn read(&self, most: u64) -> Result<Vec<u8>, Error> {
        if self.bytes > most {
            let text = format!("{} has {} bytes, this task takes {most} at most", self.name, self.bytes);
            return Err(Error::new("files.size", text));
        }
        let mut bytes = Vec::new();
        Blob::open(&self.hash)?
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(|error| read_failed(&self.name, &error))?;
        Ok(bytes)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Bytes(Vec<u8>),
    Sent(Sent),
    /// A file of the target.
    File(String, Box<Stat>),
}

impl Source {
    pub fn file(path: String) -> Result<Source, Error> {
        let (path, stat) = super::resolved(&path)?;
        if !is_file(&stat) {
            let kind = stat.kind.as_deref().unwrap_or("nothing");
            return Err(Error::new("files.kind", format!("{path} is no regular file, but {kind}")));
        }
        Ok(Source::File(path, Box::new(stat)))
    }

    pub fn size(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::Sent(sent) => sent.bytes,
            Source::File(_, stat) => stat.size,
        }
    }

    /// The last name of what it is read from.
    pub fn name(&self) -> Option<&str> {
        match self {
            Source::Bytes(_) => None,
            Source::Sent(sent) => Some(&sent.name),
            Source::File(path, _) => path.rsplit('/').next(),
        }
    }

    pub fn open(&self) -> Result<Box<dyn Read + '_>, Error> {
        Ok(match self {
            Source::Bytes(bytes) => Box::new(&bytes[..]),
            Source::Sent(sent) => Box::new(Blob::open(&sent.hash)?),
            Source::File(path, _) => Box::new(File::open(path).map_err(|error| read_failed(path, &error))?),
        })
    }

    /// Whether a regular file has these bytes already.
    pub fn is_in(&self, path: &str, stat: &Stat) -> Result<bool, Error> {
        if !is_file(stat) || stat.size != self.size() {
            return Ok(false);
        }
        let failed = |error: io::Error| read_failed(path, &error);
        let mut there = File::open(path).map_err(failed)?;
        let mut wanted = self.open()?;
        same(&mut *wanted, &mut there).map_err(failed)
    }

    pub fn write(&self, into: &mut File) -> io::Result<()> {
        let mut from = self.open().map_err(io::Error::other)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match from.read(&mut piece)? {
                0 => return Ok(()),
                count => into.write_all(&piece[..count])?,
            }
        }
    }
}

fn same(one: &mut dyn Read, other: &mut dyn Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    loop {
        let (a, b) = (fill(one, &mut left)?, fill(other, &mut right)?);
        if left[..a] != right[..b] {
            return Ok(false);
        }
        if a == 0 {
            return Ok(true);
        }
    }
}

/// As much as there is room for, unless the end comes first.
fn fill(from: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < into.len() {
        match from.read(&mut into[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_compared_to_the_end() {
        let long = vec![7; 3 * PIECE_BYTES];
        let mut other = long.clone();
        assert!(same(&mut &long[..], &mut &other[..]).unwrap());
        assert!(!same(&mut &long[..], &mut &other[1..]).unwrap());
        *other.last_mut().unwrap() = 8;
        assert!(!same(&mut &long[..], &mut &other[..]).unwrap());
        assert!(same(&mut io::empty(), &mut io::empty()).unwrap());
    }
}
