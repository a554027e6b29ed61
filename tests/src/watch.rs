//! Files that came and went between two looks: a recursive watch by inotify.
//!
//! The kernel queues an event before the system call that caused it returns, so [`Watch::finish`] sees all that
//! happened before it was called. inotify does not recurse by itself: a directory that appears is watched a moment
//! later, and what it already holds by then is reported as created. What came *and* went in it before that moment
//! is missed; the directory itself never is. Mounts made after the start are not entered.
//!
//! Writing to a device (/dev/null) changes no file and is no event.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::{Context, Error, Result};

const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Made here, or moved to here.
    Created,
    /// A writer closed it.
    Written,
    /// Mode, owner, times or link count.
    Attributes,
    /// Removed, or moved away.
    Deleted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub change: Change,
    pub path: PathBuf,
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.change {
            Change::Created => "created",
            Change::Written => "written",
            Change::Attributes => "attributes of",
            Change::Deleted => "deleted",
        };
        write!(out, "{verb} {}", self.path.display())
    }
}

/// A running watch.
pub struct Watch {
    /// Closing it ends the thread.
    stop: Option<OwnedFd>,
    watcher: Option<JoinHandle<Result<Vec<Event>>>>,
}

impl Watch {
    /// Watches everything below `roots`, but for what lies at or below an excluded path.
    pub fn start(roots: &[&Path], excluded: &[&Path]) -> Result<Self> {
        let doing = || "cannot start inotify; see fs.inotify.max_user_instances".to_owned();
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context(doing)?;
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context(doing)?;
        let mut watcher = Watcher {
            queue,
            excluded: excluded.iter().map(|path| (*path).to_owned()).collect(),
            directories: HashMap::new(),
            events: Vec::new(),
        };
        for root in roots {
            if !root.is_dir() {
                return Err(Error::new(format!("cannot watch {}: it is no directory", root.display())));
            }
            watcher.add(root, Report::Nothing).context(|| format!("cannot watch {}", root.display()))?;
        }
        let watcher = thread::spawn(move || watcher.run(&stopped));
        Ok(Self { stop: Some(stop), watcher: Some(watcher) })
    }

    /// Ends the watch and gives all that was seen, in order.
    pub fn finish(mut self) -> Result<Seen> {
        self.stop = None;
        let joined = self.watcher.take().map(JoinHandle::join);
        let Some(Ok(events)) = joined else { return Err(Error::new("the watching thread has panicked")) };
        Ok(Seen { events: events? })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// All that a watch saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub events: Vec<Event>,
}

impl Seen {
    /// Paths that were created and later deleted: what two snapshots cannot show.
    pub fn came_and_went(&self) -> Vec<&Path> {
        let mut paths: Vec<&Path> = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            let went = |later: &Event| later.change == Change::Deleted && later.path == event.path;
            if event.change == Change::Created
                && !paths.contains(&event.path.as_path())
                && self.events.iter().skip(index).any(went)
            {
                paths.push(&event.path);
            }
        }
        paths
    }

    pub fn has(&self, change: Change, path: &Path) -> bool {
        self.events.iter().any(|event| event.change == change && event.path == path)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.iter().try_for_each(|event| writeln!(out, "{event}"))
    }
}

struct Watcher {
    queue: OwnedFd,
    excluded: Vec<PathBuf>,
    directories: HashMap<i32, PathBuf>,
    events: Vec<Event>,
}

/// Whether what a newly watched directory already holds is news.
#[derive(Clone, Copy)]
enum Report {
    Nothing,
    Contents,
}

impl Watcher {
    fn run(mut self, stopped: &OwnedFd) -> Result<Vec<Event>> {
        loop {
            let mut fds = [PollFd::new(&self.queue, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context(|| "cannot wait for inotify".to_owned()),
            }
            let [_, stop] = fds;
            // Noted before the queue is drained: all that preceded the stop is then in the queue.
            let last = !stop.revents().is_empty();
            self.drain()?;
            if last {
                return Ok(self.events);
            }
        }
    }

    fn drain(&mut self) -> Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        loop {
            // Handling an event adds watches to the queue, so a batch is taken out first.
            let mut batch = Vec::new();
            let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
            let emptied = loop {
                match reader.next() {
                    Ok(event) => {
                        let name =
                            event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                        batch.push((event.wd(), event.events(), name));
                    }
                    Err(Errno::AGAIN) => break true,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error).context(|| "cannot read from inotify".to_owned()),
                }
                if reader.is_buffer_empty() {
                    break false;
                }
            };
            for (watch, flags, name) in batch {
                if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                    let what = "inotify lost events; raise fs.inotify.max_queued_events or watch less";
                    return Err(Error::new(what));
                }
                if flags.contains(ReadFlags::IGNORED) {
                    self.directories.remove(&watch);
                } else if let (Some(directory), Some(name)) = (self.directories.get(&watch), name) {
                    let path = directory.join(name);
                    self.note(path, flags)?;
                }
            }
            if emptied {
                return Ok(());
            }
        }
    }

    fn note(&mut self, path: PathBuf, flags: ReadFlags) -> Result<()> {
        if self.is_excluded(&path) {
            return Ok(());
        }
        let change = if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            Change::Created
        } else if flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            Change::Deleted
        } else if flags.contains(ReadFlags::CLOSE_WRITE) {
            Change::Written
        } else {
            Change::Attributes
        };
        if change == Change::Written && is_device(&path) {
            return Ok(());
        }
        let is_new_directory = change == Change::Created && flags.contains(ReadFlags::ISDIR);
        self.push(change, path.clone());
        if is_new_directory {
            self.add(&path, Report::Contents).context(|| format!("cannot watch {}", path.display()))?;
        }
        Ok(())
    }

    /// Watches a directory and all below it. One that is gone by now is no error; neither is a root that is none:
    /// [`Watch::start`] has looked.
    fn add(&mut self, directory: &Path, report: Report) -> std::result::Result<(), Errno> {
        if self.is_excluded(directory) {
            return Ok(());
        }
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(&self.queue, directory, flags) {
            Ok(watch) => self.directories.insert(watch, directory.to_owned()),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(error),
        };
        // Listed after the watch is set, or a file made in between would be in neither.
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if matches!(report, Report::Contents) && !self.is_excluded(&path) {
                self.push(Change::Created, path.clone());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add(&path, report)?;
            }
        }
        Ok(())
    }

    /// A file seen both by listing and by event is one event.
    fn push(&mut self, change: Change, path: PathBuf) {
        let latest = self.events.iter().rev().find(|event| event.path == path);
        let known = latest.is_some_and(|event| event.change != Change::Deleted);
        if change != Change::Created || !known {
            self.events.push(Event { change, path });
        }
    }

    fn is_excluded(&self, path: &Path) -> bool {
        self.excluded.iter().any(|excluded| path.starts_with(excluded))
    }
}

/// One that is gone by now counts as a file; its coming and going are events anyway.
fn is_device(path: &Path) -> bool {
    let kind = fs::symlink_metadata(path).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_char_device() || kind.is_block_device())
}
