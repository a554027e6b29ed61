//! Blobs made small for the wire, at whoever sends them: pieces are deflated, with bytes of a blob that the receiver
//! has as a dictionary, and what stands in such a blob as it is, is named in place of being sent.
//!
//! The sender has both blobs, so what it names it has compared: chunks (content-defined, [`chunks`]) only tell it where to
//! look. The receiver needs no index and answers nothing.

mod chunks;
mod plan;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
pub use chunks::Index;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
pub use plan::plan;

/// How hard deflate looks. Measured in docs/decisions/0031-chunks.md.
const LEVEL: i32 = 3;
/// With a dictionary: the same piece stands there with small changes, and it pays to find it.
const LEVEL_WITH_DICTIONARY: i32 = 6;
/// Raw deflate, the largest window.
const WINDOW_BITS: i32 = -15;
/// Pieces under this are sent as they are, bytes.
const PACKED_BYTES_MIN: usize = 128;
/// What deflate adds at most to bytes that it cannot make smaller, with room to spare, bytes.
const SLACK_BYTES: usize = 1024;

/// The piece deflated, if that makes it an eighth smaller or more.
pub fn pack(dictionary: &[u8], piece: &[u8]) -> Option<Vec<u8>> {
    if piece.len() < PACKED_BYTES_MIN {
        return None;
    }
    let level = if dictionary.is_empty() { LEVEL } else { LEVEL_WITH_DICTIONARY };
    let flags = create_comp_flags_from_zip_params(level, WINDOW_BITS, 0);
    let mut state = Box::new(CompressorOxide::new(flags));
    let mut out = vec![0; dictionary.len().max(piece.len()) + SLACK_BYTES];
    if !dictionary.is_empty() {
        // What this gives is thrown away: the receiver has these bytes.
        let (status, read, _) = compress(&mut state, dictionary, &mut out, TDEFLFlush::Sync);
        if status != TDEFLStatus::Okay || read != dictionary.len() {
            return None;
        }
    }
    let (status, _, written) = compress(&mut state, piece, &mut out, TDEFLFlush::Finish);
    out.truncate(written);
    // Pieces are kept, and most are far smaller than the room they were given.
    out.shrink_to_fit();
    (status == TDEFLStatus::Done && written <= piece.len() / 8 * 7).then_some(out)
}
