//! Fails a test that leaves something behind: a process, a file in a watched directory, an open descriptor.
//!
//! ```no_run
//! # use waft_tests::{lab::Lab, leak::LeakGuard};
//! let lab = Lab::of(2)?;
//! let guard = LeakGuard::start().watch_dir("/dev/shm");
//! // ... what is tested ...
//! guard.check()?;
//! # Ok::<(), waft_tests::Error>(())
//! ```
//!
//! What existed when the guard was started is no leak: start the lab first and the guard after it. Everything else
//! gets [`LEAK_LIMIT`] to disappear, because the end of an sshd session or of a closed link takes a moment.
//!
//! Processes are all descendants of the test process. It is made a subreaper, so that one which called setsid or
//! forked twice falls to us instead of init; this reaches through the lab's sshds too. Under cargo-nextest each test
//! is a process, and the guard is exact. Under `cargo test` a neighbour's processes and descriptors look like ours,
//! and would be killed as leaks: there the guard needs `-- --test-threads=1`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{self, Process, ProcessId, adopt_orphans, descendants, signal_pid, wait_until};
use crate::{Error, Result};

/// How long the remains of a test may take to disappear.
pub const LEAK_LIMIT: Duration = Duration::from_secs(20);

/// Remembers what there was. Dropped without [`LeakGuard::check`], it checks, and panics on a leak.
#[must_use = "a guard that is dropped at once guards nothing"]
pub struct LeakGuard {
    processes: BTreeSet<ProcessId>,
    descriptors: BTreeMap<u32, PathBuf>,
    directories: Vec<(PathBuf, BTreeSet<PathBuf>)>,
    limit: Duration,
    checked: bool,
}

/// What was left, one line each.
#[derive(Debug, Default)]
pub struct Leaks {
    pub processes: Vec<Process>,
    pub files: Vec<PathBuf>,
    /// Number and what it leads to.
    pub descriptors: Vec<(u32, PathBuf)>,
}

impl LeakGuard {
    pub fn start() -> Self {
        adopt_orphans();
        Self {
            processes: children().into_iter().map(|process| process.id).collect(),
            descriptors: open_descriptors(),
            directories: Vec::new(),
            limit: LEAK_LIMIT,
            checked: false,
        }
    }

    /// Files that appear in or below this directory and stay are leaks too.
    pub fn watch_dir(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let present = files_below(&path);
        self.directories.push((path, present));
        self
    }

    /// Changes how long remains may take to disappear.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// What is there now that was not at the start. Does not wait.
    pub fn leaks(&self) -> Leaks {
        let processes =
            children().into_iter().filter(|process| !self.processes.contains(&process.id)).collect();
        let descriptors = open_descriptors()
            .into_iter()
            .filter(|(number, target)| self.descriptors.get(number) != Some(target))
            .collect();
        let files = self
            .directories
            .iter()
            .flat_map(|(path, present)| files_below(path).into_iter().filter(|file| !present.contains(file)))
            .collect();
        Leaks { processes, files, descriptors }
    }

    /// Waits until nothing is left; at the limit, lists what is, and kills the processes among it.
    pub fn check(mut self) -> Result<()> {
        self.checked = true;
        self.settle()
    }

    fn settle(&self) -> Result<()> {
        if wait_until("leaks to go", self.limit, || self.leaks().is_empty().then_some(())).is_ok() {
            return Ok(());
        }
        let leaks = self.leaks();
        if leaks.is_empty() {
            return Ok(());
        }
        for process in &leaks.processes {
            if process::is_alive(process.id) {
                signal_pid(process.id.pid, Signal::KILL);
            }
        }
        Err(Error::new(format!("left behind after {} ms:\n{leaks}", self.limit.as_millis())))
    }
}

impl Drop for LeakGuard {
    fn drop(&mut self) {
        if self.checked {
            return;
        }
        let settled = self.settle();
        match settled {
            // A second panic would abort the test and hide the first.
            Err(error) if std::thread::panicking() => eprintln!("{error}"),
            Err(error) => panic!("{error}"),
            Ok(()) => {}
        }
    }
}

impl Leaks {
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.files.is_empty() && self.descriptors.is_empty()
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for process in &self.processes {
            writeln!(out, "  process {process}")?;
        }
        for file in &self.files {
            writeln!(out, "  file {}", file.display())?;
        }
        for (number, target) in &self.descriptors {
            writeln!(out, "  descriptor {number}: {}", target.display())?;
        }
        Ok(())
    }
}

fn children() -> Vec<Process> {
    descendants(&[std::process::id()])
}

fn files_below(path: &Path) -> BTreeSet<PathBuf> {
    fn walk(path: &Path, found: &mut BTreeSet<PathBuf>) {
        // What cannot be listed, or is gone, holds nothing a test could have been asked to remove.
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&path, found);
            }
            found.insert(path);
        }
    }
    let mut found = BTreeSet::new();
    walk(path, &mut found);
    found
}

/// Descriptors of this process. The one by which the list is read is not in it: its number leads nowhere by the time
/// it is looked up.
fn open_descriptors() -> BTreeMap<u32, PathBuf> {
    let numbers: Vec<u32> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers
        .into_iter()
        .filter_map(|number| Some((number, fs::read_link(format!("/proc/self/fd/{number}")).ok()?)))
        .collect()
}
