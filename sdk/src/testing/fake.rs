//! The host of one test: what it answers is said before, what it was asked is kept.

use super::program::{Expected, matches};
use super::{Dialog, Host, Reply, files::Files, with_check, with_host};
use crate::{Error, Outcome};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Handles of blobs and of connections are told apart by this bit, as on a target.
const BLOB: u32 = 1 << 30;
/// `read` and `write` move no more at once, bytes.
const PIECE_BYTES_MAX: usize = 32 * 1024;
/// Attempts to find a name for a directory that nobody has.
const NAMES_MAX: u32 = 10_000;

/// A call of the task, and the code of the problem that it was answered with.
#[derive(Clone, Debug)]
pub struct Call {
    /// The import: `exec`, `file`, ..
    pub function: &'static str,
    pub request: Value,
    pub problem: Option<String>,
}

/// A host that knows what the test tells it. What it is asked beyond that is refused as a target refuses it
/// (`grant.missing`); a program that nobody expects, and words on a connection that nobody expects, fail the test.
#[derive(Clone, Default)]
pub struct Fake(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    check: bool,
    facts: Option<Value>,
    programs: Vec<Expected>,
    secrets: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
    tasks: BTreeMap<String, Result<Outcome, Error>>,
    dialogs: Vec<(String, u16, Dialog)>,
    files: Files,
    dir: Option<Dir>,
    open: BTreeMap<u32, Open>,
    /// Of connections that were closed.
    closed: Vec<Dialog>,
    handles: u32,
    calls: Vec<Call>,
    log: Vec<String>,
    progress: Vec<Value>,
    answer: Cursor<Vec<u8>>,
}

enum Open {
    Blob(Cursor<Vec<u8>>),
    Connection(Dialog),
}

/// Removed with the host.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Fake {
    pub fn new() -> Fake {
        Fake::default()
    }

    fn with(self, change: impl FnOnce(&mut State)) -> Fake {
        change(&mut self.0.borrow_mut());
        self
    }

    /// Tasks run in a dry run: only programs of [`Fake::probe`] start, and nothing is connected to. Files are changed as they
    /// are otherwise: on a target that is an overlay, which is thrown away.
    pub fn check(self) -> Fake {
        self.with(|state| state.check = true)
    }

    pub fn facts(self, facts: Value) -> Fake {
        self.with(|state| state.facts = Some(facts))
    }

    /// Expects a program, by a pattern as in a grant: `["systemctl", "restart", "*"]`. Of several that fit, each is the answer
    /// once, in order, and the last of them from then on.
    pub fn program(self, words: &[&str], reply: Reply) -> Fake {
        self.expect(words, Ok(reply), false)
    }

    /// The same for a program that a dry run may start, too (`exec:..:probe`).
    pub fn probe(self, words: &[&str], reply: Reply) -> Fake {
        self.expect(words, Ok(reply), true)
    }

    /// A program that the host does not start: `Error::new("exec.not_found", "There is no such program.")`.
    pub fn unstarted(self, words: &[&str], error: Error) -> Fake {
        self.expect(words, Err(error), true)
    }

    fn expect(self, words: &[&str], reply: Result<Reply, Error>, is_probe: bool) -> Fake {
        let pattern = words.iter().map(|word| (*word).to_owned()).collect();
        self.with(|state| state.programs.push(Expected { pattern, reply, is_probe, used: false }))
    }

    pub fn secret(self, name: &str, value: impl Into<Vec<u8>>) -> Fake {
        self.with(|state| drop(state.secrets.insert(name.to_owned(), value.into())))
    }

    /// Expects a connection, and what is said on it: all of that, unless the task fails.
    pub fn net(self, host: &str, port: u16, dialog: Dialog) -> Fake {
        self.with(|state| state.dialogs.push((host.to_owned(), port, dialog)))
    }

    /// What a called task answers.
    pub fn task(self, name: &str, answer: Result<Outcome, Error>) -> Fake {
        self.with(|state| drop(state.tasks.insert(name.to_owned(), answer)))
    }

    /// What `statvfs` answers, whatever the path.
    pub fn space(self, space: Value) -> Fake {
        self.with(|state| state.files.space = Some(space))
    }

    /// A file that was sent with the run: what the parameter is (`-p NAME@FILE`).
    pub fn blob(&self, name: &str, bytes: impl Into<Vec<u8>>) -> Value {
        let mut state = self.0.borrow_mut();
        let bytes = bytes.into();
        // No hash: it is only to be told from others.
        let hash = format!("{:064x}", state.blobs.len() + 1);
        let param = json!({ "hash": hash, "bytes": bytes.len(), "name": name });
        state.blobs.insert(hash, bytes);
        param
    }

    /// A directory of the test's own, in which the task may do everything. Its files are real; it is gone with the host.
    pub fn dir(&self) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut state = self.0.borrow_mut();
        if let Some(Dir(dir)) = &state.dir {
            return dir.clone();
        }
        let parent = std::env::temp_dir();
        for _ in 0..NAMES_MAX {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = parent.join(format!("waft-test-{}-{number}", std::process::id()));
            match std::fs::create_dir(&dir) {
                Ok(()) => {
                    state.files.granted.push(dir.clone());
                    state.dir = Some(Dir(dir.clone()));
                    return dir;
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make a directory in {}: {error}", parent.display()),
            }
        }
        panic!("{} has no room for a directory", parent.display());
    }

    /// Another directory in which the task may do everything, for a test that makes its own.
    pub fn directory(self, path: impl Into<PathBuf>) -> Fake {
        self.with(|state| state.files.granted.push(path.into()))
    }

    /// Runs the task with these parameters, as waft would.
    pub fn run<P, E>(
        &self,
        task: impl FnOnce(P) -> Result<Outcome, E>,
        params: Value,
    ) -> Result<Outcome, Error>
    where
        P: DeserializeOwned,
        E: Into<Error>,
    {
        let params = crate::params_from(params.to_string().as_bytes())?;
        let check = self.0.borrow().check;
        let outcome = with_host(self.clone(), || with_check(check, || task(params).map_err(Into::into)))?;
        // A task that failed may have stopped in the middle of it.
        self.0.borrow().said_all();
        Ok(outcome)
    }

    /// What the task has asked, in order. `read` and `write` are not among it.
    pub fn calls(&self) -> Vec<Call> {
        self.0.borrow().calls.clone()
    }

    /// The words of the programs that were started.
    pub fn programs(&self) -> Vec<Vec<String>> {
        let state = self.0.borrow();
        let started = state.calls.iter().filter(|call| call.function == "exec" && call.problem.is_none());
        started.map(|call| words(&call.request)).collect()
    }

    pub fn log(&self) -> Vec<String> {
        self.0.borrow().log.clone()
    }

    /// `{"done": 1, "total": 2, "text": ".."}`, each as it was sent.
    pub fn progress(&self) -> Vec<Value> {
        self.0.borrow().progress.clone()
    }

    fn answer(
        &self,
        function: &'static str,
        request: &[u8],
        answer: impl FnOnce(&mut State, &Value) -> Result<Value, Error>,
    ) -> i32 {
        let mut state = self.0.borrow_mut();
        let Ok(request) = serde_json::from_slice::<Value>(request) else {
            panic!("a request of `{function}` is no JSON: {}", request.escape_ascii());
        };
        let answer = answer(&mut state, &request);
        let problem = answer.as_ref().err().map(|error| error.code.clone());
        state.calls.push(Call { function, request, problem });
        let reply = answer.unwrap_or_else(
            |Error { code, message, hint }| json!({ "error": { "code": code, "message": message, "hint": hint } }),
        );
        state.reply(&reply)
    }
}

fn words(request: &Value) -> Vec<String> {
    let argv = request["argv"].as_array().into_iter().flatten();
    argv.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn missing(what: &str, grant: &str) -> Error {
    Error::new("grant.missing", format!("the task has no grant for {what}")).hint(format!("--allow {grant}"))
}

impl State {
    fn reply(&mut self, reply: &Value) -> i32 {
        self.answer = Cursor::new(reply.to_string().into_bytes());
        i32::try_from(self.answer.get_ref().len()).unwrap_or(i32::MAX)
    }

    fn exec(&mut self, request: &Value) -> Result<Value, Error> {
        let argv = words(request);
        let fitting = |expected: &&mut Expected| matches(&expected.pattern, &argv);
        let mut found = None;
        for expected in self.programs.iter_mut().filter(fitting) {
            let is_new = !expected.used;
            found = Some(expected);
            if is_new {
                break;
            }
        }
        let Some(expected) = found else {
            panic!("the task starts a program that the test does not expect: {argv:?}");
        };
        if self.check && !expected.is_probe {
            let message = format!("`{}` is not started in a dry run", argv.join(" "));
            return Err(Error::new("grant.check", message));
        }
        expected.used = true;
        let reply = expected.reply.as_ref().map_err(Clone::clone)?;
        if request["replace"] == true {
            return Err(Error::new("exec.replaced", "the task has become the program: here a test ends it"));
        }
        Ok(reply.json())
    }

    fn net(&mut self, request: &Value) -> Result<Value, Error> {
        let host = request["host"].as_str().unwrap_or_default();
        match request["op"].as_str() {
            Some("open" | "resolve") if self.check => {
                Err(Error::new("grant.check", "in a dry run there is no network"))
            }
            Some("open") => {
                let port = request["port"].as_u64().unwrap_or_default();
                let fits = |(of, at, _): &(String, u16, Dialog)| of == host && u64::from(*at) == port;
                let Some(at) = self.dialogs.iter().position(fits) else {
                    return Err(missing(&format!("{host}:{port}"), &format!("net:{host}:{port}")));
                };
                let (_, _, dialog) = self.dialogs.remove(at);
                let handle = self.open(Open::Connection(dialog), 0);
                Ok(json!({ "handle": handle, "address": format!("192.0.2.1:{port}") }))
            }
            Some("resolve") => match self.dialogs.iter().any(|(of, _, _)| of == host) {
                true => Ok(json!({ "addresses": ["192.0.2.1"] })),
                false => Err(missing(host, &format!("net:{host}:443"))),
            },
            op => {
                let handle = handle(&request["handle"]);
                if !matches!(self.open.get(&handle), Some(Open::Connection(_))) {
                    return Err(no_handle("net.handle", handle));
                }
                if op == Some("close")
                    && let Some(Open::Connection(dialog)) = self.open.remove(&handle)
                {
                    self.closed.push(dialog);
                }
                Ok(json!({}))
            }
        }
    }

    fn blob(&mut self, request: &Value) -> Result<Value, Error> {
        if !request["close"].is_null() {
            let handle = handle(&request["close"]);
            if !matches!(self.open.get(&handle), Some(Open::Blob(_))) {
                return Err(no_handle("blob.handle", handle));
            }
            self.open.remove(&handle);
            return Ok(json!({}));
        }
        let hash = request["hash"].as_str().unwrap_or_default();
        let Some(bytes) = self.blobs.get(hash) else {
            return Err(missing(&format!("the blob {hash}"), &format!("blob:{hash}")));
        };
        let (all, offset) = (bytes.len(), number(&request["offset"]).unwrap_or(0).min(bytes.len()));
        let end = number(&request["length"]).map_or(all, |length| offset.saturating_add(length).min(all));
        let part = Cursor::new(bytes[offset..end].to_vec());
        let handle = self.open(Open::Blob(part), BLOB);
        Ok(json!({ "handle": handle, "bytes": all }))
    }

    fn open(&mut self, open: Open, bit: u32) -> u32 {
        self.handles += 1;
        let handle = self.handles | bit;
        self.open.insert(handle, open);
        handle
    }

    fn task(&mut self, request: &Value) -> Result<Value, Error> {
        let name = request["name"].as_str().unwrap_or_default();
        let Some(answer) = self.tasks.get(name) else {
            return Err(missing(&format!("the task {name}"), &format!("call:{name}")));
        };
        let (status, code, result) = match answer {
            Ok(outcome) if outcome.is_changed() => ("changed", 0, outcome.to_json()),
            Ok(outcome) => ("ok", 0, outcome.to_json()),
            Err(error) => ("failed", crate::exit::FAILED, crate::outcome::failure(error)),
        };
        let result: Value = serde_json::from_str(&result).unwrap_or_default();
        Ok(
            json!({ "status": status, "exit_code": code, "signal": null, "ms": 1, "problem": null, "result": result }),
        )
    }

    fn secret(&mut self, request: &Value) -> Result<Value, Error> {
        let name = request["name"].as_str().unwrap_or_default();
        let value = self.secrets.get(name);
        let value = value.ok_or_else(|| missing(&format!("the secret {name}"), &format!("secret:{name}")))?;
        Ok(match std::str::from_utf8(value) {
            Ok(text) => json!({ "value": text }),
            Err(_) => json!({ "base64": crate::base64::encode(value) }),
        })
    }

    fn emit(&mut self, request: &Value) -> Result<Value, Error> {
        self.log.extend(request["log"].as_str().into_iter().flat_map(str::lines).map(str::to_owned));
        self.progress.extend(request.get("progress").cloned());
        Ok(json!({}))
    }

    /// Fails the test where something was expected on a connection that never came.
    fn said_all(&self) {
        let open = self.open.values().filter_map(|open| match open {
            Open::Connection(dialog) => Some(dialog),
            Open::Blob(_) => None,
        });
        open.chain(&self.closed).for_each(Dialog::said_all);
    }

    /// Of a `read` or `write` that failed.
    fn failed(&mut self, error: &Error) -> i32 {
        let error = json!({ "error": { "code": error.code, "message": error.message } });
        self.reply(&error);
        crate::call::FAILED
    }
}

fn handle(value: &Value) -> u32 {
    value.as_u64().and_then(|handle| u32::try_from(handle).ok()).unwrap_or_default()
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

fn no_handle(code: &str, handle: u32) -> Error {
    Error::new(code, format!("there is nothing open with the handle {handle}"))
}

fn moved(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl Host for Fake {
    fn facts(&mut self, request: &[u8]) -> i32 {
        self.answer("facts", request, |state, _| {
            state.facts.clone().ok_or_else(|| missing("the facts", "facts"))
        })
    }

    fn exec(&mut self, request: &[u8]) -> i32 {
        self.answer("exec", request, State::exec)
    }

    fn file(&mut self, request: &[u8]) -> i32 {
        self.answer("file", request, |state, request| state.files.answer(request))
    }

    fn net(&mut self, request: &[u8]) -> i32 {
        self.answer("net", request, State::net)
    }

    fn task(&mut self, request: &[u8]) -> i32 {
        self.answer("task", request, State::task)
    }

    fn blob(&mut self, request: &[u8]) -> i32 {
        self.answer("blob", request, State::blob)
    }

    fn secret(&mut self, request: &[u8]) -> i32 {
        self.answer("secret", request, State::secret)
    }

    fn emit(&mut self, request: &[u8]) -> i32 {
        self.answer("emit", request, State::emit)
    }

    fn take(&mut self, into: &mut [u8]) -> i32 {
        // Reading from memory does not fail.
        moved(self.0.borrow_mut().answer.read(into).unwrap_or_default())
    }

    fn read(&mut self, handle: u32, into: &mut [u8]) -> i32 {
        let mut state = self.0.borrow_mut();
        let most = into.len().min(PIECE_BYTES_MAX);
        match state.open.get_mut(&handle) {
            Some(Open::Blob(blob)) => moved(blob.read(&mut into[..most]).unwrap_or_default()),
            Some(Open::Connection(dialog)) => moved(dialog.read(&mut into[..most])),
            None => state.failed(&no_handle("net.handle", handle)),
        }
    }

    fn write(&mut self, handle: u32, bytes: &[u8]) -> i32 {
        let mut state = self.0.borrow_mut();
        let most = bytes.len().min(PIECE_BYTES_MAX);
        match state.open.get_mut(&handle) {
            Some(Open::Connection(dialog)) => moved(dialog.write(&bytes[..most])),
            Some(Open::Blob(_)) => state.failed(&Error::new("blob.read_only", "a blob is not written to")),
            None => state.failed(&no_handle("net.handle", handle)),
        }
    }
}
