//! Logs are made by the real writer in a directory of their own.

mod runs;

use super::{Log, Walked, log, walk};
use std::fs;
use tempfile::TempDir;

/// A log in a directory of its own.
struct Place {
    log: Log,
    _root: TempDir,
}

impl Place {
    fn new() -> Place {
        let root = tempfile::tempdir().expect("a directory");
        Place { log: super::at(root.path().join("waft/audit")), _root: root }
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.log.file()).expect("a log")
    }

    /// The lines with their ends.
    fn lines(&self) -> Vec<Vec<u8>> {
        self.bytes().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    fn walked(&self) -> Walked {
        walk(log::read(&self.log.file()).expect("a log"), None, &mut |_| Ok(())).expect("read")
    }
}
