//! Programs that a test expects, by patterns of their words.

use crate::Error;
use serde_json::{Value, json};

/// How a program ended, and what it wrote. Without more: well, and nothing.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit_code: u32,
    signal: Option<i32>,
    timed_out: bool,
}

impl Reply {
    pub fn new() -> Reply {
        Reply::default()
    }

    pub fn stdout(mut self, bytes: impl Into<Vec<u8>>) -> Reply {
        self.stdout = bytes.into();
        self
    }

    pub fn stderr(mut self, bytes: impl Into<Vec<u8>>) -> Reply {
        self.stderr = bytes.into();
        self
    }

    pub fn exit(mut self, code: u32) -> Reply {
        self.exit_code = code;
        self
    }

    pub fn signal(mut self, signal: i32) -> Reply {
        self.signal = Some(signal);
        self
    }

    /// It was killed at its own deadline.
    pub fn timed_out(mut self) -> Reply {
        self.timed_out = true;
        self.signal(9)
    }

    pub(super) fn json(&self) -> Value {
        let mut reply = json!({
            "exit_code": self.signal.is_none().then_some(self.exit_code),
            "signal": self.signal,
            "timed_out": self.timed_out,
            "stdout_truncated": false,
            "stderr_truncated": false,
            "ms": 1,
        });
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            match std::str::from_utf8(bytes) {
                Ok(text) => reply[name] = json!(text),
                Err(_) => reply[format!("{name}_base64")] = json!(crate::base64::encode(bytes)),
            }
        }
        reply
    }
}

pub(super) struct Expected {
    pub(super) pattern: Vec<String>,
    pub(super) reply: Result<Reply, Error>,
    pub(super) is_probe: bool,
    pub(super) used: bool,
}

/// As in grants: `*` stands for any characters of one word but not for a leading `-`, a final `**` for the rest.
pub(super) fn matches(pattern: &[String], argv: &[String]) -> bool {
    match (pattern.split_first(), argv.split_first()) {
        (None, None) => true,
        (Some((last, [])), _) if last == "**" => true,
        (Some((first, pattern)), Some((word, argv))) => {
            let leads = first.starts_with('*') && word.starts_with('-');
            !leads && glob(first, word) && matches(pattern, argv)
        }
        _ => false,
    }
}

fn glob(pattern: &str, word: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == word };
    let Some(left) = word.strip_prefix(first) else { return false };
    (0..=left.len()).any(|at| left.get(at..).is_some_and(|left| glob(rest, left)))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn words_match_as_in_grants() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let is = |pattern: &str, argv: &str| matches(&words(pattern), &words(argv));
        assert!(is("id -u", "id -u") && is("systemctl start *", "systemctl start web"));
        assert!(is("apt-get **", "apt-get") && is("apt-get **", "apt-get -y install x"));
        assert!(is("cat /etc/*.conf", "cat /etc/a.conf") && is("x -*", "x -v"));
        for (pattern, argv) in
            [("id", "id -u"), ("x *", "x -v"), ("x *", "x"), ("cat /etc/*.conf", "cat /etc/a"), ("a **", "b")]
        {
            assert!(!is(pattern, argv), "{pattern}: {argv}");
        }
    }
}
