//! One connection through the proxy: four loops (read and write, each way) over one small state.
//!
//! Lock order: the proxy's book, then a link's state, then its ends. The state's lock is never held during I/O.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Direction, Fault, Recording, Settings, Snapshot, Writes};

/// How much may be under way in one direction before the proxy stops reading: enough for 1 Gbit/s at 500 ms.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// Between two single bytes, or the receiver would find many at once. Chosen by eye: with the kernel's own slack about
/// 0.1 ms, which lets a receiver be scheduled and an SSH handshake of 4 kB pass within half a second.
const SINGLE_BYTE_PAUSE: Duration = Duration::from_micros(20);
/// The target is on this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Link {
    settings: Settings,
    /// When the client connected.
    born: Instant,
    state: Mutex<State>,
    changed: Condvar,
    ends: Mutex<Vec<Arc<TcpStream>>>,
}

#[derive(Default)]
struct State {
    up: Lane,
    down: Lane,
    last: Option<Direction>,
    turns: u64,
    stalled: bool,
    cut: bool,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<Parcel>,
    queued_bytes: usize,
    bytes: u64,
    recorded: Vec<u8>,
    /// The flight that the last chunk to arrive belongs to.
    arrived_flight: u64,
    /// The latest flight of which something was handed to the receiver.
    delivered_flight: u64,
    /// The allowance of [`Settings::fault`] is used up; it strikes once per connection.
    fault_met: bool,
}

struct Parcel {
    due: Instant,
    flight: u64,
    load: Load,
}

enum Load {
    Bytes(Vec<u8>),
    /// The sender has closed its side.
    End,
    Fault(Fault),
}

impl State {
    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    fn flights(&self) -> u64 {
        self.up.arrived_flight.max(self.down.arrived_flight)
    }
}

impl Direction {
    fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

impl Link {
    pub(super) fn new(client: TcpStream, settings: Settings, stalled: bool) -> Self {
        Self {
            settings,
            born: Instant::now(),
            state: Mutex::new(State { stalled, ..State::default() }),
            changed: Condvar::new(),
            ends: Mutex::new(vec![Arc::new(client)]),
        }
    }

    /// Carries the connection to its end, then closes its sockets.
    pub(super) fn carry(&self, target: SocketAddr) {
        if self.wait_for_handshake() {
            match TcpStream::connect_timeout(&target, CONNECT_LIMIT) {
                Ok(target) => self.carry_between(Arc::new(target)),
                // What a client of a dead host sees, but for the missing refusal at connect.
                Err(_) => self.cut(),
            }
        }
        self.ends().clear();
    }

    fn carry_between(&self, target: Arc<TcpStream>) {
        let Some(client) = self.ends().first().cloned() else { return };
        self.ends().push(Arc::clone(&target));
        // Nagle would hold back what the proxy was told to split or to hand over now.
        let _ = (client.set_nodelay(true), target.set_nodelay(true));
        if self.state().cut {
            // Cut while the target was being connected: its end was not yet there to be closed.
            return;
        }
        thread::scope(|scope| {
            scope.spawn(|| self.read_loop(Direction::Up, &client));
            scope.spawn(|| self.write_loop(Direction::Up, &target));
            scope.spawn(|| self.read_loop(Direction::Down, &target));
            self.write_loop(Direction::Down, &client);
        });
    }

    fn delay(&self, direction: Direction) -> Duration {
        match direction {
            Direction::Up => self.settings.delay_up,
            Direction::Down => self.settings.delay_down,
        }
    }

    /// Lets the round trip of SYN and SYN-ACK pass; false when the link was cut meanwhile.
    fn wait_for_handshake(&self) -> bool {
        let open = self.born + self.settings.delay_up + self.settings.delay_down;
        let mut state = self.state();
        while !state.cut {
            let left = open.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.wait(state, Some(left));
        }
        false
    }

    /// Nothing from the target can be at the client before the client's ACK has gone up and the bytes come down.
    fn earliest(&self, direction: Direction) -> Instant {
        match direction {
            Direction::Up => self.born,
            Direction::Down => self.born + 2 * (self.settings.delay_up + self.settings.delay_down),
        }
    }

    fn read_loop(&self, direction: Direction, mut source: &TcpStream) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let mut state = self.state();
            while !state.cut && (state.stalled || state.lane(direction).queued_bytes >= QUEUE_BYTES_MAX) {
                state = self.wait(state, None);
            }
            if state.cut {
                return;
            }
            drop(state);
            let arrived = source.read(&mut buffer).map(|count| buffer.get(..count).unwrap_or_default());
            let open = match arrived {
                Ok([]) => self.enqueue(direction, Load::End),
                Ok(bytes) => self.take_in(direction, bytes),
                // A reset of one end becomes the close of both.
                Err(_) => self.enqueue(direction, Load::Fault(Fault::Cut)),
            };
            if !open {
                return;
            }
        }
    }

    /// Counts and queues what has arrived; false when nothing more is to be read.
    fn take_in(&self, direction: Direction, bytes: &[u8]) -> bool {
        let Some((before, fault, after)) = self.split_at_fault(direction, bytes) else {
            self.count(direction, bytes);
            return self.enqueue(direction, Load::Bytes(bytes.to_vec()));
        };
        if !before.is_empty() {
            self.count(direction, before);
            self.enqueue(direction, Load::Bytes(before.to_vec()));
        }
        let open = self.enqueue(direction, Load::Fault(fault));
        // What came after a stall waits behind it, for a resume.
        open && (after.is_empty() || self.take_in(direction, after))
    }

    /// The bytes before and after the point where the fault strikes, if it strikes in them.
    fn split_at_fault<'a>(
        &self,
        direction: Direction,
        bytes: &'a [u8],
    ) -> Option<(&'a [u8], Fault, &'a [u8])> {
        let fault = self.settings.fault.filter(|fault| fault.direction == direction)?;
        let mut state = self.state();
        let lane = state.lane(direction);
        let room = usize::try_from(fault.bytes.saturating_sub(lane.bytes)).ok()?;
        let (before, after) = bytes.split_at_checked(room)?;
        if std::mem::replace(&mut lane.fault_met, true) {
            return None;
        }
        Some((before, fault.fault, after))
    }

    fn count(&self, direction: Direction, bytes: &[u8]) {
        let mut state = self.state();
        if state.last != Some(direction) {
            state.turns += 1;
        }
        state.last = Some(direction);
        let caused_by = state.lane(direction.opposite()).delivered_flight;
        let lane = state.lane(direction);
        lane.arrived_flight = lane.arrived_flight.max(caused_by + 1);
        lane.bytes += bytes.len() as u64;
        if self.settings.record {
            lane.recorded.extend_from_slice(bytes);
        }
    }

    /// Queues a parcel behind the delay; false when no other is to follow it.
    fn enqueue(&self, direction: Direction, load: Load) -> bool {
        let due = (Instant::now() + self.delay(direction)).max(self.earliest(direction));
        let open = matches!(load, Load::Bytes(_) | Load::Fault(Fault::Stall | Fault::Flip));
        let mut state = self.state();
        let lane = state.lane(direction);
        if let Load::Bytes(bytes) = &load {
            lane.queued_bytes += bytes.len();
        }
        lane.queue.push_back(Parcel { due, flight: lane.arrived_flight, load });
        drop(state);
        self.changed.notify_all();
        open
    }

    fn write_loop(&self, direction: Direction, sink: &TcpStream) {
        let mut flips = false;
        while let Some(load) = self.next_due(direction) {
            match load {
                Load::Bytes(mut bytes) => {
                    if let (true, Some(first)) = (std::mem::take(&mut flips), bytes.first_mut()) {
                        *first ^= 1;
                    }
                    if self.hand_over(&bytes, sink).is_err() {
                        return self.cut();
                    }
                }
                Load::End => {
                    let _ = sink.shutdown(Shutdown::Write);
                    return;
                }
                Load::Fault(Fault::Cut) => return self.cut(),
                Load::Fault(Fault::Stall) => self.set_stalled(true),
                Load::Fault(Fault::Flip) => flips = true,
            }
        }
    }

    fn hand_over(&self, bytes: &[u8], mut sink: &TcpStream) -> std::io::Result<()> {
        match self.settings.writes {
            Writes::AsTheyCame => sink.write_all(bytes),
            Writes::SingleBytes => bytes.iter().try_for_each(|byte| {
                thread::sleep(SINGLE_BYTE_PAUSE);
                sink.write_all(&[*byte])
            }),
        }
    }

    /// Waits for the next parcel of a lane to be due; `None` when the link was cut.
    fn next_due(&self, direction: Direction) -> Option<Load> {
        let mut state = self.state();
        loop {
            if state.cut {
                return None;
            }
            let stalled = state.stalled;
            let lane = state.lane(direction);
            let wait = match lane.queue.front() {
                Some(parcel) if !stalled => Some(parcel.due.saturating_duration_since(Instant::now())),
                _ => None,
            };
            if wait.is_some_and(|wait| wait.is_zero())
                && let Some(parcel) = lane.queue.pop_front()
            {
                if let Load::Bytes(bytes) = &parcel.load {
                    lane.queued_bytes -= bytes.len();
                }
                // Before the write: an answer cannot arrive here earlier than this.
                lane.delivered_flight = lane.delivered_flight.max(parcel.flight);
                drop(state);
                self.changed.notify_all();
                return Some(parcel.load);
            }
            state = self.wait(state, wait);
        }
    }

    pub(super) fn cut(&self) {
        self.state().cut = true;
        self.changed.notify_all();
        for end in self.ends().iter() {
            // Fails when the peer was faster.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn set_stalled(&self, stalled: bool) {
        self.state().stalled = stalled;
        self.changed.notify_all();
    }

    pub(super) fn counters(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            connections: 1,
            up_bytes: state.up.bytes,
            down_bytes: state.down.bytes,
            flights: state.flights(),
            turns: state.turns,
        }
    }

    /// Treats all flights as arrived, so that the next byte, whichever way, can only belong to a new one.
    pub(super) fn end_flight(&self) {
        let mut state = self.state();
        let flights = state.flights();
        state.up.delivered_flight = flights;
        state.down.delivered_flight = flights;
        state.last = None;
    }

    pub(super) fn recording(&self) -> Recording {
        let state = self.state();
        Recording { up: state.up.recorded.clone(), down: state.down.recorded.clone() }
    }

    pub(super) fn forget_recording(&self) {
        let mut state = self.state();
        state.up.recorded.clear();
        state.down.recorded.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, Vec<Arc<TcpStream>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, limit: Option<Duration>) -> MutexGuard<'a, State> {
        match limit {
            Some(limit) => self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }
}
