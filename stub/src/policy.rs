//! What this node allows: its policy, read once when the stub starts, and asked before every run and every dial.
//!
//! A file that cannot be read, or that others may write, allows nothing: to go on without it would be to obey whoever
//! broke it.

use std::path::Path;
use std::rc::Rc;
use waft_policy::{Decision, Policy, Request};
use waft_proto::envelope::{Envelope, Wall};
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::msg;
use waft_proto::run::Problem;

use crate::program;

/// Where a node keeps its policy.
pub const FILE: &str = "/etc/waft/policy.toml";
/// Who sends the runs of this link, to the policy: nobody that was verified. Only rules for everybody match.
const UNKNOWN: &str = "";

/// The policy of this node, or that it has none.
#[derive(Clone, Debug, Default)]
pub struct NodePolicy(Option<Rc<Result<Policy, Problem>>>);

/// A run as the policy leaves it.
#[derive(Clone, Debug)]
pub(crate) struct Ruled {
    pub(crate) grants: GrantSet,
    pub(crate) withheld: Option<Withheld>,
    pub(crate) check: bool,
    pub(crate) wall: Wall,
    pub(crate) timeout_ms: u64,
}

impl NodePolicy {
    /// The policy in `file`, which is root's or `owner`'s.
    pub fn read(file: &Path, owner: u32) -> NodePolicy {
        let policy = waft_policy::file::read(file, owner).transpose();
        NodePolicy(policy.map(|read| Rc::new(read.map(|policy| policy.resolved(program::look_up)))))
    }

    /// What it is worth, for the hello: this stub was brought here by somebody who can log in, so he could do without it.
    pub fn word(&self) -> msg::Policy {
        match self.0 {
            Some(_) => msg::Policy::Advisory,
            None => msg::Policy::None,
        }
    }

    /// What is left of a run.
    pub(crate) fn rule(&self, envelope: &Envelope, given: GrantSet, now_unix: u64) -> Result<Ruled, Problem> {
        let Some(policy) = &self.0 else {
            return Ok(Ruled {
                grants: given,
                withheld: None,
                check: envelope.check,
                wall: envelope.wall,
                timeout_ms: envelope.timeout_ms,
            });
        };
        let request = Request {
            who: UNKNOWN,
            task: &envelope.task,
            hash: envelope.module,
            signers: &[],
            approvers: &[],
            grants: &given.resolved(program::look_up),
            check: envelope.check,
            now_unix,
            precompiled: true,
        };
        match policy.as_ref().as_ref().map_err(Clone::clone)?.decide(&request) {
            Decision::Refused(problem) => Err(problem),
            Decision::Allowed(allowed) => Ok(Ruled {
                withheld: Some(Withheld { cut: allowed.cut, rule: allowed.rule.name.clone() }),
                grants: allowed.grants,
                check: envelope.check || allowed.check_forced,
                wall: envelope.wall.max(allowed.wall),
                timeout_ms: allowed
                    .timeout_ms
                    .map_or(envelope.timeout_ms, |most| envelope.timeout_ms.min(most)),
            }),
        }
    }

    /// Whether this node may dial others.
    pub fn check_relay(&self) -> Result<(), Problem> {
        match &self.0 {
            Some(policy) => policy.as_ref().as_ref().map_err(Clone::clone)?.check_relay(),
            None => Ok(()),
        }
    }
}

/// What the policy of this node took away from a run, and the rule that did.
#[derive(Clone, Debug)]
pub(crate) struct Withheld {
    cut: GrantSet,
    rule: String,
}

impl Withheld {
    /// The problem to report when the policy is what lacks a grant that would have been enough.
    pub(crate) fn instead(&self, enough: impl Fn(&GrantSet) -> bool) -> Option<Problem> {
        let alone = |grant: &Grant| GrantSet::parse_all([grant.to_string().as_str()].into_iter());
        let grant = self.cut.iter().find(|grant| alone(grant).is_ok_and(|set| enough(&set)))?;
        Some(waft_policy::lacks(&self.rule, &grant.to_string()))
    }
}
