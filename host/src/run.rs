//! One run: a task on every selected target of a tree that is being connected meanwhile.
//!
//! ```text
//!  connecting --> (order on its way) --> ready --> running --> result (see back.rs for a machine that boots again)
//!      |               |                    |          |
//!      +- unreachable  +- refused, failed   +----------+- lost, timed_out, cancelled
//! ```
//!
//! The order leaves before anybody has joined: hops keep it for children that are still being dialled.
//! Every target ends in exactly one result; [`Books`] makes sure of it.

mod again;
mod back;
mod books;
mod conduct;
pub mod order;
mod send;
mod waiting;

pub use back::{AfterReboot, PARAMS as REBOOT_PARAMS};
pub use books::CAPTURE_BYTES_MAX;

use crate::along::Along;
use crate::compile::Cache;
use crate::controller::Controller;
use crate::dry;
use crate::event::{Body, Event, Policy, Sequence, Traffic};
use crate::files;
use crate::proof::Pinned;
use crate::secret::plan::Sent;
use books::{Books, Captured, Target};
use conduct::Running;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use waft_proto::envelope::{Approval, Bytes};
use waft_proto::id::{Hash, NodeId, RunId};
use waft_proto::msg::{BlobKind, Engine, Profile};
use waft_proto::run::{Problem, Status, TargetState};
use waft_proto::secret::redact::{Patterns, Redactor};

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
    /// Tasks that it may call, and files that it may read.
    pub along: Along,
    /// Whoever says that it changed something is waited for until its machine has booted again.
    pub after_reboot: Option<AfterReboot>,
}

impl Request {
    /// How targets are waited for; a dry run reboots nothing.
    fn awaited(&self) -> Option<&AfterReboot> {
        self.after_reboot.as_ref().filter(|_| !self.check)
    }

    /// The same as a dry run that nobody waits after. It was not what anybody approved of.
    fn dry(&self) -> Request {
        let secrets = &self.secrets;
        Request {
            task: self.task.clone(),
            wasm: self.wasm.clone(),
            params: self.params.clone(),
            allow: self.allow.clone(),
            check: true,
            diff: false,
            timeout: self.timeout,
            head: self.head.clone(),
            vouched: Vouched { task: self.vouched.task.clone(), approval: None },
            secrets: Sent {
                secrets: secrets.secrets.clone(),
                end_to_end: secrets.end_to_end.clone(),
                hidden: secrets.hidden.clone(),
                unhidden: Vec::new(),
            },
            along: self.along.clone(),
            after_reboot: None,
        }
    }
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
    let patterns = Arc::new(Patterns::new(request.secrets.looked_for()));
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
                waiting: false,
                pinned: node.endpoint.node_key.map(Pinned::new),
            };
            (node.id, target)
        })
        .collect();
    // A node that compiles itself asks for it.
    let module = controller.node().store().insert(BlobKind::Task, request.wasm.clone());
    for callee in &request.along.callees {
        controller.node().store().insert(BlobKind::Task, callee.wasm.clone());
    }
    for file in &request.along.files {
        controller.node().store().insert(BlobKind::File, file.bytes.clone());
    }
    let (tell, told) = mpsc::unbounded_channel();
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
        behind: request.awaited().map(|_| waiting::behind(&shape)).unwrap_or_default(),
        let_go: BTreeMap::new(),
        waiting: BTreeMap::new(),
        cancelled: false,
        groups: BTreeMap::new(),
        waits: JoinSet::new(),
        told,
        tell,
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
        wasm: request.wasm.clone(),
        holds: request.awaited().is_some(),
    };
    let names = shape.selected().map(|node| node.endpoint.name.clone()).collect();
    books.emit(None, Body::RunStarted { task: request.task.clone(), hash: Some(module), targets: names });
    // A run that nobody can be told of is not begun: no order leaves.
    if let Some(error) = books.broken.take() {
        return Err(unreported(&error));
    }
    for node in books.open_nodes() {
        let name = books.targets.get(&node).map(|target| target.name.clone());
        books.emit(name, Body::TargetState { state: TargetState::Selected });
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
