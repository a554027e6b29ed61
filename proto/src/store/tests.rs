#[cfg(feature = "pack")]
mod wire;

use super::*;
use alloc::vec;

fn blob(byte: u8, bytes: usize) -> (Hash, Vec<u8>) {
    let content = vec![byte; bytes];
    (Hash::of(&content), content)
}

fn put(store: &mut Store, byte: u8, bytes: usize) -> Result<Vec<Hash>, Problem> {
    let (hash, content) = blob(byte, bytes);
    let gone = store.begin(hash, BlobKind::File, bytes as u64)?;
    store.append(hash, 0, &content)?;
    Ok(gone)
}

#[test]
fn a_blob_is_had_when_whole_and_only_as_its_kind() {
    let mut store = Store::new(1000);
    let (hash, content) = blob(1, 100);
    store.begin(hash, BlobKind::File, 100).unwrap();
    assert_eq!(store.append(hash, 0, &content[..60]), Ok(Progress::More));
    assert_eq!(store.get(hash, BlobKind::File), None);
    assert_eq!(store.read(hash, 50, 100), Some(&content[50..60]), "what is here may be passed on");
    assert_eq!(store.append(hash, 60, &content[60..]), Ok(Progress::Complete));
    assert_eq!(store.get(hash, BlobKind::File).as_deref(), Some(content.as_slice()));
    assert_eq!(store.get(hash, BlobKind::Artifact), None);
    assert_eq!(store.expected(hash, BlobKind::Artifact), None);
    store.begin(hash, BlobKind::Artifact, 100).unwrap();
    assert!(store.get(hash, BlobKind::Artifact).is_some(), "whoever gives it may say that it is an artifact");
}

#[test]
fn pieces_of_two_transfers_make_one_blob() {
    let mut store = Store::new(1000);
    let (hash, content) = blob(2, 100);
    store.begin(hash, BlobKind::Task, 100).unwrap();
    assert_eq!(store.append(hash, 40, &content[40..80]), Ok(Progress::Nothing), "behind a gap");
    assert_eq!(store.append(hash, 0, &content[..50]), Ok(Progress::More));
    assert_eq!(store.append(hash, 0, &content[..30]), Ok(Progress::Nothing), "all of it known");
    assert_eq!(store.append(hash, 30, &content[30..]), Ok(Progress::Complete));
    assert_eq!(store.append(hash, 0, &content), Ok(Progress::Nothing));
    assert_eq!(store.append(Hash([9; 32]), 0, &content), Ok(Progress::Nothing), "never offered");
    assert_eq!(store.append(hash, u64::MAX, &content), Ok(Progress::Nothing));
}

#[test]
fn damage_is_found_and_the_blob_is_gone() {
    let (hash, content) = blob(3, 100);
    let mut changed = content.clone();
    changed[99] = 0;
    let mut long = content.clone();
    long.push(3);
    for bytes in [changed, long] {
        let mut store = Store::new(1000);
        store.begin(hash, BlobKind::File, 100).unwrap();
        assert_eq!(store.append(hash, 0, &bytes).unwrap_err().code, "blob.damaged");
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }
}

#[test]
fn an_empty_blob_must_be_named_so() {
    let mut store = Store::new(1000);
    assert!(store.begin(Hash::of(b"x"), BlobKind::File, 0).is_err());
    store.begin(Hash::of(b""), BlobKind::File, 0).unwrap();
    assert_eq!(store.get(Hash::of(b""), BlobKind::File).as_deref(), Some(&[][..]));
}

#[test]
fn two_sizes_for_one_blob_are_a_lie() {
    let mut store = Store::new(1000);
    let (hash, content) = blob(4, 100);
    store.begin(hash, BlobKind::File, 90).unwrap();
    assert!(store.begin(hash, BlobKind::File, 100).is_err());
    assert!(store.is_empty(), "nobody knows which was right");
    put(&mut store, 4, 100).unwrap();
    assert!(store.begin(hash, BlobKind::File, 90).is_err());
    assert_eq!(store.get(hash, BlobKind::File).as_deref(), Some(content.as_slice()), "a whole one stays");
}

#[test]
fn the_least_recently_used_goes_first_and_what_is_held_stays() {
    let mut store = Store::new(300);
    let hashes = [1, 2, 3, 4, 5].map(|byte| blob(byte, 100).0);
    for byte in [1, 2, 3] {
        put(&mut store, byte, 100).unwrap();
    }
    store.get(hashes[0], BlobKind::File);
    assert_eq!(put(&mut store, 4, 100), Ok(vec![hashes[1]]));
    store.pin(hashes[0]);
    store.pin(hashes[2]);
    store.pin(hashes[3]);
    let problem = put(&mut store, 5, 100).unwrap_err();
    assert_eq!(problem.code, "blob.quota");
    assert_eq!(store.bytes(), 300, "nothing was thrown away in vain");
    store.unpin(hashes[2]);
    assert_eq!(put(&mut store, 5, 100), Ok(vec![hashes[2]]));
}

#[test]
fn a_pin_holds_what_is_yet_to_come() {
    let mut store = Store::new(200);
    let (hash, _) = blob(1, 100);
    store.pin(hash);
    put(&mut store, 1, 100).unwrap();
    put(&mut store, 2, 100).unwrap();
    assert_eq!(put(&mut store, 3, 100), Ok(vec![blob(2, 100).0]));
    assert!(store.get(hash, BlobKind::File).is_some());
    store.unpin(hash);
    store.unpin(hash);
    assert_eq!(store.pinned(), 0);
}

#[test]
fn offers_of_any_size_reserve_no_memory_beyond_the_limits() {
    let mut store = Store::new(u64::MAX);
    assert!(store.begin(Hash([1; 32]), BlobKind::File, u64::MAX).is_err());
    assert!(store.begin(Hash([1; 32]), BlobKind::File, BLOB_BYTES_MAX + 1).is_err());
    for number in 0..STORE_BLOBS_MAX as u32 + 10 {
        let hash = Hash::of(&number.to_le_bytes());
        store.begin(hash, BlobKind::File, BLOB_BYTES_MAX).unwrap();
    }
    assert_eq!(store.len(), STORE_BLOBS_MAX);
}

#[test]
fn what_the_controller_has_at_hand_replaces_what_arrives() {
    let mut store = Store::new(1000);
    let (hash, content) = blob(6, 100);
    store.begin(hash, BlobKind::File, 90).unwrap();
    store.insert(BlobKind::Artifact, content.clone().into());
    assert_eq!(store.get(hash, BlobKind::Artifact).as_deref(), Some(content.as_slice()));
    assert_eq!(store.bytes(), 100);
}
