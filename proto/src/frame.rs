//! Frames: `length u16 LE | lane u8 | body`, at most 64 KiB. A body is one or more messages, end to end.
//!
//! Two lanes: control goes before bulk, and only bulk costs credit.

#[cfg(test)]
mod tests;

use crate::limits::{BODY_BYTES_MAX, FRAME_HEADER_BYTES};
use alloc::vec::Vec;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    Control,
    Bulk,
}

impl Lane {
    fn byte(self) -> u8 {
        match self {
            Lane::Control => 0,
            Lane::Bulk => 1,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub lane: Lane,
    pub body: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    Empty,
    TooLong(usize),
    UnknownLane(u8),
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FrameError::Empty => write!(f, "a frame without a body"),
            FrameError::TooLong(bytes) => {
                write!(f, "a frame of {bytes} bytes, the most is {BODY_BYTES_MAX}")
            }
            FrameError::UnknownLane(lane) => write!(f, "a frame in lane {lane}, which does not exist"),
        }
    }
}

/// Appends a frame. The caller keeps bodies within [`BODY_BYTES_MAX`]; a longer one is refused here.
pub fn encode(lane: Lane, body: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    let length = match u16::try_from(body.len()) {
        Ok(0) => return Err(FrameError::Empty),
        Ok(length) if body.len() <= BODY_BYTES_MAX => length,
        _ => return Err(FrameError::TooLong(body.len())),
    };
    out.extend_from_slice(&length.to_le_bytes());
    out.push(lane.byte());
    out.extend_from_slice(body);
    Ok(())
}

/// Takes bytes in any portions, gives whole frames. Holds at most one frame.
#[derive(Default)]
pub struct Decoder {
    partial: Vec<u8>,
}

impl Decoder {
    /// Takes what it needs from the front of `bytes`; returns a frame as soon as one is whole.
    /// Call again until it returns `None`, which means that `bytes` is used up.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        while self.partial.len() < FRAME_HEADER_BYTES {
            let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
            self.partial.push(*first);
            *bytes = rest;
        }
        let [low, high, lane, ..] = self.partial[..] else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes([low, high]));
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if length > BODY_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let lane = match lane {
            0 => Lane::Control,
            1 => Lane::Bulk,
            other => return Err(FrameError::UnknownLane(other)),
        };
        let missing = FRAME_HEADER_BYTES + length - self.partial.len();
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        self.partial.extend_from_slice(taken);
        *bytes = rest;
        if taken.len() < missing {
            return Ok(None);
        }
        let mut body = core::mem::take(&mut self.partial);
        body.drain(..FRAME_HEADER_BYTES);
        Ok(Some(Frame { lane, body }))
    }
}
