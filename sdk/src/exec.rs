//! Programs that a task starts and waits for.
//!
//! ```
//! # use waft_sdk::{Error, Outcome, testing::{Fake, Reply}, serde_json::{Value, json}};
//! use waft_sdk::exec::Program;
//! # let host = Fake::new().program(&["systemctl", "**"], Reply::new().stdout("active\n"));
//! # host.run(|_: Value| -> Result<Outcome, Error> {
//!
//! let program = Program {
//!     argv: vec!["systemctl".into(), "is-active".into(), "web".into()],
//!     timeout_ms: Some(5_000),
//!     ..Program::default()
//! };
//! let output = program.run()?;
//! assert!(output.is_success() && output.stdout == b"active\n");
//! # Ok(Outcome::ok()) }, json!({})).unwrap();
//! ```

use crate::Error;
use crate::call::{Host, ask};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a stream of a program goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// To the task, up to `limit_bytes`.
    #[default]
    Capture,
    /// It is the task's own, as it comes.
    Inherit,
    Null,
}

/// A program to start. `Program { argv: vec!["/bin/id".into()], ..Program::default() }.run()`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Program {
    pub argv: Vec<String>,
    /// Each name needs a grant `env:`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    #[serde(rename = "stdin_base64", serialize_with = "base64", skip_serializing_if = "Vec::is_empty")]
    pub stdin: Vec<u8>,
    /// Absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// A name or number. For root, and for whoever it is already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Milliseconds; then it is killed with all that it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    pub stdout: Way,
    pub stderr: Way,
    /// Of each captured stream: 64 KiB when not set, 512 KiB at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u32>,
    /// Behind walls of its own: granted directories, no sockets.
    pub confine: bool,
    /// What it leaves running when it ends with code 0 stays, after the task as well. Needs a grant with `:daemon`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub daemon: bool,
    /// At most 8, each with another number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
}

/// A file in memory that the program finds open for reading, also as `/dev/fd/NUMBER`. A program can be one itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct File {
    /// From 3 to 31.
    fd: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
}

impl File {
    pub fn text(fd: u8, text: impl Into<String>) -> File {
        File { fd, text: Some(text.into()), blob: None }
    }

    /// One that was sent with the run: its hash, which has to be granted.
    pub fn blob(fd: u8, hash: impl Into<String>) -> File {
        File { fd, text: None, blob: Some(hash.into()) }
    }

    /// How the program names it.
    pub fn path(fd: u8) -> String {
        format!("/dev/fd/{fd}")
    }
}

fn base64<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&crate::base64::encode(bytes))
}

/// How it ended, and what it wrote as far as that was captured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// None when a signal ended it.
    pub exit_code: Option<u32>,
    pub signal: Option<i32>,
    /// It was killed at `timeout_ms`.
    pub timed_out: bool,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub stdout_truncated: bool,
    pub stderr_truncated: bool,
    pub ms: u64,
    /// What stays of a program that was asked for as a `daemon`: the first 32.
    pub stays: Vec<Stayed>,
}

/// A process that stays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stayed {
    pub pid: u32,
    pub name: String,
}

impl Output {
    pub fn is_success(&self) -> bool {
        self.exit_code == Some(0)
    }
}

#[derive(Deserialize)]
struct Reply {
    exit_code: Option<u32>,
    signal: Option<i32>,
    timed_out: bool,
    ms: u64,
    stdout: Option<String>,
    stdout_base64: Option<String>,
    #[serde(default)]
    stdout_truncated: bool,
    stderr: Option<String>,
    stderr_base64: Option<String>,
    #[serde(default)]
    stderr_truncated: bool,
    #[serde(default)]
    stays: Vec<Stayed>,
}

/// Bytes that came as text or as base64.
pub(crate) fn bytes(text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, Error> {
    match (text, base64) {
        (text, None) => Ok(text.unwrap_or_default().into_bytes()),
        (_, Some(base64)) => crate::base64::decode(&base64)
            .ok_or_else(|| Error::new("waft_v1.reply", "the host's reply holds base64 that is none")),
    }
}

fn run(host: &mut impl Host, program: &Program) -> Result<Output, Error> {
    let reply: Reply = ask(host, "exec", Host::exec, program)?;
    Ok(Output {
        exit_code: reply.exit_code,
        signal: reply.signal,
        timed_out: reply.timed_out,
        stays: reply.stays,
        stdout: bytes(reply.stdout, reply.stdout_base64)?,
        stderr: bytes(reply.stderr, reply.stderr_base64)?,
        stdout_truncated: reply.stdout_truncated,
        stderr_truncated: reply.stderr_truncated,
        ms: reply.ms,
    })
}

fn replace(host: &mut impl Host, program: &Program) -> Error {
    let request = serde_json::to_vec(program).map(|mut request| {
        request.pop();
        request.extend_from_slice(br#","replace":true}"#);
        request
    });
    crate::call::replaced(host, request)
}

impl Program {
    /// Starts it and waits until it and all that it started are gone. Needs the grant `exec:` for these words.
    pub fn run(&self) -> Result<Output, Error> {
        run(&mut crate::call::Imports, self)
    }

    /// Becomes it: output and exit code are the task's from here on. Returns only when that did not happen. Not together
    /// with `timeout_ms`, `limit_bytes`, `stdout` and `stderr`.
    pub fn replace(&self) -> Error {
        replace(&mut crate::call::Imports, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;

    #[test]
    fn a_program_is_asked_for_as_the_host_takes_it() {
        let reply = r#"{"exit_code":null,"signal":9,"timed_out":true,"ms":5,"stdout":"a","stdout_truncated":true,
            "stderr_base64":"/w==","stderr_truncated":false}"#;
        let mut host = Script::replying(reply);
        let program = Program {
            argv: vec!["/bin/x".into()],
            stdin: vec![0xff],
            user: Some("web".into()),
            ..Program::default()
        };
        let output = run(&mut host, &program).unwrap();
        assert_eq!(
            host.asked(),
            r#"{"argv":["/bin/x"],"stdin_base64":"/w==","user":"web","stdout":"capture","stderr":"capture","confine":false}"#
        );
        assert!(output.timed_out && output.stdout_truncated && !output.is_success());
        assert_eq!((output.stdout, output.stderr, output.signal), (b"a".to_vec(), vec![0xff], Some(9)));
        assert_eq!(run(&mut Script::replying("{}"), &program).unwrap_err().code, "waft_v1.reply");
        let refused = r#"{"error":{"code":"grant.missing","message":"No."}}"#;
        assert_eq!(run(&mut Script::replying(refused), &program).unwrap_err().code, "grant.missing");

        let reply = r#"{"exit_code":0,"signal":null,"timed_out":false,"ms":5,"stays":[{"pid":7,"name":"web"}],"stay_count":1}"#;
        let mut daemons = Script::replying(reply);
        let start = Program { argv: vec!["service".into()], daemon: true, ..Program::default() };
        assert_eq!(run(&mut daemons, &start).unwrap().stays, [Stayed { pid: 7, name: "web".into() }]);
        assert!(daemons.asked().contains(r#""daemon":true"#), "{}", daemons.asked());

        let files = vec![File::text(3, "a"), File::blob(4, "00")];
        let program = Program { argv: vec![File::path(3)], files, ..Program::default() };
        assert_eq!(replace(&mut host, &program).code, "exec.reply");
        assert_eq!(
            host.asked(),
            r#"{"argv":["/dev/fd/3"],"stdout":"capture","stderr":"capture","confine":false,"files":[{"fd":3,"text":"a"},{"fd":4,"blob":"00"}],"replace":true}"#
        );
    }
}
