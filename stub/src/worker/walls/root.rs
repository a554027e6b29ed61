//! A root directory that holds the granted directories under their own paths, and nothing else.
//!
//! A mount namespace of its own; for an ordinary user inside a user namespace of its own, which is what gives the right
//! to mount there. Granted directories are bound with all that is mounted below them. The old root is gone afterwards: no
//! path, no descriptor and no `..` leads there.

use super::super::wire::{Dir, Dry};
use super::overlay::{Layer, Overlays};
use crate::mounts;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat2, readlinkat, stat,
};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::process::{fchdir, getgid, getuid, pivot_root};
use rustix::thread::UnshareFlags;
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where the new root is put together: the first of these that is a directory and not granted, or binding it would bind
/// the new root with it. It is covered in our own namespace only.
const PLACES: [&str; 6] = ["/tmp", "/run", "/mnt", "/dev", "/usr", "/etc"];
/// The new root holds directories only, and few.
const ROOT_OPTIONS: &CStr = c"size=64k,nr_inodes=16k,mode=755";

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Enters the new root. An error is a sentence on what the kernel refused; then every path is what it was. In a dry run
/// nothing real can be written to below it; the layers say what stands for the directories that are granted for writing.
pub(super) fn enter(dirs: &[Dir], dry: Option<&Dry>) -> Result<Vec<Layer>, String> {
    let step = |what: &'static str| move |error: Errno| format!("{what}: {}", io::Error::from(error));
    unshare()?;
    // Later mounts of the machine still come to us; ours go to nobody.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(step("mounts cannot be made private"))?;
    let mut dirs: Vec<(u32, &Dir)> = (0..).zip(dirs).collect();
    // What lies in another comes after it.
    dirs.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
    let (numbers, dirs): (Vec<u32>, Vec<&Dir>) = dirs.into_iter().unzip();
    // Opened before the new root may cover them.
    let sources = dirs
        .iter()
        .map(|dir| open(dir.path.as_str(), PATH_ONLY, Mode::empty()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(step("a granted directory cannot be opened"))?;
    let place = PLACES
        .into_iter()
        .find(|place| may_cover(place, &sources))
        .ok_or("there is no directory to put the new root on")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let all = dirs.first().is_some_and(|dir| dir.path == "/");
    let mut overlays = dry.map(|dry| Overlays::new(dry, place, all));
    if !all {
        mount("waft", place, "tmpfs", flags, ROOT_OPTIONS).map_err(step("no new root can be mounted"))?;
    }
    let filled = fill(place, &dirs, &sources, &numbers, overlays.as_mut());
    drop(sources);
    let root = match filled {
        Ok(root) => root,
        Err(reason) => {
            // The directories that it covers are there again.
            let _ = unmount(place, UnmountFlags::DETACH);
            if overlays.is_some_and(|overlays| overlays.has_scratch()) {
                let _ = unmount(place, UnmountFlags::DETACH);
            }
            return Err(reason);
        }
    };
    fchdir(&root).map_err(step("the new root cannot be entered"))?;
    pivot_root(".", ".").map_err(step("the root cannot be changed"))?;
    unmount(".", UnmountFlags::DETACH).map_err(step("the old root cannot be left"))?;
    rustix::process::chdir("/").map_err(step("the new root cannot be entered"))?;
    if !all {
        mount_remount("/", flags | MountFlags::RDONLY, c"")
            .map_err(step("the new root cannot be made read-only"))?;
    }
    Ok(overlays.map(|overlays| overlays.layers).unwrap_or_default())
}

/// Whether this is a directory and none of the granted ones, by whatever name these were granted.
fn may_cover(place: &str, sources: &[OwnedFd]) -> bool {
    let Ok(at) = stat(place) else { return false };
    let is_it = |source: &OwnedFd| {
        fstat(source).is_ok_and(|source| (source.st_dev, source.st_ino) == (at.st_dev, at.st_ino))
    };
    FileType::from_raw_mode(at.st_mode) == FileType::Directory && !sources.iter().any(is_it)
}

/// Puts the granted directories below the new root, which is opened.
fn fill(
    place: &str,
    dirs: &[&Dir],
    sources: &[OwnedFd],
    numbers: &[u32],
    mut overlays: Option<&mut Overlays<'_>>,
) -> Result<OwnedFd, String> {
    let failed = |path: &str, error: Errno| format!("{path} cannot be mounted: {}", io::Error::from(error));
    let mut root = open(place, PATH_ONLY, Mode::empty()).map_err(|error| failed(place, error))?;
    for (at, ((dir, source), number)) in dirs.iter().zip(sources).zip(numbers).enumerate() {
        let known = dirs.get(..at).unwrap_or_default();
        let over = overlays.as_deref_mut().map(|overlays| (overlays, *number));
        bind(&mut root, place, dir, source, known, over).map_err(|error| failed(&dir.path, error))?;
    }
    Ok(root)
}

fn unshare() -> Result<(), String> {
    let (user, group) = (getuid(), getgid());
    let mut flags = UnshareFlags::NEWNS;
    if !user.is_root() {
        flags |= UnshareFlags::NEWUSER;
    }
    // SAFETY: descriptors stay shared with nobody: this process has one thread, and NEWFS and FILES are not asked for.
    unsafe { rustix::thread::unshare_unsafe(flags) }
        .map_err(|error| format!("no namespace can be made: {}", io::Error::from(error)))?;
    if user.is_root() {
        return Ok(());
    }
    let write = |file: &str, text: String| {
        std::fs::write(file, text).map_err(|error| format!("{file} cannot be written: {error}"))
    };
    let (user, group) = (user.as_raw(), group.as_raw());
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Makes one granted directory appear below the new root. `known` are those that are there already.
fn bind(
    root: &mut OwnedFd,
    place: &str,
    dir: &Dir,
    source: &OwnedFd,
    known: &[&Dir],
    over: Option<(&mut Overlays<'_>, u32)>,
) -> rustix::io::Result<()> {
    let path = dir.path.trim_start_matches('/');
    let dry = over.is_some();
    if path.is_empty() {
        if let Some((overlays, number)) = over {
            overlays.cover(number, source, source);
        }
        mount_bind_recursive(own(source), place)?;
        *root = open(place, PATH_ONLY, Mode::empty())?;
        return restrict(root, dir.writable, dry);
    }
    // Inside another granted directory it is there already, and nothing may be made there.
    if !known.iter().any(|outer| holds(&outer.path, &dir.path)) {
        make(root, path)?;
    }
    if let Some((overlays, number)) = over
        && overlays.cover(number, source, &within(root, path)?)
    {
        overlays.complete(number, source.try_clone().map_err(|_| Errno::MFILE)?, within(root, path)?);
        return Ok(());
    }
    mount_bind_recursive(own(source), own(&within(root, path)?))?;
    // Opened anew, because now it is the mount.
    restrict(&within(root, path)?, dir.writable, dry)
}

fn holds(outer: &str, inner: &str) -> bool {
    outer == "/" || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A directory below the new root, by no symlink: it could lead to what was not granted.
fn within(root: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    openat2(root, path, PATH_ONLY, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// `mkdir -p` on the new root itself.
fn make(root: &OwnedFd, path: &str) -> rustix::io::Result<()> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        match mkdirat(root, path.get(..end).unwrap_or_default(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The path of an open descriptor, for calls that take only paths.
pub(super) fn own(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Nothing is executed from there, no set-uid program counts, and what is granted `ro` is read-only, all that is mounted
/// below included. In a dry run no device is opened either: some, a watchdog for one, obey whoever opens them.
fn restrict(mount: &OwnedFd, writable: bool, dry: bool) -> rustix::io::Result<()> {
    let mut set = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    if !writable {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    if dry {
        set |= libc::MOUNT_ATTR_NODEV;
    }
    match set_attributes(mount, set, libc::AT_RECURSIVE) {
        // Before Linux 5.12.
        Err(Errno::NOSYS) => {
            let mut flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NOEXEC;
            if !writable {
                flags |= MountFlags::RDONLY;
            }
            if dry {
                flags |= MountFlags::NODEV;
            }
            restrict_each(mount, flags)
        }
        done => done,
    }
}

/// Each mount there and below by itself.
fn restrict_each(mount: &OwnedFd, flags: MountFlags) -> rustix::io::Result<()> {
    let top = readlinkat(CWD, own(mount), Vec::new())?;
    let top = Path::new(OsStr::from_bytes(top.as_bytes()));
    // What hides another mount has its name. An ordinary user may take no flag away, from neither.
    let mut all = BTreeMap::new();
    for mount in mounts::table().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))? {
        if mount.point.starts_with(top) {
            *all.entry(mount.point).or_insert(flags) |= kept(&mount.options);
        }
    }
    all.iter().try_for_each(|(point, flags)| match mount_remount(point, *flags, c"") {
        // Another mount hides it: no path leads there.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::INVAL) if point != top => Ok(()),
        done => done,
    })
}

/// What a mount has already and must not lose. When it is not said, the kernel keeps what it does about times of access.
fn kept(options: &[Vec<u8>]) -> MountFlags {
    let flag = |option: &Vec<u8>| match option.as_slice() {
        b"ro" => MountFlags::RDONLY,
        b"nosuid" => MountFlags::NOSUID,
        b"nodev" => MountFlags::NODEV,
        b"noexec" => MountFlags::NOEXEC,
        b"nosymfollow" => MountFlags::NOSYMFOLLOW,
        _ => MountFlags::empty(),
    };
    options.iter().map(flag).collect()
}

fn set_attributes(mount: &OwnedFd, set: u64, flags: i32) -> rustix::io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the structure lives through the call, and its size goes with it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags | libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}
