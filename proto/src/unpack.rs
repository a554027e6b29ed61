//! Bytes that were deflated for the wire. What they become is bounded by what their message announced.

use crate::limits::{CHUNK_BYTES_MAX, DICTIONARY_BYTES_MAX};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// The bytes of a `Packed`: exactly `size` of them. `dictionary` is what may be referred to as if it stood before them.
pub fn unpack(dictionary: &[u8], packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
    if size == 0 || size > CHUNK_BYTES_MAX {
        return Err(format!("packed bytes that stand for {size}, not for 1 to {CHUNK_BYTES_MAX}"));
    }
    if packed.len() >= size {
        return Err(format!("{} packed bytes that stand for only {size}", packed.len()));
    }
    if dictionary.len() > DICTIONARY_BYTES_MAX {
        return Err(format!("a dictionary of {} bytes", dictionary.len()));
    }
    let before = dictionary.len();
    let mut out = Vec::with_capacity(before + size);
    out.extend_from_slice(dictionary);
    out.resize(before + size, 0);
    let mut state = Box::<DecompressorOxide>::default();
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = decompress(&mut state, packed, &mut out, before, flags);
    match status {
        TINFLStatus::Done if written == size && read == packed.len() => {
            out.drain(..before);
            Ok(out)
        }
        TINFLStatus::Done if written == size => Err("packed bytes with others behind them".into()),
        TINFLStatus::Done => {
            Err(format!("packed bytes that stand for {written}, not for {size} as was said"))
        }
        TINFLStatus::HasMoreOutput => {
            Err(format!("packed bytes that stand for more than the {size} that were said"))
        }
        _ => Err("packed bytes that are no deflate".into()),
    }
}
