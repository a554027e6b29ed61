//! `blob`, `task` and `secret`: requests, and what is decided before anything is done.

use super::withheld;
use crate::base64;
use crate::pool::job::Job;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use std::sync::Arc;
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::run::Problem;

/// Blobs that are open in one execution at a time.
const BLOBS_OPEN_MAX: usize = 64;
/// Handles of blobs begin here: those below are connections'.
const FIRST_HANDLE: u32 = 1 << 30;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::pool) struct TaskRequest {
    pub(in crate::pool) name: String,
    #[serde(default)]
    pub(in crate::pool) params: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlobRequest {
    hash: Option<String>,
    #[serde(default)]
    offset: u64,
    length: Option<u64>,
    close: Option<u32>,
}

fn wrong(call: &str, error: impl Display, form: &str) -> Problem {
    let code = format!("{call}.request");
    Problem::new(&code, format!("the request of `{call}` is not what it should be: {error}")).hint(form)
}

/// Whether `grant` is there; the problem says who lacks it.
pub(in crate::pool) fn granted(job: &Job, grant: &Grant) -> Result<(), Problem> {
    let enough = |set: &GrantSet| set.check(grant).is_ok();
    job.grants.check(grant).map_err(|missing| withheld(job, enough).unwrap_or(missing))
}

/// A name of a secret or task as a grant; what no grant can name is not there.
fn named(kind: &str, name: &str) -> Result<Grant, Problem> {
    Grant::parse(&format!("{kind}:{name}"))
}

/// The value of a secret, as JSON.
pub(in crate::pool) fn secret(job: &Job, request: &[u8]) -> Result<String, Problem> {
    let Name { name } = serde_json::from_slice(request)
        .map_err(|error| wrong("secret", error, r#"ask with {"name": "db/password"}"#))?;
    granted(job, &named("secret", &name)?)?;
    let secret = job.secrets.get(&name).ok_or_else(|| {
        let text = format!("the secret `{name}` was not sent to `{}` with this run", job.target);
        Problem::new("secret.missing", text).hint(format!("give it with --secret {name}=SOURCE"))
    })?;
    // Written in one piece that never moves: what it moved from would stay in memory.
    let mut answer = String::with_capacity(secret.bytes().len() * 6 + 32);
    match secret.text() {
        Some(text) => {
            answer.push_str(r#"{"value":""#);
            for c in text.chars() {
                match c {
                    '"' | '\\' => answer.extend(['\\', c]),
                    c if c.is_ascii_control() => {
                        let digit = |value: u32| char::from_digit(value & 15, 16).unwrap_or('0');
                        answer.push_str("\\u00");
                        answer.extend([digit(u32::from(c) >> 4), digit(u32::from(c))]);
                    }
                    c => answer.push(c),
                }
            }
        }
        None => {
            answer.push_str(r#"{"base64":""#);
            base64::encode_into(secret.bytes(), &mut answer);
        }
    }
    answer.push_str(r#""}"#);
    Ok(answer)
}

pub(in crate::pool) fn task(job: &Job, request: &[u8]) -> Result<TaskRequest, Problem> {
    let request: TaskRequest = serde_json::from_slice(request)
        .map_err(|error| wrong("task", error, r#"ask with {"name": "facts", "params": {}}"#))?;
    granted(job, &named("call", &request.name)?)?;
    Ok(request)
}

/// A file that was sent with the run.
pub(in crate::pool) fn blob<'a>(job: &'a Job, hash: &str) -> Result<&'a Arc<[u8]>, Problem> {
    let grant = named("blob", hash)?;
    granted(job, &grant)?;
    let Grant::Blob(known) = grant else { return Err(unsent(hash, job)) };
    job.blobs.get(&known).ok_or_else(|| unsent(hash, job))
}

/// The blobs that a task reads.
#[derive(Debug, Default)]
pub(in crate::pool) struct Blobs {
    open: Vec<(u32, Reading)>,
    issued: u32,
}

#[derive(Debug)]
struct Reading {
    bytes: Arc<[u8]>,
    at: usize,
    end: usize,
}

impl Blobs {
    /// Opens or closes one.
    pub(in crate::pool) fn call(&mut self, job: &Job, request: &[u8]) -> Result<String, Problem> {
        const FORM: &str = r#"ask with {"hash": "64 hex digits", "offset": 0} or {"close": HANDLE}"#;
        let request: BlobRequest =
            serde_json::from_slice(request).map_err(|error| wrong("blob", error, FORM))?;
        let hash = match (request.hash, request.close) {
            (Some(hash), None) => hash,
            (None, Some(handle)) => {
                let at = self.find(handle).ok_or_else(|| unknown(handle))?;
                self.open.swap_remove(at);
                return Ok("{}".to_owned());
            }
            _ => return Err(wrong("blob", "it has to have one of `hash` and `close`", FORM)),
        };
        let bytes = blob(job, &hash)?;
        if self.open.len() >= BLOBS_OPEN_MAX {
            let text = format!("task `{}` has {BLOBS_OPEN_MAX} blobs open, which is the most", job.task);
            return Err(Problem::new("blob.many", text).hint("close one first with {\"close\": HANDLE}"));
        }
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let (from, total) = (at(request.offset), bytes.len());
        let end = request.length.map_or(total, |length| at(request.offset.saturating_add(length)));
        let handle = FIRST_HANDLE + self.issued;
        // Far fewer than a handle can name are issued before an execution has to end.
        self.issued = (self.issued + 1) % FIRST_HANDLE;
        self.open.push((handle, Reading { bytes: Arc::clone(bytes), at: from, end }));
        Ok(json!({"handle": handle, "bytes": total}).to_string())
    }

    /// Whether a handle is one of a blob, open or not.
    pub(in crate::pool) fn owns(handle: u32) -> bool {
        handle >= FIRST_HANDLE
    }

    /// The next bytes; none at the end.
    pub(in crate::pool) fn read(&mut self, handle: u32, limit: usize) -> Result<&[u8], Problem> {
        let at = self.find(handle).ok_or_else(|| unknown(handle))?;
        let Some((_, reading)) = self.open.get_mut(at) else { return Err(unknown(handle)) };
        let from = reading.at;
        reading.at = from.saturating_add(limit).min(reading.end);
        Ok(reading.bytes.get(from..reading.at).unwrap_or_default())
    }

    fn find(&self, handle: u32) -> Option<usize> {
        self.open.iter().position(|(open, _)| *open == handle)
    }
}

fn unsent(hash: &str, job: &Job) -> Problem {
    let text = format!("the blob {hash} was not sent to `{}` with this run", job.target);
    Problem::new("blob.missing", text)
}

fn unknown(handle: u32) -> Problem {
    let text = format!("the handle {handle} was not given to this execution, or is closed");
    Problem::new("blob.handle", text).hint("open it with `blob` first")
}

#[cfg(test)]
mod tests {
    use super::{BLOBS_OPEN_MAX, Blobs};
    use crate::policy::NodePolicy;
    use crate::pool::Job;
    use crate::secret::{Secret, Secrets};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use waft_proto::envelope::{Envelope, Wall};
    use waft_proto::id::{Hash, RunId};
    use waft_proto::node::ReadyRun;

    const BYTES: &[u8] = b"0123456789";

    fn job(grants: &[String]) -> Job {
        let hash = Hash::of(BYTES);
        let envelope = Envelope {
            run: RunId([0; 16]),
            task: "probe".to_owned(),
            targets: Vec::new(),
            module: Hash::of(b""),
            artifacts: Vec::new(),
            params: Hash::of(b""),
            grants: grants.to_vec(),
            check: false,
            timeout_ms: 30_000,
            expires: u64::MAX,
            nonce: [0; 8],
            wall: Wall::Best,
            diff: false,
            task_signatures: Vec::new(),
            approval: None,
            callees: Vec::new(),
            files: Vec::new(),
            audit: None,
        };
        let none: Arc<[u8]> = Arc::from([]);
        let ready = ReadyRun {
            envelope,
            artifact: hash,
            code: Arc::clone(&none),
            input: none,
            blobs: BTreeMap::from([(hash, Arc::from(BYTES))]),
            workers: BTreeMap::new(),
            order: hash,
            secrets: None,
        };
        Job::prepare(ready, "web1", &NodePolicy::default(), 0).expect("a good order")
    }

    fn code<T>(result: Result<T, waft_proto::run::Problem>) -> String {
        result.map_or_else(|problem| problem.code, |_| "good".to_owned())
    }

    #[test]
    fn a_secret_is_told_as_json_whatever_is_in_it() {
        let all: String = (0..=0x7f_u8).map(char::from).chain("\u{e9}\u{1f600}".chars()).collect();
        let mut secrets = Secrets::default();
        for (name, bytes) in [("text", all.as_bytes()), ("bytes", &[0xff, 0, 1])] {
            let secret = Secret::new(bytes.to_vec().into(), name == "text").expect("a value");
            secrets.insert(name, secret).expect("a secret");
        }
        let job = job(&["text", "bytes", "unsent"].map(|name| format!("secret:{name}")));
        let job = job.with_secrets(&secrets);
        let ask = |name: &str| super::secret(&job, format!("{{\"name\":\"{name}\"}}").as_bytes());
        let read = |name: &str| -> serde_json::Value {
            serde_json::from_str(&ask(name).expect("a secret")).expect("JSON")
        };
        assert_eq!(read("text"), serde_json::json!({"value": all}));
        assert_eq!(read("bytes"), serde_json::json!({"base64": "/wAB"}));
        assert_eq!(code(ask("unsent")), "secret.missing");
        assert_eq!(code(ask("other")), "grant.missing");
        assert_eq!(code(ask("no name")), "grant.syntax");
        assert_eq!(code(super::secret(&job, b"{}")), "secret.request");
    }

    #[test]
    fn blobs_are_read_by_pieces_and_only_by_handles_that_were_given() {
        let (hash, other) = (Hash::of(BYTES), Hash::of(b"other"));
        let job = job(&[format!("blob:{hash}"), format!("blob:{other}")]);
        let mut blobs = Blobs::default();
        let mut open = |rest: &str| {
            let answer = blobs.call(&job, format!("{{\"hash\":\"{hash}\"{rest}}}").as_bytes());
            let read: serde_json::Value = serde_json::from_str(&answer.expect("a blob")).expect("JSON");
            assert_eq!(read["bytes"], 10);
            u32::try_from(read["handle"].as_u64().expect("a handle")).expect("fits")
        };
        let (whole, part) = (open(""), open(",\"offset\":3,\"length\":4"));
        let (beyond, huge) = (open(",\"offset\":99"), open(",\"offset\":8,\"length\":18446744073709551615"));
        let mut all = |handle| {
            let mut bytes = Vec::new();
            while let piece @ [_, ..] = blobs.read(handle, 3).expect("open") {
                bytes.extend_from_slice(piece);
            }
            bytes
        };
        assert_eq!((all(whole), all(part)), (BYTES.to_vec(), b"3456".to_vec()));
        assert_eq!((all(beyond), all(huge)), (Vec::new(), b"89".to_vec()));
        assert_eq!(code(blobs.call(&job, format!("{{\"close\":{whole}}}").as_bytes())), "good");
        assert_eq!(code(blobs.read(whole, 1).map(drop)), "blob.handle");
        assert_eq!(code(blobs.call(&job, format!("{{\"close\":{whole}}}").as_bytes())), "blob.handle");
        assert_eq!(code(blobs.call(&job, format!("{{\"hash\":\"{other}\"}}").as_bytes())), "blob.missing");
        let third = Hash::of(b"third");
        assert_eq!(code(blobs.call(&job, format!("{{\"hash\":\"{third}\"}}").as_bytes())), "grant.missing");
        assert_eq!(code(blobs.call(&job, b"{\"hash\":\"00\"}")), "grant.syntax");
        assert_eq!(code(blobs.call(&job, b"{}")), "blob.request");
        let codes: Vec<String> = (0..=BLOBS_OPEN_MAX)
            .map(|_| code(blobs.call(&job, format!("{{\"hash\":\"{hash}\"}}").as_bytes())))
            .collect();
        assert_eq!(codes.last().map(String::as_str), Some("blob.many"));
    }
}
