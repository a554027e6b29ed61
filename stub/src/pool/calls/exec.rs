//! `exec`: a request for a program, and what is answered when it has ended.

use super::record::Placed;
use super::{other, withheld};
use crate::base64;
use crate::pool::job::{InMemory, Job};
use crate::program;
use crate::program::{Ended, Staying, memory};
use crate::secret::Patterns;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::id::Hash;
use waft_proto::msg::Stream;
use waft_proto::run::Problem;

/// Words of an `exec`, and bytes of all of them: well inside what the kernel takes.
const ARGV_WORDS_MAX: usize = 1024;
const ARGV_BYTES_MAX: usize = 32 * 1024;
/// Variables of an `exec`, names and values together, bytes.
const ENV_BYTES_MAX: usize = 64 * 1024;
/// What is kept of one captured stream, bytes: when nothing is said, and at most.
const CAPTURE_BYTES_DEFAULT: usize = 64 * 1024;
const CAPTURE_BYTES_MAX: usize = 512 * 1024;
/// A directory or user, bytes.
const PATH_BYTES_MAX: usize = 4096;

/// Files in memory of an `exec`, number.
const FILES_MAX: usize = 8;
/// Stack of the thread that makes them, bytes.
const FILES_STACK_BYTES: usize = 256 * 1024;
/// All that is in them, bytes: as much as is sent with a run.
const FILES_BYTES_MAX: usize = 128 << 20;

const FORM: &str =
    r#"ask with {"argv": ["/bin/x", "a"], "stdin": "text"}; docs/waft-v1.md has all that it takes"#;

/// Of a program in memory that is not started.
const IN_MEMORY: &str = "a program in memory has to be made for that machine, or to name an interpreter that is there; \
     vm.memfd_noexec = 2 or a security module may forbid all of them, but no interpreter that reads /dev/fd/N";

/// Where a stream of the program goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    #[default]
    Capture,
    Inherit,
    Null,
}

/// A file in memory that the program finds open, by exactly one of three.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRequest {
    fd: RawFd,
    text: Option<String>,
    base64: Option<String>,
    /// The hash of one that was sent with the run.
    blob: Option<String>,
    /// Of text or base64.
    #[serde(skip)]
    bytes: Vec<u8>,
}

/// Where the bytes of a file in memory are.
enum Source {
    Sent(Arc<[u8]>),
    Asked(Vec<u8>),
}

impl Source {
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Sent(bytes) => bytes,
            Source::Asked(bytes) => bytes,
        }
    }
}

/// A file in memory that is to be there.
struct Wanted {
    fd: RawFd,
    executed: bool,
    /// Of one that the programs of a job share.
    key: Option<InMemory>,
    known: Option<Arc<OwnedFd>>,
    source: Source,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::pool) struct ExecRequest {
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    stdin: Option<String>,
    stdin_base64: Option<String>,
    cwd: Option<String>,
    user: Option<Value>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    stdout: Way,
    #[serde(default)]
    stderr: Way,
    limit_bytes: Option<usize>,
    #[serde(default)]
    confine: bool,
    #[serde(default)]
    replace: bool,
    #[serde(default)]
    daemon: bool,
    #[serde(default)]
    files: Vec<FileRequest>,
    /// Decoded from either.
    #[serde(skip)]
    input: Vec<u8>,
}

impl FileRequest {
    /// Which blob it is.
    fn hash(&self) -> Option<Hash> {
        match Grant::parse(&format!("blob:{}", self.blob.as_deref()?)) {
            Ok(Grant::Blob(hash)) => Some(hash),
            _ => None,
        }
    }
}

fn wrong(what: impl AsRef<str>) -> Problem {
    Problem::new("exec.request", format!("the request of `exec` {}", what.as_ref())).hint(FORM)
}

impl ExecRequest {
    pub(in crate::pool) fn parse(request: &[u8]) -> Result<ExecRequest, Problem> {
        let mut request: ExecRequest = serde_json::from_slice(request)
            .map_err(|error| wrong(format!("is not what it should be: {error}")))?;
        if request.argv.first().is_none_or(String::is_empty) {
            return Err(wrong("names no program"));
        }
        if request.argv.len() > ARGV_WORDS_MAX
            || request.argv.iter().map(String::len).sum::<usize>() > ARGV_BYTES_MAX
        {
            return Err(wrong(format!(
                "has more than {ARGV_WORDS_MAX} words or {ARGV_BYTES_MAX} bytes of them"
            ))
            .hint("long input belongs to `stdin`"));
        }
        if request.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > ENV_BYTES_MAX {
            return Err(wrong(format!("has more than {ENV_BYTES_MAX} bytes of variables")));
        }
        let words = request.argv.iter().chain(request.env.values()).chain(&request.cwd);
        if words.into_iter().any(|word| word.contains('\0')) {
            return Err(wrong("has a word with a NUL character"));
        }
        if request.cwd.as_ref().is_some_and(|cwd| !cwd.starts_with('/') || cwd.len() > PATH_BYTES_MAX) {
            return Err(wrong("has a `cwd` that is no absolute path"));
        }
        if request.limit_bytes.is_some_and(|limit| limit > CAPTURE_BYTES_MAX) {
            return Err(wrong(format!("has a `limit_bytes` above {CAPTURE_BYTES_MAX}"))
                .hint("\"stdout\": \"inherit\" passes on as much as `out:` allows"));
        }
        request.input = match (request.stdin.take(), request.stdin_base64.take()) {
            (Some(_), Some(_)) => return Err(wrong("has both `stdin` and `stdin_base64`")),
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => {
                base64::decode(&text).ok_or_else(|| wrong("has a `stdin_base64` that is no base64"))?
            }
            (None, None) => Vec::new(),
        };
        request.read_files()?;
        if request.replace && request.daemon {
            return Err(wrong("has both `replace` and `daemon`")
                .hint("what a program leaves running may stay when the task waits for the program"));
        }
        let captures = request.timeout_ms.is_some()
            || request.limit_bytes.is_some()
            || request.stdout != Way::Capture
            || request.stderr != Way::Capture;
        if request.replace && captures {
            return Err(wrong("has `replace` and says what belongs to a program that the task waits for")
                .hint("with `replace` the program is the task: leave out timeout_ms, limit_bytes, stdout and stderr"));
        }
        Ok(request)
    }

    fn read_files(&mut self) -> Result<(), Problem> {
        if self.files.len() > FILES_MAX {
            return Err(wrong(format!("has more than {FILES_MAX} `files`")));
        }
        let mut numbers = Vec::new();
        for file in &mut self.files {
            let fd = file.fd;
            if !(memory::FD_MIN..=memory::FD_MAX).contains(&fd) || numbers.contains(&fd) {
                let (least, most) = (memory::FD_MIN, memory::FD_MAX);
                return Err(wrong(format!("has a file with the `fd` {fd}"))
                    .hint(format!("each has another number from {least} to {most}")));
            }
            numbers.push(fd);
            file.bytes = match (file.text.take(), file.base64.take(), &file.blob) {
                (Some(text), None, None) => text.into_bytes(),
                (None, Some(text), None) => base64::decode(&text)
                    .ok_or_else(|| wrong(format!("has a `base64` that is none, of the `fd` {fd}")))?,
                (None, None, Some(_)) => Vec::new(),
                _ => {
                    return Err(wrong(format!(
                        "has to have one of `text`, `base64` and `blob` for the `fd` {fd}"
                    )));
                }
            };
        }
        let program = self.argv.first().map_or("", String::as_str);
        if memory::names(program) && !numbers.into_iter().any(|fd| memory::path(fd) == program) {
            return Err(wrong(format!("starts `{program}`, and has no file for that"))
                .hint("a program in memory is one of the `files` of the same request"));
        }
        Ok(())
    }

    /// The files in memory as they are recorded. A secret is in none of these hashes: who reads them could guess it.
    pub(in crate::pool) fn placed(&self, patterns: &Patterns) -> Vec<Placed> {
        let hash = |file: &FileRequest| match &file.blob {
            Some(_) => file.hash().map(|hash| hash.to_string()),
            None if patterns.is_empty() => Some(Hash::of(&file.bytes).to_string()),
            None => Some(Hash::of(&patterns.clean(&file.bytes)).to_string()),
        };
        self.files.iter().map(|file| Placed { fd: file.fd, hash: hash(file) }).collect()
    }

    /// The files in memory, each with its number in the program. Made on a thread of its own: to copy as much as was sent
    /// with the run would hold the stub.
    pub(in crate::pool) async fn files(&self, job: &Job) -> Result<Vec<(OwnedFd, RawFd)>, Problem> {
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |fd: RawFd, executed: bool, error: std::io::Error| {
            let name = memory::path(fd);
            let text = format!("no file in memory can be made on `{}` for {name}: {error}", job.target);
            let problem = Problem::new("exec.files", text);
            match error.kind() {
                std::io::ErrorKind::PermissionDenied if executed => problem.hint(IN_MEMORY),
                _ => problem,
            }
        };
        let mut room = FILES_BYTES_MAX;
        let mut wanted = Vec::new();
        for file in &self.files {
            let source = match &file.blob {
                Some(hash) => Source::Sent(Arc::clone(other::blob(job, hash)?)),
                None => Source::Asked(file.bytes.clone()),
            };
            room = room.checked_sub(source.bytes().len()).ok_or_else(|| {
                wrong(format!(
                    "has `files` of more than {FILES_BYTES_MAX} bytes ({} MiB)",
                    FILES_BYTES_MAX >> 20
                ))
            })?;
            let executed = self.argv.first().is_some_and(|program| memory::path(file.fd) == *program);
            // A blob is copied once for all programs of the job: what they have is the same file.
            let key = file.hash().map(|hash| (hash, executed));
            let known = key.and_then(|key| job.in_memory.borrow().get(&key).cloned());
            wanted.push(Wanted { fd: file.fd, executed, key, known, source });
        }
        let (answer, made) = oneshot::channel();
        let make = move || {
            let mut fresh: BTreeMap<_, Arc<OwnedFd>> = BTreeMap::new();
            let made = wanted.into_iter().map(|wanted| {
                let Wanted { fd, executed, key, known, source } = wanted;
                let known = known.or_else(|| fresh.get(&key?).cloned());
                let file = match known {
                    Some(file) => Ok(file),
                    None => memory::make(source.bytes(), executed).map(Arc::new),
                };
                let opened = file.and_then(|file| {
                    if let Some(key) = key {
                        fresh.insert(key, Arc::clone(&file));
                    }
                    memory::reopened(&file, executed)
                });
                opened.map(|opened| (opened, fd)).map_err(|error| (fd, executed, error))
            });
            let made: Result<Vec<_>, _> = made.collect();
            // Whoever asked may be gone.
            let _ = answer.send((made, fresh));
        };
        let no_thread = |why: String| {
            let text = format!("no file in memory can be made on `{}`: {why}", job.target);
            Problem::new("exec.files", text)
        };
        std::thread::Builder::new()
            .stack_size(FILES_STACK_BYTES)
            .spawn(make)
            .map_err(|error| no_thread(format!("no thread for it: {error}")))?;
        let (made, fresh) = made.await.map_err(|_| no_thread("it was not done".to_owned()))?;
        job.in_memory.borrow_mut().extend(fresh);
        made.map_err(|(fd, executed, error)| failed(fd, executed, error))
    }

    /// What may help when the program did not start.
    pub(in crate::pool) fn hint(&self) -> Option<&'static str> {
        self.argv.first().filter(|program| memory::names(program)).map(|_| IN_MEMORY)
    }

    pub(in crate::pool) fn argv(&self) -> Vec<&str> {
        self.argv.iter().map(String::as_str).collect()
    }

    pub(in crate::pool) fn input(&self) -> &[u8] {
        &self.input
    }

    pub(in crate::pool) fn cwd(&self) -> Option<&str> {
        self.cwd.as_deref()
    }

    pub(in crate::pool) fn replaces(&self) -> bool {
        self.replace
    }

    /// What it leaves running stays.
    pub(in crate::pool) fn stays(&self) -> bool {
        self.daemon
    }

    pub(in crate::pool) fn confined(&self) -> bool {
        self.confine
    }

    pub(in crate::pool) fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }

    /// The granted variables of the stub's own environment, under those of the request.
    pub(in crate::pool) fn env<'a>(&'a self, job: &'a Job) -> Result<Vec<(&'a str, &'a str)>, Problem> {
        for name in self.env.keys() {
            // What no grant can name, `LD_*` among it, cannot be granted.
            let grant = Grant::Env(name.clone());
            let enough = |set: &GrantSet| set.check(&grant).is_ok();
            job.grants.check(&grant).map_err(|missing| withheld(job, enough).unwrap_or(missing))?;
        }
        let own = job.granted_env.iter().filter(|(name, _)| !self.env.contains_key(name));
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        Ok(own.chain(self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect())
    }

    /// Whom it shall be started as; none is whoever the stub is.
    pub(in crate::pool) fn user(&self, target: &str) -> Result<Option<program::user::User>, Problem> {
        let who = match &self.user {
            None => return Ok(None),
            Some(Value::String(name)) => name.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err(wrong("has a `user` that is neither a name nor a number")),
        };
        let short: String = who.chars().take(64).collect();
        let user = program::user::User::find(&who).ok_or_else(|| {
            Problem::new("exec.user", format!("there is no user `{short}` in /etc/passwd of `{target}`"))
                .hint("users from elsewhere (LDAP, sssd) are not seen by a static program: give the number")
        })?;
        let own = rustix::process::getuid();
        if own.is_root() || own.as_raw() == user.uid {
            return Ok(Some(user));
        }
        let text = format!(
            "only root may start a program as `{short}` on `{target}`: waft is `{}` there",
            crate::user_name(own.as_raw())
        );
        Err(Problem::new("exec.user", text).hint("log in as that user, or as root"))
    }

    /// Where stdout and stderr of the program go.
    pub(in crate::pool) fn taps(&self) -> Taps {
        let limit = self.limit_bytes.unwrap_or(CAPTURE_BYTES_DEFAULT);
        let tap = |way| match way {
            Way::Capture if !self.replace => Tap::Kept(Kept { limit, ..Kept::default() }),
            Way::Capture | Way::Inherit => Tap::Passed,
            Way::Null => Tap::Dropped,
        };
        Taps { stdout: tap(self.stdout), stderr: tap(self.stderr) }
    }
}

/// The beginning of a stream.
#[derive(Debug, Default)]
pub(in crate::pool) struct Kept {
    pub(in crate::pool) bytes: Vec<u8>,
    pub(in crate::pool) limit: usize,
    pub(in crate::pool) truncated: bool,
}

impl Kept {
    pub(in crate::pool) fn add(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.bytes.len());
        self.truncated |= bytes.len() > room;
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// As fields `NAME` (or `NAME_base64`) and `NAME_truncated`.
    pub(in crate::pool) fn tell(mut self, name: &str, answer: &mut Map<String, Value>) {
        if self.truncated
            && let Err(error) = std::str::from_utf8(&self.bytes)
            && error.error_len().is_none()
        {
            // Cut inside a character: that is no reason to call it no text.
            self.bytes.truncate(error.valid_up_to());
        }
        // Bytes that JSON writes with six characters make an answer that is too long.
        let long = |byte: &&u8| byte.is_ascii_control() && !matches!(byte, b'\n' | b'\r' | b'\t');
        let long = self.bytes.iter().filter(long).count();
        let readable = long <= self.bytes.len() / 8;
        match String::from_utf8(self.bytes) {
            Ok(text) if readable => answer.insert(name.to_owned(), text.into()),
            Ok(text) => answer.insert(format!("{name}_base64"), base64::encode(text.as_bytes()).into()),
            Err(error) => answer.insert(format!("{name}_base64"), base64::encode(error.as_bytes()).into()),
        };
        answer.insert(format!("{name}_truncated"), self.truncated.into());
    }
}

#[derive(Debug)]
enum Tap {
    Kept(Kept),
    Passed,
    Dropped,
}

#[derive(Debug)]
pub(in crate::pool) struct Taps {
    stdout: Tap,
    stderr: Tap,
}

impl Taps {
    /// What of these bytes is passed on as the task's own.
    pub(in crate::pool) fn take(&mut self, stream: Stream, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let tap = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        match tap {
            Tap::Passed => return Some(bytes),
            Tap::Kept(kept) => kept.add(&bytes),
            Tap::Dropped => {}
        }
        None
    }

    /// The answer to the task.
    pub(in crate::pool) fn answer(
        self,
        ended: Ended,
        timed_out: bool,
        took: Duration,
        staying: Option<&Staying>,
    ) -> String {
        let mut answer = Map::new();
        let (code, signal) = match ended {
            Ended::Exit(code) => (Some(code), None),
            Ended::Signal(signal) => (None, Some(signal)),
            Ended::Unknown => (None, None),
        };
        answer.insert("exit_code".to_owned(), json!(code));
        answer.insert("signal".to_owned(), json!(signal));
        answer.insert("timed_out".to_owned(), timed_out.into());
        answer.insert("ms".to_owned(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX).into());
        if let Some(Staying { count, processes }) = staying {
            answer.insert("stays".to_owned(), json!(processes));
            answer.insert("stay_count".to_owned(), json!(count));
        }
        for (name, tap) in [("stdout", self.stdout), ("stderr", self.stderr)] {
            if let Tap::Kept(kept) = tap {
                kept.tell(name, &mut answer);
            }
        }
        Value::Object(answer).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{ARGV_WORDS_MAX, CAPTURE_BYTES_MAX, ExecRequest, Kept};
    use crate::worker::wire::REPLY_BYTES_MAX;
    use serde_json::{Map, Value, json};

    fn code(request: &str) -> String {
        ExecRequest::parse(request.as_bytes()).map_or_else(|problem| problem.code, |_| "good".to_owned())
    }

    #[test]
    fn an_exec_is_taken_only_as_it_is_documented() {
        for good in [
            r#"{"argv":["/bin/x","a"],"stdin":"text","replace":true}"#,
            r#"{"argv":["/bin/x"]}"#,
            r#"{"argv":["x"],"cwd":"/","env":{"A":"b"},"user":0,"timeout_ms":1,"limit_bytes":524288}"#,
            r#"{"argv":["x"],"daemon":true,"timeout_ms":1}"#,
            r#"{"argv":["x"],"stdin_base64":"AAE=","user":"web","confine":true,"stdout":"inherit","stderr":"null"}"#,
        ] {
            assert_eq!(code(good), "good", "{good}");
        }
        for bad in [
            r#"{"argv":[],"replace":true}"#,
            r#"{"argv":[""]}"#,
            r#"{"argv":["/bin/x","a\u0000b"]}"#,
            r#"{"argv":["/bin/x"],"cwd":"tmp"}"#,
            r#"{"argv":["/bin/x"],"cwd":"/a\u0000b"}"#,
            r#"{"argv":["/bin/x"],"env":{"A":"a\u0000b"}}"#,
            r#"{"argv":["/bin/x"],"stdout":"file"}"#,
            r#"{"argv":["/bin/x"],"limit_bytes":524289}"#,
            r#"{"argv":["/bin/x"],"stdin":"a","stdin_base64":"YQ=="}"#,
            r#"{"argv":["/bin/x"],"stdin_base64":"a"}"#,
            r#"{"argv":["/bin/x"],"replace":true,"timeout_ms":5}"#,
            r#"{"argv":["/bin/x"],"replace":true,"daemon":true}"#,
            r#"{"argv":["/bin/x"],"timeout":5}"#,
            "[1",
        ] {
            assert_eq!(code(bad), "exec.request", "{bad}");
        }
        let words = vec!["a"; ARGV_WORDS_MAX + 1];
        assert_eq!(code(&json!({"argv": words}).to_string()), "exec.request");
        assert_eq!(
            code(&json!({"argv": ["a"], "env": {"A": "x".repeat(70_000)}}).to_string()),
            "exec.request"
        );
    }

    fn told(bytes: &[u8], limit: usize) -> Map<String, Value> {
        let mut kept = Kept { limit, ..Kept::default() };
        kept.add(bytes);
        let mut answer = Map::new();
        kept.tell("stdout", &mut answer);
        answer
    }

    #[test]
    fn text_is_text_and_the_rest_base64() {
        let told_as = |bytes, limit| Value::Object(told(bytes, limit));
        assert_eq!(told_as(b"a\xc3\xa9", 9), json!({"stdout": "a\u{e9}", "stdout_truncated": false}));
        assert_eq!(told_as(b"a\xc3\xa9", 2), json!({"stdout": "a", "stdout_truncated": true}));
        assert_eq!(told_as(b"a\xc3", 9), json!({"stdout_base64": "YcM=", "stdout_truncated": false}));
        assert_eq!(told_as(b"a\xffb", 2), json!({"stdout_base64": "Yf8=", "stdout_truncated": true}));
    }

    #[test]
    fn no_answer_is_too_long() {
        for byte in [0u8, 1, b'\n', b'"', b'\\', 0x7f, b'a', 0xff] {
            let answer = told(&vec![byte; CAPTURE_BYTES_MAX], CAPTURE_BYTES_MAX);
            let one = Value::Object(answer).to_string().len();
            assert!(2 * one + 1024 < REPLY_BYTES_MAX, "{byte}: {one}");
        }
        let mixed: Vec<u8> = (0..CAPTURE_BYTES_MAX).map(|at| if at % 8 == 0 { 1 } else { b'"' }).collect();
        assert!(2 * Value::Object(told(&mixed, CAPTURE_BYTES_MAX)).to_string().len() < REPLY_BYTES_MAX);
    }
}
