//! The events of a run as lines of the log. What may be secret (parameters, output) is there as its hash only; from what
//! a task asked of its host, the secrets of the run were taken out by their values.

use super::line::{Fields, LINE_BYTES_MAX};
use super::{Actor, Log};
use crate::event::{Body, Call, Event, Placed, Stayed, TargetResult};
use crate::explain::way::{Mode, before};
use crate::report::escape;
use crate::run::{Head, Request};
use crate::tree::{Endpoint, Shape, ShapeNode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use waft_proto::envelope::Bytes;
use waft_proto::id::Hash;
use waft_proto::run::{Problem, Status};
use waft_trust::armour;
use waft_trust::check::signer;

/// Room that is made sure of before a run for the result of each target, bytes. Most need half of it.
const RESULT_BYTES: u64 = 1024;
/// The same for the end of the run.
const END_BYTES: u64 = 4096;
/// What is added to a line when it is written: run, time, hashes; bytes.
const OWN_BYTES: usize = 1024;
/// Bytes of one text from a target that are kept; none that waft's own stub sends is longer.
const TEXT_BYTES_MAX: usize = 256;
/// Bytes of what a call was about, as in the records of a node; the words of a program are longer than other texts.
const SUBJECT_BYTES_MAX: usize = 512;
/// Exact in every JSON reader; the largest that a target can say.
const NUMBER_MAX: u64 = (1 << 53) - 1;
/// Files in memory of one call that are kept: as many as a stub gives a program.
const CALL_FILES_MAX: usize = 8;
/// Processes of one call that stay and are kept by number: as many as a stub tells.
const CALL_STAYS_MAX: usize = 32;
/// The name of one of them, bytes: the kernel's 15, escaped.
const STAY_NAME_BYTES_MAX: usize = 64;
/// Walls of one result that are kept.
const WALLS_MAX: usize = 32;

/// Writes the lines of one run.
pub struct Recorder {
    log: Log,
    /// All of the first line but the run, which has no number yet.
    started: Fields,
    /// Of the last line that was written.
    head: Head,
    failed: bool,
}

impl Recorder {
    /// Makes sure that this run can be recorded. To be called before anything is dialled.
    pub fn begin(log: Log, request: &Request, shape: &Shape, actor: &Actor) -> Result<Recorder, Problem> {
        let started = started(request, shape, actor);
        let first = Value::Object(started.clone()).to_string().len();
        if first > LINE_BYTES_MAX - OWN_BYTES {
            return Err(Problem::new("audit.size", "this run is too large to be recorded")
                .hint("select fewer targets at once"));
        }
        let results = (shape.selected().count() as u64).saturating_mul(RESULT_BYTES);
        log.prepare((first as u64).saturating_add(results).saturating_add(END_BYTES))?;
        Ok(Recorder { log, started, head: request.head.clone(), failed: false })
    }

    /// After the first problem nothing more of this run is written: a run without its end is seen to be cut off.
    pub fn event(&mut self, event: &Event) -> Result<(), Problem> {
        if self.failed {
            return Ok(());
        }
        let (name, mut fields) = match &event.body {
            Body::RunStarted { .. } => ("run_started", std::mem::take(&mut self.started)),
            Body::Result(result) => ("result", ended(event.target.as_deref().unwrap_or_default(), result)),
            Body::RunFinished { counts, ms, .. } => ("run_finished", finished(counts, *ms)),
            Body::Call(call) => ("call", called(event.target.as_deref().unwrap_or_default(), call)),
            Body::TargetState { .. }
            | Body::Output { .. }
            | Body::Change(_)
            | Body::Progress(_)
            | Body::Note(_) => return Ok(()),
        };
        fields.insert("run".to_owned(), event.run.to_string().into());
        let last = matches!(event.body, Body::RunFinished { .. });
        let written = self.log.append(event.time, name, fields, last);
        self.failed = written.is_err();
        self.head.set(written?);
        Ok(())
    }
}

fn object(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => Fields::new(),
    }
}

fn started(request: &Request, shape: &Shape, actor: &Actor) -> Fields {
    let targets: Vec<Value> = shape.selected().map(|node| target(shape, node)).collect();
    let mut hops = Fields::new();
    for node in shape.nodes() {
        let relay = (node.last != node.id).then_some(&node.endpoint);
        for hop in relay.into_iter().chain(&node.tunnel) {
            hops.insert(hop.name.clone(), at(hop).into());
        }
    }
    let mut fields = actor.fields();
    fields.extend(object(json!({
        "waft": env!("CARGO_PKG_VERSION"),
        "task": request.task,
        "module": Hash::of(&request.wasm).to_string(),
        "signers": signers(&request.vouched.task),
        "params": Hash::of(&request.params).to_string(),
        "grants": request.allow,
        "check": request.check,
        "timeout_ms": u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
        "hops": hops,
        "targets": targets,
    })));
    let calls = request.along.callees.iter();
    let calls: Vec<Value> = calls
        .map(|callee| json!({ "name": callee.name, "module": Hash::of(&callee.wasm).to_string() }))
        .collect();
    if !calls.is_empty() {
        fields.insert("calls".to_owned(), calls.into());
    }
    fields
}

/// The keys whose signatures over the module were found good, and go along. Who they are, each node judges by its policy.
pub(crate) fn signers(signatures: &[Bytes]) -> Vec<String> {
    let signed = signatures.iter().filter_map(|bytes| armour::decode(&bytes.0).ok());
    signed.map(|signature| signer(signature.public_key()).fingerprint).collect()
}

/// A target, what only it is granted, and the hops before it.
fn target(shape: &Shape, node: &ShapeNode) -> Value {
    let hop = |(hop, mode): (&Endpoint, Mode)| json!({ "hop": hop.name, "mode": mode.word() });
    let way: Vec<Value> = before(shape, node).into_iter().map(hop).collect();
    json!({ "name": node.endpoint.name, "at": at(&node.endpoint), "way": way, "grants": node.allow })
}

/// `user@address:port`, as far as the command line and the inventory say it; the rest is ssh's configuration.
fn at(endpoint: &Endpoint) -> Option<String> {
    let Endpoint { user, address, port, name, .. } = endpoint;
    if user.is_none() && address.is_none() && port.is_none() {
        return None;
    }
    let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let address = address.as_ref().unwrap_or(name);
    let address = if address.contains(':') { format!("[{address}]") } else { address.clone() };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{user}{address}{port}"))
}

fn ended(target: &str, result: &TargetResult) -> Fields {
    let walls: Vec<String> = result.walls.iter().take(WALLS_MAX).map(|wall| clip(wall)).collect();
    let output = |bytes: &[u8], truncated: bool| json!({ "blake3": Hash::of(bytes).to_string(), "bytes": bytes.len(), "truncated": truncated });
    object(json!({
        "target": target,
        "status": result.status.word(),
        "exit_code": result.exit_code,
        "signal": result.signal,
        "walls": walls,
        "policy": result.policy.word(),
        "node_head": result.audit.map(|head| head.to_string()),
        "ms": result.ms.min(NUMBER_MAX),
        "error": result.error().map(|problem| clip(&problem.code)),
        "stdout": output(&result.stdout, result.stdout_truncated),
        "stderr": output(&result.stderr, result.stderr_truncated),
    }))
}

/// What a task asked of its host. The records of one target have a limit, see docs/waft-v1.md.
fn called(target: &str, call: &Call) -> Fields {
    let mut fields = object(json!({
        "target": target,
        "call": clip(&call.call),
        "subject": clip_to(&call.subject, SUBJECT_BYTES_MAX),
        "ok": call.ok,
        "code": call.code.as_deref().map(clip),
        "ms": call.ms.min(NUMBER_MAX),
        "left_out": call.left_out.map(|count| count.min(NUMBER_MAX)),
    }));
    if !call.files.is_empty() {
        let file = |file: &Placed| json!({"fd": file.fd, "hash": file.hash.as_deref().map(clip)});
        let files = call.files.iter().take(CALL_FILES_MAX).map(file).collect::<Vec<_>>();
        fields.insert("files".to_owned(), files.into());
    }
    if let Some(count) = call.stay_count {
        let stayed = |one: &Stayed| json!({"pid": one.pid.min(NUMBER_MAX), "name": clip_to(&one.name, STAY_NAME_BYTES_MAX)});
        let stays = call.stays.iter().take(CALL_STAYS_MAX).map(stayed).collect::<Vec<_>>();
        fields.insert("stays".to_owned(), stays.into());
        fields.insert("stay_count".to_owned(), count.min(NUMBER_MAX).into());
    }
    fields
}

/// A target must neither fill the log nor speak to the terminal of whoever reads it without `waft audit show`.
fn clip(text: &str) -> String {
    clip_to(text, TEXT_BYTES_MAX)
}

fn clip_to(text: &str, bytes_max: usize) -> String {
    escape::text(text)
        .chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= bytes_max).then_some(c)
        })
        .collect()
}

fn finished(counts: &BTreeMap<Status, u64>, ms: u64) -> Fields {
    let count = |status: Status| (status.word().to_owned(), counts.get(&status).copied().unwrap_or(0).into());
    let counts: Fields = Status::ALL.into_iter().map(count).collect();
    object(json!({ "counts": counts, "ms": ms }))
}
