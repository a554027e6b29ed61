//! A node of the tree: the root, a hop or a leaf. Owns its links, its children and its blobs; decides what
//! goes where. Whoever owns a node moves bytes and does what its events say.
//!
//! ```text
//!      parent link        orders go down, split by range; blobs are kept and passed on
//!           |
//!         Node ---- events ----> dialling, executions (or, at the root, reports)
//!        /  |  \
//!     child links         reports go up; a child may speak for itself and its descendants only
//! ```
//!
//! Memory is bounded per link: reports in the bulk lane stay in a child's window until they have left
//! towards the parent, blobs are in the store and bounded by its quota, orders for a child that is still
//! being dialled are counted.
//!
//! Order of calls: `handle_*` for what happened, then [`Node::poll_event`] and [`Node::poll_transmit`]
//! until both are empty; [`Node::handle_timeout`] at or after [`Node::poll_timeout`].

mod blobs;
mod down;
#[cfg(test)]
mod tests;
mod up;

use crate::envelope::Envelope;
use crate::id::{Hash, NodeId, NodeRange, RunId};
use crate::limits::*;
use crate::link::{Link, LinkEvent, Role};
use crate::msg::*;
use crate::run::Problem;
use crate::store::Store;
use crate::{VERSION_MAX, VERSION_MIN};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One of a node's links.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Peer {
    Parent,
    Child(NodeId),
}

/// Bulk bytes of a child that the owner still holds; give it back with [`Node::release`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Charge {
    child: NodeId,
    bytes: u32,
}

/// What the owner of a node must do, or wants to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Our parent took us in.
    Welcomed(Welcome),
    /// Everything for this run is here: execute it, then call [`Node::finish`].
    Run(Box<ReadyRun>),
    Cancel(RunId),
    /// Make these our children: [`Node::attach`] or [`Node::detach`] each.
    Dial(Dial),
    /// The controller's answer to our request for a signature.
    Signed { node: NodeId, signature: Result<Vec<u8>, Problem> },
    /// A blob that someone may wait for is whole.
    Blob(Hash),
    /// At the root: what a node says.
    Report { from: NodeId, report: Report, charge: Option<Charge> },
    /// Close this link: it ended, or has to. Its node was already reported as gone.
    Close(NodeId),
    /// What was assumed of a child did not hold (or its link ended before its hello): close the link and
    /// dial again without assuming anything. Its orders are kept.
    Redial(NodeId, Problem),
    /// End everything.
    Stop(Option<Problem>),
}

/// A run whose artifact and input are at hand and whose envelope was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadyRun {
    pub envelope: Envelope,
    pub artifact: Hash,
    pub code: Arc<[u8]>,
    pub input: Arc<[u8]>,
}

struct Child {
    range: NodeRange,
    link: Option<Link>,
    kind: StubKind,
    /// Known from its hello, or assumed of a stub we chose ourselves.
    engine: Option<Engine>,
    have: BTreeSet<Hash>,
    /// Blobs it needs that are not here yet.
    wanting: BTreeSet<(Hash, BlobKind)>,
    transfers: VecDeque<Transfer>,
    /// Orders from before its hello: not sent yet, or (when `eager`) sent but perhaps never read.
    held: Vec<(Vec<NodeRange>, Order)>,
    eager: bool,
    violations: u32,
}

struct Transfer {
    hash: Hash,
    offset: u64,
    total: u64,
}

struct WaitingRun {
    ready: Envelope,
    artifact: Hash,
    input: WaitingInput,
    needs: BTreeSet<(Hash, BlobKind)>,
    deadline: u64,
}

enum WaitingInput {
    Inline(Arc<[u8]>),
    Blob(Hash),
}

pub struct Node {
    id: Option<NodeId>,
    engine: Option<Engine>,
    controller: [u8; 32],
    parent: Option<Link>,
    /// For each bulk message in the parent's queue: whose window it is in (ours when `None`).
    origins: VecDeque<Option<Charge>>,
    own_queued: usize,
    children: BTreeMap<NodeId, Child>,
    store: Store,
    waiting: Vec<WaitingRun>,
    running: BTreeMap<RunId, Vec<Hash>>,
    /// Blobs that were offered and could not be kept, and why.
    unstorable: BTreeMap<Hash, Problem>,
    events: VecDeque<Event>,
    /// Unix time in seconds at millisecond 0 of the clock that `now` is read from.
    unix_at_zero: u64,
    now: u64,
}

impl Node {
    /// The controller.
    pub fn root(now: u64, unix: u64) -> Node {
        Node::new(Some(NodeId::ROOT), None, None, u64::MAX, now, unix)
    }

    /// A stub; says hello to its parent at once.
    pub fn stub(hello: Hello, store_bytes: u64, now: u64, unix: u64) -> Node {
        let engine = hello.engine;
        let mut link = Link::new(Role::Child, now);
        link.send(&Msg::Hello(Box::new(hello)));
        link.widen(WINDOW_WIDE_BYTES);
        Node::new(None, Some(engine), Some(link), store_bytes, now, unix)
    }

    fn new(
        id: Option<NodeId>,
        engine: Option<Engine>,
        parent: Option<Link>,
        store_bytes: u64,
        now: u64,
        unix: u64,
    ) -> Node {
        Node {
            id,
            engine,
            controller: [0; 32],
            parent,
            origins: VecDeque::new(),
            own_queued: 0,
            children: BTreeMap::new(),
            store: Store::new(store_bytes),
            waiting: Vec::new(),
            running: BTreeMap::new(),
            unstorable: BTreeMap::new(),
            events: VecDeque::new(),
            unix_at_zero: unix.saturating_sub(now / 1000),
            now,
        }
    }

    pub fn id(&self) -> Option<NodeId> {
        self.id
    }

    fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    fn unix(&self) -> u64 {
        self.unix_at_zero + self.now / 1000
    }

    /// A child that is about to be dialled: orders for it are kept from now on.
    pub fn expect(&mut self, child: NodeId, last: NodeId, kind: StubKind) {
        self.children.entry(child).or_insert_with(|| Child {
            range: NodeRange::new(child, last),
            link: None,
            kind,
            engine: None,
            have: BTreeSet::new(),
            wanting: BTreeSet::new(),
            transfers: VecDeque::new(),
            held: Vec::new(),
            eager: false,
            violations: 0,
        });
    }

    /// The stub of an expected child runs and its link is open. `assumed`: what we know of it without its
    /// hello; then what is kept for it may leave at once, else after its hello.
    pub fn attach(&mut self, child: NodeId, name: String, controller: [u8; 32], assumed: Option<Engine>, now: u64) {
        self.now = now;
        let wide = self.is_root();
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
        entry.link = Some(link);
        entry.eager = assumed.is_some();
        entry.engine = assumed;
        if entry.eager {
            for (to, order) in core::mem::take(&mut entry.held) {
                self.send_down(child, to, order);
            }
        }
    }

    /// The controller's key, as our own parent told us: for our children.
    pub fn controller(&self) -> [u8; 32] {
        self.controller
    }

    /// A child could not be reached (`lost` false), or its link ended.
    pub fn detach(&mut self, child: NodeId, lost: bool, problem: Problem, now: u64) {
        self.now = now;
        if self.children.get(&child).is_some_and(|entry| entry.eager) {
            return self.redial(child, problem);
        }
        let Some(gone) = self.children.remove(&child) else { return };
        for transfer in gone.transfers {
            self.store.unpin(transfer.hash);
        }
        for origin in self.origins.iter_mut() {
            if origin.is_some_and(|charge| charge.child == child) {
                *origin = None;
            }
        }
        self.say(child, Report::Gone { lost, problem });
    }

    /// Back to a child that is being dialled: what was sent ahead of its hello may be lost.
    fn redial(&mut self, child: NodeId, problem: Problem) {
        let Some(entry) = self.children.get_mut(&child) else { return };
        entry.link = None;
        entry.eager = false;
        entry.engine = None;
        entry.have.clear();
        entry.wanting.clear();
        for transfer in core::mem::take(&mut entry.transfers) {
            self.store.unpin(transfer.hash);
        }
        self.events.push_back(Event::Redial(child, problem));
    }

    /// The parent's link ended.
    pub fn parent_closed(&mut self, problem: Problem) {
        self.events.push_back(Event::Stop(Some(problem)));
    }

    /// Bytes from a peer.
    pub fn handle_bytes(&mut self, peer: Peer, bytes: &[u8], now: u64) {
        self.now = now;
        let mut events = Vec::new();
        let Some(link) = self.link_mut(peer) else { return };
        let outcome = link.receive(bytes, now, &mut events);
        self.take_link_events(peer, events, outcome);
    }

    fn take_link_events(&mut self, peer: Peer, events: Vec<LinkEvent>, outcome: Result<(), Problem>) {
        for event in events {
            match peer {
                Peer::Parent => self.from_parent(event),
                Peer::Child(child) => self.from_child(child, event),
            }
        }
        if let Err(problem) = outcome {
            self.give_up(peer, problem);
        }
    }

    /// Tells the peer why, and ends the link.
    fn give_up(&mut self, peer: Peer, problem: Problem) {
        match peer {
            Peer::Parent => self.events.push_back(Event::Stop(Some(problem))),
            Peer::Child(child) => {
                let lost = self.children.get(&child).and_then(|c| c.link.as_ref()).is_some_and(Link::is_greeted);
                let redial = self.children.get(&child).is_some_and(|entry| entry.eager);
                self.detach(child, lost, problem, self.now);
                if !redial {
                    self.events.push_back(Event::Close(child));
                }
            }
        }
    }

    fn link_mut(&mut self, peer: Peer) -> Option<&mut Link> {
        match peer {
            Peer::Parent => self.parent.as_mut(),
            Peer::Child(child) => self.children.get_mut(&child)?.link.as_mut(),
        }
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Appends the next frame for that peer to `out`; false when there is nothing that may be sent now.
    pub fn poll_transmit(&mut self, peer: Peer, now: u64, out: &mut Vec<u8>) -> bool {
        self.now = now;
        let mut sent = Vec::new();
        match peer {
            Peer::Parent => {
                let Some(link) = self.parent.as_mut() else { return false };
                let any = link.poll_transmit(now, out, &mut sent);
                for bytes in sent {
                    match self.origins.pop_front().flatten() {
                        Some(charge) => self.release(charge),
                        None => self.own_queued = self.own_queued.saturating_sub(bytes as usize),
                    }
                }
                any
            }
            Peer::Child(child) => {
                let Some(child) = self.children.get_mut(&child) else { return false };
                let Some(link) = child.link.as_mut() else { return false };
                if !link.wants_transmit() {
                    blobs::fill(link, &mut child.transfers, &mut self.store);
                }
                link.poll_transmit(now, out, &mut sent)
            }
        }
    }

    /// The links that have something to send.
    pub fn ready_peers(&self) -> Vec<Peer> {
        let parent = self.parent.iter().filter(|link| link.wants_transmit()).map(|_| Peer::Parent);
        let children = self.children.iter().filter(|(_, child)| {
            child.link.as_ref().is_some_and(|link| {
                link.wants_transmit() || blobs::can_fill(link, &child.transfers, &self.store)
            })
        });
        parent.chain(children.map(|(id, _)| Peer::Child(*id))).collect()
    }

    /// When to call [`Node::handle_timeout`] next, at the latest.
    pub fn poll_timeout(&self) -> Option<u64> {
        let links = self.parent.iter().chain(self.children.values().filter_map(|child| child.link.as_ref()));
        let runs = self.waiting.iter().map(|run| run.deadline);
        links.map(Link::poll_timeout).chain(runs).min()
    }

    pub fn handle_timeout(&mut self, now: u64) {
        self.now = now;
        let mut peers: Vec<Peer> = self.children.keys().map(|child| Peer::Child(*child)).collect();
        peers.push(Peer::Parent);
        for peer in peers {
            let mut events = Vec::new();
            let Some(link) = self.link_mut(peer) else { continue };
            let outcome = link.handle_timeout(now, &mut events);
            self.take_link_events(peer, events, outcome);
        }
        self.expire_waiting();
    }

    /// Gives back the window that a report was held in.
    pub fn release(&mut self, charge: Charge) {
        if let Some(link) = self.link_mut(Peer::Child(charge.child)) {
            link.consumed(charge.bytes);
        }
    }

    /// Whether that child has said hello and is still here.
    pub fn is_joined(&self, child: NodeId) -> bool {
        self.children.get(&child).and_then(|entry| entry.link.as_ref()).is_some_and(Link::is_greeted)
    }

    /// The children, with their ranges; for whoever shows the tree.
    pub fn children(&self) -> impl Iterator<Item = (NodeId, NodeRange)> + '_ {
        self.children.iter().map(|(id, child)| (*id, child.range))
    }

    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Bulk bytes that this node holds for others and itself, besides blobs.
    pub fn bulk_held(&self) -> usize {
        self.parent.as_ref().map_or(0, Link::bulk_queued)
    }
}
