//! Reports, on their way to the root. Routing is a list of refusals; each is reported with its reason.

use super::{Charge, Event, Node, Peer};
use crate::id::{NodeId, RunId};
use crate::limits::OWN_OUTPUT_QUEUE_BYTES_MAX;
use crate::link::LinkEvent;
use crate::msg::*;
use crate::run::Problem;
use alloc::boxed::Box;
use alloc::format;

impl Node {
    /// Says something for `from` (ourselves, or a child that cannot speak) to the root, in the control lane.
    pub fn say(&mut self, from: NodeId, report: Report) {
        match self.parent.as_mut() {
            Some(link) => link.send(&Msg::Up { from, report }),
            None => self.events.push_back(Event::Report { from, report, charge: None }),
        }
    }

    /// Whether an execution here may hand over more output now.
    pub fn has_output_room(&self) -> bool {
        self.own_queued < OWN_OUTPUT_QUEUE_BYTES_MAX
    }

    /// Output of an execution on this node, at most `CHUNK_BYTES_MAX` at once.
    pub fn output(&mut self, run: RunId, stream: Stream, bytes: alloc::vec::Vec<u8>) {
        self.say_bulk(Report::Output { run, stream, bytes });
    }

    /// An execution on this node ended.
    pub fn finish(&mut self, run: RunId, outcome: Outcome) {
        for hash in self.running.remove(&run).unwrap_or_default() {
            self.store.unpin(hash);
        }
        self.say_bulk(Report::Result { run, outcome: Box::new(outcome) });
    }

    fn say_bulk(&mut self, report: Report) {
        let Some(from) = self.id else { return };
        match self.parent.as_mut() {
            Some(link) => {
                self.own_queued += link.send_bulk(&Msg::Up { from, report }) as usize;
                self.origins.push_back(None);
            }
            None => self.events.push_back(Event::Report { from, report, charge: None }),
        }
    }

    pub(super) fn from_child(&mut self, child: NodeId, event: LinkEvent) {
        match event {
            LinkEvent::Hello(hello) => {
                let Some(entry) = self.children.get_mut(&child) else { return };
                if core::mem::take(&mut entry.eager) {
                    // All of it is on its way; only runs may want another artifact than was assumed.
                    let same = entry.engine == Some(hello.engine);
                    entry.held.retain(|(_, order)| !same && matches!(order, Order::Run(_)));
                }
                entry.engine = Some(hello.engine);
                entry.kind = hello.kind;
                self.say(child, Report::Joined(Box::new(hello)));
                self.send_held(child);
            }
            LinkEvent::Bye(problem) => self.give_up(Peer::Child(child), problem),
            LinkEvent::Silent(silent) => self.say(child, Report::Silent(silent)),
            LinkEvent::Message { msg, bulk_bytes } => {
                let charge = (bulk_bytes > 0).then_some(Charge { child, bytes: bulk_bytes });
                if let Err(problem) = self.child_message(child, msg, charge) {
                    self.violation(child, problem, charge);
                }
            }
            LinkEvent::Welcome(_) => {}
        }
    }

    /// A violation is refused, counted and reported; the child may go on.
    fn violation(&mut self, child: NodeId, problem: Problem, charge: Option<Charge>) {
        if let Some(charge) = charge {
            self.release(charge);
        }
        let Some(entry) = self.children.get_mut(&child) else { return };
        entry.violations = entry.violations.saturating_add(1);
        let count = entry.violations;
        // A flood of violations must not become a flood of reports.
        if count.is_power_of_two() {
            self.say(child, Report::Violation { count, problem });
        }
    }

    fn child_message(&mut self, child: NodeId, msg: Msg, charge: Option<Charge>) -> Result<(), Problem> {
        let refused = |what: &str| Problem::new("route.refused", format!("{child} sent {what}"));
        let Some(entry) = self.children.get_mut(&child) else { return Ok(()) };
        match msg {
            Msg::Up { from, .. } if !entry.range.contains(from) => {
                Err(refused(&format!("a report in the name of {from}, which is not below it")))
            }
            Msg::Up { from, report: Report::Joined(_) | Report::Gone { .. } } if from == child => {
                Err(refused("a report about its own link, which is its parent's to make"))
            }
            Msg::Up { from, report } => {
                let bulk = matches!(report, Report::Output { .. } | Report::Result { .. });
                if bulk != charge.is_some() {
                    return Err(refused("a report in the wrong lane"));
                }
                match self.parent.as_mut() {
                    None => self.events.push_back(Event::Report { from, report, charge }),
                    Some(link) if bulk => {
                        link.send_bulk(&Msg::Up { from, report });
                        self.origins.push_back(charge);
                    }
                    Some(link) => link.send(&Msg::Up { from, report }),
                }
                Ok(())
            }
            _ if charge.is_some() => Err(refused("a message in the wrong lane")),
            Msg::Want { hash, kind } => {
                self.forget(child, hash);
                self.pass_on(child, hash, kind);
                Ok(())
            }
            Msg::Dropped { hash } => {
                self.forget(child, hash);
                Ok(())
            }
            _ => Err(refused("a message that only a parent may send")),
        }
    }
}
