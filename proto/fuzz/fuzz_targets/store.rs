//! Operations on a store, beside a plain model of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, BTreeSet};
use waft_proto::id::Hash;
use waft_proto::msg::BlobKind;
use waft_proto::store::{Progress, Store};

const KINDS: [BlobKind; 5] =
    [BlobKind::Task, BlobKind::Artifact, BlobKind::File, BlobKind::Stub, BlobKind::Worker];
const QUOTA: u64 = 600;

/// What the model knows of a blob that is here.
struct Known {
    kinds: BTreeSet<BlobKind>,
    total: u64,
    whole: bool,
}

fn content(number: u8) -> Vec<u8> {
    vec![number; usize::from(number) * 16]
}

fuzz_target!(|data: &[u8]| {
    let mut store = Store::new(QUOTA);
    let mut known: BTreeMap<u8, Known> = BTreeMap::new();
    let mut pins: BTreeMap<u8, u32> = BTreeMap::new();
    let hashes: Vec<Hash> = (0..16).map(|number| Hash::of(&content(number))).collect();
    for op in data.chunks_exact(4) {
        let number = op[1] % 16;
        let (hash, bytes) = (hashes[usize::from(number)], content(number));
        let kind = KINDS[usize::from(op[2] % 4)];
        match op[0] % 6 {
            0 => {
                // One in sixteen offers lies about the size.
                let lies = op[3] >= 240;
                let total = bytes.len() as u64 + u64::from(lies);
                match store.begin(hash, kind, total) {
                    Ok(gone) => {
                        assert!(known.get(&number).is_none_or(|blob| blob.total == total));
                        for gone in gone {
                            let gone =
                                hashes.iter().position(|hash| *hash == gone).expect("a hash of ours") as u8;
                            assert!(known.remove(&gone).is_some() && !pins.contains_key(&gone));
                        }
                        let entry = known.entry(number);
                        let blob =
                            entry.or_insert(Known { kinds: BTreeSet::new(), total, whole: total == 0 });
                        blob.kinds.insert(kind);
                    }
                    Err(_) => known.retain(|at, blob| *at != number || blob.whole),
                }
            }
            1 | 2 => {
                let offset = usize::from(op[2]).min(bytes.len());
                let mut chunk = bytes[offset..(offset + usize::from(op[3])).min(bytes.len())].to_vec();
                // Damage, now and then.
                if op[0] >= 250
                    && let Some(first) = chunk.first_mut()
                {
                    *first ^= 1;
                }
                match store.append(hash, offset as u64, &chunk) {
                    Ok(Progress::Complete) => known.get_mut(&number).expect("an offered blob").whole = true,
                    Ok(Progress::More) => assert!(known.get(&number).is_some_and(|blob| !blob.whole)),
                    Ok(Progress::Nothing) => {}
                    Ok(Progress::Unknown) => unreachable!("it refers to nothing"),
                    Err(_) => assert!(known.remove(&number).is_some_and(|blob| !blob.whole)),
                }
            }
            3 => {
                store.pin(hash);
                *pins.entry(number).or_default() += 1;
            }
            4 => {
                store.unpin(hash);
                if let Some(count) = pins.get_mut(&number) {
                    *count -= 1;
                }
                pins.retain(|_, count| *count > 0);
            }
            _ => {
                store.abandon(hash);
                known.retain(|at, blob| *at != number || blob.whole);
            }
        }
        assert!(store.bytes() <= QUOTA);
        assert_eq!(store.len(), known.len());
        assert_eq!(store.pinned(), pins.len());
        for (number, blob) in &known {
            let hash = hashes[usize::from(*number)];
            for kind in KINDS {
                let has = blob.kinds.contains(&kind);
                assert_eq!(store.expected(hash, kind).is_some(), has);
                let bytes = store.get(hash, kind);
                assert_eq!(bytes.is_some(), has && blob.whole);
                assert!(
                    bytes.is_none_or(|bytes| *bytes == content(*number)[..]),
                    "what is whole is what it is named"
                );
            }
        }
    }
});
