//! Secrets of a run on the controller: what is declared of them, where the values come from, and which targets may get
//! them. The values are read once, kept in memory that is overwritten, and sent sealed ([`waft_proto::secret`]).

mod age;
mod command;
pub mod plan;
mod read;
pub mod source;

pub use plan::{Plan, Sent};
pub use source::Source;

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a value is handed to the task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// UTF-8; one line end at the end is cut.
    #[default]
    Text,
    /// As it is.
    Bytes,
}

impl Kind {
    pub const ALL: [(&str, Kind); 2] = [("text", Kind::Text), ("bytes", Kind::Bytes)];

    pub fn word(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Bytes => "bytes",
        }
    }
}

/// For `require`: nobody between the controller and the target may be able to read it.
pub const END_TO_END: &str = "end-to-end";
/// A description, bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 512;

/// What a manifest or an inventory says of one secret.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Declared {
    pub kind: Option<Kind>,
    pub description: Option<String>,
    pub end_to_end: bool,
    /// Not in a manifest: a task has no say in where values come from.
    pub source: Option<Source>,
}

/// By name.
pub type Declarations = BTreeMap<String, Declared>;

/// What a command line says of secrets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Flags {
    pub given: Declarations,
    pub allow_short: bool,
    /// For `age --decrypt`.
    pub age_identity: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
