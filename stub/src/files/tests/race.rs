//! Paths that somebody swaps for symlinks while they are used.

use super::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls of each kind that must have been seen to do something and to be refused: until then the race was none.
const CALLS_MIN: u32 = 2_000;
const CALLS_MAX: u32 = 200_000;

/// Says that it is over when it is dropped: also when a check fails, or the thread that waits for it never ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Swaps two names as fast as it can while `work` is done, over and over, until it was let through and refused often.
fn while_swapping(place: &Place, a: &str, b: &str, work: impl Fn(u32) -> Result<Value, Problem>) {
    let (a, b) = (place.path(a), place.path(b));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).expect("both are there");
            }
        });
        let _over = Over(&over);
        let mut seen = BTreeMap::<String, u32>::new();
        let mut calls = 0;
        while calls < CALLS_MAX {
            calls += 1;
            let code = work(calls).map_or_else(|problem| problem.code, |_| "done".to_owned());
            *seen.entry(code).or_default() += 1;
            let enough = |code: &str| seen.get(code).is_some_and(|seen| *seen >= CALLS_MIN / 20);
            if calls >= CALLS_MIN && enough("done") && enough("file.escape") {
                break;
            }
        }
        let known = ["done", "file.escape", "file.exists", "file.not_found", "file.busy", "file.symlink"];
        assert!(seen.keys().all(|code| known.contains(&code.as_str())), "{seen:?}");
        assert!(calls < CALLS_MAX, "it was no race: {seen:?}");
    });
}

#[test]
fn a_file_that_becomes_a_symlink_is_itself_or_refused() {
    let place = Place::new();
    symlink("../outside/file", place.path("rw/spare")).expect("a link");
    let before = place.outside();
    while_swapping(&place, "rw/file", "rw/spare", |n| {
        let (mode, time, path) = (if n % 2 == 0 { "0777" } else { "0600" }, n, "rw/file");
        place.ask(match n % 8 {
            0 | 1 => json!({"op": "chmod", "path": path, "mode": mode, "follow": true}),
            2 | 3 => json!({"op": "utime", "path": path, "mtime": time, "follow": true}),
            4 => json!({"op": "setxattr", "path": path, "name": "user.x", "value": n.to_string(), "follow": true}),
            5 => json!({"op": "removexattr", "path": path, "name": "user.x", "follow": true}),
            6 => json!({"op": "chown", "path": path, "group": rustix::process::getegid().as_raw(), "follow": true}),
            _ => json!({"op": "chmod", "path": path, "mode": mode}),
        })
    });
    assert_eq!(place.outside(), before);
}

#[test]
fn a_directory_that_becomes_a_symlink_is_itself_or_refused() {
    let place = Place::new();
    symlink("../outside", place.path("rw/spare")).expect("a link");
    let before = place.outside();
    while_swapping(&place, "rw/dir", "rw/spare", |n| {
        let mode = if n % 2 == 0 { "0777" } else { "0600" };
        place.ask(match n % 6 {
            0 => json!({"op": "chmod", "path": "rw/dir/file", "mode": mode}),
            1 => json!({"op": "symlink", "path": "rw/dir/new", "target": "x"}),
            2 => json!({"op": "rename", "path": "rw/dir/new", "to": "rw/dir/newer"}),
            3 => json!({"op": "rename", "path": "rw/dir/newer", "to": "rw/taken"}),
            4 => json!({"op": "link", "path": "rw/dir/file", "to": format!("rw/dir/{}", n % 64)}),
            _ => json!({"op": "utime", "path": "rw/dir/file", "mtime": n}),
        })
    });
    assert_eq!(place.outside(), before);
}

#[test]
fn directories_that_move_while_they_are_left_by_dots_stay_inside() {
    let place = Place::new();
    fs::create_dir(place.path("outside/deep")).expect("a directory");
    fs::create_dir_all(place.path("rw/dir/deep")).expect("a directory");
    fs::write(place.path("rw/new"), "").expect("a file");
    let before = place.outside();
    // What moves out of the granted directory while the kernel is in it leads to what is there.
    let (inside, outside) = (place.path("rw/dir/deep"), place.path("moved"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                fs::rename(&inside, &outside).expect("it is there");
                fs::rename(&outside, &inside).expect("it is there");
            }
        });
        let _over = Over(&over);
        let mut done = 0;
        for n in 0..8_000 {
            let mode = if n % 2 == 0 { "0777" } else { "0600" };
            let path = "rw/dir/deep/../../../outside/file";
            assert!(place.ask(json!({"op": "chmod", "path": path, "mode": mode})).is_err());
            done += u32::from(
                place.ask(json!({"op": "chmod", "path": "rw/dir/deep/../file", "mode": mode})).is_ok(),
            );
        }
        assert!(done > 0);
    });
    assert_eq!(place.outside(), before);
}
