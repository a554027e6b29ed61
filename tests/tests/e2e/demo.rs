//! The embedded fleet: shown, kept, entered, used by another process, and gone.

use crate::LIMIT;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use waft_tests::Result;
use waft_tests::leak::LeakGuard;
use waft_tests::process::wait_until;
use waft_tests::waft::{Waft, binary};

#[test]
fn the_demo_shows_a_run_and_leaves_nothing() -> Result<()> {
    let guard = LeakGuard::start();
    let demo =
        Waft::new("demo")?.args(["--hosts", "3", "--rtt", "10ms"]).limit(LIMIT).run()?.expect_code(0)?;
    let shown = demo.stdout();
    for words in
        ["bastion", "web3", "controller > bastion", "\"distribution\"", "From nothing to all results"]
    {
        assert!(shown.contains(words), "{words} is missing in {shown}");
    }
    assert!(!shown.contains("\"hostname\""), "only the facts that were asked for: {shown}");
    drop(demo);
    guard.check()
}

#[test]
#[expect(clippy::zombie_processes, reason = "a test that fails early ends, and its process with it")]
fn a_kept_fleet_serves_another_process_and_ssh_enters_it() -> Result<()> {
    let guard = LeakGuard::start();
    let home = tempfile::tempdir().expect("a directory");
    let mut demo = Command::new(binary()?)
        .args(["demo", "--hosts", "2", "--rtt", "5ms", "--keep"])
        .env("HOME", home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the demo starts");
    let stdout = BufReader::new(demo.stdout.take().expect("its stdout"));
    let (mut enter, mut inventory) = (None, None);
    for line in stdout.lines() {
        let line = line.expect("text");
        if let Some((_, command)) = line.split_once("enter a host:") {
            enter = Some(command.trim().to_owned());
        }
        if let Some((_, rest)) = line.split_once(" -i ") {
            inventory = rest.split_whitespace().next().map(str::to_owned);
            break;
        }
    }
    let (enter, inventory) = (enter.expect("a line to enter"), inventory.expect("an inventory"));
    let other = Waft::new("exec")?
        .args(["-i", &inventory, "-t", "demo", "--format", "jsonl", "--", "/bin/echo", "from outside"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    for host in ["web1", "web2"] {
        assert_eq!(other.result_of(host)?["stdout"], "from outside\n");
    }
    drop(other);
    let entered = Command::new("sh")
        .args(["-c", &format!("{enter} 'echo in $WAFT_DEMO_HOST'")])
        .stdin(Stdio::null())
        .output();
    let entered = entered.expect("ssh runs");
    assert_eq!(
        String::from_utf8_lossy(&entered.stdout),
        "in web1\n",
        "{}",
        String::from_utf8_lossy(&entered.stderr)
    );
    let pid = rustix::process::Pid::from_child(&demo);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let status = wait_until("the demo ends", LIMIT, || demo.try_wait().expect("a child"))?;
    assert!(status.success(), "{status}");
    guard.check()
}
