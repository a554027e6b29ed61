//! A TCP proxy in front of a link: it delays, counts, records, splits, stalls and cuts.
//!
//! ```text
//! client ==> proxy: read, stamp, count --- queue (one-way delay) ---> write ==> target      "up"
//! client <== proxy: write <--- queue (one-way delay) --- count, stamp, read <== target      "down"
//! ```
//!
//! * The delay is a pipeline: bytes wait in a queue, not in line for each other, so it costs no throughput until
//!   [`QUEUE_BYTES_MAX`] are under way. Bytes are counted when they arrive at the proxy.
//! * A connection costs its handshake: one round trip passes before the proxy reads from the client, and the target's
//!   greeting comes no sooner than over a real link of that delay.
//! * Loss of packets, jitter and bandwidth are not imitated; use netem for those.
//!
//! # Flights
//!
//! What makes a far link slow is not bytes but *waiting for each other*. [`Snapshot::flights`] counts that: the
//! length of the longest chain of chunks, alternating in direction, of which each can have been caused by the one
//! before. A chunk can have been caused by what the proxy had already handed to its sender when it arrived here;
//! with a delay set, bytes that are still under way the other way have caused nothing. So two sides talking at once
//! (SSH's version exchange, a keep-alive crossing a result) count one flight each way at most, however the proxy's
//! threads are scheduled. Request and answer are two flights: one round trip.
//!
//! [`Snapshot::turns`] is the naive figure: how many runs of chunks in one direction arrived. The two
//! are equal when the sides strictly take turns, and turns are more when they talk at once. Pin `flights`, and set a
//! delay well above the scheduling noise (10 ms or more) when you do.
//!
//! Both begin anew per connection and are summed over connections.

mod link;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Sub;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{Context, Result};
use link::Link;
pub use link::QUEUE_BYTES_MAX;

/// Which way bytes go: up is from the client to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

/// What happens to a connection that has carried its allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both ends see the connection close.
    Cut,
    /// Nothing passes any more, either way, and nobody is told.
    Stall,
    /// One bit of what follows is another, once, and all goes on.
    Flip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultAfter {
    pub fault: Fault,
    pub direction: Direction,
    /// Exactly so many bytes of each connection are handed over in that direction before the fault.
    pub bytes: u64,
}

/// How bytes are handed to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writes {
    #[default]
    AsTheyCame,
    /// One system call and, as far as TCP allows, one packet per byte; about 10 kB/s. A stall takes effect between
    /// chunks (of up to 64 KiB), not between bytes.
    SingleBytes,
}

#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// One-way delay from client to target.
    pub delay_up: Duration,
    /// One-way delay from target to client.
    pub delay_down: Duration,
    pub fault: Option<FaultAfter>,
    pub writes: Writes,
    /// Keep all bytes of each connection in memory, for [`Proxy::recordings`].
    pub record: bool,
}

impl Settings {
    /// Half of the round trip each way.
    pub fn round_trip(rtt: Duration) -> Self {
        Self { delay_up: rtt / 2, delay_down: rtt / 2, ..Self::default() }
    }
}

/// Counters; a difference of two of them is what happened between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// TCP connections accepted.
    pub connections: u64,
    pub up_bytes: u64,
    pub down_bytes: u64,
    pub flights: u64,
    pub turns: u64,
}

impl Sub for Snapshot {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            up_bytes: self.up_bytes - earlier.up_bytes,
            down_bytes: self.down_bytes - earlier.down_bytes,
            flights: self.flights - earlier.flights,
            turns: self.turns - earlier.turns,
        }
    }
}

/// A moment between flights, from [`Proxy::mark`].
#[derive(Debug, Clone, Copy)]
pub struct Mark(Snapshot);

/// The bytes of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recording {
    pub up: Vec<u8>,
    pub down: Vec<u8>,
}

/// A running proxy. Dropped: all its connections are cut and its threads joined.
pub struct Proxy {
    /// Where clients connect.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    settings: Settings,
    stopping: AtomicBool,
    stalled: AtomicBool,
    book: Mutex<Book>,
}

/// Finished connections stay in the book for their counters and recordings; their sockets do not.
#[derive(Default)]
struct Book {
    links: Vec<Arc<Link>>,
    base: Snapshot,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and forwards to `target`.
    pub fn start(target: SocketAddr, settings: Settings) -> Result<Self> {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST), target, settings)
    }

    /// The same on another address of this machine.
    pub fn start_on(ip: IpAddr, target: SocketAddr, settings: Settings) -> Result<Self> {
        let doing = || format!("cannot start a proxy on {ip} to {target}");
        let listener = TcpListener::bind((ip, 0)).context(doing)?;
        let addr = listener.local_addr().context(doing)?;
        let shared = Arc::new(Shared {
            target,
            settings,
            stopping: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            book: Mutex::default(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(Self { addr, shared, acceptor: Some(acceptor) })
    }

    /// The counters since the start, or since the last [`Proxy::reset`].
    pub fn snapshot(&self) -> Snapshot {
        let book = self.shared.book();
        book.total() - book.base
    }

    /// Begins all counters and recordings anew; the next byte begins a flight.
    pub fn reset(&self) {
        let mut book = self.shared.book();
        book.end_flights();
        book.base = book.total();
        for link in &book.links {
            link.forget_recording();
        }
    }

    /// Notes this moment for [`Proxy::since`]. The next byte begins a flight, whichever way it goes, so a step that
    /// begins in the direction the last one ended in is counted in full.
    pub fn mark(&self) -> Mark {
        let book = self.shared.book();
        book.end_flights();
        Mark(book.total())
    }

    /// What happened since a mark.
    pub fn since(&self, mark: Mark) -> Snapshot {
        self.shared.book().total() - mark.0
    }

    /// What each connection carried, in the order of their coming; empty unless [`Settings::record`] is set.
    pub fn recordings(&self) -> Vec<Recording> {
        self.shared.book().links.iter().map(|link| link.recording()).collect()
    }

    /// Closes all connections now; what was under way is lost. Later connections are served.
    pub fn cut(&self) {
        for link in &self.shared.book().links {
            link.cut();
        }
    }

    /// Stops handing over anything on present and later connections, and keeps them open.
    pub fn stall(&self) {
        self.set_stalled(true);
    }

    /// Ends a stall, also one that came from [`Settings::fault`]. What waited is handed over.
    pub fn resume(&self) {
        self.set_stalled(false);
    }

    fn set_stalled(&self, stalled: bool) {
        // Under the lock, so that a connection accepted meanwhile is either told here or reads the flag.
        let book = self.shared.book();
        self.shared.stalled.store(stalled, Ordering::SeqCst);
        for link in &book.links {
            link.set_stalled(stalled);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor. Should it fail, the listener is broken and accept has returned by itself.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn total(&self) -> Snapshot {
        let mut total = Snapshot::default();
        for counted in self.links.iter().map(|link| link.counters()) {
            total.connections += counted.connections;
            total.up_bytes += counted.up_bytes;
            total.down_bytes += counted.down_bytes;
            total.flights += counted.flights;
            total.turns += counted.turns;
        }
        total
    }

    fn end_flights(&self) {
        for link in &self.links {
            link.end_flight();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Shared) {
    let mut carriers = Vec::new();
    while let Ok((client, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let link = {
            let mut book = shared.book();
            let link =
                Arc::new(Link::new(client, shared.settings.clone(), shared.stalled.load(Ordering::SeqCst)));
            book.links.push(Arc::clone(&link));
            link
        };
        let target = shared.target;
        carriers.push(thread::spawn(move || link.carry(target)));
    }
    for link in &shared.book().links {
        link.cut();
    }
    for carrier in carriers {
        let _ = carrier.join();
    }
}
