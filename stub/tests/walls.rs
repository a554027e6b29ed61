//! The second wall alone: native code in a worker's place tries what no guest may do, on the real kernel, as root and as
//! an ordinary user. Each attack is made twice: without walls, where it must succeed, or the test proves nothing; and
//! behind them, where the kernel must refuse it with the error that is written here.
//!
//! Then the kernel says no: a filter that this test puts before the walls refuses what one of them is made with. It must
//! be missing from the report, and `required` must not start.
//!
//! No harness: a process that forks and then raises walls must have one thread.

#[path = "walls/alone.rs"]
mod alone;
#[path = "walls/attacks.rs"]
mod attacks;

use attacks::{ATTACKS, Attack, HOPELESS, LEFT, WORK, open, parent};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{DumpableBehavior, WaitOptions, set_dumpable_behavior};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use waft_stub::worker::walls::{ALL, Dir, Dry, Limits, Wall, Walls};

/// `nobody`, on every system that has one.
const ORDINARY: u32 = 65534;
const FILES: u64 = 16;

/// Whose the files of this test are: root would be refused nothing by their modes.
fn owner() -> u32 {
    let mine = rustix::process::geteuid();
    if mine.is_root() { ORDINARY } else { mine.as_raw() }
}

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
                chown(path, Some(owner()), Some(owner())).expect("an owner");
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
    if user != rustix::process::geteuid().as_raw() {
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
    raise_counted(wall, place, false)
}

/// `counted`: with the limit `disk:`, for which processes of the same user may look into this one.
fn raise_counted(wall: Wall, place: &Place, counted: bool) -> Result<Vec<&'static str>, String> {
    let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES, counted };
    Walls::raise(wall, &place.dirs(), &limits, &ours()).and_then(Walls::close).map_err(|(_, reason)| reason)
}

/// One attack by one user; without walls the worker is not even a worker. Behind them what it writes is counted or not.
fn attack(user: u32, walls: Option<bool>, place: &Place, attack: &Attack) -> String {
    aside(|| {
        become_user(user);
        if let Some(counted) = walls
            && let Err(reason) = raise_counted(Wall::Required, place, counted)
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
        let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES, counted: false };
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
        let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES, counted: false };
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

/// Before Linux 5.12 nobody makes a mount and all below it read-only at once. What is mounted in a granted directory is as
/// that is, also where landlock is missing and in a dry run, in which nothing else keeps it.
fn mounts_below_on_an_old_kernel(report: &mut Report, user: u32, place: &Place) {
    let found = |dry: bool| {
        aside(|| {
            // SAFETY: one thread.
            unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("a namespace");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private");
            for name in ["ro", "rw"] {
                let below = place.path(name) + "/be low";
                fs::create_dir_all(&below).expect("a directory");
                mount("test", &below, "tmpfs", MountFlags::NODEV, c"mode=777").expect("a file system");
            }
            become_user(user);
            refuse(libc::SYS_mount_setattr, None, libc::ENOSYS);
            refuse(libc::SYS_landlock_create_ruleset, None, libc::ENOSYS);
            let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES, counted: false };
            let mut dirs = place.dirs();
            dirs[1].writable = !dry;
            let dry = dry.then(|| Dry { writable: vec![1], bytes: 1 << 20 });
            let walls =
                match Walls::raise_for(Wall::Best, &mut dirs, &limits, &ours(), dry.as_ref(), |_| Ok(())) {
                    Ok(walls) => walls,
                    Err((_, reason)) => return reason,
                };
            let made = |path: &str| open(&place.path(path), OFlags::WRONLY | OFlags::CREATE);
            let tried = [made("ro/x"), made("ro/be low/x"), made("rw/be low/x")];
            match walls.close() {
                Ok(standing) => format!("{} {tried:?}", standing.contains(&"mount_namespace")),
                Err((_, reason)) => reason,
            }
        })
    };
    let read_only = Err::<(), _>(Errno::ROFS);
    let expected = format!("true {:?}", [read_only, read_only, Ok(())]);
    report.expect(&format!("user {user}, mounts below"), &found(false), &expected);
    let expected = format!("true {:?}", [read_only; 3]);
    report.expect(&format!("user {user}, mounts below in a dry run"), &found(true), &expected);
}

/// The new root is put together on no directory that is granted, by whatever name: the task would see that root there.
fn a_grant_by_another_name(report: &mut Report, user: u32, place: &Place) {
    let found = aside(|| {
        let (link, file) = (place.path("link"), place.path("link/waft-walls-file"));
        // The first place that is taken.
        std::os::unix::fs::symlink("/tmp", &link).expect("a link");
        fs::write(&file, "there").expect("a file");
        become_user(user);
        let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES, counted: false };
        let dirs = [Dir { path: link, writable: false }];
        match Walls::raise(Wall::Required, &dirs, &limits, &ours()) {
            Ok(_) => fs::read_to_string(&file).unwrap_or_else(|error| error.to_string()),
            Err((_, reason)) => reason,
        }
    });
    fs::remove_file(place.path("link/waft-walls-file")).expect("it was there");
    fs::remove_file(place.path("link")).expect("it was there");
    report.expect(&format!("user {user}, a grant by another name"), &found, "there");
}

/// In a dry run each granted directory without an overlay is told, those for reading included: what stands there is real.
fn what_has_no_overlay_in_a_dry_run(report: &mut Report, user: u32, place: &Place) {
    let ro = |path: &str| Dir { path: path.to_owned(), writable: false };
    let found = |dirs: &[Dir], refused: bool| {
        aside(|| {
            become_user(user);
            if refused {
                refuse(libc::SYS_unshare, None, libc::EPERM);
            }
            let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES, counted: false };
            let dry = Dry { writable: Vec::new(), bytes: 1 << 20 };
            let mut told = 0;
            let tell = |_| {
                told += 1;
                Ok(())
            };
            match Walls::raise_for(Wall::Best, &mut dirs.to_vec(), &limits, &ours(), Some(&dry), tell) {
                Ok(walls) => format!("{told} {}", walls.uncovered().unwrap_or("all have one")),
                Err((_, reason)) => reason,
            }
        })
    };
    let (good, proc) = (ro(&place.path("ro")), ro("/proc"));
    let covered = found(std::slice::from_ref(&good), false);
    report.expect(&format!("user {user}, a dry run"), &covered, "0 all have one");
    let part = found(&[good.clone(), proc], false);
    report.expect(
        &format!("user {user}, proc in a dry run"),
        &part,
        "0 `/proc`: its files are the kernel's own",
    );
    let none = found(&[good], true);
    let named = none.contains(&place.path("ro")) && none.contains("no namespace can be made");
    report.expect(&format!("user {user}, a dry run without namespaces: {none}"), &named.to_string(), "true");
    let nothing = found(&[], true);
    report.expect(&format!("user {user}, nothing granted in a dry run"), &nothing, "0 all have one");
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
            for (counted, walls) in [(false, "walls"), (true, "walls that count")] {
                let walled = attack(user, Some(counted), &place, attempt);
                report.expect(&format!("user {user}, behind {walls}: {}", attempt.0), &walled, "refused");
                place.mend();
            }
        }
        for attempt in HOPELESS {
            let walled = attack(user, Some(false), &place, attempt);
            report.expect(&format!("user {user}, behind walls: {}", attempt.0), &walled, "refused");
        }
        for attempt in WORK {
            let walled = attack(user, Some(false), &place, attempt);
            report.expect(&format!("user {user}, behind walls: {}", attempt.0), &walled, "done");
        }
        the_kernel_says_no(&mut report, user, &place);
        each_wall_around_files_alone(&mut report, user, &place);
        alone::each_wall_alone(&mut report, user, &place);
        grants_within_grants(&mut report, user, &place);
        a_grant_of_everything(&mut report, user, &place);
        what_has_no_overlay_in_a_dry_run(&mut report, user, &place);
        if root {
            mounts_below_on_an_old_kernel(&mut report, user, &place);
            a_grant_by_another_name(&mut report, user, &place);
        }
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
                chown(&file, Some(owner()), Some(owner())).expect("an owner");
            }
        }
    }

    /// After all that, what was not granted is what it was.
    fn unharmed(&self, report: &mut Report) {
        let text = fs::read_to_string(self.path("outside/file")).expect("a file");
        report.expect("the file outside", &text, "outside");
        let found = fs::metadata(self.path("outside/file")).expect("a file").uid();
        report.expect("its owner", &found.to_string(), &owner().to_string());
    }
}
