//! A run under way: what is seen of its targets, and what ends those whose time is over.

use super::again::{Told, Word};
use super::books::{Books, Target};
use super::waiting::Waiting;
use super::{Request, until};
use crate::compile::Cache;
use crate::controller::{Controller, Seen};
use crate::event::Body;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use waft_proto::envelope::Artifact;
use waft_proto::id::{Hash, NodeId, NodeRange, RunId};
use waft_proto::limits::SHUTDOWN_MS;
use waft_proto::msg::{self, Engine, Order, Report};
use waft_proto::run::{Problem, Status, TargetState};

/// A result may come this much after the running time is over; then the target is stuck.
const RESULT_GRACE: Duration = Duration::from_secs(20);
/// A target that has not joined by then is stuck in something that should have ended by itself.
const JOIN_DEADLINE: Duration = Duration::from_secs(600);

/// The bytes of each artifact, in the order of [`Running::compiled`].
pub(super) type Compiled = Vec<Result<Vec<u8>, Problem>>;

pub(super) struct Running<'a> {
    pub(super) id: RunId,
    pub(super) module: Hash,
    pub(super) request: &'a Request,
    pub(super) cache: Cache,
    /// Of the task, then of those that it may call.
    pub(super) compiled: BTreeMap<Engine, Vec<Result<Artifact, Problem>>>,
    pub(super) compiling: JoinSet<(Engine, Compiled)>,
    /// Targets that wait for an artifact.
    pub(super) wanted: BTreeMap<Engine, Vec<NodeId>>,
    pub(super) retried: BTreeSet<NodeId>,
    /// Targets whose order can be sent as soon as the hops before them know of them.
    pub(super) ready: Vec<NodeId>,
    /// Of a task that reboots, for each target the others that it has to let go first.
    pub(super) behind: BTreeMap<NodeId, Vec<NodeId>>,
    /// When those of them got their order.
    pub(super) let_go: BTreeMap<NodeId, Instant>,
    pub(super) waiting: BTreeMap<NodeId, Waiting>,
    /// From then on nobody begins to be waited for.
    pub(super) cancelled: bool,
    /// Those who wait, by the first node on their way.
    pub(super) groups: BTreeMap<NodeId, mpsc::UnboundedSender<Word>>,
    pub(super) waits: JoinSet<()>,
    /// What they say.
    pub(super) told: mpsc::UnboundedReceiver<(NodeId, Told)>,
    pub(super) tell: mpsc::UnboundedSender<(NodeId, Told)>,
}

impl Running<'_> {
    pub(super) async fn conduct(
        &mut self,
        controller: &mut Controller,
        books: &mut Books<'_>,
        interrupt: impl Future<Output = ()>,
    ) {
        tokio::pin!(interrupt);
        // Set once the run was cancelled: when patience ends.
        let mut patience: Option<Instant> = None;
        while books.open > 0 {
            let wake = patience.or_else(|| self.next_deadline(books));
            tokio::select! {
                seen = controller.next() => self.take(controller, books, seen),
                Some((node, told)) = self.told.recv() => match told {
                    Told::Say(body) => books.tell(node, body),
                    Told::Over(waited) => self.waited(books, node, waited),
                },
                Some(compiled) = self.compiling.join_next(), if !self.compiling.is_empty() => {
                    if let Ok((engine, artifacts)) = compiled {
                        self.artifacts(controller, books, engine, artifacts);
                    }
                }
                () = &mut interrupt, if patience.is_none() => {
                    patience = Some(self.cancel(controller, books));
                }
                () = until(wake) => match patience {
                    Some(_) => {
                        for node in books.open_nodes() {
                            let name = books.targets.get(&node).map(|target| target.name.clone()).unwrap_or_default();
                            let problem = Problem::new("run.cancelled", format!("cancelled; {name} did not confirm within {} s", SHUTDOWN_MS / 1000));
                            books.end_with(node, Status::Cancelled, problem);
                        }
                    }
                    None => self.overdue(books),
                },
            }
            self.start_ready(controller, books);
            if books.broken.is_some() && patience.is_none() {
                patience = Some(self.cancel(controller, books));
            }
        }
    }

    fn take(&mut self, controller: &mut Controller, books: &mut Books<'_>, seen: Seen) {
        match seen {
            Seen::Up(node, hello) => {
                if let Some(target) = books.targets.get_mut(&node) {
                    target.joined = true;
                    target.policy = hello.policy;
                }
            }
            Seen::Gone { node, lost, problem } => self.gone(controller, books, node, (lost, &problem)),
            Seen::Undelivered { to, problem } => {
                let shape = books.shape.clone();
                for node in shape.selected().filter(|node| to.iter().any(|range| range.contains(node.id))) {
                    // Orders for a machine that boots again are not missed.
                    if self.waiting.contains_key(&node.id) {
                        continue;
                    }
                    books.end_with(node.id, Status::Unreachable, problem.clone());
                }
            }
            // Of a machine that boots again that is no surprise.
            Seen::Silent(node, _) if self.waiting.contains_key(&node) => {}
            Seen::Silent(node, silent) => {
                let name = books.shape.path(node).join(" > ");
                let now = if silent { "does not answer" } else { "answers again" };
                books.emit(None, Body::Note(Problem::new("link.silent", format!("{name} {now}"))));
            }
            Seen::Ordered => {}
            Seen::Warning(problem) => books.emit(None, Body::Note(problem)),
            Seen::Report { node, report, charge } => {
                let size = msg::Msg::Up { from: node, report: report.clone() }.encode().len() as u64;
                if let Some(target) = books.targets.get_mut(&node) {
                    target.bytes.down += size;
                }
                match report {
                    Report::State { run, state } if run == self.id => books.state(node, state),
                    Report::Output { run, stream, bytes } if run == self.id => {
                        books.output(node, stream, bytes);
                    }
                    Report::Result { run, outcome, proof } if run == self.id => {
                        let outcome = books.proven(node, run, *outcome, &proof);
                        self.ended(controller, books, node, outcome);
                    }
                    Report::NoArtifact { run, engine } if run == self.id => {
                        self.other_engine(controller, books, node, engine);
                    }
                    // Of a run before this one.
                    _ => {}
                }
                // The report was written by now: the sender may go on.
                if let Some(charge) = charge {
                    controller.release(charge);
                }
            }
        }
    }

    /// A target is another machine than was assumed: compile for it, once.
    fn other_engine(
        &mut self,
        controller: &mut Controller,
        books: &mut Books<'_>,
        node: NodeId,
        engine: Engine,
    ) {
        if !self.retried.insert(node) {
            let problem = Problem::new(
                "engine.unknown",
                format!("the target refuses modules for {} as well", engine.arch.word()),
            );
            return books.end_with(node, Status::Failed, problem);
        }
        if self.compiled.contains_key(&engine) {
            if self.is_compiled(books, engine, node) {
                self.start(controller, books, &[node]);
            }
        } else {
            self.want(engine, node);
        }
    }

    fn cancel(&mut self, controller: &mut Controller, books: &mut Books<'_>) -> Instant {
        self.cancelled = true;
        self.compiling.abort_all();
        self.wait_no_more(books);
        let all = NodeRange::new(NodeId(1), NodeId(u32::MAX));
        controller.order(vec![all], Order::Cancel { run: self.id });
        for node in books.open_nodes() {
            // Whoever has not begun does not begin.
            let begun = books
                .targets
                .get(&node)
                .is_some_and(|target| target.joined && target.state >= TargetState::Ready);
            if !begun {
                let problem = Problem::new("run.cancelled", "cancelled before it began");
                books.end_with(node, Status::Cancelled, problem);
            }
        }
        Instant::now() + Duration::from_millis(SHUTDOWN_MS)
    }

    /// None: nothing is expected of it, because it is waited for, or lets others go first.
    fn deadline(&self, (node, target): (&NodeId, &Target), started: Instant) -> Option<Instant> {
        match target.running {
            _ if target.done || target.waiting => None,
            Some(since) => Some(since + self.request.timeout + RESULT_GRACE),
            None if !target.joined => Some(started + JOIN_DEADLINE),
            None if self.behind.contains_key(node) => {
                self.let_go.get(node).map(|let_go| *let_go + JOIN_DEADLINE * 2)
            }
            None => Some(started + JOIN_DEADLINE * 2),
        }
    }

    fn next_deadline(&self, books: &Books<'_>) -> Option<Instant> {
        books.targets.iter().filter_map(|target| self.deadline(target, books.started)).min()
    }

    /// Ends the targets whose time is over, saying what each is stuck in.
    fn overdue(&self, books: &mut Books<'_>) {
        let now = Instant::now();
        let late: Vec<NodeId> = books
            .targets
            .iter()
            .filter(|target| self.deadline(*target, books.started).is_some_and(|deadline| deadline <= now))
            .map(|(id, _)| *id)
            .collect();
        for node in late {
            let Some(target) = books.targets.get(&node) else { continue };
            let (name, state, joined) = (target.name.clone(), target.state.word(), target.joined);
            let path = books.shape.path(node).join(" > ");
            let (status, problem) = if target.running.is_some() {
                let text =
                    format!("{name} sent no result: it was {state}, and its time is over (way: {path})");
                (Status::Lost, Problem::new("run.stuck", text))
            } else if joined {
                (
                    Status::Lost,
                    Problem::new("run.stuck", format!("{name} did not begin the run (way: {path})")),
                )
            } else {
                let text = format!(
                    "{name} is still being connected after {} s (way: {path})",
                    JOIN_DEADLINE.as_secs()
                );
                (Status::Unreachable, Problem::new("connect.stuck", text))
            };
            books.end_with(node, status, problem);
        }
    }
}
