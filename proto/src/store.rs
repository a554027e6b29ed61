//! Blobs in RAM: named by blake3, with a kind, a quota, and least-recently-used eviction of what no run
//! is using. A blob may be partial: it is passed on while it still arrives, and verified when whole.

use crate::id::Hash;
use crate::limits::{BLOB_BYTES_MAX, STORE_BLOBS_MAX};
use crate::msg::BlobKind;
use crate::run::Problem;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

struct Blob {
    kind: BlobKind,
    total: u64,
    content: Content,
    /// How many runs and transfers hold it here.
    pins: u32,
    used: u64,
}

enum Content {
    Partial { bytes: Vec<u8>, hasher: blake3::Hasher },
    Whole(Arc<[u8]>),
}

pub struct Store {
    blobs: BTreeMap<Hash, Blob>,
    quota: u64,
    reserved: u64,
    clock: u64,
}

/// What came of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    More,
    Complete,
}

impl Store {
    pub fn new(quota: u64) -> Store {
        Store { blobs: BTreeMap::new(), quota, reserved: 0, clock: 0 }
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
        let total = bytes.len() as u64;
        self.clock += 1;
        let used = self.clock;
        self.blobs.entry(hash).or_insert_with(|| {
            self.reserved += total;
            Blob { kind, total, content: Content::Whole(bytes), pins: 0, used }
        });
        hash
    }

    /// Makes room for a blob that was offered. Returns what had to go.
    pub fn begin(&mut self, hash: Hash, kind: BlobKind, total: u64) -> Result<Vec<Hash>, Problem> {
        if self.blobs.contains_key(&hash) {
            return Ok(Vec::new());
        }
        let quota = self.quota;
        let full = |free: u64| {
            let kind = kind.word();
            Problem::new(
                "blob.quota",
                format!("no room for the {kind} of {total} bytes: {free} of the store's {quota} bytes could be freed"),
            )
            .hint("fewer or smaller modules at once; the store holds them in the target's memory")
        };
        let evictable: u64 = self.blobs.values().filter(|blob| blob.pins == 0).map(|blob| blob.total).sum();
        let free = self.quota.saturating_sub(self.reserved) + evictable;
        if total > BLOB_BYTES_MAX || total > free {
            return Err(full(free));
        }
        let mut gone = Vec::new();
        while self.reserved + total > self.quota || self.blobs.len() >= STORE_BLOBS_MAX {
            let oldest = self.blobs.iter().filter(|(_, blob)| blob.pins == 0).min_by_key(|(_, blob)| blob.used);
            let Some((oldest, _)) = oldest else { return Err(full(free)) };
            let oldest = *oldest;
            self.remove(oldest);
            gone.push(oldest);
        }
        self.clock += 1;
        self.reserved += total;
        let content = match total {
            // Nothing will come for it, so nothing would complete it.
            0 => Content::Whole(Arc::from([])),
            _ => Content::Partial { bytes: Vec::new(), hasher: blake3::Hasher::new() },
        };
        self.blobs.insert(hash, Blob { kind, total, content, pins: 0, used: self.clock });
        Ok(gone)
    }

    /// The next bytes of a partial blob. Wrong offset, too many bytes or a wrong hash at the end: an error,
    /// and the blob is gone.
    pub fn append(&mut self, hash: Hash, offset: u64, chunk: &[u8]) -> Result<Progress, Problem> {
        let Some(blob) = self.blobs.get_mut(&hash) else {
            return Err(Problem::new("blob.unasked", format!("bytes of blob {} came without an offer", hash.short())));
        };
        let Content::Partial { bytes, hasher } = &mut blob.content else {
            return Ok(Progress::Complete);
        };
        let wrong = if offset != bytes.len() as u64 || offset + chunk.len() as u64 > blob.total {
            Some("its pieces are not in order")
        } else {
            hasher.update(chunk);
            bytes.extend_from_slice(chunk);
            if (bytes.len() as u64) < blob.total {
                return Ok(Progress::More);
            }
            (Hash(*hasher.finalize().as_bytes()) != hash).then_some("its bytes do not have that hash")
        };
        if let Some(wrong) = wrong {
            let kind = blob.kind.word();
            self.remove(hash);
            return Err(Problem::new("blob.damaged", format!("{kind} {} was damaged on its way: {wrong}", hash.short())));
        }
        blob.content = Content::Whole(core::mem::take(bytes).into());
        Ok(Progress::Complete)
    }

    fn remove(&mut self, hash: Hash) {
        if let Some(blob) = self.blobs.remove(&hash) {
            self.reserved -= blob.total;
        }
    }

    /// A whole blob of that kind.
    pub fn get(&mut self, hash: Hash, kind: BlobKind) -> Option<Arc<[u8]>> {
        self.clock += 1;
        let clock = self.clock;
        let blob = self.blobs.get_mut(&hash).filter(|blob| blob.kind == kind)?;
        blob.used = clock;
        match &blob.content {
            Content::Whole(bytes) => Some(bytes.clone()),
            Content::Partial { .. } => None,
        }
    }

    /// The size of a blob of that kind, whole or arriving.
    pub fn expected(&self, hash: Hash, kind: BlobKind) -> Option<u64> {
        self.blobs.get(&hash).filter(|blob| blob.kind == kind).map(|blob| blob.total)
    }

    pub fn kind(&self, hash: Hash) -> Option<BlobKind> {
        self.blobs.get(&hash).map(|blob| blob.kind)
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

    /// Keeps a blob from eviction; undone by [`Store::unpin`].
    pub fn pin(&mut self, hash: Hash) {
        if let Some(blob) = self.blobs.get_mut(&hash) {
            blob.pins += 1;
        }
    }

    pub fn unpin(&mut self, hash: Hash) {
        if let Some(blob) = self.blobs.get_mut(&hash) {
            blob.pins = blob.pins.saturating_sub(1);
        }
    }
}
