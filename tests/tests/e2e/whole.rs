//! No file of a target changes, none comes and goes, and no process stays: over its whole file system and all its
//! processes. The last tests prove that the proof can fail.

use std::fs;
use std::time::Duration;

use crate::LIMIT;
use rustix::process::Signal;
use waft_tests::lab::Lab;
use waft_tests::machine::{self, Changes, Login, Machine};
use waft_tests::process::{signal_pid, wait_until};
use waft_tests::waft::Waft;
use waft_tests::watch::Change;
use waft_tests::{Result, need_root};

/// How long the end of a session may take.
const SETTLED: Duration = Duration::from_secs(20);
/// Programs, libraries and files of a small server, and where a program could leave something.
const ENTRIES_MIN: usize = 80;
const PLACES: [&str; 9] =
    ["/", "/tmp", "/var/tmp", "/dev/shm", "/run", "/var/log/lastlog", "/root", "/home/ops", "/etc/passwd"];
const PROGRAM: &str = "/bin/sleep 1000";

fn possible() -> bool {
    let possible = machine::is_possible();
    if !possible {
        eprintln!("SKIPPED (needs root or user namespaces): a target with a file system of its own");
    }
    possible
}

/// `-t target ARGUMENTS` ends well; gives what it printed.
fn waft(lab: &Lab, command: &str, target: &str, arguments: &[&str]) -> Result<String> {
    let waft = Waft::new(command)?.lab(lab).args(["-t", target]).args(arguments).limit(LIMIT);
    Ok(waft.run()?.expect_code(0)?.stdout())
}

fn shell(lab: &Lab, target: &str, script: &str) -> Result<String> {
    waft(lab, "exec", target, &["--", "/bin/sh", "-c", script])
}

/// How the stub got there, by its own word.
fn delivery(lab: &Lab, target: &str) -> Result<String> {
    let answer = waft(lab, "ping", target, &["--format", "json"])?;
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    Ok(answer[0]["delivery"].as_str().expect("a word").to_owned())
}

/// Whatever reaches a target: each command, a task's remains, and a controller that vanishes.
fn everything(lab: &Lab, target: &str, machine: &Machine) -> Result<()> {
    assert_eq!(delivery(lab, target)?, "memfd");
    let run = Waft::new("run")?.lab(lab).args(["facts", "--allow", "facts", "-t", target]).limit(LIMIT);
    // The second time the target is remembered, and nothing waits for what it says of itself.
    run.run()?.expect_code(0)?;
    run.run()?.expect_code(0)?;
    let said = shell(lab, target, "setsid sleep 1000 >/dev/null 2>&1 & echo done")?;
    assert_eq!(said, "done\n");
    assert!(waft(lab, "tree", target, &[])?.contains("memfd"));
    let exec = Waft::new("exec")?.lab(lab).args(["-t", target, "--"]).args(PROGRAM.split(' ')).limit(LIMIT);
    let exec = exec.spawn()?;
    wait_until("the program runs", LIMIT, || {
        machine.running().iter().any(|process| process.command == PROGRAM).then_some(())
    })?;
    // Killed.
    drop(exec);
    Ok(())
}

fn stays_as_it_is(login: Login) -> Result<()> {
    let lab = Lab::of(0)?;
    let machine = Machine::start(&lab, "h1", login, None)?;
    let observation = machine.observe()?;
    assert!(observation.entries() >= ENTRIES_MIN, "only {} entries", observation.entries());
    for place in PLACES {
        assert!(observation.covers(place), "{place}");
    }
    everything(&lab, "h1", &machine)?;
    let changes = observation.finish(SETTLED)?;
    assert!(changes.is_empty(), "{changes}");
    Ok(())
}

#[test]
fn a_target_stays_as_it_is_for_an_ordinary_account() -> Result<()> {
    match possible() {
        true => stays_as_it_is(Login::Ordinary),
        false => Ok(()),
    }
}

#[test]
fn a_target_stays_as_it_is_for_root() -> Result<()> {
    need_root!("logging in as root");
    stays_as_it_is(Login::Root)
}

#[test]
fn a_hop_and_a_target_behind_it_stay_as_they_are() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let lab = Lab::of(0)?;
    let hop = Machine::start(&lab, "bas", Login::Ordinary, None)?;
    let target = Machine::start(&lab, "t1", Login::Ordinary, Some("bas"))?;
    let observations = [hop.observe()?, target.observe()?];
    everything(&lab, "t1", &target)?;
    let tree = waft(&lab, "tree", "t1", &[])?;
    assert_eq!(tree.lines().filter(|line| line.contains("memfd")).count(), 2, "{tree}");
    for observation in observations {
        let changes = observation.finish(SETTLED)?;
        assert!(changes.is_empty(), "{changes}");
    }
    Ok(())
}

#[test]
fn without_memfd_one_file_comes_and_goes_and_is_seen() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let lab = Lab::of(0)?;
    let machine = Machine::start(&lab, "h1", Login::Ordinary, None)?;
    // These two can make a memfd.
    remove(&machine, &["/usr/bin/perl", "/usr/bin/python3"]);
    let observation = machine.observe()?;
    assert_eq!(delivery(&lab, "h1")?, "dir:/dev/shm");
    let changes = observation.finish(SETTLED)?;
    let stub = machine.path("/dev/shm/.waft-").display().to_string();
    let brief = changes.seen.came_and_went();
    assert!(matches!(brief.as_slice(), [one] if one.display().to_string().starts_with(&stub)), "{changes}");
    // The directory tells by its time that there was something.
    let diff = changes.diff.lines.as_slice();
    assert!(matches!(diff, [one] if one.contains("/dev/shm: mtime")), "{changes}");
    assert!(changes.left.is_empty(), "{changes}");
    Ok(())
}

/// Python keeps byte code beside its modules, if it may write there: here nobody has run it before.
#[test]
fn python_writes_no_byte_code() -> Result<()> {
    need_root!("an account that may write to Python's directories");
    let lab = Lab::of(0)?;
    let machine = Machine::start(&lab, "h1", Login::Root, None)?;
    remove(&machine, &["/usr/bin/perl"]);
    let observation = machine.observe()?;
    assert_eq!(delivery(&lab, "h1")?, "memfd");
    let changes = observation.finish(SETTLED)?;
    assert!(changes.is_empty(), "{changes}");
    Ok(())
}

fn remove(machine: &Machine, programs: &[&str]) {
    for program in programs {
        fs::remove_file(machine.path(program)).expect("a program of the machine");
    }
}

/// What a task does, what the snapshot says of which path, and what the watch does.
const CHANGES: [(&str, &str, &str, Change, &str); 6] = [
    ("touch /tmp/x && rm /tmp/x", "/tmp: ", "mtime ", Change::Deleted, "/tmp/x"),
    ("touch /dev/shm/x && rm /dev/shm/x", "/dev/shm: ", "mtime ", Change::Deleted, "/dev/shm/x"),
    ("echo kept >/var/tmp/x", "/var/tmp/x ", "(file, 5 bytes)", Change::Created, "/var/tmp/x"),
    // Changed and set back: only the time that nobody can set tells.
    (
        "cd && chmod u+x .bashrc && chmod u-x .bashrc",
        "/home/ops/.bashrc: ",
        "ctime ",
        Change::Attributes,
        "/home/ops/.bashrc",
    ),
    (
        "cd && read line <.bashrc && cp -p .bashrc /tmp/x && echo \"$line\" >.bashrc && touch -r /tmp/x .bashrc",
        "/home/ops/.bashrc: ",
        "ctime ",
        Change::Written,
        "/home/ops/.bashrc",
    ),
    (
        "cd && cp -p .bashrc x && mv x .bashrc",
        "/home/ops/.bashrc: ",
        "inode ",
        Change::Created,
        "/home/ops/.bashrc",
    ),
];

#[test]
fn what_a_task_changes_is_found() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let lab = Lab::of(0)?;
    let machine = Machine::start(&lab, "h1", Login::Ordinary, None)?;
    for (script, path, what, change, touched) in CHANGES {
        let changes = after(&lab, &machine, script)?;
        let about = machine.path(path).display().to_string();
        let told = |line: &&String| line.contains(&about) && line.contains(what);
        assert_eq!(changes.diff.lines.iter().filter(told).count(), 1, "{script}\n{changes}");
        assert!(changes.seen.has(change, &machine.path(touched)), "{script}\n{changes}");
        assert!(changes.left.is_empty(), "{script}\n{changes}");
    }
    let changes = after(&lab, &machine, "cat /etc/passwd >/dev/null")?;
    assert!(changes.is_empty(), "{changes}");
    Ok(())
}

fn after(lab: &Lab, machine: &Machine, script: &str) -> Result<Changes> {
    let observation = machine.observe()?;
    shell(lab, &machine.name, &format!("HOME=/home/ops; {script}"))?;
    observation.finish(SETTLED)
}

#[test]
fn a_process_that_stays_is_found() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    let lab = Lab::of(0)?;
    let machine = Machine::start(&lab, "h1", Login::Ordinary, None)?;
    let observation = machine.observe()?;
    // By ssh, because waft leaves none.
    let ssh = lab.ssh(&["h1", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &"])?;
    assert!(ssh.status.success(), "{}", ssh.stderr_text());
    let remains = || machine.running().into_iter().map(|process| process.command).collect::<Vec<_>>();
    wait_until("the session to end", SETTLED, || (remains() == ["sleep 1000"]).then_some(()))?;
    let changes = observation.finish(Duration::ZERO)?;
    assert!(!changes.is_empty() && changes.left.len() == 1, "{changes}");
    assert!(changes.diff.is_empty() && changes.seen.events.is_empty(), "{changes}");
    signal_pid(changes.left[0].id.pid, Signal::KILL);
    wait_until("the process to end", SETTLED, || remains().is_empty().then_some(()))
}
