//! One hash for a tree. A library of its own, so that its tests run on the machine that builds it.

use serde::Serialize;
use sha2::{Digest, Sha256};

#[derive(Serialize, Clone)]
pub struct Listed {
    pub path: String,
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The hash of all lines.
#[derive(Default)]
pub struct Tree(Sha256);

impl Tree {
    pub fn add(&mut self, listed: &Listed) {
        let mode = listed.mode.as_deref().unwrap_or("-");
        let hash = listed.sha256.as_deref().unwrap_or("-");
        // A name and a target may hold anything but NUL.
        let target = listed.target.as_deref().unwrap_or_default();
        self.0.update(format!("{} {mode} {} {hash} {}\0{target}\0\n", listed.kind, listed.size, listed.path));
    }

    pub fn hash(self) -> String {
        hex(&self.0.finalize())
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(change: impl FnOnce(&mut Listed)) -> String {
        let mut listed = Listed {
            path: "a".into(),
            kind: "file",
            mode: Some("0644".into()),
            size: 1,
            sha256: Some(hex(&Sha256::digest(b"x"))),
            target: None,
        };
        change(&mut listed);
        let mut tree = Tree::default();
        tree.add(&listed);
        tree.hash()
    }

    #[test]
    fn each_field_counts() {
        let plain = hash(|_| {});
        assert_eq!(plain, hash(|_| {}));
        assert_eq!(plain.len(), 64);
        let others = [
            hash(|listed| listed.path = "b".into()),
            hash(|listed| listed.kind = "directory"),
            hash(|listed| listed.mode = None),
            hash(|listed| listed.size = 2),
            hash(|listed| listed.sha256 = None),
            hash(|listed| listed.target = Some("t".into())),
        ];
        for (at, other) in others.iter().enumerate() {
            assert!(*other != plain && !others[..at].contains(other));
        }
    }

    #[test]
    fn sums_are_those_of_sha256sum() {
        assert_eq!(
            hex(&Sha256::digest(b"")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
