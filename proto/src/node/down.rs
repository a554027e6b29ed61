//! Orders, on their way from the root: for us, for our children, or for nobody.

use super::children::Child;
use super::{Event, Node, Peer};
use crate::envelope::Envelope;
use crate::frame::Lane;
use crate::id::{Hash, NodeId, NodeRange};
use crate::limits::*;
use crate::link::LinkEvent;
use crate::msg::*;
use crate::run::Problem;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

impl Node {
    /// At the root: sends an order on its way.
    pub fn order(&mut self, to: Vec<NodeRange>, order: Order, now: u64) {
        self.now = now;
        self.route_down(to, order);
    }

    pub(super) fn hear_parent(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Welcome(welcome) => {
                if welcome.node == NodeId::ROOT || welcome.last < welcome.node {
                    let problem =
                        Problem::new("link.protocol", "the parent gave this node an impossible number");
                    return self.give_up(Peer::Parent, problem);
                }
                self.id = Some(welcome.node);
                self.last = welcome.last;
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
                    Msg::Down { to, .. } => {
                        let message = format!(
                            "the parent sent an order to {} ranges, the most is {RANGES_MAX}",
                            to.len()
                        );
                        self.give_up(Peer::Parent, Problem::new("link.protocol", message));
                    }
                    Msg::Offer { hash, kind, bytes } => self.offered(hash, kind, bytes),
                    Msg::Chunk { hash, offset, bytes } => {
                        self.arrives(hash, |store| store.plain(hash, offset, &bytes));
                    }
                    Msg::Packed { hash, offset, size, dictionary, bytes } => {
                        self.arrives(hash, |store| store.unpack(hash, offset, size, dictionary, bytes));
                    }
                    Msg::Copy { hash, offset, from, at, bytes } => {
                        self.arrives(hash, |store| store.copy(hash, offset, from, at, bytes));
                    }
                    Msg::Missing { hash } => self.missing(hash),
                    _ => {
                        let message = "the parent sent a message that only a child may send";
                        self.give_up(Peer::Parent, Problem::new("link.protocol", message));
                    }
                }
            }
            LinkEvent::Bye(problem) => self.events.push_back(Event::Stop(Some(problem))),
            LinkEvent::Hello(_) | LinkEvent::Silent(_) => {}
        }
    }

    fn route_down(&mut self, to: Vec<NodeRange>, order: Order) {
        let me = self.id.unwrap_or(NodeId::ROOT);
        let to = merged(to);
        if !matches!(order, Order::Stop | Order::Cancel { .. }) {
            self.report_unknown(me, &to, &order);
        }
        let below: Vec<(NodeId, Vec<NodeRange>)> = self
            .children
            .iter()
            .map(|(id, child)| (*id, parts(&to, &child.range)))
            .filter(|(_, part)| !part.is_empty())
            .collect();
        let here = !parts(&to, &NodeRange::one(me)).is_empty();
        let order = Arc::new(order);
        for (child, part) in below {
            self.send_down(child, part, &order);
        }
        if here {
            self.obey(Arc::unwrap_or_clone(order));
        }
    }

    /// Says which of the addressees nobody here leads to.
    fn report_unknown(&mut self, me: NodeId, to: &[NodeRange], order: &Order) {
        let mut covered: Vec<NodeRange> = self.children.values().map(|child| child.range).collect();
        covered.push(NodeRange::one(me));
        let lost = uncovered(to, &merged(covered));
        if lost.is_empty() {
            return;
        }
        let count = lost.iter().fold(0_u64, |sum, range| sum.saturating_add(range.count()));
        let message = format!("{me} has no link towards {count} of the targets it was to pass an order to");
        self.dead_letter(concerned(lost, order), &Problem::new("route.unknown", message));
    }

    pub(super) fn send_down(&mut self, child: NodeId, to: Vec<NodeRange>, order: &Arc<Order>) {
        let Some(entry) = self.children.get_mut(&child) else { return };
        if !entry.is_ready() || entry.is_eager() {
            if entry.held.len() >= HELD_ORDERS_MAX {
                let message = format!(
                    "{HELD_ORDERS_MAX} orders wait already for {child}, which is still being connected"
                );
                return self.dead_letter(concerned(to, order), &Problem::new("route.full", message));
            }
            entry.held.push((to.clone(), order.clone()));
            if !entry.is_ready() {
                return;
            }
        }
        let blobs = blobs_of(order, entry);
        for (hash, kind) in blobs.named {
            entry.name_blob(hash, kind);
        }
        for (hash, kind) in blobs.offered {
            self.pass_on(child, hash, kind);
        }
        self.transmit_order(child, to, order);
    }

    /// Queues an order for a child, in as many messages as its addressees need.
    fn transmit_order(&mut self, child: NodeId, to: Vec<NodeRange>, order: &Arc<Order>) {
        let Some(link) = self.link_mut(Peer::Child(child)) else { return };
        let msg = Msg::Down { to, order: Order::clone(order) };
        let Err(too_long) = link.queue(Lane::Control, &msg, None) else { return };
        let Msg::Down { mut to, .. } = msg else { return };
        if to.len() > 1 {
            let rest = to.split_off(to.len() / 2);
            self.transmit_order(child, to, order);
            self.transmit_order(child, rest, order);
        } else {
            let bytes = too_long.0;
            let message =
                format!("an order for {child} takes {bytes} bytes, at most {BODY_BYTES_MAX} fit a frame");
            self.dead_letter(concerned(to, order), &Problem::new("route.size", message));
        }
    }

    /// What was kept for a child and may leave now.
    pub(super) fn send_held(&mut self, child: NodeId) {
        let held = self.children.get_mut(&child).map(|entry| core::mem::take(&mut entry.held));
        for (to, order) in held.unwrap_or_default() {
            self.send_down(child, to, &order);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Run(run) => self.accept_run(run),
            Order::Cancel { run } => self.cancel(run),
            Order::Dial(dial) => self.accept_dial(dial),
            Order::Signed { node, signature } => self.events.push_back(Event::Signed { node, signature }),
            Order::Ping { nonce } => {
                if let Some(me) = self.id {
                    self.say(me, Report::Pong { nonce });
                }
            }
            Order::Stop => self.events.push_back(Event::Stop(None)),
            Order::Secrets { run, sealed } => self.keep_secrets(run, sealed),
        }
    }

    fn accept_dial(&mut self, mut dial: Dial) {
        if dial.targets.len() > DIAL_TARGETS_MAX {
            let count = dial.targets.len();
            let message = format!("an order to dial {count} targets came, the most is {DIAL_TARGETS_MAX}");
            let targets = concerned(Vec::new(), &Order::Dial(dial));
            return self.dead_letter(targets, &Problem::new("dial.size", message));
        }
        dial.targets.retain(|target| {
            let range = NodeRange::new(target.node, target.last);
            // A child is dialled once: the outcome of the first order is on its way.
            if self.children.get(&target.node).is_some_and(|child| child.range == range) {
                return false;
            }
            if let Err(problem) = self.check_range(&range) {
                self.dead_letter(vec![range], &problem);
                return false;
            }
            self.expect(target.node, target.last, target.kind);
            true
        });
        if !dial.targets.is_empty() {
            self.events.push_back(Event::Dial(dial));
        }
    }
}

/// The nodes that miss something when an order to `to` is lost: those it would have made, or its addressees.
fn concerned(to: Vec<NodeRange>, order: &Order) -> Vec<NodeRange> {
    match order {
        Order::Dial(dial) => {
            dial.targets.iter().map(|target| NodeRange::new(target.node, target.last)).collect()
        }
        _ => to,
    }
}

/// Blobs that an order makes sense with.
#[derive(Default)]
struct OrderBlobs {
    /// What the child, and those behind it, may ask for.
    named: Vec<(Hash, BlobKind)>,
    /// What must be on its way before the order.
    offered: Vec<(Hash, BlobKind)>,
}

fn blobs_of(order: &Order, child: &Child) -> OrderBlobs {
    let mut blobs = OrderBlobs::default();
    match order {
        Order::Run(run) => {
            let Ok(envelope) = Envelope::decode(&run.envelope) else { return blobs };
            for task in envelope.tasks() {
                let module = (task.module, BlobKind::Task);
                blobs.named.push(module);
                if child.compiles {
                    blobs.offered.push(module);
                }
                for artifact in task.artifacts {
                    let code = (artifact.hash, BlobKind::Artifact);
                    let worker = artifact.worker.map(|hash| (hash, BlobKind::Worker));
                    let needed = [Some(code), worker].into_iter().flatten();
                    blobs.named.extend(needed.clone());
                    // What lives behind a hop is not known here: it gets every artifact of the run.
                    if child.kind == StubKind::Hop
                        || (!child.compiles && child.engine.is_none_or(|engine| engine == artifact.engine))
                    {
                        blobs.offered.extend(needed);
                    }
                }
            }
            let files = envelope.files.iter().map(|file| (file.hash, BlobKind::File));
            blobs.named.extend(files.clone());
            blobs.offered.extend(files);
            if let Input::Blob { hash, .. } = run.input {
                blobs.named.push((hash, BlobKind::File));
                blobs.offered.push((hash, BlobKind::File));
            }
        }
        Order::Dial(dial) => {
            blobs.named = dial.stubs.iter().map(|stub| (stub.hash, BlobKind::Stub)).collect();
            // The first of each kind is the likeliest; another is asked for.
            for kind in [StubKind::Leaf, StubKind::Hop] {
                let first = dial.stubs.iter().find(|stub| stub.kind == kind);
                blobs.offered.extend(first.map(|stub| (stub.hash, BlobKind::Stub)));
            }
        }
        _ => {}
    }
    blobs
}

/// The same nodes as sorted ranges with gaps between them. All that follows is linear in their number,
/// whatever a peer sent.
pub(super) fn merged(mut ranges: Vec<NodeRange>) -> Vec<NodeRange> {
    ranges.retain(|range| range.count() > 0);
    ranges.sort_unstable_by_key(|range| range.first);
    let mut merged: Vec<NodeRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(before) if range.first.0 <= before.last.0.saturating_add(1) => {
                before.last = before.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// The parts of merged ranges that lie in `within`.
pub(super) fn parts(ranges: &[NodeRange], within: &NodeRange) -> Vec<NodeRange> {
    let from = ranges.partition_point(|range| range.last < within.first);
    let near = ranges.iter().skip(from).take_while(|range| range.first <= within.last);
    near.filter_map(|range| range.intersect(within)).collect()
}

/// The parts of `ranges` that none of `covered` holds; both are merged.
pub(super) fn uncovered(ranges: &[NodeRange], covered: &[NodeRange]) -> Vec<NodeRange> {
    let mut gaps = Vec::new();
    for range in ranges {
        let mut from = u64::from(range.first.0);
        for cover in parts(covered, range) {
            if u64::from(cover.first.0) > from {
                gaps.push(NodeRange::new(NodeId(from as u32), NodeId(cover.first.0 - 1)));
            }
            from = u64::from(cover.last.0) + 1;
        }
        if from <= u64::from(range.last.0) {
            gaps.push(NodeRange::new(NodeId(from as u32), range.last));
        }
    }
    gaps
}
