//! Dials that relays do by our order, with signatures made here.

use super::job::troubles;
use super::{Controller, Seen};
use crate::ssh::keys::Ring;
use crate::ssh::known_hosts;
use crate::ssh::settings::Settings;
use crate::ssh::signer::Order as SignOrder;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;
use waft_proto::id::{NodeId, NodeRange};
use waft_proto::limits::DIAL_TARGETS_MAX;
use waft_proto::msg::{Arch, Dial, DialTarget, Order, StubBlob, StubKind};
use waft_proto::run::Problem;

/// Logins that one relay may have under way by our order: a signature must be asked for within a minute.
const ORDERS_PER_RELAY_MAX: usize = 2 * DIAL_TARGETS_MAX;

pub(super) struct DialPart {
    target: DialTarget,
    identities: Vec<Vec<u8>>,
    connect_ms: u32,
}

impl Controller {
    pub(super) fn queue_behind_relay(&mut self, id: NodeId, ring: Arc<Ring>, settings: Settings) {
        let shape = self.shape.clone();
        let Some(node) = shape.node(id) else { return };
        if self.gone.contains(&node.parent) {
            return;
        }
        let name = &node.endpoint.name;
        let (known_name, known_port) = settings.known_name();
        let known = known_hosts::lookup(&settings.known_hosts, known_name, known_port);
        if known.keys.is_empty() && known.authorities.is_empty() {
            let behind = shape.path(node.parent).join(" > ");
            let problem = Problem::new(
                "ssh.host_key",
                format!("the host key of {name} is not known, and unknown keys are not accepted through a hop ({behind})"),
            )
            .hint("add its key to known_hosts, or set `via_mode = \"tunnel\"` for it: then you log in end to end");
            return self.left(id, false, problem);
        }
        let identities = ring.wires();
        if identities.is_empty() {
            let problem = Problem::new(
                "ssh.auth",
                format!(
                    "there is no key to log in to {name} with, and passwords never go through a hop{}",
                    troubles(&ring)
                ),
            )
            .hint("give a key with `--identity` or start an agent, or set `via_mode = \"tunnel\"` for it");
            return self.left(id, false, problem);
        }
        self.signing.insert(id, ring);
        let host = settings.known_as.clone().unwrap_or_else(|| settings.host.clone());
        let order = SignOrder {
            relay: node.parent,
            name: name.clone(),
            host: host.clone(),
            user: settings.user.clone(),
            known: known.clone(),
            identities: identities.clone(),
        };
        self.orders.give(id, order, Instant::now());
        let target = DialTarget {
            node: id,
            last: node.last,
            kind: node.kind,
            name: name.clone(),
            host: settings.host.clone(),
            port: settings.port,
            user: settings.user.clone(),
            host_keys: known.keys,
            host_cas: known.authorities,
            delivery: self.delivery(&node.endpoint, false),
        };
        let connect_ms = u32::try_from(settings.connect_timeout.as_millis()).unwrap_or(u32::MAX);
        let part = DialPart { target, identities, connect_ms };
        self.queued.entry(node.parent).or_default().0.push_back(part);
        self.send_dials(node.parent);
    }

    /// Orders a relay's next dials, as many as may be under way: those with the same keys in one message.
    pub(super) fn send_dials(&mut self, relay: NodeId) {
        // An order for a relay that its own parent does not know yet would be lost.
        if !self.is_routable(relay) {
            return;
        }
        // Wait for the siblings, so that one order holds them all.
        let shape = self.shape.clone();
        let Some((queue, under_way)) = self.queued.get_mut(&relay) else { return };
        let settled = shape
            .children(relay)
            .all(|node| self.gone.contains(&node.id) || self.signing.contains_key(&node.id));
        if !settled {
            return;
        }
        let stubs: Vec<StubBlob> = self.shelf.all().map(|stub| stub.blob.clone()).collect();
        let mut messages = Vec::new();
        while under_way.len() < ORDERS_PER_RELAY_MAX && !queue.is_empty() {
            let Some(first) = queue.front() else { break };
            let (identities, connect_ms) = (first.identities.clone(), first.connect_ms);
            let mut targets = Vec::new();
            while targets.len() < DIAL_TARGETS_MAX.min(ORDERS_PER_RELAY_MAX - under_way.len())
                && let Some(part) =
                    queue.pop_front_if(|part| part.identities == identities && part.connect_ms == connect_ms)
            {
                targets.push(part.target);
            }
            under_way.extend(targets.iter().map(|target| target.node));
            let kinds: Vec<StubKind> = targets.iter().map(|target| target.kind).collect();
            let arches: Vec<Arch> = targets
                .iter()
                .filter_map(|target| self.memory.recall(&target.name))
                .map(|remembered| remembered.arch)
                .collect();
            // The likeliest of each kind is first, and is sent along; the relay asks for another when it meets such
            // a machine.
            let mut stubs: Vec<StubBlob> =
                stubs.iter().filter(|stub| kinds.contains(&stub.kind)).cloned().collect();
            let likely = |arch| arches.iter().filter(|known| **known == arch).count();
            stubs.sort_by_key(|stub| Reverse((likely(stub.arch), Some(stub.arch) == Arch::here())));
            messages.push((
                targets.iter().map(|target| target.node).collect::<Vec<_>>(),
                Dial { targets, stubs, identities, connect_ms },
            ));
        }
        let now = Instant::now();
        for (nodes, dial) in messages {
            nodes.iter().for_each(|node| self.orders.restart(*node, now));
            self.ordered.extend(nodes.iter().copied());
            self.seen.push_back(Seen::Ordered);
            self.order(vec![NodeRange::one(relay)], Order::Dial(dial));
            // Those among them that are relays may now get orders of their own.
            nodes.iter().for_each(|node| self.send_dials(*node));
        }
        if !self.warned_shared {
            let shared = self.orders.shared_host_keys();
            if let Some((one, other)) = shared.first() {
                self.warned_shared = true;
                let more = if shared.len() > 1 {
                    format!(" (and {} more pairs)", shared.len() - 1)
                } else {
                    String::new()
                };
                self.seen.push_back(Seen::Warning(
                    Problem::new(
                        "ssh.shared_key",
                        format!("{one} and {other} have the same host key{more}: a hop could pass off one as the other"),
                    )
                    .hint("give each host a key of its own"),
                ));
            }
        }
    }

    /// A relay's dial came to an end, one way or the other: room for the next.
    pub(super) fn dial_done(&mut self, id: NodeId) {
        let Some(parent) = self.shape.node(id).map(|node| node.parent) else { return };
        if let Some((_, under_way)) = self.queued.get_mut(&parent) {
            under_way.remove(&id);
        }
        if parent != NodeId::ROOT {
            self.send_dials(parent);
        }
    }
}
