//! Ways out of a granted directory.

use super::arena::{Arena, CANARY, held};
use serde_json::json;
use std::thread;
use waft_proto::envelope::Wall;
use waft_tests::Result;
use waft_tests::leak::LeakGuard;

/// For how long two tasks race, milliseconds.
const RACE_MS: u64 = 1_500;

#[test]
fn no_function_that_takes_a_path_leads_out() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(Some("rw"))?;
    let before = arena.places.iter().map(|place| place.snapshot()).collect::<Result<Vec<_>>>()?;
    for (place, result) in arena.run(&mut link, arena.attack("escape"))? {
        let tried = held(place, &result)["tried"].as_u64();
        assert!(tried > Some(1_500), "{}: {tried:?}", place.name);
        assert_eq!(result.walls.contains(&"landlock".to_owned()), place.wall == Wall::Required, "{result:?}");
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
fn a_directory_granted_for_reading_stays_as_it_is() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(Some("ro"))?;
    for (place, result) in arena.run(&mut link, arena.attack("read-only"))? {
        held(place, &result);
        assert_eq!(std::fs::read_to_string(place.granted("file")).expect("a file"), "inside");
        assert!(!place.granted("new").exists() && !place.granted("other").exists(), "{}", place.name);
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}

#[test]
fn a_link_that_another_task_swaps_in_leads_nowhere() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let (mut swaps, mut opens) = (arena.connect(Some("rw"))?, arena.connect(Some("rw"))?);
    let (swapped, opened) = thread::scope(|scope| {
        let swapper =
            scope.spawn(|| arena.run(&mut swaps, arena.with(json!({"attack": "swap", "ms": RACE_MS}))));
        let race = arena.with(json!({"attack": "open-in-a-race", "ms": RACE_MS}));
        let opened = arena.run(&mut opens, race);
        (swapper.join().expect("no panic"), opened)
    });
    for (place, result) in swapped? {
        let swaps = held(place, &result)["swaps"].as_u64();
        assert!(swaps > Some(20), "{}: {swaps:?} swaps are no race", place.name);
    }
    for (place, result) in opened? {
        let said = held(place, &result);
        assert!(said["good"].as_u64() > Some(20), "{}: {said}", place.name);
        let stolen = std::fs::read_to_string(place.granted("stolen")).unwrap_or_default();
        assert_ne!(stolen, CANARY, "{}", place.name);
        place.untouched();
    }
    arena.stands(&mut opens)?;
    swaps.stop()?;
    opens.stop()?;
    guard.check()
}

#[test]
fn proc_granted_shows_no_other_memory() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(None)?;
    for (place, result) in arena.run(&mut link, arena.attack("proc").allow("fs:/proc"))? {
        let said = result.result.clone().unwrap_or_default();
        assert!(said["processes"].as_u64() > Some(5), "{}: {said}", place.name);
        if place.wall == Wall::Required {
            held(place, &result);
            continue;
        }
        // Without the kernel's walls whoever gives `/proc` gives the memory of all that the account runs: the stub's, too.
        // Nothing but memory and environment, and no way to other files.
        let broke: Vec<&str> =
            said["broke"].as_array().into_iter().flatten().filter_map(|way| way.as_str()).collect();
        let memory = |way: &&&str| way.ends_with("/mem") || way.ends_with("/environ");
        assert!(
            broke.iter().all(|way| memory(&way) && way.starts_with("read ")),
            "{}: {broke:?}",
            place.name
        );
        assert!(!broke.is_empty(), "{}: the attack itself does not work", place.name);
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}
