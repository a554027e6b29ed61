//! A byte stream to a peer, whatever carries it, with what is known about its end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes from the peer, in whatever portions they come; `None` at the end.
pub trait Incoming: Send {
    fn next(&mut self) -> Pending<'_, Option<Vec<u8>>>;
}

/// Bytes to the peer. A future that resolves when the bytes were accepted: that is the backpressure.
pub trait Outgoing: Send {
    fn send(&mut self, bytes: Vec<u8>) -> Pending<'_, io::Result<()>>;
}

pub struct LinkStream {
    pub incoming: Box<dyn Incoming>,
    pub outgoing: Box<dyn Outgoing>,
    pub epitaph: Epitaph,
    /// Kept as long as the link; ends what carries it when dropped.
    pub guard: Box<dyn Send>,
}

/// The last words of a remote program: how it exited and the end of its stderr. Filled by the transport,
/// read when a link ended and somebody asks why.
#[derive(Clone, Default)]
pub struct Epitaph(Arc<Mutex<Last>>);

#[derive(Default)]
struct Last {
    stderr: Vec<u8>,
    exit: Option<String>,
}

/// How much of a peer's stderr is kept, bytes.
const STDERR_TAIL_BYTES: usize = 2048;
/// How much of it goes into a sentence, characters.
const STDERR_SHOWN_CHARS: usize = 300;

impl Epitaph {
    pub fn stderr(&self, bytes: &[u8]) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.stderr.extend_from_slice(bytes);
        let excess = last.stderr.len().saturating_sub(STDERR_TAIL_BYTES);
        last.stderr.drain(..excess);
    }

    pub fn exit(&self, how: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).exit = Some(how.into());
    }

    /// `exit status 127: sh: gzip: not found`, or nothing. Control characters are gone: a target wrote it.
    pub fn text(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr = printable(&last.stderr);
        match (&last.exit, stderr.is_empty()) {
            (Some(exit), false) => Some(format!("{exit}: {stderr}")),
            (Some(exit), true) => Some(exit.clone()),
            (None, false) => Some(stderr),
            (None, true) => None,
        }
    }
}

/// The last lines of what a target wrote, fit for one sentence.
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let clean: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = clean.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().rev().nth(STDERR_SHOWN_CHARS) {
        Some((at, _)) => format!("...{}", line.get(at..).unwrap_or_default()),
        None => line,
    }
}
