//! Ways out through the stub's own file calls. They are done by the stub, outside of the worker and of its walls: what holds
//! here is `openat2` beneath the granted directory, with the kernel's walls and without.

use super::arena::{Arena, CANARY, Place, held};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::thread;
use waft_tests::Result;
use waft_tests::leak::LeakGuard;
use waft_tests::process::is_root;

/// For how long a task races with another, milliseconds.
const RACE_MS: u64 = 1_500;

/// A FIFO and, where this process may make one, a device that are granted.
fn special_files(place: &Place) -> std::io::Result<bool> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let mode = Mode::from_raw_mode(0o666);
    mknodat(CWD, place.granted("fifo"), FileType::Fifo, mode, 0)?;
    // `/dev/null`; not every root may.
    Ok(mknodat(CWD, place.granted("device"), FileType::CharacterDevice, mode, makedev(1, 3)).is_ok())
}

#[test]
fn no_file_call_leads_out_lends_rights_or_opens_a_fifo() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut devices = Vec::new();
    for place in &arena.places {
        devices.push(special_files(place).expect("a FIFO"));
    }
    if !is_root() || devices.contains(&false) {
        eprintln!("SKIPPED (needs a root that may make devices): file calls on a device");
    }
    let mut link = arena.connect(Some("rw"))?;
    let before = arena.places.iter().map(Place::snapshot).collect::<Result<Vec<_>>>()?;
    let results = arena.run(&mut link, arena.attack("file"))?;
    for ((place, result), device) in results.into_iter().zip(devices) {
        let said = held(place, &result);
        assert!(said["tried"].as_u64() > Some(2_500), "{}: {}", place.name, said["tried"]);
        assert_eq!((&said["fifo"], said["device"] == json!(true)), (&json!(true), device), "{}", place.name);
        let mode = fs::metadata(place.granted("inner/file")).expect("a file").mode();
        assert_eq!(mode & 0o7000, 0, "{}", place.name);
        assert!(fs::metadata(place.granted("fifo")).expect("a FIFO").file_type().is_fifo());
    }
    for (place, before) in arena.places.iter().zip(&before) {
        let diff = before.diff(&place.snapshot()?);
        assert!(diff.is_empty(), "{}: {diff}", place.name);
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}

#[test]
fn no_file_call_changes_what_was_granted_for_reading() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let all = |place: &Place| waft_tests::snapshot::Snapshot::take(&[&place.top], &[]);
    let before = arena.places.iter().map(all).collect::<Result<Vec<_>>>()?;
    let mut link = arena.connect(Some("ro"))?;
    for below in ["", "/inner"] {
        let attack = arena.with(json!({"attack": "file-read-only", "below": below}));
        for (place, result) in arena.run(&mut link, attack)? {
            held(place, &result);
        }
    }
    for (place, before) in arena.places.iter().zip(&before) {
        let diff = before.diff(&all(place)?);
        assert!(diff.is_empty(), "{}: {diff}", place.name);
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}

#[test]
fn a_directory_for_reading_inside_of_one_for_writing_is_not_changed_by_file_calls() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let inner = |place: &Place| waft_tests::snapshot::Snapshot::take(&[&place.granted("inner")], &[]);
    let before = arena.places.iter().map(inner).collect::<Result<Vec<_>>>()?;
    let mut link = arena.connect_granting(|place| {
        let (outer, inner) = (place.top.join("granted"), place.granted("inner"));
        vec![format!("fs:{}:rw", outer.display()), format!("fs:{}:ro", inner.display())]
    })?;
    for (place, result) in arena.run(&mut link, arena.attack("file-inner"))? {
        let tried = held(place, &result)["tried"].as_u64();
        assert!(tried > Some(80), "{}: {tried:?}", place.name);
    }
    for (place, before) in arena.places.iter().zip(&before) {
        let diff = before.diff(&inner(place)?);
        assert!(diff.is_empty(), "{}: {diff}", place.name);
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}

#[test]
fn a_link_that_another_task_swaps_in_leads_no_file_call_out() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let before = arena.places.iter().map(Place::snapshot).collect::<Result<Vec<_>>>()?;
    let (mut swaps, mut calls) = (arena.connect(Some("rw"))?, arena.connect(Some("rw"))?);
    let (swapped, called) = thread::scope(|scope| {
        let swapper =
            scope.spawn(|| arena.run(&mut swaps, arena.with(json!({"attack": "swap", "ms": RACE_MS}))));
        let called = arena.run(&mut calls, arena.with(json!({"attack": "file-in-a-race", "ms": RACE_MS})));
        (swapper.join().expect("no panic"), called)
    });
    for (place, result) in swapped? {
        let swaps = held(place, &result)["swaps"].as_u64();
        assert!(swaps > Some(20), "{}: {swaps:?} swaps are no race", place.name);
    }
    for (place, result) in called? {
        let said = held(place, &result);
        assert!(
            said["good"].as_u64() > Some(0) && said["calls"].as_u64() > Some(50),
            "{}: {said}",
            place.name
        );
        let stolen = fs::read_to_string(place.granted("stolen")).unwrap_or_default();
        assert_ne!(stolen, CANARY, "{}", place.name);
        place.untouched();
    }
    for (place, before) in arena.places.iter().zip(&before) {
        let diff = before.diff(&place.snapshot()?);
        assert!(diff.is_empty(), "{}: {diff}", place.name);
    }
    arena.stands(&mut calls)?;
    swaps.stop()?;
    calls.stop()?;
    guard.check()
}

#[test]
fn proc_granted_leads_no_file_call_to_what_the_stub_has_open() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(None)?;
    for (place, result) in arena.run(&mut link, arena.attack("file-proc").allow("fs:/proc:rw"))? {
        let tried = held(place, &result)["tried"].as_u64();
        assert!(tried > Some(300), "{}: {tried:?}", place.name);
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}
