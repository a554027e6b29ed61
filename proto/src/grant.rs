//! Grants: what a task may reach, as text. The one parser for manifests, `--allow`, inventories, plans and
//! policies, so that a line means the same wherever it stands.
//!
//! ```text
//! fs:/var/log:ro   exec:systemctl restart *   net:db.internal:5432   env:TZ   secret:db/password
//! blob:<64 hex>    call:facts                 facts                  mem:64M  time:30s  procs:4
//! ```
//!
//! Only text is judged here; nothing is looked up. A path is compared as it is written, so a symlink is
//! another path: whoever opens it must resolve it inside the granted directory. A bare program name is
//! looked up by the caller's function, in the fixed PATH of the target.
//!
//! Invariants: `parse(print(grant)) == grant`, and a printed grant holds no character that a terminal
//! would hide or obey. Sizes are bytes, durations are milliseconds.

mod exec;
mod limit;
mod names;
mod nearest;
mod set;
mod words;

use crate::id::Hash;
use crate::run::Problem;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

pub use exec::{Exec, Pattern};
pub use limit::{Limit, Limits, parse_duration_ms, parse_size_bytes, print_duration_ms, print_size_bytes};
pub use names::Endpoint;
pub use nearest::nearest;
pub use set::GrantSet;

/// Grants in one set. Far above what a person writes; bounds the work of a check.
pub const GRANTS_MAX: usize = 1024;
/// One grant as text, bytes.
pub const GRANT_BYTES_MAX: usize = 4096;
/// Of a text that is quoted in an error, characters.
const QUOTED_CHARS_MAX: usize = 120;

const KINDS: [&str; 15] = [
    "fs", "exec", "net", "env", "secret", "blob", "call", "facts", "mem", "out", "disk", "time", "cpu",
    "files", "procs",
];

/// What may be done with a directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

impl Access {
    pub fn word(self) -> &'static str {
        match self {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
        }
    }
}

/// One right or one limit.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Grant {
    /// A directory (or file) and what is below it: absolute and normalised.
    Fs {
        path: String,
        access: Access,
    },
    Exec(Exec),
    Net(Endpoint),
    Env(String),
    Secret(String),
    Blob(Hash),
    /// Another task, by name.
    Call(String),
    Facts,
    Limit(Limit),
}

impl Grant {
    /// Reads one grant. The problem names the text, what was expected there, and what to write instead.
    pub fn parse(text: &str) -> Result<Grant, Problem> {
        if text.len() > GRANT_BYTES_MAX {
            let long = format!(
                "the grant {} takes {} bytes, at most {GRANT_BYTES_MAX} are read",
                quoted(text),
                text.len()
            );
            return Err(Problem::new("grant.long", long));
        }
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        let bad = |wanted: Wanted| wanted.problem(text);
        if !KINDS.contains(&kind) {
            return Err(unknown(text, kind));
        }
        let Some(rest) = rest else {
            return match kind {
                "facts" => Ok(Grant::Facts),
                _ => Err(bad(Wanted::new(example(kind).0).hint(example(kind).1))),
            };
        };
        match kind {
            "fs" => names::directory(rest).map(|(path, access)| Grant::Fs { path, access }),
            "exec" => Exec::read(rest).map(Grant::Exec),
            "net" => Endpoint::read(rest).map(Grant::Net),
            "env" => names::variable(rest).map(Grant::Env),
            "secret" => names::name(rest, "the name of a secret").map(Grant::Secret),
            "blob" => names::hash(rest).map(Grant::Blob),
            "call" => names::name(rest, "the name of a task").map(Grant::Call),
            "facts" => Err(Wanted::new("nothing after `facts`").hint("write `facts`")),
            limit => Limit::read(limit, rest).map(Grant::Limit),
        }
        .map_err(bad)
    }

    /// Whether whoever holds `self` may do all that `other` allows. A limit covers what is not more.
    pub fn covers(&self, other: &Grant) -> bool {
        match (self, other) {
            (Grant::Fs { path, access }, Grant::Fs { path: inner, access: wanted }) => {
                wanted <= access && names::holds(path, inner)
            }
            (Grant::Exec(outer), Grant::Exec(inner)) => outer.covers(inner),
            (Grant::Limit(outer), Grant::Limit(inner)) => outer.covers(*inner),
            _ => self == other,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::Fs { path, access } => {
                f.write_str("fs:")?;
                names::write_path(f, path)?;
                write!(f, ":{}", access.word())
            }
            Grant::Exec(exec) => exec.fmt(f),
            Grant::Net(endpoint) => write!(f, "net:{endpoint}"),
            Grant::Env(name) => write!(f, "env:{name}"),
            Grant::Secret(name) => write!(f, "secret:{name}"),
            Grant::Blob(hash) => write!(f, "blob:{hash}"),
            Grant::Call(task) => write!(f, "call:{task}"),
            Grant::Facts => f.write_str("facts"),
            Grant::Limit(limit) => limit.fmt(f),
        }
    }
}

/// What was expected where something else stood. Becomes a [`Problem`] once the whole text is known.
struct Wanted {
    expected: String,
    hint: Option<String>,
}

impl Wanted {
    fn new(expected: impl Into<String>) -> Wanted {
        Wanted { expected: expected.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Wanted {
        self.hint = Some(hint.into());
        self
    }

    fn problem(self, text: &str) -> Problem {
        let message = format!("the grant {} cannot be read: expected {}", quoted(text), self.expected);
        Problem { code: "grant.syntax".to_string(), message, hint: self.hint }
    }
}

/// What is expected after a kind, and a line to follow.
fn example(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "fs" => ("an absolute path after `fs:`", "for example `fs:/var/log:ro`"),
        "exec" => ("a program after `exec:`", "for example `exec:systemctl restart *`"),
        "net" => ("a host and a port after `net:`", "for example `net:db.internal:5432`"),
        "env" => ("the name of a variable after `env:`", "for example `env:TZ`"),
        "secret" => ("the name of a secret after `secret:`", "for example `secret:db/password`"),
        "blob" => ("a hash of 64 hex digits after `blob:`", "`waft stub list` and `waft task` print hashes"),
        "call" => ("the name of a task after `call:`", "for example `call:facts`"),
        "time" | "cpu" => ("a duration after the colon", "for example `time:30s`"),
        "files" | "procs" => ("a number after the colon", "for example `files:64`"),
        _ => ("a size after the colon", "for example `mem:64M`"),
    }
}

fn unknown(text: &str, kind: &str) -> Problem {
    let message =
        format!("the grant {} begins with {}, which is no kind of grant", quoted(text), quoted(kind));
    let problem = Problem::new("grant.unknown", message);
    match nearest(kind, KINDS) {
        Some("facts") => problem.hint("did you mean `facts`?"),
        Some(known) => problem.hint(format!("did you mean `{known}:`? {}", example(known).1)),
        None if text.starts_with('/') => {
            problem.hint(format!("for a directory write `fs:{}`", printable(text)))
        }
        None => problem.hint(format!("known are {}", KINDS.join(", "))),
    }
}

/// Text from outside for a sentence: in backquotes, printable, not endless.
fn quoted(text: &str) -> String {
    format!("`{}`", printable(text))
}

fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == QUOTED_CHARS_MAX {
            shown.push_str("...");
            break;
        }
        if words::is_hidden(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests;
