//! The link to the parent: stdin and stdout, whatever kind of descriptor they are.
//!
//! A thread each, with blocking reads and writes: making a shared descriptor non-blocking would change it
//! for every process that has it too (a shell that waits for us, for one).

use std::io::{self, Read, Write};
use tokio::sync::mpsc;
use waft_hop::stream::{Epitaph, Incoming, LinkStream, Outgoing, Pending};
use waft_proto::msg::PREAMBLE;

/// One portion, bytes; and portions waiting in each direction.
const PORTION_BYTES: usize = 64 * 1024;
const PORTIONS: usize = 1;

/// Writes the preamble and gives the link.
pub(crate) fn link() -> io::Result<LinkStream> {
    let (to_loop, from_stdin) = mpsc::channel(PORTIONS);
    let (to_stdout, mut from_loop) = mpsc::channel::<Vec<u8>>(PORTIONS);
    std::thread::Builder::new().name("stdin".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; PORTION_BYTES];
        while let Ok(read @ 1..) = stdin.read(&mut buffer) {
            let Some(bytes) = buffer.get(..read) else { return };
            if to_loop.blocking_send(bytes.to_vec()).is_err() {
                return;
            }
        }
    })?;
    std::thread::Builder::new().name("stdout".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let mut stdout = io::stdout().lock();
        let mut alive = stdout.write_all(PREAMBLE).and_then(|()| stdout.flush()).is_ok();
        while let Some(bytes) = from_loop.blocking_recv() {
            alive = alive && stdout.write_all(&bytes).and_then(|()| stdout.flush()).is_ok();
            if !alive {
                return;
            }
        }
    })?;
    Ok(LinkStream {
        incoming: Box::new(FromStdin(from_stdin)),
        outgoing: Box::new(ToStdout(to_stdout)),
        epitaph: Epitaph::default(),
        guard: Box::new(()),
    })
}

/// Stacks of these threads, bytes: they call nothing deep.
const STACK_BYTES: usize = 128 * 1024;

struct FromStdin(mpsc::Receiver<Vec<u8>>);

impl Incoming for FromStdin {
    fn next(&mut self) -> Pending<'_, Option<Vec<u8>>> {
        Box::pin(self.0.recv())
    }
}

struct ToStdout(mpsc::Sender<Vec<u8>>);

impl Outgoing for ToStdout {
    fn send(&mut self, bytes: Vec<u8>) -> Pending<'_, io::Result<()>> {
        Box::pin(async move { self.0.send(bytes).await.map_err(|_| io::ErrorKind::BrokenPipe.into()) })
    }
}
