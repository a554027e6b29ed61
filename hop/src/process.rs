//! A stub, or the system's `ssh`, as a child process whose stdin and stdout are the link.

use crate::stream::{Epitaph, Incoming, LinkStream, Outgoing, Pending};
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use waft_proto::run::Problem;

/// One portion of a pipe, bytes.
const PORTION_BYTES: usize = 64 * 1024;

/// Starts a program; it is killed and waited for when the stream is dropped.
pub fn spawn<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<LinkStream, Problem> {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Problem::new("process.start", format!("`{program}` could not be started: {error}"))
        })?;
    stream(child)
        .ok_or_else(|| Problem::new("process.start", format!("`{program}` started without its pipes")))
}

/// The link of a child with all three pipes.
pub fn stream(mut child: Child) -> Option<LinkStream> {
    let (stdin, stdout, mut stderr) = (child.stdin.take()?, child.stdout.take()?, child.stderr.take()?);
    let epitaph = Epitaph::default();
    let last = epitaph.clone();
    let listening = tokio::spawn(async move {
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stderr.read(&mut bytes).await {
            last.stderr(bytes.get(..read).unwrap_or_default());
        }
    });
    let incoming = FromPipe { stdout, child, epitaph: epitaph.clone(), listening: Some(listening) };
    Some(LinkStream {
        incoming: Box::new(incoming),
        outgoing: Box::new(ToPipe(stdin)),
        epitaph,
        guard: Box::new(()),
    })
}

struct FromPipe {
    stdout: ChildStdout,
    child: Child,
    epitaph: Epitaph,
    listening: Option<tokio::task::JoinHandle<()>>,
}

impl Incoming for FromPipe {
    fn next(&mut self) -> Pending<'_, Option<Vec<u8>>> {
        Box::pin(async {
            let mut bytes = Vec::with_capacity(PORTION_BYTES);
            if let Ok(1..) = self.stdout.read_buf(&mut bytes).await {
                return Some(bytes);
            }
            // A program that closed its stdout has no more to say; one that lingers is ended by the drop.
            let patience = std::time::Duration::from_secs(2);
            if let Some(listening) = self.listening.take() {
                let _ = tokio::time::timeout(patience, listening).await;
            }
            if let Ok(Ok(status)) = tokio::time::timeout(patience, self.child.wait()).await {
                self.epitaph.exit(how(status));
            }
            None
        })
    }
}

/// `exit status 3`, `killed by signal 9`.
pub fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

struct ToPipe(ChildStdin);

impl Outgoing for ToPipe {
    fn send(&mut self, bytes: Vec<u8>) -> Pending<'_, io::Result<()>> {
        Box::pin(async move {
            self.0.write_all(&bytes).await?;
            self.0.flush().await
        })
    }
}
