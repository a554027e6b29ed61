//! What stands for the granted directories in a dry run: an overlay each. Its lower side is the real directory, its upper
//! one lies on a tmpfs of limited size, made for this execution and reachable by nobody but the stub.
//!
//! A directory that is granted for reading has an overlay too, without an upper side: FIFOs, sockets and devices seen
//! through an overlay are not the real ones, so that opening one reaches nobody. What no overlay can hold is bound
//! read-only.

use super::super::wire::Dry;
use super::root::own;
use crate::mounts::{self, Mount};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, StatVfsMountFlags, Uid, chmodat, chownat, fstat, fstatfs, fstatvfs, mkdirat,
    open, openat, readlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Files and directories that a dry run may make, number.
const ENTRIES_MAX: u32 = 32 * 1024;

const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// File systems whose files are the kernel's own values: proc, sysfs, cgroup (both), debugfs, tracefs, securityfs, devpts,
/// bpf. A copy of such a file is not what it was.
const OF_THE_KERNEL: [i64; 9] =
    [0x9fa0, 0x6265_6572, 0x27_e0eb, 0x6367_7270, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0x1cd1, 0xcafe_4a11];

/// A directory that is granted for writing, or one that has no overlay, in a dry run.
pub struct Layer {
    /// Its place among the granted directories.
    pub dir: u32,
    /// Why it has no overlay.
    pub missing: Option<String>,
    /// With an overlay: its upper side, its lower side, and both as the task sees them.
    pub descriptors: Vec<OwnedFd>,
}

/// Layers of a dry run for which there can be no overlay at all.
pub(super) fn none(dirs: usize, why: &str) -> Vec<Layer> {
    let layer = |(dir, ())| Layer { dir, missing: Some(why.to_owned()), descriptors: Vec::new() };
    (0..).zip(std::iter::repeat_n((), dirs)).map(layer).collect()
}

pub(super) struct Overlays<'a> {
    dry: &'a Dry,
    scratch: Result<OwnedFd, String>,
    mounts: Vec<Mount>,
    pub(super) layers: Vec<Layer>,
}

impl<'a> Overlays<'a> {
    /// Mounts the tmpfs at `place`, where the new root covers it. `all`: the root itself is granted.
    pub(super) fn new(dry: &'a Dry, place: &str, all: bool) -> Overlays<'a> {
        let (mounts, scratch) = match mounts::table() {
            // What is bound with the root would show the tmpfs too.
            _ if all => {
                (Vec::new(), Err("`/` is granted, and other file systems are mounted in it".to_owned()))
            }
            Ok(mounts) => (mounts, scratch(place, dry.bytes)),
            Err(error) => (Vec::new(), Err(format!("/proc/self/mountinfo cannot be read: {error}"))),
        };
        Overlays { dry, scratch, mounts, layers: Vec::new() }
    }

    /// The tmpfs is mounted.
    pub(super) fn has_scratch(&self) -> bool {
        self.scratch.is_ok()
    }

    /// Mounts an overlay of `source` on `spot`; false when there is none, and a bind is due.
    pub(super) fn cover(&mut self, dir: u32, source: &OwnedFd, spot: &OwnedFd) -> bool {
        let writable = self.dry.writable.contains(&dir);
        match self.try_cover(dir, writable, source, spot) {
            Ok(upper) => {
                if let Some(upper) = upper {
                    self.layers.push(Layer { dir, missing: None, descriptors: vec![upper] });
                }
                true
            }
            Err(why) => {
                self.layers.push(Layer { dir, missing: Some(why), descriptors: Vec::new() });
                false
            }
        }
    }

    /// Whoever mounted an overlay for writing gives the rest of its descriptors.
    pub(super) fn complete(&mut self, dir: u32, lower: OwnedFd, merged: OwnedFd) {
        if let Some(layer) = self.layers.last_mut().filter(|layer| layer.dir == dir) {
            layer.descriptors.extend([lower, merged]);
        }
    }

    fn try_cover(
        &self,
        dir: u32,
        writable: bool,
        source: &OwnedFd,
        spot: &OwnedFd,
    ) -> Result<Option<OwnedFd>, String> {
        let scratch = self.scratch.as_ref().map_err(Clone::clone)?;
        let cannot = |error: Errno| format!("it cannot be looked at: {}", io::Error::from(error));
        if OF_THE_KERNEL.contains(&(fstatfs(source).map_err(cannot)?.f_type as i64)) {
            return Err("its files are the kernel's own".to_owned());
        }
        self.is_whole(source)?;
        let refused = |error: Errno| format!("the kernel mounts none: {}", io::Error::from(error));
        // In a user namespace the attributes that an overlay keeps are ordinary ones, and then it follows no redirects.
        let options = match rustix::process::getuid().is_root() {
            true => "index=off,metacopy=off,redirect_dir=nofollow",
            false => "index=off,metacopy=off,userxattr",
        };
        let (lower, upper) = (own(source), writable.then(|| upper(scratch, dir, source)).transpose()?);
        let (options, flags) = match &upper {
            Some((upper, work)) => {
                let (upper, work) = (own(upper), own(work));
                (format!("lowerdir={lower},upperdir={upper},workdir={work},{options}"), FLAGS)
            }
            // Two lower sides are the least that the kernel takes.
            None => {
                let empty = directory(scratch, "empty").map_err(refused)?;
                // Nothing keeps the descriptor, so it is mounted here.
                let options = text(format!("lowerdir={}:{lower},{options}", own(&empty)));
                return mount("waft", own(spot), "overlay", FLAGS | MountFlags::RDONLY, &*options)
                    .map(|()| None)
                    .map_err(refused);
            }
        };
        mount("waft", own(spot), "overlay", flags, &*text(options)).map_err(refused)?;
        Ok(upper.map(|(upper, _)| upper))
    }

    /// Nothing is mounted below it, which an overlay would not show, and it may be written to at all.
    fn is_whole(&self, source: &OwnedFd) -> Result<(), String> {
        let cannot = |error: Errno| format!("it cannot be looked at: {}", io::Error::from(error));
        let path = readlinkat(rustix::fs::CWD, own(source), Vec::new()).map_err(cannot)?;
        let path = Path::new(OsStr::from_bytes(path.as_bytes()));
        let below = |point: &Path| point != path && point.starts_with(path);
        match self.mounts.iter().find(|mount| below(&mount.point)) {
            Some(mount) => Err(format!("another file system is mounted in it, at {}", mount.point.display())),
            None if fstatvfs(source).map_err(cannot)?.f_flag.contains(StatVfsMountFlags::RDONLY) => {
                Err("it is mounted read-only".to_owned())
            }
            None => Ok(()),
        }
    }
}

fn scratch(place: &str, bytes: u64) -> Result<OwnedFd, String> {
    let failed = |error: Errno| format!("no tmpfs can be mounted: {}", io::Error::from(error));
    let options = text(format!("size={bytes},nr_inodes={ENTRIES_MAX},mode=700"));
    mount("waft", place, "tmpfs", FLAGS, &*options).map_err(failed)?;
    open(place, PATH_ONLY, Mode::empty()).map_err(failed)
}

/// The upper side of an overlay and the kernel's room beside it. What a task sees as the directory's mode and owner is
/// those of the upper side.
fn upper(scratch: &OwnedFd, dir: u32, source: &OwnedFd) -> Result<(OwnedFd, OwnedFd), String> {
    let failed = |error: Errno| format!("no room for it: {}", io::Error::from(error));
    let upper = directory(scratch, &format!("{dir}u")).map_err(failed)?;
    let work = directory(scratch, &format!("{dir}w")).map_err(failed)?;
    let like = fstat(source).map_err(failed)?;
    let (user, group) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
    let path = own(&upper);
    chownat(rustix::fs::CWD, &path, Some(user), Some(group), AtFlags::empty())
        .map_err(|_| "it belongs to another user, whose files this one can make no overlay for".to_owned())?;
    chmodat(rustix::fs::CWD, &path, Mode::from_raw_mode(like.st_mode), AtFlags::empty()).map_err(failed)?;
    Ok((upper, work))
}

fn directory(scratch: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    match mkdirat(scratch, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => openat(scratch, name, PATH_ONLY, Mode::empty()),
        Err(error) => Err(error),
    }
}

/// Made of numbers and words of ours: there is no NUL.
fn text(options: String) -> CString {
    CString::new(options).unwrap_or_default()
}
