//! What a file system looked like, and what has changed since.
//!
//! Compared are: kind, mode, owner and group, size, modification time, content (blake3), target of a link, numbers
//! of a device, inode, and the time of the last change of any of these: the kernel sets it, and nobody can set it
//! back, so it also tells of extended attributes, hard links, and what was changed and restored. Not compared: access
//! times, sizes of directories.
//! A directory's modification time tells that something came and went in it; [`watch`](crate::watch) tells what.
//!
//! Other file systems mounted below a root are not entered: nobody means /proc when they say `/`. FIFOs, sockets and
//! devices are never opened.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::{Context, Result};

const HASH_CHUNK_BYTES: usize = 64 * 1024;

/// Entries by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Seconds and nanoseconds since the epoch.
    modified: (i64, i64),
    /// The same, of the inode.
    changed: (i64, i64),
    /// Device and number.
    inode: (u64, u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Directory,
    File {
        bytes: u64,
        content: Content,
    },
    Link(PathBuf),
    /// `what` is "block device" or "character device".
    Device {
        what: &'static str,
        number: u64,
    },
    Fifo,
    Socket,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Hash(blake3::Hash),
    /// Not permitted to us, or gone while it was read.
    Unreadable,
}

impl Snapshot {
    /// Looks at everything at and below `roots`, but for what lies at or below an excluded path. A root that does
    /// not exist is empty: its coming is then a change.
    pub fn take(roots: &[&Path], excluded: &[&Path]) -> Result<Self> {
        let mut snapshot = Self::default();
        for root in roots {
            match fs::symlink_metadata(root) {
                Ok(metadata) => snapshot.walk(root, &metadata, metadata.dev(), excluded)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context(|| format!("cannot look at {}", root.display())),
            }
        }
        Ok(snapshot)
    }

    fn walk(&mut self, path: &Path, metadata: &Metadata, device: u64, excluded: &[&Path]) -> Result<()> {
        if excluded.iter().any(|excluded| path.starts_with(excluded)) || metadata.dev() != device {
            return Ok(());
        }
        let Some(entry) = Entry::read(path, metadata) else { return Ok(()) };
        let is_directory = entry.kind == Kind::Directory;
        self.entries.insert(path.to_owned(), entry);
        if !is_directory {
            return Ok(());
        }
        let listing = match fs::read_dir(path) {
            Ok(listing) => listing,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context(|| format!("cannot list {}", path.display())),
        };
        for child in listing {
            let child = child.context(|| format!("cannot list {}", path.display()))?.path();
            // What vanishes between listing and looking was not there: a snapshot is not one instant.
            if let Ok(metadata) = fs::symlink_metadata(&child) {
                self.walk(&child, &metadata, device, excluded)?;
            }
        }
        Ok(())
    }

    /// What differs from `self` to `later`.
    pub fn diff(&self, later: &Self) -> Diff {
        let mut lines = Vec::new();
        for (path, old) in &self.entries {
            match later.entries.get(path) {
                None => lines.push(format!("- {} ({})", path.display(), old.kind)),
                Some(new) => {
                    let changes = old.changes(new);
                    if !changes.is_empty() {
                        lines.push(format!("~ {}: {}", path.display(), changes.join(", ")));
                    }
                }
            }
        }
        for (path, new) in &later.entries {
            if !self.entries.contains_key(path) {
                lines.push(format!("+ {} ({})", path.display(), new.kind));
            }
        }
        Diff { lines }
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.keys().map(PathBuf::as_path)
    }
}

/// Differences, one line each: `+ path (kind)`, `- path (kind)`, `~ path: what changed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    pub lines: Vec<String>,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(out, "{line}"))
    }
}

impl Entry {
    fn read(path: &Path, metadata: &Metadata) -> Option<Self> {
        let file_type = metadata.file_type();
        let kind = if file_type.is_dir() {
            Kind::Directory
        } else if file_type.is_symlink() {
            Kind::Link(fs::read_link(path).ok()?)
        } else if file_type.is_block_device() {
            Kind::Device { what: "block device", number: metadata.rdev() }
        } else if file_type.is_char_device() {
            Kind::Device { what: "character device", number: metadata.rdev() }
        } else if file_type.is_fifo() {
            Kind::Fifo
        } else if file_type.is_socket() {
            Kind::Socket
        } else {
            Kind::File { bytes: metadata.size(), content: hash(path) }
        };
        Some(Self {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: (metadata.dev(), metadata.ino()),
        })
    }

    fn changes(&self, new: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        match (&self.kind, &new.kind) {
            (Kind::File { bytes: a, .. }, Kind::File { bytes: b, .. }) if a != b => {
                changes.push(format!("size {a} -> {b} bytes"));
            }
            (Kind::File { content: a, .. }, Kind::File { content: b, .. }) if a != b => {
                changes.push(format!("content {a} -> {b}"));
            }
            (a, b) if a != b => changes.push(format!("{a} -> {b}")),
            _ => {}
        }
        if self.mode != new.mode {
            changes.push(format!("mode {:04o} -> {:04o}", self.mode, new.mode));
        }
        if (self.uid, self.gid) != (new.uid, new.gid) {
            changes.push(format!("owner {}:{} -> {}:{}", self.uid, self.gid, new.uid, new.gid));
        }
        if self.modified != new.modified {
            let ((a, a_ns), (b, b_ns)) = (self.modified, new.modified);
            changes.push(format!("mtime {a}.{a_ns:09} -> {b}.{b_ns:09}"));
        }
        if self.inode != new.inode {
            let ((a_dev, a), (b_dev, b)) = (self.inode, new.inode);
            changes.push(format!("inode {a_dev}:{a} -> {b_dev}:{b}"));
        }
        // Every change above brings this one along.
        if self.changed != new.changed && changes.is_empty() {
            let ((a, a_ns), (b, b_ns)) = (self.changed, new.changed);
            changes.push(format!("ctime {a}.{a_ns:09} -> {b}.{b_ns:09}"));
        }
        changes
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => out.write_str("directory"),
            Self::File { bytes, .. } => write!(out, "file, {bytes} bytes"),
            Self::Link(target) => write!(out, "link to {}", target.display()),
            Self::Device { what, number } => write!(out, "{what} {number}"),
            Self::Fifo => out.write_str("fifo"),
            Self::Socket => out.write_str("socket"),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(hash) => out.write_str(hash.to_hex().get(..12).unwrap_or_default()),
            Self::Unreadable => out.write_str("unreadable"),
        }
    }
}

fn hash(path: &Path) -> Content {
    let Ok(mut file) = File::open(path) else { return Content::Unreadable };
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; HASH_CHUNK_BYTES];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Content::Hash(hasher.finalize()),
            Ok(count) => hasher.update(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return Content::Unreadable,
        };
    }
}
