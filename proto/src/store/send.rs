//! The next message of a blob for a child, as small as what the child has allows.

use super::parts::{PARTS_MAX, Part, Piece, Plan, Source, part_at};
use super::{Blob, Content, Store};
use crate::id::Hash;
use crate::limits::{CHUNK_BYTES_MAX, COPY_BYTES_MAX};
use crate::msg::{BlobKind, Dictionary, Msg};
use crate::pack::{Index, pack, plan};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Blobs under this are neither looked through nor looked for in others, bytes.
const ALIKE_BYTES_MIN: usize = 32 * 1024;
/// Nor are larger ones: it takes 10 ms for 3 MB, and all links wait.
const ALIKE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Blobs that one is compared with: the ones used last.
const SOURCES_MAX: usize = 4;
/// Plans that are kept of one blob: children that have different blobs each need one of their own.
const PLANS_MAX: usize = 4;

impl Store {
    /// Before a blob is sent: looks for what it has in common with the blobs that the child has. `None`: nothing is to be
    /// compared. A hop knows it from how the blob came.
    pub fn compare(&mut self, hash: Hash, has: impl Fn(Hash) -> bool) -> Option<Plan> {
        let blob = self.blobs.get(&hash).filter(|blob| blob.own && comparable(blob))?;
        let Content::Whole(bytes) = &blob.content else { return None };
        let bytes = bytes.clone();
        let alike = |(other, known): &(&Hash, &Blob)| {
            **other != hash && comparable(known) && known.kinds.meets(blob.kinds) && has(**other)
        };
        let mut sources: Vec<(u64, Hash)> =
            self.blobs.iter().filter(alike).map(|(other, known)| (known.used, *other)).collect();
        sources.sort_unstable_by(|one, other| other.cmp(one));
        sources.truncate(SOURCES_MAX);
        let sources: Vec<Hash> = sources.into_iter().map(|(_, source)| source).collect();
        if sources.is_empty() {
            return None;
        }
        if let Some((_, plan)) = blob.plans.iter().find(|(compared, _)| *compared == sources) {
            return Some(plan.clone());
        }
        // A plan that a transfer goes by stays. When all of them do, the newest must do: what a child has not got of it
        // is sent as it is.
        if blob.plans.len() >= PLANS_MAX && !self.drop_plan(hash) {
            return self.blobs.get(&hash)?.plans.last().map(|(_, plan)| plan.clone());
        }
        let indexed: Vec<(Hash, Arc<[u8]>, Arc<Index>)> =
            sources.iter().filter_map(|source| self.indexed(*source)).collect();
        let known: Vec<(Hash, &[u8], &Index)> =
            indexed.iter().map(|(source, bytes, index)| (*source, bytes.as_ref(), index.as_ref())).collect();
        let mut parts = plan(&bytes, &known);
        while self.parts + parts.len() > PARTS_MAX {
            if !self.drop_plan(hash) {
                parts.clear();
                break;
            }
        }
        self.parts += parts.len();
        let plan = Plan::from(parts);
        self.blobs.get_mut(&hash)?.plans.push((sources, plan.clone()));
        Some(plan)
    }

    /// Drops the oldest plan of a blob that no transfer goes by.
    fn drop_plan(&mut self, hash: Hash) -> bool {
        let Some(blob) = self.blobs.get_mut(&hash) else { return false };
        let idle = |(_, plan): &(Vec<Hash>, Plan)| Arc::strong_count(plan) == 1;
        let Some(at) = blob.plans.iter().position(idle) else { return false };
        let (_, plan) = blob.plans.remove(at);
        self.parts = self.parts.saturating_sub(plan.len());
        true
    }

    fn indexed(&mut self, hash: Hash) -> Option<(Hash, Arc<[u8]>, Arc<Index>)> {
        let blob = self.blobs.get_mut(&hash)?;
        let Content::Whole(bytes) = &blob.content else { return None };
        let index = blob.index.get_or_insert_with(|| Arc::new(Index::of(bytes))).clone();
        Some((hash, bytes.clone(), index))
    }

    /// The next message of a transfer, and how many bytes of the blob it stands for. `has` says which blobs the child has,
    /// `plan` what [`Store::compare`] gave for it.
    pub fn message(
        &mut self,
        hash: Hash,
        offset: u64,
        plan: Option<&Plan>,
        has: impl Fn(Hash) -> bool,
    ) -> Option<(Msg, u64)> {
        let blob = self.blobs.get(&hash)?;
        let (part, next) = part_at(plan.map_or(&blob.parts[..], |plan| plan), offset);
        let ready = self.read(hash, offset, COPY_BYTES_MAX).filter(|ready| !ready.is_empty())?;
        let usable = |part: &Part| part.source.from().is_some_and(&has) && part.bytes as usize <= ready.len();
        let part = part.map(|part| match part {
            part if part.offset == offset && usable(&part) => part,
            part => {
                // Up to the end of the part, so that the next one is met where it begins.
                let end = part.offset + u64::from(part.bytes);
                let bytes = (end - offset).min(ready.len().min(CHUNK_BYTES_MAX) as u64) as u32;
                Part { offset, bytes, source: Source::None }
            }
        });
        let plain = || {
            let room = next.map_or(u64::MAX, |next| next - offset);
            let bytes = room.min(ready.len().min(CHUNK_BYTES_MAX) as u64) as u32;
            Part { offset, bytes, source: Source::None }
        };
        let part = part.unwrap_or_else(plain);
        let size = u64::from(part.bytes);
        if let Source::Copy { from, at } = part.source {
            return Some((Msg::Copy { hash, offset, from, at, bytes: size }, size));
        }
        let ready = ready.get(..part.bytes as usize)?;
        // Stubs were compressed by whoever built them.
        let packs = !blob.kinds.has(BlobKind::Stub);
        let (source, dictionary) = match part.source {
            Source::Dictionary { from, at, bytes } => match self.stretch(from, at, bytes as usize) {
                Some(known) => (part.source, known),
                None => (Source::None, &[][..]),
            },
            _ => (Source::None, &[][..]),
        };
        let kept = self.kept.get(hash, offset, source).filter(|kept| kept.size == part.bytes);
        let (packed, new) = match kept {
            Some(kept) => (kept.packed.clone(), false),
            None if packs => (pack(dictionary, ready), true),
            None => (None, false),
        };
        let dictionary = match source {
            Source::Dictionary { from, at, bytes } => Some(Dictionary { from, at, bytes }),
            _ => None,
        };
        let msg = match &packed {
            Some(bytes) => Msg::Packed { hash, offset, size: part.bytes, dictionary, bytes: bytes.clone() },
            None => Msg::Chunk { hash, offset, bytes: ready.to_vec() },
        };
        if new {
            self.kept.keep(hash, offset, source, Piece { size: part.bytes, packed });
        }
        Some((msg, size))
    }

    /// Notes how the next bytes of a blob came.
    pub(super) fn note(&mut self, hash: Hash, part: Part, piece: Option<Piece>) {
        if self.parts >= PARTS_MAX {
            return;
        }
        let Some(blob) = self.blobs.get_mut(&hash) else { return };
        blob.parts.push(part);
        self.parts += 1;
        if let Some(piece) = piece {
            self.kept.keep(hash, part.offset, part.source, piece);
        }
    }
}

fn comparable(blob: &Blob) -> bool {
    let whole = matches!(&blob.content, Content::Whole(bytes) if (ALIKE_BYTES_MIN..=ALIKE_BYTES_MAX).contains(&bytes.len()));
    whole && !blob.kinds.has(BlobKind::Stub)
}
