//! One execution, from a worker to an outcome. Everything that a worker says is checked here: it may name
//! only the execution that runs, its pieces and their sums have limits, and a wrong word ends it. What it asks for is
//! answered in [`answers`].

mod answers;
#[cfg(any(test, fuzzing))]
pub mod hostile;

use super::calls::emit::Pace;
use super::calls::exec::Taps;
use super::calls::other::Blobs;
use super::calls::record::{Placed, Records};
use super::job::Job;
use super::limits::Meter;
use super::output::Counts;
use super::verdict::{Finish, stopped, verdict};
use super::worker::Worker;
use super::{JobEvent, Shared};
use crate::dry::Found;
use crate::files::Roots;
use crate::net::Net;
use crate::program::{self, Program, Staying};
use crate::secret::Redactor;
use crate::worker::wire::{End, FromWorker, PART_BYTES_MAX, REQUEST_BYTES_MAX, ToWorker, parts};
use answers::Nested;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use waft_proto::limits::CHUNK_BYTES_MAX;
use waft_proto::msg::{Outcome, Stream};
use waft_proto::run::{Problem, Status};
use zeroize::Zeroizing;

/// A guest whose execution became a program has this long to end.
const REPLACED_LIMIT: Duration = Duration::from_secs(2);
/// Programs of a dry run that are told, number.
const PROBES_MAX: usize = 1000;
/// Between two changes of a dry run. Whoever reads them may compare large files that are the same, or wait for a file
/// server that is gone.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);
/// Output that was written before a kill is passed on for this long.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

struct Execution<'a> {
    id: u64,
    job: &'a Job,
    shared: &'a Rc<Shared>,
    meter: &'a Rc<Meter>,
    events: &'a mpsc::Sender<JobEvent>,
    worker: Worker,
    /// The worker may be used again after a good end.
    clean: bool,
    counts: Counts,
    redactor: Redactor,
    /// The first grant that was missing.
    refusal: Option<Problem>,
    program: Option<Started>,
    /// Programs that a dry run started, as the task named them.
    probes: Vec<String>,
    /// A task that was called and has not ended.
    nested: Option<Nested>,
    /// Changes of called tasks that have ended, by dry runs: they are this one's, too.
    below: u32,
    blobs: Blobs,
    net: Net,
    /// The granted directories, once a call was about them.
    roots: Option<Arc<Roots>>,
    pace: Pace,
    records: Records,
    /// The call that is being answered: function, subject, and since when.
    asked: Option<(&'static str, String, Instant)>,
    /// The files in memory of that call.
    placed: Vec<Placed>,
    /// What stays of its program.
    staying: Option<Staying>,
    /// The record of a call that has been answered, until it is on its way.
    unsent: Vec<u8>,
    request: Vec<u8>,
    deadline: Instant,
}

/// A program, and where its output goes.
struct Started {
    program: Program,
    taps: Taps,
}

pub(super) async fn execute(
    shared: &Rc<Shared>,
    job: &Job,
    meter: &Rc<Meter>,
    events: &mpsc::Sender<JobEvent>,
    cancel: oneshot::Receiver<()>,
) -> Outcome {
    let cancelled = async {
        if cancel.await.is_err() {
            std::future::pending().await
        }
    };
    tokio::pin!(cancelled);
    let worker = tokio::select! {
        biased;
        () = &mut cancelled => return Outcome::without_start(Status::Cancelled, Some(stopped(job))),
        worker = shared.worker(job) => worker,
    };
    let worker = match worker {
        Ok(worker) => worker,
        Err(problem) => {
            let refused = ["wall.", "check."].iter().any(|kind| problem.code.starts_with(kind));
            let status = if refused { Status::Refused } else { Status::Failed };
            return Outcome::without_start(status, Some(problem));
        }
    };
    let (outcome, spare) = carry_out(shared, job, meter, worker, events, cancelled).await;
    if let Some(worker) = spare {
        shared.keep(worker);
    }
    outcome
}

/// One execution on a loaded worker, which comes back if it may be used again.
async fn carry_out(
    shared: &Rc<Shared>,
    job: &Job,
    meter: &Rc<Meter>,
    worker: Worker,
    events: &mpsc::Sender<JobEvent>,
    cancelled: impl Future<Output = ()>,
) -> (Outcome, Option<Worker>) {
    let began = Instant::now();
    meter.worker(worker.pid());
    let mut execution = Execution {
        id: shared.next_execution(),
        job,
        shared,
        meter,
        events,
        worker,
        clean: false,
        counts: Counts::new(job.key.load.limits.out_bytes),
        redactor: Redactor::with(Arc::clone(&job.patterns)),
        refusal: None,
        program: None,
        probes: Vec::new(),
        nested: None,
        below: 0,
        blobs: Blobs::default(),
        // In a dry run these grants are not among them.
        net: Net::new(&job.grants),
        roots: None,
        pace: Pace::default(),
        records: Records::default(),
        asked: None,
        placed: Vec::new(),
        staying: None,
        unsent: Vec::new(),
        request: Vec::new(),
        deadline: began + job.timeout,
    };
    let finish = tokio::select! {
        biased;
        () = cancelled => Finish::Cancelled,
        () = tokio::time::sleep(job.timeout) => Finish::Deadline,
        problem = meter.exceeded(&job.task, &job.target) => Finish::Limit(problem),
        finish = execution.go() => finish,
    };
    // Here, and not when it is kept: until then somebody may have to take the output.
    if matches!(finish, Finish::Exit(_) | Finish::Program(_)) {
        execution.worker.pause();
    }
    // What was written since the last look counts as well.
    let finish = match (&finish, meter.overwritten(&job.task, &job.target)) {
        (Finish::Exit(_) | Finish::Program(_) | Finish::Trap(_), Some(problem)) => Finish::Limit(problem),
        _ => finish,
    };
    let outcome = execution.settle(finish, began).await;
    let Execution { worker, clean, .. } = execution;
    (outcome, clean.then_some(worker))
}

impl Execution<'_> {
    async fn go(&mut self) -> Finish {
        for event in [JobEvent::Ready, JobEvent::Running] {
            if self.events.send(event).await.is_err() {
                return Finish::Unheard;
            }
        }
        match self.start().await {
            Ok(()) => self.follow().await,
            Err(_) => Finish::Died,
        }
    }

    async fn start(&mut self) -> io::Result<()> {
        let mut first = true;
        for part in parts(&self.job.params) {
            let message = if first {
                let (args, env) = (vec![&*self.job.task], self.job.env());
                ToWorker::Start { execution: self.id, args, env, params: part }
            } else {
                ToWorker::Input(part)
            };
            self.worker.channel.send(&message).await?;
            first = false;
        }
        Ok(())
    }

    /// Reads what the worker says, until the end.
    async fn follow(&mut self) -> Finish {
        let mut asked = None;
        loop {
            let due = self.pace.due(Instant::now());
            let message = tokio::select! {
                biased;
                message = self.worker.channel.receive() => Some(message),
                () = until(due) => None,
            };
            let Some(message) = message else {
                if self.progress(false).await {
                    continue;
                }
                return Finish::Unheard;
            };
            let gone_on = match message {
                Ok(Some(FromWorker::Output { execution, stream, bytes })) if execution == self.id => {
                    let own = matches!(stream, Stream::Stdout | Stream::Stderr);
                    if !own || bytes.is_empty() || bytes.len() > PART_BYTES_MAX {
                        return Finish::Broken("output of the wrong kind or size");
                    }
                    let bytes = bytes.to_vec();
                    if self.pass_on(stream, bytes).await { Ok(()) } else { Err(Finish::Unheard) }
                }
                Ok(Some(FromWorker::Call { execution, function, part })) if execution == self.id => {
                    if asked.is_some_and(|asked| asked != function)
                        || self.request.len() + part.bytes.len() > REQUEST_BYTES_MAX
                    {
                        return Finish::Broken("a call of the wrong kind or size");
                    }
                    self.request.extend_from_slice(part.bytes);
                    asked = part.more.then_some(function);
                    if part.more {
                        continue;
                    }
                    let request = Zeroizing::new(std::mem::take(&mut self.request));
                    self.serve(function, &request).await
                }
                Ok(Some(FromWorker::Read { execution, handle, limit }))
                    if execution == self.id && asked.is_none() =>
                {
                    match usize::try_from(limit) {
                        Ok(limit @ 1..=PART_BYTES_MAX) => self.read(handle, limit).await,
                        _ => return Finish::Broken("a read of the wrong size"),
                    }
                }
                Ok(Some(FromWorker::Write { execution, handle, bytes }))
                    if execution == self.id && asked.is_none() =>
                {
                    if bytes.is_empty() || bytes.len() > PART_BYTES_MAX {
                        return Finish::Broken("a write of the wrong size");
                    }
                    let bytes = bytes.to_vec();
                    self.write(handle, &bytes).await
                }
                Ok(Some(FromWorker::Done { execution, end, stdout_bytes, stderr_bytes }))
                    if execution == self.id =>
                {
                    let finish = match end {
                        End::Exit(code) => Finish::Exit(code),
                        End::Trap(text) => Finish::Trap(text.to_owned()),
                        End::Unkept(errno) => {
                            let (task, target) = (&self.job.task, &self.job.target);
                            Finish::Unkept(self.worker.overlays.unkept(errno, task, target))
                        }
                        End::Replaced => return Finish::Broken("the end of a call that was not made"),
                    };
                    self.counts.claimed(Stream::Stdout, stdout_bytes);
                    self.counts.claimed(Stream::Stderr, stderr_bytes);
                    self.clean = matches!(finish, Finish::Exit(_));
                    return finish;
                }
                Ok(Some(_)) => return Finish::Broken("a message that does not belong here"),
                Ok(None) => return Finish::Died,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Finish::Broken("a message that cannot be decoded");
                }
                Err(_) => return Finish::Died,
            };
            if let Err(finish) = gone_on {
                return finish;
            }
        }
    }

    async fn reply(&mut self, reply: &[u8]) -> io::Result<()> {
        for part in parts(reply) {
            self.worker.channel.send(&ToWorker::Reply { execution: self.id, part }).await?;
        }
        Ok(())
    }

    /// The one way out for all output: takes secrets out, counts and passes on; false when nobody listens.
    async fn pass_on(&mut self, stream: Stream, bytes: Vec<u8>) -> bool {
        let bytes = self.redactor.push(stream, bytes);
        self.let_out(stream, bytes).await
    }

    async fn let_out(&mut self, stream: Stream, mut bytes: Vec<u8>) -> bool {
        // Records have a limit of their own, in number.
        if stream != Stream::Call {
            self.counts.admit(stream, &mut bytes);
        }
        // The name of a secret may be longer than its value.
        while bytes.len() > CHUNK_BYTES_MAX {
            let rest = bytes.split_off(CHUNK_BYTES_MAX);
            if self.events.send(JobEvent::Output { stream, bytes }).await.is_err() {
                return false;
            }
            bytes = rest;
        }
        bytes.is_empty() || self.events.send(JobEvent::Output { stream, bytes }).await.is_ok()
    }

    /// Passes on how far the task is, if that is due; at the end in any case.
    async fn progress(&mut self, end: bool) -> bool {
        match self.pace.pop(Instant::now(), end) {
            Some(line) => self.pass_on(Stream::Progress, line).await,
            None => true,
        }
    }

    /// The guest ends, the program is followed in its place.
    async fn become_program(&mut self) -> Finish {
        self.clean = matches!(timeout(REPLACED_LIMIT, self.replace()).await, Ok(Ok(true)));
        loop {
            let Some(started) = &mut self.program else { return Finish::Died };
            match started.program.next().await {
                program::Event::Output(stream, bytes) => {
                    if !self.pass_on(stream, bytes).await {
                        return Finish::Unheard;
                    }
                }
                program::Event::Ended(ended) => {
                    self.meter.program_ended(started.program.cpu(), started.program.written(), None);
                    self.program = None;
                    return Finish::Program(ended);
                }
            }
        }
    }

    /// True when the guest is over and the worker free.
    async fn replace(&mut self) -> io::Result<bool> {
        self.worker.channel.send(&ToWorker::Replaced { execution: self.id }).await?;
        let end = self.worker.channel.receive().await?;
        Ok(
            matches!(end, Some(FromWorker::Done { execution, end: End::Replaced, .. }) if execution == self.id),
        )
    }

    /// Ends what must end, and says how it was.
    async fn settle(&mut self, finish: Finish, began: Instant) -> Outcome {
        self.clean &= matches!(finish, Finish::Exit(_) | Finish::Program(_)) && self.job.secrets.is_empty();
        // Its overlays are this execution's.
        self.clean &= self.job.key.load.dry.is_none();
        self.meter.close();
        if let Some(started) = &mut self.program {
            started.program.kill().await;
            // Its end may be over, and its output not: then it has left what it may.
            self.staying = Some(started.program.staying());
        }
        self.end_nested().await;
        let death = match finish {
            Finish::Died => self.worker.died().await,
            _ => None,
        };
        if !self.clean {
            self.worker.kill().await;
        }
        if matches!(finish, Finish::Deadline | Finish::Cancelled | Finish::Limit(_)) {
            let _ = timeout(DRAIN_LIMIT, self.drain()).await;
        }
        self.program = None;
        let changes = match finish {
            Finish::Cancelled | Finish::Unheard => 0,
            _ => self.changes().await,
        };
        if !matches!(finish, Finish::Unheard) {
            self.last_records(&finish).await;
            for (stream, bytes) in self.redactor.finish_all() {
                self.let_out(stream, bytes).await;
            }
        }
        let mut verdict = verdict(finish, self.job, death, self.refusal.take());
        verdict.problem.iter_mut().for_each(|problem| self.job.patterns.clean_problem(problem));
        let (stdout_bytes, stdout_truncated) = self.counts.total(Stream::Stdout);
        let (stderr_bytes, stderr_truncated) = self.counts.total(Stream::Stderr);
        Outcome {
            status: verdict.status,
            exit_code: verdict.exit_code,
            signal: verdict.signal,
            stdout_bytes,
            stderr_bytes,
            stdout_truncated,
            stderr_truncated,
            ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            walls: self.worker.walls.clone(),
            problem: verdict.problem,
            changes: changes.saturating_add(self.below),
            audit: None,
        }
    }

    /// Reads what a dry run wrote, when nobody writes any more, and passes it on.
    async fn changes(&mut self) -> u32 {
        let overlays = std::mem::take(&mut self.worker.overlays);
        // Until the reader says that it is through.
        let (mut count, mut cut) = (0_u32, true);
        let mut found = overlays.read(self.job.diff);
        while let Ok(Some(found)) = timeout(CHANGE_LIMIT, found.recv()).await {
            match found {
                Found::Change(line) => {
                    count = count.saturating_add(1);
                    for part in line.chunks(PART_BYTES_MAX) {
                        if !self.pass_on(Stream::Change, part.to_vec()).await {
                            return count;
                        }
                    }
                }
                Found::End { cut: is_cut } => cut = is_cut,
            }
        }
        let probes =
            std::mem::take(&mut self.probes).into_iter().map(|probe| serde_json::json!({ "probe": probe }));
        let cut = cut.then(|| serde_json::json!({ "cut": true }));
        for line in probes.chain(cut) {
            let line = format!("{line}\n").into_bytes();
            for part in line.chunks(PART_BYTES_MAX) {
                self.pass_on(Stream::Change, part.to_vec()).await;
            }
        }
        count
    }

    /// What was written before the kill: it explains what took so long.
    async fn drain(&mut self) {
        while let Some(started) = &mut self.program
            && let Some(program::Event::Output(stream, bytes)) = started.program.left()
        {
            if let Some(bytes) = started.taps.take(stream, bytes) {
                self.pass_on(stream, bytes).await;
            }
        }
        loop {
            let (stream, bytes) = match self.worker.channel.try_receive() {
                Ok(Some(FromWorker::Output { execution, stream, bytes }))
                    if execution == self.id && matches!(stream, Stream::Stdout | Stream::Stderr) =>
                {
                    (stream, bytes.to_vec())
                }
                _ => return,
            };
            self.pass_on(stream, bytes).await;
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
