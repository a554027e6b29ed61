//! The second wall alone: native code in a worker's place tries what no guest may do, on the real kernel, as root and as
//! an ordinary user. Each attack is made twice: without walls, where it must succeed, or the test proves nothing; and
//! behind them, where the kernel must refuse it with the error that is written here.
//!
//! Then the kernel says no: a filter that this test puts before the walls refuses what one of them is made with. It must
//! be missing from the report, and `required` must not start.
//!
//! No harness: a process that forks and then raises walls must have one thread.

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, WaitOptions, set_dumpable_behavior};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::ffi::CString;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use waft_stub::worker::walls::{ALL, Dir, Limits, Wall, Walls};

/// `nobody`, on every system that has one.
const ORDINARY: u32 = 65534;
const FILES: u64 = 16;

/// What the processes of this test have in common: `ro` and `rw` are granted, `outside` is not.
struct Place {
    top: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let top = tempfile::Builder::new().prefix("waft-walls-").tempdir().expect("a directory");
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let place = Place { top };
        for name in ["ro", "rw", "outside"] {
            let dir = place.path(name);
            fs::create_dir(&dir).expect("a directory");
            fs::write(format!("{dir}/file"), name).expect("a file");
            std::os::unix::fs::symlink(place.path("outside/file"), format!("{dir}/absolute"))
                .expect("a link");
            std::os::unix::fs::symlink("../outside/file", format!("{dir}/relative")).expect("a link");
            for path in [dir.clone(), format!("{dir}/file")] {
                chown(path, Some(ORDINARY), Some(ORDINARY)).expect("an owner");
            }
        }
        // Every child inherits it, as a worker would what a stub forgot to close.
        let stranger = fs::File::open(place.path("outside/file")).expect("a file");
        // SAFETY: the number is nobody else's.
        unsafe { libc::dup2(stranger.as_raw_fd(), LEFT) };
        place
    }

    fn path(&self, name: &str) -> String {
        self.top.path().join(name).to_str().expect("a plain path").to_owned()
    }

    fn dirs(&self) -> Vec<Dir> {
        vec![Dir { path: self.path("ro"), writable: false }, Dir { path: self.path("rw"), writable: true }]
    }
}

/// One thing that a guest must not be able to do: its name, itself, and how the kernel refuses it.
type Attack = (&'static str, fn(&Place) -> Result<(), Errno>, &'static [Errno]);

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

fn open(path: &str, flags: OFlags) -> Result<(), Errno> {
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

const ATTACKS: &[Attack] = &[
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
const HOPELESS: &[Attack] = &[
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
const WORK: &[Attack] = &[
    ("read", |place| open(&place.path("ro/file"), OFlags::RDONLY), &[]),
    ("list", |place| open(&place.path("ro"), OFlags::RDONLY | OFlags::DIRECTORY), &[]),
    ("write", |place| open(&place.path("rw/file"), OFlags::RDWR | OFlags::TRUNC), &[]),
    ("make, rename and remove", make_rename_remove, &[]),
    ("map memory", |_| map(libc::PROT_READ | libc::PROT_WRITE).map(drop), &[]),
];

fn parent() -> u64 {
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
const LEFT: i32 = 77;

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

/// Runs something in a child process and gives its answer. Nothing of the child's walls is left here.
fn aside(what: impl FnOnce() -> String) -> String {
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    // SAFETY: this program has one thread.
    match unsafe { libc::fork() } {
        -1 => panic!("cannot fork"),
        0 => {
            drop(reader);
            // Kept by number, as the walls close what they do not know.
            let answer = what();
            let _ = rustix::io::write(&writer, answer.as_bytes());
            // SAFETY: ends the child without what belongs to the parent.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop(writer);
            let mut answer = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = rustix::io::read(&reader, &mut buffer) {
                answer.extend_from_slice(&buffer[..read]);
            }
            let _ = rustix::process::waitpid(rustix::process::Pid::from_raw(child), WaitOptions::empty());
            String::from_utf8_lossy(&answer).into_owned()
        }
    }
}

/// All descriptors but the stranger, so that answers find their way out.
fn ours() -> Vec<i32> {
    (3..64).collect()
}

fn become_user(user: u32) {
    if user != 0 {
        rustix::thread::set_thread_groups(&[]).expect("no groups");
        let group = rustix::process::Gid::from_raw(user);
        rustix::thread::set_thread_res_gid(group, group, group).expect("the group");
        let user = rustix::process::Uid::from_raw(user);
        rustix::thread::set_thread_res_uid(user, user, user).expect("the user");
    }
    // Changing the user has made this process one that nobody may look into; a worker begins with an exec.
    set_dumpable_behavior(DumpableBehavior::Dumpable).expect("as after an exec");
    for (name, _) in std::env::vars_os() {
        // SAFETY: one thread.
        unsafe { std::env::remove_var(name) };
    }
}

fn raise(wall: Wall, place: &Place) -> Result<Vec<&'static str>, String> {
    let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES };
    Walls::raise(wall, &place.dirs(), &limits, &ours()).and_then(Walls::close).map_err(|(_, reason)| reason)
}

/// One attack by one user; without walls the worker is not even a worker.
fn attack(user: u32, wall: Option<Wall>, place: &Place, attack: &Attack) -> String {
    aside(|| {
        become_user(user);
        if let Some(wall) = wall
            && let Err(reason) = raise(wall, place)
        {
            return format!("no walls: {reason}");
        }
        match attack.1(place) {
            Ok(()) => "done".to_owned(),
            Err(error) if attack.2.contains(&error) => "refused".to_owned(),
            Err(error) => format!("{error}"),
        }
    })
}

struct Report {
    failed: Vec<String>,
    checked: usize,
}

impl Report {
    fn expect(&mut self, what: &str, found: &str, expected: &str) {
        self.checked += 1;
        if found != expected {
            self.failed.push(format!("{what}: expected `{expected}`, found `{found}`"));
        }
    }
}

/// The kernel refuses this call with this error, from now on.
fn refuse(number: i64, argument: Option<u64>, error: i32) {
    let rules = argument.into_iter().map(|value| {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
        SeccompRule::new(vec![condition.expect("a condition")]).expect("a rule")
    });
    let arch = std::env::consts::ARCH.try_into().expect("an architecture");
    let program: BpfProgram = SeccompFilter::new(
        [(number, rules.collect())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(error.unsigned_abs()),
        arch,
    )
    .and_then(TryInto::try_into)
    .expect("a filter");
    seccompiler::apply_filter(&program).expect("the filter");
}

/// Each wall, and the call that it is made with, which the kernel does not have or does not allow.
type Door = (&'static str, i64, Option<u64>, i32, &'static [&'static str]);

const DOORS: [Door; 6] = [
    (
        "no_new_privs",
        libc::SYS_prctl,
        Some(38),
        libc::EINVAL,
        &["no_new_privs", "landlock", "seccomp", "no_new_code"],
    ),
    ("mount_namespace", libc::SYS_unshare, None, libc::EPERM, &["mount_namespace"]),
    ("capabilities", libc::SYS_capset, None, libc::EPERM, &["capabilities"]),
    ("landlock", libc::SYS_landlock_create_ruleset, None, libc::ENOSYS, &["landlock"]),
    ("rlimits", libc::SYS_prlimit64, None, libc::EPERM, &["rlimits"]),
    ("seccomp", libc::SYS_seccomp, None, libc::EINVAL, &["seccomp", "no_new_code"]),
];

fn the_kernel_says_no(report: &mut Report, user: u32, place: &Place) {
    for (wall, number, argument, error, missing) in DOORS {
        let with_refusal = |wanted: Wall| {
            aside(|| {
                become_user(user);
                refuse(number, argument, error);
                match raise(wanted, place) {
                    Ok(standing) => standing.join(" "),
                    Err(reason) => format!("refused: {reason}"),
                }
            })
        };
        let left: Vec<&str> = ALL.into_iter().filter(|wall| !missing.contains(wall)).collect();
        let found = with_refusal(Wall::Best);
        report.expect(&format!("user {user}, best without {wall}"), &found, &left.join(" "));
        let found = with_refusal(Wall::Required);
        let named = found.starts_with(&format!("refused: the wall `{wall}` cannot be raised: "));
        report.expect(&format!("user {user}, required without {wall}: {found}"), &named.to_string(), "true");
    }
}

/// Either of the two walls around files holds without the other.
fn each_wall_around_files_alone(report: &mut Report, user: u32, place: &Place) {
    let doors = [
        ("landlock", libc::SYS_unshare, libc::EPERM, Errno::ACCESS),
        ("mount_namespace", libc::SYS_landlock_create_ruleset, libc::ENOSYS, Errno::NOENT),
    ];
    for (alone, number, error, expected) in doors {
        let found = aside(|| {
            become_user(user);
            refuse(number, None, error);
            if let Err(reason) = raise(Wall::Best, place) {
                return reason;
            }
            let read = open(&place.path("outside/file"), OFlags::RDONLY);
            let written = open(&place.path("ro/file"), OFlags::WRONLY);
            let good = open(&place.path("ro/file"), OFlags::RDONLY)
                .and_then(|()| open(&place.path("rw/file"), OFlags::WRONLY));
            format!("{} {} {}", read == Err(expected), written.is_err(), good.is_ok())
        });
        report.expect(&format!("user {user}, {alone} alone"), &found, "true true true");
    }
}

/// A directory inside another that is granted: each as it was granted.
fn grants_within_grants(report: &mut Report, user: u32, place: &Place) {
    let found = aside(|| {
        become_user(user);
        let inner = place.path("rw/inner");
        fs::create_dir_all(&inner).expect("a directory");
        let dirs = vec![
            Dir { path: inner.clone(), writable: false },
            Dir { path: place.path("rw"), writable: true },
        ];
        let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES };
        if let Err((_, reason)) = Walls::raise(Wall::Required, &dirs, &limits, &ours()) {
            return reason;
        }
        let made = |path: &str| open(path, OFlags::WRONLY | OFlags::CREATE).is_ok();
        format!("{} {}", made(&format!("{inner}/x")), made(&place.path("rw/x")))
    });
    report.expect(&format!("user {user}, ro inside of rw"), &found, "false true");
}

/// A grant of everything is one, and what is `ro` stays it.
fn a_grant_of_everything(report: &mut Report, user: u32, place: &Place) {
    let found = aside(|| {
        become_user(user);
        let dirs = vec![
            Dir { path: "/".to_owned(), writable: false },
            Dir { path: place.path("rw"), writable: true },
        ];
        let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES };
        if let Err((_, reason)) = Walls::raise(Wall::Required, &dirs, &limits, &ours()) {
            return reason;
        }
        let read = open(&place.path("outside/file"), OFlags::RDONLY);
        let written = open(&place.path("outside/file"), OFlags::WRONLY);
        let inside = open(&place.path("rw/file"), OFlags::WRONLY);
        // With all of /proc at hand, too, a process of the same user is not looked into.
        let memory = open(&format!("/proc/{}/mem", parent()), OFlags::RDWR);
        format!("{} {} {} {}", read.is_ok(), written.is_err(), inside.is_ok(), memory.is_err())
    });
    report.expect(&format!("user {user}, all of it read-only"), &found, "true true true true");
}

fn main() {
    // As `cargo nextest` asks: one test, of this program's name.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("walls: test");
        }
        return;
    }
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!(
            "SKIPPED as root: only the walls of an ordinary user are tried (run the tests as root for both)"
        );
    }
    let mine = rustix::process::geteuid().as_raw();
    let mut report = Report { failed: Vec::new(), checked: 0 };
    for user in if root { vec![0, ORDINARY] } else { vec![mine] } {
        let place = Place::new();
        for attempt in ATTACKS {
            let free = attack(user, None, &place, attempt);
            // A process that has become another one does not come back to say so.
            let succeeded = if attempt.0 == "become a program" { "" } else { "done" };
            report.expect(&format!("user {user}, without walls: {}", attempt.0), &free, succeeded);
            place.mend();
            let walled = attack(user, Some(Wall::Required), &place, attempt);
            report.expect(&format!("user {user}, behind walls: {}", attempt.0), &walled, "refused");
            place.mend();
        }
        for attempt in HOPELESS {
            let walled = attack(user, Some(Wall::Required), &place, attempt);
            report.expect(&format!("user {user}, behind walls: {}", attempt.0), &walled, "refused");
        }
        for attempt in WORK {
            let walled = attack(user, Some(Wall::Required), &place, attempt);
            report.expect(&format!("user {user}, behind walls: {}", attempt.0), &walled, "done");
        }
        the_kernel_says_no(&mut report, user, &place);
        each_wall_around_files_alone(&mut report, user, &place);
        grants_within_grants(&mut report, user, &place);
        a_grant_of_everything(&mut report, user, &place);
        place.unharmed(&mut report);
    }
    println!("{} checks", report.checked);
    if !report.failed.is_empty() {
        eprintln!("{}", report.failed.join("\n"));
        std::process::exit(1);
    }
}

impl Place {
    /// What successful attacks changed is as it was.
    fn mend(&self) {
        for name in ["ro/new", "rw/hard", "rw/own", "rw/fifo", "outside/came", "rw/going"] {
            let _ = fs::remove_file(self.path(name));
        }
        let _ = fs::remove_dir("/waft-walls-new");
        for name in ["ro", "rw", "outside"] {
            let file = self.path(&format!("{name}/file"));
            if !Path::new(&file).exists() {
                fs::write(&file, name).expect("a file");
                chown(&file, Some(ORDINARY), Some(ORDINARY)).expect("an owner");
            }
        }
    }

    /// After all that, what was not granted is what it was.
    fn unharmed(&self, report: &mut Report) {
        let text = fs::read_to_string(self.path("outside/file")).expect("a file");
        report.expect("the file outside", &text, "outside");
        let owner = fs::metadata(self.path("outside/file")).expect("a file").uid();
        report.expect("its owner", &owner.to_string(), &ORDINARY.to_string());
    }
}
