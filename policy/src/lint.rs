//! What is allowed in a policy and hardly meant. For `waft policy check`; a node does not care.

use crate::Policy;
use crate::glob::Glob;
use crate::problems::{Placed, listed, quoted};
use crate::rule::{Effect, Rule};
use crate::site::Approvals;
use crate::time::print_rfc3339;
use crate::wide;
use waft_proto::envelope::Wall;
use waft_proto::grant::{Access, Grant};
use waft_proto::run::Problem;

/// Programs that run what they are told, so that a grant for one is a grant for all. Versions after the name count too:
/// `python3.13`.
const INTERPRETERS: [&str; 40] = [
    "ash", "awk", "bash", "bun", "busybox", "csh", "dash", "deno", "doas", "env", "expect", "find", "fish",
    "gawk", "gdb", "ksh", "lua", "make", "mawk", "mksh", "nice", "node", "nohup", "nsenter", "perl", "php",
    "python", "ruby", "sed", "setsid", "sh", "ssh", "su", "sudo", "tclsh", "tcsh", "timeout", "unshare",
    "xargs", "zsh",
];

/// Whether a grant for this program is "everything this user can do".
pub fn is_interpreter(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or(program);
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    is_brought_along(program) || INTERPRETERS.contains(&name) || INTERPRETERS.contains(&plain)
}

/// Whether a program of that name is what the task brings along: its stdin, or a file that lies open. Nothing beneath `/proc`
/// is a program by itself; it leads to what is open, or to where the task wants to be.
pub fn is_brought_along(program: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in program.strip_prefix('/').into_iter().flat_map(|path| path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    matches!(*parts, ["dev", "fd", _, ..] | ["dev", "stdin", ..] | ["proc", _, ..])
}

/// Warnings in the order of the rules.
pub fn warnings(policy: &Policy, now_unix: u64) -> Vec<Placed> {
    let mut found = Vec::new();
    if policy.rules.is_empty() {
        found.push(warning(
            1,
            "policy.no_rules",
            "there is no rule, so everything is refused",
            "add a [[rule]]",
        ));
    }
    for (number, rule) in policy.rules.iter().enumerate() {
        let earlier = policy.rules.iter().take(number).find(|earlier| earlier.covers(rule));
        if let Some(earlier) = earlier {
            let message = format!(
                "the rule {} never decides: {} before it (line {}) matches all that it matches",
                quoted(&rule.name),
                quoted(&earlier.name),
                earlier.line
            );
            found.push(warning(
                rule.line,
                "policy.unreachable",
                message,
                "the first rule that matches decides: move it up",
            ));
        }
        if let Some(until) = rule.until.filter(|until| *until <= now_unix) {
            let message = format!("the rule {} expired at {}", quoted(&rule.name), print_rfc3339(until));
            found.push(warning(rule.line, "policy.expired", message, "take it out, or set a later `until`"));
        }
        if let Some(hash) = rule.hashes.iter().flatten().find(|hash| policy.revoked.hashes.contains(hash)) {
            let message =
                format!("the rule {} names the module blake3:{hash}, which is revoked", quoted(&rule.name));
            found.push(warning(rule.line, "policy.revoked", message, "[revoked] counts before every rule"));
        }
        if let Some(signer) =
            rule.signers.iter().flatten().find(|signer| policy.revoked.signers.contains(signer))
        {
            let message = format!(
                "the rule {} wants a signature by {}, who is revoked",
                quoted(&rule.name),
                quoted(signer)
            );
            found.push(warning(rule.line, "policy.revoked", message, "[revoked] counts before every rule"));
        }
        found.extend(names(policy, rule));
        found.extend(effects(policy, rule));
    }
    found
}

/// Conditions that no run can fulfil, because nobody would be known by these names.
fn names(policy: &Policy, rule: &Rule) -> Vec<Placed> {
    let mut found = Vec::new();
    let known = &policy.site.controllers;
    let is_known = |glob: &Glob| known.iter().any(|controller| glob.matches(&controller.name));
    if let Some(who) = &rule.who
        && !known.is_empty()
        && !who.iter().any(is_known)
    {
        let message = format!(
            "the rule {} is for {}, and no [[controller]] has such a name",
            quoted(&rule.name),
            listed(who.iter().map(Glob::text))
        );
        let hint = "`waft policy key`, on that controller, prints the lines to add";
        found.push(warning(rule.line, "policy.nobody", message, hint));
    }
    let Effect::Allow { approvals, .. } = &rule.effect else { return found };
    if (rule.signers.is_some() || approvals.is_some()) && policy.site.allowed_signers.is_none() {
        let message = format!("the rule {} wants signatures, and nobody's key is known", quoted(&rule.name));
        let hint = "name the file of their keys: allowed_signers = \"/etc/waft/allowed_signers\"";
        found.push(warning(rule.line, "policy.nobody", message, hint));
    }
    if let Some(Approvals { approvers: None, .. }) = approvals {
        let message = format!(
            "the rule {} wants approvals and does not say whose: those of all allowed signers count",
            quoted(&rule.name)
        );
        let hint = "name who may approve: approvers = [\"carol@example.com\", \"dave@example.com\"]";
        found.push(warning(rule.line, "policy.approvers", message, hint));
    }
    if approvals.is_some() && policy.site.names.is_empty() {
        let message = format!(
            "the rule {} wants approvals, which are for names, and a hop says which name this node has",
            quoted(&rule.name)
        );
        let hint = "say here what controllers call this node: names = [\"web1\"]";
        found.push(warning(rule.line, "policy.names", message, hint));
    }
    if rule.signers.is_some() && policy.precompiled {
        let message = format!(
            "the rule {} wants the module signed, but the machine code of it is what the controller says",
            quoted(&rule.name)
        );
        let hint = "precompiled = \"deny\": then the node compiles what was signed";
        found.push(warning(rule.line, "policy.precompiled", message, hint));
    }
    found
}

fn effects(policy: &Policy, rule: &Rule) -> Vec<Placed> {
    let Effect::Allow { grants, given, check_only, wall, unconfined, .. } = &rule.effect else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for grant in grants.iter() {
        let Grant::Exec(exec) = &grant else { continue };
        let what = match exec.program() {
            None => "is every program",
            Some(program) if is_interpreter(program) => "starts what it is told to",
            Some(_) => continue,
        };
        let message = format!(
            "{} in the rule {} {what}: everything this user can do",
            quoted(&grant.to_string()),
            quoted(&rule.name)
        );
        found.push(warning(
            rule.line,
            "policy.exec",
            message,
            "grant the programs that it is about, each with its arguments",
        ));
    }
    for grant in grants.iter() {
        let Grant::Fs { access: Access::ReadWrite, .. } = &grant else { continue };
        let Some(what) = wide::warning(&grant) else { continue };
        let message = format!(
            "{} in the rule {} is more than it seems: {what}",
            quoted(&grant.to_string()),
            quoted(&rule.name)
        );
        found.push(warning(rule.line, "policy.way_in", message, "grant the directories that it is about"));
    }
    let names_programs = grants.iter().any(|grant| matches!(grant, Grant::Exec(_)));
    match unconfined {
        Some(true) if !names_programs && !given => {
            let message =
                format!("`unconfined` in the rule {} does nothing: it gives no program", quoted(&rule.name));
            found.push(warning(rule.line, "policy.no_effect", message, "take it out"));
        }
        // Only where the policy is one of site mode, and nothing was said.
        None if names_programs && !policy.site.controllers.is_empty() => {
            let message = format!(
                "in site mode the rule {} starts programs only confined, and `waft exec` does not ask for that",
                quoted(&rule.name)
            );
            let hint = "write `unconfined = true` below it, or `unconfined = false` when that is meant";
            found.push(warning(rule.line, "policy.confined", message, hint));
        }
        _ => {}
    }
    let is_for_all = rule.who.is_none() && rule.hashes.is_none() && rule.signers.is_none();
    if *given && is_for_all {
        let message = format!(
            "the rule {} gives every controller and every module all that is given",
            quoted(&rule.name)
        );
        found.push(warning(
            rule.line,
            "policy.open",
            message,
            "name in it `who`, `signers` or `hashes`; a task's name proves nothing",
        ));
    }
    if policy.wall == Wall::Required && *wall == Some(Wall::Best) {
        let message = format!(
            "`wall = \"best\"` in the rule {} does nothing: the policy demands all",
            quoted(&rule.name)
        );
        found.push(warning(rule.line, "policy.no_effect", message, "the stricter of both counts"));
    }
    if policy.check_only && *check_only {
        let message = format!(
            "`check = \"only\"` in the rule {} does nothing: the policy says it for all",
            quoted(&rule.name)
        );
        found.push(warning(rule.line, "policy.no_effect", message, "take one of the two out"));
    }
    found
}

fn warning(line: usize, code: &str, message: impl Into<String>, hint: &str) -> Placed {
    Placed { line, problem: Problem::new(code, message).hint(hint) }
}

impl Rule {
    /// Whether it matches whatever the other matches; may say no when it is so.
    fn covers(&self, other: &Rule) -> bool {
        let globs = |ours: &Option<Vec<Glob>>, theirs: &Option<Vec<Glob>>| match (ours, theirs) {
            (None, _) => true,
            (Some(ours), None) => ours.iter().any(|glob| glob.text() == "*"),
            (Some(ours), Some(theirs)) => {
                theirs.iter().all(|inner| ours.iter().any(|outer| outer.covers(inner)))
            }
        };
        let hashes = match (&self.hashes, &other.hashes) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => theirs.iter().all(|hash| ours.binary_search(hash).is_ok()),
        };
        // Who has signed for theirs has signed for ours.
        let signed = self
            .signers
            .iter()
            .flatten()
            .all(|signer| other.signers.iter().flatten().any(|other| other == signer));
        let from = self.from.is_none_or(|ours| other.from.is_some_and(|theirs| ours <= theirs));
        let until = self.until.is_none_or(|ours| other.until.is_some_and(|theirs| theirs <= ours));
        globs(&self.who, &other.who)
            && globs(&self.tasks, &other.tasks)
            && hashes
            && signed
            && from
            && until
            && self.schedule.covers(&other.schedule)
    }
}
