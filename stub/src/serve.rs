//! A stub at work: takes orders from its parent, executes runs, and (a hop) has children.

#[cfg(feature = "site")]
use crate::installed::{Code, Installed};
#[cfg(feature = "hop")]
use crate::relay::{self, Ask, Blob, Relay};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use waft_hop::driver::{Driver, unix_now};
use waft_hop::stream::LinkStream;
#[cfg(feature = "site")]
use waft_proto::envelope::Wall;
#[cfg(feature = "hop")]
use waft_proto::id::Hash;
use waft_proto::id::{NodeId, RunId};
use waft_proto::limits::{SHUTDOWN_MS, STORE_BYTES_DEFAULT};
#[cfg(feature = "hop")]
use waft_proto::msg::{Dial, Engine, Order};
use waft_proto::msg::{Hello, Outcome, Report};
use waft_proto::node::{Event, Node, Peer, ReadyRun};
use waft_proto::run::Problem;
use waft_proto::run::{Status, TargetState};
use waft_stub::policy::NodePolicy;
use waft_stub::pool::{Job, JobEvent, Pool};
use waft_stub::secret::Key;
#[cfg(feature = "site")]
use waft_stub::secret::Secrets;

/// Events of executions that wait for the loop. With the chunk size this bounds what they hold.
const JOB_EVENTS: usize = 8;

struct Stub {
    driver: Driver,
    name: String,
    pool: Rc<Pool>,
    policy: NodePolicy,
    key: Key,
    jobs: mpsc::Sender<(RunId, JobEvent)>,
    cancels: HashMap<RunId, oneshot::Sender<()>>,
    #[cfg(feature = "site")]
    installed: Installed,
    #[cfg(feature = "hop")]
    relay: Relay,
    #[cfg(feature = "hop")]
    signs: HashMap<NodeId, oneshot::Sender<relay::Signature>>,
    #[cfg(feature = "hop")]
    blobs: Vec<(Hash, oneshot::Sender<Option<Blob>>)>,
}

/// Serves until the parent says stop or is gone.
pub(crate) async fn serve(hello: Hello, policy: NodePolicy, key: Key, parent: LinkStream) {
    let (jobs, mut job_events) = mpsc::channel(JOB_EVENTS);
    #[cfg(feature = "hop")]
    let (relay, mut asks) = Relay::new();
    let mut driver = Driver::new(Node::stub(hello, STORE_BYTES_DEFAULT, 0, unix_now()));
    driver.connect_parent(parent);
    let mut stub = Stub {
        driver,
        name: String::new(),
        pool: Rc::new(Pool::new()),
        policy,
        key,
        jobs,
        cancels: HashMap::new(),
        #[cfg(feature = "site")]
        installed: Installed::default(),
        #[cfg(feature = "hop")]
        relay,
        #[cfg(feature = "hop")]
        signs: HashMap::new(),
        #[cfg(feature = "hop")]
        blobs: Vec::new(),
    };
    loop {
        #[cfg(feature = "hop")]
        let ask = asks.recv();
        #[cfg(not(feature = "hop"))]
        let ask = std::future::pending::<Option<std::convert::Infallible>>();
        // Output that cannot leave stays with the execution, which then waits.
        let room = stub.driver.node.has_output_room();
        tokio::select! {
            event = stub.driver.next_or_room() => {
                if let Some(event) = event && !stub.obey(event) {
                    break;
                }
            }
            Some((run, event)) = job_events.recv(), if room => stub.job(run, event),
            Some(ask) = ask => {
                #[cfg(feature = "hop")]
                stub.answer(ask);
                #[cfg(not(feature = "hop"))]
                match ask {}
            }
        }
    }
    stub.stop().await;
}

impl Stub {
    /// False when it is time to end.
    fn obey(&mut self, event: Event) -> bool {
        match event {
            Event::Welcomed(welcome) => {
                #[cfg(feature = "site")]
                self.policy.welcomed(&welcome);
                self.name = welcome.name;
            }
            Event::Run(ready) => self.run(*ready),
            Event::Cancel(run) => {
                if let Some(cancel) = self.cancels.remove(&run) {
                    let _ = cancel.send(());
                }
            }
            #[cfg(feature = "hop")]
            Event::Dial(dial) => match self.policy.check_relay() {
                Ok(()) => self.relay.dial(dial),
                Err(problem) => self.refuse(&dial, &problem),
            },
            #[cfg(feature = "hop")]
            Event::Redial(child, problem) => {
                tracing::debug!(%child, %problem, "dialling again without assumptions");
                self.relay.redial(child, problem);
            }
            #[cfg(feature = "hop")]
            Event::Signed { node, signature } => {
                if let Some(reply) = self.signs.remove(&node) {
                    let _ = reply.send(signature);
                }
            }
            #[cfg(feature = "hop")]
            Event::Blob(hash) => self.blob_came(hash),
            Event::Stop(problem) => {
                if let Some(problem) = problem {
                    tracing::debug!(%problem, "the link to the parent is over");
                }
                return false;
            }
            // A leaf has no children, so it has nothing to dial, to sign or to close.
            _ => {}
        }
        true
    }

    /// Nobody of these is dialled.
    #[cfg(feature = "hop")]
    fn refuse(&mut self, dial: &Dial, problem: &Problem) {
        let now = self.driver.now();
        for target in &dial.targets {
            let message = format!("`{}` does not dial `{}`: {}", self.name, target.name, problem.message);
            self.driver.node.detach(target.node, false, Problem { message, ..problem.clone() }, now);
        }
    }

    fn run(&mut self, ready: ReadyRun) {
        let run = ready.envelope.run;
        let (cancel, cancelled) = oneshot::channel();
        self.cancels.insert(run, cancel);
        let node = self.driver.node.id().unwrap_or(NodeId::ROOT);
        let secrets = self.key.open(&ready, node);
        #[cfg(feature = "site")]
        match self.installed.begin(&ready, &self.policy, unix_now()) {
            Ok(Code::Artifact) => {}
            Ok(Code::Module(wall)) => return self.run_compiled(ready, secrets, wall, cancelled),
            Err(problem) => return self.done(run, failure(problem)),
        }
        let prepared = Job::prepare(ready, &self.name, &self.policy, unix_now());
        match secrets.and_then(|secrets| Ok(prepared?.with_secrets(&secrets))) {
            Ok(job) => {
                let events = self.forward(run);
                tokio::task::spawn_local(self.pool.run(job, events, cancelled));
            }
            Err(problem) => self.done(run, failure(problem)),
        }
    }

    /// Where an execution says what happens to it: from there it comes to the loop.
    fn forward(&self, run: RunId) -> mpsc::Sender<JobEvent> {
        let (events, mut from_pool) = mpsc::channel(1);
        let jobs = self.jobs.clone();
        tokio::task::spawn_local(async move {
            while let Some(event) = from_pool.recv().await {
                if jobs.send((run, event)).await.is_err() {
                    return;
                }
            }
        });
        events
    }

    /// The same from a module: it is compiled first.
    #[cfg(feature = "site")]
    fn run_compiled(
        &mut self,
        mut ready: ReadyRun,
        secrets: Result<Secrets, Problem>,
        wall: Wall,
        mut cancelled: oneshot::Receiver<()>,
    ) {
        let events = self.forward(ready.envelope.run);
        let (pool, compiler) = (Rc::clone(&self.pool), Rc::clone(&self.installed.compiler));
        let (policy, name) = (self.policy.clone(), self.name.clone());
        tokio::task::spawn_local(async move {
            let compiled = tokio::select! {
                compiled = crate::installed::compile_all(&compiler, &mut ready, wall) => compiled,
                Ok(()) = &mut cancelled => {
                    let outcome = Outcome::without_start(Status::Cancelled, Some(crate::installed::cancelled()));
                    let _ = events.send(JobEvent::Done(outcome)).await;
                    return;
                }
            };
            let prepared = compiled.and_then(|()| Job::prepare(ready, &name, &policy, unix_now()));
            match secrets.and_then(|secrets| Ok(prepared?.with_secrets(&secrets))) {
                Ok(job) => pool.run(job, events, cancelled).await,
                Err(problem) => {
                    let _ = events.send(JobEvent::Done(failure(problem))).await;
                }
            }
        });
    }

    fn job(&mut self, run: RunId, event: JobEvent) {
        let node = &mut self.driver.node;
        let Some(me) = node.id() else { return };
        match event {
            JobEvent::Ready => node.say(me, Report::State { run, state: TargetState::Ready }),
            JobEvent::Running => node.say(me, Report::State { run, state: TargetState::Running }),
            JobEvent::Output { stream, bytes } => {
                #[cfg(feature = "site")]
                self.installed.output(run, stream, &bytes);
                node.output(run, stream, bytes);
            }
            JobEvent::Done(outcome) => self.done(run, outcome),
        }
    }

    #[cfg_attr(
        not(feature = "site"),
        expect(unused_mut, reason = "an installed stub adds the head of its log")
    )]
    fn done(&mut self, run: RunId, mut outcome: Outcome) {
        self.cancels.remove(&run);
        #[cfg(feature = "site")]
        let proof = self.installed.end(run, &mut outcome, &self.policy);
        #[cfg(not(feature = "site"))]
        let proof = Vec::new();
        self.driver.node.finish(run, outcome, proof);
    }

    #[cfg(feature = "hop")]
    fn answer(&mut self, ask: Ask) {
        let now = self.driver.now();
        match ask {
            Ask::Dialled { node, name, dialled } => {
                let controller = self.driver.node.controller();
                let assumed: Option<Engine> = dialled.assumed;
                self.driver.node.attach(node, name.clone(), controller, assumed, now);
                self.driver.connect_child(node, name, *dialled);
            }
            Ask::Failed { node, problem } => self.driver.node.detach(node, false, problem, now),
            Ask::Sign { request, reply } => {
                let Some(me) = self.driver.node.id() else { return };
                self.signs.insert(request.node, reply);
                self.driver.node.say(me, Report::Sign(request));
            }
            Ask::Blob { hash, reply } => {
                self.blobs.push((hash, reply));
                if !self.driver.node.fetch(hash, waft_proto::msg::BlobKind::Stub) {
                    self.blob_came(hash);
                }
            }
        }
    }

    /// Hands a whole blob to those who wait for it; to a blob that will never be whole, says so.
    #[cfg(feature = "hop")]
    fn blob_came(&mut self, hash: Hash) {
        use waft_proto::msg::BlobKind;
        let store = self.driver.node.store();
        let whole = store.get(hash, BlobKind::Stub);
        if whole.is_none() && store.expected(hash, BlobKind::Stub).is_some() {
            return;
        }
        for at in (0..self.blobs.len()).rev() {
            if self.blobs.get(at).is_some_and(|(wanted, _)| *wanted == hash) {
                let (_, reply) = self.blobs.swap_remove(at);
                let _ = reply.send(whole.clone());
            }
        }
    }

    /// Executions end, children are told to stop, what they still say is not waited for long; then
    /// everything that was started here is gone.
    async fn stop(mut self) {
        for (_, cancel) in self.cancels.drain() {
            let _ = cancel.send(());
        }
        let wrap_up = async {
            #[cfg(feature = "hop")]
            {
                let now = self.driver.now();
                let children: Vec<_> = self.driver.node.children().collect();
                for (child, range) in &children {
                    self.driver.node.order(vec![*range], Order::Stop, now);
                    tracing::debug!(%child, "told to stop");
                }
                self.driver.children_gone().await;
            }
            self.pool.shutdown().await;
        };
        // Half of what our own parent allows us, so that it sees us end and not only time pass.
        let _ = tokio::time::timeout(Duration::from_millis(SHUTDOWN_MS / 2), wrap_up).await;
        self.driver.disconnect(Peer::Parent);
        waft_stub::process::kill_descendants();
    }
}

/// The outcome of a run that could not be prepared.
fn failure(problem: Problem) -> Outcome {
    const REFUSALS: [&str; 6] = ["grant.", "policy.", "signature.", "approval.", "secret.", "audit."];
    let refused = REFUSALS.iter().any(|kind| problem.code.starts_with(kind));
    Outcome::without_start(if refused { Status::Refused } else { Status::Failed }, Some(problem))
}
