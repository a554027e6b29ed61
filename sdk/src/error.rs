//! Why a call came back without what was asked for.

use serde::Deserialize;
use std::fmt;
use std::io::ErrorKind;

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

    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
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

/// What a call to the host said, when it is inside (a [`crate::Connection`] that was read); else the code is `io.` and the
/// kind: `io.not_found`, `io.permission_denied`.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::new(kind(error.kind()), error.to_string()),
        }
    }
}

fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "io.not_found",
        ErrorKind::PermissionDenied => "io.permission_denied",
        ErrorKind::AlreadyExists => "io.already_exists",
        ErrorKind::NotADirectory => "io.not_a_directory",
        ErrorKind::IsADirectory => "io.is_a_directory",
        ErrorKind::DirectoryNotEmpty => "io.directory_not_empty",
        ErrorKind::ReadOnlyFilesystem => "io.read_only",
        ErrorKind::StorageFull => "io.storage_full",
        ErrorKind::InvalidData => "io.invalid_data",
        ErrorKind::UnexpectedEof => "io.unexpected_eof",
        ErrorKind::TimedOut => "io.timed_out",
        _ => "io.failed",
    }
}

/// The code is `json.invalid`.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::new("json.invalid", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_others_have_codes_and_a_refusal_stays_what_it_is() {
        let missing = Error::from(std::fs::read("/nowhere/at/all").unwrap_err());
        assert_eq!(missing.code, "io.not_found");
        let refused = Error::new("grant.missing", "No.").hint("--allow facts");
        assert_eq!(Error::from(std::io::Error::other(refused.clone())), refused);
        assert_eq!(Error::from(std::io::Error::other("x")).code, "io.failed");
        let json = serde_json::from_str::<u8>("{").unwrap_err();
        assert_eq!(Error::from(json).code, "json.invalid");
    }
}
