//! One rule: when it matches, and what it then says.

use crate::Policy;
use crate::decide::Request;
use crate::glob::Glob;
use crate::problems::{listed, quoted, toml_text};
use crate::site::Approvals;
use crate::time::{Schedule, print_rfc3339};
use std::fmt::Write;
use waft_proto::envelope::Wall;
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::id::Hash;
use waft_proto::run::Problem;

/// Conditions that are not there match everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    pub name: String,
    /// Where it begins in the file.
    pub line: usize,
    pub(crate) who: Option<Vec<Glob>>,
    pub(crate) tasks: Option<Vec<Glob>>,
    /// Sorted.
    pub(crate) hashes: Option<Vec<Hash>>,
    /// All of them must have signed.
    pub(crate) signers: Option<Vec<String>>,
    /// The first second that counts, and the first that does not.
    pub(crate) from: Option<u64>,
    pub(crate) until: Option<u64>,
    pub(crate) schedule: Schedule,
    pub effect: Effect,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    Deny {
        reason: String,
    },
    Allow {
        /// At most these; with `given` only their limits count.
        grants: GrantSet,
        /// All rights that the request has.
        given: bool,
        check_only: bool,
        wall: Option<Wall>,
        approvals: Option<Approvals>,
        /// In site mode, programs may be started without walls of their own; not, when nothing is said.
        unconfined: Option<bool>,
    },
}

/// A condition that does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    Who,
    Task,
    Hash,
    Signers,
    NotYet,
    Expired,
    Schedule,
}

impl Miss {
    /// For programs.
    pub fn word(self) -> &'static str {
        match self {
            Miss::Who => "who",
            Miss::Task => "tasks",
            Miss::Hash => "hashes",
            Miss::Signers => "signers",
            Miss::NotYet => "from",
            Miss::Expired => "until",
            Miss::Schedule => "schedule",
        }
    }

    /// How far a rule that lacks only this is from what was meant; the least first.
    fn distance(self) -> u8 {
        match self {
            Miss::Signers => 0,
            Miss::NotYet | Miss::Expired | Miss::Schedule => 1,
            Miss::Hash => 2,
            Miss::Who => 3,
            Miss::Task => 4,
        }
    }
}

impl Rule {
    /// Every condition that does not hold; the rule matches when there is none.
    pub fn misses(&self, request: &Request<'_>) -> impl Iterator<Item = Miss> + use<> {
        let none = |globs: &Option<Vec<Glob>>, name| {
            globs.as_ref().is_some_and(|globs| !globs.iter().any(|glob| glob.matches(name)))
        };
        let hash = |hashes: &Vec<Hash>| hashes.binary_search(&request.hash).is_err();
        let now = request.now_unix;
        [
            none(&self.who, request.who).then_some(Miss::Who),
            none(&self.tasks, request.task).then_some(Miss::Task),
            self.hashes.as_ref().is_some_and(hash).then_some(Miss::Hash),
            self.unsigned(request).next().is_some().then_some(Miss::Signers),
            self.from.is_some_and(|from| now < from).then_some(Miss::NotYet),
            self.until.is_some_and(|until| now >= until).then_some(Miss::Expired),
            (!self.schedule.holds(now)).then_some(Miss::Schedule),
        ]
        .into_iter()
        .flatten()
    }

    /// Who has not signed and should have.
    fn unsigned<'a>(&'a self, request: &'a Request<'_>) -> impl Iterator<Item = &'a str> {
        let wanted = self.signers.iter().flatten();
        wanted.filter(|wanted| !request.signers.contains(wanted)).map(String::as_str)
    }

    /// Why a condition does not hold, as a part of a sentence.
    pub fn why(&self, miss: Miss, request: &Request<'_>) -> String {
        let of = |globs: &Option<Vec<Glob>>| listed(globs.iter().flatten().map(Glob::text));
        let time = |time: Option<u64>| print_rfc3339(time.unwrap_or_default());
        match miss {
            Miss::Who => format!("it is for {}, not for {}", of(&self.who), quoted(request.who)),
            Miss::Task => {
                format!("it is for the tasks {}, not for {}", of(&self.tasks), quoted(request.task))
            }
            Miss::Hash => format!("its hashes do not name the module blake3:{}", request.hash),
            Miss::Signers => format!("the module is not signed by {}", listed(self.unsigned(request))),
            Miss::NotYet => format!("it begins at {}", time(self.from)),
            Miss::Expired => format!("it ended at {}", time(self.until)),
            Miss::Schedule => format!("it holds on {}", self.schedule),
        }
    }

    /// What would make the condition hold.
    fn mend(&self, miss: Miss, request: &Request<'_>) -> String {
        let add =
            |key, text: &str| format!("in rule {}, add {} to `{key}`", quoted(&self.name), toml_text(text));
        match miss {
            // A rule for other tasks has other grants.
            Miss::Task => rule_to_add(request),
            Miss::Who => add("who", request.who),
            Miss::Hash => add("hashes", &request.hash.to_string()),
            Miss::Signers => "have it signed (`waft sign`), and send the signature along".to_owned(),
            Miss::NotYet | Miss::Schedule => "wait until then, or change the rule".to_owned(),
            Miss::Expired => format!("in rule {}, set a later `until`", quoted(&self.name)),
        }
    }
}

impl Policy {
    /// For the refusal when no rule matches: the rule that would with one condition changed, else a rule to add.
    pub(crate) fn unmatched(&self, request: &Request<'_>) -> Problem {
        // A stub that was pushed knows nobody's name.
        let who =
            if request.who.is_empty() { "a sender without a name".to_owned() } else { quoted(request.who) };
        let task = quoted(request.task);
        let signed = match request.signers {
            [] => "not signed".to_owned(),
            signers => format!("signed by {}", listed(signers.iter().map(String::as_str))),
        };
        let message = format!(
            "no rule of this node's policy matches: {who} with the task {task}, module blake3:{}, {signed}",
            request.hash
        );
        let one_miss = |rule: &Rule| {
            let mut misses = rule.misses(request);
            misses.next().filter(|_| misses.next().is_none())
        };
        // A rule that denies is nothing to strive for.
        let allows = self.rules().iter().filter(|rule| matches!(rule.effect, Effect::Allow { .. }));
        let near =
            allows.filter_map(|rule| Some((rule, one_miss(rule)?))).min_by_key(|(_, miss)| miss.distance());
        let problem = Problem::new("policy.no_rule", message);
        match near {
            Some((rule, miss)) => {
                let near = format!("the rule {} would, but {}", quoted(&rule.name), rule.why(miss, request));
                let message = format!("{}; {near}", problem.message);
                Problem { message, ..problem }.hint(rule.mend(miss, request))
            }
            None => problem.hint(rule_to_add(request)),
        }
    }
}

fn rule_to_add(request: &Request<'_>) -> String {
    /// More would not be read.
    const GRANTS_SHOWN_MAX: usize = 20;
    let mut text = "a rule that would match, for the node's policy:\n[[rule]]\n".to_owned();
    // Writing to a string does not fail.
    let _ = writeln!(text, "name = {}", toml_text(&rule_name(request.task)));
    if !request.who.is_empty() {
        let _ = writeln!(text, "who = [{}]", toml_text(request.who));
    }
    let _ = writeln!(text, "tasks = [{}]", toml_text(request.task));
    // Nobody has said which module it is: any.
    if request.hash != Hash([0; 32]) {
        let _ = writeln!(text, "hashes = [\"{}\"]", request.hash);
    }
    let rights = request.grants.iter().filter(|grant| !matches!(grant, Grant::Limit(_)));
    let rights: Vec<String> =
        rights.take(GRANTS_SHOWN_MAX).map(|grant| toml_text(&grant.to_string())).collect();
    let _ = write!(text, "grants = [{}]", rights.join(", "));
    text
}

/// A name that a rule may have.
fn rule_name(task: &str) -> String {
    let name: String =
        task.chars().filter(char::is_ascii_graphic).take(crate::read::NAME_BYTES_MAX).collect();
    if name.is_empty() { "new".to_owned() } else { name }
}
