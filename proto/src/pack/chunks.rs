//! Content-defined chunks: cut where a rolling hash of the last bytes says so, so that equal bytes are cut alike wherever
//! they stand. The way of FastCDC: cuts are rare before the usual size and frequent after it.

use alloc::vec::Vec;

/// A chunk, bytes. Measured in docs/decisions/0031-chunks.md.
const USUAL_BYTES: usize = 1024;
const BYTES_MIN: usize = USUAL_BYTES / 4;
const BYTES_MAX: usize = USUAL_BYTES * 4;
/// How many bits more or less of the hash must be zero before and after the usual size.
const SHARPER_BITS: u32 = 2;

/// Top bits of the rolling hash: those that depend on the most bytes.
const MASK_BEFORE: u64 = !0 << (64 - USUAL_BYTES.trailing_zeros() - SHARPER_BITS);
const MASK_AFTER: u64 = !0 << (64 - USUAL_BYTES.trailing_zeros() + SHARPER_BITS);

/// A random number for each byte (splitmix64): the sender alone uses them, so they may change.
const GEAR: [u64; 256] = {
    let mut gear = [0; 256];
    let mut state: u64 = 0;
    let mut at = 0;
    while at < gear.len() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        gear[at] = mixed ^ (mixed >> 31);
        at += 1;
    }
    gear
};

/// The length of the first chunk.
pub(super) fn first(bytes: &[u8]) -> usize {
    let most = bytes.len().min(BYTES_MAX);
    let mut hash: u64 = 0;
    for (at, byte) in bytes.iter().enumerate().take(most).skip(BYTES_MIN) {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
        let mask = if at < USUAL_BYTES { MASK_BEFORE } else { MASK_AFTER };
        if hash & mask == 0 {
            return at + 1;
        }
    }
    most
}

/// Says where a chunk may be found. Whoever looks compares the bytes.
pub(super) fn fingerprint(chunk: &[u8]) -> u64 {
    let mut hash = chunk.len() as u64;
    let (words, rest) = chunk.as_chunks::<8>();
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x517C_C1B7_2722_0A95);
    }
    for byte in rest {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517C_C1B7_2722_0A95);
    }
    hash
}

/// Where in a blob each of its chunks begins: 12 to 16 bytes for each KiB.
pub struct Index(Vec<(u64, u32)>);

impl Index {
    pub fn of(bytes: &[u8]) -> Index {
        let mut chunks = Vec::with_capacity(bytes.len() / USUAL_BYTES);
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let length = first(rest);
            let begins = u32::try_from(at).unwrap_or(u32::MAX);
            chunks.push((fingerprint(rest.get(..length).unwrap_or(rest)), begins));
            at += length;
        }
        chunks.sort_unstable();
        chunks.dedup_by_key(|(fingerprint, _)| *fingerprint);
        Index(chunks)
    }

    /// The first place of a chunk with that fingerprint.
    pub(super) fn find(&self, fingerprint: u64) -> Option<usize> {
        let at = self.0.binary_search_by_key(&fingerprint, |(known, _)| *known).ok()?;
        Some(self.0.get(at)?.1 as usize)
    }
}
