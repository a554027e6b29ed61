//! The page about the protocol and the code say the same numbers.

use std::collections::BTreeMap;
use waft_proto::limits::*;

const PAGE: &str = include_str!("../../docs/protocol.md");
const LIMITS: &str = include_str!("../src/limits.rs");

macro_rules! values {
    ($($name:ident),* $(,)?) => {
        BTreeMap::from([$((stringify!($name), $name as u64)),*])
    };
}

fn constants() -> BTreeMap<&'static str, u64> {
    values![
        FRAME_BYTES_MAX,
        FRAME_HEADER_BYTES,
        BODY_BYTES_MAX,
        MESSAGES_PER_FRAME_MAX,
        CHUNK_BYTES_MAX,
        COPY_BYTES_MAX,
        DICTIONARY_BYTES_MAX,
        INLINE_INPUT_BYTES_MAX,
        HELLO_BYTES_MAX,
        PROBLEM_CODE_BYTES_MAX,
        PROBLEM_TEXT_BYTES_MAX,
        ENVELOPE_BYTES_MAX,
        WINDOW_INITIAL_BYTES,
        WINDOW_WIDE_BYTES,
        CREDIT_MAX,
        CONTROL_QUEUE_BYTES_MAX,
        QUEUED_OVERHEAD_BYTES,
        OWN_OUTPUT_QUEUE_BYTES_MAX,
        DIAL_TARGETS_MAX,
        RANGES_MAX,
        HELD_ORDERS_MAX,
        WAITING_RUNS_MAX,
        ENDED_RUNS_MAX,
        NAMED_BLOBS_MAX,
        STORE_BYTES_DEFAULT,
        STORE_BLOBS_MAX,
        BLOB_BYTES_MAX,
        KEEPALIVE_INTERVAL_MS,
        KEEPALIVE_OFFLINE,
        KEEPALIVE_ONLINE,
        KEEPALIVE_LOST,
        HELLO_DEADLINE_MS,
        FETCH_IDLE_MS,
        TRANSFER_STARVED_MS,
        DELIVERY_DEADLINE_MS,
        SHUTDOWN_MS,
        SIGN_ORDER_MS,
        NOISE_BYTES_MAX,
    ]
}

/// Rows of the page's tables that begin with a constant's name.
fn on_the_page() -> BTreeMap<&'static str, u64> {
    let rows = PAGE.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim);
        let name = cells.nth(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name, cells.next()?.parse().ok()?))
    });
    rows.collect()
}

#[test]
fn the_table_of_limits_is_the_code() {
    assert_eq!(on_the_page(), constants());
}

#[test]
fn no_limit_is_left_out() {
    let declared = LIMITS.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let known = constants();
    let forgotten: Vec<&str> = declared.filter(|name| !known.contains_key(name)).collect();
    assert!(forgotten.is_empty(), "limits that neither this test nor the page knows: {forgotten:?}");
}

#[test]
fn the_page_knows_the_preamble_and_the_version() {
    let preamble = String::from_utf8_lossy(waft_proto::msg::PREAMBLE).replace('\n', "\\n");
    assert!(PAGE.contains(&format!("{} bytes: `{preamble}`", waft_proto::msg::PREAMBLE.len())));
    assert!(
        PAGE.starts_with(&format!("# The protocol between waft nodes, version {}", waft_proto::VERSION_MAX))
    );
}
