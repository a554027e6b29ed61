//! Connects a tree and asks every node in it for a sign of life: what `waft ping` and `waft tree` show.

use crate::controller::{Controller, Seen};
use crate::run::Finished;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};
use waft_proto::id::{NodeId, NodeRange};
use waft_proto::msg::{Hello, Order, Report};
use waft_proto::run::{Problem, Status};

/// A node that joined must answer within this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Everything must have joined, or failed to, by then.
const JOIN_DEADLINE: Duration = Duration::from_secs(600);

/// What became of one node.
#[derive(Clone, Debug)]
pub enum Found {
    Here { hello: Box<Hello>, rtt: Duration },
    Missing { status: Status, problem: Problem },
}

impl Found {
    pub fn status(&self) -> Status {
        match self {
            Found::Here { .. } => Status::Ok,
            Found::Missing { status, .. } => *status,
        }
    }
}

/// Every node of the shape, hops included.
pub async fn take(
    controller: &mut Controller,
    interrupt: impl Future<Output = ()>,
    mut found: impl FnMut(NodeId, &Found),
) -> (BTreeMap<NodeId, Found>, Finished) {
    let shape = controller.shape().clone();
    let started = Instant::now();
    let mut all: BTreeMap<NodeId, Found> = BTreeMap::new();
    let mut asked: BTreeMap<NodeId, (Instant, Box<Hello>)> = BTreeMap::new();
    tokio::pin!(interrupt);
    while all.len() < shape.nodes().len() {
        let answers = asked
            .iter()
            .filter(|(node, _)| !all.contains_key(node))
            .map(|(_, (at, _))| *at + ANSWER_DEADLINE);
        let deadline = answers.chain([started + JOIN_DEADLINE]).min().unwrap_or(started + JOIN_DEADLINE);
        let mut missing = Vec::new();
        tokio::select! {
            seen = controller.next() => match seen {
                Seen::Up(node, hello) => {
                    asked.insert(node, (Instant::now(), hello));
                    controller.order(vec![NodeRange::one(node)], Order::Ping { nonce: node.0 });
                }
                Seen::Report { node, report: Report::Pong { nonce }, .. } if nonce == node.0 => {
                    if let Some((at, hello)) = asked.get(&node) {
                        let here = Found::Here { hello: hello.clone(), rtt: at.elapsed() };
                        found(node, &here);
                        all.insert(node, here);
                    }
                }
                Seen::Report { charge: Some(charge), .. } => controller.release(charge),
                Seen::Gone { node, lost, problem } => {
                    let status = match lost {
                        true => Status::Lost,
                        false if problem.code == "node.key" => Status::Refused,
                        false => Status::Unreachable,
                    };
                    missing.push((node, status, problem));
                }
                Seen::Warning(problem) => tracing::warn!("{problem}"),
                _ => {}
            },
            () = &mut interrupt => {
                for node in shape.nodes() {
                    missing.push((node.id, Status::Cancelled, Problem::new("run.cancelled", "cancelled")));
                }
            }
            () = tokio::time::sleep_until(deadline.into()) => {
                let now = Instant::now();
                for node in shape.nodes().iter().filter(|node| !all.contains_key(&node.id)) {
                    let name = &node.endpoint.name;
                    match asked.get(&node.id) {
                        Some((at, _)) if *at + ANSWER_DEADLINE <= now => missing.push((
                            node.id,
                            Status::Lost,
                            Problem::new("ping.stuck", format!("{name} joined and then did not answer for {} s", ANSWER_DEADLINE.as_secs())),
                        )),
                        None if started + JOIN_DEADLINE <= now => missing.push((
                            node.id,
                            Status::Unreachable,
                            Problem::new("connect.stuck", format!("{name} is still being connected after {} s", JOIN_DEADLINE.as_secs())),
                        )),
                        _ => {}
                    }
                }
            }
        }
        for (top, status, problem) in missing {
            let Some(top) = shape.node(top) else { continue };
            for id in (top.id.0..=top.last.0).map(NodeId) {
                // What answered before it was cancelled has answered; what is missing is so once.
                match all.get(&id) {
                    Some(Found::Missing { .. }) => continue,
                    Some(Found::Here { .. }) if status == Status::Cancelled => continue,
                    _ => {}
                }
                let problem = if id == top.id {
                    problem.clone()
                } else {
                    Problem {
                        message: format!("its hop {}: {}", top.endpoint.name, problem.message),
                        ..problem.clone()
                    }
                };
                let gone = Found::Missing { status, problem };
                found(id, &gone);
                all.insert(id, gone);
            }
        }
    }
    let mut counts: BTreeMap<Status, u64> = BTreeMap::new();
    for node in shape.selected() {
        if let Some(found) = all.get(&node.id) {
            *counts.entry(found.status()).or_default() += 1;
        }
    }
    (all, Finished { counts })
}
