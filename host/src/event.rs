//! What happens during a run, as values. The library emits events; only `report` shows them.
//!
//! The list is fixed by the interface: `run_started`, `target_state`, `output`, `change`, `result`, `run_finished`, in that
//! order for one target, with exactly one `result` per selected target. A [`Body::Note`] is a warning to people: it
//! is no event of the interface, so it never appears in JSON and takes no number of its own.
//!
//! This module reads no clock and prints nothing. Units: `ms` are milliseconds, `bytes` are bytes on the wire.

use crate::dry::{Change, Changes};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use waft_proto::id::{Hash, RunId};
pub use waft_proto::msg::{Policy, Stream};
use waft_proto::run::{Problem, Status, TargetState};

#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    pub run: RunId,
    /// Counts the events of one run from 1, without gaps. A note carries the number of the event before it.
    pub seq: u64,
    pub time: SystemTime,
    /// The target's name, where the event concerns one.
    pub target: Option<Arc<str>>,
    pub body: Body,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    RunStarted {
        task: String,
        /// `None` for what is no module (`waft ping`).
        hash: Option<Hash>,
        targets: Vec<String>,
    },
    TargetState {
        state: TargetState,
    },
    /// Bytes as they came. Cut them with [`TextCutter`], so that text is not torn inside a character.
    Output {
        stream: Stream,
        bytes: Vec<u8>,
    },
    /// Something that a dry run would change.
    Change(Box<Change>),
    /// What a task asked of its host.
    Call(Call),
    /// How far a task is.
    Progress(Progress),
    Result(Box<TargetResult>),
    /// A warning: about `target` when there is one, else about the run.
    Note(Problem),
    RunFinished {
        counts: BTreeMap<Status, u64>,
        ms: u64,
        bytes: Traffic,
    },
}

/// One call of a task, as its stub recorded it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Call {
    /// Its name in `waft_v1`; `more` at the end says how many records there are not.
    pub call: String,
    /// What it was about: the words of a program, a path, a name.
    #[serde(default)]
    pub subject: String,
    #[serde(default)]
    pub ok: bool,
    /// Why it was refused or failed.
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub ms: u64,
    /// What a program found in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Placed>,
    /// What stays of a program after the task: the first of them, and how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stayed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stay_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
}

/// A process that was granted to stay.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stayed {
    pub pid: u64,
    pub name: String,
}

/// A file in memory, by its number in the program and the hash of what is in it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Placed {
    pub fd: i32,
    pub hash: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub done: u64,
    pub total: Option<u64>,
    pub text: Option<String>,
}

/// Bytes that crossed links, from the controller's point of view.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    pub up: u64,
    pub down: u64,
}

/// How one target ended, and all that it said.
#[derive(Clone, PartialEq, Debug)]
pub struct TargetResult {
    pub status: Status,
    pub exit_code: Option<u32>,
    pub signal: Option<i32>,
    /// Stdout, when it was exactly one JSON object.
    pub result: Option<serde_json::Value>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// `stdout` is not all of it: what is kept here has a bound, and so has what the target sends.
    pub stdout_truncated: bool,
    pub stderr_truncated: bool,
    /// The target did not send all of it, so nobody has seen the rest.
    pub stdout_cut: bool,
    pub stderr_cut: bool,
    pub ms: u64,
    pub bytes: Traffic,
    pub walls: Vec<String>,
    pub policy: Policy,
    /// Head of the node's own audit log.
    pub audit: Option<Hash>,
    pub problem: Option<Problem>,
    /// Of a dry run.
    pub changes: Option<Changes>,
}

impl TargetResult {
    /// Of a target on which nothing was executed.
    pub fn without_start(status: Status, problem: Option<Problem>) -> TargetResult {
        TargetResult {
            status,
            exit_code: None,
            signal: None,
            result: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
            stdout_truncated: false,
            stderr_truncated: false,
            stdout_cut: false,
            stderr_cut: false,
            ms: 0,
            bytes: Traffic::default(),
            walls: Vec::new(),
            policy: Policy::None,
            audit: None,
            problem,
            changes: None,
        }
    }

    /// Why it did not end well: the problem that this side or the target found, else what the task itself says.
    pub fn error(&self) -> Option<Cow<'_, Problem>> {
        match &self.problem {
            Some(problem) => Some(Cow::Borrowed(problem)),
            None => self.own_problem().map(Cow::Owned),
        }
    }

    /// What a task says of its failure in its result: `error`, as waft's own problems are, or only `msg`.
    pub fn own_problem(&self) -> Option<Problem> {
        if self.status.is_done() || self.problem.is_some() { None } else { self.own() }
    }

    /// A target tells of the first grant that was missing, which may be one that the task could do without. Where the task
    /// itself ended with another, that one decided.
    pub(crate) fn decided(mut self) -> TargetResult {
        let is_grant = |problem: &Problem| problem.code.starts_with(REFUSAL);
        if self.status == Status::Refused
            && self.exit_code.is_some()
            && self.problem.as_ref().is_some_and(is_grant)
            && let Some(own) = self.own().filter(is_grant)
        {
            self.problem = Some(own);
        }
        self
    }

    fn own(&self) -> Option<Problem> {
        let result = self.result.as_ref()?;
        let text = |of: &serde_json::Value, key: &str| {
            let text = of.get(key).and_then(serde_json::Value::as_str);
            text.filter(|text| !text.trim().is_empty()).map(str::to_owned)
        };
        match result.get("error").and_then(|error| Some((error, text(error, "message")?))) {
            Some((error, message)) => {
                let code = text(error, "code").filter(|code| is_code(code));
                let problem = Problem::new(code.as_deref().unwrap_or(OWN_CODE), message);
                Some(Problem { hint: text(error, "hint"), ..problem })
            }
            None => Some(Problem::new(OWN_CODE, text(result, "msg")?)),
        }
    }
}

/// What codes of refusals begin with.
const REFUSAL: &str = "grant.";
/// Of a task's own problem that has no code, or none that a program could compare.
const OWN_CODE: &str = "task.failed";
/// The longest code of a task's own, bytes.
const CODE_BYTES_MAX: usize = 64;

fn is_code(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'-');
    text.len() <= CODE_BYTES_MAX && text.bytes().all(plain)
}

/// Numbers the events of one run.
#[derive(Debug)]
pub struct Sequence {
    run: RunId,
    last: u64,
}

impl Sequence {
    pub fn new(run: RunId) -> Sequence {
        Sequence { run, last: 0 }
    }

    pub fn event(&mut self, time: SystemTime, target: Option<Arc<str>>, body: Body) -> Event {
        if !matches!(body, Body::Note(_)) {
            self.last += 1;
        }
        Event { run: self.run, seq: self.last, time, target, body }
    }
}

/// Re-cuts the chunks of one stream so that none ends inside a UTF-8 character. What it holds back is at most three
/// bytes, and never bytes that could not become a character.
#[derive(Default, Debug)]
pub struct TextCutter {
    held: Vec<u8>,
}

impl TextCutter {
    /// What can be shown now; may be empty.
    pub fn push(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        let mut bytes = if self.held.is_empty() {
            chunk
        } else {
            let mut joined = std::mem::take(&mut self.held);
            joined.extend_from_slice(&chunk);
            joined
        };
        self.held = bytes.split_off(bytes.len() - incomplete_tail(&bytes));
        bytes
    }

    /// What was held back, at the end of the stream.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// How many bytes at the end (0 to 3) begin a UTF-8 character that is not complete yet.
pub fn incomplete_tail(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|&length| {
            let (_, tail) = bytes.split_at(bytes.len() - length);
            // No error length means: what is here is right, and the end came too early.
            std::str::from_utf8(tail).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_incomplete_only_when_a_character_may_follow() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"abc", 0),
            ("aé".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"a\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            (b"a\xff", 0),
            (b"\x82\x82\x82", 0),
            (b"\xe0\x80", 0),
        ] {
            assert_eq!(incomplete_tail(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn cutting_keeps_every_byte_and_tears_no_character() {
        let text = "a é € 😀 \u{10ffff} end";
        for size in 1..=text.len() {
            let mut cutter = TextCutter::default();
            let mut all = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                let part = cutter.push(chunk.to_vec());
                assert!(std::str::from_utf8(&part).is_ok(), "torn at size {size}");
                all.extend(part);
            }
            assert!(cutter.finish().is_empty());
            assert_eq!(all, text.as_bytes());
        }
    }

    #[test]
    fn what_never_became_a_character_comes_out_at_the_end() {
        let mut cutter = TextCutter::default();
        assert_eq!(cutter.push(b"a\xe2\x82".to_vec()), b"a");
        assert_eq!(cutter.finish(), b"\xe2\x82");
        assert_eq!(cutter.push(b"\xffb".to_vec()), b"\xffb");
    }

    #[test]
    fn a_task_says_why_it_failed() {
        let said = |status: Status, problem: Option<Problem>, text: &str| {
            let result = serde_json::from_str(text).ok();
            let ended = TargetResult { result, ..TargetResult::without_start(status, problem) };
            ended.error().map(|error| (error.code.clone(), error.message.clone(), error.hint.clone()))
        };
        let own = |text: &str| said(Status::Failed, None, text);
        let told = |code: &str, message: &str, hint: Option<&str>| {
            Some((code.to_owned(), message.to_owned(), hint.map(str::to_owned)))
        };
        let whole = r#"{"msg":"x","error":{"code":"user.none","message":"No such user.","hint":"Make it."}}"#;
        assert_eq!(own(whole), told("user.none", "No such user.", Some("Make it.")));
        assert_eq!(said(Status::Ok, None, whole), None);
        let ours = Problem::new("task.timeout", "too long");
        assert_eq!(said(Status::TimedOut, Some(ours), whole), told("task.timeout", "too long", None));
        // A code is for programs, so it is what one can compare, or none of the task's.
        for code in ["", "No Such", r"a\u001b[2J", &"x".repeat(65)] {
            let text = format!(r#"{{"error":{{"code":"{code}","message":"no","hint":7}}}}"#);
            assert_eq!(own(&text), told("task.failed", "no", None), "{code}");
        }
        assert_eq!(own(r#"{"msg":"no"}"#), told("task.failed", "no", None));
        for nothing in ["{}", r#"{"error":"no"}"#, r#"{"error":{"code":"a.b"}}"#, r#"{"msg":" "}"#, "no JSON"]
        {
            assert_eq!(own(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_refusal_that_a_task_ends_with_decides() {
        let told = |status: Status, exit_code: Option<u32>, first: &str, own: &str| {
            let text = format!(r#"{{"error":{{"code":"{own}","message":"last","hint":"--allow facts"}}}}"#);
            let first = Problem::new(first, "first").hint("--allow env:TZ");
            let ended = TargetResult::without_start(status, Some(first));
            let ended = TargetResult { exit_code, result: serde_json::from_str(&text).ok(), ..ended };
            let problem = ended.decided().problem.expect("it stays refused");
            (problem.message, problem.hint.expect("a line to paste"))
        };
        let last = ("last".to_owned(), "--allow facts".to_owned());
        let first = ("first".to_owned(), "--allow env:TZ".to_owned());
        assert_eq!(told(Status::Refused, Some(2), "grant.missing", "grant.missing"), last);
        assert_eq!(told(Status::Refused, Some(2), "grant.missing", "grant.check"), last);
        // What it made of a refusal says less than the refusal; and what no task ended with is not the task's to tell.
        assert_eq!(told(Status::Refused, Some(2), "grant.missing", "file.not_found"), first);
        assert_eq!(told(Status::Refused, None, "grant.missing", "grant.missing"), first);
        assert_eq!(told(Status::Refused, Some(2), "task.unkept", "grant.missing"), first);
        assert_eq!(told(Status::TimedOut, Some(2), "grant.missing", "grant.missing"), first);
    }

    #[test]
    fn notes_take_no_number() {
        let mut sequence = Sequence::new(RunId([0; 16]));
        let note = || Body::Note(Problem::new("x", "careful"));
        let state = || Body::TargetState { state: TargetState::Running };
        let bodies = [note(), state(), note(), state()];
        let seqs = bodies.map(|body| sequence.event(SystemTime::UNIX_EPOCH, None, body).seq);
        assert_eq!(seqs, [0, 1, 1, 2]);
    }
}
