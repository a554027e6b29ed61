use super::*;
use crate::id::Hash;
use crate::limits::*;
use crate::store::parts::{Part, Source};
use crate::unpack::unpack;
use alloc::vec;

/// Bytes without any order (xorshift).
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn text(lines: usize) -> Vec<u8> {
    (0..lines).flat_map(|line| alloc::format!("function_{} (param i32)\n", line * 7).into_bytes()).collect()
}

#[test]
fn what_is_packed_is_unpacked() {
    let piece = &text(1500)[..CHUNK_BYTES_MAX];
    let packed = pack(&[], piece).unwrap();
    assert!(packed.len() < piece.len() / 3, "{}", packed.len());
    assert_eq!(packed.capacity(), packed.len(), "it may be kept for long");
    assert_eq!(unpack(&[], &packed, piece.len()).as_deref(), Ok(piece));
}

#[test]
fn a_dictionary_stands_before_the_piece() {
    let known = noise(1, 24 * 1024);
    let mut piece = known[4096..4096 + 16 * 1024].to_vec();
    for at in (0..piece.len()).step_by(300) {
        piece[at] ^= 1;
    }
    assert_eq!(pack(&[], &piece), None, "noise by itself");
    let packed = pack(&known, &piece).unwrap();
    assert!(packed.len() < piece.len() / 20, "{}", packed.len());
    assert_eq!(unpack(&known, &packed, piece.len()).as_deref(), Ok(&piece[..]));
    let mut other = known.clone();
    other[5000] ^= 0xFF;
    assert_ne!(unpack(&other, &packed, piece.len()).as_deref(), Ok(&piece[..]));
    assert!(unpack(&[], &packed, piece.len()).is_err(), "it refers to what is not there");
    assert!(unpack(&noise(2, DICTIONARY_BYTES_MAX + 1), &packed, piece.len()).is_err());
}

#[test]
fn a_bomb_is_found_at_the_size_that_was_said() {
    // 1 MiB of zeros in a kilobyte.
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; 1 << 20], 9);
    assert!(bomb.len() < 2048);
    for size in [bomb.len() + 1, 4000, CHUNK_BYTES_MAX] {
        let why = unpack(&[], &bomb, size).unwrap_err();
        assert!(why.contains("more than"), "{why}");
    }
    for size in [0, CHUNK_BYTES_MAX + 1, usize::MAX] {
        assert!(unpack(&[], &bomb, size).unwrap_err().contains("not for 1 to"));
    }
    let packed = miniz_oxide::deflate::compress_to_vec(&[b'x'; 120], 6);
    assert!(unpack(&[], &packed, 121).unwrap_err().contains("stand for 120"));
    assert!(unpack(&[], &[&packed[..], b"x"].concat(), 120).unwrap_err().contains("behind"));
    for cut in 0..packed.len() {
        assert!(unpack(&[], &packed[..cut], 120).is_err(), "cut to {cut}");
    }
    assert!(unpack(&[], &[0xFF; 40], 100).is_err());
}

#[test]
fn packed_bytes_are_fewer_than_those_they_stand_for() {
    // Correct deflate, which does not make anything smaller: a peer could add any number of empty blocks, too.
    let piece = noise(8, 1000);
    let packed = miniz_oxide::deflate::compress_to_vec(&piece, 6);
    assert!(packed.len() >= piece.len());
    let why = unpack(&[], &packed, piece.len()).unwrap_err();
    assert!(why.contains("only 1000"), "{why}");
}

#[test]
fn equal_bytes_are_cut_alike_wherever_they_stand() {
    let cuts = |bytes: &[u8]| {
        let (mut at, mut cuts) = (0, Vec::new());
        while at < bytes.len() {
            at += chunks::first(&bytes[at..]);
            cuts.push(at);
        }
        cuts
    };
    let bytes = noise(3, 300_000);
    let plain = cuts(&bytes);
    let usual = bytes.len() / plain.len();
    assert!((700..1500).contains(&usual), "{usual} bytes a chunk");
    let moved: Vec<usize> =
        cuts(&[&[7; 1234][..], &bytes].concat()).into_iter().map(|cut| cut.wrapping_sub(1234)).collect();
    let same = plain.iter().filter(|cut| moved.contains(cut)).count();
    assert!(same * 100 > plain.len() * 98, "{same} of {}", plain.len());
}

/// Makes the blob again from its plan.
fn follow(parts: &[Part], bytes: &[u8], sources: &[(Hash, &[u8])]) -> (Vec<u8>, usize, usize) {
    let (mut out, mut copied, mut alike) = (Vec::new(), 0, 0);
    for part in parts {
        assert_eq!(part.offset as usize, out.len(), "in order, without gaps");
        let here = &bytes[out.len()..out.len() + part.bytes as usize];
        let known = |from: Hash| sources.iter().find(|(hash, _)| *hash == from).unwrap().1;
        match part.source {
            Source::None => {}
            Source::Copy { from, at } => {
                assert!(part.bytes as usize <= COPY_BYTES_MAX);
                assert_eq!(here, &known(from)[at as usize..][..here.len()], "what is named is equal");
                copied += here.len();
            }
            Source::Dictionary { from, at, bytes } => {
                assert!(bytes as usize <= DICTIONARY_BYTES_MAX && here.len() <= CHUNK_BYTES_MAX);
                assert!(known(from).len() >= at as usize + bytes as usize);
                alike += here.len();
            }
        }
        out.extend_from_slice(here);
    }
    (out, copied, alike)
}

#[test]
fn a_plan_is_all_of_the_blob_and_names_what_is_equal() {
    let (one, two) = (noise(4, 3 << 20), text(9000));
    let news = noise(5, 40_000);
    let blob =
        [&one[..2 << 20], &news, &two[1000..90_000], &one[(2 << 20) + 77..], &news[..50], &two[..9]].concat();
    let hashes = [Hash::of(&one), Hash::of(&two)];
    let indexes = [Index::of(&one), Index::of(&two)];
    let sources = [(hashes[0], &one[..], &indexes[0]), (hashes[1], &two[..], &indexes[1])];
    let parts = plan(&blob, &sources);
    let (made, copied, alike) = follow(&parts, &blob, &[(hashes[0], &one), (hashes[1], &two)]);
    assert_eq!(made, blob);
    assert!(copied + news.len() + 200 >= blob.len(), "{copied} of {}", blob.len());
    assert_eq!(copied + alike, blob.len());
    assert!(parts.len() < 20, "{}", parts.len());
}

#[test]
fn blobs_that_have_nothing_in_common_have_no_plan() {
    let (one, other) = (noise(6, 100_000), noise(7, 100_000));
    let index = Index::of(&one);
    let sources = [(Hash::of(&one), &one[..], &index)];
    assert!(plan(&other, &sources).is_empty());
    assert!(plan(&[], &sources).is_empty());
    assert!(plan(&one, &[]).is_empty());
}

#[test]
fn bytes_that_repeat_take_no_longer_than_others() {
    // Each chunk of the one has the same fingerprint, and is found at its first place.
    let (zeros, more) = (vec![0; 2 << 20], vec![0; (2 << 20) + 5000]);
    let index = Index::of(&zeros);
    let hash = Hash::of(&zeros);
    let parts = plan(&more, &[(hash, &zeros, &index)]);
    let (made, copied, _) = follow(&parts, &more, &[(hash, &zeros)]);
    assert_eq!((made.len(), copied), (more.len(), more.len()));
    assert!(parts.len() <= 5, "{}", parts.len());
}
