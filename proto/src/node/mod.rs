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
//! towards the parent, control reports of a child may take only a share of the parent's control queue, blobs
//! are in the store and bounded by its quota, orders for a child that is still being dialled are counted.
//!
//! Order of calls: `handle_*` for what happened, then [`Node::poll_event`] and [`Node::poll_transmit`]
//! until both are empty; [`Node::handle_timeout`] at or after [`Node::poll_timeout`].

mod blobs;
mod children;
mod down;
mod runs;
#[cfg(test)]
mod tests;
mod up;

use crate::envelope::Envelope;
use crate::frame::Lane;
use crate::id::{Hash, NodeId, RunId};
use crate::limits::*;
use crate::link::{Link, LinkEvent, Role};
use crate::msg::*;
use crate::run::Problem;
use crate::store::Store;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use children::Child;
use runs::{Nonce, Running, WaitingRun};

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
    /// Which of the child's links it came by: a later one owes us nothing for it.
    link: u32,
    bytes: u32,
}

/// On whose account a message waits in the parent's queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// Output of an execution here.
    Own,
    Child(Charge),
}

/// What the owner of a node must do, or wants to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Our parent took us in.
    Welcomed(Welcome),
    /// Everything for this run is here: execute it, then call [`Node::finish`].
    Run(Box<ReadyRun>),
    /// Stop this execution, then call [`Node::finish`].
    Cancel(RunId),
    /// Make these our children: [`Node::attach`] or [`Node::detach`] each.
    Dial(Dial),
    /// The controller's answer to our request for a signature.
    Signed { node: NodeId, signature: Result<Vec<u8>, Problem> },
    /// A blob that someone may wait for is whole, or is not to be had: the store knows which.
    Blob(Hash),
    /// At the root: what a node says.
    Report { from: NodeId, report: Report, charge: Option<Charge> },
    /// Close this link: it ended, or has to. Its node was already reported as gone.
    Close(NodeId),
    /// What was assumed of a child did not hold (or its link ended before its hello): close the link and
    /// dial again without assuming anything. Its orders are kept.
    Redial(NodeId, Problem),
    /// End everything. The parent may still be sent what is queued for it.
    Stop(Option<Problem>),
}

/// A run whose artifact and input are at hand and whose envelope was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadyRun {
    pub envelope: Envelope,
    /// Names `code`: an artifact, or on a node that compiles, the module.
    pub artifact: Hash,
    pub code: Arc<[u8]>,
    pub input: Arc<[u8]>,
    /// Code of the tasks that it may call (as `code`), and the files that it may read.
    pub blobs: BTreeMap<Hash, Arc<[u8]>>,
    /// Programs that run components. The envelope says which artifact is run by which.
    pub workers: BTreeMap<Hash, Arc<[u8]>>,
    /// blake3 of the envelope's bytes.
    pub order: Hash,
    /// The secrets that were sent for it, sealed to this node.
    pub secrets: Option<Vec<u8>>,
}

pub struct Node {
    id: Option<NodeId>,
    /// The last of our descendants.
    last: NodeId,
    engine: Option<Engine>,
    /// We take modules, not artifacts.
    compiles: bool,
    controller: [u8; 32],
    parent: Option<Link<Origin>>,
    /// Own output in the parent's bulk queue, bytes.
    own_queued: usize,
    children: BTreeMap<NodeId, Child>,
    /// Links to children so far; names each of them.
    links_made: u32,
    store: Store,
    /// Blobs we asked our parent for and have no answer yet: one question, whoever waits here.
    asked: BTreeSet<(Hash, BlobKind)>,
    waiting: Vec<WaitingRun>,
    running: BTreeMap<RunId, Running>,
    /// Secrets whose run did not start yet, oldest first.
    secrets: VecDeque<(RunId, Vec<u8>)>,
    /// The last runs that ended here: what a hop repeats is done once.
    ended: VecDeque<(RunId, Nonce)>,
    /// Blobs that were offered and could not be kept, and why.
    unstorable: BTreeMap<Hash, Problem>,
    /// Blobs that came as parts of others which are gone, and were asked for again.
    refetched: BTreeSet<Hash>,
    events: VecDeque<Event>,
    /// Unix time in seconds at millisecond 0 of the clock that `now` is read from.
    unix_at_zero: u64,
    now: u64,
}

impl Node {
    /// The controller.
    pub fn root(now: u64, unix: u64) -> Node {
        let last = NodeId(u32::MAX);
        Node { id: Some(NodeId::ROOT), last, ..Node::new(None, None, u64::MAX, now, unix) }
    }

    /// A stub; says hello to its parent at once.
    pub fn stub(hello: Hello, store_bytes: u64, now: u64, unix: u64) -> Node {
        let (engine, compiles) = (hello.engine, hello.compiles);
        let mut link = Link::new(Role::Child, now);
        link.send(&Msg::Hello(Box::new(hello)));
        link.widen(WINDOW_WIDE_BYTES);
        Node { compiles, ..Node::new(Some(engine), Some(link), store_bytes, now, unix) }
    }

    fn new(
        engine: Option<Engine>,
        parent: Option<Link<Origin>>,
        store_bytes: u64,
        now: u64,
        unix: u64,
    ) -> Node {
        Node {
            id: None,
            last: NodeId::ROOT,
            engine,
            compiles: false,
            controller: [0; 32],
            parent,
            own_queued: 0,
            children: BTreeMap::new(),
            links_made: 0,
            store: Store::new(store_bytes),
            asked: BTreeSet::new(),
            waiting: Vec::new(),
            running: BTreeMap::new(),
            secrets: VecDeque::new(),
            ended: VecDeque::new(),
            unstorable: BTreeMap::new(),
            refetched: BTreeSet::new(),
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
        self.unix_at_zero.saturating_add(self.now / 1000)
    }

    /// The controller's key, as our own parent told us: for our children.
    pub fn controller(&self) -> [u8; 32] {
        self.controller
    }

    /// The parent's link ended.
    pub fn parent_closed(&mut self, problem: Problem) {
        self.give_up(Peer::Parent, problem);
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
                Peer::Parent => self.hear_parent(event),
                Peer::Child(child) => self.hear_child(child, event),
            }
        }
        if let Err(problem) = outcome {
            self.give_up(peer, problem);
        }
    }

    /// Ends the link. A parent is told why; a child's owner is told to close.
    fn give_up(&mut self, peer: Peer, problem: Problem) {
        match peer {
            Peer::Parent => {
                if let Some(link) = self.parent.as_mut() {
                    link.end(problem.clone());
                }
                self.events.push_back(Event::Stop(Some(problem)));
            }
            Peer::Child(child) => {
                let lost = self.is_joined(child);
                let Some(entry) = self.children.get(&child) else { return };
                let redial = entry.is_eager();
                self.detach(child, lost, problem, self.now);
                if !redial {
                    self.events.push_back(Event::Close(child));
                }
            }
        }
    }

    fn link_mut(&mut self, peer: Peer) -> Option<&mut Link<Origin>> {
        match peer {
            Peer::Parent => self.parent.as_mut(),
            Peer::Child(child) => self.children.get_mut(&child)?.link.as_mut(),
        }
    }

    fn tell_parent(&mut self, msg: &Msg) {
        if let Some(link) = self.parent.as_mut() {
            link.send(msg);
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
                for message in sent {
                    match message.tag {
                        Some(Origin::Own) => {
                            self.own_queued = self.own_queued.saturating_sub(message.bytes as usize);
                        }
                        Some(Origin::Child(charge)) if message.lane == Lane::Bulk => self.release(charge),
                        Some(Origin::Child(charge)) => self.control_left(charge),
                        None => {}
                    }
                }
                any
            }
            Peer::Child(child) => {
                let Some(child) = self.children.get_mut(&child) else { return false };
                let Some(link) = child.link.as_mut() else { return false };
                if !link.wants_transmit() {
                    let known = (&child.have, &child.dropped);
                    blobs::fill(link, &mut child.transfers, known, &mut self.store, now);
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
        links.filter_map(Link::poll_timeout).chain(runs).min()
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

    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Bulk bytes that this node holds for others and itself, besides blobs.
    pub fn bulk_held(&self) -> usize {
        self.parent.as_ref().map_or(0, Link::bulk_queued)
    }

    /// Memory of the control messages that wait to leave, on all links.
    pub fn control_held(&self) -> usize {
        let links = self.parent.iter().chain(self.children.values().filter_map(|child| child.link.as_ref()));
        links.map(Link::control_queued).sum()
    }
}
