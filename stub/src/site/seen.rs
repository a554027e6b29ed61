//! What was taken once and is not taken again: orders, and approvals. A file of lines, `KIND HASH EXPIRY`, that only grows
//! until most of it has expired; then it is written anew. A lock makes several stubs of one account one memory.

use super::state::{Make, State};
use rustix::fs::{FlockOperation, OFlags, flock, renameat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use waft_proto::id::Hash;
use waft_proto::run::Problem;

const FILE: &str = "seen";
const NEW: &str = "seen.new";
const LOCK: &str = "seen.lock";
/// Lines that are kept: who gives more orders than that in the time that orders live has to wait.
const LINES_MAX: usize = 100_000;
/// The file, bytes: such lines with what has expired among them.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// It is written anew only when that many lines have expired.
const EXPIRED_LINES: usize = 256;
/// Kept this long beyond their end, seconds: clocks are set back, too.
const GRACE_S: u64 = 3600;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Order,
    Approval,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Order => "order",
            Kind::Approval => "approval",
        }
    }
}

pub(super) struct Seen {
    state: State,
}

impl Seen {
    pub(super) fn new(state: State) -> Seen {
        Seen { state }
    }

    /// Remembers all of these, until they expire; or none, when one of them is known. On the disk before it returns.
    pub(super) fn take(&mut self, new: &[(Kind, Hash, u64)], now: u64) -> Result<(), Problem> {
        let state = &self.state;
        let broken = |_: std::io::Error| state.failed(FILE, Errno::IO);
        let lock = state.file(LOCK, OFlags::RDWR, Make::IfMissing)?;
        let lock = lock.ok_or_else(|| state.failed(LOCK, Errno::NOENT))?;
        // Held by others for the time of one write; closed, it is given back.
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| state.failed(LOCK, error))?;
        let file = state.file(FILE, OFlags::RDWR | OFlags::APPEND, Make::IfMissing)?;
        let mut file = File::from(file.ok_or_else(|| state.failed(FILE, Errno::NOENT))?);
        let mut text = String::new();
        let read = (&mut file).take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(broken)?;
        if read as u64 > FILE_BYTES_MAX {
            return Err(full());
        }
        let (mut known, mut expired) = (Vec::new(), 0);
        for line in text.lines() {
            // A line that a crash has torn stands for an order that was not begun.
            let Some((named, until)) = line.rsplit_once(' ') else { continue };
            match until.parse::<u64>() {
                Ok(until) if until.saturating_add(GRACE_S) > now => known.push((named, line)),
                _ => expired += 1,
            }
        }
        for (kind, hash, _) in new {
            let name = format!("{} {hash}", kind.word());
            if known.iter().any(|(named, _)| *named == name) {
                return Err(replayed(*kind));
            }
        }
        if known.len() + new.len() > LINES_MAX {
            return Err(full());
        }
        let mut lines = String::new();
        if !text.is_empty() && !text.ends_with('\n') {
            lines.push('\n');
        }
        for (kind, hash, until) in new {
            lines.push_str(&format!("{} {hash} {until}\n", kind.word()));
        }
        if expired >= EXPIRED_LINES && expired > known.len() {
            let kept: String = known.iter().map(|(_, line)| format!("{line}\n")).collect();
            return self.replace(&(kept + lines.trim_start())).map_err(|error| state.failed(NEW, error));
        }
        file.write_all(lines.as_bytes()).and_then(|()| file.sync_data()).map_err(broken)?;
        if text.is_empty() {
            state.sync().map_err(|error| state.failed(FILE, error))?;
        }
        Ok(())
    }

    fn replace(&self, text: &str) -> rustix::io::Result<()> {
        let dir = &self.state.dir;
        let _ = unlinkat(dir, NEW, rustix::fs::AtFlags::empty());
        let made = self.state.file(NEW, OFlags::WRONLY | OFlags::EXCL, Make::IfMissing);
        let mut file = File::from(made.ok().flatten().ok_or(Errno::IO)?);
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|_| Errno::IO)?;
        renameat(dir, NEW, dir, FILE)?;
        self.state.sync()
    }
}

fn replayed(kind: Kind) -> Problem {
    let message = match kind {
        Kind::Order => "this order was taken here before",
        Kind::Approval => "this approval was used here before",
    };
    let hint = match kind {
        Kind::Order => "a hop repeated it, or two names of the inventory are one account of one machine",
        Kind::Approval => "each approval is for one run on each target: have it approved anew",
    };
    Problem::new("policy.replayed", message).hint(hint)
}

fn full() -> Problem {
    let message = format!("this node remembers {LINES_MAX} orders that have not expired, and takes no more");
    Problem::new("policy.replay_memory", message).hint("orders expire after a day")
}

#[cfg(test)]
mod tests {
    use super::super::state::{Make, open};
    use super::*;
    use waft_policy::Site;

    fn place() -> (tempfile::TempDir, Site) {
        let dir = tempfile::tempdir().expect("a directory");
        let state = Some(dir.path().to_str().expect("a path").to_owned());
        (dir, Site { state, ..Site::default() })
    }

    fn seen(site: &Site) -> Seen {
        Seen::new(open(site, Make::IfMissing).expect("a state"))
    }

    fn order(number: u8, until: u64) -> (Kind, Hash, u64) {
        (Kind::Order, Hash([number; 32]), until)
    }

    #[test]
    fn each_counts_once_also_for_another_process_and_after_a_torn_line() {
        let (dir, site) = place();
        assert_eq!(seen(&site).take(&[order(1, 1000)], 500), Ok(()));
        let again = seen(&site).take(&[order(1, 1000)], 501).expect_err("known");
        assert_eq!(again.code, "policy.replayed");
        // All or nothing: the new one beside the known one is not used up.
        let approval = (Kind::Approval, Hash([1; 32]), 1000);
        assert!(seen(&site).take(&[approval, order(1, 1000)], 501).is_err());
        assert_eq!(seen(&site).take(&[approval], 501), Ok(()));
        let file =
            std::fs::read_dir(dir.path()).expect("it").next().expect("the account's").expect("it").path();
        let mut text = std::fs::read_to_string(file.join(FILE)).expect("lines");
        text.push_str("order 0000");
        std::fs::write(file.join(FILE), &text).expect("torn");
        assert_eq!(seen(&site).take(&[order(2, 1000)], 502), Ok(()));
        for known in [order(1, 1000), order(2, 1000), approval] {
            assert!(seen(&site).take(&[known], 503).is_err(), "{known:?}");
        }
    }

    #[test]
    fn what_has_expired_goes_and_nothing_else() {
        let (dir, site) = place();
        let mut memory = seen(&site);
        let many: Vec<_> =
            (0..=EXPIRED_LINES).map(|number| (Kind::Order, Hash::of(&number.to_le_bytes()), 1000)).collect();
        memory.take(&many, 500).expect("new");
        memory.take(&[order(7, 100_000)], 500).expect("new");
        memory.take(&[order(8, 100_000)], 1000 + GRACE_S).expect("new");
        let file =
            std::fs::read_dir(dir.path()).expect("it").next().expect("the account's").expect("it").path();
        let lines = std::fs::read_to_string(file.join(FILE)).expect("lines");
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(memory.take(&[order(7, 100_000)], 99_999).is_err());
        assert!(memory.take(&[order(8, 100_000)], 99_999).is_err());
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused_and_so_is_a_link() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let (dir, site) = place();
        drop(seen(&site));
        let own =
            std::fs::read_dir(dir.path()).expect("it").next().expect("the account's").expect("it").path();
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o750)).expect("a mode");
        assert_eq!(open(&site, Make::No).expect_err("open to others").code, "node.state");
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o700)).expect("a mode");
        symlink("/etc/hostname", own.join(FILE)).expect("a link");
        assert_eq!(seen(&site).take(&[order(1, 9)], 1).expect_err("a link").code, "node.state");
        assert_eq!(
            open(&Site { state: Some("/proc/none".to_owned()), ..Site::default() }, Make::IfMissing)
                .expect_err("no")
                .code,
            "node.state"
        );
    }
}
