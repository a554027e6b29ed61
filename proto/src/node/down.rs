//! Orders, on their way from the root: for us, for our children, or for nobody.

use super::{Event, Node, ReadyRun, WaitingInput, WaitingRun};
use crate::envelope::Envelope;
use crate::id::{Hash, NodeId, NodeRange, RunId};
use crate::limits::*;
use crate::link::LinkEvent;
use crate::msg::*;
use crate::run::{Problem, Status};
use crate::store::Progress;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

impl Node {
    /// At the root: sends an order on its way.
    pub fn order(&mut self, to: Vec<NodeRange>, order: Order, now: u64) {
        self.now = now;
        self.route_down(to, order);
    }

    pub(super) fn from_parent(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Welcome(welcome) => {
                self.id = Some(welcome.node);
                self.controller = welcome.controller;
                self.events.push_back(Event::Welcomed(welcome));
            }
            LinkEvent::Message { msg, bulk_bytes } => {
                if bulk_bytes > 0
                    && let Some(link) = self.parent.as_mut()
                {
                    link.consumed(bulk_bytes);
                }
                match msg {
                    Msg::Down { to, order } if to.len() <= RANGES_MAX => self.route_down(to, order),
                    Msg::Offer { hash, kind, bytes } => self.offered(hash, kind, bytes),
                    Msg::Chunk { hash, offset, bytes } => self.chunk(hash, offset, &bytes),
                    Msg::Missing { hash } => self.missing(hash),
                    _ => self.events.push_back(Event::Stop(Some(Problem::new(
                        "link.protocol",
                        "the parent sent a message that only a child may send",
                    )))),
                }
            }
            LinkEvent::Bye(problem) => self.events.push_back(Event::Stop(Some(problem))),
            LinkEvent::Hello(_) | LinkEvent::Silent(_) => {}
        }
    }

    fn route_down(&mut self, to: Vec<NodeRange>, order: Order) {
        let me = self.id.unwrap_or(NodeId::ROOT);
        let mut covered: Vec<NodeRange> = self.children.values().map(|child| child.range).collect();
        covered.push(NodeRange::one(me));
        covered.sort_by_key(|range| range.first);
        let lost = to.iter().flat_map(|range| uncovered(*range, &covered)).collect::<Vec<_>>();
        if !lost.is_empty() && !matches!(order, Order::Stop | Order::Cancel { .. }) {
            let problem = Problem::new(
                "route.unknown",
                format!("{me} has no link towards {} of the targets it was to pass an order to", lost.len()),
            );
            self.say(me, Report::DeadLetter { to: lost, problem });
        }
        let below: Vec<(NodeId, Vec<NodeRange>)> = self
            .children
            .iter()
            .map(|(id, child)| (*id, to.iter().filter_map(|range| range.intersect(&child.range)).collect()))
            .filter(|(_, part): &(_, Vec<_>)| !part.is_empty())
            .collect();
        for (child, part) in below {
            self.send_down(child, part, order.clone());
        }
        if to.iter().any(|range| range.contains(me)) {
            self.obey(order);
        }
    }

    pub(super) fn send_down(&mut self, child: NodeId, to: Vec<NodeRange>, order: Order) {
        let Some(entry) = self.children.get_mut(&child) else { return };
        let ready = entry.link.is_some() && entry.engine.is_some();
        if !ready || entry.eager {
            let room = entry.held.len() < HELD_ORDERS_MAX;
            if room {
                entry.held.push((to.clone(), order.clone()));
            }
            if !room || !ready {
                return self.held_full(child, to, room);
            }
        }
        for (hash, kind) in blobs_of(&order, entry.kind, entry.engine) {
            self.pass_on(child, hash, kind);
        }
        if let Some(link) = self.link_mut(super::Peer::Child(child)) {
            link.send(&Msg::Down { to, order });
        }
    }

    fn held_full(&mut self, child: NodeId, to: Vec<NodeRange>, room: bool) {
        if !room {
            let problem = Problem::new(
                "route.full",
                format!("{HELD_ORDERS_MAX} orders wait already for {child}, which is still being connected"),
            );
            self.say(child, Report::DeadLetter { to, problem });
        }
    }

    /// After a child's hello: what was kept for it and not sent yet.
    pub(super) fn send_held(&mut self, child: NodeId) {
        let held = self.children.get_mut(&child).map(|entry| core::mem::take(&mut entry.held));
        for (to, order) in held.unwrap_or_default() {
            self.send_down(child, to, order);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Run(run) => self.accept_run(run),
            Order::Cancel { run } => {
                self.waiting.retain(|waiting| waiting.ready.run != run);
                self.events.push_back(Event::Cancel(run));
            }
            Order::Dial(dial) => {
                if dial.targets.len() > DIAL_TARGETS_MAX {
                    return;
                }
                for target in &dial.targets {
                    self.expect(target.node, target.last, target.kind);
                }
                self.events.push_back(Event::Dial(dial));
            }
            Order::Signed { node, signature } => self.events.push_back(Event::Signed { node, signature }),
            Order::Stop => self.events.push_back(Event::Stop(None)),
        }
    }

    fn accept_run(&mut self, run: Run) {
        let (Some(me), Some(engine)) = (self.id, self.engine) else { return };
        let named = Envelope::decode(&run.envelope).map(|envelope| envelope.run);
        let envelope = match Envelope::open(&run.envelope, &run.signature, &self.controller, self.unix()) {
            Ok(envelope) => envelope,
            Err(problem) => {
                if let Ok(run) = named {
                    self.refuse(run, Status::Refused, problem);
                }
                return;
            }
        };
        let id = envelope.run;
        if self.running.contains_key(&id) || self.waiting.iter().any(|waiting| waiting.ready.run == id) {
            return;
        }
        if !envelope.targets.iter().any(|range| range.contains(me)) {
            let problem = Problem::new("envelope.target", "the signed order does not name this target");
            return self.refuse(id, Status::Refused, problem);
        }
        let (params, input) = match run.input {
            Input::Inline(bytes) => (Hash::of(&bytes), WaitingInput::Inline(bytes.into())),
            Input::Blob { hash, .. } => (hash, WaitingInput::Blob(hash)),
        };
        if params != envelope.params {
            let problem =
                Problem::new("envelope.params", "the parameters are not those that the controller signed");
            return self.refuse(id, Status::Refused, problem);
        }
        let Some(artifact) = envelope.artifact(engine).copied() else {
            return self.say(me, Report::NoArtifact { run: id, engine });
        };
        let mut needs = BTreeSet::from([(artifact.hash, BlobKind::Artifact)]);
        if let WaitingInput::Blob(hash) = &input {
            needs.insert((*hash, BlobKind::File));
        }
        if let Some(problem) = needs.iter().find_map(|(hash, _)| self.unstorable.get(hash)).cloned() {
            return self.refuse(id, Status::Failed, problem);
        }
        if self.waiting.len() >= WAITING_RUNS_MAX {
            let problem = Problem::new(
                "run.queue",
                format!("{WAITING_RUNS_MAX} runs wait already for their modules on this target"),
            );
            return self.refuse(id, Status::Failed, problem);
        }
        let absent: Vec<(Hash, BlobKind)> =
            needs.iter().copied().filter(|(hash, kind)| self.store.expected(*hash, *kind).is_none()).collect();
        for (hash, kind) in absent {
            self.ask_parent(hash, kind);
        }
        let deadline = self.now + FETCH_IDLE_MS;
        self.waiting.push(WaitingRun { ready: envelope, artifact: artifact.hash, input, needs, deadline });
        self.start_ready();
    }

    /// Ends a run before it began.
    pub(super) fn refuse(&mut self, run: RunId, status: Status, problem: Problem) {
        self.finish(run, Outcome::without_start(status, Some(problem)));
    }

    /// Starts the runs whose blobs are all here.
    pub(super) fn start_ready(&mut self) {
        let mut at = 0;
        while let Some(waiting) = self.waiting.get(at) {
            let code = self.store.get(waiting.artifact, BlobKind::Artifact);
            let input = match &waiting.input {
                WaitingInput::Inline(bytes) => Some(bytes.clone()),
                WaitingInput::Blob(hash) => self.store.get(*hash, BlobKind::File),
            };
            let (Some(code), Some(input)) = (code, input) else {
                at += 1;
                continue;
            };
            let waiting = self.waiting.remove(at);
            let held: Vec<Hash> = waiting.needs.iter().map(|(hash, _)| *hash).collect();
            held.iter().for_each(|hash| self.store.pin(*hash));
            self.running.insert(waiting.ready.run, held);
            self.events.push_back(Event::Run(Box::new(ReadyRun {
                envelope: waiting.ready,
                artifact: waiting.artifact,
                code,
                input,
            })));
        }
    }

    pub(super) fn fail_waiting(&mut self, hash: Hash, problem: &Problem) {
        let failed: Vec<RunId> = self
            .waiting
            .iter()
            .filter(|waiting| waiting.needs.iter().any(|(need, _)| *need == hash))
            .map(|waiting| waiting.ready.run)
            .collect();
        self.waiting.retain(|waiting| !failed.contains(&waiting.ready.run));
        for run in failed {
            self.refuse(run, Status::Failed, problem.clone());
        }
    }

    pub(super) fn expire_waiting(&mut self) {
        let now = self.now;
        let late: Vec<RunId> =
            self.waiting.iter().filter(|waiting| waiting.deadline <= now).map(|waiting| waiting.ready.run).collect();
        self.waiting.retain(|waiting| waiting.deadline > now);
        for run in late {
            let problem = Problem::new(
                "fetch.timeout",
                format!("the module did not arrive: not a byte for {} s", FETCH_IDLE_MS / 1000),
            );
            self.refuse(run, Status::Failed, problem);
        }
    }

    fn offered(&mut self, hash: Hash, kind: BlobKind, bytes: u64) {
        match self.store.begin(hash, kind, bytes) {
            Ok(gone) => {
                for hash in gone {
                    self.tell_parent(&Msg::Dropped { hash });
                }
                self.unstorable.remove(&hash);
                self.offer_to_wanting(hash, kind);
            }
            Err(problem) => {
                self.tell_parent(&Msg::Dropped { hash });
                self.fail_waiting(hash, &problem);
                if self.unstorable.len() < STORE_BLOBS_MAX {
                    self.unstorable.insert(hash, problem);
                }
            }
        }
    }

    fn chunk(&mut self, hash: Hash, offset: u64, bytes: &[u8]) {
        if self.unstorable.contains_key(&hash) {
            return;
        }
        match self.store.append(hash, offset, bytes) {
            Ok(Progress::More) => {
                let deadline = self.now + FETCH_IDLE_MS;
                for waiting in &mut self.waiting {
                    if waiting.needs.iter().any(|(need, _)| *need == hash) {
                        waiting.deadline = deadline;
                    }
                }
            }
            Ok(Progress::Complete) => {
                self.events.push_back(Event::Blob(hash));
                self.start_ready();
            }
            Err(problem) => {
                self.tell_parent(&Msg::Dropped { hash });
                self.fail_waiting(hash, &problem);
                if self.unstorable.len() < STORE_BLOBS_MAX {
                    self.unstorable.insert(hash, problem);
                }
                self.events.push_back(Event::Blob(hash));
            }
        }
    }
}

/// Which blobs must be on the way before that order makes sense to a child.
fn blobs_of(order: &Order, kind: StubKind, engine: Option<Engine>) -> Vec<(Hash, BlobKind)> {
    match order {
        Order::Run(run) => {
            let Ok(envelope) = Envelope::decode(&run.envelope) else { return Vec::new() };
            // What lives behind a hop is not known here: it gets every artifact of the run.
            let fits = |artifact: &crate::envelope::Artifact| {
                kind == StubKind::Hop || engine.is_none_or(|engine| engine == artifact.engine)
            };
            let artifacts = envelope.artifacts.iter().filter(|artifact| fits(artifact));
            let mut blobs: Vec<_> = artifacts.map(|artifact| (artifact.hash, BlobKind::Artifact)).collect();
            if let Input::Blob { hash, .. } = run.input {
                blobs.push((hash, BlobKind::File));
            }
            blobs
        }
        Order::Dial(dial) => dial.stubs.iter().map(|stub| (stub.hash, BlobKind::Stub)).collect(),
        _ => Vec::new(),
    }
}

/// The parts of `range` that none of `covered` (sorted by their first node) holds.
fn uncovered(range: NodeRange, covered: &[NodeRange]) -> Vec<NodeRange> {
    let mut gaps = Vec::new();
    let mut from = u64::from(range.first.0);
    let end = u64::from(range.last.0);
    for cover in covered {
        if u64::from(cover.first.0) > from && from <= end {
            let last = end.min(u64::from(cover.first.0) - 1);
            gaps.push(NodeRange::new(NodeId(from as u32), NodeId(last as u32)));
        }
        from = from.max(u64::from(cover.last.0) + 1);
    }
    if from <= end {
        gaps.push(NodeRange::new(NodeId(from as u32), range.last));
    }
    gaps
}
