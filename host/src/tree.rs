//! The shape of the tree, before anything is dialled: which targets, behind which hops, numbered. A value:
//! targets in, shape and *all* problems out.
//!
//! Nodes are numbered in preorder from 1 (the controller is 0), so that whatever is behind a hop is one
//! range of numbers and an order for all of it is a few bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use waft_proto::envelope::Wall;
use waft_proto::id::{NodeId, NodeRange};
use waft_proto::msg::StubKind;
use waft_proto::run::Problem;

/// How deep hops may nest. Beyond this it is a mistake, and each layer costs a login's round trips.
pub const DEPTH_MAX: usize = 16;
/// Targets of one command.
pub const TARGETS_MAX: usize = 100_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// russh, in this process or in the hop's.
    #[default]
    Ssh,
    /// The system's `ssh` as a child process.
    OpenSsh,
    /// A child process on this machine.
    Local,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ViaMode {
    /// The hop logs in, with signatures by the controller.
    #[default]
    Relay,
    /// The controller logs in through the hop, end to end.
    Tunnel,
}

/// How to reach one machine. What is `None` is left to ssh's own configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Endpoint {
    /// As the user calls it; unique among the targets.
    pub name: String,
    pub address: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub identities: Vec<PathBuf>,
    pub known_hosts: Vec<PathBuf>,
    pub transport: Transport,
    pub via_mode: ViaMode,
    pub installed: Option<String>,
    /// ed25519: what a stub that is installed there has to prove to have.
    pub node_key: Option<[u8; 32]>,
    pub dir: Option<String>,
    pub no_disk: bool,
    /// How much of the kernel's walls a task needs there.
    pub wall: Wall,
    pub connect_timeout_ms: Option<u64>,
}

impl Endpoint {
    pub fn named(name: &str) -> Endpoint {
        Endpoint { name: name.to_owned(), ..Endpoint::default() }
    }

    /// Whether only an installed stub whose key is known counts as this machine.
    pub fn is_pinned(&self) -> bool {
        self.installed.is_some() && self.node_key.is_some()
    }
}

/// A selected target and the hops before it, nearest to the controller first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    pub endpoint: Endpoint,
    pub via: Vec<Endpoint>,
    /// Grants the inventory gives on this target.
    pub allow: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShapeNode {
    pub id: NodeId,
    /// The last of its descendants (itself when it has none).
    pub last: NodeId,
    pub parent: NodeId,
    pub kind: StubKind,
    pub endpoint: Endpoint,
    /// Hosts that the controller tunnels through to reach it; empty for a relay's children.
    pub tunnel: Vec<Endpoint>,
    /// Whether it is a target of the command, and not only on the way to one.
    pub selected: bool,
    pub allow: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    /// Node `n` is at `n - 1`.
    nodes: Vec<ShapeNode>,
}

impl Shape {
    pub fn node(&self, id: NodeId) -> Option<&ShapeNode> {
        self.nodes.get(usize::try_from(id.0).ok()?.checked_sub(1)?)
    }

    pub fn nodes(&self) -> &[ShapeNode] {
        &self.nodes
    }

    pub fn children(&self, parent: NodeId) -> impl Iterator<Item = &ShapeNode> {
        self.nodes.iter().filter(move |node| node.parent == parent)
    }

    pub fn selected(&self) -> impl Iterator<Item = &ShapeNode> {
        self.nodes.iter().filter(|node| node.selected)
    }

    /// The names from the controller's child down to that node.
    pub fn path(&self, id: NodeId) -> Vec<&str> {
        let mut path = Vec::new();
        let mut at = self.node(id);
        while let Some(node) = at {
            path.push(node.endpoint.name.as_str());
            at = self.node(node.parent);
        }
        path.reverse();
        path
    }
}

/// Nodes as few ranges.
pub fn ranges(nodes: impl IntoIterator<Item = NodeId>) -> Vec<NodeRange> {
    let mut ranges: Vec<NodeRange> = Vec::new();
    for node in nodes {
        match ranges.last_mut() {
            Some(range) if range.last.0.checked_add(1) == Some(node.0) => range.last = node,
            _ => ranges.push(NodeRange::one(node)),
        }
    }
    ranges
}

/// A tree of names while it is being put together.
#[derive(Default)]
struct Branch {
    order: Vec<String>,
    children: BTreeMap<String, Twig>,
}

struct Twig {
    endpoint: Endpoint,
    tunnel: Vec<Endpoint>,
    selected: bool,
    allow: Vec<String>,
    below: Branch,
}

impl Branch {
    fn enter(&mut self, endpoint: &Endpoint, tunnel: Vec<Endpoint>) -> &mut Twig {
        if !self.children.contains_key(&endpoint.name) {
            self.order.push(endpoint.name.clone());
        }
        self.children.entry(endpoint.name.clone()).or_insert_with(|| Twig {
            endpoint: endpoint.clone(),
            tunnel,
            selected: false,
            allow: Vec::new(),
            below: Branch::default(),
        })
    }
}

/// Puts the targets and the hops before them into one tree. Hops that several targets share are one node.
pub fn shape(targets: &[Target]) -> Result<Shape, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut root = Branch::default();
    if targets.len() > TARGETS_MAX {
        let many =
            format!("{} targets are selected, at most {TARGETS_MAX} go into one command", targets.len());
        return Err(vec![Problem::new("tree.targets", many)]);
    }
    for target in targets {
        if let Err(problem) = add(&mut root, target) {
            problems.push(problem);
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut shape = Shape::default();
    number(&mut shape, root, NodeId::ROOT);
    Ok(shape)
}

fn add(root: &mut Branch, target: &Target) -> Result<(), Problem> {
    let name = &target.endpoint.name;
    if target.via.len() >= DEPTH_MAX {
        let deep =
            format!("{name} is behind {} hops, at most {} are supported", target.via.len(), DEPTH_MAX - 1);
        return Err(Problem::new("tree.depth", deep));
    }
    if target.via.iter().any(|hop| hop.name == *name) {
        return Err(Problem::new("tree.loop", format!("{name} is a hop on the way to itself"))
            .hint("look at its `via` and at that of its groups"));
    }
    if target.endpoint.transport == Transport::Local && !target.via.is_empty() {
        return Err(Problem::new("tree.local", format!("{name} is this machine and cannot be behind a hop")));
    }
    let mut branch = root;
    let mut tunnel = Vec::new();
    // A hop that must be passed end to end makes everything before it a tunnel too.
    let last_tunnelled = if target.endpoint.via_mode == ViaMode::Tunnel {
        target.via.len()
    } else {
        target.via.iter().rposition(|hop| hop.via_mode == ViaMode::Tunnel).unwrap_or(0)
    };
    for (at, hop) in target.via.iter().enumerate() {
        if at < last_tunnelled {
            tunnel.push(hop.clone());
            continue;
        }
        if hop.transport == Transport::Local {
            return Err(Problem::new(
                "tree.local",
                format!("{} is this machine and cannot be a hop", hop.name),
            ));
        }
        branch = &mut branch.enter(hop, std::mem::take(&mut tunnel)).below;
    }
    let twig = branch.enter(&target.endpoint, tunnel);
    twig.selected = true;
    twig.allow.clone_from(&target.allow);
    Ok(())
}

fn number(shape: &mut Shape, mut branch: Branch, parent: NodeId) {
    for name in branch.order {
        let Some(twig) = branch.children.remove(&name) else { continue };
        let at = shape.nodes.len();
        let id = NodeId(u32::try_from(at + 1).unwrap_or(u32::MAX));
        let kind = if twig.below.order.is_empty() { StubKind::Leaf } else { StubKind::Hop };
        shape.nodes.push(ShapeNode {
            id,
            last: id,
            parent,
            kind,
            endpoint: twig.endpoint,
            tunnel: twig.tunnel,
            selected: twig.selected,
            allow: twig.allow,
        });
        number(shape, twig.below, id);
        let last = NodeId(u32::try_from(shape.nodes.len()).unwrap_or(u32::MAX));
        if let Some(node) = shape.nodes.get_mut(at) {
            node.last = last;
        }
    }
}

#[cfg(test)]
mod tests;
