//! Names of things on the wire: nodes, ranges of nodes, blobs, runs.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A node of one tree. The root is 0; the controller numbers the others in preorder, so that the
/// descendants of a node are one contiguous range.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The controller.
    pub const ROOT: NodeId = NodeId(0);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Nodes `first..=last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeRange {
    pub first: NodeId,
    pub last: NodeId,
}

impl NodeRange {
    pub fn new(first: NodeId, last: NodeId) -> NodeRange {
        NodeRange { first, last }
    }

    pub fn one(node: NodeId) -> NodeRange {
        NodeRange { first: node, last: node }
    }

    pub fn contains(&self, node: NodeId) -> bool {
        self.first <= node && node <= self.last
    }

    /// The part of `self` that lies in `other`.
    pub fn intersect(&self, other: &NodeRange) -> Option<NodeRange> {
        let first = self.first.max(other.first);
        let last = self.last.min(other.last);
        (first <= last).then_some(NodeRange { first, last })
    }

    /// How many nodes the range names; 0 when it is empty (`first > last`).
    pub fn count(&self) -> u64 {
        (u64::from(self.last.0) + 1).saturating_sub(u64::from(self.first.0))
    }
}

/// A blake3 hash: the name of a blob. Printed as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    /// The first eight hex digits, for people.
    pub fn short(&self) -> String {
        let mut text = alloc::format!("{self}");
        text.truncate(8);
        text
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A run's UUIDv7. Made by the controller; every log line carries it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub [u8; 16]);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
