//! A node's children and their links: expected, attached, joined, gone.

use super::{Charge, Event, Node, Origin, Peer};
use crate::id::{Hash, NodeId, NodeRange};
use crate::limits::*;
use crate::link::{Link, Role};
use crate::msg::*;
use crate::run::Problem;
use crate::{VERSION_MAX, VERSION_MIN};
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub(super) struct Child {
    pub(super) range: NodeRange,
    pub(super) link: Option<Link<Origin>>,
    /// Names the present link among all that this node made.
    pub(super) serial: u32,
    pub(super) kind: StubKind,
    /// Known from its hello, or assumed of a stub we chose ourselves.
    pub(super) engine: Option<Engine>,
    /// It said that it takes modules and no artifacts.
    pub(super) compiles: bool,
    /// Orders leave before its hello.
    eager: bool,
    /// Once assumptions failed, nothing is assumed again.
    redialled: bool,
    /// Orders from before its hello: not sent yet, or (when eager) sent but perhaps never read.
    pub(super) held: Vec<(Vec<NodeRange>, Arc<Order>)>,
    /// What was offered to it and not dropped by it.
    pub(super) have: BTreeSet<(Hash, BlobKind)>,
    /// What was offered to it and dropped by it.
    pub(super) dropped: BTreeSet<Hash>,
    /// Blobs that orders to it named, oldest first: only these may be asked for.
    pub(super) named: VecDeque<(Hash, BlobKind)>,
    /// Blobs it needs that are not here yet.
    pub(super) wanting: BTreeSet<(Hash, BlobKind)>,
    pub(super) transfers: VecDeque<Transfer>,
    /// Its control reports that wait for our parent, bytes of memory.
    pub(super) control_held: usize,
    pub(super) violations: u32,
}

pub(super) struct Transfer {
    pub(super) hash: Hash,
    pub(super) offset: u64,
    pub(super) total: u64,
    /// When it was last given bytes.
    pub(super) fed: u64,
    pub(super) plan: super::blobs::Plan,
}

impl Child {
    fn new(range: NodeRange, kind: StubKind) -> Child {
        Child {
            range,
            link: None,
            serial: 0,
            kind,
            engine: None,
            compiles: false,
            eager: false,
            redialled: false,
            held: Vec::new(),
            have: BTreeSet::new(),
            dropped: BTreeSet::new(),
            named: VecDeque::new(),
            wanting: BTreeSet::new(),
            transfers: VecDeque::new(),
            control_held: 0,
            violations: 0,
        }
    }

    pub(super) fn is_eager(&self) -> bool {
        self.eager
    }

    /// Whether its link is open and orders may go by it.
    pub(super) fn is_ready(&self) -> bool {
        self.link.is_some() && self.engine.is_some()
    }

    pub(super) fn name_blob(&mut self, hash: Hash, kind: BlobKind) {
        if self.named.contains(&(hash, kind)) {
            return;
        }
        if self.named.len() >= NAMED_BLOBS_MAX {
            self.named.pop_front();
        }
        self.named.push_back((hash, kind));
    }

    fn charge(&self, child: NodeId, bytes: u32) -> Charge {
        Charge { child, link: self.serial, bytes }
    }
}

impl Node {
    /// A child that is about to be dialled: orders for it are kept from now on.
    pub fn expect(&mut self, child: NodeId, last: NodeId, kind: StubKind) {
        self.children.entry(child).or_insert_with(|| Child::new(NodeRange::new(child, last), kind));
    }

    /// Whether a child to be dialled may have that range: below us, and no other child's.
    pub(super) fn check_range(&self, range: &NodeRange) -> Result<(), Problem> {
        let me = self.id.unwrap_or(NodeId::ROOT);
        let refused = |what: &str| {
            let message = format!("{me} was told to dial {} to {}, {what}", range.first, range.last);
            Err(Problem::new("dial.range", message))
        };
        if range.count() == 0 || range.first <= me || range.last > self.last {
            return refused("which are not below it");
        }
        let overlaps = |other: &Child| other.range != *range && other.range.intersect(range).is_some();
        if self.children.values().any(overlaps) {
            return refused("which are another child's");
        }
        Ok(())
    }

    /// The link of an expected child is open. `assumed`: what we know of it without its hello; then what is
    /// kept for it may leave at once, else after its hello.
    pub fn attach(
        &mut self,
        child: NodeId,
        name: String,
        controller: [u8; 32],
        assumed: Option<Engine>,
        now: u64,
    ) {
        self.now = now;
        let wide = self.is_root();
        self.clear_link(child);
        let Some(entry) = self.children.get_mut(&child) else { return };
        let mut link = Link::new(Role::Parent, now);
        link.send(&Msg::Welcome(Welcome {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            node: child,
            last: entry.range.last,
            name,
            controller,
        }));
        if wide {
            link.widen(WINDOW_WIDE_BYTES);
        }
        self.links_made = self.links_made.wrapping_add(1);
        entry.serial = self.links_made;
        entry.link = Some(link);
        entry.engine = assumed.filter(|_| !entry.redialled);
        entry.eager = entry.engine.is_some();
        if entry.eager {
            self.send_held(child);
        }
    }

    /// The preamble of an attached child came: its hello is due from now on.
    pub fn started(&mut self, child: NodeId, now: u64) {
        self.now = now;
        if let Some(link) = self.link_mut(Peer::Child(child)) {
            link.started(now);
        }
    }

    /// Whether a child has said hello on its present link.
    pub fn is_joined(&self, child: NodeId) -> bool {
        self.children.get(&child).and_then(|entry| entry.link.as_ref()).is_some_and(Link::is_greeted)
    }

    /// A child could not be reached (`lost` false), or its link ended.
    pub fn detach(&mut self, child: NodeId, lost: bool, problem: Problem, now: u64) {
        self.now = now;
        self.clear_link(child);
        let Some(entry) = self.children.get_mut(&child) else { return };
        if core::mem::take(&mut entry.eager) {
            // What was sent ahead of its hello may be lost; it is kept until the next link.
            entry.redialled = true;
            self.events.push_back(Event::Redial(child, problem));
        } else {
            self.children.remove(&child);
            self.say_last(child, Report::Gone { lost, problem });
        }
    }

    /// The same when what was assumed of it is not the reason, so that dialling again would not help.
    pub fn detach_for_good(&mut self, child: NodeId, lost: bool, problem: Problem, now: u64) {
        if let Some(entry) = self.children.get_mut(&child) {
            entry.eager = false;
        }
        self.detach(child, lost, problem, now);
    }

    /// Forgets everything that was true of a child's link. Its orders stay.
    fn clear_link(&mut self, child: NodeId) {
        let Some(entry) = self.children.get_mut(&child) else { return };
        entry.link = None;
        entry.engine = None;
        entry.have.clear();
        entry.dropped.clear();
        entry.wanting.clear();
        entry.named.clear();
        entry.control_held = 0;
        for transfer in core::mem::take(&mut entry.transfers) {
            self.store.unpin(transfer.hash);
        }
    }

    pub(super) fn joined(&mut self, child: NodeId, hello: Hello) {
        let Some(entry) = self.children.get_mut(&child) else { return };
        if core::mem::take(&mut entry.eager) {
            // All that is kept was sent by this very link. Should the engine be another than was assumed, the
            // child asks for its artifact itself.
            entry.held.clear();
        }
        entry.engine = Some(hello.engine);
        entry.compiles = hello.compiles;
        entry.kind = hello.kind;
        self.say(child, Report::Joined(Box::new(hello)));
        self.send_held(child);
    }

    /// Gives back the window that a report was held in.
    pub fn release(&mut self, charge: Charge) {
        let entry = self.children.get_mut(&charge.child).filter(|entry| entry.serial == charge.link);
        if let Some(link) = entry.and_then(|entry| entry.link.as_mut()) {
            link.consumed(charge.bytes);
        }
    }

    pub(super) fn charge(&self, child: NodeId, bytes: u32) -> Option<Charge> {
        self.children.get(&child).filter(|_| bytes > 0).map(|entry| entry.charge(child, bytes))
    }

    /// Notes a child's control report in the parent's queue. `None` when the child takes more than its share:
    /// half of what the others have left. So a flood ends the child's link and never ours, whatever the
    /// number of children that take part in it.
    pub(super) fn control_charge(&mut self, child: NodeId, bytes: usize) -> Option<Charge> {
        let queued = self.parent.as_ref().map_or(0, Link::control_queued);
        let entry = self.children.get_mut(&child)?;
        let bytes = bytes + QUEUED_OVERHEAD_BYTES;
        if entry.control_held + bytes > CONTROL_QUEUE_BYTES_MAX.saturating_sub(queued) / 2 {
            return None;
        }
        entry.control_held += bytes;
        Some(entry.charge(child, bytes as u32))
    }

    pub(super) fn control_left(&mut self, charge: Charge) {
        if let Some(entry) = self.children.get_mut(&charge.child)
            && entry.serial == charge.link
        {
            entry.control_held = entry.control_held.saturating_sub(charge.bytes as usize);
        }
    }

    /// The children, with their ranges; for whoever shows the tree.
    pub fn children(&self) -> impl Iterator<Item = (NodeId, NodeRange)> + '_ {
        self.children.iter().map(|(id, child)| (*id, child.range))
    }
}
