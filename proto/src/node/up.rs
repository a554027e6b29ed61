//! Reports, on their way to the root. Routing is a list of refusals; each is reported with its reason.

use super::down::{merged, parts};
use super::{Charge, Event, Node, Origin, Peer};
use crate::frame::Lane;
use crate::id::{NodeId, NodeRange, RunId};
use crate::limits::{CHUNK_BYTES_MAX, OWN_OUTPUT_QUEUE_BYTES_MAX, RANGES_MAX};
use crate::link::{LinkEvent, clipped};
use crate::msg::*;
use crate::run::Problem;
use alloc::format;
use alloc::vec::Vec;

impl Node {
    /// Says something for `from` (ourselves, or a child that cannot speak) to the root, in the control lane.
    pub fn say(&mut self, from: NodeId, report: Report) {
        self.speak(Lane::Control, None, from, report);
    }

    /// That a node is gone, behind everything it has said: a result that waits must not come after it.
    pub(super) fn say_last(&mut self, from: NodeId, report: Report) {
        self.speak(Lane::Bulk, None, from, report);
    }

    /// An order that cannot be passed on to these nodes. Named are only those that we may speak of.
    pub(super) fn dead_letter(&mut self, to: Vec<NodeRange>, problem: &Problem) {
        let me = self.id.unwrap_or(NodeId::ROOT);
        let mut to = parts(&merged(to), &NodeRange::new(me, self.last));
        while to.len() > RANGES_MAX {
            let rest = to.split_off(RANGES_MAX);
            self.say(me, Report::DeadLetter { to, problem: problem.clone() });
            to = rest;
        }
        self.say(me, Report::DeadLetter { to, problem: problem.clone() });
    }

    fn speak(&mut self, lane: Lane, origin: Option<Origin>, from: NodeId, report: Report) {
        let report = match report {
            Report::Gone { lost, problem } => Report::Gone { lost, problem: clipped(problem) },
            Report::DeadLetter { to, problem } => Report::DeadLetter { to, problem: clipped(problem) },
            Report::Violation { count, problem } => Report::Violation { count, problem: clipped(problem) },
            Report::Result { run, mut outcome, proof } => {
                outcome.problem = outcome.problem.map(clipped);
                Report::Result { run, outcome, proof }
            }
            report => report,
        };
        let Some(link) = self.parent.as_mut() else {
            return self.events.push_back(Event::Report { from, report, charge: None });
        };
        match link.queue(lane, &Msg::Up { from, report }, origin) {
            Ok(bytes) if origin == Some(Origin::Own) => self.own_queued += bytes as usize,
            Ok(_) => {}
            Err(too_long) => {
                let message =
                    format!("a report of {} bytes about {from} was too long to be sent", too_long.0);
                let problem = Problem::new("report.size", message);
                link.send(&Msg::Up { from, report: Report::Violation { count: 1, problem } });
            }
        }
    }

    /// Whether an execution here may hand over more output now.
    pub fn has_output_room(&self) -> bool {
        self.own_queued < OWN_OUTPUT_QUEUE_BYTES_MAX
    }

    /// Output of an execution on this node.
    pub fn output(&mut self, run: RunId, stream: Stream, bytes: Vec<u8>) {
        for bytes in bytes.chunks(CHUNK_BYTES_MAX) {
            self.say_own(Report::Output { run, stream, bytes: bytes.to_vec() });
        }
    }

    pub(super) fn say_own(&mut self, report: Report) {
        if let Some(me) = self.id {
            self.speak(Lane::Bulk, Some(Origin::Own), me, report);
        }
    }

    pub(super) fn hear_child(&mut self, child: NodeId, event: LinkEvent) {
        match event {
            LinkEvent::Hello(hello) => self.joined(child, hello),
            LinkEvent::Bye(problem) => self.give_up(Peer::Child(child), problem),
            LinkEvent::Silent(silent) => self.say(child, Report::Silent(silent)),
            LinkEvent::Message { msg, bulk_bytes } => {
                let charge = self.charge(child, bulk_bytes);
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
        let Some(entry) = self.children.get(&child) else { return Ok(()) };
        let range = entry.range;
        match msg {
            Msg::Up { from, .. } if !range.contains(from) => {
                Err(refused(&format!("a report in the name of {from}, which is not below it")))
            }
            Msg::Up { from, report } if from == child && is_of_parent(&report) => {
                Err(refused("a report about its own link, which is its parent's to make"))
            }
            Msg::Up { report: Report::DeadLetter { ref to, .. }, .. }
                if to.iter().any(|part| part.intersect(&range) != Some(*part)) =>
            {
                Err(refused("a dead letter for targets that are not below it"))
            }
            Msg::Up { report: Report::Sign(ref request), .. }
                if request.node == child || !range.contains(request.node) =>
            {
                Err(refused(&format!("a request to sign for {}, which is not below it", request.node)))
            }
            Msg::Up { report, .. } if is_bulk(&report) != charge.is_some() => {
                Err(refused("a report in the wrong lane"))
            }
            Msg::Up { from, report } => {
                self.forward(child, from, report, charge);
                Ok(())
            }
            _ if charge.is_some() => Err(refused("a message in the wrong lane")),
            Msg::Want { hash, kind } => self.wanted(child, hash, kind),
            Msg::Dropped { hash } => {
                self.forget(child, hash);
                Ok(())
            }
            _ => Err(refused("a message that only a parent may send")),
        }
    }

    fn forward(&mut self, child: NodeId, from: NodeId, report: Report, charge: Option<Charge>) {
        if self.is_root() {
            return self.events.push_back(Event::Report { from, report, charge });
        }
        let msg = Msg::Up { from, report };
        let (lane, charge) = match charge {
            Some(charge) => (Lane::Bulk, charge),
            None => {
                let Some(charge) = self.control_charge(child, msg.encode().len()) else {
                    let message =
                        format!("{child} sent control messages faster than they could be passed on");
                    return self.give_up(Peer::Child(child), Problem::new("link.flood", message));
                };
                (Lane::Control, charge)
            }
        };
        // It came in a frame, so it fits one.
        if let Some(link) = self.parent.as_mut() {
            let _ = link.queue(lane, &msg, Some(Origin::Child(charge)));
        }
    }
}

/// Reports that the parent of a node makes about it.
fn is_of_parent(report: &Report) -> bool {
    matches!(
        report,
        Report::Joined(_)
            | Report::Gone { .. }
            | Report::Silent(_)
            | Report::Learned(_)
            | Report::Violation { .. }
    )
}

/// Reports that keep the order in which they were made, and cost credit.
fn is_bulk(report: &Report) -> bool {
    matches!(report, Report::Output { .. } | Report::Result { .. } | Report::Gone { .. })
}
