//! Files in memory that a program finds at numbers it was told: sealed, and opened for reading only.

use crate::pool::sealed;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Numbers that a file may have in a program: those below are its standard streams.
pub(crate) const FD_MIN: RawFd = 3;
pub(crate) const FD_MAX: RawFd = 31;

/// How a program names them.
const DIR: &str = "/dev/fd/";

/// Whether that is one of them, and none of a disk.
pub(crate) fn names(path: &str) -> bool {
    path.starts_with(DIR)
}

/// The same where there is no /dev/fd, which is only a link that most systems have.
pub(super) fn real(path: &str) -> String {
    match path.strip_prefix(DIR) {
        Some(number) => format!("/proc/self/fd/{number}"),
        None => path.to_owned(),
    }
}

pub(crate) fn path(fd: RawFd) -> String {
    format!("{DIR}{fd}")
}

/// Whoever has it can read it, and start it when it is `executed`: no more, whoever he is.
pub(crate) fn make(bytes: &[u8], executed: bool) -> io::Result<OwnedFd> {
    let kind = if executed { MemfdFlags::EXEC } else { MemfdFlags::NOEXEC_SEAL };
    let file = sealed("waft-file", bytes, kind)?;
    allow(&file, executed)?;
    Ok(file)
}

/// The same file for one program: with a place to read from of its own, and shut to writers not only by its seals.
pub(crate) fn reopened(file: &OwnedFd, executed: bool) -> io::Result<OwnedFd> {
    // An earlier program of the same user may have changed that.
    allow(file, executed)?;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn allow(file: &OwnedFd, executed: bool) -> io::Result<()> {
    let mode = if executed { 0o555 } else { 0o444 };
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// In the stub: the process that is started keeps them.
pub(super) fn keep(command: &mut Command, files: Vec<RawFd>) {
    if files.is_empty() {
        return;
    }
    // SAFETY: flags of descriptors, which the caller has open until then.
    unsafe {
        command.pre_exec(move || {
            for file in &files {
                rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(*file), rustix::io::FdFlags::empty())?;
            }
            Ok(())
        });
    }
}

/// In the supervisor: the program finds each at its number. After all else, which may have descriptors open.
pub(super) fn place(command: &mut Command, files: &[(RawFd, RawFd)]) -> io::Result<()> {
    let mut held = Vec::new();
    for &(file, at) in files {
        // SAFETY: it was kept for us and is closed nowhere before the program has begun.
        let file = unsafe { BorrowedFd::borrow_raw(file) };
        // Above all numbers that are about to be taken.
        let high = rustix::io::fcntl_dupfd_cloexec(file, FD_MAX + 1)?;
        // Nor may the standard library open anything of its own there between here and the exec.
        let low = rustix::io::fcntl_dupfd_cloexec(file, at)?;
        held.push((high, at, Some(low).filter(|low| low.as_raw_fd() == at)));
    }
    if held.is_empty() {
        return Ok(());
    }
    // SAFETY: system calls on descriptors that are open.
    unsafe {
        command.pre_exec(move || {
            for (file, at, _) in &held {
                if libc::dup2(file.as_raw_fd(), *at) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    Ok(())
}
