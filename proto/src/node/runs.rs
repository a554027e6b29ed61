//! Executions on this node, from the order to the result: verified, waiting for blobs, running, ended.
//! Every order that is taken gets exactly one result.

use super::{Event, Node, ReadyRun};
use crate::envelope::Envelope;
use crate::id::{Hash, NodeRange, RunId};
use crate::limits::*;
use crate::msg::*;
use crate::run::{Problem, Status};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub(super) type Nonce = [u8; 8];

pub(super) struct WaitingRun {
    ready: Envelope,
    order: Hash,
    /// What is executed: artifacts, or modules on a node that compiles. The task first, then those that it may call.
    code: Vec<Hash>,
    input: WaitingInput,
    /// Pinned while the run waits and while it runs.
    needs: BTreeSet<(Hash, BlobKind)>,
    pub(super) deadline: u64,
}

enum WaitingInput {
    Inline(Arc<[u8]>),
    Blob(Hash),
}

pub(super) struct Running {
    nonce: Nonce,
    held: Vec<Hash>,
}

impl Node {
    pub(super) fn accept_run(&mut self, run: Run) {
        let (Some(me), Some(engine)) = (self.id, self.engine) else { return };
        let envelope = match Envelope::open(&run.envelope, &run.signature, &self.controller, self.unix()) {
            Ok(envelope) => envelope,
            Err(problem) => return self.refuse_unread(&run.envelope, problem),
        };
        let id = envelope.run;
        if self.is_known(id) || self.ended.contains(&(id, envelope.nonce)) {
            return;
        }
        if !envelope.targets.iter().any(|range| range.contains(me)) {
            let problem = Problem::new("envelope.target", "the signed order does not name this target");
            return self.refuse(&envelope, Status::Refused, problem);
        }
        let (params, input) = match run.input {
            Input::Inline(bytes) => (Hash::of(&bytes), WaitingInput::Inline(bytes.into())),
            Input::Blob { hash, .. } => (hash, WaitingInput::Blob(hash)),
        };
        if params != envelope.params {
            let problem =
                Problem::new("envelope.params", "the parameters are not those that the controller signed");
            return self.refuse(&envelope, Status::Refused, problem);
        }
        let workers: Vec<Hash> = match self.compiles {
            true => Vec::new(),
            false => envelope.tasks().filter_map(|task| task.artifact(engine)?.worker).collect(),
        };
        let code = envelope.tasks().map(|task| match self.compiles {
            true => Some(task.module),
            false => task.artifact(engine).map(|artifact| artifact.hash),
        });
        let Some(code) = code.collect::<Option<Vec<Hash>>>() else {
            return self.say(me, Report::NoArtifact { run: id, engine });
        };
        let mut needs: BTreeSet<_> = code.iter().map(|hash| (*hash, self.code_kind())).collect();
        needs.extend(workers.into_iter().map(|hash| (hash, BlobKind::Worker)));
        needs.extend(envelope.files.iter().map(|file| (file.hash, BlobKind::File)));
        if let WaitingInput::Blob(hash) = &input {
            needs.insert((*hash, BlobKind::File));
        }
        if let Some(problem) = needs.iter().find_map(|(hash, _)| self.unstorable.get(hash)).cloned() {
            return self.refuse(&envelope, Status::Failed, problem);
        }
        if self.waiting.len() >= WAITING_RUNS_MAX {
            let message = format!("{WAITING_RUNS_MAX} runs wait already for their modules on this target");
            return self.refuse(&envelope, Status::Failed, Problem::new("run.queue", message));
        }
        for (hash, kind) in &needs {
            self.store.pin(*hash);
            if self.store.expected(*hash, *kind).is_none() {
                self.ask_parent(*hash, *kind);
            }
        }
        let deadline = self.now.saturating_add(FETCH_IDLE_MS);
        let order = Hash::of(&run.envelope);
        self.waiting.push(WaitingRun { ready: envelope, order, code, input, needs, deadline });
        self.start_ready();
    }

    /// What this node executes.
    fn code_kind(&self) -> BlobKind {
        if self.compiles { BlobKind::Task } else { BlobKind::Artifact }
    }

    /// Keeps the secrets of a run that is about to come. Nobody but the executor can read them.
    pub(super) fn keep_secrets(&mut self, run: RunId, sealed: Vec<u8>) {
        self.secrets.retain(|(kept, _)| *kept != run);
        if self.secrets.len() >= WAITING_RUNS_MAX {
            self.secrets.pop_front();
        }
        self.secrets.push_back((run, sealed));
    }

    fn take_secrets(&mut self, run: RunId) -> Option<Vec<u8>> {
        let at = self.secrets.iter().position(|(kept, _)| *kept == run)?;
        self.secrets.remove(at).map(|(_, sealed)| sealed)
    }

    /// Whether that run waits or runs here.
    fn is_known(&self, run: RunId) -> bool {
        self.running.contains_key(&run) || self.waiting.iter().any(|waiting| waiting.ready.run == run)
    }

    /// Refuses an order whose envelope cannot be believed; its run's name is used for the answer only.
    fn refuse_unread(&mut self, envelope: &[u8], problem: Problem) {
        match Envelope::decode(envelope) {
            // Its result comes from the order that was good.
            Ok(envelope) if self.is_known(envelope.run) => {}
            Ok(envelope) => self.say_own(refusal(envelope.run, Status::Refused, problem)),
            Err(_) => {
                let me = self.id.map(NodeRange::one);
                self.dead_letter(me.into_iter().collect(), &problem);
            }
        }
    }

    /// Ends a run before it began.
    fn refuse(&mut self, envelope: &Envelope, status: Status, problem: Problem) {
        self.remember(envelope.run, envelope.nonce);
        self.take_secrets(envelope.run);
        self.say_own(refusal(envelope.run, status, problem));
    }

    fn remember(&mut self, run: RunId, nonce: Nonce) {
        if self.ended.len() >= ENDED_RUNS_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back((run, nonce));
    }

    /// An execution on this node ended. Only the first end of a run that runs here counts. `proof`: see
    /// [`crate::seal::result_text`].
    pub fn finish(&mut self, run: RunId, outcome: Outcome, proof: Vec<u8>) {
        let Some(running) = self.running.remove(&run) else { return };
        for hash in running.held {
            self.store.unpin(hash);
        }
        self.remember(run, running.nonce);
        self.say_own(Report::Result { run, outcome: Box::new(outcome), proof });
    }

    pub(super) fn cancel(&mut self, run: RunId) {
        if self.running.contains_key(&run) {
            return self.events.push_back(Event::Cancel(run));
        }
        let problem = Problem::new("run.cancelled", "the run was cancelled before it began here");
        self.end_waiting(Status::Cancelled, &problem, |waiting| waiting.ready.run == run);
    }

    /// Starts the runs whose blobs are all here.
    pub(super) fn start_ready(&mut self) {
        let mut at = 0;
        while let Some(waiting) = self.waiting.get(at) {
            let here = waiting.needs.iter().map(|(hash, kind)| Some((*hash, self.store.get(*hash, *kind)?)));
            let Some(mut blobs) = here.collect::<Option<BTreeMap<_, _>>>() else {
                at += 1;
                continue;
            };
            let WaitingRun { ready: envelope, order, code, input, needs, .. } = self.waiting.remove(at);
            let held = needs.iter().map(|(hash, _)| *hash).collect();
            self.running.insert(envelope.run, Running { nonce: envelope.nonce, held });
            let artifact = code.first().copied().unwrap_or(envelope.module);
            let input = match input {
                WaitingInput::Inline(bytes) => bytes,
                WaitingInput::Blob(hash) => blobs.get(&hash).cloned().unwrap_or_default(),
            };
            let code = blobs.get(&artifact).cloned().unwrap_or_default();
            let wanted = |hash: &Hash| {
                envelope.files.iter().any(|file| file.hash == *hash)
                    || envelope.tasks().skip(1).any(|task| {
                        task.module == *hash || task.artifacts.iter().any(|known| known.hash == *hash)
                    })
            };
            let workers = needs.iter().filter(|(_, kind)| *kind == BlobKind::Worker);
            let workers = workers.filter_map(|(hash, _)| Some((*hash, blobs.get(hash)?.clone()))).collect();
            blobs.retain(|hash, _| wanted(hash));
            let secrets = self.take_secrets(envelope.run);
            let ready = ReadyRun { envelope, artifact, code, input, blobs, workers, order, secrets };
            self.events.push_back(Event::Run(Box::new(ready)));
        }
    }

    /// Bytes of a blob came: the runs that need it may wait on.
    pub(super) fn extend_waiting(&mut self, hash: Hash) {
        let deadline = self.now.saturating_add(FETCH_IDLE_MS);
        for waiting in &mut self.waiting {
            if waiting.needs.iter().any(|(need, _)| *need == hash) {
                waiting.deadline = deadline;
            }
        }
    }

    pub(super) fn fail_waiting(&mut self, hash: Hash, problem: &Problem) {
        self.end_waiting(Status::Failed, problem, |waiting| {
            waiting.needs.iter().any(|(need, _)| *need == hash)
        });
    }

    pub(super) fn expire_waiting(&mut self) {
        let now = self.now;
        let message = format!("the module did not arrive: not a byte for {} s", FETCH_IDLE_MS / 1000);
        let problem = Problem::new("fetch.timeout", message);
        self.end_waiting(Status::Failed, &problem, |waiting| waiting.deadline <= now);
    }

    fn end_waiting(&mut self, status: Status, problem: &Problem, ends: impl Fn(&WaitingRun) -> bool) {
        let (ended, waiting) = core::mem::take(&mut self.waiting).into_iter().partition(ends);
        self.waiting = waiting;
        let ended: Vec<WaitingRun> = ended;
        for run in ended {
            for (hash, _) in &run.needs {
                self.store.unpin(*hash);
            }
            self.refuse(&run.ready, status, problem.clone());
        }
    }
}

fn refusal(run: RunId, status: Status, problem: Problem) -> Report {
    let outcome = Outcome::without_start(status, Some(problem));
    Report::Result { run, outcome: Box::new(outcome), proof: Vec::new() }
}
