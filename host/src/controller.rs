//! The root of a tree at work: dials its own children, orders hops to dial theirs, signs for them, keeps
//! the books of who is up. What runs on the tree is the business of [`crate::run`].
//!
//! ```text
//!  shape -> resolve (ssh -G) -> dial own children ----+
//!                            -> Dial orders for hops --+--> driver (node) --> Seen: up, gone, reports
//!                            <- requests to sign ------+
//! ```

mod job;
mod relay;

use crate::identity;
use crate::memory::Memory;
use crate::ssh::keys::{Ring, Rings};
use crate::ssh::settings::Settings;
use crate::ssh::signer::Orders;
use crate::stubs::Shelf;
use crate::tree::{Endpoint, Shape, ShapeNode};
use ed25519_dalek::SigningKey;
use job::{DialJob, places};
use relay::DialPart;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use waft_hop::dial::Dialled;
use waft_hop::driver::{Driver, unix_now};
use waft_hop::ssh::Gate;
use waft_hop::stream::Pending;
use waft_policy::site::key_text;
use waft_proto::id::{NodeId, NodeRange};
use waft_proto::limits::SHUTDOWN_MS;
use waft_proto::msg::{Arch, Delivery, Hello, Order, Report};
use waft_proto::node::{Charge, Event, Node, Peer};
use waft_proto::run::Problem;
use waft_proto::seal::{identity_text, is_signed};

/// Results of dials and resolutions that wait for the loop.
const DONE: usize = 64;

/// Resolves an endpoint to its settings; the command line and the tests have different ones.
pub trait Resolver: Send + Sync {
    fn resolve<'a>(&'a self, endpoint: &'a Endpoint) -> Pending<'a, Result<Settings, Problem>>;
}

/// What the owner of a controller learns.
#[derive(Debug)]
pub enum Seen {
    /// A node said hello.
    Up(NodeId, Box<Hello>),
    /// A node, and everything behind it, is out of reach (or, `lost`, no longer there).
    Gone { node: NodeId, lost: bool, problem: Problem },
    /// A peer fell silent, or is back.
    Silent(NodeId, bool),
    /// Something about a run. Give the charge back with [`Controller::release`] when it was dealt with.
    Report { node: NodeId, report: Report, charge: Option<Charge> },
    /// Orders did not reach these.
    Undelivered { to: Vec<NodeRange>, problem: Problem },
    /// A hop was told to dial more nodes: orders for them find their way now.
    Ordered,
    /// For the log: refused, but nothing failed by it.
    Warning(Problem),
}

enum Done {
    Resolved(NodeId, Result<Settings, Problem>),
    Dialled(NodeId, Result<Box<Dialled>, Problem>),
    Ring(NodeId, Arc<Ring>, Settings),
    Signed { relay: NodeId, node: NodeId, signature: Result<Vec<u8>, Problem> },
}

pub struct Controller {
    shape: Arc<Shape>,
    driver: Driver,
    key: SigningKey,
    resolver: Arc<dyn Resolver>,
    shelf: Arc<Shelf>,
    memory: Memory,
    rings: Arc<Rings>,
    gate: Arc<Gate>,
    orders: Orders,
    /// For each relay: what it is still to dial, and how many of its dials are under way.
    queued: BTreeMap<NodeId, (VecDeque<DialPart>, BTreeSet<NodeId>)>,
    signing: HashMap<NodeId, Arc<Ring>>,
    settings: HashMap<NodeId, Settings>,
    up: BTreeMap<NodeId, Hello>,
    gone: BTreeSet<NodeId>,
    /// Nodes behind hops that are named in a dial order which left.
    ordered: BTreeSet<NodeId>,
    tasks: JoinSet<()>,
    done: mpsc::Receiver<Done>,
    to_done: mpsc::Sender<Done>,
    seen: VecDeque<Seen>,
    warned_shared: bool,
}

/// What a controller is made of.
pub struct Setup {
    pub resolver: Arc<dyn Resolver>,
    pub shelf: Arc<Shelf>,
    pub memory: Memory,
    /// Signs the orders; one for this controller only when there is none.
    pub key: Option<SigningKey>,
}

/// What it takes to connect once more, with the keys that are open already.
#[derive(Clone)]
pub struct Redial {
    resolver: Arc<dyn Resolver>,
    shelf: Arc<Shelf>,
    key: SigningKey,
    rings: Arc<Rings>,
    gate: Arc<Gate>,
}

impl Redial {
    pub fn start(&self, shape: Arc<Shape>) -> Result<Controller, Problem> {
        let (resolver, shelf, key) = (self.resolver.clone(), self.shelf.clone(), Some(self.key.clone()));
        let setup = Setup { resolver, shelf, memory: Memory::none(), key };
        Controller::begin_all(shape, setup, self.rings.clone(), self.gate.clone())
    }
}

impl Controller {
    /// Begins to connect everything in the shape.
    pub fn start(shape: Arc<Shape>, setup: Setup) -> Result<Controller, Problem> {
        Controller::begin_all(shape, setup, Arc::default(), Arc::default())
    }

    fn begin_all(
        shape: Arc<Shape>,
        setup: Setup,
        rings: Arc<Rings>,
        gate: Arc<Gate>,
    ) -> Result<Controller, Problem> {
        let key = setup.key.map_or_else(identity::passing, Ok)?;
        let (to_done, done) = mpsc::channel(DONE);
        let mut controller = Controller {
            driver: Driver::new(Node::root(0, unix_now())),
            key,
            resolver: setup.resolver,
            shelf: setup.shelf,
            memory: setup.memory,
            rings,
            gate,
            orders: Orders::default(),
            queued: BTreeMap::new(),
            signing: HashMap::new(),
            settings: HashMap::new(),
            up: BTreeMap::new(),
            gone: BTreeSet::new(),
            ordered: BTreeSet::new(),
            tasks: JoinSet::new(),
            done,
            to_done,
            seen: VecDeque::new(),
            warned_shared: false,
            shape: shape.clone(),
        };
        for (bytes, kind) in controller.shelf.blobs() {
            controller.driver.node.store().insert(kind, bytes);
        }
        for node in shape.nodes() {
            if node.parent == NodeId::ROOT {
                controller.driver.node.expect(node.id, node.last, node.kind);
            }
            controller.begin(node);
        }
        Ok(controller)
    }

    pub fn redial(&self) -> Redial {
        Redial {
            resolver: self.resolver.clone(),
            shelf: self.shelf.clone(),
            key: self.key.clone(),
            rings: self.rings.clone(),
            gate: self.gate.clone(),
        }
    }

    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    pub fn node(&mut self) -> &mut Node {
        &mut self.driver.node
    }

    pub fn hello(&self, node: NodeId) -> Option<&Hello> {
        self.up.get(&node)
    }

    /// What a node is known, or remembered, or else taken to be.
    pub fn arch(&self, node: NodeId) -> Arch {
        let hello = self.up.get(&node).map(|hello| hello.engine.arch);
        let remembered = || {
            let endpoint = &self.shape.node(node)?.endpoint;
            self.memory.recall(&endpoint.name).map(|remembered| remembered.arch)
        };
        hello.or_else(remembered).or_else(Arch::here).unwrap_or(Arch::X86_64)
    }

    /// Sends an order to nodes, wherever they are.
    pub fn order(&mut self, to: Vec<NodeRange>, order: Order) {
        let now = self.driver.now();
        self.driver.node.order(to, order, now);
    }

    /// Whether it is not known yet, for some node behind a hop, if and how it will be dialled.
    pub fn is_settling(&self) -> bool {
        let open = |node: &ShapeNode| {
            node.parent != NodeId::ROOT && !self.signing.contains_key(&node.id) && !self.out_of_reach(node)
        };
        self.shape.nodes().iter().any(open)
    }

    fn out_of_reach(&self, node: &ShapeNode) -> bool {
        let mut at = Some(node);
        while let Some(node) = at {
            if self.gone.contains(&node.id) {
                return true;
            }
            at = self.shape.node(node.parent);
        }
        false
    }

    /// Whether an order for that node finds its way: every hop before it knows which child to give it to.
    pub fn is_routable(&self, node: NodeId) -> bool {
        let mut at = self.shape.node(node);
        while let Some(node) = at {
            if node.parent != NodeId::ROOT && !self.ordered.contains(&node.id) {
                return false;
            }
            at = self.shape.node(node.parent);
        }
        true
    }

    /// Whether a node is what the inventory demands of it, as far as that is known. Before, nothing is sent to it.
    pub fn is_proven(&self, node: NodeId) -> bool {
        let pinned = self.shape.node(node).is_some_and(|node| node.endpoint.node_key.is_some());
        !pinned || self.up.contains_key(&node)
    }

    /// A node whose key is pinned shows it, and that what is sealed for it reaches nobody else.
    fn check_node_key(&self, id: NodeId, hello: &Hello) -> Result<(), Problem> {
        let Some(node) = self.shape.node(id) else { return Ok(()) };
        let Some(pinned) = node.endpoint.node_key else { return Ok(()) };
        let name = &node.endpoint.name;
        let wanted = key_text(&pinned);
        let wrong = |why: String| {
            Problem::new("node.key", why).hint(format!(
                "on {name}, `waft-stub --node-key` prints its key; if that is another now, and rightly so, change \
                 `node_key` in the inventory"
            ))
        };
        match &hello.identity {
            None => Err(wrong(format!("{name} showed no key, and the inventory wants {wanted}"))),
            Some(identity) if identity.key != pinned => Err(wrong(format!(
                "{name} showed the key {}, and the inventory wants {wanted}",
                key_text(&identity.key)
            ))),
            Some(identity) if !is_signed(&pinned, &identity_text(&hello.seal_key), &identity.signature) => {
                Err(wrong(format!("{name} showed the key {wanted} without having it")))
            }
            Some(_) => Ok(()),
        }
    }

    pub fn release(&mut self, charge: Charge) {
        self.driver.node.release(charge);
    }

    /// Bytes of frames on the links of the root: up (sent) and down (received).
    pub fn bytes(&self) -> (u64, u64) {
        let links =
            self.shape.children(NodeId::ROOT).map(|node| self.driver.link_bytes(Peer::Child(node.id)));
        links.fold((0, 0), |sum, link| (sum.0 + link.0, sum.1 + link.1))
    }

    fn begin(&mut self, node: &ShapeNode) {
        let (id, endpoint) = (node.id, node.endpoint.clone());
        let (resolver, done) = (self.resolver.clone(), self.to_done.clone());
        self.tasks.spawn(async move {
            let settings = resolver.resolve(&endpoint).await;
            let _ = done.send(Done::Resolved(id, settings)).await;
        });
    }

    /// The next thing worth knowing. Safe to drop while it waits.
    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.seen.pop_front() {
                return seen;
            }
            tokio::select! {
                event = self.driver.next() => self.event(event),
                Some(done) = self.done.recv() => self.take(done),
            }
        }
    }

    fn take(&mut self, done: Done) {
        while self.tasks.try_join_next().is_some() {}
        match done {
            Done::Resolved(id, Ok(settings)) => self.resolved(id, settings),
            Done::Resolved(id, Err(problem)) => self.fail(id, problem),
            Done::Ring(id, ring, settings) => self.queue_behind_relay(id, ring, settings),
            Done::Dialled(id, Err(problem)) => self.fail(id, problem),
            Done::Dialled(id, Ok(dialled)) => {
                let Some(node) = self.shape.node(id) else { return };
                let name = node.endpoint.name.clone();
                let now = self.driver.now();
                let key = self.key.verifying_key().to_bytes();
                self.driver.node.attach(id, name.clone(), key, dialled.assumed, now);
                self.driver.connect_child(id, name, *dialled);
            }
            Done::Signed { relay, node, signature } => {
                self.order(vec![NodeRange::one(relay)], Order::Signed { node, signature });
            }
        }
    }

    /// A node that cannot be dialled, by whomever it was to be.
    fn fail(&mut self, id: NodeId, problem: Problem) {
        if self.shape.node(id).is_some_and(|node| node.parent == NodeId::ROOT) {
            let now = self.driver.now();
            self.driver.node.detach(id, false, problem, now);
        } else {
            self.left(id, false, problem);
        }
    }

    fn left(&mut self, id: NodeId, lost: bool, mut problem: Problem) {
        // What is wrong with a link is said by one of its ends, which does not know the other's name.
        if let Some(node) = self.shape.node(id)
            && problem.code.starts_with("link.")
            && !problem.message.contains(&node.endpoint.name)
        {
            problem.message = format!("the link to {} broke: {}", node.endpoint.name, problem.message);
        }
        self.up.remove(&id);
        if self.gone.insert(id) {
            self.seen.push_back(Seen::Gone { node: id, lost, problem });
        }
        self.dial_done(id);
    }

    fn resolved(&mut self, id: NodeId, settings: Settings) {
        let shape = self.shape.clone();
        let Some(node) = shape.node(id) else { return };
        self.settings.insert(id, settings.clone());
        if node.parent == NodeId::ROOT {
            return self.dial(node, settings, true);
        }
        // Behind a relay: which keys to offer is a question to files and agents here.
        let places = places(&settings);
        let (rings, done) = (self.rings.clone(), self.to_done.clone());
        self.tasks.spawn(async move {
            let ring = rings.get(&places).await;
            let _ = done.send(Done::Ring(id, ring, settings)).await;
        });
    }

    fn delivery(&self, endpoint: &Endpoint, remember: bool) -> Delivery {
        Delivery {
            no_disk: endpoint.no_disk,
            dir: endpoint.dir.clone(),
            installed: endpoint.installed.clone(),
            remembered: if remember { self.memory.recall(&endpoint.name) } else { None },
        }
    }

    /// Dials one of our own children.
    fn dial(&mut self, node: &ShapeNode, settings: Settings, remember: bool) {
        let job = DialJob {
            name: node.endpoint.name.clone(),
            kind: node.kind,
            transport: node.endpoint.transport,
            delivery: self.delivery(&node.endpoint, remember),
            tunnel: node.tunnel.clone(),
            settings,
            resolver: self.resolver.clone(),
            rings: self.rings.clone(),
            gate: self.gate.clone(),
            shelf: self.shelf.clone(),
        };
        let (id, done) = (node.id, self.to_done.clone());
        self.tasks.spawn(async move {
            let dialled = job.run().await.map(Box::new);
            let _ = done.send(Done::Dialled(id, dialled)).await;
        });
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Report { from, report, charge } => self.report(from, report, charge),
            Event::Redial(child, problem) => {
                tracing::debug!(%child, %problem, "dialling again without assumptions");
                let shape = self.shape.clone();
                if let Some(node) = shape.node(child) {
                    self.memory.forget(&node.endpoint.name);
                    if let Some(settings) = self.settings.get(&child).cloned() {
                        self.dial(node, settings, false);
                    }
                }
            }
            // The root's node executes nothing and obeys nobody.
            _ => {}
        }
    }

    fn report(&mut self, from: NodeId, report: Report, charge: Option<Charge>) {
        match report {
            Report::Joined(hello) => {
                if let Err(problem) = self.check_node_key(from, &hello) {
                    self.order(vec![NodeRange::one(from)], Order::Stop);
                    return self.left(from, false, problem);
                }
                self.orders.relay_joined(from, Instant::now());
                if self.up.insert(from, (*hello).clone()).is_none() {
                    self.dial_done(from);
                }
                self.seen.push_back(Seen::Up(from, hello));
            }
            Report::Gone { lost, problem } => self.left(from, lost, problem),
            Report::Silent(silent) => self.seen.push_back(Seen::Silent(from, silent)),
            Report::Learned(remembered) => {
                if let Some(node) = self.shape.node(from) {
                    self.memory.learn(&node.endpoint.name, remembered);
                }
            }
            Report::Sign(request) => {
                let node = request.node;
                let verdict = self.orders.check(from, &request, Instant::now());
                let ring = self.signing.get(&node).cloned();
                let done = self.to_done.clone();
                match (verdict, ring) {
                    (Ok(to_sign), Some(ring)) => {
                        self.tasks.spawn(async move {
                            let signature = ring.sign(&to_sign.identity, &to_sign.bytes).await;
                            let _ = done.send(Done::Signed { relay: from, node, signature }).await;
                        });
                    }
                    (Err(problem), _) => {
                        self.seen.push_back(Seen::Warning(problem.clone()));
                        self.order(
                            vec![NodeRange::one(from)],
                            Order::Signed { node, signature: Err(problem) },
                        );
                    }
                    (Ok(_), None) => {}
                }
            }
            Report::DeadLetter { to, problem } => self.seen.push_back(Seen::Undelivered { to, problem }),
            Report::Violation { problem, .. } => self.seen.push_back(Seen::Warning(problem)),
            report => self.seen.push_back(Seen::Report { node: from, report, charge }),
        }
    }

    /// Tells everything to stop and waits for it, within the deadline. Returns the nodes next to us that
    /// did not end in time.
    pub async fn stop(mut self) -> Vec<String> {
        self.memory.save();
        self.tasks.abort_all();
        let all = NodeRange::new(NodeId(1), NodeId(u32::MAX));
        self.order(vec![all], Order::Stop);
        let wait = async {
            while self.shape.children(NodeId::ROOT).any(|node| self.up.contains_key(&node.id)) {
                let event = self.driver.next().await;
                self.event(event);
                // Nobody reads it any more.
                self.seen.clear();
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(SHUTDOWN_MS), wait).await;
        let stuck = self.shape.children(NodeId::ROOT).filter(|node| self.up.contains_key(&node.id));
        stuck.map(|node| node.endpoint.name.clone()).collect()
    }
}
