//! One execution, from a worker to an outcome. Everything that a worker says is checked here: it may name
//! only the execution that runs, its pieces and their sums have limits, and a wrong word ends it.

use super::calls::{self, ExecRequest};
use super::job::Job;
use super::output::Counts;
use super::verdict::{Finish, stopped, verdict};
use super::worker::Worker;
use super::{JobEvent, Shared};
use crate::program::{self, Order, Program};
use crate::worker::wire::{End, FromWorker, Function, PART_BYTES_MAX, REQUEST_BYTES_MAX, ToWorker, parts};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use waft_proto::msg::{Outcome, Stream};
use waft_proto::run::{Problem, Status};

/// A guest whose execution became a program has this long to end.
const REPLACED_LIMIT: Duration = Duration::from_secs(2);
/// Programs of a dry run that are told, number.
const PROBES_MAX: usize = 1000;
/// Output that was written before a kill is passed on for this long.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

struct Execution<'a> {
    id: u64,
    job: &'a Job,
    stub: &'a Path,
    events: &'a mpsc::Sender<JobEvent>,
    worker: Worker,
    /// The worker may be used again after a good end.
    clean: bool,
    counts: Counts,
    /// The first grant that was missing.
    refusal: Option<Problem>,
    program: Option<Program>,
    /// Programs that a dry run started, as the task named them.
    probes: Vec<String>,
    request: Vec<u8>,
}

pub(super) async fn execute(
    shared: &Shared,
    job: &Job,
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
            let refused = problem.code.starts_with("wall.");
            let status = if refused { Status::Refused } else { Status::Failed };
            return Outcome::without_start(status, Some(problem));
        }
    };
    let (outcome, spare) = carry_out(shared, job, worker, events, cancelled).await;
    if let Some(worker) = spare {
        shared.keep(worker);
    }
    outcome
}

/// One execution on a loaded worker, which comes back if it may be used again.
async fn carry_out(
    shared: &Shared,
    job: &Job,
    worker: Worker,
    events: &mpsc::Sender<JobEvent>,
    cancelled: impl Future<Output = ()>,
) -> (Outcome, Option<Worker>) {
    let mut execution = Execution {
        id: shared.next_execution(),
        job,
        stub: &shared.stub,
        events,
        worker,
        clean: false,
        counts: Counts::new(job.key.load.limits.out_bytes),
        refusal: None,
        program: None,
        probes: Vec::new(),
        request: Vec::new(),
    };
    let began = Instant::now();
    let finish = tokio::select! {
        biased;
        () = cancelled => Finish::Cancelled,
        () = tokio::time::sleep(job.timeout) => Finish::Deadline,
        finish = execution.go() => finish,
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
            let call = match self.worker.channel.receive().await {
                Ok(Some(FromWorker::Output { execution, stream, bytes })) if execution == self.id => {
                    if stream == Stream::Log || bytes.is_empty() || bytes.len() > PART_BYTES_MAX {
                        return Finish::Broken("output of the wrong kind or size");
                    }
                    let bytes = bytes.to_vec();
                    if !self.pass_on(stream, bytes).await {
                        return Finish::Unheard;
                    }
                    continue;
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
                    function
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
            let request = std::mem::take(&mut self.request);
            let answer = match call {
                Function::Facts => self.facts(&request),
                Function::Exec => match self.exec(&request).await {
                    Ok(()) => return self.become_program().await,
                    Err(problem) => Err(problem),
                },
            };
            let answer = answer.unwrap_or_else(|problem| {
                let text = calls::error(&problem);
                if problem.code.starts_with("grant.") {
                    self.refusal.get_or_insert(problem);
                }
                text
            });
            if self.reply(answer.as_bytes()).await.is_err() {
                return Finish::Died;
            }
        }
    }

    fn facts(&self, request: &[u8]) -> Result<String, Problem> {
        calls::facts_request(request)?;
        self.job
            .grants
            .facts()
            .map_err(|missing| calls::withheld(self.job, |set| set.facts().is_ok()).unwrap_or(missing))?;
        Ok(crate::facts::facts().to_string())
    }

    async fn reply(&mut self, reply: &[u8]) -> io::Result<()> {
        for part in parts(reply) {
            self.worker.channel.send(&ToWorker::Reply { execution: self.id, part }).await?;
        }
        Ok(())
    }

    /// Counts and passes on; false when nobody listens.
    async fn pass_on(&mut self, stream: Stream, mut bytes: Vec<u8>) -> bool {
        self.counts.admit(stream, &mut bytes);
        bytes.is_empty() || self.events.send(JobEvent::Output { stream, bytes }).await.is_ok()
    }

    /// Starts the program, if it is granted.
    async fn exec(&mut self, request: &[u8]) -> Result<(), Problem> {
        let request = ExecRequest::parse(request)?;
        let argv = request.argv();
        let path = calls::allowed(self.job, &argv)?;
        let env: Vec<_> =
            self.job.granted_env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let order = Order { path: &path, argv: &argv, env: &env, stdin: request.stdin() };
        let program = Program::start(self.stub, &order)
            .await
            .map_err(|text| Problem::new("exec.start", format!("on `{}`, {text}", self.job.target)))?;
        self.program = Some(program);
        if self.job.key.load.dry.is_some() && self.probes.len() < PROBES_MAX {
            self.probes.push(calls::subject(&argv));
        }
        Ok(())
    }

    /// The guest ends, the program is followed in its place.
    async fn become_program(&mut self) -> Finish {
        self.clean = matches!(timeout(REPLACED_LIMIT, self.replace()).await, Ok(Ok(true)));
        loop {
            let Some(program) = &mut self.program else { return Finish::Died };
            match program.next().await {
                program::Event::Output(stream, bytes) => {
                    if !self.pass_on(stream, bytes).await {
                        return Finish::Unheard;
                    }
                }
                program::Event::Ended(ended) => {
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
        self.clean &= matches!(finish, Finish::Exit(_) | Finish::Program(_));
        // Its overlays are this execution's.
        self.clean &= self.job.key.load.dry.is_none();
        if let Some(program) = &mut self.program {
            program.kill().await;
        }
        let death = match finish {
            Finish::Died => self.worker.died().await,
            _ => None,
        };
        if !self.clean {
            self.worker.kill().await;
        }
        if matches!(finish, Finish::Deadline | Finish::Cancelled) {
            let _ = timeout(DRAIN_LIMIT, self.drain()).await;
        }
        self.program = None;
        let changes = match finish {
            Finish::Cancelled | Finish::Unheard => 0,
            _ => self.changes().await,
        };
        let verdict = verdict(finish, self.job, death, self.refusal.take());
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
            changes,
            audit: None,
        }
    }

    /// Reads what a dry run wrote, when nobody writes any more, and passes it on.
    async fn changes(&mut self) -> u32 {
        let overlays = std::mem::take(&mut self.worker.overlays);
        let mut changes = overlays.changes(self.job.diff);
        while let Some(line) = changes.next() {
            for part in line.chunks(PART_BYTES_MAX) {
                if !self.pass_on(Stream::Change, part.to_vec()).await {
                    return changes.count;
                }
            }
        }
        let probes =
            std::mem::take(&mut self.probes).into_iter().map(|probe| serde_json::json!({ "probe": probe }));
        let cut = changes.cut.then(|| serde_json::json!({ "cut": true }));
        for line in probes.chain(cut) {
            let line = format!("{line}\n").into_bytes();
            for part in line.chunks(PART_BYTES_MAX) {
                self.pass_on(Stream::Change, part.to_vec()).await;
            }
        }
        changes.count
    }

    /// What was written before the kill: it explains what took so long.
    async fn drain(&mut self) {
        while let Some(program::Event::Output(stream, bytes)) = self.program.as_mut().and_then(Program::left)
        {
            self.pass_on(stream, bytes).await;
        }
        loop {
            let (stream, bytes) = match self.worker.channel.try_receive() {
                Ok(Some(FromWorker::Output { execution, stream, bytes })) if execution == self.id => {
                    (stream, bytes.to_vec())
                }
                _ => return,
            };
            self.pass_on(stream, bytes).await;
        }
    }
}

#[cfg(test)]
mod tests;
