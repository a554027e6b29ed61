//! What no guest may do, and what it must still be able to.

use super::{FILES, Place};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::AsRawFd;

/// One thing that a guest must not be able to do: its name, itself, and how the kernel refuses it.
pub(super) type Attack = (&'static str, fn(&Place) -> Result<(), Errno>, &'static [Errno]);

fn done(returned: impl Into<i64>) -> Result<(), Errno> {
    match returned.into() {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        _ => Ok(()),
    }
}

/// A call by its number, with whole arguments.
fn call(number: i64, arguments: [u64; 4]) -> Result<i64, Errno> {
    let [a, b, c, d] = arguments;
    // SAFETY: what the arguments mean is each attack's business; all pointers among them live through the call.
    let returned = unsafe { libc::syscall(number, a, b, c, d, 0u64, 0u64) };
    done(returned).map(|()| returned)
}

pub(super) fn open(path: &str, flags: OFlags) -> Result<(), Errno> {
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o600)).map(drop)
}

fn c(path: &str) -> CString {
    CString::new(path).expect("no NUL")
}

/// Calls a function with the address of a path.
fn with(path: &str, then: impl FnOnce(u64) -> Result<(), Errno>) -> Result<(), Errno> {
    let path = c(path);
    then(path.as_ptr() as u64)
}

const AT: u64 = libc::AT_FDCWD as u64;
const GONE: &[Errno] = &[Errno::NOENT];
const REFUSED: &[Errno] = &[Errno::PERM];
const READ_ONLY: &[Errno] = &[Errno::ROFS];

pub(super) const ATTACKS: &[Attack] = &[
    // Files that were not granted.
    ("read by an absolute path", |place| open(&place.path("outside/file"), OFlags::RDONLY), GONE),
    ("read by `..`", |place| open(&place.path("rw/../outside/file"), OFlags::RDONLY), GONE),
    ("read by `..` from a descriptor", up_from_a_descriptor, GONE),
    ("read through an absolute symlink", |place| open(&place.path("rw/absolute"), OFlags::RDONLY), GONE),
    ("read through a relative symlink", |place| open(&place.path("rw/relative"), OFlags::RDONLY), GONE),
    ("read through a symlink of its own", a_symlink_of_its_own, GONE),
    ("take in by a hard link", hard_link, GONE),
    ("take out by a rename", rename_out, GONE),
    (
        "look at",
        |place| rustix::fs::statat(CWD, place.path("outside/file"), AtFlags::empty()).map(drop),
        GONE,
    ),
    ("list", |_| open("/etc", OFlags::RDONLY | OFlags::DIRECTORY), GONE),
    ("read /etc/passwd", |_| open("/etc/passwd", OFlags::RDONLY), GONE),
    ("read its own memory file", |_| open("/proc/self/mem", OFlags::RDONLY), GONE),
    ("read a process by its number", |_| open("/proc/1/stat", OFlags::RDONLY), GONE),
    ("open a device", |_| open("/dev/null", OFlags::RDWR), GONE),
    // A directory that was granted for reading.
    ("write there", |place| open(&place.path("ro/file"), OFlags::WRONLY), READ_ONLY),
    ("make a file there", |place| open(&place.path("ro/new"), OFlags::WRONLY | OFlags::CREATE), READ_ONLY),
    ("remove there", |place| rustix::fs::unlinkat(CWD, place.path("ro/file"), AtFlags::empty()), READ_ONLY),
    // What landlock knows nothing of, in a directory that was granted for writing.
    ("chmod", |place| rustix::fs::chmodat(CWD, place.path("rw/file"), Mode::RWXU, AtFlags::empty()), REFUSED),
    (
        "chown",
        |place| {
            with(&place.path("rw/file"), |path| {
                call(libc::SYS_fchownat, [AT, path, u64::MAX, u64::MAX]).map(drop)
            })
        },
        REFUSED,
    ),
    (
        "set times",
        |place| with(&place.path("rw/file"), |path| call(libc::SYS_utimensat, [AT, path, 0, 0]).map(drop)),
        REFUSED,
    ),
    ("set an attribute", set_attribute, REFUSED),
    (
        "read attributes",
        |place| with(&place.path("rw/file"), |path| call(libc::SYS_listxattr, [path, 0, 0, 0]).map(drop)),
        REFUSED,
    ),
    (
        "make a fifo",
        |place| rustix::fs::mknodat(CWD, place.path("rw/fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0),
        REFUSED,
    ),
    // Other processes, and becoming one.
    (
        "signal a process, were it only itself",
        |_| call(libc::SYS_kill, [u64::from(std::process::id()), 0, 0, 0]).map(drop),
        REFUSED,
    ),
    ("hold its parent", |_| call(libc::SYS_pidfd_open, [parent(), 0, 0, 0]).map(drop), REFUSED),
    ("signal by a descriptor", signal_by_a_descriptor, REFUSED),
    ("read its own memory by another way", read_memory, REFUSED),
    ("be traced", |_| call(libc::SYS_ptrace, [u64::from(libc::PTRACE_TRACEME), 0, 0, 0]).map(drop), REFUSED),
    ("fork", fork, REFUSED),
    ("start a thread's twin", |_| fork_by(libc::SYS_clone, u64::from(libc::SIGCHLD.unsigned_abs())), REFUSED),
    ("become a program", |_| execute(), &[Errno::PERM]),
    // The network.
    ("open a TCP socket", |_| socket(libc::AF_INET, libc::SOCK_STREAM), REFUSED),
    ("open a UDP socket", |_| socket(libc::AF_INET, libc::SOCK_DGRAM), REFUSED),
    ("open a UNIX socket", |_| socket(libc::AF_UNIX, libc::SOCK_STREAM), REFUSED),
    ("open a netlink socket", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW), REFUSED),
    ("make a pair of sockets", socket_pair, REFUSED),
    // Memory with code, and the kernel's odder doors.
    ("map memory with code", |_| map(libc::PROT_READ | libc::PROT_EXEC).map(drop), REFUSED),
    ("make memory code", make_code, REFUSED),
    (
        "make a file in memory",
        |_| with("x", |name| call(libc::SYS_memfd_create, [name, 0, 0, 0]).map(drop)),
        REFUSED,
    ),
    ("make a namespace", |_| call(libc::SYS_unshare, [0, 0, 0, 0]).map(drop), REFUSED),
    (
        "ask for the keys of a session",
        |_| call(libc::SYS_keyctl, [0, u64::from(u32::MAX - 1), 1, 0]).map(drop),
        REFUSED,
    ),
    ("name its domain", |_| call(libc::SYS_personality, [0xffff_ffff, 0, 0, 0]).map(drop), REFUSED),
    ("watch files", |_| call(libc::SYS_inotify_init1, [0, 0, 0, 0]).map(drop), REFUSED),
    ("make a queue of calls", io_uring, REFUSED),
    ("lower a limit", lower_a_limit, REFUSED),
    ("open more files than it may", too_many_files, &[Errno::MFILE]),
    ("find a descriptor of the stub", a_left_descriptor, &[Errno::BADF]),
];

/// Must be refused whether there are walls or not.
pub(super) const HOPELESS: &[Attack] = &[
    (
        "mount",
        |_| with("/", |path| call(libc::SYS_mount, [0, path, 0, libc::MS_REMOUNT | libc::MS_BIND]).map(drop)),
        REFUSED,
    ),
    (
        "make a directory in the root",
        |_| rustix::fs::mkdirat(CWD, "/waft-walls-new", Mode::RWXU),
        &[Errno::ROFS, Errno::ACCESS],
    ),
    (
        "change the root",
        |place| with(&place.path("rw"), |path| call(libc::SYS_chroot, [path, 0, 0, 0]).map(drop)),
        REFUSED,
    ),
    ("become another user", |_| call(libc::SYS_setuid, [12345, 0, 0, 0]).map(drop), REFUSED),
    (
        "make a device",
        |place| {
            rustix::fs::mknodat(
                CWD,
                place.path("rw/device"),
                rustix::fs::FileType::CharacterDevice,
                Mode::RWXU,
                rustix::fs::makedev(1, 3),
            )
        },
        REFUSED,
    ),
];

/// What a guest with these grants may do, and must still be able to.
pub(super) const WORK: &[Attack] = &[
    ("read", |place| open(&place.path("ro/file"), OFlags::RDONLY), &[]),
    ("list", |place| open(&place.path("ro"), OFlags::RDONLY | OFlags::DIRECTORY), &[]),
    ("write", |place| open(&place.path("rw/file"), OFlags::RDWR | OFlags::TRUNC), &[]),
    ("make, rename and remove", make_rename_remove, &[]),
    ("map memory", |_| map(libc::PROT_READ | libc::PROT_WRITE).map(drop), &[]),
];

pub(super) fn parent() -> u64 {
    // SAFETY: asks, and changes nothing.
    u64::from(unsafe { libc::getppid() }.unsigned_abs())
}

fn up_from_a_descriptor(place: &Place) -> Result<(), Errno> {
    let dir = rustix::fs::openat(CWD, place.path("rw"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    rustix::fs::openat(&dir, "../outside/file", OFlags::RDONLY, Mode::empty()).map(drop)
}

fn a_symlink_of_its_own(place: &Place) -> Result<(), Errno> {
    let link = place.path("rw/own");
    let _ = rustix::fs::unlinkat(CWD, &link, AtFlags::empty());
    rustix::fs::symlinkat(place.path("outside"), CWD, &link)?;
    open(&format!("{link}/file"), OFlags::RDONLY)
}

fn hard_link(place: &Place) -> Result<(), Errno> {
    let _ = rustix::fs::unlinkat(CWD, place.path("rw/hard"), AtFlags::empty());
    rustix::fs::linkat(CWD, place.path("outside/file"), CWD, place.path("rw/hard"), AtFlags::empty())
}

fn rename_out(place: &Place) -> Result<(), Errno> {
    let inside = place.path("rw/going");
    drop(rustix::fs::openat(CWD, &inside, OFlags::WRONLY | OFlags::CREATE, Mode::RWXU)?);
    rustix::fs::renameat(CWD, &inside, CWD, place.path("outside/came"))
}

fn set_attribute(place: &Place) -> Result<(), Errno> {
    let (path, name, value) = (c(&place.path("rw/file")), c("user.waft"), c("x"));
    let arguments = [path.as_ptr() as u64, name.as_ptr() as u64, value.as_ptr() as u64, 1];
    call(libc::SYS_setxattr, arguments).map(drop)
}

fn signal_by_a_descriptor(place: &Place) -> Result<(), Errno> {
    let file = rustix::fs::openat(CWD, place.path("rw/file"), OFlags::RDONLY, Mode::empty())?;
    let command = u64::from(libc::F_SETOWN.unsigned_abs());
    call(libc::SYS_fcntl, [u64::from(file.as_raw_fd().unsigned_abs()), command, 0, 0]).map(drop)
}

fn read_memory(_: &Place) -> Result<(), Errno> {
    let here = u64::from(std::process::id());
    call(libc::SYS_process_vm_readv, [here, 0, 0, 0]).map(drop)
}

fn fork(_: &Place) -> Result<(), Errno> {
    // SAFETY: one thread; the child ends at once.
    match unsafe { libc::fork() } {
        // SAFETY: as above.
        0 => unsafe { libc::_exit(0) },
        child => done(child),
    }
}

fn fork_by(number: i64, flags: u64) -> Result<(), Errno> {
    match call(number, [flags, 0, 0, 0])? {
        // SAFETY: the child ends at once.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

/// In a child, because it does not come back when it succeeds; `execve` itself looks for no other call.
fn execute() -> Result<(), Errno> {
    let (path, empty) = (c("/bin/true"), [std::ptr::null::<libc::c_char>()]);
    let arguments = [path.as_ptr() as u64, empty.as_ptr() as u64, empty.as_ptr() as u64, 0];
    call(libc::SYS_execve, arguments).map(drop)
}

fn socket(family: i32, kind: i32) -> Result<(), Errno> {
    // SAFETY: makes a descriptor of this process.
    done(unsafe { libc::socket(family, kind, 0) })
}

fn socket_pair(_: &Place) -> Result<(), Errno> {
    let mut pair = [0i32; 2];
    // SAFETY: there is room for two descriptors.
    done(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) })
}

fn map(protection: i32) -> Result<u64, Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping wherever the kernel likes.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED { done(-1).map(|()| 0) } else { Ok(at as u64) }
}

fn make_code(_: &Place) -> Result<(), Errno> {
    let at = map(libc::PROT_READ | libc::PROT_WRITE)?;
    call(libc::SYS_mprotect, [at, 4096, u64::from(libc::PROT_EXEC.unsigned_abs()), 0]).map(drop)
}

fn io_uring(_: &Place) -> Result<(), Errno> {
    let mut parameters = [0u64; 32];
    call(libc::SYS_io_uring_setup, [1, parameters.as_mut_ptr() as u64, 0, 0]).map(drop)
}

fn lower_a_limit(_: &Place) -> Result<(), Errno> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives through the call.
    done(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const none) })
}

fn too_many_files(place: &Place) -> Result<(), Errno> {
    let open = || rustix::fs::openat(CWD, place.path("ro/file"), OFlags::RDONLY, Mode::empty());
    (0..FILES + 64).map(|_| open()).collect::<Result<Vec<_>, _>>().map(drop)
}

/// The parent leaves this one open.
pub(super) const LEFT: i32 = 77;

fn a_left_descriptor(_: &Place) -> Result<(), Errno> {
    call(libc::SYS_fcntl, [u64::from(LEFT.unsigned_abs()), u64::from(libc::F_GETFD.unsigned_abs()), 0, 0])
        .map(drop)
}

fn make_rename_remove(place: &Place) -> Result<(), Errno> {
    rustix::fs::mkdirat(CWD, place.path("rw/dir"), Mode::RWXU)?;
    drop(rustix::fs::openat(CWD, place.path("rw/one"), OFlags::WRONLY | OFlags::CREATE, Mode::RWXU)?);
    rustix::fs::renameat(CWD, place.path("rw/one"), CWD, place.path("rw/dir/two"))?;
    rustix::fs::unlinkat(CWD, place.path("rw/dir/two"), AtFlags::empty())?;
    rustix::fs::unlinkat(CWD, place.path("rw/dir"), AtFlags::REMOVEDIR)
}
