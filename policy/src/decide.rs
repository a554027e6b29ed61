//! Whether a run may be, and with what.

use crate::Policy;
use crate::problems::{quoted, toml_text};
use crate::rule::{Effect, Rule};
use waft_proto::envelope::Wall;
use waft_proto::grant::{Grant, GrantSet, Limits};
use waft_proto::id::Hash;
use waft_proto::run::Problem;

/// What is asked of the node. Names of programs in `grants` are best resolved, as those of the policy are by
/// [`Policy::resolved`]: a name and a path do not meet otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The controller, by the name that the caller has verified.
    pub who: &'a str,
    /// As the controller calls it. Only hash and signers say what a module is.
    pub task: &'a str,
    pub hash: Hash,
    /// Who has signed the module; verified by the caller.
    pub signers: &'a [String],
    /// Who has approved exactly this run, each person with all names; verified by the caller.
    pub approvers: &'a [Vec<String>],
    pub grants: &'a GrantSet,
    /// A dry run is asked for.
    pub check: bool,
    pub now_unix: u64,
    /// The artifact was compiled by the controller.
    pub precompiled: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision<'p> {
    Allowed(Box<Allowed<'p>>),
    /// The code begins with `policy.`
    Refused(Problem),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Allowed<'p> {
    /// The rule that decided.
    pub rule: &'p Rule,
    /// What request and rule both allow.
    pub grants: GrantSet,
    /// What was given and is not left as it was. A task that is refused something which this set would allow
    /// is refused it by the policy: see [`Allowed::withheld`] and [`Allowed::lacks`].
    pub cut: GrantSet,
    /// It has to be a dry run, though none was asked for.
    pub check_forced: bool,
    /// The least; of this and what the operator asked for, the stricter one counts.
    pub wall: Wall,
    /// The longest running time, milliseconds; `None` is "not limited by the policy, nor by a grant".
    pub timeout_ms: Option<u64>,
    /// In site mode, programs may be started without walls of their own.
    pub unconfined: bool,
}

/// One rule that was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step<'p> {
    pub rule: &'p Rule,
    /// The keys that did not match and why; none in the rule that decides.
    pub misses: Vec<(&'static str, String)>,
}

impl Policy {
    /// The same with programs as paths, for [`GrantSet::resolved`]. A program that is not there grants nothing.
    pub fn resolved(mut self, resolve: impl Fn(&str) -> Option<String>) -> Policy {
        for rule in &mut self.rules {
            if let Effect::Allow { grants, .. } = &mut rule.effect {
                *grants = grants.resolved(&resolve);
            }
        }
        self
    }

    /// Revocations, then whole-node settings, then the first rule that matches.
    pub fn decide(&self, request: &Request<'_>) -> Decision<'_> {
        if let Some(problem) = self.revoked(request).or_else(|| self.compiled_elsewhere(request)) {
            return Decision::Refused(problem);
        }
        match self.first_match(request) {
            Some(rule) => self.apply(rule, request),
            None => Decision::Refused(self.unmatched(request)),
        }
    }

    /// The rules that were tried, the one that decides last.
    pub fn trace(&self, request: &Request<'_>) -> Vec<Step<'_>> {
        let mut steps = Vec::new();
        for rule in &self.rules {
            let misses: Vec<_> =
                rule.misses(request).map(|miss| (miss.word(), rule.why(miss, request))).collect();
            let decides = misses.is_empty();
            steps.push(Step { rule, misses });
            if decides {
                break;
            }
        }
        steps
    }

    /// Whether the node may dial others for the controller.
    pub fn check_relay(&self) -> Result<(), Problem> {
        match self.relay {
            true => Ok(()),
            false => Err(Problem::new("policy.relay", "the policy of this node does not let it be a hop")
                .hint("for the node's policy: relay = true")),
        }
    }

    fn first_match(&self, request: &Request<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.misses(request).next().is_none())
    }

    fn revoked(&self, request: &Request<'_>) -> Option<Problem> {
        let hash = self.revoked.hashes.binary_search(&request.hash).is_ok();
        let signer = request.signers.iter().find(|signer| self.revoked.signers.contains(signer));
        let what = match (hash, signer) {
            (true, _) => format!("the module blake3:{} is revoked", request.hash),
            (false, Some(signer)) => format!("the module is signed by {}, who is revoked", quoted(signer)),
            (false, None) => return None,
        };
        Some(
            Problem::new("policy.revoked", format!("{what} by this node's policy"))
                .hint("no rule can allow it while it is in [revoked]"),
        )
    }

    fn compiled_elsewhere(&self, request: &Request<'_>) -> Option<Problem> {
        (request.precompiled && !self.precompiled).then(|| {
            Problem::new(
                "policy.precompiled",
                "the policy of this node takes no artifact that was compiled elsewhere",
            )
            .hint("the node has to compile itself (site build); or, in its policy: precompiled = \"allow\"")
        })
    }

    fn apply<'p>(&'p self, rule: &'p Rule, request: &Request<'_>) -> Decision<'p> {
        let (grants, given, check_only, wall, approvals, unconfined) = match &rule.effect {
            Effect::Deny { reason } => {
                let denied =
                    format!("the rule {} of this node's policy denies it: {reason}", quoted(&rule.name));
                return Decision::Refused(
                    Problem::new("policy.denied", denied)
                        .hint("a rule that allows it has to stand before that one"),
                );
            }
            Effect::Allow { grants, given, check_only, wall, approvals, unconfined } => {
                (grants, *given, *check_only, *wall, approvals, *unconfined)
            }
        };
        if crate::SITE
            && let Some(Err(problem)) =
                approvals.as_ref().map(|wanted| wanted.check(rule, request.who, request.approvers))
        {
            return Decision::Refused(problem);
        }
        let left = if given { limited(request.grants, grants) } else { request.grants.intersect(grants) };
        let sets = left.and_then(|left| Ok((cut(request.grants, &left)?, left)));
        let (cut, grants) = match sets {
            Ok(sets) => sets,
            Err(problem) => {
                let message = format!(
                    "with the rule {} of this node's policy, {}",
                    quoted(&rule.name),
                    problem.message
                );
                return Decision::Refused(Problem { code: "policy.grants".to_owned(), message, ..problem });
            }
        };
        Decision::Allowed(Box::new(Allowed {
            rule,
            timeout_ms: grants.limits().time_ms.into_iter().chain(self.max_timeout_ms).min(),
            grants,
            cut,
            check_forced: (self.check_only || check_only) && !request.check,
            wall: self.wall.max(wall.unwrap_or(self.wall)),
            unconfined: unconfined.unwrap_or_default(),
        }))
    }
}

impl Allowed<'_> {
    /// The problem to report when `wanted` was given and it is the policy that lacks it.
    pub fn withheld(&self, wanted: &Grant) -> Option<Problem> {
        let withheld = self.grants.check(wanted).is_err() && self.cut.check(wanted).is_ok();
        // A set without limits covers every limit.
        let withheld = withheld && !matches!(wanted, Grant::Limit(_));
        withheld.then(|| self.lacks(&wanted.to_string()))
    }

    /// That problem, for a grant as text: for programs, where [`GrantSet::check_exec`] on `cut` says whether it is so.
    pub fn lacks(&self, grant: &str) -> Problem {
        lacks(&self.rule.name, grant)
    }
}

/// [`Allowed::lacks`] of the rule with this name.
pub fn lacks(rule: &str, grant: &str) -> Problem {
    let rule = quoted(rule);
    Problem::new(
        "grant.missing",
        format!("the policy of this node lacks {}: its rule {rule} does not give it", quoted(grant)),
    )
    .hint(format!("in the node's policy, rule {rule}, add to `grants`: {}", toml_text(grant)))
}

/// For a program that was to be started without walls of its own, under the rule with this name, in site mode.
pub fn unconfined(rule: &str, program: &str) -> Problem {
    let (rule, program) = (quoted(rule), quoted(program));
    Problem::new(
        "grant.unconfined",
        format!(
            "the rule {rule} of this node's policy starts {program} only confined, and that was not asked for"
        ),
    )
    .hint(format!("in the node's policy, rule {rule}: unconfined = true; or in the task: \"confine\": true"))
}

/// All rights of `given`, and the smaller ones of both limits.
fn limited(given: &GrantSet, limits: &GrantSet) -> Result<GrantSet, Problem> {
    let mut both: Limits = *given.limits();
    limits.limits().iter().for_each(|limit| both.add(limit));
    let rights = given.iter().filter(|grant| !matches!(grant, Grant::Limit(_)));
    set(rights.chain(both.iter().map(Grant::Limit)))
}

/// What of `given` is not covered by `left`.
fn cut(given: &GrantSet, left: &GrantSet) -> Result<GrantSet, Problem> {
    set(given.iter().filter(|grant| left.check(grant).is_err()))
}

/// Grants come from text and print as text that means the same.
fn set(grants: impl Iterator<Item = Grant>) -> Result<GrantSet, Problem> {
    let texts: Vec<String> = grants.map(|grant| grant.to_string()).collect();
    let parsed = GrantSet::parse_all(texts.iter().map(String::as_str));
    let unknown = || Problem::new("grant.syntax", "a grant cannot be read again");
    parsed.map_err(|problems| problems.into_iter().next().unwrap_or_else(unknown))
}
