//! The file `log` in a directory of its own, appended to by any number of processes at once. Nothing of it is ever
//! changed: what an interrupted write left stays, and the next line says so.

use super::line::{self, Fields, LINE_BYTES_MAX, NOTHING};
use rustix::fs::{AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use waft_proto::id::Hash;
use waft_proto::run::Problem;

const NAME: &str = "log";
/// Of the directory and those above it, where they are made.
const DIR_MODE: u32 = 0o700;
/// How long others may keep the file locked. They hold it for one write each.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
/// The same for a reader, who can do without.
const READ_LOCK_DEADLINE: Duration = Duration::from_secs(1);
const LOCK_POLL: Duration = Duration::from_millis(1);
/// Read first from the end of the file, bytes; most lines are shorter.
const TAIL_BYTES: u64 = 4096;
/// Group and others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

#[derive(Clone, Debug)]
pub struct Log {
    dir: PathBuf,
    /// What to do to have it at another place, after "or".
    elsewhere: &'static str,
}

/// How a log ends.
struct Tail {
    seq: u64,
    head: Hash,
    /// What stands behind the last line end.
    fragment: Vec<u8>,
}

impl Log {
    /// The log in this directory, which belongs to it alone. `elsewhere` says how another is named, for errors.
    pub fn at(dir: PathBuf, elsewhere: &'static str) -> Log {
        Log { dir, elsewhere }
    }

    pub fn file(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    /// Makes sure that lines can be written, and that there is room for so many bytes of them.
    pub fn prepare(&self, bytes: u64) -> Result<(), Problem> {
        let file = self.open()?;
        let length = self.length(&file)?;
        self.tail(&file, length)?;
        match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, length, bytes) {
            // Not every file system can promise room.
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                let text = format!(
                    "there is no room for the audit log {}: {}",
                    self.file().display(),
                    plain(&error)
                );
                Err(Problem::new("audit.write", text).hint(format!("free some, or {}", self.elsewhere)))
            }
            _ => Ok(()),
        }
    }

    /// Appends one line, whole or not at all as far as that is known here. With `sync` it is on disk afterwards.
    pub fn append(&self, time: SystemTime, event: &str, fields: Fields, sync: bool) -> Result<Hash, Problem> {
        let file = self.open()?;
        let length = self.length(&file)?;
        let Tail { mut seq, mut head, fragment } = self.tail(&file, length)?;
        let mut bytes = Vec::new();
        if !fragment.is_empty() {
            bytes.push(b'\n');
            match line::parse(&fragment).ok().filter(|line| line.seq == seq + 1 && line.prev == head) {
                // Only its end was missing.
                Some(line) => (seq, head) = (line.seq, line.hash),
                None => {
                    let sealed = line::seal(seq + 1, head, time, line::TORN, line::torn(&fragment));
                    bytes.extend(sealed.bytes);
                    (seq, head) = (seq + 1, sealed.hash);
                }
            }
        }
        let sealed = line::seal(seq + 1, head, time, event, fields);
        bytes.extend(sealed.bytes);
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, &bytes));
        match written {
            Ok(count) if count == bytes.len() => {}
            Ok(count) => {
                let text = format!("only {count} of {} bytes could be written", bytes.len());
                return Err(self.unwritable(text));
            }
            Err(error) => return Err(self.unwritable(plain(&error))),
        }
        // Others need not wait for the disk.
        let _ = rustix::fs::flock(&file, FlockOperation::Unlock);
        if sync {
            file.sync_data().map_err(|error| self.unwritable(plain(&error)))?;
        }
        Ok(sealed.hash)
    }

    fn unwritable(&self, why: String) -> Problem {
        Problem::new(
            "audit.write",
            format!("the audit log {} cannot be written: {why}", self.file().display()),
        )
        .hint(format!("every run is recorded: make that file writable, or {}", self.elsewhere))
    }

    /// The file, checked and locked.
    fn open(&self) -> Result<File, Problem> {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(&self.dir).map_err(|error| {
            Problem::new(
                "audit.dir",
                format!(
                    "the directory {} of the audit log cannot be made: {}",
                    self.dir.display(),
                    plain(&error)
                ),
            )
            .hint(format!("every run is recorded: make it writable, or {}", self.elsewhere))
        })?;
        let own = rustix::process::geteuid().as_raw();
        // Who can rename in the directory above can put another log here; root can anyway.
        if let Some(above) = self.dir.parent() {
            self.open_dir(above, &[own, 0])?;
        }
        let dir = self.open_dir(&self.dir, &[own])?;
        let until = Instant::now() + LOCK_DEADLINE;
        loop {
            let file = self.open_file(&dir)?;
            if !lock(&file, FlockOperation::NonBlockingLockExclusive, until)
                .map_err(|error| self.unwritable(plain(&error)))?
            {
                let text = format!("another process keeps the audit log {} locked", self.file().display());
                let hint = format!("`fuser {}` says which one", self.file().display());
                return Err(Problem::new("audit.locked", text).hint(hint));
            }
            // It may have been moved away before it was locked.
            let (opened, named) =
                (rustix::fs::fstat(&file), rustix::fs::statat(&dir, NAME, AtFlags::SYMLINK_NOFOLLOW));
            let same = |a: &Stat, b: &Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
            if opened.is_ok_and(|opened| named.is_ok_and(|named| same(&opened, &named))) {
                return Ok(file);
            }
            if Instant::now() > until {
                return Err(self.unwritable("it is replaced all the time".to_owned()));
            }
        }
    }

    fn open_dir(&self, dir: &Path, owners: &[u32]) -> Result<OwnedFd, Problem> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(dir, flags, Mode::empty())
            .and_then(|opened| rustix::fs::fstat(&opened).map(|stat| (opened, stat)));
        let (opened, stat) = opened.map_err(|error| {
            let text = format!(
                "the directory {} of the audit log cannot be opened: {}",
                dir.display(),
                plain(&error)
            );
            Problem::new("audit.dir", text)
        })?;
        self.owned("directory", dir, &stat, owners)?;
        Ok(opened)
    }

    fn open_file(&self, dir: &OwnedFd) -> Result<File, Problem> {
        let flags = OFlags::RDWR
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC
            | OFlags::NOCTTY;
        let path = self.file();
        let no_file = |what: &str| {
            Problem::new("audit.file", format!("the audit log {} is {what}", path.display()))
                .hint("it is not followed or written to: move it away")
        };
        let file = match rustix::fs::openat(dir, NAME, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => file,
            Err(Errno::LOOP) => return Err(no_file("a symbolic link")),
            Err(Errno::ISDIR) => return Err(no_file("a directory")),
            Err(error) => return Err(self.unwritable(plain(&error))),
        };
        let stat = rustix::fs::fstat(&file).map_err(|error| self.unwritable(plain(&error)))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(no_file("no regular file"));
        }
        self.owned("file", &path, &stat, &[rustix::process::geteuid().as_raw()])?;
        Ok(file.into())
    }

    fn owned(&self, what: &str, path: &Path, stat: &Stat, owners: &[u32]) -> Result<(), Problem> {
        let own = rustix::process::geteuid().as_raw();
        if !owners.contains(&stat.st_uid) {
            let text = format!(
                "the {what} {} of the audit log belongs to another user (uid {}, this is {own})",
                path.display(),
                stat.st_uid
            );
            return Err(Problem::new("audit.owner", text).hint(self.elsewhere));
        }
        if stat.st_mode & WRITABLE_BY_OTHERS != 0 {
            let text = format!(
                "the {what} {} of the audit log can be written by others (mode {:o})",
                path.display(),
                stat.st_mode & 0o7777
            );
            return Err(Problem::new("audit.mode", text)
                .hint(format!("`waft audit verify`, then `chmod go-w {}`", path.display())));
        }
        Ok(())
    }

    fn length(&self, file: &File) -> Result<u64, Problem> {
        file.metadata().map(|meta| meta.len()).map_err(|error| self.unwritable(plain(&error)))
    }

    fn tail(&self, file: &File, length: u64) -> Result<Tail, Problem> {
        let mut size = TAIL_BYTES;
        loop {
            let from = length.saturating_sub(size);
            let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, from).map_err(|error| self.unwritable(plain(&error)))?;
            if let Some(tail) = cut(&bytes, from == 0) {
                return tail.map_err(|why| self.spoilt(why));
            }
            if bytes.len() > LINE_BYTES_MAX {
                return Err(self.spoilt("it is longer than any line"));
            }
            size *= 4;
        }
    }

    /// Nothing is appended to what cannot have been written by waft: that would bury it.
    fn spoilt(&self, why: &str) -> Problem {
        let file = self.file();
        Problem::new(
            "audit.changed",
            format!("the last line of the audit log {} was changed: {why}", file.display()),
        )
        .hint(format!(
            "`waft audit verify` says more; to begin a new log, move it away: mv {0} {0}.old",
            file.display()
        ))
    }
}

/// The end of a log from its last bytes; `None` when more of them are needed.
fn cut(bytes: &[u8], all: bool) -> Option<Result<Tail, &'static str>> {
    let end = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n');
    let Some((whole, fragment)) = end(bytes).and_then(|at| bytes.split_at_checked(at + 1)) else {
        return all.then(|| Ok(Tail { seq: 0, head: NOTHING, fragment: bytes.to_vec() }));
    };
    let fragment = fragment.to_vec();
    let lines = whole.strip_suffix(b"\n").unwrap_or(whole);
    let last = match end(lines).and_then(|at| lines.get(at + 1..)) {
        Some(last) => last,
        None if all => lines,
        None => return None,
    };
    Some(line::parse(last).map(|line| Tail { seq: line.seq, head: line.hash, fragment }))
}

/// What went wrong, without the number that the system has for it.
fn plain(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(at) => text.get(..at).unwrap_or_default().to_owned(),
        None => text,
    }
}

/// Whether the lock could be had in time.
fn lock(file: &File, how: FlockOperation, until: Instant) -> io::Result<bool> {
    loop {
        match rustix::fs::flock(file, how) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < until => std::thread::sleep(LOCK_POLL),
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A log to read: as long as it was when no line was being written.
pub fn read(file: &Path) -> io::Result<impl Read> {
    let file = File::open(file)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !meta.is_file() {
        return Ok(file.take(u64::MAX));
    }
    // A copy on a file system without locks is not written to.
    let _ = lock(&file, FlockOperation::NonBlockingLockShared, Instant::now() + READ_LOCK_DEADLINE);
    let length = file.metadata()?.len();
    let _ = rustix::fs::flock(&file, FlockOperation::Unlock);
    Ok(file.take(length))
}
