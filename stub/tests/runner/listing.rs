//! A directory whose entries come and go while it is listed.

use crate::lab::{command, task};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use waft_proto::run::Status;

const LISTINGS: usize = 30;
/// Files that stay.
const STAY: usize = 150;
/// Files that come and go. With so many, one is gone by the time it is looked at in about every listing.
const GO: usize = 150;

/// Lists its first directory again and again, in parts of 500 bytes, a name a line and an empty line after each listing. Exits
/// with the error number.
fn lists() -> String {
    let body = format!(
        "(local $round i32) (local $cookie i64) (local $used i32) (local $at i32) (local $end i32) (local $error i32)
         (loop $again
           (local.set $cookie (i64.const 0))
           (loop $part
             (local.set $error (call $readdir (i32.const 3) (i32.const 70000) (i32.const 500) (local.get $cookie) (i32.const 16)))
             (if (local.get $error) (then (call $proc_exit (local.get $error))))
             (local.set $used (i32.load (i32.const 16)))
             (local.set $at (i32.const 0))
             (block $cut
               (loop $entry
                 (br_if $cut (i32.gt_u (i32.add (local.get $at) (i32.const 24)) (local.get $used)))
                 (local.set $end
                   (i32.add (i32.add (local.get $at) (i32.const 24)) (i32.load offset=70016 (local.get $at))))
                 (br_if $cut (i32.gt_u (local.get $end) (local.get $used)))
                 (call $write (i32.const 1)
                   (i32.add (local.get $at) (i32.const 70024)) (i32.load offset=70016 (local.get $at)))
                 (call $write (i32.const 1) (i32.const 1024) (i32.const 1))
                 (local.set $cookie (i64.load offset=70000 (local.get $at)))
                 (local.set $at (local.get $end))
                 (br $entry)))
             (br_if $part (i32.eq (local.get $used) (i32.const 500))))
           (call $write (i32.const 1) (i32.const 1024) (i32.const 1))
           (local.set $round (i32.add (local.get $round) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $round) (i32.const {LISTINGS}))))"
    );
    let module = command("\n", &body);
    let import = "(import \"wasi_snapshot_preview1\" \"fd_readdir\" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))";
    module.replacen("(module", &format!("(module {import}"), 1)
}

#[tokio::test]
async fn entries_that_come_and_go_harm_nobody() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut stay: Vec<_> = (0..STAY).map(|number| format!("stays-{number:03}")).collect();
    for name in &stay {
        fs::write(dir.path().join(name), "").expect("a file");
    }
    let done = Arc::new(AtomicBool::new(false));
    let (told, path) = (Arc::clone(&done), dir.path().to_owned());
    let changes = std::thread::spawn(move || {
        let mut removed = 0;
        while !told.load(Ordering::Relaxed) {
            for number in 0..GO {
                fs::write(path.join(format!("goes-{number}")), "").expect("a file");
            }
            for number in 0..GO {
                fs::remove_file(path.join(format!("goes-{number}"))).expect("it was there");
                removed += 1;
            }
        }
        removed
    });
    let ran = task(lists()).grant(format!("fs:{}", dir.path().display())).run().await;
    done.store(true, Ordering::Relaxed);
    let removed = changes.join().expect("files come and go");
    assert_eq!(ran.outcome.status, Status::Ok, "{:?} {:?}", ran.outcome.exit_code, ran.outcome.problem);
    assert!(removed > LISTINGS, "nothing went away meanwhile");

    stay.extend([".".to_owned(), "..".to_owned()]);
    stay.sort();
    let listings: Vec<_> = ran.stdout().split_terminator("\n\n").collect();
    assert_eq!(listings.len(), LISTINGS);
    for listing in listings {
        let mut seen: Vec<_> = listing.lines().filter(|name| !name.starts_with("goes-")).collect();
        seen.sort_unstable();
        assert_eq!(seen, stay, "each that stays is listed once");
    }
}
