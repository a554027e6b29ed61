//! One session channel of a demo host, from `exec` or `shell` to close: a process, its streams, its end.
//!
//! As sshd does it: the exit status follows all output, and the channel closes when the process has exited
//! *and* nobody holds its output open any more; with a terminal, when the process has exited.

use super::backlog::Chunk;
use super::process::{Ended, Start, Streams, Tree};
use super::pty::{self, Pty, Size, Terminal};
use super::server::Host;
use russh::server::{Handle, Msg};
use russh::{ChannelWriteHalf, Sig};
use rustix::process::Signal;
use std::future::pending;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};

/// The most that one message to the client carries: what russh and OpenSSH take as a packet.
const OUTPUT_BYTES: usize = 32 * 1024;

/// SSH's number for stderr among the extended data.
const STDERR: u32 = 1;

/// What a client may say to a running process besides its input.
pub(super) enum Control {
    Signal(Signal),
    Resize(Size),
}

/// A session that has been opened and waits for its request.
pub(super) struct Session {
    pub(super) write: ChannelWriteHalf<Msg>,
    /// Ends when the client has sent its last byte.
    pub(super) input: UnboundedReceiver<Chunk>,
    /// Ends when the channel or its connection is gone.
    pub(super) control: Receiver<Control>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) terminal: Option<Terminal>,
}

impl Session {
    /// Runs `line`, or the shell itself, until it has ended or the client has left.
    pub(super) async fn run(mut self, host: Arc<Host>, handle: Handle, line: Option<Vec<u8>>) {
        let start = Start {
            host: &host.name,
            user: &host.user,
            home: &host.home,
            mark: host.next_mark(),
            line: line.as_deref(),
            environment: &self.environment,
            terminal: self.terminal.as_ref(),
        };
        let (tree, streams) = match start.start() {
            Ok(started) => started,
            Err(error) => {
                let sentence = format!("waft demo: {} cannot start a shell: {error}\r\n", host.name);
                self.refuse(&handle, sentence).await;
                return;
            }
        };
        // Whoever cannot be told has left; then `control` ends too.
        let _ = handle.channel_success(self.write.id()).await;
        match streams {
            Streams::Pipes { stdin, stdout, stderr } => {
                let outputs = async {
                    tokio::join!(copy(stdout, &self.write, None), copy(stderr, &self.write, Some(STDERR)));
                };
                let work = async {
                    let (ended, ()) = tokio::join!(tree.exited(), outputs);
                    ended
                };
                let feed = feed_pipe(&mut self.input, stdin);
                tokio::select! {
                    ended = work => finish(&self.write, &handle, ended).await,
                    () = feed => {}
                    () = obey(&mut self.control, &tree, None) => {}
                }
            }
            Streams::Terminal(pty) => {
                let work = copy_terminal(&pty, &tree, &self.write);
                let feed = feed_terminal(&mut self.input, &pty);
                tokio::select! {
                    ended = work => finish(&self.write, &handle, ended).await,
                    () = feed => {}
                    () = obey(&mut self.control, &tree, Some(&pty)) => {}
                }
            }
        }
        // Every stream is closed by now: what still runs reads the end of its input.
        tree.end().await;
    }

    async fn refuse(self, handle: &Handle, sentence: String) {
        let id = self.write.id();
        let telling = async {
            handle.extended_data(id, STDERR, sentence.into_bytes()).await.map_err(drop)?;
            handle.channel_failure(id).await?;
            handle.close(id).await
        };
        // Nobody is left to be told.
        let _ = telling.await;
    }
}

/// Does what the client asks until it is gone.
async fn obey(control: &mut Receiver<Control>, tree: &Tree, pty: Option<&Pty>) {
    while let Some(order) = control.recv().await {
        match (order, pty) {
            (Control::Signal(signal), _) => tree.signal(signal),
            (Control::Resize(size), Some(pty)) => {
                // The last process may just have closed the terminal.
                let _ = pty.resize(size);
            }
            (Control::Resize(_), None) => {}
        }
    }
}

/// Never returns: the end of the input is not the end of the session.
async fn feed_pipe(input: &mut UnboundedReceiver<Chunk>, mut stdin: pipe::Sender) {
    while let Some(chunk) = input.recv().await {
        if stdin.write_all(chunk.bytes()).await.is_err() {
            break;
        }
    }
    drop(stdin);
    // What a process no longer reads is taken off the connection all the same.
    while input.recv().await.is_some() {}
    pending().await
}

async fn feed_terminal(input: &mut UnboundedReceiver<Chunk>, pty: &Pty) {
    while let Some(chunk) = input.recv().await {
        if pty.write_all(chunk.bytes()).await.is_err() {
            break;
        }
    }
    // A terminal that is gone needs no end of input.
    let _ = pty.write_all(pty::END_OF_INPUT).await;
    while input.recv().await.is_some() {}
    pending().await
}

/// Sends all that `from` says; waits while the client's window is full.
async fn copy(mut from: impl AsyncRead + Unpin, to: &ChannelWriteHalf<Msg>, extended: Option<u32>) {
    loop {
        let mut bytes = Vec::with_capacity(OUTPUT_BYTES);
        // An error on our own end of a pipe, or a client that is gone: either way nothing more will come.
        if !matches!(from.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
        let sent = match extended {
            None => to.data_bytes(bytes).await,
            Some(number) => to.extended_data_bytes(number, bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The same for a terminal, until the first process has exited: others may keep the terminal open for ever.
async fn copy_terminal(pty: &Pty, tree: &Tree, to: &ChannelWriteHalf<Msg>) -> io::Result<Ended> {
    let mut buffer = vec![0; OUTPUT_BYTES];
    let ended = loop {
        let bytes = tokio::select! {
            bytes = pty.read(&mut buffer) => bytes?,
            ended = tree.exited() => break ended?,
        };
        match buffer.get(..bytes) {
            Some(said @ [_, ..]) if to.data_bytes(said.to_vec()).await.is_ok() => {}
            _ => break tree.exited().await?,
        }
    };
    loop {
        let bytes = pty.read_now(&mut buffer);
        match buffer.get(..bytes) {
            Some(said @ [_, ..]) if to.data_bytes(said.to_vec()).await.is_ok() => {}
            _ => return Ok(ended),
        }
    }
}

/// Tells how it ended and closes the channel.
async fn finish(write: &ChannelWriteHalf<Msg>, handle: &Handle, ended: io::Result<Ended>) {
    let id = write.id();
    let telling = async {
        handle.eof(id).await?;
        match ended {
            Ok(Ended::Code(code)) => handle.exit_status_request(id, code).await?,
            Ok(Ended::Signal { number, core_dumped }) => {
                handle
                    .exit_signal_request(id, signal_name(number), core_dumped, String::new(), String::new())
                    .await?;
            }
            // A channel that closes without a status is what a client takes for a lost process.
            Err(_) => {}
        }
        handle.close(id).await
    };
    // Nobody is left to be told.
    let _: Result<(), ()> = telling.await;
}

/// What russh has no variant for.
const USR2: &str = "USR2";

/// None for what SSH has no name for.
pub(super) fn signal_number(name: &Sig) -> Option<Signal> {
    Some(match name {
        Sig::ABRT => Signal::ABORT,
        Sig::ALRM => Signal::ALARM,
        Sig::FPE => Signal::FPE,
        Sig::HUP => Signal::HUP,
        Sig::ILL => Signal::ILL,
        Sig::INT => Signal::INT,
        Sig::KILL => Signal::KILL,
        Sig::PIPE => Signal::PIPE,
        Sig::QUIT => Signal::QUIT,
        Sig::SEGV => Signal::SEGV,
        Sig::TERM => Signal::TERM,
        Sig::USR1 => Signal::USR1,
        Sig::Custom(name) if name == USR2 => Signal::USR2,
        Sig::Custom(_) => return None,
    })
}

fn signal_name(number: i32) -> Sig {
    match Signal::from_named_raw(number) {
        Some(Signal::ABORT) => Sig::ABRT,
        Some(Signal::ALARM) => Sig::ALRM,
        Some(Signal::FPE) => Sig::FPE,
        Some(Signal::HUP) => Sig::HUP,
        Some(Signal::ILL) => Sig::ILL,
        Some(Signal::INT) => Sig::INT,
        Some(Signal::KILL) => Sig::KILL,
        Some(Signal::PIPE) => Sig::PIPE,
        Some(Signal::QUIT) => Sig::QUIT,
        Some(Signal::SEGV) => Sig::SEGV,
        Some(Signal::TERM) => Sig::TERM,
        Some(Signal::USR1) => Sig::USR1,
        Some(Signal::USR2) => Sig::Custom(USR2.into()),
        // The form that SSH keeps for private names.
        _ => Sig::Custom(format!("SIG{number}@waft-demo")),
    }
}
