//! File systems: those on a device or on the network, and the root whatever it is on. Sizes are bytes.

use super::{Facts, LIST_ENTRIES_MAX, Machine, cut};
use serde_json::{Value, json};

#[derive(PartialEq, Eq, Debug)]
struct Mount {
    device: String,
    point: String,
    kind: String,
    read_only: bool,
}

pub(super) fn gather(machine: &Machine, facts: &mut Facts) {
    let table = machine.read("/proc/self/mounts").unwrap_or_default();
    facts.put_list("mounts", mounts(&table).into_iter().map(|mount| describe(machine, &mount)));
}

fn mounts(table: &str) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in table.lines().filter_map(parse) {
        let real = mount.device.starts_with('/') || is_remote(&mount.device);
        if !real && mount.point != "/" {
            continue;
        }
        // What was mounted later hides what is below it.
        mounts.retain(|earlier| earlier.point != mount.point);
        mounts.push(mount);
    }
    // A node of a container cluster has thousands of bind mounts; the short paths are the ones people mean.
    mounts.sort_by_key(|mount| mount.point.len());
    mounts.truncate(LIST_ENTRIES_MAX);
    mounts
}

fn parse(line: &str) -> Option<Mount> {
    let mut words = line.split_whitespace();
    let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
    let read_only = words.next().is_some_and(|options| options.split(',').any(|option| option == "ro"));
    Some(Mount { device: unescape(device), point: unescape(point), kind: kind.to_owned(), read_only })
}

fn is_remote(device: &str) -> bool {
    device.contains(":/") || device.starts_with("//")
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = after.get(3..).unwrap_or("");
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn describe(machine: &Machine, mount: &Mount) -> Value {
    let mut value = json!({
        "mount": cut(&mount.point),
        "device": cut(&mount.device),
        "fstype": cut(&mount.kind),
    });
    if let Some(fields) = value.as_object_mut() {
        if mount.read_only {
            fields.insert("read_only".into(), true.into());
        }
        if let Some((total, available)) = sizes(machine, mount) {
            fields.insert("size_total".into(), total.into());
            fields.insert("size_available".into(), available.into());
        }
    }
    value
}

/// Bytes in all, and bytes that an ordinary user may still write.
///
/// Only of block devices and the root: statvfs of a dead NFS server or a stuck FUSE program blocks, and no signal ends it.
fn sizes(machine: &Machine, mount: &Mount) -> Option<(u64, u64)> {
    let local = mount.device.starts_with("/dev/") && !mount.kind.starts_with("fuse");
    if !(local || mount.point == "/") || is_remote(&mount.device) {
        return None;
    }
    let stat = rustix::fs::statvfs(machine.path(&mount.point)).ok()?;
    Some((stat.f_blocks.checked_mul(stat.f_frsize)?, stat.f_bavail.checked_mul(stat.f_frsize)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(table: &str) -> Vec<String> {
        mounts(table).into_iter().map(|mount| mount.point).collect()
    }

    #[test]
    fn what_is_on_no_device_is_left_out_but_for_the_root() {
        let table = "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\n/dev/sda1 /boot ext4 ro,x 0 0\nnas:/x /x nfs rw\n";
        assert_eq!(points(table), ["/", "/x", "/boot"]);
        assert!(mounts(table).iter().any(|mount| mount.point == "/boot" && mount.read_only));
    }

    #[test]
    fn the_later_mount_counts() {
        let mounts = mounts("/dev/a /m ext4 rw\n/dev/b /m xfs rw\n");
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].device, "/dev/b");
    }

    #[test]
    fn octal_escapes_are_undone() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        for unchanged in [r"\", r"\9", r"a\04", "\\é9"] {
            assert_eq!(unescape(unchanged), unchanged);
        }
    }

    #[test]
    fn lines_that_are_no_mounts_are_passed_over() {
        assert!(points("\n/dev/a\n/dev/a /m\n").is_empty());
    }
}
