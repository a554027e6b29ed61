//! The target's own `getent ahosts NAME`.
//!
//! It prints one line for each address and kind of socket: `10.0.0.5  STREAM db.internal`. That of musl names no kinds.

use super::scoped;
use crate::process::{self, Kin, Tied};
use crate::program;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::time::timeout;

/// Of its output, bytes: some hundred lines. More are no addresses of a host.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// Ending it holds up all else that this process does: what the kernel does not let go of sooner is left to the stub's end.
const KILL_LIMIT: Duration = Duration::from_millis(200);
/// What it ends with when there is no such name.
const NOT_FOUND: i32 = 2;

/// The answer, or nothing where this program knows no `ahosts` or does not start: then nobody was asked.
pub(super) async fn ask(
    getent: &Path,
    name: &str,
    limit: Duration,
) -> Option<Result<Vec<SocketAddr>, String>> {
    let mut command = Command::new(getent);
    command.args(["ahosts", name]).env_clear().env("PATH", program::PATH);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).ok()?;
    command.stdout(Stdio::from(theirs));
    process::isolate(&mut command, Tied::ToParent);
    let mut running = Running(Kin::new(command.spawn().ok()?));
    // Our copy of its end of the pipe.
    drop(command);
    let read = async {
        let output = read(pipe::Receiver::from_owned_fd(ours).ok()?).await;
        let Some(output) = output else {
            return Some(Err("`getent` printed more than addresses".to_owned()));
        };
        let code = running.0.ended(limit).await?.code()?;
        match code {
            0 => Some(addresses(&output)).filter(|found| !found.is_empty()).map(Ok),
            NOT_FOUND => Some(Err("there is no such name".to_owned())),
            _ => None,
        }
    };
    timeout(limit, read)
        .await
        .unwrap_or_else(|_| Some(Err(format!("`getent` gave no answer within {} s", limit.as_secs()))))
}

/// Ended, with all that it started, when nobody waits any more.
struct Running(Kin);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = self.0.pid() {
            process::kill_below(pid, KILL_LIMIT);
        }
    }
}

/// All that it prints; none when that is too much.
async fn read(pipe: pipe::Receiver) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(OUTPUT_BYTES_MAX + 1);
    loop {
        pipe.readable().await.ok()?;
        match pipe.try_read_buf(&mut output) {
            Ok(0) => return Some(output),
            Ok(_) if output.len() > OUTPUT_BYTES_MAX => return None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Some(output),
        }
    }
}

fn addresses(output: &[u8]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(output).lines() {
        if let Some(address) = line.split_ascii_whitespace().next().and_then(scoped)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}
