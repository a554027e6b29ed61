//! Directories behind which there is more than files: what a grant of one opens beside what it says. For `waft explain`,
//! `waft sign` and `waft policy check`; a node does not care.

use waft_proto::grant::{Access, Grant};

/// Where a warning counts: for a grant of the directory, of one in it, and of one around it.
struct Place {
    path: &'static str,
    /// Only when it may be written to.
    writable: bool,
    /// Grants of what lies deeper are warned of, too.
    deeper: bool,
    what: &'static str,
}

/// The first that fits is told. Of `/` only [`ROOT`] is.
const PLACES: &[Place] = &[
    Place {
        path: "/proc",
        writable: true,
        deeper: true,
        what: "writing there reaches into the processes of this user and, for root, changes the kernel's settings: as good as the account",
    },
    Place {
        path: "/proc",
        writable: false,
        deeper: false,
        what: "the environment, arguments and memory of this user's processes can be read there, and secrets in them",
    },
    Place {
        path: "/sys",
        writable: true,
        deeper: true,
        what: "writing there changes devices, firmware variables, power and control groups",
    },
    Place {
        path: "/sys",
        writable: false,
        deeper: false,
        what: "the state of kernel, devices and firmware can be read there",
    },
    Place {
        path: "/dev",
        writable: false,
        deeper: true,
        what: "devices are there: for root whole disks and memory, whatever modes their files have",
    },
    Place {
        path: "/etc",
        writable: true,
        deeper: false,
        what: "users, passwords, sudo rules, cron jobs and start-up files are there: for root as good as everything on this machine",
    },
    Place { path: "/boot", writable: true, deeper: true, what: BOOT },
    Place { path: "/efi", writable: true, deeper: true, what: BOOT },
    Place { path: "/usr", writable: true, deeper: false, what: PROGRAMS },
    Place { path: "/usr/bin", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/usr/sbin", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/usr/lib", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/usr/lib32", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/usr/lib64", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/usr/libexec", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/usr/local/bin", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/usr/local/sbin", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/usr/local/lib", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/usr/local/lib64", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/bin", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/sbin", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/lib", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/lib32", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/lib64", writable: true, deeper: true, what: PROGRAMS },
    Place { path: "/run/systemd/system", writable: true, deeper: true, what: JOBS },
    Place { path: "/var/spool/cron", writable: true, deeper: true, what: JOBS },
    Place { path: "/etc/waft", writable: true, deeper: true, what: NODE },
    Place { path: "/var/lib/waft", writable: true, deeper: true, what: NODE },
];
const BOOT: &str = "whoever writes there decides what the machine starts next";
const PROGRAMS: &str = "programs, libraries and start-up units that others run, root among them, are there";
const JOBS: &str = "what is written there is started by root, or by whom it names";
const NODE: &str =
    "an installed stub has its policy, keys and orders there: whoever writes there changes what it allows";
/// Files in memory, as anywhere.
const MEMORY: &str = "/dev/shm";
const ROOT: &str = "also the processes, devices and kernel settings that are files below it";
/// Of one of [`ETC`].
const RULES: &str = "root runs what is there, or goes by it: for root as good as everything on this machine";
/// Below /etc these are as good as all of it.
const ETC: &[&str] = &[
    "apt",
    "cron.d",
    "cron.daily",
    "cron.hourly",
    "cron.monthly",
    "cron.weekly",
    "crontabs",
    "dbus-1",
    "default",
    "dracut.conf.d",
    "init.d",
    "initramfs-tools",
    "kernel",
    "ld.so.conf.d",
    "logrotate.d",
    "modprobe.d",
    "modules-load.d",
    "network",
    "networkd-dispatcher",
    "NetworkManager",
    "pam.d",
    "periodic",
    "polkit-1",
    "ppp",
    "profile.d",
    "rc.d",
    "security",
    "ssh",
    "sudoers.d",
    "sysctl.d",
    "systemd",
    "tmpfiles.d",
    "udev",
    "update-motd.d",
];
/// A home that may be written to.
const HOME: &str =
    "a home with its .ssh: whoever writes authorized_keys or a start-up file there can log in as its user";

/// What a grant opens more than it seems, if it does.
pub fn warning(grant: &Grant) -> Option<&'static str> {
    let Grant::Fs { path, access } = grant else { return None };
    let writable = *access == Access::ReadWrite;
    if path == MEMORY || is_below(path, MEMORY) {
        return None;
    }
    if path == "/" {
        return Some(ROOT);
    }
    let fits = |place: &&Place| {
        (writable || !place.writable)
            && (path == place.path
                || is_below(place.path, path)
                || (place.deeper && is_below(path, place.path)))
    };
    if let Some(place) = PLACES.iter().find(fits) {
        return Some(place.what);
    }
    let etc = path.strip_prefix("/etc/").and_then(|rest| rest.split('/').next());
    if writable && etc.is_some_and(|name| ETC.contains(&name)) {
        return Some(RULES);
    }
    (writable && is_home(path)).then_some(HOME)
}

/// Whether `path` lies deeper than `dir`.
fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

/// A home by the usual places, all of them, or what of one lets somebody in. Others cannot be told by their names.
fn is_home(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    let rest = match (parts.next(), parts.next()) {
        (Some("home"), _) => parts.next(),
        (Some("root"), rest) => rest,
        _ => return path.split('/').any(|part| part == ".ssh"),
    };
    matches!(rest, None | Some(".ssh" | ".config" | ".local" | ".bashrc.d"))
}

#[cfg(test)]
mod tests {
    use super::{BOOT, HOME, JOBS, NODE, PROGRAMS, ROOT, RULES, warning};
    use waft_proto::grant::Grant;

    fn said(text: &str) -> Option<&'static str> {
        warning(&Grant::parse(text).expect("a grant"))
    }

    #[test]
    fn a_grant_that_opens_more_than_it_seems_is_warned_of() {
        for (grant, words) in [
            ("fs:/proc:rw", "as good as the account"),
            ("fs:/proc/sys/net:rw", "as good as the account"),
            ("fs:/proc", "secrets in them"),
            ("fs:/sys", "kernel, devices and firmware can be read"),
            ("fs:/sys/class:rw", "changes devices"),
            ("fs:/dev", "whole disks"),
            ("fs:/dev/disk/by-id:rw", "devices are there"),
            ("fs:/", ROOT),
            ("fs:/:rw", ROOT),
            ("fs:/etc:rw", "sudo rules"),
            ("fs:/etc/cron.d:rw", RULES),
            ("fs:/etc/ssh/sshd_config.d:rw", RULES),
            ("fs:/etc/logrotate.d:rw", RULES),
            ("fs:/etc/apt/apt.conf.d:rw", RULES),
            ("fs:/etc/modprobe.d:rw", RULES),
            ("fs:/etc/network/if-up.d:rw", RULES),
            ("fs:/etc/NetworkManager/dispatcher.d:rw", RULES),
            ("fs:/etc/waft:rw", NODE),
            ("fs:/var/lib:rw", NODE),
            ("fs:/var/lib/waft/orders:rw", NODE),
            ("fs:/usr:rw", PROGRAMS),
            ("fs:/usr/bin:rw", PROGRAMS),
            ("fs:/usr/sbin:rw", PROGRAMS),
            ("fs:/usr/local:rw", PROGRAMS),
            ("fs:/usr/local/bin:rw", PROGRAMS),
            ("fs:/usr/local/sbin:rw", PROGRAMS),
            ("fs:/usr/lib/systemd/system:rw", PROGRAMS),
            ("fs:/usr/lib64:rw", PROGRAMS),
            ("fs:/lib/systemd/system:rw", PROGRAMS),
            ("fs:/lib64:rw", PROGRAMS),
            ("fs:/boot:rw", BOOT),
            ("fs:/boot/grub:rw", BOOT),
            ("fs:/run:rw", JOBS),
            ("fs:/var:rw", JOBS),
            ("fs:/home:rw", HOME),
            ("fs:/home/ops:rw", HOME),
            ("fs:/home/ops/.ssh:rw", HOME),
            ("fs:/root:rw", HOME),
            ("fs:/srv/git/.ssh:rw", HOME),
        ] {
            let warning = said(grant).unwrap_or_else(|| panic!("nothing is said of {grant}"));
            assert!(warning.contains(words), "{grant}: {warning}");
        }
    }

    #[test]
    fn of_others_nothing_is_said() {
        for grant in [
            "fs:/etc",
            "fs:/etc/nginx:rw",
            "fs:/dev/shm/app:rw",
            "fs:/srv/www:rw",
            "fs:/proc/sys/net",
            "fs:/sys/class/net",
            "fs:/home/ops/app:rw",
            "fs:/home/ops",
            "fs:/usr/bin",
            "fs:/usr/share/app:rw",
            "fs:/usr/local/share/app:rw",
            "fs:/usr/library:rw",
            "fs:/devices:rw",
            "fs:/var/lib/app:rw",
            "fs:/procfs",
            "facts",
            "exec:/bin/sh",
        ] {
            assert_eq!(said(grant), None, "{grant}");
        }
    }
}
