//! Blobs in RAM: named by blake3, with the kinds they serve as, a quota, and least-recently-used eviction of
//! what nothing holds. A blob may be partial: it is passed on while it still arrives, and verified when whole.

#[cfg(feature = "pack")]
pub(crate) mod parts;
mod receive;
#[cfg(feature = "pack")]
mod send;
#[cfg(test)]
mod tests;

use crate::id::Hash;
use crate::limits::{BLOB_BYTES_MAX, STORE_BLOBS_MAX};
use crate::msg::BlobKind;
use crate::run::Problem;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

struct Blob {
    kinds: Kinds,
    total: u64,
    content: Content,
    used: u64,
    #[cfg(feature = "pack")]
    parts: Vec<parts::Part>,
    /// It was put here and did not come from a parent.
    #[cfg(feature = "pack")]
    own: bool,
    /// What it has in common with others, for each set of these that a child had; the newest last.
    #[cfg(feature = "pack")]
    plans: Vec<(Vec<Hash>, parts::Plan)>,
    #[cfg(feature = "pack")]
    index: Option<Arc<crate::pack::Index>>,
}

impl Blob {
    fn new(kind: BlobKind, total: u64, content: Content, used: u64) -> Blob {
        Blob {
            kinds: Kinds::of(kind),
            total,
            content,
            used,
            #[cfg(feature = "pack")]
            parts: Vec::new(),
            #[cfg(feature = "pack")]
            own: false,
            #[cfg(feature = "pack")]
            plans: Vec::new(),
            #[cfg(feature = "pack")]
            index: None,
        }
    }
}

enum Content {
    /// The hasher is 2 KB large, and most blobs are whole.
    Partial {
        bytes: Vec<u8>,
        hasher: Box<blake3::Hasher>,
    },
    Whole(Arc<[u8]>),
}

/// What a blob may serve as. The same bytes may be a file for one run and a task for another; a kind is
/// added only by whoever gives us the blob, never by asking for it.
#[derive(Clone, Copy)]
struct Kinds(u8);

impl Kinds {
    fn of(kind: BlobKind) -> Kinds {
        Kinds(match kind {
            BlobKind::Task => 1,
            BlobKind::Artifact => 2,
            BlobKind::File => 4,
            BlobKind::Stub => 8,
            BlobKind::Worker => 16,
        })
    }

    fn add(&mut self, kind: BlobKind) {
        self.0 |= Kinds::of(kind).0;
    }

    fn has(self, kind: BlobKind) -> bool {
        self.meets(Kinds::of(kind))
    }

    fn meets(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }
}

pub struct Store {
    blobs: BTreeMap<Hash, Blob>,
    /// How many runs and transfers hold a blob, whether it is here already or only expected.
    pins: BTreeMap<Hash, u32>,
    quota: u64,
    reserved: u64,
    clock: u64,
    /// Parts of all blobs together.
    #[cfg(feature = "pack")]
    parts: usize,
    #[cfg(feature = "pack")]
    kept: parts::Kept,
}

/// What came of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    More,
    Complete,
    /// Nothing in it was new, or it is of a transfer that was given up.
    Nothing,
    /// It refers to a blob that is not here (any more).
    Unknown,
}

impl Store {
    pub fn new(quota: u64) -> Store {
        Store {
            blobs: BTreeMap::new(),
            pins: BTreeMap::new(),
            quota,
            reserved: 0,
            clock: 0,
            #[cfg(feature = "pack")]
            parts: 0,
            #[cfg(feature = "pack")]
            kept: parts::Kept::new(quota),
        }
    }

    /// Bytes reserved by all blobs, whole or partial.
    pub fn bytes(&self) -> u64 {
        self.reserved
    }

    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Puts a blob that is at hand (the controller's own). Not subject to the quota.
    pub fn insert(&mut self, kind: BlobKind, bytes: Arc<[u8]>) -> Hash {
        let hash = Hash::of(&bytes);
        let used = self.tick();
        let blob = match self.blobs.entry(hash) {
            Entry::Occupied(entry) => {
                let blob = entry.into_mut();
                blob.kinds.add(kind);
                blob.used = used;
                if let Content::Partial { .. } = blob.content {
                    self.reserved =
                        self.reserved.saturating_sub(blob.total).saturating_add(bytes.len() as u64);
                    blob.total = bytes.len() as u64;
                    blob.content = Content::Whole(bytes);
                }
                blob
            }
            Entry::Vacant(entry) => {
                let total = bytes.len() as u64;
                self.reserved = self.reserved.saturating_add(total);
                entry.insert(Blob::new(kind, total, Content::Whole(bytes), used))
            }
        };
        #[cfg(feature = "pack")]
        {
            blob.own = true;
        }
        #[cfg(not(feature = "pack"))]
        let _ = blob;
        hash
    }

    /// Makes room for a blob that was offered. Returns what had to go.
    pub fn begin(&mut self, hash: Hash, kind: BlobKind, total: u64) -> Result<Vec<Hash>, Problem> {
        if let Some(blob) = self.blobs.get_mut(&hash) {
            if blob.total == total {
                blob.kinds.add(kind);
                return Ok(Vec::new());
            }
            let known = blob.total;
            // One of the two sizes is a lie; of a whole blob we know which.
            self.abandon(hash);
            return Err(damaged(hash, &format!("it was offered with {known} bytes and with {total}")));
        }
        // Nothing will come for an empty blob, so its name is checked here.
        if total == 0 && hash != Hash::of(&[]) {
            return Err(damaged(hash, "it was offered as empty, and its hash is not that of nothing"));
        }
        let gone = self.make_room(kind, total)?;
        let used = self.tick();
        self.reserved = self.reserved.saturating_add(total);
        let content = match total {
            0 => Content::Whole(Arc::from([])),
            _ => Content::Partial { bytes: Vec::new(), hasher: Box::default() },
        };
        self.blobs.insert(hash, Blob::new(kind, total, content, used));
        Ok(gone)
    }

    fn make_room(&mut self, kind: BlobKind, total: u64) -> Result<Vec<Hash>, Problem> {
        let mut evictable: Vec<(u64, Hash, u64)> = self
            .blobs
            .iter()
            .filter(|(hash, _)| !self.pins.contains_key(hash))
            .map(|(hash, blob)| (blob.used, *hash, blob.total))
            .collect();
        let bytes = evictable.iter().fold(0_u64, |sum, (_, _, total)| sum.saturating_add(*total));
        let free = self.quota.saturating_sub(self.reserved.saturating_sub(bytes));
        let full = self.blobs.len() - evictable.len() >= STORE_BLOBS_MAX;
        if total > BLOB_BYTES_MAX || total > free || full {
            let (kind, quota) = (kind.word(), self.quota);
            let message = if full {
                format!("no room for the {kind}: {STORE_BLOBS_MAX} blobs are in use in the store")
            } else {
                format!(
                    "no room for the {kind} of {total} bytes: {free} of the store's {quota} bytes could be freed, and one blob has at most {BLOB_BYTES_MAX}"
                )
            };
            return Err(Problem::new("blob.quota", message)
                .hint("use fewer or smaller modules at once; the store holds them in the target's memory"));
        }
        evictable.sort_unstable();
        let mut gone = Vec::new();
        for (_, hash, _) in evictable {
            if self.reserved.saturating_add(total) <= self.quota && self.blobs.len() < STORE_BLOBS_MAX {
                break;
            }
            self.remove(hash);
            gone.push(hash);
        }
        Ok(gone)
    }

    /// The next bytes of a partial blob. What overlaps with bytes that are here is skipped: after a blob was
    /// dropped and asked for again, pieces of both transfers may be on their way. A piece behind a gap is of
    /// such a transfer too and is left out. Too many bytes, or a wrong hash at the end: an error, and the
    /// blob is gone.
    pub fn append(&mut self, hash: Hash, offset: u64, chunk: &[u8]) -> Result<Progress, Problem> {
        let Some(blob) = self.blobs.get_mut(&hash) else { return Ok(Progress::Nothing) };
        let Content::Partial { bytes, hasher } = &mut blob.content else { return Ok(Progress::Nothing) };
        let have = bytes.len();
        let known = usize::try_from(offset).ok().and_then(|offset| have.checked_sub(offset));
        let Some(new) = known.and_then(|known| chunk.get(known..)).filter(|new| !new.is_empty()) else {
            return Ok(Progress::Nothing);
        };
        let wrong = if have as u64 + new.len() as u64 > blob.total {
            "more bytes came than were offered"
        } else {
            // Growth is by doubling, but not beyond the blob.
            let total = usize::try_from(blob.total).unwrap_or(usize::MAX);
            let capacity = (have + new.len()).max((have * 2).min(total));
            if bytes.capacity() < have + new.len() && bytes.try_reserve_exact(capacity - have).is_err() {
                "this host has no memory for it"
            } else {
                hasher.update(new);
                bytes.extend_from_slice(new);
                if (bytes.len() as u64) < blob.total {
                    return Ok(Progress::More);
                }
                if Hash(*hasher.finalize().as_bytes()) == hash {
                    blob.content = Content::Whole(core::mem::take(bytes).into());
                    return Ok(Progress::Complete);
                }
                "its bytes do not have that hash"
            }
        };
        let problem = damaged(hash, wrong);
        self.remove(hash);
        Err(problem)
    }

    /// Gives up a blob that is still arriving. A whole one stays.
    pub fn abandon(&mut self, hash: Hash) {
        if self.is_partial(hash) {
            self.remove(hash);
        }
    }

    pub fn is_partial(&self, hash: Hash) -> bool {
        self.blobs.get(&hash).is_some_and(|blob| matches!(blob.content, Content::Partial { .. }))
    }

    fn remove(&mut self, hash: Hash) {
        if let Some(blob) = self.blobs.remove(&hash) {
            self.reserved = self.reserved.saturating_sub(blob.total);
            #[cfg(feature = "pack")]
            {
                let planned: usize = blob.plans.iter().map(|(_, plan)| plan.len()).sum();
                self.parts = self.parts.saturating_sub(blob.parts.len() + planned);
                // What a liar sent is not what the next one sends.
                self.kept.forget(hash);
            }
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A whole blob of that kind.
    pub fn get(&mut self, hash: Hash, kind: BlobKind) -> Option<Arc<[u8]>> {
        let used = self.tick();
        let blob = self.blobs.get_mut(&hash).filter(|blob| blob.kinds.has(kind))?;
        blob.used = used;
        match &blob.content {
            Content::Whole(bytes) => Some(bytes.clone()),
            Content::Partial { .. } => None,
        }
    }

    /// What a blob serves as.
    pub(crate) fn kinds(&self, hash: Hash) -> Vec<BlobKind> {
        let kinds = self.blobs.get(&hash).map(|blob| blob.kinds);
        BlobKind::ALL.into_iter().filter(|kind| kinds.is_some_and(|kinds| kinds.has(*kind))).collect()
    }

    /// The size of a blob of that kind, whole or arriving.
    pub fn expected(&self, hash: Hash, kind: BlobKind) -> Option<u64> {
        self.blobs.get(&hash).filter(|blob| blob.kinds.has(kind)).map(|blob| blob.total)
    }

    /// Bytes from `offset` that are here already, at most `max`.
    pub fn read(&self, hash: Hash, offset: u64, max: usize) -> Option<&[u8]> {
        let bytes: &[u8] = match &self.blobs.get(&hash)?.content {
            Content::Partial { bytes, .. } => bytes,
            Content::Whole(bytes) => bytes,
        };
        let rest = bytes.get(usize::try_from(offset).ok()?..)?;
        rest.get(..max.min(rest.len()))
    }

    /// Keeps a blob from eviction, also one that is yet to come; undone by [`Store::unpin`].
    pub fn pin(&mut self, hash: Hash) {
        let pins = self.pins.entry(hash).or_insert(0);
        *pins = pins.saturating_add(1);
    }

    pub fn unpin(&mut self, hash: Hash) {
        if let Entry::Occupied(mut pins) = self.pins.entry(hash) {
            *pins.get_mut() = pins.get().saturating_sub(1);
            if *pins.get() == 0 {
                pins.remove();
            }
        }
    }

    /// How many blobs are held by something.
    pub fn pinned(&self) -> usize {
        self.pins.len()
    }
}

fn damaged(hash: Hash, why: &str) -> Problem {
    Problem::new("blob.damaged", format!("blob {} was damaged on its way: {why}", hash.short()))
        .hint("run it again; if that does not help, a hop on the way changes what it passes on")
}
