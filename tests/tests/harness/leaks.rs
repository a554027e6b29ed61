//! The leak guard catches what it says it catches.

use std::fs;
use std::process::Command;
use std::time::Duration;

use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::wait_until;
use waft_tests::{Result, process};

use crate::SOON;

const BRIEF: Duration = Duration::from_millis(200);

#[test]
fn a_process_that_left_its_session_and_its_parent_is_caught_and_ended() -> Result<()> {
    let guard = LeakGuard::start().limit(BRIEF);
    // setsid forks here and its parent, the shell, is gone at once: nothing but adoption leads from it to us.
    let mut command = Command::new("sh");
    command.args(["-c", "setsid -f sleep 4711 </dev/null >/dev/null 2>&1"]);
    assert!(command.status().unwrap().success());
    let found = guard.leaks().processes.into_iter().find(|process| process.command == "sleep 4711");
    let leaked = wait_until("the leak to be a sleep", SOON, || {
        found.clone().or_else(|| guard.leaks().processes.into_iter().find(|it| it.command == "sleep 4711"))
    })?;
    let error = guard.check().unwrap_err().to_string();
    assert!(error.contains("sleep 4711") && error.contains(&leaked.id.pid.to_string()), "{error}");
    wait_until("the leak's end", SOON, || (!process::is_alive(leaked.id)).then_some(()))
}

#[test]
fn a_process_left_by_a_session_of_an_earlier_sshd_is_caught() -> Result<()> {
    let lab = Lab::of(1)?;
    let guard = LeakGuard::start().limit(BRIEF);
    let done = lab.ssh(&["h1", "setsid -f sleep 4712 </dev/null >/dev/null 2>&1"])?;
    assert!(done.status.success(), "{}", done.stderr_text());
    let error = guard.check().unwrap_err().to_string();
    assert!(error.contains("sleep 4712"), "{error}");
    Ok(())
}

#[test]
fn a_file_and_a_descriptor_are_caught() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("before"), "").unwrap();
    let guard = LeakGuard::start().watch_dir(dir.path()).limit(BRIEF);
    let path = dir.path().join("left");
    let open = fs::File::create(&path).unwrap();
    let error = guard.check().unwrap_err().to_string();
    assert_eq!(error.matches(&path.display().to_string()).count(), 2, "{error}");
    assert!(error.contains("descriptor") && !error.contains("before"), "{error}");
    drop(open);
}

#[test]
fn what_goes_in_time_is_no_leak() -> Result<()> {
    let guard = LeakGuard::start();
    let mut short = Command::new("sleep").arg("0.3").spawn().unwrap();
    let checked = guard.check();
    assert!(short.wait().unwrap().success());
    checked
}

#[test]
#[should_panic(expected = "left behind")]
fn a_guard_that_is_only_dropped_fails_the_test_too() {
    let dir = tempfile::tempdir().unwrap();
    let _guard = LeakGuard::start().watch_dir(dir.path()).limit(BRIEF);
    fs::write(dir.path().join("left"), "").unwrap();
}
