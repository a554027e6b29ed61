//! What a listing says of its entries, beside what WASI says of the same files. Directories that change while they are listed
//! are in `tests/`.

use super::super::State;
use super::super::tests::state;
use super::{FILESTAT_BYTES, HEAD_BYTES, KEPT_BYTES_MAX, Listing, Listings, NUMBER_AT, TYPE_AT};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use wasmtime_wasi::p1::wasi_snapshot_preview1 as p1;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};
use wiggle::GuestMemory;

/// The first directory of a guest.
const FD: i32 = 3;
/// Where a test has how many bytes were used.
const USED_AT: usize = 0;
const BUFFER_AT: usize = 4;

fn granted(dir: &Path) -> State {
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_blocking_current_thread(true);
    wasi.preopened_dir(dir, "/granted", FsPerms::ReadOnly).expect("a directory");
    state(wasi.build_p1())
}

fn number(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    number[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(number)
}

/// Number, type and name of each entry, in parts of so many bytes.
async fn list(state: &mut State, room: usize) -> Vec<(u64, u8, Vec<u8>)> {
    let (mut entries, mut cookie) = (Vec::new(), 0);
    loop {
        let mut memory = vec![0; BUFFER_AT + room];
        let buffer = (BUFFER_AT as i32, room as i32);
        let listed = state.list(&mut memory, FD, buffer, cookie, USED_AT as i32).await.expect("no trap");
        listed.expect("it is listed here");
        let used = number(&memory[USED_AT..BUFFER_AT]) as usize;
        let mut rest = &memory[BUFFER_AT..BUFFER_AT + used];
        while let Some((head, names)) = rest.split_at_checked(HEAD_BYTES) {
            let Some((name, others)) = names.split_at_checked(number(&head[16..20]) as usize) else { break };
            entries.push((number(&head[8..16]), head[20], name.to_vec()));
            (cookie, rest) = (number(&head[..8]) as i64, others);
        }
        if used < room {
            return entries;
        }
    }
}

#[tokio::test]
async fn an_entry_is_what_its_file_is() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("file"), "").expect("a file");
    fs::create_dir(dir.path().join("dir")).expect("a directory");
    symlink("nowhere", dir.path().join("link")).expect("a link");
    let _socket = UnixListener::bind(dir.path().join("socket")).expect("a socket");
    let strange = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(dir.path().join(strange), "").expect("a file");

    let mut state = granted(dir.path());
    let mut entries = list(&mut state, 1 << 12).await;
    assert_eq!(list(&mut state, 40).await, entries, "in small parts");
    assert_eq!(state.listings.0.len(), 1, "each is read anew");
    entries.sort_by(|a, b| a.2.cmp(&b.2));
    let names: Vec<_> = entries.iter().map(|(_, _, name)| name.escape_ascii().to_string()).collect();
    assert_eq!(names, [".", "..", "caf\\xe9", "dir", "file", "link", "socket"]);

    for (listed, kind, name) in entries {
        p1::WasiSnapshotPreview1::set_hostcall_fuel(&mut state.wasi, 1 << 20);
        // WASI takes no such name.
        let (Ok(name), false) = (String::from_utf8(name.clone()), name == b"..") else { continue };
        let mut memory = vec![0; FILESTAT_BYTES];
        memory.extend_from_slice(name.as_bytes());
        let (at, length) = (FILESTAT_BYTES as i32, name.len() as i32);
        let mut guest = GuestMemory::Unshared(&mut memory);
        let errno = p1::path_filestat_get(&mut state.wasi, &mut guest, FD, 0, at, length, 0).await;
        assert_eq!(errno.expect("no trap"), 0, "{name}");
        assert_eq!((listed, kind), (number(&memory[NUMBER_AT..TYPE_AT]), memory[TYPE_AT]), "{name}");
    }
}

/// As Go does: it asks until nothing comes.
#[tokio::test]
async fn after_the_end_comes_nothing_new() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("old"), "").expect("a file");
    let mut state = granted(dir.path());
    let last = i64::try_from(list(&mut state, 1 << 12).await.len()).expect("few");
    fs::write(dir.path().join("new"), "").expect("a file");
    let mut memory = vec![0xff; 512];
    state.list(&mut memory, FD, (4, 500), last, 0).await.expect("no trap").expect("it is listed here");
    assert_eq!(number(&memory[USED_AT..BUFFER_AT]), 0);
    assert!(state.listings.0.is_empty(), "what was listed to its end is kept");
    assert_eq!(list(&mut state, 1 << 12).await.len(), 4);
}

#[tokio::test]
async fn a_descriptor_that_is_another_directory_now_is_read_anew() {
    let (one, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    fs::write(one.path().join("of-one"), "").expect("a file");
    fs::write(other.path().join("of-other"), "").expect("a file");
    let mut state = granted(one.path());
    let mut memory = vec![0; 64];
    // The first entry, and half of the second.
    state.list(&mut memory, FD, (4, 40), 0, 0).await.expect("no trap").expect("it is listed here");
    let begun = std::mem::take(&mut state.listings);
    assert_eq!(begun.0.len(), 1);

    let mut state = granted(other.path());
    state.listings = begun;
    let mut memory = vec![0; 64];
    state.list(&mut memory, FD, (4, 60), 2, 0).await.expect("no trap").expect("it is listed here");
    assert_eq!(&memory[4 + HEAD_BYTES..][..8], b"of-other");
}

#[tokio::test]
async fn what_is_no_directory_or_no_place_is_left_to_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut state = granted(dir.path());
    let mut memory = vec![0; 64];
    // A descriptor that is not open, the standard output, places beyond the memory, a place below the first.
    for (fd, buffer, cookie, used) in [
        (9, (4, 60), 0, 0),
        (1, (4, 60), 0, 0),
        (FD, (4, 61), 0, 0),
        (FD, (4, 60), 0, 61),
        (FD, (-1, 60), 0, 0),
        (FD, (4, 60), -1, 0),
    ] {
        assert!(state.list(&mut memory, fd, buffer, cookie, used).await.expect("no trap").is_none());
    }
}

#[test]
fn the_oldest_listings_go() {
    let mut listings = Listings::default();
    let half = KEPT_BYTES_MAX / 2;
    for (fd, bytes) in [(3, half), (4, half), (5, 1), (4, half), (6, 1)] {
        listings.keep(Listing { fd, number: 0, entries: Vec::new(), bytes });
    }
    assert_eq!(listings.0.iter().map(|listing| listing.fd).collect::<Vec<_>>(), [6, 4, 5]);
    listings.keep(Listing { fd: 7, number: 0, entries: Vec::new(), bytes: KEPT_BYTES_MAX + 1 });
    assert_eq!(listings.0.iter().map(|listing| listing.fd).collect::<Vec<_>>(), [7]);
}
