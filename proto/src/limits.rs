//! Every bound of the protocol, with its unit and its duty. Compared with each other at compile time
//! at the end of the page, so that no two can drift apart.

/// A frame on the wire, header included, bytes. A control message never waits longer than one of these.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// length u16 little-endian, lane u8.
pub const FRAME_HEADER_BYTES: usize = 3;
/// Messages of one frame, together, bytes.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - FRAME_HEADER_BYTES;
/// Messages in one frame. Decoding is linear in this, whatever a peer sends.
pub const MESSAGES_PER_FRAME_MAX: usize = 4096;

/// Bytes of blob in one `Chunk`, or of output in one `Output`: leaves room for its envelope in a frame.
pub const CHUNK_BYTES_MAX: usize = 32 * 1024;
/// Parameters up to this travel inside the run order; larger ones are a blob.
pub const INLINE_INPUT_BYTES_MAX: usize = 16 * 1024;
/// The signed envelope of a run, bytes.
pub const ENVELOPE_BYTES_MAX: usize = 24 * 1024;

/// Bulk bytes either side may send before the peer has said anything. One per link and direction.
pub const WINDOW_INITIAL_BYTES: u32 = 256 * 1024;
/// What a child grants its parent (blobs, whose memory is the store's anyway), and what the
/// root grants its children: one bandwidth-delay product of 100 Mbit/s at 300 ms.
pub const WINDOW_WIDE_BYTES: u32 = 4 * 1024 * 1024;
/// More credit than this at once is a broken or hostile peer.
pub const CREDIT_MAX: u32 = 64 * 1024 * 1024;

/// Control messages waiting to be sent on one link, bytes. Beyond it the link is given up: a peer that
/// does not read its control lane is not there.
pub const CONTROL_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Own output (of executions on this node) waiting for the parent, bytes; beyond it the executor pauses.
pub const OWN_OUTPUT_QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Targets named in one dial order; the sender splits longer lists.
pub const DIAL_TARGETS_MAX: usize = 64;
/// Ranges in one multicast.
pub const RANGES_MAX: usize = 4096;
/// Orders a hop keeps for one child that is still being dialled.
pub const HELD_ORDERS_MAX: usize = 256;
/// Orders that may wait for blobs on one node.
pub const WAITING_RUNS_MAX: usize = 256;

/// Blobs in one store: bytes, and how many.
pub const STORE_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
pub const STORE_BLOBS_MAX: usize = 1024;
/// One blob, bytes.
pub const BLOB_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A keep-alive each this many milliseconds, both ways, when nothing else was sent.
pub const KEEPALIVE_INTERVAL_MS: u64 = 5_000;
/// Silent intervals until a peer counts as offline.
pub const KEEPALIVE_OFFLINE: u32 = 3;
/// Answered intervals until an offline peer counts as online again.
pub const KEEPALIVE_ONLINE: u32 = 2;
/// Silent intervals until the link is given up for lost.
pub const KEEPALIVE_LOST: u32 = 6;

/// From the preamble to the peer's hello (or welcome), milliseconds.
pub const HELLO_DEADLINE_MS: u64 = 60_000;
/// A run may wait this long for a blob without a byte of it arriving, milliseconds.
pub const FETCH_IDLE_MS: u64 = 60_000;
/// From the order to stop until everything of ours is gone, milliseconds.
pub const SHUTDOWN_MS: u64 = 5_000;
/// A signature ordered by the controller must be asked for within this, milliseconds.
pub const SIGN_ORDER_MS: u64 = 60_000;

/// Bytes before the preamble that a login may print (banner, rc files) before we give up.
pub const NOISE_BYTES_MAX: usize = 256 * 1024;

const _: () = {
    assert!(BODY_BYTES_MAX <= u16::MAX as usize);
    assert!(CHUNK_BYTES_MAX * 2 <= FRAME_BYTES_MAX, "a chunk and its envelope fit a frame");
    assert!(ENVELOPE_BYTES_MAX + INLINE_INPUT_BYTES_MAX + 8 * 1024 <= BODY_BYTES_MAX, "a run fits a frame");
    assert!(WINDOW_INITIAL_BYTES as usize >= 2 * FRAME_BYTES_MAX, "a window holds whole frames");
    assert!(WINDOW_WIDE_BYTES >= WINDOW_INITIAL_BYTES && CREDIT_MAX > WINDOW_WIDE_BYTES);
    assert!(KEEPALIVE_LOST > KEEPALIVE_OFFLINE);
    assert!(SHUTDOWN_MS < HELLO_DEADLINE_MS);
};
