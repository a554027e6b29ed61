//! Directories behind which there is more than files: what a grant of one opens beside what it says.

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
    Place {
        path: "/boot",
        writable: true,
        deeper: false,
        what: "whoever writes there decides what the machine starts next",
    },
    Place { path: "/usr", writable: true, deeper: false, what: PROGRAMS },
    Place { path: "/bin", writable: true, deeper: false, what: PROGRAMS },
    Place { path: "/sbin", writable: true, deeper: false, what: PROGRAMS },
    Place { path: "/lib", writable: true, deeper: false, what: PROGRAMS },
    Place { path: "/run/systemd/system", writable: true, deeper: true, what: JOBS },
    Place { path: "/var/spool/cron", writable: true, deeper: true, what: JOBS },
];
const PROGRAMS: &str = "programs and libraries that others run, root among them, are there";
const JOBS: &str = "what is written there is started by root, or by whom it names";
/// Files in memory, as anywhere.
const MEMORY: &str = "/dev/shm";
const ROOT: &str = "also the processes, devices and kernel settings that are files below it";
/// Below /etc these are as good as all of it.
const ETC: &[&str] = &[
    "cron.d",
    "cron.daily",
    "cron.hourly",
    "cron.weekly",
    "cron.monthly",
    "default",
    "init.d",
    "ld.so.conf.d",
    "pam.d",
    "profile.d",
    "security",
    "ssh",
    "sudoers.d",
    "systemd",
    "udev",
    "waft",
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
        return PLACES.iter().find(|place| place.path == "/etc").map(|place| place.what);
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
    use super::{HOME, JOBS, PROGRAMS, ROOT, warning};
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
            ("fs:/etc/cron.d:rw", "sudo rules"),
            ("fs:/etc/ssh/sshd_config.d:rw", "sudo rules"),
            ("fs:/usr:rw", PROGRAMS),
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
            "fs:/usr/local/share/app:rw",
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
