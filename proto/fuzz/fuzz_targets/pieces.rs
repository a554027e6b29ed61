//! Pieces of blobs: deflated bytes of anybody's, copies of anything, and a sender and a receiver that agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waft_proto::id::Hash;
use waft_proto::limits::CHUNK_BYTES_MAX;
use waft_proto::msg::{BlobKind, Dictionary, Msg};
use waft_proto::run::Problem;
use waft_proto::store::{Progress, Store};
use waft_proto::unpack::unpack;

const QUOTA: u64 = 1 << 20;

fn take(store: &mut Store, msg: Msg) -> Result<Progress, Problem> {
    match msg {
        Msg::Chunk { hash, offset, bytes } => store.plain(hash, offset, &bytes),
        Msg::Packed { hash, offset, size, dictionary, bytes } => {
            store.unpack(hash, offset, size, dictionary, bytes)
        }
        Msg::Copy { hash, offset, from, at, bytes } => store.copy(hash, offset, from, at, bytes),
        other => panic!("no piece: {other:?}"),
    }
}

/// Passes a blob on, as far as it is here and as a hop does: to a child that has `known` or nothing. What the child then
/// has of it is the same.
fn pass_on(hop: &mut Store, hash: Hash, kind: BlobKind, known: Option<(Hash, &[u8])>) {
    let Some(total) = hop.expected(hash, kind) else { return };
    let mut child = Store::new(QUOTA);
    if let Some((from, bytes)) = known {
        child.begin(from, kind, bytes.len() as u64).expect("room");
        child.plain(from, 0, bytes).expect("these are its bytes");
    }
    if known.is_some_and(|(from, _)| from == hash) {
        return;
    }
    child.begin(hash, kind, total).expect("room");
    let mut offset = 0;
    while let Some((msg, bytes)) =
        hop.message(hash, offset, None, |other| known.is_some_and(|(from, _)| from == other))
    {
        assert!(bytes > 0);
        // A hop that took all of it found that it is what it is named, and so does the child.
        take(&mut child, msg).expect("what the hop took, the child takes");
        offset += bytes;
    }
    let (here, there) = (hop.read(hash, 0, usize::MAX), child.read(hash, 0, usize::MAX));
    assert_eq!(here.unwrap_or_default(), there.unwrap_or_default());
    assert_eq!(hop.get(hash, kind), child.get(hash, kind));
}

/// Blobs that a sender compares: long enough for that, made of the input in an order that it gives.
fn long(data: &[u8], way: u8) -> Vec<u8> {
    let step = usize::from(way).max(1);
    let all = data.chunks(step).rev().flatten().chain(data).copied();
    all.cycle().enumerate().map(|(at, byte)| byte ^ (at / 977 * step) as u8).take(40_000).collect()
}

fuzz_target!(|data: &[u8]| {
    let [way, a, b, c, d, rest @ ..] = data else { return };
    let (known, bytes) = rest.split_at(rest.len() / 2);
    let size = usize::from(u16::from_le_bytes([*a, *b]));
    if let Ok(plain) = unpack(known, bytes, size) {
        assert!(plain.len() == size && size <= CHUNK_BYTES_MAX);
    }
    // Whatever a parent says, the store holds no more than was announced, and a blob is what it is named.
    let mut store = Store::new(QUOTA);
    let from = Hash::of(known);
    store.begin(from, BlobKind::File, known.len() as u64).expect("room");
    let _ = store.plain(from, 0, known);
    let hash = Hash::of(bytes);
    let _ = store.begin(hash, BlobKind::File, bytes.len() as u64);
    let at = u64::from(*c);
    let dictionary = (*way & 1 == 1).then_some(Dictionary { from, at, bytes: u32::from(*d) });
    let pieces = [
        Msg::Copy { hash, offset: 0, from, at, bytes: u64::from(*d) },
        Msg::Packed { hash, offset: u64::from(*d), size: size as u32, dictionary, bytes: bytes.to_vec() },
        Msg::Chunk { hash, offset: 0, bytes: bytes.to_vec() },
    ];
    for piece in pieces {
        let _ = take(&mut store, piece);
        assert!(store.bytes() <= (known.len() + bytes.len()) as u64);
        assert!(store.get(hash, BlobKind::File).is_none_or(|whole| Hash::of(&whole) == hash));
        for known in [None, Some((from, known))] {
            pass_on(&mut store, hash, BlobKind::File, known);
        }
    }
    // Nothing that a liar sent is left when all of it comes from somebody else.
    if store.begin(hash, BlobKind::File, bytes.len() as u64).is_ok() {
        let _ = store.plain(hash, 0, bytes);
        pass_on(&mut store, hash, BlobKind::File, None);
    }
    if rest.is_empty() {
        return;
    }
    // A sender, a hop that has the first of two blobs, and a leaf behind it that has it too or not.
    let (first, second) = (long(rest, *way), long(rest, way.wrapping_add(*a % 3)));
    let (mut root, mut hop) = (Store::new(u64::MAX), Store::new(QUOTA));
    let one = root.insert(BlobKind::Task, first.clone().into());
    let two = root.insert(BlobKind::Task, second.into());
    for (hash, has) in [(one, false), (two, true)] {
        let total = root.expected(hash, BlobKind::Task).expect("here");
        hop.begin(hash, BlobKind::Task, total).expect("room");
        let has = |other: Hash| has && other == one && other != two;
        let plan = root.compare(hash, has);
        let mut offset = 0;
        while offset < total && hop.is_partial(hash) {
            let (msg, bytes) = root.message(hash, offset, plan.as_ref(), has).expect("all of it is here");
            take(&mut hop, msg).expect("a sender that tells the truth");
            offset += bytes;
        }
        assert_eq!(hop.get(hash, BlobKind::Task), root.get(hash, BlobKind::Task));
        // One of them, for it is these long blobs that take the time.
        pass_on(&mut hop, hash, BlobKind::Task, (*b & 1 == 1).then_some((one, &first[..])));
    }
});
