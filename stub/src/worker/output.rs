//! Stdout and stderr of a task: every write is a message to the stub, at once. The channel blocks when the
//! stub does not read, so a slow reader far away holds the task, and nothing is buffered here.

use super::wire::{FromWorker, Link, PART_BYTES_MAX};
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use waft_proto::msg::Stream;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

#[derive(Clone)]
pub(super) struct Output {
    link: Arc<Link>,
    execution: u64,
    stream: Stream,
    limit: u64,
    written: Arc<AtomicU64>,
}

impl Output {
    pub(super) fn new(link: &Arc<Link>, execution: u64, stream: Stream, limit: u64) -> Output {
        Output { link: Arc::clone(link), execution, stream, limit, written: Arc::default() }
    }

    /// Bytes that the task wrote, those beyond the limit included.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn put(&self, bytes: &[u8]) -> io::Result<()> {
        let before = self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // One byte beyond the limit is sent, so that the stub knows of the rest even if we are killed.
        let room = self.limit.saturating_add(1).saturating_sub(before);
        let sent = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        for bytes in bytes.get(..sent).unwrap_or_default().chunks(PART_BYTES_MAX) {
            self.link.send(&FromWorker::Output { execution: self.execution, stream: self.stream, bytes })?;
        }
        Ok(())
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // Without a stub there is nobody to run for: end the guest.
        self.put(&bytes).map_err(|error| StreamError::Trap(error.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PART_BYTES_MAX)
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.put(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
