//! Programs that a task starts and waits for.

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
        stdout: bytes(reply.stdout, reply.stdout_base64)?,
        stderr: bytes(reply.stderr, reply.stderr_base64)?,
        stdout_truncated: reply.stdout_truncated,
        stderr_truncated: reply.stderr_truncated,
        ms: reply.ms,
    })
}

#[cfg(target_arch = "wasm32")]
impl Program {
    /// Starts it and waits until it and all that it started are gone. Needs the grant `exec:` for these words.
    pub fn run(&self) -> Result<Output, Error> {
        run(&mut crate::call::Imports, self)
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
    }
}
