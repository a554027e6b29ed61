//! Logs are made by the real writer in a directory of their own, then changed as an attacker would.

mod file;
mod tamper;

use super::chain::{Walked, walk};
use super::line::{Fields, Line};
use super::log::{self, Log};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use waft_proto::id::Hash;

/// A log in a directory of its own.
struct Place {
    log: Log,
    /// Where the directory of the log is.
    above: PathBuf,
    _root: TempDir,
}

impl Place {
    fn new() -> Place {
        let root = tempfile::tempdir().expect("a directory");
        let above = root.path().join("waft");
        Place { log: Log::at(above.join("audit"), "keep it elsewhere"), above, _root: root }
    }

    /// With so many lines.
    fn with(lines: u64) -> Place {
        let place = Place::new();
        for number in 1..=lines {
            place.append(number);
        }
        place
    }

    fn append(&self, number: u64) -> Hash {
        let mut fields = Fields::new();
        fields.insert("number".to_owned(), number.into());
        fields.insert("text".to_owned(), "a \"b\" \u{1b}[2J é \u{202e}\n".into());
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200 + number);
        self.log.append(time, "test", fields, false).expect("appended")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.log.file()).expect("a log")
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(self.log.file(), bytes).expect("written");
    }

    /// The lines with their ends.
    fn lines(&self) -> Vec<Vec<u8>> {
        self.bytes().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn walked(&self) -> Walked {
        walk(log::read(&self.log.file()).expect("a log"), None, &mut |_| Ok(())).expect("read")
    }

    /// What is whole in itself.
    fn shown(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut keep = |line: &Line| {
            lines.push(line.clone());
            Ok(())
        };
        walk(log::read(&self.log.file()).expect("a log"), None, &mut keep).expect("read");
        lines
    }
}

fn of_bytes(bytes: &[u8], wanted: Option<Hash>) -> Walked {
    walk(bytes, wanted, &mut |_| Ok(())).expect("read")
}
