//! Events for programs: `jsonl` is one object a line, `json` one array of the `result` objects.
//!
//! The fields are those of the interface, in its order; `null` where there is nothing, except `target`, which is
//! missing where an event concerns none. Only stdout is written, except for warnings, which are for people and go
//! to stderr. A line is flushed as soon as it is whole.
//!
//! Text is a JSON string when it is UTF-8. `output` has `base64` in place of `text` when it is not. A `result` has
//! `stdout` and `stderr` as strings always, so that a reader need not care (what is no UTF-8 is U+FFFD there), and
//! then also `stdout_base64` and `stderr_base64` with every byte.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::SystemTime;

use data_encoding::BASE64;
use serde::Serialize;
use serde_json::Value;
use waft_proto::run::{Problem, Status};

use super::{Reporter, Writer, escape, paint, problem};
use crate::dry::{Change, Changes};
use crate::event::{Body, Call, Event, Progress, TargetResult, Traffic};

/// Version of the lines. Fields are added without a new one; it changes when one goes or changes its meaning.
const VERSION: u8 = 1;

#[derive(Serialize)]
struct Line<'a> {
    v: u8,
    event: &'static str,
    run: String,
    seq: u64,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(flatten)]
    fields: Fields<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Fields<'a> {
    RunStarted { task: &'a str, hash: Option<String>, targets: &'a [String] },
    TargetState { state: &'static str },
    Text { stream: &'static str, text: &'a str },
    Bytes { stream: &'static str, base64: String },
    Change(&'a Change),
    Call(&'a Call),
    Progress(&'a Progress),
    Result(Box<ResultFields<'a>>),
    RunFinished { counts: BTreeMap<Rank, u64>, ms: u64, bytes: Bytes },
}

#[derive(Serialize)]
struct ResultFields<'a> {
    status: &'static str,
    exit_code: Option<u32>,
    signal: Option<i32>,
    result: Option<&'a Value>,
    stdout: Cow<'a, str>,
    stderr: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_base64: Option<String>,
    stdout_truncated: bool,
    stderr_truncated: bool,
    ms: u64,
    bytes: Bytes,
    walls: &'a [String],
    policy: &'static str,
    error: Option<ErrorFields<'a>>,
    /// Of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a [Change]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<&'a [String]>,
    /// Changes that are not in the list, for their number or because the target could not look at everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes_truncated: Option<bool>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    code: Cow<'a, str>,
    message: Cow<'a, str>,
    hint: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Bytes {
    up: u64,
    down: u64,
}

/// A status as a key, in the order of [`Status::ALL`].
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank(Status);

impl Serialize for Rank {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

impl From<Traffic> for Bytes {
    fn from(traffic: Traffic) -> Bytes {
        Bytes { up: traffic.up, down: traffic.down }
    }
}

impl<'a> From<Cow<'a, Problem>> for ErrorFields<'a> {
    fn from(problem: Cow<'a, Problem>) -> ErrorFields<'a> {
        match problem {
            Cow::Borrowed(Problem { code, message, hint }) => ErrorFields {
                code: code.into(),
                message: message.into(),
                hint: hint.as_deref().map(Cow::from),
            },
            Cow::Owned(Problem { code, message, hint }) => {
                ErrorFields { code: code.into(), message: message.into(), hint: hint.map(Cow::from) }
            }
        }
    }
}

impl<'a> From<&'a TargetResult> for ResultFields<'a> {
    fn from(r: &'a TargetResult) -> ResultFields<'a> {
        let exact = |bytes: &[u8]| std::str::from_utf8(bytes).is_err().then(|| BASE64.encode(bytes));
        ResultFields {
            status: r.status.word(),
            exit_code: r.exit_code,
            signal: r.signal,
            result: r.result.as_ref(),
            stdout: String::from_utf8_lossy(&r.stdout),
            stderr: String::from_utf8_lossy(&r.stderr),
            stdout_base64: exact(&r.stdout),
            stderr_base64: exact(&r.stderr),
            stdout_truncated: r.stdout_truncated,
            stderr_truncated: r.stderr_truncated,
            ms: r.ms,
            bytes: r.bytes.into(),
            walls: &r.walls,
            policy: r.policy.word(),
            error: r.error().map(ErrorFields::from),
            changes: r.changes.as_ref().map(|changes| &*changes.list),
            probes: r.changes.as_ref().map(|changes| &*changes.probes),
            changes_truncated: r.changes.as_ref().map(Changes::is_truncated),
        }
    }
}

/// The event as one JSON object without a newline; `None` for a note, which is no event of the interface.
///
/// The journal may keep these lines: they are lossless.
pub fn line(event: &Event) -> io::Result<Option<String>> {
    let (name, fields) = match &event.body {
        Body::RunStarted { task, hash, targets } => {
            ("run_started", Fields::RunStarted { task, hash: hash.map(|hash| hash.to_string()), targets })
        }
        Body::TargetState { state } => ("target_state", Fields::TargetState { state: state.word() }),
        Body::Output { stream, bytes } => {
            let stream = stream.word();
            let fields = match std::str::from_utf8(bytes) {
                Ok(text) => Fields::Text { stream, text },
                Err(_) => Fields::Bytes { stream, base64: BASE64.encode(bytes) },
            };
            ("output", fields)
        }
        Body::Change(change) => ("change", Fields::Change(change)),
        Body::Call(call) => ("call", Fields::Call(call)),
        Body::Progress(progress) => ("progress", Fields::Progress(progress)),
        Body::Result(result) => ("result", Fields::Result(Box::new(result.as_ref().into()))),
        Body::RunFinished { counts, ms, bytes } => {
            // All statuses are there, also those that did not occur: a reader can say `.counts.failed > 0`.
            let of = |status: Status| (Rank(status), counts.get(&status).copied().unwrap_or(0));
            let counts = Status::ALL.into_iter().map(of).collect();
            ("run_finished", Fields::RunFinished { counts, ms: *ms, bytes: (*bytes).into() })
        }
        Body::Note(_) => return Ok(None),
    };
    let line = Line {
        v: VERSION,
        event: name,
        run: event.run.to_string(),
        seq: event.seq,
        time: time(event.time),
        target: event.target.as_deref(),
        fields,
    };
    Ok(Some(without_hostile(serde_json::to_string(&line).map_err(io::Error::other)?)))
}

/// RFC 3339 in UTC, with milliseconds.
fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// JSON lines are looked at in terminals too. Beyond ASCII there are only the insides of strings, where `\u....`
/// means the same.
pub(crate) fn without_hostile(json: String) -> String {
    if !json.chars().any(escape::is_hostile_in_json) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if escape::is_hostile_in_json(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// `--format jsonl`.
pub(super) struct JsonLines {
    pub(super) out: Writer,
    pub(super) err: Writer,
}

impl Reporter for JsonLines {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if let Some(mut line) = line(event)? {
            line.push('\n');
            self.out.write_all(line.as_bytes())?;
            return self.out.flush();
        }
        warn(&mut self.err, event);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// `--format json`. Results are written as they come: memory does not grow with the number of targets.
pub(super) struct JsonArray {
    out: Writer,
    err: Writer,
    state: Array,
}

#[derive(PartialEq, Eq)]
enum Array {
    Empty,
    Open,
    Closed,
}

impl JsonArray {
    pub(super) fn new(out: Writer, err: Writer) -> JsonArray {
        JsonArray { out, err, state: Array::Empty }
    }
}

impl Reporter for JsonArray {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        if !matches!(event.body, Body::Result(_)) || self.state == Array::Closed {
            warn(&mut self.err, event);
            return Ok(());
        }
        let Some(line) = line(event)? else { return Ok(()) };
        let before = if self.state == Array::Empty { "[\n" } else { ",\n" };
        self.state = Array::Open;
        self.out.write_all(before.as_bytes())?;
        self.out.write_all(line.as_bytes())?;
        self.out.flush()
    }

    /// Closes the array, also after a run that broke off: what was written is valid JSON.
    fn finish(&mut self) -> io::Result<()> {
        let end = match self.state {
            Array::Empty => "[]\n",
            Array::Open => "\n]\n",
            Array::Closed => "",
        };
        self.state = Array::Closed;
        self.out.write_all(end.as_bytes())?;
        self.out.flush()
    }
}

fn warn(err: &mut Writer, event: &Event) {
    if let Body::Note(note) = &event.body {
        let text = problem::warning(event.target.as_deref(), note, paint::Paint::Plain);
        // Nobody is left to tell when stderr is gone.
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

#[cfg(test)]
mod tests;
