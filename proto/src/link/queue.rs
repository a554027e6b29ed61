//! Encoded messages of one lane, oldest first, packed into frames as they leave.

use crate::frame::Lane;
use crate::limits::{BODY_BYTES_MAX, MESSAGES_PER_FRAME_MAX, QUEUED_OVERHEAD_BYTES};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A message that has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent<T> {
    pub lane: Lane,
    /// Its size on the wire.
    pub bytes: u32,
    pub tag: Option<T>,
}

pub(super) struct Queue<T> {
    messages: VecDeque<(Vec<u8>, Option<T>)>,
    bytes: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { messages: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, bytes: Vec<u8>, tag: Option<T>) {
        self.bytes += bytes.len();
        self.messages.push_back((bytes, tag));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes + self.messages.len() * QUEUED_OVERHEAD_BYTES
    }

    pub(super) fn front_bytes(&self) -> Option<usize> {
        self.messages.front().map(|(bytes, _)| bytes.len())
    }

    /// Moves the oldest messages to `body`, as many as one frame holds and `credit` pays for.
    pub(super) fn pack(&mut self, lane: Lane, credit: usize, body: &mut Vec<u8>, sent: &mut Vec<Sent<T>>) {
        let room = credit.min(BODY_BYTES_MAX);
        for _ in 0..MESSAGES_PER_FRAME_MAX {
            if self.front_bytes().is_none_or(|next| body.len() + next > room) {
                break;
            }
            let Some((next, tag)) = self.messages.pop_front() else { break };
            self.bytes -= next.len();
            sent.push(Sent { lane, bytes: next.len() as u32, tag });
            body.extend_from_slice(&next);
        }
    }
}
