//! The life of a run on one target: states it passes through and the one status it ends in.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Where a target is on its way to a [`Status`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TargetState {
    Selected,
    Connecting,
    /// Module loaded, input valid, grants agreed.
    Ready,
    Running,
}

impl TargetState {
    pub fn word(self) -> &'static str {
        match self {
            TargetState::Selected => "selected",
            TargetState::Connecting => "connecting",
            TargetState::Ready => "ready",
            TargetState::Running => "running",
        }
    }
}

/// How a target ended. Every selected target ends in exactly one of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Status {
    Ok,
    Changed,
    Skipped,
    Failed,
    TimedOut,
    Unreachable,
    Lost,
    Refused,
    Cancelled,
}

impl Status {
    pub const ALL: [Status; 9] = [
        Status::Ok,
        Status::Changed,
        Status::Skipped,
        Status::Failed,
        Status::TimedOut,
        Status::Unreachable,
        Status::Lost,
        Status::Refused,
        Status::Cancelled,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Changed => "changed",
            Status::Skipped => "skipped",
            Status::Failed => "failed",
            Status::TimedOut => "timed_out",
            Status::Unreachable => "unreachable",
            Status::Lost => "lost",
            Status::Refused => "refused",
            Status::Cancelled => "cancelled",
        }
    }

    /// The exit code of `waft` when this is the worst that happened.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Ok | Status::Changed | Status::Skipped => 0,
            Status::Failed | Status::TimedOut => 3,
            Status::Unreachable | Status::Lost => 4,
            Status::Refused => 5,
            Status::Cancelled => 130,
        }
    }

    pub fn is_done(self) -> bool {
        self.exit_code() == 0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a target did not end well: a stable code for programs, a sentence and a hint for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// Stable, lower-case, dotted: `ssh.host_key`, `grant.missing`, `task.trap`.
    pub code: String,
    /// One sentence that names the host, hop, file or grant.
    pub message: String,
    /// What to do about it, when we know.
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(code: &str, message: impl Into<String>) -> Problem {
        Problem { code: code.into(), message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Problem {}
