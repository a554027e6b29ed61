//! The program `waft`, run as a user runs it, in an environment of its own.
//!
//! The binary is `$WAFT_BIN`, else the newer of `target/release/waft` and `target/debug/waft` of the workspace. Of
//! the caller's environment it gets PATH and what concerns the build (`WAFT_STUB_DIR`, `RUST_BACKTRACE`, coverage):
//! no agent, no configuration, no HOME.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::lab::Lab;
use crate::process::{Finished, Running};
use crate::terminal::Terminal;
use crate::{Context, Error, Result};

/// For one run of waft, unless a test says otherwise.
pub const RUN_LIMIT: Duration = Duration::from_secs(60);
/// Names that are passed on from the test's environment.
const PASSED_ON: [&str; 5] = ["PATH", "WAFT_STUB_DIR", "RUST_BACKTRACE", "RUST_LOG", "LLVM_PROFILE_FILE"];

/// The path of the binary under test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WAFT_BIN") {
        let path = PathBuf::from(path);
        return match path.is_file() {
            true => Ok(path),
            false => Err(Error::new(format!("WAFT_BIN is {}, which is no file", path.display()))),
        };
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let built = ["target/release/waft", "target/debug/waft"].map(|path| workspace.join(path));
    built
        .into_iter()
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path)
        .ok_or_else(|| Error::new("there is no waft to test: build it with `cargo build`, or set WAFT_BIN"))
}

/// One command line of waft, being put together.
pub struct Waft {
    binary: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    limit: Duration,
    home: Arc<TempDir>,
}

impl Waft {
    /// `waft SUBCOMMAND`, e.g. `Waft::new("run")?.lab(&lab).args(["-t", "h1", "task.wasm"]).run()`.
    pub fn new(subcommand: &str) -> Result<Self> {
        Self::with_binary(binary()?, subcommand)
    }

    /// The same with a given binary.
    pub fn with_binary(binary: PathBuf, subcommand: &str) -> Result<Self> {
        let doing = || "cannot make a home for waft".to_owned();
        let home = tempfile::Builder::new().prefix("waft-home-").tempdir().context(doing)?;
        let mut environment: Vec<(OsString, OsString)> =
            PASSED_ON.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect();
        environment.push(("HOME".into(), home.path().into()));
        environment.push(("LANG".into(), "C.UTF-8".into()));
        let own = [
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_RUNTIME_DIR", "run"),
            ("TMPDIR", "tmp"),
        ];
        for (name, directory) in own {
            let path = home.path().join(directory);
            fs::create_dir(&path).context(doing)?;
            environment.push((name.into(), path.into()));
        }
        let (arguments, stdin) = (vec![subcommand.into()], Vec::new());
        Ok(Self { binary, arguments, environment, stdin, limit: RUN_LIMIT, home: Arc::new(home) })
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// The options by which waft finds the hosts of a lab and may log in to them. Without an agent the key file is
    /// named; what follows `--` must come after this.
    pub fn lab(self, lab: &Lab) -> Self {
        self.arg("-i")
            .arg(&lab.inventory)
            .arg("--ssh-config")
            .arg(&lab.ssh_config)
            .arg("--known-hosts")
            .arg(&lab.known_hosts)
            .arg("--identity")
            .arg(&lab.key.path)
    }

    /// Gives waft this agent.
    pub fn agent(self, agent: &Agent) -> Self {
        self.env("SSH_AUTH_SOCK", &agent.socket)
    }

    /// Sets a variable; the last of a name counts.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// When waft is killed, counted from its start.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// HOME; what waft wrote there can be looked at until this, and each waft that was started, is dropped.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs to the end. Being killed at the limit is an error that shows what waft had printed.
    pub fn run(&self) -> Result<Output> {
        self.spawn()?.finish()
    }

    /// Starts without waiting, for tests that signal.
    pub fn spawn(&self) -> Result<RunningWaft> {
        let mut command = Command::new(&self.binary);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned());
        command.current_dir(self.home.path());
        let running = Running::start(command, self.stdin.clone())
            .context(|| format!("cannot start {}", self.binary.display()))?;
        Ok(RunningWaft { running, limit: self.limit, line: self.line(), _home: Arc::clone(&self.home) })
    }

    /// Starts it on a terminal.
    pub fn on_terminal(&self) -> Result<Terminal> {
        let mut command = Command::new("script");
        command.env_clear().envs(self.environment.iter().cloned()).env("TERM", "xterm");
        command.current_dir(self.home.path());
        let word = |word: &OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
        let words =
            std::iter::once(self.binary.as_os_str()).chain(self.arguments.iter().map(OsString::as_os_str));
        let line: Vec<String> = words.map(word).collect();
        Terminal::start(command, &line.join(" "), self.limit)
    }

    fn line(&self) -> String {
        let arguments: Vec<_> = self.arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        format!("waft {}", arguments.join(" "))
    }
}

/// A started waft; killed when dropped.
pub struct RunningWaft {
    running: Running,
    limit: Duration,
    line: String,
    /// What waft still writes to must not be removed under it, nor be made again after that.
    _home: Arc<TempDir>,
}

impl RunningWaft {
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    pub fn finish(self) -> Result<Output> {
        let finished = self.running.finish(self.limit)?;
        let output = Output { finished, line: self.line };
        match output.finished.timed_out {
            false => Ok(output),
            true => Err(Error::new(format!("killed after {} ms: {output}", self.limit.as_millis()))),
        }
    }
}

/// What one run of waft gave.
#[derive(Debug)]
pub struct Output {
    pub finished: Finished,
    line: String,
}

impl Output {
    /// The exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.finished.status.code()
    }

    pub fn stdout(&self) -> String {
        self.finished.stdout_text()
    }

    pub fn stderr(&self) -> String {
        self.finished.stderr_text()
    }

    /// An error with all output unless waft ended with this code.
    pub fn expect_code(self, code: i32) -> Result<Self> {
        match self.code() == Some(code) {
            true => Ok(self),
            false => Err(Error::new(format!("expected exit code {code}: {self}"))),
        }
    }

    /// The lines of `--format jsonl`. Anything else on stdout is an error.
    pub fn events(&self) -> Result<Vec<Value>> {
        let text = self.stdout();
        let lines = text.lines().enumerate();
        lines
            .map(|(number, line)| {
                let what = || format!("line {} of stdout is no JSON ({line:?}) in {self}", number + 1);
                serde_json::from_str(line).context(what)
            })
            .collect()
    }

    /// The events of one kind, e.g. `target_state`.
    pub fn events_of(&self, kind: &str) -> Result<Vec<Value>> {
        Ok(self
            .events()?
            .into_iter()
            .filter(|event| event.get("event").is_some_and(|name| name == kind))
            .collect())
    }

    /// The `result` event of a target; none, or more than one, is an error.
    pub fn result_of(&self, target: &str) -> Result<Value> {
        let of_target = |event: &Value| event.get("target").is_some_and(|name| name == target);
        let mut results: Vec<Value> = self.events_of("result")?.into_iter().filter(of_target).collect();
        match (results.pop(), results.len()) {
            (Some(result), 0) => Ok(result),
            (None, _) => Err(Error::new(format!("no result of {target}: {self}"))),
            (Some(_), more) => Err(Error::new(format!("{} results of {target}: {self}", more + 1))),
        }
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (stdout, stderr) = (self.stdout(), self.stderr());
        write!(out, "`{}` ({})\n--- stdout\n{stdout}\n--- stderr\n{stderr}", self.line, self.finished.status)
    }
}
