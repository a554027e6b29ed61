//! How a blob came, or may go: in which pieces, and what of it stands in other blobs. A hop passes a blob on as it came,
//! deflated bytes included; so only the controller looks for what blobs have in common.

use crate::id::Hash;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Parts that one store remembers, of all its blobs: 5 MB. What is beyond is sent as plain pieces.
pub(super) const PARTS_MAX: usize = 64 * 1024;
/// Deflated pieces that one store keeps for the next child that needs them, bytes at most; a store with a small quota keeps
/// a 32nd of it.
const KEPT_BYTES_MAX: u64 = 32 * 1024 * 1024;
const KEPT_SHARE: u64 = 32;
/// A quarter of that is for pieces behind the first ones of a large blob.
const LATEST_SHARE: u64 = 4;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Source {
    /// It resembles nothing.
    None,
    /// It stands there as it is.
    Copy { from: Hash, at: u64 },
    /// It resembles what stands there.
    Dictionary { from: Hash, at: u64, bytes: u32 },
}

impl Source {
    pub(super) fn from(self) -> Option<Hash> {
        match self {
            Source::None => None,
            Source::Copy { from, .. } | Source::Dictionary { from, .. } => Some(from),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    pub offset: u64,
    pub bytes: u32,
    pub source: Source,
}

/// The parts of all of a blob; a transfer keeps those that it began with.
pub(crate) type Plan = Arc<[Part]>;

/// The part that the byte at `offset` is in, and where the next part begins.
pub(super) fn part_at(parts: &[Part], offset: u64) -> (Option<Part>, Option<u64>) {
    let behind = parts.partition_point(|part| part.offset <= offset);
    let part = behind.checked_sub(1).and_then(|at| parts.get(at)).copied();
    let part = part.filter(|part| offset < part.offset + u64::from(part.bytes));
    (part, parts.get(behind).map(|part| part.offset))
}

type Key = (Hash, u64, Source);

/// Pieces as they go over a wire: deflated once, for all children. The first ones of a blob stay until other blobs need the
/// room, for whoever comes late; so do not those behind them, which go in turn once children that go along have had them.
pub(super) struct Kept {
    pieces: BTreeMap<Key, Piece>,
    first: Queue,
    latest: Queue,
}

/// Keys of pieces, oldest first.
struct Queue {
    order: VecDeque<Key>,
    bytes: u64,
    most: u64,
}

impl Queue {
    fn new(most: u64) -> Queue {
        Queue { order: VecDeque::new(), bytes: 0, most }
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.bytes.saturating_add(bytes) <= self.most
    }
}

pub(super) struct Piece {
    /// What it stands for, bytes.
    pub(super) size: u32,
    /// `None`: deflate does not make it smaller.
    pub(super) packed: Option<Vec<u8>>,
}

impl Kept {
    pub(super) fn new(quota: u64) -> Kept {
        let most = (quota / KEPT_SHARE).min(KEPT_BYTES_MAX);
        let latest = most / LATEST_SHARE;
        Kept { pieces: BTreeMap::new(), first: Queue::new(most - latest), latest: Queue::new(latest) }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        let costs: u64 = self.pieces.values().map(cost).sum();
        assert_eq!(costs, self.first.bytes + self.latest.bytes);
        assert_eq!(self.pieces.len(), self.first.order.len() + self.latest.order.len());
        costs
    }

    pub(super) fn get(&self, hash: Hash, offset: u64, source: Source) -> Option<&Piece> {
        self.pieces.get(&(hash, offset, source))
    }

    pub(super) fn keep(&mut self, hash: Hash, offset: u64, source: Source, piece: Piece) {
        let (key, size) = ((hash, offset, source), cost(&piece));
        if self.pieces.contains_key(&key) {
            self.drop_where(|known| *known == key);
        }
        let Kept { pieces, first, latest } = self;
        let mut evict = |lane: &mut Queue| {
            let Some(piece) = lane.order.pop_front().and_then(|oldest| pieces.remove(&oldest)) else {
                return;
            };
            lane.bytes = lane.bytes.saturating_sub(cost(&piece));
        };
        while !first.has_room(size) && first.order.front().is_some_and(|(oldest, ..)| *oldest != hash) {
            evict(first);
        }
        let lane = if first.has_room(size) { first } else { latest };
        while !lane.has_room(size) && !lane.order.is_empty() {
            evict(lane);
        }
        if lane.has_room(size) {
            lane.order.push_back(key);
            lane.bytes += size;
            pieces.insert(key, piece);
        }
    }

    /// Drops the pieces of a blob that is gone.
    pub(super) fn forget(&mut self, hash: Hash) {
        let from = (hash, 0, Source::None);
        if self.pieces.range(from..).next().is_some_and(|((first, ..), _)| *first == hash) {
            self.drop_where(|(of, ..)| *of == hash);
        }
    }

    fn drop_where(&mut self, which: impl Fn(&Key) -> bool) {
        let pieces = &mut self.pieces;
        for lane in [&mut self.first, &mut self.latest] {
            let bytes = &mut lane.bytes;
            lane.order.retain(|key| {
                let goes = which(key);
                if goes && let Some(piece) = pieces.remove(key) {
                    *bytes = bytes.saturating_sub(cost(&piece));
                }
                !goes
            });
        }
    }
}

/// Memory, by eye: key and slot are there twice.
fn cost(piece: &Piece) -> u64 {
    const OVERHEAD_BYTES: usize = 256;
    (piece.packed.as_ref().map_or(0, Vec::len) + OVERHEAD_BYTES) as u64
}
