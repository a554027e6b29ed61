//! What a task asks for, and what it is told: each call is decided with the stub's own copy of the grants, done by the
//! stub, recorded, and answered.

use super::super::calls::emit::{Emit, lines};
use super::super::calls::exec::{ExecRequest, Kept};
use super::super::calls::other::{self, Blobs};
use super::super::calls::{self, record};
use super::{Execution, Finish, PROBES_MAX, Started, until};
use crate::files::{self, Roots};
use crate::pool::job::Job;
use crate::pool::{JobEvent, execution};
use crate::process;
use crate::program::{self, Ended, Order, Program, confine};
use crate::worker::wire::{Function, Hitch, PART_BYTES_MAX, REPLY_BYTES_MAX, ToWorker};
use serde_json::{Map, Value, json};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use waft_proto::grant::Grant;
use waft_proto::msg::{Outcome, Stream};
use waft_proto::run::{Problem, Status};
use zeroize::Zeroize;

/// Stdout of a task that was called, as far as its caller gets it, bytes.
const CALLEE_OUT_BYTES_MAX: usize = 1 << 20;
/// Stack of the thread that works on files, bytes.
const FILE_STACK_BYTES: usize = 256 * 1024;
/// From the order to stop until a task that was called is gone.
const CALLEE_END_LIMIT: Duration = Duration::from_secs(10);

/// A task that was called.
pub(super) struct Nested {
    future: Pin<Box<dyn Future<Output = ()>>>,
    events: mpsc::Receiver<JobEvent>,
    cancel: Option<oneshot::Sender<()>>,
    over: bool,
}

impl Nested {
    /// The next event, and none after the last. Safe to give up.
    async fn next(&mut self) -> Option<JobEvent> {
        loop {
            tokio::select! {
                biased;
                event = self.events.recv() => return event,
                () = &mut self.future, if !self.over => self.over = true,
            }
        }
    }
}

/// Why a call has no answer.
pub(super) enum Fail {
    /// It is refused or failed.
    Said(Problem),
    /// And so is the execution.
    Over(Finish),
}

impl From<Problem> for Fail {
    fn from(problem: Problem) -> Fail {
        Fail::Said(problem)
    }
}

impl Execution<'_> {
    /// Answers one call. An error is the end of the execution.
    pub(super) async fn serve(&mut self, function: Function, request: &[u8]) -> Result<(), Finish> {
        // What is told of it is cut and quoted, and then half of a value, or one that is escaped twice, would not be found.
        let clean = (!self.job.patterns.is_empty()).then(|| self.job.patterns.clean(request));
        let told = clean.as_deref().unwrap_or(request);
        let subject = record::subject(function, told);
        let tells = clean.is_some() && subject != record::subject(function, request);
        self.asked = Some((function.word(), subject, Instant::now()));
        // Read without secrets where it can be: of what is parsed copies are left in memory. One that is a number or a key is not.
        let request = match function {
            Function::Emit if Emit::parse(told).is_ok() => told,
            _ => request,
        };
        let (code, mut text) = match self.call(function, request).await {
            Ok(Some(text)) if text.len() > REPLY_BYTES_MAX => {
                let text =
                    format!("the answer to `{}` is longer than {REPLY_BYTES_MAX} bytes", function.word());
                let problem = Problem::new("call.long", text);
                (Some(problem.code.clone()), Some(calls::error(&problem)))
            }
            Ok(text) => (None, text),
            Err(Fail::Over(finish)) => return Err(finish),
            Err(Fail::Said(mut problem)) => {
                if tells {
                    // It may name half of a value: the directory of a path.
                    let subject = self.asked.as_ref().map_or("", |asked| &asked.1);
                    problem.message =
                        format!("`{subject}` was refused; more is not told, because it holds a secret");
                    problem.hint = None;
                }
                let text = calls::error(&problem);
                let code = problem.code.clone();
                self.refused(problem);
                (Some(code), Some(text))
            }
        };
        // What was emitted is its own record.
        let asked = self.asked.take().filter(|_| function != Function::Emit || code.is_some());
        self.record(asked, code.as_deref()).await?;
        let Some(text) = &mut text else { return Err(self.become_program().await) };
        let replied = self.reply(text.as_bytes()).await;
        if function == Function::Secret {
            text.zeroize();
            self.worker.channel.wipe();
        }
        replied.map_err(|_| Finish::Died)
    }

    /// The answer; none when the execution is a program now.
    async fn call(&mut self, function: Function, request: &[u8]) -> Result<Option<String>, Fail> {
        Ok(Some(match function {
            Function::Facts => self.facts(request)?,
            Function::Exec => return self.exec(request).await,
            Function::Emit => self.emit(request).await?,
            Function::Task => self.task(request).await?,
            Function::Blob => self.blobs.call(self.job, request)?,
            Function::Secret => other::secret(self.job, request)?,
            Function::File => self.file(request).await?,
            Function::Net => {
                let job = self.job;
                self.net.call(request, &job.task, &job.target).await.map_err(|problem| self.why(problem))?
            }
        }))
    }

    /// The first refusal is what an execution that fails is told about.
    fn refused(&mut self, problem: Problem) {
        if problem.code.starts_with("grant.") {
            self.refusal.get_or_insert(problem);
        }
    }

    async fn record(
        &mut self,
        asked: Option<(&'static str, String, Instant)>,
        code: Option<&str>,
    ) -> Result<(), Finish> {
        let files = std::mem::take(&mut self.placed);
        let staying = self.staying.take();
        let Some((call, subject, since)) = asked else { return Ok(()) };
        let line = self.records.line(call, &subject, &files, staying.as_ref(), code, since.elapsed());
        let Some(line) = line else { return Ok(()) };
        // Who waits may be cancelled meanwhile, and the call was made all the same.
        self.unsent = self.redactor.push(Stream::Call, line);
        if self.send_record().await { Ok(()) } else { Err(Finish::Unheard) }
    }

    async fn send_record(&mut self) -> bool {
        let heard = self.let_out(Stream::Call, self.unsent.clone()).await;
        self.unsent.clear();
        heard
    }

    /// At the end: the call that did not come back, what waited, and how many records there are not.
    pub(super) async fn last_records(&mut self, finish: &Finish) {
        let code = match finish {
            Finish::Deadline => "task.timeout",
            Finish::Limit(problem) => &problem.code,
            _ => "task.cancelled",
        };
        self.send_record().await;
        let asked = self.asked.take();
        let _ = self.record(asked, Some(code)).await;
        self.progress(true).await;
        if let Some(line) = self.records.rest() {
            self.pass_on(Stream::Call, line).await;
        }
    }

    fn facts(&self, request: &[u8]) -> Result<String, Problem> {
        calls::facts_request(request)?;
        other::granted(self.job, &Grant::Facts)?;
        Ok(crate::facts::facts().to_string())
    }

    /// Does one thing with files. On a thread of its own: a file server that is gone must not hold the stub, nor the
    /// deadline of this task.
    async fn file(&mut self, request: &[u8]) -> Result<String, Problem> {
        let job = self.job;
        let failed = |why: &str| {
            Problem::new("file.failed", format!("task `{}` on `{}`: {why}", job.task, job.target))
        };
        let (known, request) = (self.roots.clone(), request.to_vec());
        // In a dry run what may be written to is what the worker sees: overlays.
        let seen = match &known {
            None if job.key.load.dry.is_some() => Some(
                self.worker
                    .overlays
                    .roots(&job.key.load.dirs)
                    .map_err(|error| failed(&format!("a granted directory cannot be opened: {error}")))?,
            ),
            _ => None,
        };
        let (dirs, task, target) = (job.key.load.dirs.clone(), job.task.clone(), job.target.clone());
        let (answer, done) = oneshot::channel();
        let work = move || {
            let opened = match (known, seen) {
                (Some(roots), _) => Ok(roots),
                (None, Some(seen)) => seen().map(|seen| Arc::new(Roots::of(seen))).map_err(|error| {
                    let why = format!("a granted directory cannot be opened: {error}");
                    Problem::new("file.failed", format!("task `{task}` on `{target}`: {why}"))
                }),
                (None, None) => Roots::open(&dirs).map(Arc::new),
            };
            let done = opened.map(|roots| {
                let called = files::call(&request, &roots, &task, &target);
                (roots, called)
            });
            // Whoever asked may be gone.
            let _ = answer.send(done);
        };
        std::thread::Builder::new()
            .stack_size(FILE_STACK_BYTES)
            .spawn(work)
            .map_err(|error| failed(&format!("no thread for it: {error}")))?;
        let (roots, called) = done.await.map_err(|_| failed("the call was not done"))??;
        self.roots = Some(roots);
        called.map(|answer| answer.text).map_err(|problem| self.why(problem))
    }

    /// Of a directory or address that is missing: who took it away.
    fn why(&self, problem: Problem) -> Problem {
        let job = self.job;
        let line = problem.hint.as_deref().and_then(|hint| hint.strip_prefix("--allow "));
        let wanted = line.and_then(|line| Grant::parse(line.trim_matches(['"', '\''])).ok());
        let Some(grant) = wanted.filter(|_| problem.code == "grant.missing") else { return problem };
        if job.key.check && job.key.given.check(&grant).is_ok() {
            let text = format!("task `{}` on `{}` may not do that: this is a dry run", job.task, job.target);
            return Problem::new("grant.check", text).hint(format!("a real run may, by the grant {grant}"));
        }
        calls::withheld(job, |set| set.check(&grant).is_ok()).unwrap_or(problem)
    }

    async fn emit(&mut self, request: &[u8]) -> Result<String, Fail> {
        let heard = match Emit::parse(request)?.cleaned(&self.job.patterns) {
            None => true,
            Some(Emit::Log(text)) => {
                let mut heard = true;
                for piece in lines(&text).chunks(PART_BYTES_MAX) {
                    heard = heard && self.pass_on(Stream::Log, piece.to_vec()).await;
                }
                heard
            }
            Some(Emit::Progress(progress)) => {
                self.pace.push(progress);
                self.progress(false).await
            }
        };
        if heard { Ok("{}".to_owned()) } else { Err(Fail::Over(Finish::Unheard)) }
    }

    /// Starts the program, if it is granted, and follows it to its end unless it replaces the task.
    async fn exec(&mut self, request: &[u8]) -> Result<Option<String>, Fail> {
        let request = ExecRequest::parse(request)?;
        let job = self.job;
        self.placed = request.placed(&job.patterns);
        let argv = request.argv();
        let path = calls::allowed(job, &argv, request.stays())?;
        #[cfg(feature = "site")]
        if let (false, Some(withheld)) = (request.confined(), &job.withheld) {
            withheld.check_unconfined(&path)?;
        }
        let probe = (job.key.load.dry.is_some() && self.probes.len() < PROBES_MAX).then(|| {
            let mut words = argv.join(" ");
            job.patterns.clean_text(&mut words);
            calls::cut_text(&words, record::SUBJECT_BYTES_MAX).to_owned()
        });
        let env = request.env(job)?;
        let user = request.user(&job.target)?;
        let confined = if request.confined() { Some(self.confined(&path)?) } else { None };
        self.meter.may_start(&job.task, &job.target)?;
        if request.stays() {
            self.meter.may_leave(&job.task, &job.target)?;
        }
        let files = request.files(job).await?;
        let order = Order {
            path: &path,
            argv,
            env,
            stdin: request.input(),
            cwd: request.cwd(),
            user,
            confined,
            files: files.iter().map(|(file, at)| (file.as_raw_fd(), *at)).collect(),
            // The second is for whoever looks: he says more than a signal does.
            cpu_seconds: self.meter.left().map(|left| left.as_secs() + 2),
        };
        let began = Instant::now();
        let program =
            Program::start(&self.shared.stub, &order, request.stays()).await.map_err(|failure| {
                let code = match failure.hitch {
                    Hitch::Start => "exec.start",
                    Hitch::Cwd => "exec.cwd",
                    Hitch::Confine => "exec.confine",
                };
                let problem = Problem::new(code, format!("on `{}`, {}", job.target, failure.text));
                match request.hint().filter(|_| failure.hitch == Hitch::Start) {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                }
            })?;
        drop(files);
        self.meter.program(program.supervisor());
        if let Some(probe) = probe {
            self.probes.push(probe);
        }
        self.program = Some(Started { program, taps: request.taps() });
        if request.replaces() {
            return Ok(None);
        }
        let (ended, timed_out) = self.await_program(request.timeout().map(|limit| began + limit)).await?;
        let Some(Started { mut program, taps }) = self.program.take() else {
            return Err(Fail::Over(Finish::Died));
        };
        let staying = request.stays().then(|| program.staying());
        let unstayed = program.unstayed();
        drop(program);
        if let Some(why) = unstayed {
            let text = format!(
                "on `{}`, what `{path}` left running could not stay and was ended: {why}",
                job.target
            );
            return Err(Problem::new("exec.stay", text).into());
        }
        let answer = taps.answer(ended, timed_out, began.elapsed(), staying.as_ref());
        self.staying = staying;
        Ok(Some(answer))
    }

    fn confined(&self, path: &str) -> Result<confine::Confined, Problem> {
        if let Some(why) = confine::lacking() {
            let text =
                format!("`{path}` was not started on `{}`: it cannot be confined, {why}", self.job.target);
            return Err(Problem::new("exec.confine", text));
        }
        let network = self.job.grants.iter().any(|grant| matches!(grant, Grant::Net(_)));
        Ok(confine::Confined { dirs: self.job.key.load.dirs.clone(), network })
    }

    /// Until the program and all below it are gone, by itself or at its own deadline.
    async fn await_program(&mut self, deadline: Option<Instant>) -> Result<(Ended, bool), Fail> {
        let (mut deadline, mut timed_out) = (deadline, false);
        let mut killed_at = Duration::ZERO;
        loop {
            let Some(started) = &mut self.program else { return Err(Fail::Over(Finish::Died)) };
            let event = tokio::select! {
                biased;
                () = until(deadline) => None,
                event = started.program.next() => Some(event),
            };
            match event {
                None => {
                    (deadline, timed_out) = (None, true);
                    killed_at = started.program.supervisor().map_or(killed_at, |pid| process::usage(pid).cpu);
                    started.program.kill().await;
                }
                Some(program::Event::Output(stream, bytes)) => {
                    if let Some(bytes) = started.taps.take(stream, bytes)
                        && !self.pass_on(stream, bytes).await
                    {
                        return Err(Fail::Over(Finish::Unheard));
                    }
                }
                Some(program::Event::Ended(ended)) => {
                    let program = &started.program;
                    let cpu = program.cpu().max(killed_at);
                    self.meter.program_ended(cpu, program.written(), program.spared());
                    let ended = match ended {
                        Ended::Unknown if timed_out => Ended::Signal(libc::SIGKILL),
                        ended => ended,
                    };
                    return Ok((ended, timed_out));
                }
            }
        }
    }

    /// Runs another task, in a worker of its own, with no more than this one was given.
    async fn task(&mut self, request: &[u8]) -> Result<String, Fail> {
        let request = other::task(self.job, request)?;
        let params = Value::Object(request.params).to_string().into_bytes();
        let left = self.deadline.saturating_duration_since(Instant::now());
        let job = self.job.call(&request.name, params, left)?;
        let meter = self.meter.of_callee(job.grants.limits(), job.key.check);
        let (events, receiver) = mpsc::channel(1);
        let (cancel, cancelled) = oneshot::channel();
        let shared = Rc::clone(self.shared);
        let future = async move {
            let job: Job = job;
            let outcome = execution::execute(&shared, &job, &meter, &events, cancelled).await;
            // Who called it may be gone.
            let _ = events.send(JobEvent::Done(outcome)).await;
        };
        let nested = Nested { future: Box::pin(future), events: receiver, cancel: Some(cancel), over: false };
        self.nested = Some(nested);
        let mut stdout = Kept { limit: CALLEE_OUT_BYTES_MAX, ..Kept::default() };
        let outcome = loop {
            let Some(nested) = &mut self.nested else { return Err(Fail::Over(Finish::Died)) };
            match nested.next().await {
                Some(JobEvent::Output { stream: Stream::Stdout, bytes }) => stdout.add(&bytes),
                Some(JobEvent::Output { stream, bytes }) => {
                    if !self.overheard(stream, bytes).await {
                        return Err(Fail::Over(Finish::Unheard));
                    }
                }
                Some(JobEvent::Ready | JobEvent::Running) => {}
                Some(JobEvent::Done(outcome)) => break outcome,
                None => return Err(Fail::Over(Finish::Died)),
            }
        };
        self.nested = None;
        self.meter.callee_ended();
        self.below = self.below.saturating_add(outcome.changes);
        Ok(told(&outcome, stdout))
    }

    /// What a called task says beside its stdout is its caller's.
    async fn overheard(&mut self, stream: Stream, bytes: Vec<u8>) -> bool {
        match stream {
            Stream::Call if !self.records.room() => true,
            // How far a part is says nothing about the whole.
            Stream::Progress => true,
            stream => self.pass_on(stream, bytes).await,
        }
    }

    /// Ends a task that was called and has not ended, and waits until nothing of it is left.
    pub(super) async fn end_nested(&mut self) {
        let deadline = Instant::now() + CALLEE_END_LIMIT;
        if let Some(cancel) = self.nested.as_mut().and_then(|nested| nested.cancel.take()) {
            let _ = cancel.send(());
        }
        while let Some(nested) = &mut self.nested {
            match tokio::time::timeout_at(deadline, nested.next()).await {
                Ok(Some(JobEvent::Output { stream, bytes })) if stream != Stream::Stdout => {
                    // Nobody of whom we heard that he is gone is waited for.
                    if timeout(super::DRAIN_LIMIT, self.overheard(stream, bytes)).await != Ok(true) {
                        self.nested = None;
                    }
                }
                Ok(Some(JobEvent::Done(outcome))) => {
                    self.below = self.below.saturating_add(outcome.changes);
                    self.nested = None;
                }
                Ok(None) | Err(_) => self.nested = None,
                Ok(Some(_)) => {}
            }
        }
    }

    /// Answers a `read`.
    pub(super) async fn read(&mut self, handle: u32, limit: usize) -> Result<(), Finish> {
        let asked = self.moving("read", handle);
        let received;
        let read = match Blobs::owns(handle) {
            true => self.blobs.read(handle, limit),
            false => {
                received = self.net.read(handle, limit).await;
                received.as_deref().map_err(Clone::clone)
            }
        };
        match read {
            Ok(bytes) => {
                self.asked = None;
                let data = ToWorker::Data { execution: self.id, bytes };
                self.worker.channel.send(&data).await.map_err(|_| Finish::Died)
            }
            Err(problem) => self.failed(asked, problem).await,
        }
    }

    /// Answers a `write`.
    pub(super) async fn write(&mut self, handle: u32, bytes: &[u8]) -> Result<(), Finish> {
        let asked = self.moving("write", handle);
        let written = match Blobs::owns(handle) {
            true => Err(Problem::new("blob.read_only", "a blob can only be read")),
            false => self.net.write(handle, bytes).await,
        };
        match written {
            Ok(count) => {
                self.asked = None;
                let bytes = u32::try_from(count).unwrap_or(u32::MAX);
                let wrote = ToWorker::Wrote { execution: self.id, bytes };
                self.worker.channel.send(&wrote).await.map_err(|_| Finish::Died)
            }
            Err(problem) => self.failed(asked, problem).await,
        }
    }

    /// Notes what is waited for, for the case that the time is over first.
    fn moving(&mut self, call: &'static str, handle: u32) -> (&'static str, String, Instant) {
        let asked = (call, format!("handle {handle}"), Instant::now());
        self.asked = Some(asked.clone());
        asked
    }

    /// Only what went wrong with a handle is recorded: that it is there was recorded when it was given.
    async fn failed(
        &mut self,
        asked: (&'static str, String, Instant),
        problem: Problem,
    ) -> Result<(), Finish> {
        self.asked = None;
        self.record(Some(asked), Some(&problem.code)).await?;
        let text = calls::error(&problem);
        self.refused(problem);
        self.reply(text.as_bytes()).await.map_err(|_| Finish::Died)
    }
}

/// How a called task ended, for its caller.
fn told(outcome: &Outcome, mut stdout: Kept) -> String {
    stdout.truncated |= outcome.stdout_truncated;
    let object: Option<Map<String, Value>> =
        if stdout.truncated { None } else { serde_json::from_slice(&stdout.bytes).ok() };
    let says = object.as_ref().is_some_and(|object| object.get("changed") == Some(&Value::Bool(true)));
    // What a dry run found counts, whatever the task says.
    let changed = says || outcome.changes > 0;
    let status = if outcome.status == Status::Ok && changed { Status::Changed } else { outcome.status };
    let problem = outcome
        .problem
        .as_ref()
        .map(|problem| json!({"code": problem.code, "message": problem.message, "hint": problem.hint}));
    let mut answer = Map::new();
    answer.insert("status".to_owned(), status.word().into());
    answer.insert("exit_code".to_owned(), json!(outcome.exit_code));
    answer.insert("signal".to_owned(), json!(outcome.signal));
    answer.insert("ms".to_owned(), outcome.ms.into());
    answer.insert("problem".to_owned(), json!(problem));
    match object {
        Some(object) => {
            answer.insert("result".to_owned(), Value::Object(object));
        }
        None => stdout.tell("stdout", &mut answer),
    }
    Value::Object(answer).to_string()
}
