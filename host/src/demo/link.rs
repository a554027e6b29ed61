//! A link of the demo: a TCP connection made as slow as a far one, and counted.
//!
//! ```text
//! client ==TCP== up:   read, count ---- rtt/2 ----> write ==pipe in memory== SSH server
//!                down: write, count <--- rtt/2 ---- read
//! ```
//!
//! Bytes are counted at the client's end, when they leave it or reach it. The delay is pipelined: many
//! chunks are under way at once, so it costs time and not throughput. A new connection first waits for the
//! round trip that its TCP handshake would have taken. What a real link has and this has not: loss, jitter,
//! a bandwidth, slow start. Timers tick in milliseconds, so a delay is up to 1 ms longer than asked for.

use super::backlog::Backlog;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The most that one read takes off a socket.
const CHUNK_BYTES: usize = 64 * 1024;

/// What may be under way in one direction of one connection: 100 Mbit/s at 640 ms one way.
const LINE_BYTES: usize = 8 * 1024 * 1024;

/// Between the link and the SSH server. Above one channel window, so that a server which has been granted a
/// whole window can write it and go on reading: two sides that both wait to write would wait for ever.
pub(super) const PIPE_BYTES: usize = 4 * 1024 * 1024;

/// How long a client may take to close its side after the server closed. Closing before would turn unread
/// bytes into a reset, which can overtake the server's last words.
const LINGER: Duration = Duration::from_secs(1);

/// What crossed a link since the fleet started. "Up" is away from the controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkCount {
    pub from: String,
    pub to: String,
    pub up_bytes: u64,
    pub down_bytes: u64,
    pub connections: u64,
    /// Bursts that went up, the first or one after something came down. On a connection that waits for every answer
    /// this is its number of round trips, without TCP's own; summed over connections.
    pub flights: u64,
}

/// One link, its delay and its counters.
pub(super) struct Link {
    from: String,
    to: String,
    rtt: Duration,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    connections: AtomicU64,
    flights: AtomicU64,
}

impl Link {
    pub(super) fn new(from: &str, to: &str, rtt: Duration) -> Link {
        Link {
            from: from.into(),
            to: to.into(),
            rtt,
            up_bytes: AtomicU64::new(0),
            down_bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            flights: AtomicU64::new(0),
        }
    }

    pub(super) fn count(&self) -> LinkCount {
        LinkCount {
            from: self.from.clone(),
            to: self.to.clone(),
            up_bytes: self.up_bytes.load(Ordering::Relaxed),
            down_bytes: self.down_bytes.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            flights: self.flights.load(Ordering::Relaxed),
        }
    }

    /// When the far end of a new connection would notice it: the handshake's round trip and the way there.
    pub(super) fn far_end_delay(&self) -> Duration {
        self.rtt + self.rtt / 2
    }

    /// Carries one connection until both directions have ended. Dropping the future cuts it.
    pub(super) async fn carry(&self, client: TcpStream, server: DuplexStream, backlog: &Backlog) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        if !self.rtt.is_zero() {
            sleep(self.rtt).await;
        }
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = tokio::io::split(server);
        let answered = AtomicBool::new(true);
        let up_meter = |bytes: u64| {
            self.up_bytes.fetch_add(bytes, Ordering::Relaxed);
            if answered.swap(false, Ordering::Relaxed) {
                self.flights.fetch_add(1, Ordering::Relaxed);
            }
        };
        let down_meter = |bytes: u64| {
            self.down_bytes.fetch_add(bytes, Ordering::Relaxed);
            answered.store(true, Ordering::Relaxed);
        };

        let delay = self.rtt / 2;
        let up = async {
            let line = Line { delay, backlog: Some(backlog), on_read: Some(&up_meter), on_write: None };
            line.run(client_read, server_write).await
        };
        let down = async {
            let line = Line { delay, backlog: None, on_read: None, on_write: Some(&down_meter) };
            line.run(server_read, client_write).await
        };
        // A direction ends in an error when its other end is gone: for a link that is as good as an end.
        let mut up = std::pin::pin!(up);
        let mut down = std::pin::pin!(down);
        tokio::select! {
            _ = &mut up => { let _ = down.await; }
            _ = &mut down => { let _ = timeout(LINGER + self.rtt, up).await; }
        }
    }
}

type Meter<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// One direction of one connection.
struct Line<'a> {
    delay: Duration,
    backlog: Option<&'a Backlog>,
    on_read: Option<Meter<'a>>,
    on_write: Option<Meter<'a>>,
}

impl Line<'_> {
    async fn run<R, W>(self, mut from: R, mut to: W) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.delay.is_zero() {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            while self.read(&mut from, &mut chunk).await? {
                self.write(&mut to, &chunk).await?;
            }
            return to.shutdown().await;
        }

        // Bounded by bytes, not by chunks: a thousand keystrokes are as much under way as a thousand files.
        let room = Semaphore::new(LINE_BYTES);
        let (enter, mut leave) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        let entering = async {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let mut more = true;
            while more {
                more = self.read(&mut from, &mut chunk).await?;
                // The end travels like everything else, as an empty chunk.
                let due = Instant::now() + self.delay;
                if let Ok(permit) = room.acquire_many(cost(&chunk)).await {
                    permit.forget();
                }
                if enter.send((due, chunk.clone())).is_err() {
                    break;
                }
            }
            Ok(())
        };
        let leaving = async {
            while let Some((due, chunk)) = leave.recv().await {
                sleep_until(due).await;
                if chunk.is_empty() {
                    break;
                }
                self.write(&mut to, &chunk).await?;
                room.add_permits(cost(&chunk) as usize);
            }
            to.shutdown().await
        };
        tokio::try_join!(entering, leaving).map(|((), ())| ())
    }

    /// Fills `chunk` with what there is; false at the end.
    async fn read(&self, from: &mut (impl AsyncRead + Unpin), chunk: &mut Vec<u8>) -> io::Result<bool> {
        if let Some(backlog) = self.backlog {
            backlog.pause_while_shrunk().await;
        }
        chunk.clear();
        let bytes = from.read_buf(chunk).await?;
        if bytes > 0
            && let Some(meter) = self.on_read
        {
            meter(bytes as u64);
        }
        Ok(bytes > 0)
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), chunk: &[u8]) -> io::Result<()> {
        to.write_all(chunk).await?;
        if let Some(meter) = self.on_write {
            meter(chunk.len() as u64);
        }
        Ok(())
    }
}

/// Chunks are at most [`CHUNK_BYTES`] and so fit; the floor pays for a small chunk's own weight.
fn cost(chunk: &[u8]) -> u32 {
    u32::try_from(chunk.len().max(64)).unwrap_or(u32::MAX)
}
