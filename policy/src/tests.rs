use super::*;
use crate::time::parse_rfc3339;
use waft_proto::grant::{Grant, GrantSet};

mod parsing;
mod properties;
mod rules;

/// The example of the operators' page.
pub(crate) fn example() -> &'static str {
    let page = include_str!("../../docs/policy.md");
    let (_, block) = page.split_once("```toml\n").expect("an example");
    block.split_once("```").expect("its end").0
}

fn policy(text: &str) -> Policy {
    Policy::parse(&format!("version = 1\n{text}")).expect(text)
}

fn grants(texts: &[&str]) -> GrantSet {
    GrantSet::parse_all(texts.iter().copied()).expect("grants")
}

fn texts(set: &GrantSet) -> Vec<String> {
    set.iter().map(|grant| grant.to_string()).collect()
}

fn at(text: &str) -> u64 {
    parse_rfc3339(text).expect("a time")
}

/// What is asked, in terms a test can change.
#[derive(Clone)]
struct Ask {
    who: &'static str,
    task: &'static str,
    hash: Hash,
    signers: Vec<String>,
    approvers: Vec<Vec<String>>,
    grants: GrantSet,
    check: bool,
    now: u64,
    precompiled: bool,
}

impl Default for Ask {
    fn default() -> Ask {
        Ask {
            who: "alice",
            task: "facts",
            hash: Hash([0xab; 32]),
            signers: Vec::new(),
            approvers: Vec::new(),
            grants: GrantSet::default(),
            check: false,
            now: at("2026-11-21T12:00:00Z"),
            precompiled: true,
        }
    }
}

impl Ask {
    fn request(&self) -> Request<'_> {
        Request {
            who: self.who,
            task: self.task,
            hash: self.hash,
            signers: &self.signers,
            approvers: &self.approvers,
            grants: &self.grants,
            check: self.check,
            now_unix: self.now,
            precompiled: self.precompiled,
        }
    }

    fn allowed<'p>(&self, policy: &'p Policy) -> Box<Allowed<'p>> {
        match policy.decide(&self.request()) {
            Decision::Allowed(allowed) => allowed,
            Decision::Refused(problem) => panic!("refused: {problem:?}"),
        }
    }

    fn refused(&self, policy: &Policy) -> waft_proto::run::Problem {
        match policy.decide(&self.request()) {
            Decision::Refused(problem) => problem,
            Decision::Allowed(allowed) => panic!("allowed: {allowed:?}"),
        }
    }
}
