//! The harness tests itself: what it claims to catch it catches, what it claims to start is the real thing.
//!
//! Run with cargo-nextest, or with `--test-threads=1`; see the crate's documentation.

mod files;
mod hosts;
mod leaks;
mod link;
mod program;
mod users;

use std::process::Command;
use std::thread;
use std::time::Duration;

use waft_tests::process::spawn_bound;
use waft_tests::{Result, process};

/// A bound on every wait: far above what anything here takes on a loaded machine.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_started_process_outlives_the_thread_that_asked_for_it() -> Result<()> {
    let mut child = thread::spawn(|| {
        let mut command = Command::new("sleep");
        command.arg("1000");
        spawn_bound(command).unwrap()
    })
    .join()
    .unwrap();
    assert!(child.try_wait().unwrap().is_none());
    process::kill_trees(&mut [&mut child]);
    assert!(!child.wait().unwrap().success());
    Ok(())
}
