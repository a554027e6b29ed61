//! Blobs from one store into another, message by message.

use super::super::*;
use crate::limits::*;
use crate::msg::{Dictionary, Msg};
use alloc::vec;

fn noise(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn take(store: &mut Store, msg: Msg) -> Result<Progress, Problem> {
    match msg {
        Msg::Chunk { hash, offset, bytes } => store.plain(hash, offset, &bytes),
        Msg::Packed { hash, offset, size, dictionary, bytes } => {
            store.unpack(hash, offset, size, dictionary, bytes)
        }
        Msg::Copy { hash, offset, from, at, bytes } => store.copy(hash, offset, from, at, bytes),
        other => panic!("{other:?}"),
    }
}

/// All of a blob, to a receiver that has what `has` says. Gives what it took.
fn send(from: &mut Store, to: &mut Store, hash: Hash, has: &[Hash]) -> (u64, Vec<Msg>) {
    let total = from.expected(hash, BlobKind::Artifact).unwrap();
    to.begin(hash, BlobKind::Artifact, total).unwrap();
    let plan = from.compare(hash, |other| has.contains(&other));
    let (mut offset, mut wire, mut all) = (0, 0, Vec::new());
    while offset < total {
        let (msg, bytes) = from.message(hash, offset, plan.as_ref(), |other| has.contains(&other)).unwrap();
        wire += msg.encode().len() as u64;
        all.push(msg.clone());
        offset += bytes;
        let progress = take(to, msg).unwrap();
        assert_eq!(progress, if offset < total { Progress::More } else { Progress::Complete });
    }
    assert_eq!(to.get(hash, BlobKind::Artifact), from.get(hash, BlobKind::Artifact));
    (wire, all)
}

fn pair() -> (Store, Hash, Hash) {
    let first = noise(1, 500_000);
    let mut second = [&first[..200_000], &noise(2, 3000), &first[200_000..]].concat();
    for at in (300_000..310_000).step_by(200) {
        second[at] ^= 9;
    }
    let mut store = Store::new(u64::MAX);
    let first = store.insert(BlobKind::Artifact, first.into());
    let second = store.insert(BlobKind::Artifact, second.into());
    (store, first, second)
}

#[test]
fn the_second_of_two_that_are_alike_is_small_and_goes_on_as_it_came() {
    let (mut root, first, second) = pair();
    let (mut hop, mut leaf) = (Store::new(4 << 20), Store::new(4 << 20));
    let (wire, _) = send(&mut root, &mut hop, first, &[]);
    assert!(wire >= 500_000);
    let (wire, sent) = send(&mut root, &mut hop, second, &[first]);
    assert!(wire < 12_000, "{wire}");
    send(&mut hop, &mut leaf, first, &[]);
    let (_, passed) = send(&mut hop, &mut leaf, second, &[first]);
    assert_eq!(sent, passed);
    // Who has not the first one is sent no part of it.
    let (wire, msgs) = send(&mut hop, &mut Store::new(4 << 20), second, &[]);
    assert!(wire > 500_000 && msgs.iter().all(|msg| matches!(msg, Msg::Chunk { .. })));
    let (wire, _) = send(&mut root, &mut Store::new(4 << 20), second, &[]);
    assert!(wire > 500_000);
}

#[test]
fn children_that_have_different_blobs_do_not_take_each_others_plan() {
    let base = noise(4, 200_000);
    let mut store = Store::new(u64::MAX);
    let known: Vec<Hash> = (0..6)
        .map(|number| store.insert(BlobKind::File, [&base[..], &noise(10 + 2 * number, 100)].concat().into()))
        .collect();
    let hash = store.insert(BlobKind::File, [b"x", &base[..]].concat().into());
    let mut plan = |number: usize| store.compare(hash, |other| other == known[number]).unwrap();
    let (first, second) = (plan(0), plan(1));
    assert!(!first.is_empty() && !Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&first, &plan(0)) && Arc::ptr_eq(&second, &plan(1)), "nothing is compared again");
    let others = [plan(2), plan(3)];
    assert!(Arc::ptr_eq(&plan(4), &others[1]), "all are in use, and one of these must do");
    drop(second);
    assert!(!Arc::ptr_eq(&plan(5), &others[1]));
    assert!(Arc::ptr_eq(&plan(0), &first), "what is in use stays");
    let parts: usize = store.blobs[&hash].plans.iter().map(|(_, plan)| plan.len()).sum();
    assert_eq!((store.blobs[&hash].plans.len(), store.parts), (4, parts));
    store.remove(hash);
    assert_eq!(store.parts, 0);
}

#[test]
fn only_blobs_of_one_kind_are_compared_and_stubs_never() {
    for (kind, other) in [(BlobKind::Artifact, BlobKind::File), (BlobKind::Stub, BlobKind::Stub)] {
        let mut store = Store::new(u64::MAX);
        let bytes = vec![7; 100_000];
        let first = store.insert(kind, bytes.clone().into());
        let second = store.insert(other, [&bytes[..], b"x"].concat().into());
        let plan = store.compare(second, |_| true);
        let (msg, _) = store.message(second, 0, plan.as_ref(), |_| true).unwrap();
        assert!(!matches!(msg, Msg::Copy { .. }), "{msg:?} of {first}");
        assert_eq!(matches!(msg, Msg::Chunk { .. }), kind == BlobKind::Stub, "a stub is gzip: {msg:?}");
    }
}

#[test]
fn a_parent_that_lies_is_refused_and_the_blob_is_gone() {
    let known = noise(3, 5000);
    let from = Hash::of(&known);
    let hash = Hash([5; 32]);
    let zeros = crate::pack::pack(&[], &[0; 2000]).unwrap();
    let dictionary = |at, bytes| Some(Dictionary { from, at, bytes });
    let packed = |size, dictionary| Msg::Packed { hash, offset: 0, size, dictionary, bytes: zeros.clone() };
    let copy = |at, bytes| Msg::Copy { hash, offset: 0, from, at, bytes };
    for (lie, words) in [
        (packed(0, None), "1 to 32768"),
        (packed(1999, None), "more than the 1999"),
        (packed(2001, None), "stand for 2000"),
        (packed(u32::MAX, None), "1 to 32768"),
        (packed(2000, dictionary(4000, 1001)), "does not have"),
        (packed(2000, dictionary(u64::MAX, 10)), "does not have"),
        (packed(2000, dictionary(0, u32::MAX)), "a dictionary of"),
        (copy(0, 0), "named 0 bytes"),
        (copy(4000, 1001), "does not have"),
        (copy(u64::MAX, 1), "does not have"),
        (copy(0, COPY_BYTES_MAX as u64 + 1), "at once"),
        (copy(0, u64::MAX), "at once"),
        (copy(0, 4000), "more bytes came than were offered"),
    ] {
        let mut store = Store::new(100_000);
        store.begin(from, BlobKind::File, 5000).unwrap();
        store.append(from, 0, &known).unwrap();
        store.begin(hash, BlobKind::File, 3000).unwrap();
        let problem = take(&mut store, lie.clone()).unwrap_err();
        assert_eq!(problem.code, "blob.damaged", "{lie:?}");
        assert!(problem.message.contains(words), "{lie:?}: {}", problem.message);
        assert!(problem.message.contains(&hash.short()), "it names the blob: {}", problem.message);
        assert_eq!((store.len(), store.bytes()), (1, 5000), "{lie:?}");
    }
}

#[test]
fn what_is_behind_a_gap_or_here_already_is_not_looked_at() {
    let mut store = Store::new(100_000);
    let hash = Hash([6; 32]);
    store.begin(hash, BlobKind::File, 3000).unwrap();
    store.append(hash, 0, &[1; 100]).unwrap();
    let gone = Hash([7; 32]);
    for (offset, bytes) in [(101, 50), (0, 100), (u64::MAX, 50)] {
        let copy = Msg::Copy { hash, offset, from: gone, at: 0, bytes };
        assert_eq!(take(&mut store, copy), Ok(Progress::Nothing));
        let bomb = Msg::Packed { hash, offset, size: bytes as u32, dictionary: None, bytes: vec![0xFF; 9] };
        assert_eq!(take(&mut store, bomb), Ok(Progress::Nothing));
    }
    let copy = Msg::Copy { hash, offset: 100, from: gone, at: 0, bytes: 10 };
    assert_eq!(take(&mut store, copy), Ok(Progress::Unknown));
    assert_eq!(
        take(&mut store, Msg::Copy { hash, offset: 50, from: hash, at: 0, bytes: 60 }),
        Ok(Progress::Unknown),
        "itself is not whole"
    );
    assert!(store.is_partial(hash));
}

#[test]
fn what_a_blob_refers_to_while_it_arrives_is_not_the_first_to_go() {
    let (old, new) = ([1; 4000], [2; 4000]);
    let (hash, from, other) = (Hash([5; 32]), Hash::of(&old), Hash::of(&new));
    for piece in [
        Msg::Copy { hash, offset: 0, from, at: 0, bytes: 100 },
        Msg::Packed {
            hash,
            offset: 0,
            size: 1000,
            dictionary: Some(Dictionary { from, at: 0, bytes: 1000 }),
            bytes: crate::pack::pack(&old[..1000], &[1; 1000]).unwrap(),
        },
    ] {
        let mut store = Store::new(12_000);
        for (hash, bytes) in [(from, &old), (other, &new)] {
            store.begin(hash, BlobKind::File, 4000).unwrap();
            store.append(hash, 0, bytes).unwrap();
        }
        store.begin(hash, BlobKind::File, 3000).unwrap();
        store.pin(hash);
        take(&mut store, piece).unwrap();
        assert_eq!(store.begin(Hash([6; 32]), BlobKind::File, 4000), Ok(vec![other]));
    }
}

#[test]
fn parts_and_kept_pieces_are_bounded() {
    let mut store = Store::new(64 << 20);
    let known = [9; 5000];
    let from = Hash::of(&known);
    store.begin(from, BlobKind::File, 5000).unwrap();
    store.append(from, 0, &known).unwrap();
    let hash = Hash([8; 32]);
    store.begin(hash, BlobKind::File, 1 << 20).unwrap();
    for offset in 0..parts::PARTS_MAX as u64 + 100 {
        store.copy(hash, offset, from, 0, 1).unwrap();
    }
    assert_eq!(store.parts, parts::PARTS_MAX);
    let (msg, bytes) = store.message(hash, parts::PARTS_MAX as u64, None, |_| true).unwrap();
    assert!(matches!(msg, Msg::Packed { .. } | Msg::Chunk { .. }) && bytes == 100, "{msg:?}");
    store.abandon(hash);
    assert_eq!(store.parts, 0);

    let mut root = Store::new(64 << 20);
    let text: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let hash = root.insert(BlobKind::File, text.into());
    let mut offset = 0;
    while let Some((_, bytes)) = root.message(hash, offset, None, |_| false) {
        offset += bytes;
    }
    assert!(root.kept.bytes() <= (64 << 20) / 32, "{}", root.kept.bytes());
    assert!(root.kept.bytes() > 1 << 20);
    // Who comes later finds the first ones, and who is close behind the last one sent.
    let at = |offset| root.kept.get(hash, offset, parts::Source::None).is_some();
    let last = offset - 1 - (offset - 1) % CHUNK_BYTES_MAX as u64;
    let pieces = (0..offset).step_by(CHUNK_BYTES_MAX);
    let first = pieces.clone().take_while(|offset| at(*offset)).count();
    let all = pieces.clone().filter(|offset| at(*offset)).count();
    assert!(first * 3 >= all * 2 && all < pieces.count() && at(last), "{first} of {all}");
    // Another blob takes their place.
    let other = root.insert(BlobKind::File, (0..500_000_u32).flat_map(u32::to_be_bytes).collect());
    root.message(other, 0, None, |_| false).unwrap();
    assert!(root.kept.get(other, 0, parts::Source::None).is_some());
    assert!(root.kept.get(hash, 0, parts::Source::None).is_none());
    assert!(root.kept.bytes() <= (64 << 20) / 32);
}

#[test]
fn pieces_of_a_blob_that_was_refused_are_gone_with_it() {
    let mut hop = Store::new(64 << 20);
    let (honest, liar) = (alloc::vec![3; 60_000], alloc::vec![4; 60_000]);
    let hash = Hash::of(&honest);
    let packed = |bytes: &[u8], at: usize| {
        let piece = &bytes[at..at + 30_000];
        let (size, bytes) = (piece.len() as u32, crate::pack::pack(&[], piece).unwrap());
        Msg::Packed { hash, offset: at as u64, size, dictionary: None, bytes }
    };
    hop.begin(hash, BlobKind::Artifact, 60_000).unwrap();
    take(&mut hop, packed(&liar, 0)).unwrap();
    assert!(hop.kept.bytes() > 0);
    assert!(take(&mut hop, packed(&liar, 30_000)).is_err());
    assert_eq!(hop.kept.bytes(), 0);
    // The same pieces, but no note of how they came: what is passed on is what is here.
    hop.begin(hash, BlobKind::Artifact, 60_000).unwrap();
    for at in [0, 30_000] {
        hop.append(hash, at as u64, &honest[at..at + 30_000]).unwrap();
    }
    send(&mut hop, &mut Store::new(1 << 20), hash, &[]);
}
