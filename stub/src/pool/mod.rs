//! Workers and what they are used for: one [`Job`] in, [`JobEvent`]s out, exactly one `Done` as the last.
//!
//! A worker belongs to one artifact, one set of grants and limits. After a clean end it stays warm for the
//! next job that is the same in all of that, stopped meanwhile; after a trap, a kill, a deadline or a wrong word it is killed.
//! Output flows only as fast as the receiver of the events takes it. A job that is given up (its future
//! dropped) leaves no process behind.

mod calls;
pub(crate) mod channel;
mod execution;
mod job;
mod limits;
mod output;
mod verdict;
mod worker;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use execution::hostile;
pub use job::Job;
use limits::Meter;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot};
use waft_proto::msg::{Outcome, Stream};
use waft_proto::run::Problem;
use worker::Worker;
pub(crate) use worker::sealed;

/// Warm workers that are kept, number. Each costs about 2 MB until the next job needs its place.
const IDLE_MAX: usize = 1;

/// Our own program, whatever became of its file.
const OURSELVES: &str = "/proc/self/exe";

#[derive(Debug)]
pub enum JobEvent {
    /// Module loaded, grants agreed.
    Ready,
    Running,
    /// At most `CHUNK_BYTES_MAX` bytes of one stream.
    Output {
        stream: Stream,
        bytes: Vec<u8>,
    },
    Done(Outcome),
}

pub struct Pool {
    shared: Rc<Shared>,
}

struct Shared {
    stub: PathBuf,
    idle: RefCell<Vec<Worker>>,
    executions: Cell<u64>,
    closed: Cell<bool>,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool::new()
    }
}

impl Pool {
    pub fn new() -> Pool {
        Pool::with_program(PathBuf::from(OURSELVES))
    }

    /// With another program than this one as worker: it must understand `--worker`.
    pub fn with_program(stub: PathBuf) -> Pool {
        let shared =
            Shared { stub, idle: RefCell::default(), executions: Cell::new(0), closed: Cell::new(false) };
        Pool { shared: Rc::new(shared) }
    }

    /// Runs a job to its end. A message through `cancel` ends it; that nobody holds the other end does not.
    ///
    /// Must be polled on the thread that polls all jobs of this pool, which must live as long as they: the
    /// kernel kills the workers when it ends.
    pub fn run(
        &self,
        job: Job,
        events: mpsc::Sender<JobEvent>,
        cancel: oneshot::Receiver<()>,
    ) -> impl Future<Output = ()> + use<> {
        let shared = Rc::clone(&self.shared);
        async move {
            let meter = Rc::new(Meter::new(job.grants.limits(), job.key.check));
            let outcome = execution::execute(&shared, &job, &meter, &events, cancel).await;
            // A receiver that is gone has nobody to tell.
            let _ = events.send(JobEvent::Done(outcome)).await;
        }
    }

    /// Kills the warm workers, and from now on keeps none. Jobs that still run are not touched: cancel them.
    pub async fn shutdown(&self) {
        self.shared.closed.set(true);
        for worker in self.shared.idle.take() {
            worker.end().await;
        }
    }

    /// Warm workers, by process id.
    pub fn idle(&self) -> Vec<u32> {
        self.shared.idle.borrow().iter().filter_map(Worker::pid).collect()
    }
}

impl Shared {
    fn next_execution(&self) -> u64 {
        let next = self.executions.get().wrapping_add(1);
        self.executions.set(next);
        next
    }

    /// A warm worker for this job, or a new one.
    async fn worker(&self, job: &Job) -> Result<Worker, Problem> {
        // What knows a secret is used for nothing else, and learns it in a process that knew nothing before.
        let warm = if job.secrets.is_empty() {
            let mut idle = self.idle.borrow_mut();
            let found = idle.iter().position(|worker| worker.fits(job));
            found.map(|at| idle.remove(at)).and_then(Worker::if_well)
        } else {
            None
        };
        match warm {
            Some(worker) => Ok(worker),
            None => Worker::start(&self.stub, job).await,
        }
    }

    fn keep(&self, worker: Worker) {
        if self.closed.get() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push(worker);
    }
}
