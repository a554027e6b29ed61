//! Targets of a run whose machines boot again: when one begins to be waited for, and what its result is then.

use super::again::{Dialler, Group, Member, Word};
use super::back::{AfterReboot, Waited};
use super::books::Books;
use super::conduct::Running;
use crate::controller::Controller;
use crate::explain::way::before;
use crate::tree::{Shape, Target as Selected};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use waft_proto::id::NodeId;
use waft_proto::msg::Outcome;
use waft_proto::run::{Problem, Status};

/// A target that is being waited for.
pub(super) struct Waiting {
    /// Of its task; of an answer that was lost, why.
    outcome: Outcome,
    /// The boot from before.
    boot: Option<String>,
    /// The first node on the way to it, or itself: by it they are dialled together.
    top: NodeId,
}

/// For each hop that is a target itself, the targets behind it. Of hops that are behind each other only one lets the other
/// go first: in a circle each would wait for ever.
pub(super) fn behind(shape: &Shape) -> BTreeMap<NodeId, Vec<NodeId>> {
    let mut behind: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    let targets: BTreeMap<&str, NodeId> =
        shape.selected().map(|node| (node.endpoint.name.as_str(), node.id)).collect();
    for node in shape.selected() {
        for (hop, _) in before(shape, node) {
            if let Some(hop) = targets.get(hop.name.as_str())
                && !waits_for(&behind, node.id, *hop)
            {
                behind.entry(*hop).or_default().push(node.id);
            }
        }
    }
    behind
}

/// Whether a target lets the other one go first, itself or by those that it lets go first.
fn waits_for(behind: &BTreeMap<NodeId, Vec<NodeId>>, node: NodeId, other: NodeId) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![node]);
    while let Some(at) = open.pop() {
        if at == other {
            return true;
        }
        if seen.insert(at) {
            open.extend(behind.get(&at).into_iter().flatten());
        }
    }
    false
}

impl Running<'_> {
    /// Whether a target has to let others go first: their answers come through it, and it is about to go down.
    pub(super) fn is_before_others(&self, books: &Books<'_>, node: NodeId) -> bool {
        let is_open =
            |node: &NodeId| books.targets.get(node).is_some_and(|target| !target.done && !target.waiting);
        self.behind.get(&node).is_some_and(|behind| behind.iter().any(is_open))
    }

    /// The outcome of a task: its target's result, unless that machine now boots again.
    pub(super) fn ended(
        &mut self,
        controller: &Controller,
        books: &mut Books<'_>,
        node: NodeId,
        outcome: Outcome,
    ) {
        if self.waiting.contains_key(&node) {
            return;
        }
        let is_good = self.request.awaited().is_some() && outcome.status == Status::Ok;
        let answer = if is_good { books.answer(node) } else { None };
        match answer.as_ref().map_or(Ok(None), ordered) {
            Ok(None) => books.end(node, outcome),
            Ok(Some(boot)) => self.wait(controller, books, node, (outcome, Some(boot))),
            Err(lacks) => {
                let text =
                    format!("{} says that it reboots that machine, and not {lacks}", self.request.task);
                let problem = Problem::new("reboot.unknown", text)
                    .hint("that is a mistake in the task: docs/manifest.md, `returns`");
                books.end(node, Outcome { status: Status::Failed, problem: Some(problem), ..outcome });
            }
        }
    }

    /// A node is gone, and with it all that were behind it. Of those whose machines boot again that was to come. Where
    /// the task ran and its answer was lost, it may have been the reboot that came first.
    pub(super) fn gone(
        &mut self,
        controller: &Controller,
        books: &mut Books<'_>,
        node: NodeId,
        (lost, problem): (bool, &Problem),
    ) {
        let Some(top) = books.shape.node(node) else { return };
        let all: Vec<NodeId> = (top.id.0..=top.last.0).map(NodeId).collect();
        if lost && self.request.awaited().is_some() {
            for node in &all {
                let Some(target) = books.targets.get(node).filter(|target| !target.done && !target.waiting)
                else {
                    continue;
                };
                if target.running.is_some() {
                    let lost = Outcome::without_start(Status::Lost, Some(problem.clone()));
                    self.wait(controller, books, *node, (lost, None));
                }
            }
        }
        for node in &all {
            let group = self.waiting.get(node).and_then(|waiting| self.groups.get(&waiting.top));
            if let Some(group) = group {
                let _ = group.send(Word::Left(*node));
            }
        }
        books.gone(node, lost, problem);
    }

    fn wait(
        &mut self,
        controller: &Controller,
        books: &mut Books<'_>,
        node: NodeId,
        (outcome, boot): (Outcome, Option<String>),
    ) {
        if self.cancelled {
            return stopped(books, node, outcome, boot.is_some());
        }
        let Some(rules) = self.request.awaited().cloned() else { return };
        let (Some(way), Some(target)) = (way(&books.shape, node, &rules), books.targets.get_mut(&node))
        else {
            return;
        };
        target.waiting = true;
        let begun = target.running.unwrap_or_else(Instant::now);
        let member = Member::new((node, target.name.clone()), way, (boot.clone(), begun), &rules);
        let top = top(&books.shape, node);
        self.waiting.insert(node, Waiting { outcome, boot, top });
        let group = self.groups.entry(top).or_insert_with(|| {
            let (group, hear) = mpsc::unbounded_channel();
            let (redial, cache, request) = (controller.redial(), self.cache.clone(), self.request.dry());
            let dialler = Arc::new(Dialler { redial, cache, request, tell: self.tell.clone() });
            self.waits.spawn(Group { dialler, rules, hear, members: Vec::new() }.conduct());
            group
        });
        // It lasts as long as this run.
        let _ = group.send(Word::Wait(Box::new(member)));
    }

    /// The result of a target that was waited for.
    pub(super) fn waited(&mut self, books: &mut Books<'_>, node: NodeId, waited: Waited) {
        let Some(Waiting { outcome, boot, .. }) = self.waiting.remove(&node) else { return };
        books.complete(node, boot.as_deref(), &waited);
        let (status, problem) = match waited.bad {
            Some((status, problem)) => (status, Some(problem)),
            None => (Status::Ok, None),
        };
        books.end(node, Outcome { status, problem, ..outcome });
    }

    /// For those that are being waited for, at the end of the run.
    pub(super) fn wait_no_more(&mut self, books: &mut Books<'_>) {
        self.waits.abort_all();
        for (node, waiting) in std::mem::take(&mut self.waiting) {
            stopped(books, node, waiting.outcome, waiting.boot.is_some());
        }
    }
}

/// The end of a target that is not waited for because the run was cancelled.
fn stopped(books: &mut Books<'_>, node: NodeId, outcome: Outcome, is_ordered: bool) {
    let name = books.targets.get(&node).map(|target| target.name.clone()).unwrap_or_default();
    let text = match is_ordered {
        true => {
            format!("cancelled while {name} was waited for; its reboot was ordered, and is not taken back")
        }
        false => format!(
            "cancelled, and the link to {name} was lost while its task ran; its reboot may be ordered, and is not taken back"
        ),
    };
    let problem = Some(Problem::new("run.cancelled", text));
    books.end(node, Outcome { status: Status::Cancelled, problem, ..outcome });
}

/// The boot to be over, where a task says that it ordered a reboot; else what it does not say. The target's policy may have
/// made a dry run of it, unasked: then nothing was ordered.
fn ordered(answer: &Map<String, Value>) -> Result<Option<String>, &'static str> {
    if answer.get("changed") != Some(&Value::Bool(true)) {
        return Ok(None);
    }
    match answer.get("ordered").and_then(Value::as_bool) {
        None => Err("whether it has ordered that (`ordered`)"),
        Some(false) => Ok(None),
        Some(true) => match answer.get("boot_id").and_then(Value::as_str) {
            None => Err("which boot lasts now (`boot_id`)"),
            Some(boot) => Ok(Some(boot.to_owned())),
        },
    }
}

/// The way to a target, as it was.
fn way(shape: &Shape, node: NodeId, rules: &AfterReboot) -> Option<Selected> {
    let node = shape.node(node)?;
    let mut endpoint = node.endpoint.clone();
    if let Some(connect) = rules.connect {
        endpoint.connect_timeout_ms = Some(u64::try_from(connect.as_millis()).unwrap_or(u64::MAX));
    }
    let via = before(shape, node).into_iter().map(|(hop, _)| hop.clone()).collect();
    Some(Selected { endpoint, via, allow: node.allow.clone() })
}

fn top(shape: &Shape, node: NodeId) -> NodeId {
    let mut at = node;
    while let Some(parent) = shape.node(at).map(|node| node.parent).filter(|parent| *parent != NodeId::ROOT) {
        at = parent;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{self, Endpoint, ViaMode};
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn the_way_to_a_target_is_as_it_was() {
        let hop = |name, via_mode| Endpoint { via_mode, ..Endpoint::named(name) };
        let target = |name: &str, via: &[Endpoint]| Selected {
            endpoint: Endpoint::named(name),
            via: via.to_vec(),
            allow: vec!["facts".to_owned()],
        };
        let (a, b) = (hop("a", ViaMode::Relay), hop("b", ViaMode::Tunnel));
        let c = hop("c", ViaMode::Relay);
        let targets =
            [target("x", &[a.clone(), b, c.clone()]), target("y", &[c, a.clone()]), target("a", &[])];
        let shape = tree::shape(&targets).expect("a tree");
        let id = |name: &str| shape.selected().find(|node| node.endpoint.name == name).expect("a target").id;
        let rules = AfterReboot { connect: Some(Duration::from_secs(3)), ..AfterReboot::of(&Map::new()) };
        let x = way(&shape, id("x"), &rules).expect("a way");
        assert_eq!(
            (x.via.as_slice(), x.allow.as_slice()),
            (targets[0].via.as_slice(), &["facts".to_owned()][..])
        );
        assert_eq!(x.endpoint.connect_timeout_ms, Some(3000));
        let name = |node: NodeId| shape.node(node).map(|node| node.endpoint.name.as_str());
        let tops = ["x", "y", "a"].map(|target| name(top(&shape, id(target))));
        assert_eq!(tops, [Some("b"), Some("c"), Some("a")]);
    }

    #[test]
    fn only_a_reboot_that_was_ordered_is_waited_for() {
        let said = |answer: Value| answer.as_object().map(ordered).expect("an object");
        let boot = Ok(Some("b".to_owned()));
        assert_eq!(said(json!({"changed": true, "ordered": true, "boot_id": "b"})), boot);
        for none in [
            json!({"changed": true, "ordered": false, "boot_id": "b"}),
            json!({"changed": false, "ordered": true}),
            json!({}),
        ] {
            assert_eq!(said(none.clone()), Ok(None), "{none}");
        }
        for (lacks, answer) in [
            ("ordered", json!({"changed": true, "boot_id": "b"})),
            ("ordered", json!({"changed": true, "ordered": "yes", "boot_id": "b"})),
            ("boot_id", json!({"changed": true, "ordered": true, "boot_id": 1})),
        ] {
            let bad = said(answer.clone());
            assert!(bad.as_ref().is_err_and(|bad| bad.contains(&format!("`{lacks}`"))), "{answer}: {bad:?}");
        }
    }

    #[test]
    fn a_hop_waits_for_what_is_behind_it_however_that_is_reached() {
        let hop = |via_mode| Endpoint { via_mode, ..Endpoint::named("a") };
        let target = |name: &str, via: &[Endpoint]| Selected {
            endpoint: Endpoint::named(name),
            via: via.to_vec(),
            allow: Vec::new(),
        };
        for mode in [ViaMode::Relay, ViaMode::Tunnel] {
            let targets =
                [target("a", &[]), target("x", &[hop(mode)]), target("y", &[hop(mode)]), target("z", &[])];
            let shape = tree::shape(&targets).expect("a tree");
            let id =
                |name: &str| shape.selected().find(|node| node.endpoint.name == name).expect("a target").id;
            assert_eq!(behind(&shape), BTreeMap::from([(id("a"), vec![id("x"), id("y")])]), "{mode:?}");
        }
    }
    #[test]
    fn hops_that_are_behind_each_other_do_not_wait_for_each_other() {
        let hop = |name: &str| Endpoint { via_mode: ViaMode::Relay, ..Endpoint::named(name) };
        let target = |name: &str, via: &[&str]| Selected {
            endpoint: Endpoint::named(name),
            via: via.iter().map(|name| hop(name)).collect(),
            allow: Vec::new(),
        };
        for targets in [
            vec![target("a", &["x", "b"]), target("b", &["y", "a"])],
            vec![target("a", &["x", "b"]), target("b", &["y", "c"]), target("c", &["z", "a"])],
        ] {
            let shape = tree::shape(&targets).expect("a tree");
            let behind = behind(&shape);
            // One after the other may go.
            let mut open: BTreeSet<NodeId> = shape.selected().map(|node| node.id).collect();
            while !open.is_empty() {
                let waits = |node: &NodeId| {
                    behind.get(node).is_some_and(|them| them.iter().any(|it| open.contains(it)))
                };
                let free = open.iter().copied().find(|node| !waits(node));
                open.remove(&free.expect("one that waits for nobody"));
            }
            assert_eq!(behind.values().map(Vec::len).sum::<usize>(), targets.len() - 1, "{behind:?}");
        }
    }
}
