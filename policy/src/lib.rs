//! The policy of a node: what it allows to be done to it.
//!
//! One TOML file, `docs/policy.md` describes every key. The stub obeys it and `waft policy` explains it, with this
//! same code. Rules are tried in order, the first one that matches decides, and when none does the run is refused.
//! Nothing here can widen what was given: a decision holds at most the grants of the request.
//!
//! ```text
//!  text --document--> tables with lines --read--> Policy --decide(Request)--> Decision
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@file`] | finds the file fit to be obeyed, or says why not; the only IO |
//! | `document` | TOML events into tables that know their lines |
//! | `read` | tables into a [`Policy`], all problems at once |
//! | `decide`, `rule` | requests against rules |
//! | [`lint`] | what is allowed in a policy and hardly meant |
//! | [`site`] | controllers, signers and state of a node that is installed |
//! | [`wide`] | directories whose grants open more than they seem |
//! | `glob`, [`time`] | patterns of names; instants, days and hours |

mod decide;
mod document;
pub mod file;
mod glob;
pub mod lint;
mod problems;
mod read;
mod rule;
pub mod site;
pub mod time;
pub mod wide;

pub use decide::{Allowed, Decision, Request, Step, lacks, unconfined};
pub use glob::Glob;
pub use problems::Placed;
pub use read::parse_hash;
pub use rule::{Effect, Miss, Rule};
pub use site::{Approvals, Controller, Site};
pub use time::Schedule;

use waft_proto::envelope::Wall;
use waft_proto::id::Hash;

/// A policy as text, bytes.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;
/// Whether controllers, signers and approvals can be kept here. A stub that is pushed leaves the code for them out.
const SITE: bool = cfg!(any(test, feature = "site"));
/// Rules in one policy. Far above what a person writes; bounds the work of a decision.
pub const RULES_MAX: usize = 4096;
/// Controllers that one policy knows.
pub const CONTROLLERS_MAX: usize = 1024;

/// What a node allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Every run is a dry run.
    pub check_only: bool,
    /// Whether artifacts that the controller compiled are taken.
    pub precompiled: bool,
    /// The least that is demanded; a rule may demand more.
    pub wall: Wall,
    /// Whether the node may dial others for the controller.
    pub relay: bool,
    /// The longest running time, milliseconds.
    pub max_timeout_ms: Option<u64>,
    /// What an installed node has beyond rules.
    pub site: Site,
    rules: Vec<Rule>,
    revoked: Revoked,
}

/// What is refused whatever the rules say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Revoked {
    /// Sorted.
    pub(crate) hashes: Vec<Hash>,
    pub(crate) signers: Vec<String>,
}

impl Policy {
    /// In the order in which they are tried.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

#[cfg(test)]
mod tests;
