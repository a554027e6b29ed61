//! One target behind a real sshd, a directory of its own on it, and a controller that keeps what it compiled.

use crate::declared::as_declared;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::process::is_root;
use waft_tests::sshd::HostSpec;
use waft_tests::user::User;
use waft_tests::waft::{Output, Waft};

/// More than any run here takes.
const LIMIT: Duration = Duration::from_secs(120);
const TARGET: &str = "h1";

pub(crate) struct Desk {
    lab: Lab,
    /// Of an ordinary account on the target; none: whoever runs the tests.
    user: Option<User>,
    dir: TempDir,
    cache: TempDir,
}

impl Desk {
    /// `test` with whoever runs the tests and, when that is root, with an ordinary user again.
    pub(crate) fn each(test: impl Fn(&Desk) -> Result<()>) -> Result<()> {
        test(&Desk::new()?)?;
        if !is_root() {
            eprintln!("SKIPPED (needs root): the same as another user");
            return Ok(());
        }
        test(&Desk::ordinary()?)
    }

    /// As whoever runs the tests.
    pub(crate) fn new() -> Result<Desk> {
        Desk::of(None)
    }

    /// As an ordinary user, whose the directory is. Needs root.
    pub(crate) fn ordinary() -> Result<Desk> {
        Desk::of(Some(User::with_shell("/bin/sh").create()?))
    }

    fn of(user: Option<User>) -> Result<Desk> {
        let host = HostSpec::new(TARGET);
        let host = user.iter().fold(host, |host, user| host.login(user));
        let dir = tempfile::Builder::new().prefix("waft-core-").tempdir().expect("a directory");
        // Others may come by; what is in it they may not change.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a mode");
        if let Some(user) = &user {
            // Of another group an ordinary user's dry run has no overlay.
            std::os::unix::fs::chown(dir.path(), Some(user.uid), Some(group_of(user))).expect("an owner");
        }
        let cache = tempfile::tempdir().expect("a directory");
        Ok(Desk { lab: Lab::builder().host(host).start()?, user, dir, cache })
    }

    /// Whether tasks run as root there.
    pub(crate) fn is_root(&self) -> bool {
        self.user.is_none() && is_root()
    }

    /// The account on the target, when it is an ordinary one that was made for this.
    pub(crate) fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The directory for what a test changes; it belongs to the account.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `fs:DIR:rw`.
    pub(crate) fn rw(&self) -> String {
        format!("fs:{}:rw", self.dir.path().display())
    }

    /// `waft run TASK` with these parameters, grants and further words.
    pub(crate) fn run(&self, task: &str, params: &Value, grants: &[&str], words: &[&str]) -> Result<Output> {
        Desk::waft(&self.lab, self.cache.path(), TARGET, task, params, grants, words)?.run()
    }

    /// The command, for other targets as well.
    pub(crate) fn waft(
        lab: &Lab,
        cache: &Path,
        target: &str,
        task: &str,
        params: &Value,
        grants: &[&str],
        words: &[&str],
    ) -> Result<Waft> {
        let waft = Waft::new("run")?.env("XDG_CACHE_HOME", cache).lab(lab).limit(LIMIT);
        // For whoever works on a task: `scripts/build-tasks.sh DIR` is quicker than building waft again.
        let waft = match std::env::var_os("WAFT_TASKS_DIR") {
            Some(dir) => waft.env("WAFT_PATH", dir),
            None => waft,
        };
        let waft = waft.args([task, "-t", target, "--format", "jsonl", "--params", "-"]);
        let waft = grants.iter().fold(waft, |waft, grant| waft.args(["--allow", grant]));
        Ok(waft.args(words).stdin(params.to_string()))
    }

    /// The same, and the event `result`; the run has to end with this code.
    pub(crate) fn result(
        &self,
        task: &str,
        params: &Value,
        grants: &[&str],
        words: &[&str],
        code: i32,
    ) -> Result<Value> {
        let result = self.run(task, params, grants, words)?.expect_code(code)?.result_of(TARGET)?;
        as_declared(task, &result["result"]);
        Ok(result)
    }

    /// Parameters that are none by the manifest: the controller says so, with all of these words, and sends nothing.
    pub(crate) fn unsent(&self, task: &str, params: &Value, grants: &[&str], words: &[&str]) -> Result<()> {
        unsent(self.run(task, params, grants, &[])?, words)
    }

    /// The code of a task's error; it has to fail, and to have changed nothing.
    pub(crate) fn failure(&self, task: &str, params: &Value, grants: &[&str]) -> Result<Value> {
        let result = self.result(task, params, grants, &[], 3)?;
        assert_eq!((&result["status"], &result["error"]), (&"failed".into(), &result["result"]["error"]));
        Ok(result["error"].clone())
    }

    /// What the task itself answers: it has to end well, with this for `changed`.
    pub(crate) fn answer(&self, task: &str, params: &Value, grants: &[&str], changed: bool) -> Result<Value> {
        let result = self.result(task, params, grants, &[], 0)?;
        assert_eq!(result["status"], if changed { "changed" } else { "ok" }, "{result}");
        Ok(result["result"].clone())
    }
}

/// Bad input: nothing was dialled, and each of these words is said.
pub(crate) fn unsent(output: Output, words: &[&str]) -> Result<()> {
    let output = output.expect_code(2)?;
    assert!(output.stdout().is_empty(), "{output}");
    for word in words {
        assert!(output.stderr().contains(word), "no {word} in {output}");
    }
    Ok(())
}

/// The number of its first group.
pub(crate) fn group_of(user: &User) -> u32 {
    let accounts = fs::read_to_string("/etc/passwd").expect("accounts");
    let line = accounts.lines().find(|line| line.split(':').next() == Some(&user.name)).expect("the account");
    line.split(':').nth(3).and_then(|group| group.parse().ok()).expect("a group")
}

/// What to do, by a result that is a refusal.
pub(crate) fn hint(result: &Value) -> &str {
    result["error"]["hint"].as_str().expect("a hint")
}
