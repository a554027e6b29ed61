//! The ways to hosts: where each is, which hops are before it, and who of these could read or change what passes.
//!
//! Addresses and logins come from ssh's own configuration, by the same resolver that a run uses. Nothing is dialled.

use crate::controller::Resolver;
use crate::ssh::known_hosts::Strict;
use crate::ssh::settings::Settings;
use crate::tree::{Endpoint, Shape, ShapeNode, Transport};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::task::JoinSet;
use waft_proto::envelope::Wall;
use waft_proto::grant::GrantSet;
use waft_proto::id::NodeId;
use waft_proto::run::Problem;

/// Hosts that ssh's ProxyJump may lead through, as in the controller.
const JUMPS_MAX: usize = 8;

/// Where a machine is, as ssh would dial it. All `None` for this machine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
pub struct At {
    pub user: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
}

/// What a hop does for what passes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It runs a stub and logs in further, with signatures made here.
    Relay,
    /// The controller's own SSH session goes through it.
    Tunnel,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Mode::Relay => "relay",
            Mode::Tunnel => "tunnel",
        }
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Hop {
    pub name: String,
    #[serde(flatten)]
    pub at: At,
    pub mode: Mode,
}

/// How the stub comes to be there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
pub struct Stub {
    /// The program that is there already; `None`: it is pushed.
    pub installed: Option<String>,
    /// It has to show the node key that the inventory has.
    pub pinned: bool,
    /// The directory to use when it cannot run from memory.
    pub dir: Option<String>,
    pub no_disk: bool,
}

/// One selected host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    pub name: String,
    /// The problem: ssh cannot say how to reach it.
    pub at: Result<At, Problem>,
    /// Nearest to the controller first.
    pub way: Vec<Hop>,
    pub transport: Transport,
    pub stub: Stub,
    pub wall: Wall,
    /// Who can pass for a host on the way, because of how its host key is checked.
    pub unchecked: Option<Exposure>,
    /// What the inventory gives there.
    pub allow: GrantSet,
}

/// Hosts that differ in nothing but name and address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Group {
    pub targets: Vec<Located>,
    pub way: Vec<Hop>,
    /// `ssh`, `openssh` (the system's program) or `local`.
    pub transport: &'static str,
    pub stub: Stub,
    /// Which of the kernel's walls are raised there: `required`, `best` or `off`.
    pub wall: &'static str,
    /// Who between here and there could read or change what passes.
    pub exposed_to: Vec<Exposure>,
    /// In one sentence when that is nobody. Neither is said of hosts that cannot be reached.
    pub nobody: Option<String>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Located {
    pub name: String,
    #[serde(flatten)]
    pub at: At,
    /// Why the address is not known.
    pub problem: Option<String>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Exposure {
    pub who: String,
    pub what: String,
}

/// The hops before a node with what each does, nearest to the controller first.
pub fn before<'a>(shape: &'a Shape, node: &'a ShapeNode) -> Vec<(&'a Endpoint, Mode)> {
    let mut way: Vec<(&Endpoint, Mode)> = Vec::new();
    let mut at = Some(node);
    while let Some(here) = at {
        if here.id != node.id {
            way.push((&here.endpoint, Mode::Relay));
        }
        way.extend(here.tunnel.iter().rev().map(|hop| (hop, Mode::Tunnel)));
        at = shape.node(here.parent);
    }
    way.reverse();
    way
}

/// What is known of every selected host, without dialling it.
pub async fn hosts(shape: &Shape, resolver: &Arc<dyn Resolver>) -> Vec<Host> {
    let known = Known::ask(shape, resolver).await;
    let mut hosts = Vec::new();
    for node in shape.selected() {
        hosts.push(known.host(shape, node, resolver).await);
    }
    hosts
}

/// What ssh says of each machine of a shape, asked once.
struct Known(HashMap<String, Result<Settings, Problem>>);

impl Known {
    async fn ask(shape: &Shape, resolver: &Arc<dyn Resolver>) -> Known {
        let mut endpoints: BTreeMap<&str, &Endpoint> = BTreeMap::new();
        for node in shape.nodes() {
            let machines = std::iter::once(&node.endpoint).chain(&node.tunnel);
            endpoints.extend(machines.map(|endpoint| (endpoint.name.as_str(), endpoint)));
        }
        let mut questions = JoinSet::new();
        for endpoint in endpoints.into_values() {
            let (resolver, endpoint) = (resolver.clone(), endpoint.clone());
            questions.spawn(async move {
                let settings = resolver.resolve(&endpoint).await;
                (endpoint.name, settings)
            });
        }
        Known(questions.join_all().await.into_iter().collect())
    }

    fn settings(&self, endpoint: &Endpoint) -> Option<&Settings> {
        self.0.get(&endpoint.name)?.as_ref().ok()
    }

    async fn host(&self, shape: &Shape, node: &ShapeNode, resolver: &Arc<dyn Resolver>) -> Host {
        let endpoint = &node.endpoint;
        let hop = |(endpoint, mode): (&Endpoint, Mode)| Hop {
            name: endpoint.name.clone(),
            at: self.settings(endpoint).map(at).unwrap_or_default(),
            mode,
        };
        let mut way: Vec<Hop> = before(shape, node).into_iter().map(hop).collect();
        // The controller itself dials only the first node of the way; of that one ssh's own jumps count.
        let first = top(shape, node);
        let settings = self.settings(&first.endpoint);
        if first.tunnel.is_empty()
            && let Some(settings) = settings
        {
            let jumps = jumps(settings, resolver).await;
            way.splice(0..0, jumps);
        }
        let local = endpoint.transport == Transport::Local;
        let at = if local { Ok(At::default()) } else { self.place(shape, node) };
        let unchecked =
            settings.filter(|_| !local).and_then(|settings| believed(settings.strict)).map(|what| {
                let there = if first.id == node.id { "there" } else { first.endpoint.name.as_str() };
                let who = match way.iter().rfind(|hop| hop.mode == Mode::Tunnel) {
                    None => format!("the network between here and {there}"),
                    Some(hop) => format!("{}, and the network between it and {there}", hop.name),
                };
                Exposure { who, what: what.to_owned() }
            });
        Host {
            name: endpoint.name.clone(),
            at,
            way,
            transport: first.endpoint.transport,
            stub: Stub {
                installed: endpoint.installed.clone(),
                pinned: endpoint.is_pinned(),
                dir: endpoint.dir.clone(),
                no_disk: endpoint.no_disk,
            },
            wall: endpoint.wall,
            unchecked,
            // The inventory was read: its grants are grants.
            allow: GrantSet::parse_all(node.allow.iter().map(String::as_str)).unwrap_or_default(),
        }
    }

    /// Where a node is, or why a run would not reach it.
    fn place(&self, shape: &Shape, node: &ShapeNode) -> Result<At, Problem> {
        let unknown = || Err(Problem::new("explain.unknown", "nothing is known of it"));
        for (hop, _) in before(shape, node) {
            if let Some(Err(problem)) = self.0.get(&hop.name) {
                let message = format!("its hop {}: {}", hop.name, problem.message);
                return Err(Problem { message, ..problem.clone() });
            }
        }
        self.0
            .get(&node.endpoint.name)
            .map_or_else(unknown, |known| known.as_ref().map(at).map_err(Clone::clone))
    }
}

/// The node that the controller dials to reach this one.
fn top<'a>(shape: &'a Shape, node: &'a ShapeNode) -> &'a ShapeNode {
    let mut at = node;
    while at.parent != NodeId::ROOT
        && let Some(parent) = shape.node(at.parent)
    {
        at = parent;
    }
    at
}

/// As the controller goes them: the first of them may have jumps of its own.
async fn jumps(settings: &Settings, resolver: &Arc<dyn Resolver>) -> Vec<Hop> {
    let mut hops: Vec<Hop> = Vec::new();
    let mut next = settings.jump.clone();
    while !next.is_empty() && hops.len() <= JUMPS_MAX {
        let mut before = Vec::new();
        let mut further = Vec::new();
        for (number, endpoint) in next.iter().enumerate() {
            let settings = resolver.resolve(endpoint).await.ok();
            before.push(Hop {
                name: endpoint.name.clone(),
                at: settings.as_ref().map(at).unwrap_or_default(),
                mode: Mode::Tunnel,
            });
            if number == 0 {
                further = settings.map(|settings| settings.jump).unwrap_or_default();
            }
        }
        hops.splice(0..0, before);
        next = further;
    }
    hops
}

fn at(settings: &Settings) -> At {
    At { user: Some(settings.user.clone()), host: Some(settings.host.clone()), port: Some(settings.port) }
}

/// What hosts of one group have in common: way, transport, stub, wall, who can pass for one of them, and whether
/// there is a problem.
type Common = (Vec<Hop>, &'static str, Stub, Wall, Option<Exposure>, bool);

/// Sorted by name, and so are the hosts in each.
pub fn groups(mut hosts: Vec<Host>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<Common, usize> = BTreeMap::new();
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    for host in hosts {
        let transport = word(host.transport);
        let (at, problem) = match host.at {
            Ok(at) => (at, None),
            Err(problem) => (At::default(), Some(problem.message)),
        };
        let lost = problem.is_some();
        let target = Located { name: host.name, at, problem };
        let key = (host.way, transport, host.stub, host.wall, host.unchecked, lost);
        match places.get(&key).and_then(|place| groups.get_mut(*place)) {
            Some(group) => group.targets.push(target),
            None => {
                let (way, _, stub, wall, unchecked, _) = key.clone();
                let wall = wall.word();
                let exposed_to = if lost { Vec::new() } else { exposures(&way, unchecked) };
                let nobody = (!lost && exposed_to.is_empty()).then(|| nobody(&way, host.transport));
                places.insert(key, groups.len());
                groups.push(Group { targets: vec![target], way, transport, stub, wall, exposed_to, nobody });
            }
        }
    }
    groups
}

fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Ssh => "ssh",
        Transport::OpenSsh => "openssh",
        Transport::Local => "local",
    }
}

/// Whom a login takes for the host without anybody's word for the key; `None`: nobody.
fn believed(strict: Strict) -> Option<&'static str> {
    match strict {
        Strict::Yes | Strict::Ask => None,
        Strict::AcceptNew => Some(
            "while the host key is not known, whoever answers is believed (StrictHostKeyChecking accept-new), so another \
             machine can pass for that host the first time, and from then on",
        ),
        Strict::No => Some(
            "the host key is not checked (StrictHostKeyChecking no), so another machine can pass for that host",
        ),
    }
}

/// In the words of docs/threat-model.md.
fn exposures(way: &[Hop], unchecked: Option<Exposure>) -> Vec<Exposure> {
    let mut exposed: Vec<Exposure> = unchecked.into_iter().collect();
    for hop in way.iter().filter(|hop| hop.mode == Mode::Relay) {
        exposed.push(Exposure {
            who: hop.name.clone(),
            what: "a relay that dials a target holds that account: whoever controls it can read and change what it \
                   sends there, run anything as that user, and keep the session; it gains no key, no other host, no \
                   later login"
                .to_owned(),
        });
    }
    exposed
}

fn nobody(way: &[Hop], transport: Transport) -> String {
    match (way, transport) {
        (_, Transport::Local) => "nobody: it runs on this machine".to_owned(),
        ([], _) => "nobody: SSH goes end to end, from here to there".to_owned(),
        (way, _) => {
            let names: Vec<&str> = way.iter().map(|hop| hop.name.as_str()).collect();
            let (see, run) = if names.len() == 1 { ("sees", "runs") } else { ("see", "run") };
            format!(
                "nobody: SSH goes end to end through {}, which {see} ciphertext and {run} no stub for it",
                names.join(" and ")
            )
        }
    }
}
