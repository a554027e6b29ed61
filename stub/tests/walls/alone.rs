//! One wall at a time: what it stops when no other stands. Some attacks end at several; a wall without an attack that ends at
//! it would be one that nobody missed.

use super::attacks::{ATTACKS, Attack, HOPELESS};
use super::{FILES, Place, Report, aside, become_user, ours, refuse};
use waft_stub::worker::walls::{Limits, Wall, Walls};

/// Paths that were not granted, and writing where reading was.
const PATHS: [&str; 16] = [
    "read by an absolute path",
    "read by `..`",
    "read by `..` from a descriptor",
    "read through an absolute symlink",
    "read through a relative symlink",
    "read through a symlink of its own",
    "take in by a hard link",
    "take out by a rename",
    "list",
    "read /etc/passwd",
    "read its own memory file",
    "read a process by its number",
    "open a device",
    "write there",
    "make a file there",
    "remove there",
];

/// What each stops by itself, for whomever; then what it stops of root's besides.
const ALONE: [(&str, &[&str], &[&str]); 6] = [
    ("mount_namespace", &["look at", "become a program"], &["make a directory in the root", "make a device"]),
    ("capabilities", &[], &["mount", "change the root", "become another user"]),
    ("landlock", &["make a fifo", "become a program"], &["mount", "make a directory in the root"]),
    ("rlimits", &["open more files than it may"], &[]),
    (
        "seccomp",
        &[
            "chmod",
            "chown",
            "set times",
            "set an attribute",
            "read attributes",
            "make a fifo",
            "signal a process, were it only itself",
            "hold its parent",
            "signal by a descriptor",
            "read its own memory by another way",
            "be traced",
            "fork",
            "start a thread's twin",
            "become a program",
            "open a TCP socket",
            "open a UDP socket",
            "open a UNIX socket",
            "open a netlink socket",
            "make a pair of sockets",
            "make a file in memory",
            "ask for the keys of a session",
            "name its domain",
            "watch files",
            "make a queue of calls",
        ],
        &["mount", "change the root", "become another user"],
    ),
    ("no_new_code", &["map memory with code", "make memory code"], &[]),
];

/// What the worker does before any wall: descriptors are closed, and nobody looks into it.
const BEFORE: [&str; 2] = ["find a descriptor of the stub", "read its own memory file"];
/// Calls that a wall is made with, so that they are refused here when that wall is to be missing.
const NOT_SHOWN: [&str; 2] = ["make a namespace", "lower a limit"];

/// What each wall is made with, and which attacks are that call itself: where the test refuses it, they prove nothing.
const MADE_WITH: [(&str, i64, i32, &[&str]); 5] = [
    ("mount_namespace", libc::SYS_unshare, libc::EPERM, &["make a namespace"]),
    ("capabilities", libc::SYS_capset, libc::EPERM, &[]),
    ("landlock", libc::SYS_landlock_create_ruleset, libc::ENOSYS, &[]),
    ("rlimits", libc::SYS_prlimit64, libc::EPERM, &["lower a limit"]),
    ("seccomp", libc::SYS_seccomp, libc::EINVAL, &[]),
];

/// The attacks that end at one wall when no other stands: the kernel refuses what the others are made with. `no_new_code` is
/// raised with the call that makes `seccomp`: it is looked at behind that one.
fn stopped_by_one(user: u32, place: &Place, wall: &str) -> Vec<&'static str> {
    let others =
        MADE_WITH.iter().filter(|(made, ..)| *made != wall && (wall, *made) != ("no_new_code", "seccomp"));
    let others: Vec<_> = others.collect();
    let proves = |attempt: &&Attack| others.iter().all(|(_, _, _, itself)| !itself.contains(&attempt.0));
    let tried = |attempt: &Attack, wall: Option<&str>| {
        let done = aside(|| {
            become_user(user);
            if let Some(wall) = wall {
                others.iter().for_each(|(_, number, error, _)| refuse(*number, None, *error));
                let limits = Limits { memory_bytes: 0, out_bytes: 0, files: FILES, counted: false };
                let raised = Walls::raise(Wall::Best, &place.dirs(), &limits, &ours());
                let standing = match raised {
                    // The last filter is for `no_new_code` alone.
                    Ok(_) if wall == "seccomp" => Ok(vec!["seccomp"]),
                    Ok(walls) => walls.close(),
                    Err(rejected) => Err(rejected),
                };
                match standing {
                    Ok(standing) if standing.contains(&wall) => {}
                    other => return format!("no wall: {other:?}"),
                }
            }
            match attempt.1(place) {
                Ok(()) => "done".to_owned(),
                Err(error) => format!("stopped: {error}"),
            }
        });
        place.mend();
        done
    };
    let all = ATTACKS.iter().chain(HOPELESS).filter(proves);
    let stopped = all.filter(|attempt| {
        let free = tried(attempt, None);
        let behind = tried(attempt, Some(wall));
        assert!(!behind.starts_with("no wall"), "{wall} alone, {}: {behind}", attempt.0);
        // Who becomes a program does not come back to say so.
        !free.starts_with("stopped") && behind.starts_with("stopped")
    });
    stopped.map(|attempt| attempt.0).collect()
}

/// Each wall stops by itself what is written here, and every attack ends at one of them.
pub(super) fn each_wall_alone(report: &mut Report, user: u32, place: &Place) {
    let mut ends: Vec<&str> = BEFORE.into_iter().chain(NOT_SHOWN).collect();
    for (wall, always, of_root) in ALONE {
        let stopped = stopped_by_one(user, place, wall);
        let paths = if matches!(wall, "mount_namespace" | "landlock") { &PATHS[..] } else { &[] };
        let of_root = if user == 0 { of_root } else { &[] };
        let wanted = always.iter().chain(of_root).chain(paths);
        let missed: Vec<_> = wanted.filter(|attack| !stopped.contains(attack)).collect();
        report.expect(&format!("user {user}, {wall} alone does not stop"), &format!("{missed:?}"), "[]");
        // Root alone has capabilities to lose.
        let own = stopped.iter().filter(|attack| !BEFORE.contains(attack)).count();
        let some = own > 0 || (wall == "capabilities" && user != 0);
        report.expect(&format!("user {user}, {wall} stops something by itself"), &some.to_string(), "true");
        ends.extend(stopped);
    }
    let left: Vec<_> = ATTACKS.iter().map(|attack| attack.0).filter(|name| !ends.contains(name)).collect();
    report.expect(&format!("user {user}, what no wall stops by itself"), &format!("{left:?}"), "[]");
}
