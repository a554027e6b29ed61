//! What of a blob stands in others that the receiver has.

use super::chunks::{Index, fingerprint, first};
use crate::id::Hash;
use crate::limits::{COPY_BYTES_MAX, DICTIONARY_BYTES_MAX};
use crate::store::parts::{Part, Source};
use alloc::vec::Vec;

/// A shorter stretch is not worth a message, bytes.
const COPY_BYTES_MIN: usize = 256;
/// A piece that is deflated with a dictionary, bytes. With what is around its like it is less than deflate looks back.
const PIECE_BYTES: usize = 16 * 1024;
/// How far from where it is expected the like of a piece may begin or end, bytes.
const AROUND_BYTES: usize = 4 * 1024;

/// What is compared at once, bytes.
const BLOCK_BYTES: usize = 4 * 1024;

const _: () = assert!(PIECE_BYTES + 2 * AROUND_BYTES <= DICTIONARY_BYTES_MAX);

/// All of `bytes` in order, as parts of `sources` and as pieces that resemble what is around there; none when they have
/// nothing in common.
pub fn plan(bytes: &[u8], sources: &[(Hash, &[u8], &Index)]) -> Vec<Part> {
    let mut parts = Parts { parts: Vec::new(), any: false };
    // What is expected next: this source, from here.
    let mut expected = (0, 0);
    let (mut done, mut at) = (0, 0);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let chunk = rest.get(..first(rest)).unwrap_or(rest);
        if let Some((source, begin, there, length)) = longest(bytes, done, at, chunk, sources) {
            parts.pieces(done, begin, expected, sources);
            parts.copies(begin, there, length, sources.get(source).map(|source| source.0));
            done = begin + length;
            expected = (source, there + length);
        }
        at = done.max(at + chunk.len());
    }
    parts.pieces(done, bytes.len(), expected, sources);
    if parts.any { parts.parts } else { Vec::new() }
}

/// A chunk that stands in a source, with all that is equal before and behind it: which source, where it begins here and
/// there, how long it is.
fn longest(
    bytes: &[u8],
    done: usize,
    at: usize,
    chunk: &[u8],
    sources: &[(Hash, &[u8], &Index)],
) -> Option<(usize, usize, usize, usize)> {
    let fingerprint = fingerprint(chunk);
    let known = |(_, known, index): &(Hash, &[u8], &Index)| {
        let there = index.find(fingerprint)?;
        known.get(there..)?.starts_with(chunk).then_some(there)
    };
    let found = sources.iter().enumerate().find_map(|(number, source)| Some((number, known(source)?)));
    let (number, there) = found?;
    let (_, source, _) = sources.get(number)?;
    let before = equal_behind(bytes.get(done..at)?, source.get(..there)?);
    let behind = equal_ahead(bytes.get(at..)?, source.get(there..)?);
    let length = before + behind;
    (length >= COPY_BYTES_MIN).then_some((number, at - before, there - before, length))
}

/// How many bytes both begin with. Compared in blocks: most of what is compared is equal.
fn equal_ahead(one: &[u8], other: &[u8]) -> usize {
    let blocks = one.chunks_exact(BLOCK_BYTES).zip(other.chunks_exact(BLOCK_BYTES));
    let equal = blocks.take_while(|(one, other)| one == other).count() * BLOCK_BYTES;
    let rest = one.iter().skip(equal).zip(other.iter().skip(equal));
    equal + rest.take_while(|(one, other)| one == other).count()
}

/// How many bytes both end with.
fn equal_behind(one: &[u8], other: &[u8]) -> usize {
    let blocks = one.rchunks_exact(BLOCK_BYTES).zip(other.rchunks_exact(BLOCK_BYTES));
    let equal = blocks.take_while(|(one, other)| one == other).count() * BLOCK_BYTES;
    let rest = one.iter().rev().skip(equal).zip(other.iter().rev().skip(equal));
    equal + rest.take_while(|(one, other)| one == other).count()
}

struct Parts {
    parts: Vec<Part>,
    /// Something is copied.
    any: bool,
}

impl Parts {
    fn copies(&mut self, begin: usize, there: usize, length: usize, from: Option<Hash>) {
        let Some(from) = from else { return };
        self.any = true;
        let mut copied = 0;
        while copied < length {
            let bytes = (length - copied).min(COPY_BYTES_MAX);
            let source = Source::Copy { from, at: (there + copied) as u64 };
            self.parts.push(Part { offset: (begin + copied) as u64, bytes: bytes as u32, source });
            copied += bytes;
        }
    }

    fn pieces(
        &mut self,
        begin: usize,
        end: usize,
        (number, mut there): (usize, usize),
        sources: &[(Hash, &[u8], &Index)],
    ) {
        let Some((from, source, _)) = sources.get(number) else { return };
        let mut at = begin;
        while at < end {
            let bytes = (end - at).min(PIECE_BYTES);
            let first = there.saturating_sub(AROUND_BYTES).min(source.len());
            let last = there.saturating_add(bytes + AROUND_BYTES).min(source.len());
            let source = Source::Dictionary { from: *from, at: first as u64, bytes: (last - first) as u32 };
            let source = if first == last { Source::None } else { source };
            self.parts.push(Part { offset: at as u64, bytes: bytes as u32, source });
            at += bytes;
            there += bytes;
        }
    }
}
