//! From a path to a descriptor beneath a granted directory: one openat2, or a problem. Nothing here falls back on a walk
//! of its own.

use super::request::PATH_BYTES_MAX;
use super::{Call, Roots};
use crate::worker::walls::Dir;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2, readlink};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use waft_proto::grant::Access;
use waft_proto::run::Problem;

/// The kernel gives up when something on the way is moved meanwhile; so often it is asked again. Chosen by eye.
const TRIES_MAX: usize = 64;

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

#[derive(Debug)]
pub(super) struct Root {
    pub(super) dir: Dir,
    pub(super) descriptor: OwnedFd,
}

impl Root {
    pub(super) fn open(dir: &Dir) -> Result<Root, Problem> {
        match open(dir.path.as_str(), PATH_ONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(descriptor) => Ok(Root { dir: dir.clone(), descriptor }),
            Err(error) => {
                let error = io::Error::from(error);
                let text = format!("the granted directory `{}` cannot be opened: {error}", dir.path);
                Err(Problem::new("task.dir", text)
                    .hint("fs: grants name directories that exist on the target"))
            }
        }
    }

    fn find(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match openat2(&self.descriptor, path, PATH_ONLY | flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) if tries < TRIES_MAX => tries += 1,
                done => return done,
            }
        }
    }
}

/// A name in a directory: what is made, moved or replaced.
pub(super) struct Entry<'a> {
    pub(super) dir: OwnedFd,
    pub(super) name: &'a str,
}

impl Roots {
    /// The longest granted directory that the path names, and the rest of the path. The names of the directory have to
    /// stand there as they were granted; only the kernel knows where `..` leads.
    fn of_path<'a>(&self, path: &'a str) -> Option<(&Root, &'a str)> {
        let all = self.0.iter().filter_map(|root| Some((root, below(&root.dir.path, path)?)));
        all.max_by_key(|(root, _)| root.dir.path.len())
    }
}

impl Call<'_> {
    /// What the path names, to look at it. Nothing is opened: a FIFO does not block, a device does nothing.
    pub(super) fn look(&self) -> Result<Result<OwnedFd, Errno>, Problem> {
        let (root, rest) = self.root("path", Access::ReadOnly)?;
        let follow = self.request.flag("follow", false)?;
        Ok(root.find(rest, if follow { OFlags::empty() } else { OFlags::NOFOLLOW }))
    }

    /// What the path names.
    pub(super) fn find(&self) -> Result<OwnedFd, Problem> {
        self.look()?.map_err(|error| self.not_found(error))
    }

    /// What the path names, to change it.
    pub(super) fn find_to_change(&self) -> Result<OwnedFd, Problem> {
        let (root, _) = self.root("path", Access::ReadWrite)?;
        let found = self.find()?;
        self.may_change(root, &found, None)?;
        Ok(found)
    }

    /// The directory and the name that are the path in this field, to change that name.
    pub(super) fn entry(&self, field: &str) -> Result<Entry<'_>, Problem> {
        let (root, rest) = self.root(field, Access::ReadWrite)?;
        let named = rest.trim_end_matches('/');
        let (dir, name) = named.rsplit_once('/').unwrap_or(("", named));
        if matches!(name, "" | "." | "..") {
            return Err(
                self.problem("file.name", "the path does not end in a name below the granted directory")
            );
        }
        let dir = root.find(dir, OFlags::DIRECTORY).map_err(|error| self.not_found(error))?;
        self.may_change(root, &dir, Some(name))?;
        // With the slash the kernel insists on a directory.
        Ok(Entry { dir, name: rest.get(named.len() - name.len()..).unwrap_or(name) })
    }

    fn root(&self, field: &str, access: Access) -> Result<(&Root, &str), Problem> {
        let path = self.request.path(field)?;
        match self.roots.of_path(path) {
            None => Err(self.missing(&parent(path), access)),
            Some((root, _)) if access == Access::ReadWrite && !root.dir.writable => {
                Err(self.missing(&root.dir.path, access))
            }
            Some(found) => Ok(found),
        }
    }

    /// A symlink or `..` in a writable directory may lead to a granted directory inside of it, one that is read-only: the
    /// worker has a mount in between there, the stub only this. `name` is that of an entry of `found`.
    fn may_change(&self, root: &Root, found: &OwnedFd, name: Option<&str>) -> Result<(), Problem> {
        let place = |descriptor: &OwnedFd| {
            readlink(own(descriptor), Vec::with_capacity(PATH_BYTES_MAX))
                .map(|path| path.to_string_lossy().into_owned())
                .map_err(|error| self.by_descriptor(error))
        };
        for inner in self.roots.0.iter().filter(|inner| !inner.dir.writable) {
            let (outer, inner_place) = (place(&root.descriptor)?, place(&inner.descriptor)?);
            if below(&outer, &inner_place).is_none_or(str::is_empty) {
                continue;
            }
            let mut found = place(found)?;
            if below(&inner_place, &found).is_some() {
                return Err(self.missing(&inner.dir.path, Access::ReadWrite));
            }
            if let Some(name) = name {
                found.push('/');
                found.push_str(name);
                if below(&found, &inner_place).is_some() {
                    return Err(self.missing(&inner.dir.path, Access::ReadWrite));
                }
            }
        }
        Ok(())
    }
}

/// The path of an open descriptor, for calls that take only paths. It names what is open, not what lies there now.
pub(super) fn own(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// What is left of `path` after the names in `dir`.
fn below<'a>(dir: &str, path: &'a str) -> Option<&'a str> {
    let mut rest = names(path);
    for name in dir.split('/').filter(|name| !name.is_empty()) {
        let after = rest.strip_prefix(name)?;
        if !after.is_empty() && !after.starts_with('/') {
            return None;
        }
        rest = names(after);
    }
    Some(rest)
}

/// Without what names nothing at the beginning of a path.
fn names(mut path: &str) -> &str {
    loop {
        path = match path.strip_prefix('/').or_else(|| path.strip_prefix("./")) {
            Some(rest) => rest,
            None => return if path == "." { "" } else { path },
        }
    }
}

/// The directory that a path without a grant lies in, as far as its words tell: what there would be to grant.
fn parent(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    // A path with a slash at its end names a directory.
    if !path.ends_with('/') {
        names.pop();
    }
    format!("/{}", names.join("/"))
}
