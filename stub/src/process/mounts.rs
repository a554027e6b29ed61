//! Where the kernel shows processes as files.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Whether one of these directories shows a proc file system, is part of one, or cannot be told to be neither.
pub(crate) fn show_processes<'a>(mut dirs: impl Iterator<Item = &'a str>) -> bool {
    let Ok(table) = std::fs::read("/proc/self/mountinfo") else { return true };
    let points = proc_points(&table);
    dirs.any(|dir| std::fs::canonicalize(dir).map_or(true, |dir| meets(&dir, &points)))
}

fn meets(dir: &Path, points: &[PathBuf]) -> bool {
    points.iter().any(|point| point.starts_with(dir) || dir.starts_with(point))
}

/// Mount points of type `proc`: the fifth word of a line is where it is, the first behind a `-` what it is.
fn proc_points(table: &[u8]) -> Vec<PathBuf> {
    let point = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == b' ');
        let point = words.nth(4)?;
        words.find(|word| *word == b"-")?;
        (words.next()? == b"proc").then(|| PathBuf::from(OsString::from_vec(unescape(point))))
    };
    table.split(|byte| *byte == b'\n').filter_map(point).collect()
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
    use super::{meets, proc_points, show_processes, unescape};
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
        let points = proc_points(TABLE);
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
            assert!(meets(Path::new(shown), &points), "{shown}");
        }
        for hidden in
            ["/process", "/pro", "/sys", "/host/a", "/host/a b/process", "/odd", "/srv/proc", "/oneself"]
        {
            assert!(!meets(Path::new(hidden), &points), "{hidden}");
        }
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
