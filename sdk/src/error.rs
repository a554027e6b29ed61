//! Why a call came back without what was asked for.

use serde::Deserialize;
use std::fmt;

/// The host's refusal, or this side's reason for not calling: a stable code, a sentence, and what to do when known.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Error {
    /// Stable, lower-case, dotted: `grant.missing`.
    pub code: String,
    /// One sentence.
    pub message: String,
    #[serde(default)]
    pub hint: Option<String>,
}

impl Error {
    pub fn new(code: &str, message: impl Into<String>) -> Error {
        Error { code: code.into(), message: message.into(), hint: None }
    }
}

/// The sentence, and the hint on a line of its own.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n{hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
