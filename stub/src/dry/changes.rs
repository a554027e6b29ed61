//! What a dry run changed: the upper side of each overlay, compared with the real directory. The task made what is read
//! here, and other users of the machine what it is compared with: nothing is followed, only regular files are opened, and
//! everything has a bound.

use super::text::{self, Pieces};
use super::{Layer, Overlays};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fgetxattr, openat2, readlinkat, statat,
};
use rustix::io::Errno;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::sync::mpsc;

/// Records of one execution, number; what is beyond is only counted.
pub(crate) const RECORDS_MAX: u32 = 10_000;
/// Names that are looked at, number. An overlay can hide a directory with more than anybody wants to hear of.
const NAMES_MAX: usize = 100_000;
/// Directories in each other.
const DEPTH_MAX: usize = 128;
/// A file that a diff is made of, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files that are compared, bytes in all: a sparse file is long and costs its maker nothing.
const COMPARED_BYTES_MAX: u64 = 512 << 20;
/// Text in all records, bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// A target of a symlink that is told, bytes.
const LINK_BYTES_MAX: usize = 4096;
/// Compared at once, bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Of the thread that reads, bytes: names on the way are on the heap.
const STACK_BYTES: usize = 256 * 1024;
/// Lines that wait for whoever passes them on, number.
const AHEAD_MAX: usize = 8;

/// One line of [`waft_proto::msg::Stream::Change`]. Of each pair the first is what was, the second what would be.
#[derive(Serialize)]
pub(crate) struct Record<'a> {
    path: &'a str,
    kind: &'static str,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<[Option<String>; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<[Option<String>; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<[Option<u64>; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<[Option<String>; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Pieces<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    binary: bool,
    /// It could not be read or compared, or is too long for a diff.
    #[serde(skip_serializing_if = "is_false")]
    unread: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// One directory on the way.
struct Frame {
    path: String,
    upper: OwnedFd,
    lower: Option<OwnedFd>,
    names: std::vec::IntoIter<CString>,
}

/// What the reader of the changes tells, in order.
pub(crate) enum Found {
    /// One change as a line; an empty one is only counted.
    Change(Vec<u8>),
    /// Nothing comes after it. Cut: not everything was looked at.
    End { cut: bool },
}

/// Reads the changes one by one.
struct Changes<'a> {
    layers: std::slice::Iter<'a, Layer>,
    stack: Vec<Frame>,
    diff: bool,
    names: usize,
    compared: u64,
    text: usize,
    /// Changes that were found.
    count: u32,
    /// Not everything was looked at.
    cut: bool,
}

impl Overlays {
    /// Reads what was written, on a thread of its own: a file server that is gone must not hold the stub. What ends without
    /// [`Found::End`] was not read to its end.
    pub(crate) fn read(self, diff: bool) -> mpsc::Receiver<Found> {
        let (tell, found) = mpsc::channel(AHEAD_MAX);
        if self.layers.is_empty() {
            // There is room for the first.
            let _ = tell.try_send(Found::End { cut: false });
            return found;
        }
        let read = move || {
            let mut changes = self.changes(diff);
            while let Some(line) = changes.next() {
                if tell.blocking_send(Found::Change(line)).is_err() {
                    return;
                }
            }
            // Whoever listened may be gone.
            let _ = tell.blocking_send(Found::End { cut: changes.cut });
        };
        // Without a thread the channel ends at once.
        let _ = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(read);
        found
    }

    fn changes(&self, diff: bool) -> Changes<'_> {
        Changes {
            layers: self.layers.iter(),
            stack: Vec::new(),
            diff,
            names: 0,
            compared: 0,
            text: 0,
            count: 0,
            cut: false,
        }
    }
}

impl Changes<'_> {
    /// The next change as a line; none at the end. An empty line is one that is only counted.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let Some(frame) = self.stack.last_mut() else {
                let layer = self.layers.next()?;
                self.enter(layer.path.clone(), &layer.upper, Some(&layer.lower), c".");
                if let Some(frame) = self.stack.last() {
                    // The task may have changed the granted directory itself.
                    let (old, new) = (stat(&layer.lower, c"."), stat(&frame.upper, c"."));
                    let path = layer.path.clone();
                    if let Some(line) = self.entry(&path, None, old, new) {
                        return Some(line);
                    }
                }
                continue;
            };
            let Some(name) = frame.names.next() else {
                self.stack.pop();
                continue;
            };
            let path = format!("{}/{}", frame.path.trim_end_matches('/'), name.to_string_lossy());
            let new = stat(&frame.upper, &name);
            let old = frame.lower.as_ref().and_then(|lower| stat(lower, &name));
            if let Some(line) = self.entry(&path, Some(&name), old, new) {
                return Some(line);
            }
        }
    }

    /// Opens a directory of an upper side, and the real one below it.
    fn enter(&mut self, path: String, upper: &OwnedFd, lower: Option<&OwnedFd>, name: &CStr) -> bool {
        if self.stack.len() >= DEPTH_MAX {
            self.cut = true;
            return false;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(upper) = open(upper, name, flags) else { return false };
        let lower = lower.and_then(|lower| open(lower, name, flags).ok());
        let mut names = BTreeSet::new();
        let mut whole = list(&upper, &mut names);
        // Of an opaque directory nothing shows through: what was there is gone, or was made anew.
        if is_opaque(&upper)
            && let Some(lower) = &lower
        {
            whole &= list(lower, &mut names);
        }
        self.names += names.len();
        if !whole || self.names > NAMES_MAX {
            self.cut = true;
        }
        if self.names > NAMES_MAX {
            return false;
        }
        let names = names.into_iter().collect::<Vec<_>>().into_iter();
        self.stack.push(Frame { path, upper, lower, names });
        true
    }

    /// Compares one name. Without one it is the root of an overlay, which has been entered.
    fn entry(
        &mut self,
        path: &str,
        name: Option<&CStr>,
        old: Option<Stat>,
        new: Option<Stat>,
    ) -> Option<Vec<u8>> {
        let new = new.filter(|new| !is_whiteout(new));
        let (was, is) = (old.as_ref().map(kind), new.as_ref().map(kind));
        let mut record = Record {
            path,
            kind: is.or(was)?,
            change: match (was, is) {
                (None, _) => "created",
                (_, None) => "deleted",
                (was, is) if was != is => "replaced",
                _ => "",
            },
            mode: None,
            owner: None,
            bytes: None,
            target: None,
            text: None,
            binary: false,
            unread: false,
        };
        // A symlink has no mode of its own.
        let mode = |stat: &Stat| (kind(stat) != "symlink").then(|| format!("{:04o}", stat.st_mode & 0o7777));
        let owners = [&old, &new].map(|stat| stat.as_ref().map(|stat| (stat.st_uid, stat.st_gid)));
        let modes = [&old, &new].map(|stat| stat.as_ref().and_then(mode));
        if modes[0] != modes[1] && is.is_some() {
            record.mode = Some(modes);
        }
        if owners[0] != owners[1] && is.is_some() && (was.is_some() || owners[1] != Some(ourselves())) {
            record.owner = Some(owners.map(|owner| owner.map(|(user, group)| super::owner(user, group))));
        }
        let (mut a, mut b) = (Vec::new(), Vec::new());
        if let Some(name) = name {
            let frame = self.stack.last()?;
            let below = |side: Option<&OwnedFd>, there: bool| {
                side.filter(|_| there).and_then(|dir| dir.try_clone().ok())
            };
            let upper = below(Some(&frame.upper), is.is_some());
            let lower = below(frame.lower.as_ref(), was.is_some());
            let link = |side: &Option<OwnedFd>, kind| match (side, kind) {
                (Some(dir), Some("symlink")) => readlinkat(dir, name, Vec::new()).ok().map(|target| {
                    let target = target.to_string_lossy();
                    target.get(..target.floor_char_boundary(LINK_BYTES_MAX)).unwrap_or_default().to_owned()
                }),
                _ => None,
            };
            let targets = [link(&lower, was), link(&upper, is)];
            if targets[0] != targets[1] {
                record.target = Some(targets);
            }
            if was == Some("file") || is == Some("file") {
                let sizes = [&old, &new].map(|stat| {
                    let file = stat.as_ref().filter(|stat| kind(stat) == "file")?;
                    u64::try_from(file.st_size).ok()
                });
                let file = |dir: &Option<OwnedFd>, there: Option<u64>| match (dir, there) {
                    (Some(dir), Some(_)) => regular(dir, name).map(Some),
                    _ => Ok(None),
                };
                let (lower, upper) = (file(&lower, sizes[0]), file(&upper, sizes[1]));
                let both = match (&lower, &upper) {
                    (Ok(lower), Ok(upper)) => Some((lower, upper)),
                    _ => None,
                };
                let short = sizes.iter().flatten().all(|size| *size <= FILE_BYTES_MAX);
                let shown = self.diff && short && self.compared < COMPARED_BYTES_MAX;
                let differ = match both {
                    Some((lower, upper)) if shown => {
                        (a, b) = (whole(lower.as_ref()), whole(upper.as_ref()));
                        self.compared += (a.len() + b.len()) as u64;
                        sizes[0].is_none() || sizes[1].is_none() || a != b
                    }
                    Some((Some(lower), Some(upper))) if sizes[0] == sizes[1] => {
                        match same(lower, upper, &mut self.compared) {
                            Some(same) => !same,
                            None => {
                                record.unread = true;
                                true
                            }
                        }
                    }
                    _ => true,
                };
                record.unread |= both.is_none() || (self.diff && !shown && differ);
                if differ {
                    record.bytes = Some(sizes);
                    if record.change.is_empty() {
                        record.change = "modified";
                    }
                }
            }
            if is == Some("dir") {
                let lower = lower.filter(|_| was == Some("dir"));
                let entered =
                    upper.is_some_and(|upper| self.enter(path.to_owned(), &upper, lower.as_ref(), name));
                record.unread |= !entered;
            }
        }
        if record.change.is_empty() {
            record.change = match (&record.target, &record.mode, &record.owner) {
                (Some(_), ..) => "modified",
                (_, Some(_), _) => "mode",
                (.., Some(_)) => "owner",
                _ if record.unread => "modified",
                // Copied up and not changed.
                _ => return None,
            };
        }
        if self.diff && record.bytes.is_some() && !record.unread {
            match text::pieces(&a, &b) {
                Ok(Some(pieces)) if self.text + pieces.bytes() <= TEXT_BYTES_MAX => {
                    self.text += pieces.bytes();
                    record.text = Some(pieces);
                }
                Ok(_) => record.unread = true,
                Err(text::NoText) => record.binary = true,
            }
        }
        self.count = self.count.saturating_add(1);
        if self.count > RECORDS_MAX {
            self.cut = true;
            return Some(Vec::new());
        }
        // Text and numbers can always be written.
        let mut line = serde_json::to_vec(&record).unwrap_or_default();
        line.push(b'\n');
        Some(line)
    }
}

fn ourselves() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn kind(stat: &Stat) -> &'static str {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "dir",
        FileType::Symlink => "symlink",
        _ => "other",
    }
}

/// How an overlay says that what is below is gone.
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_opaque(dir: &OwnedFd) -> bool {
    [c"trusted.overlay.opaque", c"user.overlay.opaque"].into_iter().any(|name| {
        let mut value = [0u8; 1];
        fgetxattr(dir, name, &mut value).is_ok_and(|length| length == 1 && value == *b"y")
    })
}

fn stat(dir: &OwnedFd, name: &CStr) -> Option<Stat> {
    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// One name below a directory: no link, no other file system.
fn open(dir: &OwnedFd, name: &CStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Opened only when it is known to be a regular file, and by its descriptor: between the look and the opening nobody can
/// put a FIFO or a device there.
fn regular(dir: &OwnedFd, name: &CStr) -> rustix::io::Result<File> {
    let path = open(dir, name, OFlags::PATH)?;
    if kind(&rustix::fs::fstat(&path)?) != "file" {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/self/fd/{}", path.as_raw_fd()), flags, Mode::empty()).map(File::from)
}

/// A short file's bytes.
fn whole(file: Option<&File>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(file) = file {
        // What cannot be read to its end is shown as far as it goes.
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    bytes
}

/// Whether two files of one length hold the same; none when that would take too long, or they cannot be read.
fn same(mut a: &File, mut b: &File, compared: &mut u64) -> Option<bool> {
    let (mut left, mut right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let read = a.read(&mut left).ok()?;
        let part = right.get_mut(..read)?;
        if read == 0 {
            return Some(true);
        }
        if b.read_exact(part).is_err() || left.get(..read)? != part {
            return Some(false);
        }
        *compared += read as u64;
        if *compared > COMPARED_BYTES_MAX {
            return None;
        }
    }
}

/// False when there are more names than anybody looks at, or they cannot be read.
fn list(dir: &OwnedFd, names: &mut BTreeSet<CString>) -> bool {
    let mut space = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(dir, &mut space);
    while let Some(entry) = entries.next() {
        let Ok(entry) = entry else { return false };
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.insert(name.to_owned());
        }
        if names.len() > NAMES_MAX {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::fs;
    use std::path::Path;

    /// Two directories are enough for this; none of them has to be an overlay's.
    #[test]
    fn what_is_read_for_diffs_is_bounded_in_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let (upper, lower) = (dir.path().join("upper"), dir.path().join("lower"));
        for (side, text) in [(&upper, "new\n"), (&lower, "old\n")] {
            fs::create_dir(side).expect("a directory");
            // Names are read in order: the one before the bound is reached, the other after it.
            for name in ["before", "later"] {
                fs::write(side.join(name), text).expect("a file");
            }
            for number in 0..COMPARED_BYTES_MAX / (2 * FILE_BYTES_MAX) {
                let file = File::create(side.join(format!("hole-{number}"))).expect("a file");
                file.set_len(FILE_BYTES_MAX).expect("its length");
            }
        }
        fs::write(upper.join("made"), "new\n").expect("a file");
        let open = |side: &Path| OwnedFd::from(File::open(side).expect("a directory"));
        let (merged, upper, lower) = (open(&upper), open(&upper), open(&lower));
        let layer = Layer { path: "/srv".to_owned(), upper, lower, merged };
        let overlays = Overlays { layers: vec![layer], missing: Vec::new() };
        let mut changes = overlays.changes(true);
        let told: Vec<Value> = std::iter::from_fn(|| changes.next())
            .map(|line| serde_json::from_slice(&line).expect("JSON"))
            .collect();
        let read: Vec<_> = told
            .iter()
            .map(|change| {
                let text = change["text"]["new"].as_str();
                (change["path"].as_str(), change["change"].as_str(), text, change["unread"].as_bool())
            })
            .collect();
        assert_eq!(
            read,
            [
                (Some("/srv/before"), Some("modified"), Some("new\n"), None),
                (Some("/srv/later"), Some("modified"), None, Some(true)),
                (Some("/srv/made"), Some("created"), None, Some(true)),
            ]
        );
    }
}
