use super::blobs::CHUNK_OVERHEAD_BYTES;
use super::down::{merged, parts, uncovered};
use crate::id::{Hash, NodeId, NodeRange};
use crate::limits::{CHUNK_BYTES_MAX, DICTIONARY_BYTES_MAX};
use crate::msg::{Dictionary, Msg};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

fn ranges(pairs: &[(u32, u32)]) -> Vec<NodeRange> {
    pairs.iter().map(|(first, last)| NodeRange::new(NodeId(*first), NodeId(*last))).collect()
}

fn nodes(ranges: &[NodeRange]) -> BTreeSet<u32> {
    ranges.iter().flat_map(|range| range.first.0..=range.last.0).collect()
}

#[test]
fn merging_keeps_the_nodes_and_sorts_the_ranges() {
    assert_eq!(merged(ranges(&[(5, 6), (1, 2), (3, 3), (9, 8), (5, 10)])), ranges(&[(1, 3), (5, 10)]));
    let top = u32::MAX;
    assert_eq!(merged(ranges(&[(0, top), (top, top)])), ranges(&[(0, top)]));
    assert_eq!(merged(Vec::new()), Vec::new());
}

#[test]
fn gaps_reach_to_the_ends() {
    let top = u32::MAX;
    assert_eq!(uncovered(&ranges(&[(0, top)]), &[]), ranges(&[(0, top)]));
    assert_eq!(uncovered(&ranges(&[(0, top)]), &ranges(&[(0, 4), (7, top)])), ranges(&[(5, 6)]));
    assert_eq!(uncovered(&ranges(&[(3, 9)]), &ranges(&[(0, 3), (9, top)])), ranges(&[(4, 8)]));
    assert_eq!(uncovered(&ranges(&[(3, 9)]), &ranges(&[(3, 9)])), Vec::new());
}

/// Against plain sets, for many small cases: xorshift is chance enough.
#[test]
fn ranges_behave_like_sets() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut below = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % limit) as u32
    };
    for _ in 0..5_000 {
        let mut some = |count: u64| {
            let pairs: Vec<(u32, u32)> = (0..below(count)).map(|_| (below(40), below(40))).collect();
            ranges(&pairs)
        };
        let (a, b) = (some(6), some(6));
        let (a, b) = (merged(a), merged(b));
        assert_eq!(nodes(&uncovered(&a, &b)), &nodes(&a) - &nodes(&b), "{a:?} without {b:?}");
        for within in &b {
            assert_eq!(nodes(&parts(&a, within)), &nodes(&a) & &nodes(&[*within]), "{a:?} within {within:?}");
        }
    }
}

#[test]
fn no_piece_of_a_blob_is_longer_than_the_room_that_is_waited_for() {
    let (hash, offset, bytes) = (Hash([0xFF; 32]), u64::MAX, alloc::vec![0; CHUNK_BYTES_MAX]);
    let dictionary = Some(Dictionary { from: hash, at: u64::MAX, bytes: DICTIONARY_BYTES_MAX as u32 });
    for msg in [
        Msg::Chunk { hash, offset, bytes: bytes.clone() },
        Msg::Packed { hash, offset, size: CHUNK_BYTES_MAX as u32, dictionary, bytes },
    ] {
        let length = msg.encode().len();
        assert!(length <= CHUNK_BYTES_MAX + CHUNK_OVERHEAD_BYTES, "{length}");
    }
}
