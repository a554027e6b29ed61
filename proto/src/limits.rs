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
/// Bytes of another blob in one `Copy`: what a message makes a node do stays small.
pub const COPY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of another blob that a `Packed` may refer to: as far as deflate looks back.
pub const DICTIONARY_BYTES_MAX: usize = 32 * 1024;
/// Parameters up to this travel inside the run order; larger ones are a blob.
pub const INLINE_INPUT_BYTES_MAX: usize = 16 * 1024;
/// A hello as a message, bytes: its parent passes it on in a frame of its own, with a few bytes around it.
pub const HELLO_BYTES_MAX: usize = 8 * 1024;
/// The texts of a problem, bytes each; what is longer is cut before a node passes it on.
pub const PROBLEM_CODE_BYTES_MAX: usize = 64;
pub const PROBLEM_TEXT_BYTES_MAX: usize = 4 * 1024;
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
/// What a waiting message takes in memory besides its bytes (a slot and an allocation), bytes, by eye:
/// without it, a million messages of one byte would count as one megabyte.
pub const QUEUED_OVERHEAD_BYTES: usize = 64;
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
/// Runs that ended on a node and are remembered, so that an order that comes twice is done once.
pub const ENDED_RUNS_MAX: usize = 1024;
/// Blobs one child may ask for: the last ones that orders to it have named.
pub const NAMED_BLOBS_MAX: usize = 1024;

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
pub const HELLO_DEADLINE_MS: u64 = 20_000;
/// A run may wait this long for a blob without a byte of it arriving, milliseconds.
pub const FETCH_IDLE_MS: u64 = 60_000;
/// A transfer that was fed nothing for so long goes before older ones, once: behind a long transfer on a
/// slow link a run would else count as forgotten. Milliseconds.
pub const TRANSFER_STARVED_MS: u64 = FETCH_IDLE_MS / 4;
/// From the opening of a child's link to its preamble, when whoever delivers has no earlier deadline of
/// its own: 10 MB at 1 Mbit/s take 80 s. Milliseconds.
pub const DELIVERY_DEADLINE_MS: u64 = 600_000;
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
    assert!(HELLO_BYTES_MAX + 64 <= BODY_BYTES_MAX, "a hello fits a frame when its parent passes it on");
    assert!(PROBLEM_CODE_BYTES_MAX + 2 * PROBLEM_TEXT_BYTES_MAX + 64 <= BODY_BYTES_MAX);
    assert!(RANGES_MAX * 10 + PROBLEM_TEXT_BYTES_MAX + 256 <= BODY_BYTES_MAX, "a dead letter fits a frame");
    assert!(NAMED_BLOBS_MAX >= STORE_BLOBS_MAX && TRANSFER_STARVED_MS * 2 < FETCH_IDLE_MS);
    assert!(WINDOW_INITIAL_BYTES as usize >= 2 * FRAME_BYTES_MAX, "a window holds whole frames");
    assert!(WINDOW_WIDE_BYTES >= WINDOW_INITIAL_BYTES && CREDIT_MAX > WINDOW_WIDE_BYTES);
    assert!(KEEPALIVE_LOST > KEEPALIVE_OFFLINE);
    assert!(SHUTDOWN_MS < HELLO_DEADLINE_MS);
};
