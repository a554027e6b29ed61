//! Dials machines that boot again until they are there by another boot.
//!
//! ```text
//!  answer (changed) --> its link ends --> dialled anew, round by round --> a dry run of the task
//!                                              ^                               |        |
//!                                              +--- the same boot, not ready --+        +--> result
//! ```
//!
//! Machines behind one hop are dialled together, so that each round logs in to that hop once. A round may go on while
//! the next one has begun, with other machines: one that takes a connection and says nothing holds up only itself.

use super::back::{AfterReboot, Boot, Look, Waited, look_at, never_left, over};
use super::{Request, run, until};
use crate::compile::Cache;
use crate::controller::Redial;
use crate::event::{Body, Event, Progress};
use crate::tree::{self, Target};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use waft_proto::id::NodeId;
use waft_proto::run::{Problem, Status};

/// Between two dials: the first, and what doubling it leads to. Behind hops each dial logs in to them as well.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);
const PAUSE_BEHIND_HOPS_MAX: Duration = Duration::from_secs(20);
/// One dial with the dry run after it. A machine that is going down may take a connection and never say a word.
const ATTEMPT_MAX: Duration = Duration::from_secs(180);

/// It was neither reached nor not.
const STUCK: &str = "connect.stuck";

/// A machine that is waited for.
pub(super) struct Member {
    pub(super) node: NodeId,
    pub(super) name: Arc<str>,
    /// The way to it.
    pub(super) target: Target,
    /// The boot to be over; none where the answer was lost.
    pub(super) boot: Option<String>,
    /// When the task began: what is up for less time was booted since.
    pub(super) begun: Instant,
    since: Instant,
    deadline: Instant,
    /// When its link ended.
    left: Option<Instant>,
    last: Option<Look>,
}

impl Member {
    pub(super) fn new(
        (node, name): (NodeId, Arc<str>),
        target: Target,
        (boot, begun): (Option<String>, Instant),
        rules: &AfterReboot,
    ) -> Member {
        let since = Instant::now();
        let deadline = since + rules.before + rules.timeout;
        Member { node, name, target, boot, begun, since, deadline, left: None, last: None }
    }

    /// When it is to be dialled, not before `next`; the pause that others have made does not take its only dial from it.
    fn dial(&self, rules: &AfterReboot, next: Instant) -> Option<Instant> {
        let from = self.left? + rules.after;
        let is_only = self.last.is_none() && next >= self.deadline;
        Some(if is_only { from } else { from.max(next) })
    }

    /// For whoever looks on: how long it is waited, and for what.
    fn says(&self, text: &str) -> (NodeId, Told) {
        let total = Some(self.deadline.duration_since(self.since).as_secs());
        let text = Some(format!("waits for its reboot: {text}"));
        (self.node, Told::Say(Body::Progress(Progress { done: self.since.elapsed().as_secs(), total, text })))
    }

    fn over(&self) -> Waited {
        let elapsed = self.since.elapsed();
        match self.left {
            None => never_left(&self.name, elapsed),
            Some(_) => over(&self.name, self.boot.is_some(), elapsed, self.last.clone()),
        }
    }
}

/// What a group is told.
pub(super) enum Word {
    Wait(Box<Member>),
    Left(NodeId),
}

/// What a group tells.
pub(super) enum Told {
    Say(Body),
    Over(Waited),
}

/// Machines that are dialled together.
pub(super) struct Group {
    pub(super) dialler: Arc<Dialler>,
    pub(super) rules: AfterReboot,
    pub(super) hear: mpsc::UnboundedReceiver<Word>,
    /// Those that are in no round.
    pub(super) members: Vec<Member>,
}

/// What a round needs.
pub(super) struct Dialler {
    pub(super) redial: Redial,
    pub(super) cache: Cache,
    /// The dry run.
    pub(super) request: Request,
    /// Nobody listens when the run is over.
    pub(super) tell: mpsc::UnboundedSender<(NodeId, Told)>,
}

impl Group {
    /// For as long as the run lasts. Boxed: it runs a task, which may be what waits.
    pub(super) fn conduct(mut self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let (mut pause, mut next) = (PAUSE_FIRST, Instant::now());
            // A machine that hangs holds up its own round, and nobody who left later or was seen already.
            let mut rounds = JoinSet::new();
            let (give_back, mut back) = mpsc::unbounded_channel();
            loop {
                self.end_overdue();
                let now = Instant::now();
                let is_due =
                    |member: &mut Member| member.dial(&self.rules, next).is_some_and(|dial| dial <= now);
                let due: Vec<Member> = self.members.extract_if(.., is_due).collect();
                if !due.is_empty() {
                    let is_behind = due.iter().any(|member| !member.target.via.is_empty());
                    next = now + pause;
                    let give_back = give_back.clone();
                    let after = pause;
                    let give_back = move |member| drop(give_back.send((member, after)));
                    rounds.spawn(self.dialler.clone().round(due, give_back));
                    pause = (pause * 2).min(if is_behind { PAUSE_BEHIND_HOPS_MAX } else { PAUSE_MAX });
                    continue;
                }
                let wake = self.members.iter().map(|member| {
                    member.dial(&self.rules, next).map_or(member.deadline, |dial| member.deadline.min(dial))
                });
                let wake = wake.min();
                tokio::select! {
                    word = self.hear.recv() => match word {
                        Some(Word::Wait(member)) => {
                            if self.members.is_empty() && rounds.is_empty() {
                                pause = PAUSE_FIRST;
                            }
                            let _ = self.dialler.tell.send(member.says("its link has not ended yet"));
                            self.members.push(*member);
                        }
                        Some(Word::Left(node)) => self.left(node),
                        None => return,
                    },
                    Some((member, after)) = back.recv() => {
                        next = next.max(Instant::now() + after);
                        self.members.push(member);
                    }
                    Some(_) = rounds.join_next(), if !rounds.is_empty() => {}
                    () = until(wake) => {}
                }
            }
        })
    }

    fn left(&mut self, node: NodeId) {
        if let Some(member) =
            self.members.iter_mut().find(|member| member.node == node && member.left.is_none())
        {
            member.left = Some(Instant::now());
            let _ = self.dialler.tell.send(member.says("its link ended"));
        }
    }

    fn end_overdue(&mut self) {
        let now = Instant::now();
        let tell = &self.dialler.tell;
        self.members.retain(|member| {
            let is_over = member.deadline <= now;
            if is_over {
                let _ = tell.send((member.node, Told::Over(member.over())));
            }
            !is_over
        });
    }
}

impl Dialler {
    /// Dials machines, and has each tell its boot. Gives back each that has to be dialled again, as soon as that is known.
    async fn round(self: Arc<Self>, mut members: Vec<Member>, give_back: impl Fn(Member) + Send + Sync) {
        let Dialler { redial, cache, request, tell } = &*self;
        let targets: Vec<Target> = members.iter().map(|member| member.target.clone()).collect();
        let now = Instant::now();
        let longest = members.iter().map(|member| member.deadline).max().unwrap_or(now);
        let limit = ATTEMPT_MAX.min(longest.duration_since(now));
        let mut sink = |event: &Event| {
            let Some(at) = members.iter().position(|member| event.target.as_deref() == Some(&*member.name))
            else {
                return Ok(());
            };
            match &event.body {
                Body::Result(result) => {
                    let mut member = members.swap_remove(at);
                    let look = look_at(result, member.boot.as_deref(), member.begun.elapsed());
                    if !saw(&mut member, look, tell) {
                        give_back(member);
                    }
                }
                // What it asks of its host there is part of this run.
                Body::Call(_) => {
                    if let Some(member) = members.get(at) {
                        let _ = tell.send((member.node, Told::Say(event.body.clone())));
                    }
                }
                _ => {}
            }
            Ok(())
        };
        let dials = async {
            let shape = tree::shape(&targets).map_err(|problems| problems.into_iter().next());
            let shape = shape.map_err(|problem| problem.unwrap_or_else(stuck))?;
            let mut controller = redial.start(Arc::new(shape))?;
            let ended = run(&mut controller, cache, request, &mut sink, std::future::pending()).await;
            // What does not end in time ends with its link.
            drop(controller.stop().await);
            ended.map(drop)
        };
        let why = match timeout(limit, dials).await {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem),
            Err(_) => Some(stuck()),
        };
        // What the deadline cut short says less than what was seen before.
        let is_cut = why.as_ref().is_some_and(|why| why.code == STUCK) && limit < ATTEMPT_MAX;
        for mut member in members {
            let says_less = is_cut && member.last.is_some();
            if says_less || !saw(&mut member, Look::Unreachable(why.clone().unwrap_or_else(stuck)), tell) {
                give_back(member);
            }
        }
    }
}

fn stuck() -> Problem {
    Problem::new(STUCK, "it was still being connected")
}

/// Whether it is over: it is back, or refuses to say so, which does not change by waiting.
fn saw(member: &mut Member, look: Look, tell: &mpsc::UnboundedSender<(NodeId, Told)>) -> bool {
    let _ = tell.send(member.says(&look.said()));
    if let Look::Ready(boot) = look {
        let waited = Waited { elapsed: member.since.elapsed(), boot: Boot::Other(boot), bad: None };
        let _ = tell.send((member.node, Told::Over(waited)));
        return true;
    }
    let is_refused = matches!(look, Look::Unknown(Status::Refused, _));
    member.last = Some(look);
    if is_refused {
        let _ = tell.send((member.node, Told::Over(member.over())));
    }
    is_refused
}
