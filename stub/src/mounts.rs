//! What is mounted where, as the kernel tells this process, and where it shows processes as files.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// Looking up all granted directories of one execution.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// Of the thread that looks, bytes.
const STACK_BYTES: usize = 128 * 1024;

pub(crate) struct Mount {
    pub(crate) point: PathBuf,
    /// Of this mount alone: `ro`, `nosuid` and the like.
    pub(crate) options: Vec<Vec<u8>>,
    is_proc: bool,
}

/// All mounts, each after the one that it is mounted on.
pub(crate) fn table() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The fifth word of a line is where it is, the next its options, the first behind a `-` what it is.
fn parse(table: &[u8]) -> Vec<Mount> {
    let mount = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == b' ');
        let point = PathBuf::from(OsString::from_vec(unescape(words.nth(4)?)));
        let options = words.next()?.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect();
        words.find(|word| *word == b"-")?;
        Some(Mount { point, options, is_proc: words.next()? == b"proc" })
    };
    table.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// Whether one of these directories shows a proc file system, is part of one, or cannot be told to be neither. They are
/// looked up on a thread of its own: a file server that is gone must not hold the stub.
pub(crate) fn show_processes<'a>(dirs: impl Iterator<Item = &'a str>) -> bool {
    let Ok(mounts) = table() else { return true };
    let dirs: Vec<PathBuf> = dirs.map(PathBuf::from).collect();
    let (tell, told) = sync_channel(1);
    let look = move || {
        let shown = dirs.iter().any(|dir| dir.canonicalize().map_or(true, |dir| meets(&dir, &mounts)));
        // Whoever asked waits no longer.
        let _ = tell.send(shown);
    };
    let started = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(look);
    started.map_or(true, |_| told.recv_timeout(LOOK_LIMIT).unwrap_or(true))
}

fn meets(dir: &Path, mounts: &[Mount]) -> bool {
    let mut procs = mounts.iter().filter(|mount| mount.is_proc).map(|mount| &mount.point);
    procs.any(|point| point.starts_with(dir) || dir.starts_with(point))
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(mut word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    while let Some((first, rest)) = word.split_first() {
        let (byte, rest) = match (first, rest) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), rest)
            }
            (first, rest) => (*first, rest),
        };
        plain.push(byte);
        word = rest;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{meets, parse, show_processes, unescape};
    use std::path::Path;

    const TABLE: &[u8] = b"22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n\
        23 28 0:22 / /sys rw - sysfs sysfs rw\n\
        28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        40 28 0:23 / /host/a\\040b/proc rw shared:3 master:2 - proc none rw\n\
        41 28 0:23 /1 /one rw - proc proc rw\n\
        42 28 0:24 / /odd rw - fuse.proc proc rw\n\
        43 28 broken\n";

    #[test]
    fn a_proc_at_above_or_below_a_directory_is_seen() {
        let mounts = parse(TABLE);
        for shown in [
            "/",
            "/proc",
            "/proc/sys/net",
            "/host",
            "/host/a b",
            "/host/a b/proc",
            "/host/a b/proc/1",
            "/one",
        ] {
            assert!(meets(Path::new(shown), &mounts), "{shown}");
        }
        for hidden in
            ["/process", "/pro", "/sys", "/host/a", "/host/a b/process", "/odd", "/srv/proc", "/oneself"]
        {
            assert!(!meets(Path::new(hidden), &mounts), "{hidden}");
        }
    }

    #[test]
    fn each_mount_has_its_point_and_its_options() {
        let mounts = parse(TABLE);
        let told = mounts.iter().map(|mount| (mount.point.to_str(), mount.options.join(&b' ')));
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 6, "{told:?}");
        assert_eq!(told[0], (Some("/proc"), b"rw nosuid".to_vec()));
        assert_eq!(told[2], (Some("/"), b"rw relatime".to_vec()));
        assert_eq!(told[3], (Some("/host/a b/proc"), b"rw".to_vec()));
    }

    #[test]
    fn only_what_the_kernel_escapes_is_undone() {
        assert_eq!(unescape(br"/a\040b\134c\"), br"/a b\c\");
        assert_eq!(unescape(br"\9\04\400"), br"\9\04\400");
    }

    #[test]
    fn a_symlink_to_proc_is_proc_and_its_neighbour_is_not() {
        let top = tempfile::tempdir().expect("a directory");
        let path = |name: &str| top.path().join(name).to_str().expect("a plain path").to_owned();
        let (link, beside, missing) = (path("p"), path("process"), path("missing"));
        std::os::unix::fs::symlink("/proc", &link).expect("a link");
        std::fs::create_dir(&beside).expect("a directory");
        let shows = |dirs: &[&str]| show_processes(dirs.iter().copied());
        assert!(shows(&[&link]) && shows(&[&beside, "/proc/self"]) && shows(&["/"]) && shows(&[&missing]));
        assert!(!shows(&[&beside]) && !shows(&[]));
    }
}
