//! What went wrong, as problems: each names the task, the target, the operation and its paths.

use super::{Call, names};
use rustix::io::Errno;
use waft_proto::grant::{Access, Grant, GrantSet};
use waft_proto::run::Problem;

/// Code without `file.`, sentence, hint.
type Words = (&'static str, &'static str, &'static str);

impl Call<'_> {
    pub(super) fn problem(&self, code: &str, what: &str) -> Problem {
        let subject = self.request.subject();
        Problem::new(code, format!("task `{}` on `{}`: `{subject}` failed: {what}", self.task, self.target))
    }

    /// The grant that would have allowed it, in the words of any missing grant.
    pub(super) fn missing(&self, dir: &str, access: Access) -> Problem {
        let wanted = Grant::Fs { path: dir.to_owned(), access };
        let missing = GrantSet::default().check(&wanted).err();
        let what = missing.as_ref().map_or("a grant is missing", |missing| &missing.message);
        Problem {
            hint: missing.as_ref().and_then(|missing| missing.hint.clone()),
            ..self.problem("grant.missing", what)
        }
    }

    fn said(&self, (code, sentence, hint): Words) -> Problem {
        let problem = self.problem(&format!("file.{code}"), sentence);
        if hint.is_empty() { problem } else { problem.hint(hint) }
    }

    /// What the kernel answered to the way to a file.
    pub(super) fn not_found(&self, error: Errno) -> Problem {
        let words = match error {
            Errno::XDEV => (
                "escape",
                "a symlink or `..` on the way leads out of the granted directory",
                "absolute symlinks are not followed, wherever they lead; name the file itself, in a granted directory",
            ),
            Errno::LOOP => (
                "loop",
                "there are too many symlinks on the way, or one of those of /proc that lead anywhere",
                "",
            ),
            // Filters of containers that are older than the call answer EPERM, which the call itself never does here.
            Errno::NOSYS | Errno::PERM => (
                "kernel",
                "the kernel has no openat2, without which no path is followed",
                "Linux 5.6 or later has it; older filters of containers hide it",
            ),
            Errno::AGAIN => ("busy", "directories on the way are moved about all the time", "try again"),
            error => return self.failed(error),
        };
        self.said(words)
    }

    /// What the kernel answered to the call itself.
    pub(super) fn failed(&self, error: Errno) -> Problem {
        let words: Words = match error {
            Errno::NOENT => ("not_found", "there is no such file or directory", ""),
            Errno::EXIST => ("exists", "something of that name is there already", ""),
            Errno::ACCESS | Errno::PERM => {
                let user = names::user_name(rustix::process::geteuid().as_raw());
                return self
                    .said(("denied", "the kernel does not allow it", ""))
                    .hint(format!("it acts as `{user}` there"));
            }
            Errno::ROFS => ("read_only", "the file system is read-only", ""),
            Errno::NOSPC | Errno::DQUOT => {
                ("no_space", "there is no space left, or the quota is used up", "")
            }
            Errno::NOTEMPTY => ("not_empty", "the directory that would be replaced is not empty", ""),
            Errno::NOTDIR => ("not_dir", "a part of the path is no directory", ""),
            Errno::ISDIR => ("is_dir", "a directory is in the place of a file", ""),
            Errno::XDEV => (
                "cross_device",
                "the two paths are not on the same file system or mount",
                "write a copy beside the new name, rename that, and remove the old one",
            ),
            Errno::LOOP => ("loop", "there are too many symlinks on the way", ""),
            // Where an overlay has to copy the file first.
            Errno::OVERFLOW => (
                "owner",
                "its owner or group has no number in the user namespace of this dry run, which knows the user and his own group",
                "a real run changes it, if the user may; a dry run as root can show it",
            ),
            Errno::NAMETOOLONG => {
                ("name_too_long", "a name or path is longer than the file system takes", "")
            }
            Errno::OPNOTSUPP | Errno::NOSYS => {
                ("unsupported", "the file system or the kernel does not know this", "")
            }
            Errno::INVAL => ("invalid", "the kernel takes no such argument here", ""),
            Errno::BUSY => ("busy", "it is in use, such as a mount", ""),
            Errno::MLINK => ("too_many_links", "the file has as many names as it can have", ""),
            Errno::RANGE | Errno::TOOBIG => {
                ("too_large", "it is larger than 64 KiB, or than the file system takes", "")
            }
            error => return self.problem("file.failed", &std::io::Error::from(error).to_string()),
        };
        self.said(words)
    }

    /// For what the kernel takes only by path, the path being that of a descriptor.
    pub(super) fn by_descriptor(&self, error: Errno) -> Problem {
        match error {
            Errno::NOENT => {
                self.said(("no_proc", "it needs /proc, which is not mounted there", "mount /proc"))
            }
            error => self.failed(error),
        }
    }
}
