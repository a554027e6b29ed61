//! One run: a task on every selected target of a tree that is being connected meanwhile.
//!
//! ```text
//!  connecting --> (order on its way) --> ready --> running --> result
//!      |               |                    |          |
//!      +- unreachable  +- refused, failed   +----------+- lost, timed_out, cancelled
//! ```
//!
//! The order leaves before anybody has joined: hops keep it for children that are still being dialled.
//! Every target ends in exactly one result; [`Books`] makes sure of it.

use crate::compile::{self, Cache};
use crate::controller::{Controller, Seen};
use crate::dry;
use crate::event::{Body, Event, Policy, Sequence, Stream, TargetResult, TextCutter, Traffic};
use crate::files;
use crate::proof::Pinned;
use crate::said::Said;
use crate::secret::plan::{self as secret, Sent};
use crate::tree::{Shape, ranges};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinSet;
use waft_hop::driver::unix_now;
use waft_proto::envelope::{Approval, Artifact, Bytes, Envelope, Wall};
use waft_proto::id::{Hash, NodeId, NodeRange, RunId};
use waft_proto::limits::{INLINE_INPUT_BYTES_MAX, SHUTDOWN_MS};
use waft_proto::msg::{self, BlobKind, Engine, Input, Order, Profile, Report};
use waft_proto::run::{Problem, Status, TargetState};
use waft_proto::secret::redact::{Patterns, Redactor};
use waft_proto::secret::sealed::{self, Bound};
use zeroize::Zeroizing;

/// Output kept of each stream of each target for its result, bytes; the live output is not cut.
pub const CAPTURE_BYTES_MAX: usize = 1024 * 1024;
/// A result may come this much after the running time is over; then the target is stuck.
const RESULT_GRACE: Duration = Duration::from_secs(20);
/// A target that has not joined by then is stuck in something that should have ended by itself.
const JOIN_DEADLINE: Duration = Duration::from_secs(600);
/// How long an order may be underway by the clocks of controller and target, seconds. Wide, because the
/// clocks of targets are what they are.
const ORDER_EXPIRY_S: u64 = 24 * 3600;

/// What is to be run.
pub struct Request {
    pub task: String,
    pub wasm: Arc<[u8]>,
    /// The parameters: one JSON object.
    pub params: Vec<u8>,
    /// Canonical grants and limits that go to every target.
    pub allow: Vec<String>,
    pub check: bool,
    /// A dry run tells the lines that would change.
    pub diff: bool,
    /// Running time per target.
    pub timeout: Duration,
    /// Where whoever records this run says how far its log is.
    pub head: Head,
    pub vouched: Vouched,
    /// Each target gets those that it is granted.
    pub secrets: Sent,
}

/// The head of the controller's audit log: orders carry it to the nodes. Shared by the recorder and the run.
#[derive(Clone, Debug, Default)]
pub struct Head(Arc<Mutex<Option<Hash>>>);

impl Head {
    pub fn set(&self, head: Hash) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
    }

    pub fn get(&self) -> Option<Hash> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who stands for a run besides its operator, as it is sent to every target.
#[derive(Clone, Debug, Default)]
pub struct Vouched {
    /// SSH signatures over the module, without armour.
    pub task: Vec<Bytes>,
    pub approval: Option<Approval>,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    pub counts: BTreeMap<Status, u64>,
}

/// Where events go. An error (a closed pipe, a full disk) cancels the run.
pub type Sink<'a> = &'a mut (dyn FnMut(&Event) -> io::Result<()> + Send);

struct Target {
    name: Arc<str>,
    state: TargetState,
    joined: bool,
    /// Since when it runs.
    running: Option<Instant>,
    stdout: Captured,
    stderr: Captured,
    cutters: BTreeMap<Stream, TextCutter>,
    changes: dry::Reader,
    /// What it says beside its output.
    said: BTreeMap<Stream, Said>,
    bytes: Traffic,
    policy: Policy,
    /// Takes the secrets out once more: a target may have left them in.
    redactor: Redactor,
    done: bool,
    /// The node's key, when the inventory has it, and what its proof has to be over.
    pinned: Option<Pinned>,
}

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Captured {
    fn add(&mut self, bytes: &[u8]) {
        let room = CAPTURE_BYTES_MAX.saturating_sub(self.bytes.len());
        self.truncated |= bytes.len() > room;
        self.bytes.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }
}

struct Books<'a> {
    events: Sequence,
    started: Instant,
    shape: Arc<Shape>,
    targets: BTreeMap<NodeId, Target>,
    counts: BTreeMap<Status, u64>,
    open: usize,
    sink: Sink<'a>,
    broken: Option<io::Error>,
    check: bool,
}

impl Books<'_> {
    fn emit(&mut self, target: Option<Arc<str>>, body: Body) {
        let event = self.events.event(SystemTime::now(), target, body);
        if self.broken.is_none()
            && let Err(error) = (self.sink)(&event)
        {
            self.broken = Some(error);
        }
    }

    fn state(&mut self, node: NodeId, state: TargetState) {
        let Some(target) = self.targets.get_mut(&node).filter(|target| !target.done) else { return };
        target.state = state;
        if state == TargetState::Running {
            target.running = Some(Instant::now());
        }
        let name = target.name.clone();
        self.emit(Some(name), Body::TargetState { state });
    }

    fn output(&mut self, node: NodeId, stream: Stream, bytes: Vec<u8>) {
        let Some(target) = self.targets.get_mut(&node).filter(|target| !target.done) else { return };
        if let Some(pinned) = &mut target.pinned {
            pinned.output(stream, &bytes);
        }
        let bytes = target.redactor.push(stream, bytes);
        self.clean_output(node, stream, bytes);
    }

    /// Output without secrets.
    fn clean_output(&mut self, node: NodeId, stream: Stream, bytes: Vec<u8>) {
        let Some(target) = self.targets.get_mut(&node) else { return };
        match stream {
            Stream::Stdout => target.stdout.add(&bytes),
            Stream::Stderr | Stream::Log => target.stderr.add(&bytes),
            Stream::Progress | Stream::Call => return self.said(node, stream, &bytes),
            Stream::Change => return self.changes(node, &bytes),
        }
        let bytes = target.cutters.entry(stream).or_default().push(bytes);
        let name = target.name.clone();
        if !bytes.is_empty() {
            self.emit(Some(name), Body::Output { stream, bytes });
        }
    }

    fn said(&mut self, node: NodeId, stream: Stream, bytes: &[u8]) {
        let Some(target) = self.targets.get_mut(&node) else { return };
        let name = target.name.clone();
        for body in target.said.entry(stream).or_default().push(stream, bytes) {
            self.emit(Some(name.clone()), body);
        }
    }

    fn changes(&mut self, node: NodeId, bytes: &[u8]) {
        // A target's policy may make a dry run of any run, so it may tell changes unasked.
        let Some(target) = self.targets.get_mut(&node).filter(|target| !target.done) else { return };
        let before = target.changes.push(bytes);
        let new = target.changes.changes.list.get(before..).unwrap_or_default().to_vec();
        let name = target.name.clone();
        for change in new {
            self.emit(Some(name.clone()), Body::Change(Box::new(change)));
        }
    }

    /// The one result of a target; a second is ignored.
    fn end(&mut self, node: NodeId, mut outcome: msg::Outcome) {
        let Some(target) = self.targets.get_mut(&node).filter(|target| !target.done) else { return };
        for (stream, bytes) in target.redactor.finish_all() {
            self.clean_output(node, stream, bytes);
        }
        let Some(target) = self.targets.get_mut(&node) else { return };
        outcome.walls.iter_mut().for_each(|wall| target.redactor.patterns().clean_text(wall));
        outcome.problem.iter_mut().for_each(|problem| target.redactor.patterns().clean_problem(problem));
        target.done = true;
        let rest: Vec<(Stream, Vec<u8>)> = std::mem::take(&mut target.cutters)
            .into_iter()
            .map(|(stream, mut cutter)| (stream, cutter.finish()))
            .collect();
        let stdout = std::mem::take(&mut target.stdout);
        let stderr = std::mem::take(&mut target.stderr);
        let truncated = stdout.truncated || outcome.stdout_truncated;
        let result = if truncated { None } else { object(&stdout.bytes) };
        let changed = result.as_ref().is_some_and(|result| result.get("changed") == Some(&true.into()));
        let status = match outcome.status {
            // What was found counts, whatever the task says; what it says beyond that may be no file's.
            Status::Ok if changed || outcome.changes > 0 => Status::Changed,
            status => status,
        };
        let changes = target.changes.finish(outcome.changes);
        let changes = (self.check || changes != dry::Changes::default()).then_some(changes);
        let body = TargetResult {
            status,
            exit_code: outcome.exit_code,
            signal: outcome.signal,
            result,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            stdout_truncated: truncated,
            stderr_truncated: stderr.truncated || outcome.stderr_truncated,
            stdout_cut: outcome.stdout_truncated,
            stderr_cut: outcome.stderr_truncated,
            ms: outcome.ms,
            bytes: target.bytes,
            walls: outcome.walls,
            policy: target.policy,
            audit: outcome.audit,
            problem: outcome.problem,
            changes,
        };
        let name = target.name.clone();
        let malformed: u64 = target.said.values().map(|said| said.malformed).sum();
        if malformed > 0 {
            let text = format!(
                "{malformed} of its records could not be read, so there are calls that nobody knows of"
            );
            self.emit(Some(name.clone()), Body::Note(Problem::new("record.malformed", text)));
        }
        for (stream, bytes) in rest.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            self.emit(Some(name.clone()), Body::Output { stream, bytes });
        }
        *self.counts.entry(status).or_default() += 1;
        self.open -= 1;
        self.emit(Some(name), Body::Result(Box::new(body)));
    }

    /// The result of a node, or what can be believed of it where its key is known.
    fn proven(&self, node: NodeId, run: RunId, outcome: msg::Outcome, proof: &[u8]) -> msg::Outcome {
        match self.targets.get(&node).and_then(|target| Some((target, target.pinned.as_ref()?))) {
            Some((target, pinned)) => pinned.judge(&target.name, run, outcome, proof),
            None => outcome,
        }
    }

    fn end_with(&mut self, node: NodeId, status: Status, problem: Problem) {
        self.end(node, msg::Outcome::without_start(status, Some(problem)));
    }

    /// A node is gone, and with it all that were behind it.
    fn gone(&mut self, node: NodeId, lost: bool, problem: &Problem) {
        let shape = self.shape.clone();
        let Some(top) = shape.node(node) else { return };
        for id in (top.id.0..=top.last.0).map(NodeId) {
            let Some(target) = self.targets.get(&id) else { continue };
            let status = match lost && target.joined {
                true => Status::Lost,
                false if id == node && problem.code == "node.key" => Status::Refused,
                false => Status::Unreachable,
            };
            let problem = if id == node {
                problem.clone()
            } else {
                let way = if lost { "was lost" } else { "could not be reached" };
                Problem {
                    code: format!("hop.{}", problem.code),
                    message: format!("its hop {} {way}: {}", top.endpoint.name, problem.message),
                    hint: problem.hint.clone(),
                }
            };
            self.end_with(id, status, problem);
        }
    }

    fn open_nodes(&self) -> Vec<NodeId> {
        self.targets.iter().filter(|(_, target)| !target.done).map(|(id, _)| *id).collect()
    }
}

/// A task's stdout that is exactly one JSON object is its result.
fn object(stdout: &[u8]) -> Option<serde_json::Value> {
    let first = stdout.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if *first != b'{' {
        return None;
    }
    serde_json::from_slice(stdout).ok().filter(serde_json::Value::is_object)
}

/// Runs a task on the selected targets of a controller's shape. `interrupt` resolves when the operator
/// wants it to end.
pub async fn run(
    controller: &mut Controller,
    cache: &Cache,
    request: &Request,
    sink: Sink<'_>,
    interrupt: impl Future<Output = ()>,
) -> Result<Finished, Problem> {
    let shape = controller.shape().clone();
    let patterns = Arc::new(Patterns::new(&request.secrets.secrets));
    let targets: BTreeMap<NodeId, Target> = shape
        .selected()
        .map(|node| {
            // From a run before this one it may be up already.
            let hello = controller.hello(node.id);
            let target = Target {
                name: Arc::from(node.endpoint.name.as_str()),
                state: TargetState::Selected,
                joined: hello.is_some(),
                running: None,
                stdout: Captured::default(),
                stderr: Captured::default(),
                cutters: BTreeMap::new(),
                changes: dry::Reader::default(),
                said: BTreeMap::new(),
                bytes: Traffic::default(),
                policy: hello.map_or(Policy::None, |hello| hello.policy),
                redactor: Redactor::with(patterns.clone()),
                done: false,
                pinned: node.endpoint.node_key.map(Pinned::new),
            };
            (node.id, target)
        })
        .collect();
    // A node that compiles itself asks for it.
    let module = controller.node().store().insert(BlobKind::Task, request.wasm.clone());
    let mut running = Running {
        id: run_id()?,
        module,
        request,
        cache: cache.clone(),
        compiled: BTreeMap::new(),
        compiling: JoinSet::new(),
        wanted: BTreeMap::new(),
        retried: BTreeSet::new(),
        ready: Vec::new(),
    };
    let mut books = Books {
        events: Sequence::new(running.id),
        started: Instant::now(),
        open: targets.len(),
        shape: shape.clone(),
        targets,
        counts: BTreeMap::new(),
        sink,
        broken: None,
        check: request.check,
    };
    let names = shape.selected().map(|node| node.endpoint.name.clone()).collect();
    books.emit(None, Body::RunStarted { task: request.task.clone(), hash: Some(module), targets: names });
    // A run that nobody can be told of is not begun: no order leaves.
    if let Some(error) = books.broken.take() {
        return Err(unreported(&error));
    }
    for node in books.open_nodes() {
        books.state(node, TargetState::Selected);
        books.state(node, TargetState::Connecting);
    }
    for node in books.open_nodes() {
        let engine = Engine { arch: controller.arch(node), profile: Profile::Fast };
        running.want(engine, node);
    }
    running.conduct(controller, &mut books, interrupt).await;
    let (up, down) = controller.bytes();
    let ms = u64::try_from(books.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let counts = books.counts.clone();
    books.emit(None, Body::RunFinished { counts: counts.clone(), ms, bytes: Traffic { up, down } });
    match books.broken.take() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unreported(&error)),
        _ => Ok(Finished { counts }),
    }
}

fn unreported(error: &io::Error) -> Problem {
    Problem::new("report.write", format!("the report could not be written: {}", files::plain(error)))
}

struct Running<'a> {
    id: RunId,
    module: Hash,
    request: &'a Request,
    cache: Cache,
    compiled: BTreeMap<Engine, Artifact>,
    compiling: JoinSet<(Engine, Result<Vec<u8>, Problem>)>,
    /// Targets that wait for an artifact.
    wanted: BTreeMap<Engine, Vec<NodeId>>,
    retried: BTreeSet<NodeId>,
    /// Targets whose order can be sent as soon as the hops before them know of them.
    ready: Vec<NodeId>,
}

impl Running<'_> {
    async fn conduct(
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
                seen = controller.next() => {
                    self.take(controller, books, seen);
                    self.start_ready(controller, books);
                }
                Some(compiled) = self.compiling.join_next(), if !self.compiling.is_empty() => {
                    if let Ok((engine, artifact)) = compiled {
                        self.artifact(controller, books, engine, artifact);
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
            if books.broken.is_some() && patience.is_none() {
                patience = Some(self.cancel(controller, books));
            }
        }
    }

    /// An artifact for a target: now, or when it is compiled.
    fn want(&mut self, engine: Engine, node: NodeId) {
        let first = !self.wanted.contains_key(&engine) && !self.compiled.contains_key(&engine);
        self.wanted.entry(engine).or_default().push(node);
        if first {
            let (cache, name) = (self.cache.clone(), self.request.task.clone());
            let wasm = self.request.wasm.clone();
            self.compiling.spawn(async move {
                (engine, compile::artifact(&cache, &name, &wasm, engine.arch, engine.profile).await)
            });
        }
    }

    fn artifact(
        &mut self,
        controller: &mut Controller,
        books: &mut Books<'_>,
        engine: Engine,
        artifact: Result<Vec<u8>, Problem>,
    ) {
        let nodes = self.wanted.remove(&engine).unwrap_or_default();
        match artifact {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                let hash = controller.node().store().insert(BlobKind::Artifact, bytes.into());
                self.compiled.insert(engine, Artifact { engine, hash, bytes: length });
                self.ready.extend(nodes);
                self.start_ready(controller, books);
            }
            Err(problem) => {
                for node in nodes {
                    books.end_with(node, Status::Failed, problem.clone());
                }
            }
        }
    }

    /// Sends the order to the targets that it can reach. One order for all of them: it waits until it is
    /// known of every node whether and by whom it is dialled, which takes no word from any host.
    fn start_ready(&mut self, controller: &mut Controller, books: &mut Books<'_>) {
        if self.ready.is_empty() || controller.is_settling() {
            return;
        }
        let shape = controller.shape().clone();
        // Secrets are sealed to a key that the hello tells.
        let keyed = |node: NodeId| {
            controller.hello(node).is_some()
                || self.request.secrets.names(&self.grants(&shape, node)).is_empty()
        };
        let can =
            |node: &NodeId| controller.is_routable(*node) && controller.is_proven(*node) && keyed(*node);
        let ready = self.ready.iter().copied();
        let (now, later) = ready.partition(can);
        self.ready = later;
        let mut now: Vec<NodeId> = now;
        now.sort();
        self.start(controller, books, &now);
    }

    /// Sends the order: one message for all targets that get the same grants behind the same walls.
    fn start(&mut self, controller: &mut Controller, books: &mut Books<'_>, nodes: &[NodeId]) {
        let shape = controller.shape().clone();
        let mut groups: BTreeMap<(Vec<String>, Wall), Vec<NodeId>> = BTreeMap::new();
        for node in nodes.iter().copied() {
            if books.targets.get(&node).is_none_or(|target| target.done) {
                continue;
            }
            let wall = shape.node(node).map(|node| node.endpoint.wall).unwrap_or_default();
            groups.entry((self.grants(&shape, node), wall)).or_default().push(node);
        }
        for ((grants, wall), nodes) in groups {
            if let Err(problem) = self.send(controller, books, (grants, wall), &nodes) {
                for node in nodes {
                    books.end_with(node, Status::Failed, problem.clone());
                }
            }
        }
    }

    /// What goes to a target.
    fn grants(&self, shape: &Shape, node: NodeId) -> Vec<String> {
        let own = shape.node(node).map(|node| node.allow.clone()).unwrap_or_default();
        let grants: BTreeSet<String> = self.request.allow.iter().cloned().chain(own).collect();
        grants.into_iter().collect()
    }

    /// Sends the secrets of a run to one node, ahead of the order that they are sealed for.
    fn send_secrets(
        &self,
        controller: &mut Controller,
        books: &mut Books<'_>,
        (names, order): (&BTreeSet<String>, Hash),
        node: NodeId,
    ) -> Result<(), Problem> {
        let secrets = &self.request.secrets;
        let name = controller.shape().node(node).map(|node| node.endpoint.name.clone()).unwrap_or_default();
        let key = controller.hello(node).map(|hello| hello.seal_key).ok_or_else(|| {
            Problem::new("secret.key", format!("`{name}` has told no key to seal secrets to"))
        })?;
        let mut ephemeral = Zeroizing::new([0; 32]);
        random(&mut *ephemeral)?;
        if let Some(problem) = secret::exposed(secrets, names, controller.shape(), node) {
            return Err(problem);
        }
        let own = secrets.secrets.only(|name| names.contains(name));
        let bound = Bound { run: self.id, node, order };
        let sealed = sealed::seal(&own, &key, &ephemeral, &bound).map_err(|mut problem| {
            problem.message = format!("{} (`{name}`)", problem.message);
            problem
        })?;
        let to = vec![NodeRange::one(node)];
        let order = Order::Secrets { run: self.id, sealed };
        let up = msg::Msg::Down { to: to.clone(), order: order.clone() }.encode().len() as u64;
        if let Some(target) = books.targets.get_mut(&node) {
            target.bytes.up += up;
        }
        controller.order(to, order);
        Ok(())
    }

    fn send(
        &self,
        controller: &mut Controller,
        books: &mut Books<'_>,
        (grants, wall): (Vec<String>, Wall),
        nodes: &[NodeId],
    ) -> Result<(), Problem> {
        let mut targets = ranges(nodes.iter().copied());
        let names = self.request.secrets.names(&grants);
        let mut nonce = [0; 8];
        random(&mut nonce)?;
        let params = &self.request.params;
        let envelope = Envelope {
            run: self.id,
            task: self.request.task.clone(),
            targets: targets.clone(),
            module: self.module,
            artifacts: self.compiled.values().copied().collect(),
            params: Hash::of(params),
            grants,
            check: self.request.check,
            timeout_ms: u64::try_from(self.request.timeout.as_millis()).unwrap_or(u64::MAX),
            expires: unix_now() + ORDER_EXPIRY_S,
            nonce,
            wall,
            diff: self.request.diff,
            task_signatures: self.request.vouched.task.clone(),
            approval: self.request.vouched.approval.clone(),
            callees: Vec::new(),
            files: Vec::new(),
            audit: self.request.head.get(),
        };
        let (envelope, signature) = envelope.seal(controller.key())?;
        let mut nodes = nodes.to_vec();
        if !names.is_empty() {
            let order = Hash::of(&envelope);
            nodes.retain(|node| match self.send_secrets(controller, books, (&names, order), *node) {
                Ok(()) => true,
                Err(problem) => {
                    books.end_with(*node, Status::Refused, problem);
                    false
                }
            });
            targets = ranges(nodes.iter().copied());
        }
        let input = if params.len() <= INLINE_INPUT_BYTES_MAX {
            Input::Inline(params.clone())
        } else {
            let hash = controller.node().store().insert(BlobKind::File, params.as_slice().into());
            Input::Blob { hash, bytes: params.len() as u64 }
        };
        let hash = Hash::of(&envelope);
        let order = Order::Run(msg::Run { envelope, signature, input });
        let up = msg::Msg::Down { to: targets.clone(), order: order.clone() }.encode().len() as u64;
        for node in &nodes {
            if let Some(target) = books.targets.get_mut(node) {
                target.bytes.up += up;
                if let Some(pinned) = &mut target.pinned {
                    pinned.ordered(hash);
                }
            }
        }
        if !targets.is_empty() {
            controller.order(targets, order);
        }
        Ok(())
    }

    fn take(&mut self, controller: &mut Controller, books: &mut Books<'_>, seen: Seen) {
        match seen {
            Seen::Up(node, hello) => {
                if let Some(target) = books.targets.get_mut(&node) {
                    target.joined = true;
                    target.policy = hello.policy;
                }
            }
            Seen::Gone { node, lost, problem } => books.gone(node, lost, &problem),
            Seen::Undelivered { to, problem } => {
                let shape = books.shape.clone();
                for node in shape.selected().filter(|node| to.iter().any(|range| range.contains(node.id))) {
                    books.end_with(node.id, Status::Unreachable, problem.clone());
                }
            }
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
                        books.end(node, outcome);
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
            self.start(controller, books, &[node]);
        } else {
            self.want(engine, node);
        }
    }

    fn cancel(&mut self, controller: &mut Controller, books: &mut Books<'_>) -> Instant {
        self.compiling.abort_all();
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

    fn deadline(&self, target: &Target, started: Instant) -> Instant {
        match target.running {
            Some(since) => since + self.request.timeout + RESULT_GRACE,
            None if target.joined => started + JOIN_DEADLINE * 2,
            None => started + JOIN_DEADLINE,
        }
    }

    fn next_deadline(&self, books: &Books<'_>) -> Option<Instant> {
        let open = books.targets.values().filter(|target| !target.done);
        open.map(|target| self.deadline(target, books.started)).min()
    }

    /// Ends the targets whose time is over, saying what each is stuck in.
    fn overdue(&self, books: &mut Books<'_>) {
        let now = Instant::now();
        let late: Vec<NodeId> = books
            .targets
            .iter()
            .filter(|(_, target)| !target.done && self.deadline(target, books.started) <= now)
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

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn random(bytes: &mut [u8]) -> Result<(), Problem> {
    getrandom::fill(bytes)
        .map_err(|error| Problem::new("random", format!("this system gives no random numbers: {error}")))
}

/// A UUIDv7: the time in milliseconds, then chance.
fn run_id() -> Result<RunId, Problem> {
    let mut id = [0; 16];
    random(&mut id)?;
    let ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let [_, _, _, _, _, _, _, _, _, _, time @ ..] = ms.to_be_bytes();
    if let Some(front) = id.first_chunk_mut::<6>() {
        *front = time;
    }
    id[6] = (id[6] & 0x0f) | 0x70;
    id[8] = (id[8] & 0x3f) | 0x80;
    Ok(RunId(id))
}
