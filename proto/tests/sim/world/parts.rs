//! What a simulated world is made of: chance, links, and things to send.

use super::ENGINE;
use std::collections::{BTreeMap, VecDeque};
use waft_proto::frame::Decoder;
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::*;
use waft_proto::run::{Problem, Status};

/// What a socket holds before its writer must wait, bytes.
pub(crate) const SOCKET_BYTES: usize = 128 * 1024;

/// Xorshift: enough chance for a simulation, and the same on every machine.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Way {
    Down,
    Up,
}

/// One direction of a link.
#[derive(Default)]
pub(super) struct Pipe {
    flying: VecDeque<Vec<u8>>,
    bytes_flying: usize,
    free_at: u64,
    tap: Decoder,
}

impl Pipe {
    pub(super) fn has_room(&self) -> bool {
        self.bytes_flying < SOCKET_BYTES
    }

    pub(super) fn flying(&self) -> usize {
        self.flying.len()
    }

    pub(super) fn land(&mut self) -> Option<Vec<u8>> {
        let bytes = self.flying.pop_front()?;
        self.bytes_flying -= bytes.len();
        Some(bytes)
    }

    /// Sends bytes on their way; gives the time of their arrival.
    fn launch(&mut self, bytes: Vec<u8>, now: u64, speed: u64, latency_ms: u64) -> u64 {
        let begins = self.free_at.max(now);
        self.free_at = begins + (bytes.len() as u64).checked_div(speed).unwrap_or(0);
        self.bytes_flying += bytes.len();
        self.flying.push_back(bytes);
        self.free_at + latency_ms
    }
}

/// What a tap saw on one link, both ways.
#[derive(Default, Clone, Debug)]
pub(crate) struct Seen {
    /// Bytes of each blob that its messages stand for.
    pub(crate) chunk_bytes: BTreeMap<Hash, u64>,
    /// What these messages took.
    pub(crate) wire_bytes: BTreeMap<Hash, u64>,
    pub(crate) copies: usize,
    pub(crate) dictionaries: usize,
    pub(crate) offers: usize,
    pub(crate) runs: usize,
    pub(crate) dials: usize,
    pub(crate) pings: usize,
    pub(crate) wants: usize,
}

impl Seen {
    fn look(&mut self, tap: &mut Decoder, mut bytes: &[u8]) {
        while let Some(frame) = tap.next(&mut bytes).expect("frames of our own") {
            for (msg, length) in Msg::decode_all(&frame.body).expect("messages of our own") {
                match msg {
                    Msg::Chunk { hash, bytes, .. } => {
                        *self.chunk_bytes.entry(hash).or_default() += bytes.len() as u64;
                        *self.wire_bytes.entry(hash).or_default() += length as u64;
                    }
                    Msg::Packed { hash, size, dictionary, .. } => {
                        *self.chunk_bytes.entry(hash).or_default() += u64::from(size);
                        *self.wire_bytes.entry(hash).or_default() += length as u64;
                        self.dictionaries += usize::from(dictionary.is_some());
                    }
                    Msg::Copy { hash, bytes, .. } => {
                        *self.chunk_bytes.entry(hash).or_default() += bytes;
                        *self.wire_bytes.entry(hash).or_default() += length as u64;
                        self.copies += 1;
                    }
                    Msg::Offer { .. } => self.offers += 1,
                    Msg::Ping => self.pings += 1,
                    Msg::Want { .. } => self.wants += 1,
                    Msg::Down { order: Order::Run(_), .. } => self.runs += 1,
                    Msg::Down { order: Order::Dial(_), .. } => self.dials += 1,
                    _ => {}
                }
            }
        }
    }
}

pub(super) struct SimLink {
    down: Pipe,
    up: Pipe,
    pub(super) seen: Seen,
    latency_ms: u64,
    /// Bytes per millisecond; 0 is without limit.
    pub(super) speed: u64,
    /// Nothing moves, and nobody is told.
    pub(super) frozen: bool,
    /// Tells it from earlier links to the same node.
    pub(super) serial: u64,
}

impl SimLink {
    pub(super) fn new(latency_ms: u64, serial: u64) -> SimLink {
        let (down, up, seen) = (Pipe::default(), Pipe::default(), Seen::default());
        SimLink { down, up, seen, latency_ms, speed: 0, frozen: false, serial }
    }

    pub(super) fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Down => &mut self.down,
            Way::Up => &mut self.up,
        }
    }

    pub(super) fn carry(&mut self, way: Way, bytes: Vec<u8>, now: u64) -> u64 {
        let (speed, latency_ms) = (self.speed, self.latency_ms);
        let pipe = match way {
            Way::Down => &mut self.down,
            Way::Up => &mut self.up,
        };
        self.seen.look(&mut pipe.tap, &bytes);
        pipe.launch(bytes, now, speed, latency_ms)
    }
}

pub(crate) fn hello(kind: StubKind, name: &str) -> Hello {
    Hello {
        version_min: waft_proto::VERSION_MIN,
        version_max: waft_proto::VERSION_MAX,
        kind,
        engine: ENGINE,
        release: "0.1.0".into(),
        hostname: name.into(),
        kernel: "Linux 6.1".into(),
        user: "op".into(),
        uid: 1000,
        pid: 7,
        delivery: "memfd".into(),
        policy: Policy::None,
        walls: vec!["seccomp".into()],
        seal_key: [0; 32],
        identity: None,
        compiles: false,
    }
}

pub(crate) fn run_id(number: u8) -> RunId {
    RunId([number; 16])
}

pub(super) fn problem(code: &str) -> Problem {
    Problem::new(code, "the simulation said so")
}

pub(crate) fn outcome(status: Status) -> Outcome {
    Outcome {
        status,
        exit_code: (status == Status::Ok).then_some(0),
        signal: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
        stdout_truncated: false,
        stderr_truncated: false,
        ms: 1,
        walls: Vec::new(),
        problem: None,
        changes: 0,
        audit: None,
    }
}

/// A module of that many bytes, different for each seed.
pub(crate) fn module(seed: u64, bytes: usize) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    (0..bytes).map(|_| chance.below(256) as u8).collect()
}
