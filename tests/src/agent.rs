//! A real ssh-agent on a socket of its own.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{kill_trees, run_tool, spawn_bound, wait_until};
use crate::{Context, Result};

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running ssh-agent; killed and reaped when dropped.
pub struct Agent {
    /// What `SSH_AUTH_SOCK` must be.
    pub socket: PathBuf,
    child: Child,
    _dir: TempDir,
}

impl Agent {
    /// Starts an agent which holds the private keys at `keys`.
    pub fn start(keys: &[&Path]) -> Result<Self> {
        let doing = || "cannot start ssh-agent; install openssh-client".to_owned();
        let dir = tempfile::Builder::new().prefix("waft-agent-").tempdir().context(doing)?;
        let socket = dir.path().join("agent.sock");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let agent = Self { child: spawn_bound(command).context(doing)?, socket, _dir: dir };
        wait_until("ssh-agent to listen", START_LIMIT, || UnixStream::connect(&agent.socket).ok())?;
        for key in keys {
            agent.add(key)?;
        }
        Ok(agent)
    }

    /// Adds one more private key.
    pub fn add(&self, key: &Path) -> Result<()> {
        run_tool(self.command(&["-q", &key.to_string_lossy()]), b"").map(drop)
    }

    /// The public keys the agent holds now, one line each.
    pub fn keys(&self) -> Result<Vec<String>> {
        Ok(run_tool(self.command(&["-L"]), b"")?.lines().map(str::to_owned).collect())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ssh-add");
        command.args(arguments).env("SSH_AUTH_SOCK", &self.socket);
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        kill_trees(&mut [&mut self.child]);
    }
}
