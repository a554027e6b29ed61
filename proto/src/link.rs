//! One link between parent and child: bytes in, messages out, and back. Keeps the hello, credit,
//! keep-alive and the order of lanes; knows nothing of routes, blobs or runs.
//!
//! Order of calls: [`Link::receive`] for bytes that came, then [`Link::poll_transmit`] until it gives
//! nothing; [`Link::handle_timeout`] at or after [`Link::poll_timeout`]. Times are milliseconds of any
//! monotonic clock.
//!
//! Messages may carry a tag of the owner's, which comes back when they have left: so the owner knows what
//! it still holds for whom.

mod queue;
#[cfg(test)]
mod tests;

use crate::frame::{Decoder, Lane, encode};
use crate::limits::*;
use crate::msg::{Hello, Msg, Welcome};
use crate::run::Problem;
use crate::{VERSION_MAX, VERSION_MIN};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use queue::Queue;
pub use queue::Sent;

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
    Message {
        msg: Msg,
        bulk_bytes: u32,
    },
    /// The peer says that the link ends. Nothing comes after it.
    Bye(Problem),
    /// The peer fell silent (true) or is back (false).
    Silent(bool),
}

/// A message that no frame can hold; it was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong(pub usize);

pub struct Link<T = ()> {
    role: Role,
    decoder: Decoder,
    control: Queue<T>,
    bulk: Queue<T>,
    /// What we may still send in the bulk lane.
    credit: u32,
    /// What the peer may still send; below zero is a breach.
    window: u32,
    /// Used up by us, not yet given back.
    owed: u32,
    greeted: bool,
    /// Until when the peer must have said hello.
    hello_by: u64,
    heard: u64,
    spoke: u64,
    silent: bool,
    /// Intervals in a row in which a silent peer was heard.
    answered: u32,
    /// When the present keep-alive interval began.
    interval_began: u64,
    /// A pong waits to be sent: a flood of pings gets one answer.
    pong_queued: bool,
    /// More control bytes wait than a live peer would let wait.
    overrun: bool,
    /// No more is read and no timer runs; what is queued may still leave.
    ended: bool,
    pub counters: Counters,
}

impl<T: Copy> Link<T> {
    pub fn new(role: Role, now: u64) -> Link<T> {
        let wait = match role {
            Role::Parent => DELIVERY_DEADLINE_MS,
            Role::Child => HELLO_DEADLINE_MS,
        };
        Link {
            role,
            decoder: Decoder::default(),
            control: Queue::default(),
            bulk: Queue::default(),
            credit: WINDOW_INITIAL_BYTES,
            window: WINDOW_INITIAL_BYTES,
            owed: 0,
            greeted: false,
            hello_by: now.saturating_add(wait),
            heard: now,
            spoke: now,
            silent: false,
            answered: 0,
            interval_began: now,
            pong_queued: false,
            overrun: false,
            ended: false,
            counters: Counters::default(),
        }
    }

    /// At the parent: the preamble came, so the stub runs and its hello is due.
    pub fn started(&mut self, now: u64) {
        self.hello_by = now.saturating_add(HELLO_DEADLINE_MS);
    }

    /// Grants the peer a wider window than the initial one. Once, at the start.
    pub fn widen(&mut self, to: u32) {
        let more = to.saturating_sub(WINDOW_INITIAL_BYTES);
        if more > 0 {
            self.window = self.window.saturating_add(more);
            self.send(&Msg::Credit(more));
        }
    }

    /// Whether the peer has said hello (or welcome).
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Queues a control message that is short by its nature.
    pub fn send(&mut self, msg: &Msg) {
        // What could be too long goes through `queue`, whose answer its caller must look at.
        let _ = self.queue(Lane::Control, msg, None);
    }

    /// Queues a message; gives its size on the wire. Owners bound the bulk lane by [`Link::bulk_queued`];
    /// the control lane ends the link when its peer reads nothing of it.
    pub fn queue(&mut self, lane: Lane, msg: &Msg, tag: Option<T>) -> Result<u32, TooLong> {
        let bytes = msg.encode();
        let length = bytes.len();
        if length == 0 || length > BODY_BYTES_MAX {
            return Err(TooLong(length));
        }
        match lane {
            Lane::Control if self.control_queued() > CONTROL_QUEUE_BYTES_MAX => self.overrun = true,
            Lane::Control => self.control.push(bytes, tag),
            Lane::Bulk => self.bulk.push(bytes, tag),
        }
        Ok(length as u32)
    }

    /// What the waiting control messages take in memory.
    pub fn control_queued(&self) -> usize {
        self.control.memory()
    }

    pub fn bulk_queued(&self) -> usize {
        self.bulk.bytes()
    }

    /// Bulk bytes that may be queued now and will leave without waiting for the peer.
    pub fn bulk_room(&self) -> usize {
        (self.credit as usize).saturating_sub(self.bulk.bytes())
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
    pub fn receive(&mut self, bytes: &[u8], now: u64, events: &mut Vec<LinkEvent>) -> Result<(), Problem> {
        if self.ended {
            return Ok(());
        }
        self.counters.bytes_in += bytes.len() as u64;
        self.heard = now;
        let outcome = self.read(bytes, now, events);
        self.ended |= outcome.is_err();
        outcome
    }

    fn read(&mut self, mut bytes: &[u8], now: u64, events: &mut Vec<LinkEvent>) -> Result<(), Problem> {
        while let Some(frame) = self.decoder.next(&mut bytes).map_err(|error| broken(&error))? {
            self.counters.frames_in += 1;
            let messages = Msg::decode_all(&frame.body).map_err(|error| broken(&error))?;
            for (msg, length) in messages {
                let bulk_bytes = match (frame.lane, &msg) {
                    (Lane::Control, msg) if msg.is_of_blob() => {
                        return Err(broken(&"a chunk in the control lane"));
                    }
                    (Lane::Control, _) => 0,
                    (Lane::Bulk, Msg::Up { .. }) => length as u32,
                    (Lane::Bulk, msg) if msg.is_of_blob() => length as u32,
                    (Lane::Bulk, _) => return Err(broken(&"a control message in the bulk lane")),
                };
                self.window = self
                    .window
                    .checked_sub(bulk_bytes)
                    .ok_or_else(|| broken(&"more bulk bytes than it was granted"))?;
                self.take(msg, length, bulk_bytes, now, events)?;
                if self.ended {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        msg: Msg,
        length: usize,
        bulk_bytes: u32,
        now: u64,
        events: &mut Vec<LinkEvent>,
    ) -> Result<(), Problem> {
        match msg {
            Msg::Hello(hello) => {
                if self.role != Role::Parent || self.greeted {
                    return Err(unexpected("a hello"));
                }
                if length > HELLO_BYTES_MAX {
                    return Err(broken(&format!("a hello of {length} bytes, the most is {HELLO_BYTES_MAX}")));
                }
                agree(hello.version_min, hello.version_max)?;
                self.greet(now);
                events.push(LinkEvent::Hello(*hello));
            }
            Msg::Welcome(welcome) => {
                if self.role != Role::Child || self.greeted {
                    return Err(unexpected("a welcome"));
                }
                agree(welcome.version_min, welcome.version_max)?;
                self.greet(now);
                events.push(LinkEvent::Welcome(welcome));
            }
            Msg::Bye(problem) => {
                self.ended = true;
                events.push(LinkEvent::Bye(problem));
            }
            _ if !self.greeted => {
                return Err(unexpected(match self.role {
                    Role::Parent => "a message before its hello",
                    Role::Child => "a message before its welcome",
                }));
            }
            Msg::Ping if !self.pong_queued => {
                self.pong_queued = true;
                self.send(&Msg::Pong);
            }
            // Answered by the pong that waits already. A pong needs no thought: that bytes came is enough.
            Msg::Ping | Msg::Pong => {}
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

    fn greet(&mut self, now: u64) {
        self.greeted = true;
        self.interval_began = now;
    }

    /// Appends the next frame to `out`; false when there is nothing (more) that may be sent. Small
    /// messages of one lane share a frame. `sent` learns which messages left.
    pub fn poll_transmit(&mut self, now: u64, out: &mut Vec<u8>, sent: &mut Vec<Sent<T>>) -> bool {
        let mut body = Vec::new();
        let lane = if self.control.is_empty() { Lane::Bulk } else { Lane::Control };
        match lane {
            Lane::Control => {
                self.control.pack(lane, usize::MAX, &mut body, sent);
                self.pong_queued &= !self.control.is_empty();
            }
            Lane::Bulk => {
                self.bulk.pack(lane, self.credit as usize, &mut body, sent);
                self.credit = self.credit.saturating_sub(body.len() as u32);
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
        !self.control.is_empty() || self.bulk.front_bytes().is_some_and(|next| next <= self.credit as usize)
    }

    /// When to call [`Link::handle_timeout`] next; never, when the link has ended.
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.ended {
            None
        } else if self.overrun {
            Some(0)
        } else if self.greeted {
            Some(self.interval_began.saturating_add(KEEPALIVE_INTERVAL_MS))
        } else {
            Some(self.hello_by)
        }
    }

    /// Keep-alive and the hello deadline. An error ends the link.
    pub fn handle_timeout(&mut self, now: u64, events: &mut Vec<LinkEvent>) -> Result<(), Problem> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return Ok(());
        }
        let outcome = self.tick(now, events);
        self.ended |= outcome.is_err();
        outcome
    }

    fn tick(&mut self, now: u64, events: &mut Vec<LinkEvent>) -> Result<(), Problem> {
        if self.overrun {
            let queued = self.control_queued();
            return Err(Problem::new(
                "link.stuck",
                format!("the peer leaves its control messages unread: {queued} bytes of memory wait for it"),
            ));
        }
        if !self.greeted {
            let seconds = HELLO_DEADLINE_MS / 1000;
            let message = match self.role {
                Role::Parent => format!("the stub did not say hello within {seconds} s of its start"),
                Role::Child => format!("the parent did not answer within {seconds} s of the hello"),
            };
            return Err(Problem::new("link.hello", message));
        }
        let quiet = now.saturating_sub(self.heard);
        if quiet >= KEEPALIVE_INTERVAL_MS * u64::from(KEEPALIVE_LOST) {
            return Err(Problem::new("link.silent", format!("nothing was heard for {} s", quiet / 1000)));
        }
        if self.silent {
            self.answered =
                if self.heard > self.interval_began { self.answered.saturating_add(1) } else { 0 };
            if self.answered >= KEEPALIVE_ONLINE {
                self.silent = false;
                events.push(LinkEvent::Silent(false));
            }
        } else if quiet >= KEEPALIVE_INTERVAL_MS * u64::from(KEEPALIVE_OFFLINE) {
            self.silent = true;
            self.answered = 0;
            events.push(LinkEvent::Silent(true));
        }
        self.interval_began = now;
        // A busy link proves itself; only a quiet one, or one in doubt, pays for a ping.
        let spoke = now.saturating_sub(self.spoke);
        if self.silent || spoke >= KEEPALIVE_INTERVAL_MS || quiet >= KEEPALIVE_INTERVAL_MS {
            self.send(&Msg::Ping);
        }
        Ok(())
    }

    /// The last message: why we end the link. It and what was queued may still leave; no more is read.
    pub fn end(&mut self, problem: Problem) {
        self.ended = true;
        self.send(&Msg::Bye(clipped(problem)));
    }
}

/// A problem short enough to be wrapped into other messages on its way to the root.
pub(crate) fn clipped(mut problem: Problem) -> Problem {
    clip(&mut problem.code, PROBLEM_CODE_BYTES_MAX);
    clip(&mut problem.message, PROBLEM_TEXT_BYTES_MAX);
    if let Some(hint) = &mut problem.hint {
        clip(hint, PROBLEM_TEXT_BYTES_MAX);
    }
    problem
}

fn clip(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
}

fn broken(what: &dyn core::fmt::Display) -> Problem {
    Problem::new("link.protocol", format!("the peer sent {what}"))
        .hint("the two ends may be of different releases, or something else writes into the link")
}

fn unexpected(what: &str) -> Problem {
    Problem::new("link.protocol", format!("the peer sent {what}, which has no place there"))
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
