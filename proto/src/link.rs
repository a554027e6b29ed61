//! One link between parent and child: bytes in, messages out, and back. Keeps the hello, credit,
//! keep-alive and the order of lanes; knows nothing of routes, blobs or runs.
//!
//! Order of calls: [`Link::receive`] for bytes that came, then [`Link::poll_transmit`] until it gives
//! nothing; [`Link::handle_timeout`] at or after [`Link::poll_timeout`]. Times are milliseconds of any
//! monotonic clock.

use crate::frame::{Decoder, Lane, encode};
use crate::limits::*;
use crate::msg::{Hello, Msg, Welcome};
use crate::run::Problem;
use crate::{VERSION_MAX, VERSION_MIN};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

/// Which end of the link we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Parent,
    Child,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    pub frames_in: u64,
    pub frames_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEvent {
    Hello(Hello),
    Welcome(Welcome),
    /// Any other message, and what it cost of the credit we gave (0 in the control lane). The owner
    /// gives that back with [`Link::consumed`] when the bytes are used up.
    Message { msg: Msg, bulk_bytes: u32 },
    /// The peer says that the link ends.
    Bye(Problem),
    /// The peer fell silent (true) or is back (false).
    Silent(bool),
}

pub struct Link {
    role: Role,
    decoder: Decoder,
    /// Encoded control messages, oldest first.
    control: VecDeque<Vec<u8>>,
    control_bytes: usize,
    /// Encoded bulk messages, and where they came from.
    bulk: VecDeque<Vec<u8>>,
    bulk_bytes: usize,
    /// What we may still send in the bulk lane.
    credit: u32,
    /// What the peer may still send; below zero is a breach.
    window: u32,
    /// Used up by us, not yet given back.
    owed: u32,
    greeted: bool,
    started: u64,
    heard: u64,
    spoke: u64,
    silent: bool,
    answered: u32,
    pinged: u64,
    pub counters: Counters,
}

impl Link {
    pub fn new(role: Role, now: u64) -> Link {
        Link {
            role,
            decoder: Decoder::default(),
            control: VecDeque::new(),
            control_bytes: 0,
            bulk: VecDeque::new(),
            bulk_bytes: 0,
            credit: WINDOW_INITIAL_BYTES,
            window: WINDOW_INITIAL_BYTES,
            owed: 0,
            greeted: false,
            started: now,
            heard: now,
            spoke: now,
            silent: false,
            answered: 0,
            pinged: now,
            counters: Counters::default(),
        }
    }

    /// Grants the peer a wider window than the initial one. Once, at the start.
    pub fn widen(&mut self, to: u32) {
        let more = to.saturating_sub(WINDOW_INITIAL_BYTES);
        if more > 0 {
            self.window += more;
            self.send(&Msg::Credit(more));
        }
    }

    /// Whether the peer has said hello (or welcome).
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Queues a control message.
    pub fn send(&mut self, msg: &Msg) {
        let bytes = msg.encode();
        self.control_bytes += bytes.len();
        self.control.push_back(bytes);
    }

    /// Queues a bulk message; the caller bounds the queue by [`Link::bulk_queued`].
    pub fn send_bulk(&mut self, msg: &Msg) -> u32 {
        let bytes = msg.encode();
        let length = bytes.len();
        self.bulk_bytes += length;
        self.bulk.push_back(bytes);
        length as u32
    }

    pub fn bulk_queued(&self) -> usize {
        self.bulk_bytes
    }

    /// Bulk bytes that may be queued now and will leave without waiting for the peer.
    pub fn bulk_room(&self) -> usize {
        (self.credit as usize).saturating_sub(self.bulk_bytes)
    }

    /// The bytes of a bulk message are used up: the peer may send as many more. Given back in portions of
    /// a quarter of the initial window, so that credit costs little.
    pub fn consumed(&mut self, bytes: u32) {
        self.owed = self.owed.saturating_add(bytes);
        if self.owed >= WINDOW_INITIAL_BYTES / 4 {
            let owed = core::mem::take(&mut self.owed);
            self.window = self.window.saturating_add(owed);
            self.send(&Msg::Credit(owed));
        }
    }

    /// Bytes that came. What they mean is appended to `events`; an error ends the link.
    pub fn receive(&mut self, mut bytes: &[u8], now: u64, events: &mut Vec<LinkEvent>) -> Result<(), Problem> {
        self.counters.bytes_in += bytes.len() as u64;
        self.heard = now;
        if self.silent && self.answered >= KEEPALIVE_ONLINE {
            self.silent = false;
            events.push(LinkEvent::Silent(false));
        }
        let broken = |what: &dyn core::fmt::Display| {
            Problem::new("link.protocol", format!("the peer sent {what}"))
                .hint("the two ends may be of different releases, or something else writes into the link")
        };
        while let Some(frame) = self.decoder.next(&mut bytes).map_err(|error| broken(&error))? {
            self.counters.frames_in += 1;
            let messages = Msg::decode_all(&frame.body).map_err(|error| broken(&error))?;
            for (msg, length) in messages {
                let bulk_bytes = match frame.lane {
                    Lane::Control => 0,
                    Lane::Bulk => length as u32,
                };
                self.window = self
                    .window
                    .checked_sub(bulk_bytes)
                    .ok_or_else(|| broken(&"more bulk bytes than it was granted"))?;
                self.take(msg, bulk_bytes, events)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, msg: Msg, bulk_bytes: u32, events: &mut Vec<LinkEvent>) -> Result<(), Problem> {
        let unexpected = |what: &str| {
            Problem::new("link.protocol", format!("the peer sent {what}, which has no place there"))
        };
        match msg {
            Msg::Hello(hello) => {
                if self.role != Role::Parent || self.greeted {
                    return Err(unexpected("a hello"));
                }
                agree(hello.version_min, hello.version_max)?;
                self.greeted = true;
                events.push(LinkEvent::Hello(*hello));
            }
            Msg::Welcome(welcome) => {
                if self.role != Role::Child || self.greeted {
                    return Err(unexpected("a welcome"));
                }
                agree(welcome.version_min, welcome.version_max)?;
                self.greeted = true;
                events.push(LinkEvent::Welcome(welcome));
            }
            Msg::Bye(problem) => events.push(LinkEvent::Bye(problem)),
            _ if !self.greeted => return Err(unexpected("a message before its hello")),
            Msg::Ping => self.send(&Msg::Pong),
            Msg::Pong => self.answered = self.answered.saturating_add(1),
            Msg::Credit(more) => {
                self.credit = self
                    .credit
                    .checked_add(more)
                    .filter(|credit| *credit <= CREDIT_MAX)
                    .ok_or_else(|| unexpected("more credit than a link can hold"))?;
            }
            msg => events.push(LinkEvent::Message { msg, bulk_bytes }),
        }
        Ok(())
    }

    /// Appends the next frame to `out`; false when there is nothing (more) that may be sent. Small
    /// messages of one lane share a frame. `sent_bulk` learns the sizes of the bulk messages that left.
    pub fn poll_transmit(&mut self, now: u64, out: &mut Vec<u8>, sent_bulk: &mut Vec<u32>) -> bool {
        let mut body = Vec::new();
        let lane = if self.control.is_empty() { Lane::Bulk } else { Lane::Control };
        match lane {
            Lane::Control => {
                while let Some(next) = self.control.front()
                    && (body.is_empty() || body.len() + next.len() <= BODY_BYTES_MAX)
                    && let Some(next) = self.control.pop_front()
                {
                    self.control_bytes -= next.len();
                    body.extend_from_slice(&next);
                }
            }
            Lane::Bulk => {
                while let Some(next) = self.bulk.front()
                    && next.len() <= self.credit as usize
                    && (body.is_empty() || body.len() + next.len() <= BODY_BYTES_MAX)
                    && let Some(next) = self.bulk.pop_front()
                {
                    self.bulk_bytes -= next.len();
                    self.credit -= next.len() as u32;
                    sent_bulk.push(next.len() as u32);
                    body.extend_from_slice(&next);
                }
            }
        }
        let before = out.len();
        if body.is_empty() || encode(lane, &body, out).is_err() {
            return false;
        }
        self.counters.frames_out += 1;
        self.counters.bytes_out += (out.len() - before) as u64;
        self.spoke = now;
        true
    }

    /// Whether [`Link::poll_transmit`] would give something.
    pub fn wants_transmit(&self) -> bool {
        !self.control.is_empty() || self.bulk.front().is_some_and(|next| next.len() <= self.credit as usize)
    }

    /// When to call [`Link::handle_timeout`] next.
    pub fn poll_timeout(&self) -> u64 {
        if self.greeted {
            self.pinged + KEEPALIVE_INTERVAL_MS
        } else {
            self.started + HELLO_DEADLINE_MS
        }
    }

    /// Keep-alive and the hello deadline. An error ends the link.
    pub fn handle_timeout(&mut self, now: u64, events: &mut Vec<LinkEvent>) -> Result<(), Problem> {
        if now < self.poll_timeout() {
            return Ok(());
        }
        if !self.greeted {
            return Err(Problem::new(
                "link.hello",
                format!("no hello came within {} s of the start of the stub", HELLO_DEADLINE_MS / 1000),
            ));
        }
        if self.control_bytes > CONTROL_QUEUE_BYTES_MAX {
            return Err(Problem::new(
                "link.stuck",
                format!("the peer has left {} bytes of orders unread", self.control_bytes),
            ));
        }
        let quiet = now.saturating_sub(self.heard);
        if quiet >= KEEPALIVE_INTERVAL_MS * u64::from(KEEPALIVE_LOST) {
            return Err(Problem::new("link.silent", format!("nothing was heard for {} s", quiet / 1000)));
        }
        if quiet >= KEEPALIVE_INTERVAL_MS * u64::from(KEEPALIVE_OFFLINE) && !self.silent {
            self.silent = true;
            self.answered = 0;
            events.push(LinkEvent::Silent(true));
        }
        self.pinged = now;
        // A busy link proves itself; only a quiet one pays for a ping.
        if now.saturating_sub(self.spoke) >= KEEPALIVE_INTERVAL_MS || quiet >= KEEPALIVE_INTERVAL_MS {
            self.send(&Msg::Ping);
        }
        Ok(())
    }
}

fn agree(min: u16, max: u16) -> Result<(), Problem> {
    if min <= VERSION_MAX && max >= VERSION_MIN && min <= max {
        return Ok(());
    }
    Err(Problem::new(
        "link.version",
        format!("the peer speaks protocol versions {min} to {max}, this end {VERSION_MIN} to {VERSION_MAX}"),
    )
    .hint("use a stub of the same release as waft"))
}
