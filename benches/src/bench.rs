//! The programs that are compared, in an environment of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use waft_tests::lab::Lab;
use waft_tests::process::run_tool;
use waft_tests::{Context, Error, Result};

/// The program that is run everywhere: it does nothing, so that only the way to it is measured.
pub(crate) const PROGRAM: &str = "/bin/true";
/// `--quick` divides the repetitions by this, and keeps at least [`ROUNDS_MIN`].
const QUICK_DIVISOR: usize = 6;
const ROUNDS_MIN: usize = 3;

pub(crate) struct Bench {
    /// The program `waft`.
    pub(crate) waft: PathBuf,
    pub(crate) quick: bool,
    home: TempDir,
}

/// What `waft` keeps between two commands, each a directory.
#[derive(Clone)]
pub(crate) struct Kept {
    /// What hosts were the last time.
    state: PathBuf,
    /// Compiled tasks.
    cache: PathBuf,
}

impl Bench {
    pub(crate) fn new(quick: bool) -> Result<Bench> {
        let waft = match std::env::var_os("WAFT_BIN") {
            Some(path) => PathBuf::from(path),
            None => crate::repository().join("target/release/waft"),
        };
        if !waft.is_file() {
            let text = format!("there is no {}: run `make build`, or set WAFT_BIN", waft.display());
            return Err(Error::new(text));
        }
        let doing = || "cannot make a home for waft".to_owned();
        let home = tempfile::Builder::new().prefix("waft-bench-").tempdir().context(doing)?;
        Ok(Bench { waft, quick, home })
    }

    pub(crate) fn rounds(&self, full: usize) -> usize {
        if self.quick { (full / QUICK_DIVISOR).max(ROUNDS_MIN) } else { full }
    }

    /// An empty directory that lives as long as this.
    pub(crate) fn dir(&self) -> Result<PathBuf> {
        let dir = tempfile::Builder::new().prefix("").tempdir_in(self.home.path());
        Ok(dir.context(|| "cannot make a directory".to_owned())?.keep())
    }

    /// Nothing is known of any host, nothing is compiled.
    pub(crate) fn nothing_kept(&self) -> Result<Kept> {
        Ok(Kept { state: self.dir()?, cache: self.dir()? })
    }

    /// The same, with the tasks that `kept` has compiled.
    pub(crate) fn no_host_kept(&self, kept: &Kept) -> Result<Kept> {
        Ok(Kept { state: self.dir()?, cache: kept.cache.clone() })
    }

    /// `waft exec -t TARGETS -- /bin/true` on hosts of the lab.
    pub(crate) fn waft_true(&self, lab: &Lab, targets: &str, kept: &Kept) -> Command {
        self.waft_exec(lab, &lab.inventory, targets, kept, &[PROGRAM])
    }

    /// `waft exec -i INVENTORY -t TARGETS -- ARGV` with the keys of the lab.
    pub(crate) fn waft_exec(
        &self,
        lab: &Lab,
        inventory: &Path,
        targets: &str,
        kept: &Kept,
        argv: &[&str],
    ) -> Command {
        let mut command = self.waft();
        command.env("XDG_STATE_HOME", &kept.state).env("XDG_CACHE_HOME", &kept.cache);
        command.args(["exec", "-t", targets, "-i"]).arg(inventory);
        command.arg("--ssh-config").arg(&lab.ssh_config).arg("--known-hosts").arg(&lab.known_hosts);
        command.arg("--identity").arg(&lab.key.path).arg("--").args(argv);
        command
    }

    /// What `waft stub ...` says on its stdout.
    pub(crate) fn waft_stub(&self, words: &[&str]) -> Result<String> {
        let mut command = self.waft();
        command.env("XDG_CACHE_HOME", self.home.path()).arg("stub").args(words);
        run_tool(command, b"")
    }

    /// The program with nothing of the account that runs it; but stubs that it was told to take, it takes.
    fn waft(&self) -> Command {
        let mut command = Command::new(&self.waft);
        command.env_clear().env("HOME", self.home.path());
        let passed = ["PATH", "WAFT_STUB_DIR"].map(|name| (name, std::env::var_os(name)));
        command.envs(passed.into_iter().filter_map(|(name, value)| Some((name, value?))));
        command
    }
}

/// `ssh HOST /bin/true` with the given configuration of the lab; `options` go before the host.
pub(crate) fn ssh(lab: &Lab, config: &Path, options: &[&str], host: &str) -> Command {
    let words: Vec<&str> = options.iter().copied().chain([host, PROGRAM]).collect();
    lab.ssh_command(config, &words)
}
