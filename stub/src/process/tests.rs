//! Killing what is below a process, with real processes. The keeper has a test program of its own.

use super::{KILL_LIMIT, below, kill_below};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A shell that runs `script`, and the lines that it prints.
fn shell(script: &str) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("a shell");
    let stdout = child.stdout.take().expect("a pipe");
    (child, BufReader::new(stdout).lines().map_while(Result::ok))
}

#[test]
fn children_of_children_are_found_and_killed() {
    let (mut child, mut lines) = shell("sh -c 'sleep 1000 & echo $$; wait' & wait");
    let inner: u32 = lines.next().and_then(|line| line.parse().ok()).expect("a pid");
    let found: Vec<u32> = below(child.id()).iter().map(|process| process.pid).collect();
    assert!(found.contains(&inner) && found.len() >= 2, "{found:?}");
    assert!(kill_below(child.id(), KILL_LIMIT));
    assert!(below(child.id()).is_empty());
    child.kill().expect("it was not killed: it is the root");
    child.wait().expect("waited for");
}

#[test]
fn a_tree_that_grows_while_it_is_killed_ends_too() {
    // Each generation starts two more and waits; at most some hundred before the kill comes. The root forks no more when it
    // says so: what it forked later would be nobody's to find.
    let script = r#"
        f() {
            if [ $1 -gt 0 ]; then (f $(($1-1))) & (f $(($1-1))) & fi
            if [ $1 = 6 ]; then echo go; exec sleep 1000; fi
            sleep 1000
        }
        f 6"#;
    let (mut child, mut lines) = shell(script);
    assert_eq!(lines.next().as_deref(), Some("go"));
    let began = Instant::now();
    assert!(kill_below(child.id(), KILL_LIMIT), "left: {:?}", below(child.id()));
    assert!(began.elapsed() < KILL_LIMIT * 2);
    child.kill().expect("the root lives");
    child.wait().expect("waited for");
}

#[test]
fn nothing_below_is_nothing_to_do() {
    let (mut child, mut lines) = shell("echo go; exec sleep 1000");
    assert_eq!(lines.next().as_deref(), Some("go"));
    assert!(kill_below(child.id(), KILL_LIMIT));
    assert!(child.try_wait().expect("asked").is_none(), "the root itself is not touched");
    child.kill().expect("it lives");
    child.wait().expect("waited for");
}
