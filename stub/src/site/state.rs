//! Where an installed stub keeps things: a directory for each account, which nobody else can enter.
//!
//! `/var/lib/waft/ACCOUNT`, mode 0700. Whoever can be this account can read it: that is the account itself, root, and a
//! task that was granted the directory or a program that reads it.

use rustix::fs::{FileType, Mode, OFlags, fstat, mkdirat, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use waft_policy::Site;
use waft_policy::site::STATE_DEFAULT;
use waft_proto::run::Problem;

const PRIVATE: u32 = 0o700;
const SHARED: u32 = 0o755;
const OTHERS: u32 = 0o077;

/// What is done when something is not there yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Make {
    IfMissing,
    No,
}

/// The directory of an account, open.
#[derive(Debug)]
pub struct State {
    pub(super) dir: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) owner: u32,
}

fn base(settings: &Site) -> PathBuf {
    PathBuf::from(settings.state.as_deref().unwrap_or(STATE_DEFAULT))
}

/// Opens it for the account that runs this.
pub fn open(settings: &Site, make: Make) -> Result<State, Problem> {
    let uid = rustix::process::getuid().as_raw();
    open_for(settings, uid, &crate::user_name(uid), make)
}

/// Opens it for `owner`, whose name is `account`; as root it can be made for another.
pub fn open_for(settings: &Site, owner: u32, account: &str, make: Make) -> Result<State, Problem> {
    let (base, path) = (base(settings), base(settings).join(account));
    let failed = |path: &Path, error: Errno| {
        let mend = format!(
            "as root: install -d -m 755 {}; install -d -m 700 -o {account} {}",
            base.display(),
            base.join(account).display()
        );
        let why = io::Error::from(error).kind();
        Problem::new(
            "node.state",
            format!("{} cannot be used to keep this node's state: {why}", path.display()),
        )
        .hint(mend)
    };
    if account.is_empty() || account.contains('/') || account.starts_with('.') {
        return Err(Problem::new(
            "node.state",
            format!("the account `{account}` has a name that is no file's"),
        ));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::open(&base, flags, Mode::empty()) {
        Err(Errno::NOENT) if make == Make::IfMissing => {
            let made = rustix::fs::mkdir(&base, Mode::from_raw_mode(SHARED));
            made.and_then(|()| rustix::fs::open(&base, flags, Mode::empty()))
                .map_err(|error| failed(&base, error))?
        }
        opened => opened.map_err(|error| failed(&base, error))?,
    };
    let flags = flags | OFlags::NOFOLLOW;
    let dir = match openat(&parent, account, flags, Mode::empty()) {
        Err(Errno::NOENT) if make == Make::IfMissing => {
            let made = mkdirat(&parent, account, Mode::from_raw_mode(PRIVATE));
            let dir = made
                .and_then(|()| openat(&parent, account, flags, Mode::empty()))
                .map_err(|error| failed(&path, error))?;
            give(&dir, owner).map_err(|error| failed(&path, error))?;
            dir
        }
        opened => opened.map_err(|error| failed(&path, error))?,
    };
    let state = State { dir, path, owner };
    let stat = fstat(&state.dir).map_err(|error| failed(&state.path, error))?;
    state.check(&state.path, stat.st_uid, stat.st_mode)?;
    Ok(state)
}

/// What root makes for another account belongs to that.
fn give(file: &OwnedFd, owner: u32) -> rustix::io::Result<()> {
    if rustix::process::geteuid().as_raw() == owner {
        return Ok(());
    }
    rustix::fs::fchown(file, Some(rustix::fs::Uid::from_raw(owner)), None)
}

impl State {
    fn check(&self, path: &Path, owner: u32, mode: u32) -> Result<(), Problem> {
        if owner == self.owner && mode & OTHERS == 0 {
            return Ok(());
        }
        let message = format!(
            "{} has to belong to user {} and nobody else may look into it; it belongs to {owner}, with mode {:04o}",
            path.display(),
            self.owner,
            mode & 0o7777
        );
        let mend = format!("chown {} {path}; chmod go-rwx {path}", self.owner, path = path.display());
        Err(Problem::new("node.state", message).hint(mend))
    }

    pub(super) fn failed(&self, name: &str, error: Errno) -> Problem {
        let (path, why) = (self.path.join(name), io::Error::from(error).kind());
        Problem::new("node.state", format!("{} cannot be read or written: {why}", path.display()))
            .hint("is the disk full, or mounted read-only?")
    }

    /// Opens a file in it that nobody else can see, or makes it; none when it is not there and shall not be made.
    pub(super) fn file(&self, name: &str, flags: OFlags, make: Make) -> Result<Option<OwnedFd>, Problem> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let create = if make == Make::IfMissing { OFlags::CREATE } else { OFlags::empty() };
        let file = match openat(&self.dir, name, flags | create, Mode::from_raw_mode(0o600)) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(|error| self.failed(name, error))?,
        };
        give(&file, self.owner).map_err(|error| self.failed(name, error))?;
        let stat = fstat(&file).map_err(|error| self.failed(name, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let message = format!("{} is no regular file", self.path.join(name).display());
            return Err(Problem::new("node.state", message).hint("move it away"));
        }
        self.check(&self.path.join(name), stat.st_uid, stat.st_mode)?;
        Ok(Some(file))
    }

    /// Brings the directory itself to the disk: new names in it.
    pub(super) fn sync(&self) -> rustix::io::Result<()> {
        rustix::fs::fsync(&self.dir)
    }
}
