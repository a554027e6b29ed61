//! Temporary accounts: a login with a shell, a home and start-up files of its own. Only root can make them.
//!
//! Accounts are named `waftt-PID-N`, where PID is the test process that made them. Making one first removes those
//! whose process is gone, so a killed test leaves at most a line in /etc/passwd until the next run. A snapshot of
//! /etc must therefore leave out passwd, group, shadow, gshadow, subuid, subgid and their backups.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{self, run_tool, wait_until};
use crate::{Context, Error, Result};

const NAME_PREFIX: &str = "waftt-";
/// useradd and friends fail at once while another program holds the password file; so we try again, this long.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(20);
const LOGOUT_LIMIT: Duration = Duration::from_secs(20);

/// How an account shall be; see [`User::with_shell`].
pub struct UserBuilder {
    shell: PathBuf,
    applet: Option<String>,
    password: Option<String>,
    files: Vec<(PathBuf, String)>,
}

impl UserBuilder {
    /// Lets the account log in with a password as well.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Writes a file into the home, e.g. `.bashrc`, `.cshrc`, `.config/fish/config.fish` or `.ssh/rc`.
    pub fn file(mut self, path: impl Into<PathBuf>, text: &str) -> Self {
        self.files.push((path.into(), text.to_owned()));
        self
    }

    pub fn create(self) -> Result<User> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !process::is_root() {
            return Err(Error::new("a temporary account can only be made by root: run this test as root"));
        }
        if !self.shell.exists() {
            let shell = self.shell.display();
            return Err(Error::new(format!(
                "there is no {shell}; install the package that brings this shell"
            )));
        }
        let doing = || "cannot make a home for a temporary account".to_owned();
        let dir = tempfile::Builder::new().prefix("waft-user-").tempdir().context(doing)?;
        // sshd reads authorized_keys as the account itself, and the shell may be a link in here.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).context(doing)?;
        let shell = match &self.applet {
            Some(applet) => {
                let link = dir.path().join(applet);
                std::os::unix::fs::symlink(&self.shell, &link).context(doing)?;
                link
            }
            None => self.shell.clone(),
        };
        let home = dir.path().join("home");
        fs::create_dir(&home).context(doing)?;
        for (path, text) in &self.files {
            let path = home.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&home)).context(doing)?;
            fs::write(path, text).context(doing)?;
        }

        let name = format!("{NAME_PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        with_accounts(|| {
            remove_stale();
            change(|| {
                let mut useradd = Command::new("useradd");
                // `*` matches no password but, unlike the default `!`, is not a locked account to sshd without PAM.
                useradd
                    .args(["--no-create-home", "--no-user-group", "--password", "*", "--home-dir"])
                    .arg(&home);
                useradd.arg("--shell").arg(&shell).arg(&name);
                useradd
            })
        })?;
        // From here on dropping `user` removes the account, so an error below leaves none behind.
        let mut user = User { name, home, shell, uid: 0, _dir: dir };
        user.uid = user.read_uid()?;
        give(&user.home, user.uid)?;
        if let Some(password) = &self.password {
            let line = format!("{}:{password}\n", user.name);
            with_accounts(|| run_tool(Command::new("chpasswd"), line.as_bytes()))?;
        }
        Ok(user)
    }
}

/// A temporary account. Dropped: its processes are killed, the account and its home removed.
pub struct User {
    pub name: String,
    pub home: PathBuf,
    pub shell: PathBuf,
    pub uid: u32,
    _dir: TempDir,
}

impl User {
    /// An account whose login shell is the program at `shell`.
    pub fn with_shell(shell: impl Into<PathBuf>) -> UserBuilder {
        UserBuilder { shell: shell.into(), applet: None, password: None, files: Vec::new() }
    }

    /// An account whose login shell is busybox's `sh`, which busybox recognises by the name it is called by.
    pub fn with_busybox() -> UserBuilder {
        UserBuilder { applet: Some("sh".to_owned()), ..Self::with_shell("/usr/bin/busybox") }
    }

    fn read_uid(&self) -> Result<u32> {
        let text = fs::read_to_string("/etc/passwd").context(|| "cannot read /etc/passwd".to_owned())?;
        let line = text.lines().find(|line| line.split(':').next() == Some(&self.name));
        line.and_then(|line| line.split(':').nth(2)?.parse().ok())
            .ok_or_else(|| Error::new(format!("useradd made {} but /etc/passwd does not know it", self.name)))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if self.uid != 0 {
            end_processes_of(self.uid);
        }
        if let Err(error) = with_accounts(|| remove(&self.name)) {
            eprintln!("the temporary account {} stays: {error}", self.name);
        }
    }
}

fn give(path: &Path, uid: u32) -> Result<()> {
    let doing = || format!("cannot give {} to uid {uid}", path.display());
    chown(path, Some(uid), None).context(doing)?;
    if path.is_dir() {
        for entry in fs::read_dir(path).context(doing)?.flatten() {
            give(&entry.path(), uid)?;
        }
    }
    Ok(())
}

/// The account is ours alone, so whatever runs under its uid is too.
fn end_processes_of(uid: u32) {
    let gone = wait_until("the account's processes to end", LOGOUT_LIMIT, || {
        let left: Vec<_> = process::all().into_iter().filter(|process| process.uid == uid).collect();
        for process in &left {
            process::signal_pid(process.id.pid, Signal::KILL);
        }
        left.is_empty().then_some(())
    });
    if let Err(error) = gone {
        eprintln!("uid {uid}: {error}");
    }
}

/// Does something to the accounts while no other test process does: they run side by side, and useradd fails rather
/// than wait.
fn with_accounts<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let path = std::env::temp_dir().join("waft-tests-accounts.lock");
    let doing = || format!("cannot lock {}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path).context(doing)?;
    wait_until("the other tests to be done with the accounts", ACCOUNT_LIMIT, || {
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()
    })?;
    work()
}

/// Runs useradd or userdel, again as long as some other program holds the password file.
fn change(command: impl Fn() -> Command) -> Result<()> {
    let mut last = None;
    let done = wait_until("the password file to be free", ACCOUNT_LIMIT, || match run_tool(command(), b"") {
        Err(error) if error.to_string().contains("cannot lock") => {
            last = Some(error);
            None
        }
        result => Some(result.map(drop)),
    });
    match (done, last) {
        (Ok(result), _) => result,
        (Err(_), Some(error)) => Err(error),
        (Err(error), None) => Err(error),
    }
}

fn remove(name: &str) -> Result<()> {
    change(|| {
        let mut userdel = Command::new("userdel");
        // Forced: a session record may outlive the session by a moment.
        userdel.arg("--force").arg(name);
        userdel
    })
}

fn remove_stale() {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    for name in text.lines().filter_map(|line| line.split(':').next()) {
        let Some((pid, _)) = name.strip_prefix(NAME_PREFIX).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists()
            && let Err(error) = remove(name)
        {
            eprintln!("the account {name} of an earlier, killed test stays: {error}");
        }
    }
}
