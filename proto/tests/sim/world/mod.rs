//! A tree of nodes joined by simulated links, with a virtual clock and seeded chance. It drives nodes as a
//! real owner does, and looks only at what a real owner sees, besides a tap on each link.
//!
//! Time is in milliseconds; nothing here waits.

mod parts;

pub(crate) use parts::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use waft_proto::envelope::{Artifact, Envelope, Wall};
use waft_proto::id::{Hash, NodeId, NodeRange, RunId};
use waft_proto::msg::*;
use waft_proto::node::{Event, Node, Peer};
use waft_proto::run::Status;

pub(crate) const UNIX: u64 = 1_800_000_000;
pub(crate) const ENGINE: Engine = Engine { arch: Arch::X86_64, profile: Profile::Fast };
/// More steps than any scenario needs: a world that never comes to rest is a bug.
const STEPS_MAX: u64 = 20_000_000;

struct Job {
    run: RunId,
    left: u64,
    /// Never ends by itself.
    endless: bool,
}

struct SimNode {
    node: Node,
    jobs: Vec<Job>,
    /// Executions that began here.
    started: Vec<RunId>,
    /// What executions read: the artifact's and the input's first bytes.
    inputs: Vec<Vec<u8>>,
    dialled: Vec<Dial>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Arrive(NodeId, Way, u64),
    Timer(NodeId),
    Cut(NodeId),
    Dialled(NodeId, NodeId),
}

/// What executions do.
#[derive(Clone, Copy, Default)]
pub(crate) struct Behaviour {
    pub(crate) output_bytes: u64,
    pub(crate) endless: bool,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) latency_ms: u64,
    pub(crate) behaviour: Behaviour,
    pub(crate) store_bytes: u64,
    /// Nodes whose dialling fails.
    pub(crate) unreachable: BTreeSet<NodeId>,
    /// Orders leave before a child's hello.
    pub(crate) eager: bool,
    nodes: BTreeMap<NodeId, SimNode>,
    links: BTreeMap<NodeId, SimLink>,
    pub(crate) parents: BTreeMap<NodeId, NodeId>,
    pub(crate) ranges: BTreeMap<NodeId, NodeRange>,
    due: BinaryHeap<Reverse<(u64, u64, Due)>>,
    sequence: u64,
    steps: u64,
    pub(crate) reports: Vec<(NodeId, Report)>,
    /// Output bytes that the root has read.
    pub(crate) output_bytes: u64,
    pub(crate) bulk_held_max: BTreeMap<NodeId, usize>,
    pub(crate) key: ed25519_dalek::SigningKey,
}

impl World {
    /// A tree with that many children per node on each level; numbered in preorder, nothing dialled yet.
    pub(crate) fn new(seed: u64, fan_out: &[u32]) -> World {
        let mut world = World {
            now: 0,
            chance: Chance::new(seed),
            latency_ms: 5,
            behaviour: Behaviour::default(),
            store_bytes: 64 * 1024 * 1024,
            unreachable: BTreeSet::new(),
            eager: false,
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            parents: BTreeMap::new(),
            ranges: BTreeMap::new(),
            due: BinaryHeap::new(),
            sequence: 0,
            steps: 0,
            reports: Vec::new(),
            output_bytes: 0,
            bulk_held_max: BTreeMap::new(),
            key: ed25519_dalek::SigningKey::from_bytes(&[3; 32]),
        };
        let last = world.number(NodeId::ROOT, fan_out);
        world.ranges.insert(NodeId::ROOT, NodeRange::new(NodeId::ROOT, last));
        world.add(NodeId::ROOT, Node::root(0, UNIX));
        world
    }

    fn number(&mut self, parent: NodeId, fan_out: &[u32]) -> NodeId {
        let mut last = parent;
        if let Some((children, rest)) = fan_out.split_first() {
            for _ in 0..*children {
                let node = NodeId(last.0 + 1);
                self.parents.insert(node, parent);
                last = self.number(node, rest);
                self.ranges.insert(node, NodeRange::new(node, last));
            }
        }
        last
    }

    pub(crate) fn all(&self) -> NodeRange {
        NodeRange::new(NodeId(1), self.ranges[&NodeId::ROOT].last)
    }

    pub(crate) fn children_of(&self, parent: NodeId) -> Vec<NodeId> {
        self.parents.iter().filter(|(_, of)| **of == parent).map(|(child, _)| *child).collect()
    }

    fn kind(&self, node: NodeId) -> StubKind {
        if self.ranges[&node].count() > 1 { StubKind::Hop } else { StubKind::Leaf }
    }

    fn add(&mut self, id: NodeId, node: Node) {
        let node =
            SimNode { node, jobs: Vec::new(), started: Vec::new(), inputs: Vec::new(), dialled: Vec::new() };
        self.nodes.insert(id, node);
    }

    pub(crate) fn root(&mut self) -> &mut Node {
        self.node(NodeId::ROOT)
    }

    pub(crate) fn node(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes.get_mut(&id).expect("a node of this world that lives").node
    }

    pub(crate) fn is_alive(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    pub(crate) fn has_link(&self, child: NodeId) -> bool {
        self.links.contains_key(&child)
    }

    pub(crate) fn seen(&self, child: NodeId) -> &Seen {
        &self.links[&child].seen
    }

    pub(crate) fn started(&self, id: NodeId) -> usize {
        self.nodes.get(&id).map_or(0, |node| node.started.len())
    }

    pub(crate) fn inputs(&self, id: NodeId) -> &[Vec<u8>] {
        &self.nodes[&id].inputs
    }

    pub(crate) fn slow_down(&mut self, child: NodeId, speed: u64) {
        self.links.get_mut(&child).expect("a link").speed = speed;
    }

    pub(crate) fn freeze(&mut self, child: NodeId, frozen: bool) {
        self.links.get_mut(&child).expect("a link").frozen = frozen;
        if !frozen {
            let parent = self.parents[&child];
            for (way, receiver) in [(Way::Down, child), (Way::Up, parent)] {
                let link = self.links.get_mut(&child).expect("a link");
                let serial = link.serial;
                for _ in 0..link.pipe(way).flying() {
                    self.at(self.now, Due::Arrive(child, way, serial));
                }
                self.settle(receiver);
            }
        }
    }

    fn at(&mut self, time: u64, due: Due) {
        self.sequence += 1;
        self.due.push(Reverse((time.max(self.now), self.sequence, due)));
    }

    pub(crate) fn cut_at(&mut self, time: u64, child: NodeId) {
        self.at(time, Due::Cut(child));
    }

    /// Makes the root's own children, and has every hop dial its own.
    pub(crate) fn dial_all(&mut self) {
        for child in self.children_of(NodeId::ROOT) {
            let (last, kind) = (self.ranges[&child].last, self.kind(child));
            self.root().expect(child, last, kind);
            self.at(self.now, Due::Dialled(NodeId::ROOT, child));
        }
        let hops: Vec<NodeId> = self.ranges.keys().copied().filter(|id| id.0 > 0).collect();
        for hop in hops {
            for targets in self.children_of(hop).chunks(32) {
                let targets = targets.iter().map(|target| self.dial_target(*target)).collect();
                let dial = Dial { targets, stubs: Vec::new(), identities: Vec::new(), connect_ms: 1000 };
                self.order(vec![NodeRange::one(hop)], Order::Dial(dial));
            }
        }
    }

    pub(crate) fn dial_target(&self, node: NodeId) -> DialTarget {
        DialTarget {
            node,
            last: self.ranges[&node].last,
            kind: self.kind(node),
            name: format!("host{}", node.0),
            host: format!("10.0.0.{}", node.0),
            port: 22,
            user: "op".into(),
            host_keys: Vec::new(),
            host_cas: Vec::new(),
            delivery: Delivery::default(),
        }
    }

    pub(crate) fn order(&mut self, to: Vec<NodeRange>, order: Order) {
        let now = self.now;
        self.root().order(to, order, now);
        self.settle(NodeId::ROOT);
    }

    pub(crate) fn envelope(&self, number: u8, module: &[u8], params: Hash) -> Envelope {
        Envelope {
            run: run_id(number),
            task: "sim".into(),
            targets: vec![self.all()],
            module: Hash::of(b"wasm"),
            artifacts: vec![Artifact {
                engine: ENGINE,
                hash: Hash::of(module),
                bytes: module.len() as u64,
                worker: None,
            }],
            params,
            grants: Vec::new(),
            check: false,
            timeout_ms: 1000,
            expires: UNIX + 3600,
            nonce: [number; 8],
            wall: Wall::Best,
            diff: false,
            task_signatures: Vec::new(),
            approval: None,
            callees: Vec::new(),
            files: Vec::new(),
            audit: None,
        }
    }

    /// Orders one module to run on these nodes, with its parameters inline.
    pub(crate) fn run(&mut self, number: u8, module: &[u8], to: Vec<NodeRange>) {
        let input = b"{}".to_vec();
        self.root().store().insert(BlobKind::Artifact, module.into());
        let envelope = self.envelope(number, module, Hash::of(&input));
        let (envelope, signature) = envelope.seal(&self.key).expect("an envelope of ordinary size");
        self.order(to, Order::Run(Run { envelope, signature, input: Input::Inline(input) }));
    }

    /// Lets everything happen that happens until `time`.
    pub(crate) fn run_until(&mut self, time: u64) {
        while let Some(Reverse((due, _, _))) = self.due.peek()
            && *due <= time
            && let Some(Reverse((due, _, what))) = self.due.pop()
        {
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "the world does not come to rest");
            self.now = due;
            self.step(what);
        }
        self.now = time;
    }

    /// Runs until a condition holds; false when it does not within `ms`.
    pub(crate) fn run_while(&mut self, ms: u64, mut busy: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + ms;
        while busy(self) {
            let Some(Reverse((due, _, _))) = self.due.peek() else { return false };
            if *due > end {
                return false;
            }
            let due = *due;
            self.run_until(due);
        }
        true
    }

    fn step(&mut self, what: Due) {
        match what {
            Due::Timer(id) => {
                let now = self.now;
                if let Some(entry) = self.nodes.get_mut(&id)
                    && entry.node.poll_timeout().is_some_and(|due| due <= now)
                {
                    entry.node.handle_timeout(now);
                    self.settle(id);
                }
            }
            Due::Cut(child) => self.cut(child),
            Due::Dialled(parent, child) => self.dialled(parent, child),
            Due::Arrive(child, way, serial) => self.arrive(child, way, serial),
        }
    }

    fn arrive(&mut self, child: NodeId, way: Way, serial: u64) {
        let Some(link) = self.links.get_mut(&child).filter(|link| link.serial == serial && !link.frozen)
        else {
            return;
        };
        let Some(bytes) = link.pipe(way).land() else { return };
        let parent = self.parents[&child];
        let (sender, receiver, peer) = match way {
            Way::Down => (parent, child, Peer::Parent),
            Way::Up => (child, parent, Peer::Child(child)),
        };
        // The bytes come in two portions, at any place.
        let middle = self.chance.below(bytes.len() as u64 + 1) as usize;
        let now = self.now;
        for portion in [&bytes[..middle], &bytes[middle..]] {
            if let Some(entry) = self.nodes.get_mut(&receiver)
                && !portion.is_empty()
            {
                entry.node.handle_bytes(peer, portion, now);
            }
        }
        self.settle(receiver);
        self.settle(sender);
    }

    fn dialled(&mut self, parent: NodeId, child: NodeId) {
        let now = self.now;
        if !self.is_alive(parent) {
            return;
        }
        if self.unreachable.contains(&child) {
            self.node(parent).detach(child, false, problem("ssh.connect"), now);
            return self.settle(parent);
        }
        let controller = match parent {
            NodeId::ROOT => self.key.verifying_key().to_bytes(),
            _ => self.node(parent).controller(),
        };
        let name = format!("host{}", child.0);
        let stub = Node::stub(hello(self.kind(child), &name), self.store_bytes, now, UNIX);
        self.sequence += 1;
        let link = SimLink::new(self.latency_ms, self.sequence);
        self.add(child, stub);
        self.links.insert(child, link);
        let assumed = self.eager.then_some(ENGINE);
        self.node(parent).attach(child, name, controller, assumed, now);
        self.node(parent).started(child, now);
        self.settle(child);
        self.settle(parent);
    }

    /// The link to that child breaks: both ends learn of it.
    pub(crate) fn cut(&mut self, child: NodeId) {
        if self.links.remove(&child).is_none() {
            return;
        }
        let (parent, now) = (self.parents[&child], self.now);
        if let Some(entry) = self.nodes.get_mut(&parent) {
            let lost = entry.node.is_joined(child);
            entry.node.detach(child, lost, problem("link.ended"), now);
            self.settle(parent);
        }
        if let Some(entry) = self.nodes.get_mut(&child) {
            entry.node.parent_closed(problem("link.ended"));
            self.settle(child);
        }
    }

    fn end(&mut self, id: NodeId) {
        if self.nodes.remove(&id).is_none() {
            return;
        }
        for child in self.children_of(id) {
            self.cut(child);
        }
        self.cut(id);
    }

    /// Does what a node's events say, moves its bytes, sets its timer.
    pub(crate) fn settle(&mut self, id: NodeId) {
        while let Some(entry) = self.nodes.get_mut(&id) {
            let Some(event) = entry.node.poll_event() else { break };
            self.obey(id, event);
        }
        self.work(id);
        self.transmit(id);
        let Some(entry) = self.nodes.get_mut(&id) else { return };
        let held = entry.node.bulk_held();
        let most = self.bulk_held_max.entry(id).or_default();
        *most = held.max(*most);
        if let Some(due) = entry.node.poll_timeout() {
            self.at(due, Due::Timer(id));
        }
    }

    fn obey(&mut self, id: NodeId, event: Event) {
        match event {
            Event::Report { from, report, charge } => {
                if let Report::Output { bytes, .. } = &report {
                    self.output_bytes += bytes.len() as u64;
                } else {
                    self.reports.push((from, report));
                }
                if let Some(charge) = charge {
                    self.root().release(charge);
                }
            }
            Event::Run(ready) => {
                let Behaviour { output_bytes, endless } = self.behaviour;
                let run = ready.envelope.run;
                let entry = self.nodes.get_mut(&id).expect("the node of this event");
                entry.started.push(run);
                entry.inputs.push(ready.input.to_vec());
                assert_eq!(Hash::of(&ready.code), ready.artifact);
                entry.jobs.push(Job { run, left: output_bytes, endless });
            }
            Event::Cancel(run) => {
                let entry = self.nodes.get_mut(&id).expect("the node of this event");
                entry.jobs.retain(|job| job.run != run);
                entry.node.finish(run, outcome(Status::Cancelled), Vec::new());
            }
            Event::Dial(dial) => {
                for target in &dial.targets {
                    let soon = self.now + self.chance.below(20);
                    self.at(soon, Due::Dialled(id, target.node));
                }
                self.nodes.get_mut(&id).expect("the node of this event").dialled.push(dial);
            }
            Event::Redial(child, _) => {
                self.links.remove(&child);
                self.nodes.remove(&child);
                self.at(self.now, Due::Dialled(id, child));
            }
            Event::Close(child) => self.cut(child),
            Event::Stop(_) => self.end(id),
            Event::Welcomed(_) | Event::Signed { .. } | Event::Blob(_) => {}
        }
    }

    /// Executions write while there is room, and end.
    fn work(&mut self, id: NodeId) {
        let Some(SimNode { node, jobs, .. }) = self.nodes.get_mut(&id) else { return };
        for job in jobs.iter_mut() {
            while job.left > 0 && node.has_output_room() {
                let bytes = job.left.min(32 * 1024);
                node.output(job.run, Stream::Stdout, vec![b'x'; bytes as usize]);
                job.left -= bytes;
            }
        }
        for job in jobs.iter().filter(|job| job.left == 0 && !job.endless) {
            node.finish(job.run, outcome(Status::Ok), Vec::new());
        }
        jobs.retain(|job| job.left > 0 || job.endless);
    }

    fn transmit(&mut self, id: NodeId) {
        let Some(entry) = self.nodes.get(&id) else { return };
        for peer in entry.node.ready_peers() {
            let (child, way) = match peer {
                Peer::Parent => (id, Way::Up),
                Peer::Child(child) => (child, Way::Down),
            };
            while let Some(link) = self.links.get_mut(&child)
                && link.pipe(way).has_room()
                && let Some(entry) = self.nodes.get_mut(&id)
            {
                let mut out = Vec::new();
                if !entry.node.poll_transmit(peer, self.now, &mut out) {
                    break;
                }
                let arrives = link.carry(way, out, self.now);
                let serial = link.serial;
                self.at(arrives, Due::Arrive(child, way, serial));
            }
        }
        // A frame that left may have made room for more output.
        let more = self
            .nodes
            .get(&id)
            .is_some_and(|entry| entry.jobs.iter().any(|job| job.left > 0) && entry.node.has_output_room());
        if more {
            self.at(self.now, Due::Timer(id));
            self.work(id);
        }
    }

    /// Statuses that the root learned for a run, per node.
    pub(crate) fn results(&self, number: u8) -> BTreeMap<NodeId, Vec<Status>> {
        let mut results: BTreeMap<NodeId, Vec<Status>> = BTreeMap::new();
        for (from, report) in &self.reports {
            if let Report::Result { run, outcome, .. } = report
                && *run == run_id(number)
            {
                results.entry(*from).or_default().push(outcome.status);
            }
        }
        results
    }

    pub(crate) fn gone(&self) -> Vec<(NodeId, bool)> {
        let gone = self.reports.iter().filter_map(|(from, report)| match report {
            Report::Gone { lost, .. } => Some((*from, *lost)),
            _ => None,
        });
        gone.collect()
    }

    pub(crate) fn joined(&self) -> usize {
        self.reports.iter().filter(|(_, report)| matches!(report, Report::Joined(_))).count()
    }

    /// Bytes straight into a node's link, as a hostile or broken peer would send them.
    pub(crate) fn inject(&mut self, to: NodeId, peer: Peer, bytes: &[u8]) {
        let now = self.now;
        self.node(to).handle_bytes(peer, bytes, now);
        self.settle(to);
    }
}
