//! Flow control for what clients send: how much of it waits for slow processes, and what happens then.
//!
//! russh gives a channel new window as soon as bytes *arrive*, and delivers them from the task that also
//! sends: a handler that waits for a full pipe would stop its own output, and `cat` fed faster than it is
//! read would hang for ever. So nothing here ever waits. Bytes go into a queue, the queue is counted, and
//! above [`HIGH_WATER_BYTES`] the windows shrink to [`TRICKLE_WINDOW_BYTES`]: a client that keeps the
//! protocol then has next to nothing to send, while its window updates and closes still come through.
//! The trickle is what keeps a grant from being the last one: russh asks for the next window size only
//! when it grants one.
//!
//! Invariant, per connection with one channel: queued bytes stay below the high water mark plus two windows. Every
//! further channel may add one window. The trickle adds some kilobytes a minute while a reader is stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// What sshd gives a session channel: enough for 100 Mbit/s at 160 ms.
pub(super) const WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// The smallest window russh still renews: it grants below half of it, and half of one is nothing.
const TRICKLE_WINDOW_BYTES: u32 = 2;

/// Above this, a connection's windows shrink.
const HIGH_WATER_BYTES: usize = 1024 * 1024;

/// Below this they grow again. Enough to feed a process while the new window travels.
const LOW_WATER_BYTES: usize = 256 * 1024;

/// How long each read from the client waits while windows are shrunk, so that two-byte packets cost no
/// processor worth mentioning. Chosen by eye.
const TRICKLE_PAUSE: Duration = Duration::from_millis(20);

/// What one queued packet costs beyond its bytes. Keeps a flood of one-byte packets from counting as nothing.
const PACKET_OVERHEAD_BYTES: usize = 64;

/// What waits on one connection for its processes to read it.
#[derive(Default)]
pub(super) struct Backlog {
    queued_bytes: AtomicUsize,
    shrunk: AtomicBool,
    relieved: Notify,
}

impl Backlog {
    /// Counts `bytes` until the returned chunk is dropped, written or not.
    pub(super) fn hold(self: &Arc<Backlog>, bytes: &[u8]) -> Chunk {
        let cost = bytes.len() + PACKET_OVERHEAD_BYTES;
        if self.queued_bytes.fetch_add(cost, Ordering::Relaxed) + cost > HIGH_WATER_BYTES {
            self.shrunk.store(true, Ordering::Relaxed);
        }
        Chunk { bytes: bytes.to_vec(), backlog: Arc::clone(self) }
    }

    /// The window to aim at from the next grant on.
    pub(super) fn window_bytes(&self) -> u32 {
        if self.shrunk.load(Ordering::Relaxed) { TRICKLE_WINDOW_BYTES } else { WINDOW_BYTES }
    }

    /// Returns at once while all is well; else when the backlog has drained, or after a short while.
    pub(super) async fn pause_while_shrunk(&self) {
        if self.shrunk.load(Ordering::Relaxed) {
            // Running out of time is the trickle: nothing to report.
            let _ = tokio::time::timeout(TRICKLE_PAUSE, self.relieved.notified()).await;
        }
    }

    fn release(&self, cost: usize) {
        let before = self.queued_bytes.fetch_sub(cost, Ordering::Relaxed);
        if before.saturating_sub(cost) < LOW_WATER_BYTES && self.shrunk.swap(false, Ordering::Relaxed) {
            self.relieved.notify_waiters();
        }
    }
}

/// Bytes of a client on their way to a process.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    backlog: Arc<Backlog>,
}

impl Chunk {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.backlog.release(self.bytes.len() + PACKET_OVERHEAD_BYTES);
    }
}
