//! From tables to a policy. Everything that is wrong is told at once, with its line; a policy with a mistake in it
//! is no policy, because what was meant may be what it would have refused.

use crate::document::{self, Entry, Item, Kind, Table, Value};
use crate::glob::{GLOB_BYTES_MAX, Glob};
use crate::problems::{Placed, Problems, quoted};
use crate::rule::{Effect, Rule};
use crate::site::{self, Site};
use crate::time::{DAYS, Schedule, parse_rfc3339};
use crate::{CONTROLLERS_MAX, POLICY_BYTES_MAX, Policy, RULES_MAX, Revoked, SITE};
use std::collections::BTreeMap;
use waft_proto::envelope::Wall;
use waft_proto::grant::{Grant, GrantSet, parse_duration_ms};
use waft_proto::id::Hash;
use waft_proto::run::Problem;

/// The name of a rule, bytes.
pub(crate) const NAME_BYTES_MAX: usize = 64;

const VERSION: &str = "1";
/// In `grants`: all rights that the controller gives.
const GIVEN: &str = "given";
pub(crate) const INVALID: &str = "policy.invalid";
pub(crate) const UNKNOWN: &str = "policy.unknown";

pub(crate) const TOP_KEYS: [&str; 15] = [
    "version",
    "check_only",
    "precompiled",
    "wall",
    "relay",
    "max_timeout",
    "audit",
    "syslog",
    "allowed_signers",
    "node_key",
    "state",
    "names",
    "controller",
    "rule",
    "revoked",
];
pub(crate) const RULE_KEYS: [&str; 17] = [
    "name",
    "who",
    "tasks",
    "hashes",
    "signers",
    "from",
    "until",
    "days",
    "hours",
    "grants",
    "check",
    "wall",
    "unconfined",
    "deny",
    "reason",
    "approvals",
    "approvers",
];
pub(crate) const REVOKED_KEYS: [&str; 3] = ["hashes", "signers", "keys"];
const WALLS: [(&str, Wall); 2] = [("required", Wall::Required), ("best", Wall::Best)];

impl Policy {
    /// Reads a policy, or says everything that is wrong with it, each with its line in front.
    pub fn parse(text: &str) -> Result<Policy, Vec<Problem>> {
        Policy::parse_placed(text).map_err(|problems| problems.into_iter().map(Problem::from).collect())
    }

    /// The same with the lines beside the problems.
    pub fn parse_placed(text: &str) -> Result<Policy, Vec<Placed>> {
        if text.len() > POLICY_BYTES_MAX {
            let long = format!("the policy has {} bytes, at most {POLICY_BYTES_MAX} are read", text.len());
            return Err(vec![Placed { line: 1, problem: Problem::new("policy.long", long) }]);
        }
        let mut problems = Problems::default();
        let policy = read(text, &mut problems);
        match policy.filter(|_| problems.is_empty()) {
            Some(policy) => Ok(policy),
            None => Err(problems.finish()),
        }
    }
}

fn read(text: &str, problems: &mut Problems) -> Option<Policy> {
    let document = document::read(text, problems)?;
    let mut policy = top(&document.top, problems);
    let mut revoked_before = None;
    let mut names = BTreeMap::new();
    for table in &document.tables {
        match table.name.as_str() {
            "rule" if !table.is_listed => {
                problems.say(table.line, INVALID, "[rule] is one of several", "write [[rule]]");
            }
            "rule" if policy.rules.len() == RULES_MAX => {
                let many = format!("there are more than {RULES_MAX} rules");
                problems.say(table.line, INVALID, many, "a pattern in `tasks` or `who` may stand for many");
                return Some(policy);
            }
            "rule" => {
                let rule = rule(table, problems);
                if let Some(first) =
                    names.insert(rule.name.clone(), rule.line).filter(|_| !rule.name.is_empty())
                {
                    let twice =
                        format!("the rule {} is there twice, first in line {first}", quoted(&rule.name));
                    problems.say(rule.line, INVALID, twice, "names tell rules apart in refusals and logs");
                }
                policy.rules.push(rule);
            }
            "revoked" if table.is_listed => {
                problems.say(table.line, INVALID, "[[revoked]] is there once", "write [revoked]");
            }
            "revoked" => {
                if let Some(first) = revoked_before.replace(table.line) {
                    let twice = format!("[revoked] is there twice, first in line {first}");
                    problems.say(table.line, INVALID, twice, "put both into one");
                }
                policy.revoked = revoked(table, &mut policy.site, problems);
            }
            "controller" if !SITE => site::not_here(table.line, "[[controller]]", problems),
            "controller" if !table.is_listed => {
                problems.say(table.line, INVALID, "[controller] is one of several", "write [[controller]]");
            }
            "controller" if policy.site.controllers.len() == CONTROLLERS_MAX => {
                let many = format!("there are more than {CONTROLLERS_MAX} controllers");
                problems.say(table.line, INVALID, many, "take out those that are gone");
                return Some(policy);
            }
            "controller" => policy.site.controllers.extend(site::controller(table, problems)),
            other => problems.unknown(
                table.line,
                UNKNOWN,
                "table of a policy",
                other,
                &["rule", "revoked", "controller"],
            ),
        }
    }
    Some(policy)
}

fn top(entries: &[Entry], problems: &mut Problems) -> Policy {
    let mut policy = Policy {
        check_only: false,
        precompiled: true,
        wall: Wall::Best,
        relay: false,
        max_timeout_ms: None,
        site: Site::default(),
        rules: Vec::new(),
        revoked: Revoked::default(),
    };
    if !entries.iter().any(|entry| entry.key == "version") {
        problems.say(1, INVALID, "the version of the policy is missing", "begin it with `version = 1`");
    }
    for entry in entries {
        match entry.key.as_str() {
            "version" => version(entry, problems),
            "check_only" => policy.check_only = flag(entry, problems).unwrap_or_default(),
            "precompiled" => {
                let words = [("allow", true), ("deny", false)];
                policy.precompiled = word(entry, &words, problems).unwrap_or_default();
            }
            "wall" => policy.wall = word(entry, &WALLS, problems).unwrap_or(Wall::Required),
            "relay" => policy.relay = flag(entry, problems).unwrap_or_default(),
            "max_timeout" => {
                if let Some(text) = text(entry, problems) {
                    match parse_duration_ms(text) {
                        Ok(ms) if ms > 0 => policy.max_timeout_ms = Some(ms),
                        Ok(_) => problems.say(
                            entry.line,
                            INVALID,
                            "in no time nothing can run",
                            "for example \"5m\"",
                        ),
                        Err(expected) => {
                            let message = format!("{} is no time: expected {expected}", quoted(text));
                            problems.say(entry.line, INVALID, message, "for example \"5m\"");
                        }
                    }
                }
            }
            other if !SITE && site::TOP_KEYS.contains(&other) => site::not_here(entry.line, other, problems),
            "audit" if SITE => policy.site.audit = site::path(entry, problems),
            "syslog" if SITE => policy.site.syslog = flag(entry, problems).unwrap_or_default(),
            "allowed_signers" if SITE => policy.site.allowed_signers = site::path(entry, problems),
            "node_key" if SITE => policy.site.node_key = site::path(entry, problems),
            "state" if SITE => policy.site.state = site::path(entry, problems),
            "names" if SITE => {
                policy.site.names = some(entry, problems).into_iter().map(|item| item.text.clone()).collect()
            }
            "rule" | "revoked" | "controller" => {
                let message = format!("`{}` is a table, not a key", entry.key);
                problems.say(
                    entry.line,
                    INVALID,
                    message,
                    "write [[rule]], [[controller]] and [revoked], and keys below them",
                );
            }
            other if RULE_KEYS.contains(&other) => {
                let message = format!("the key `{other}` belongs to a rule, and stands before the first one");
                problems.say(entry.line, UNKNOWN, message, "write it below a [[rule]]");
            }
            other => problems.unknown(entry.line, UNKNOWN, "key of a policy", other, &TOP_KEYS),
        }
    }
    policy
}

fn version(entry: &Entry, problems: &mut Problems) {
    match &entry.value {
        Value::One(Item { kind: Kind::Integer, text, .. }) if text == VERSION => {}
        Value::One(Item { kind: Kind::Integer, text, .. }) => {
            let message = format!("version {text} of policies is not known here, only {VERSION}");
            problems.say(entry.line, "policy.version", message, "a newer waft may know it");
        }
        other => expected(entry, "a number", other, "version = 1", problems),
    }
}

fn rule(table: &Table, problems: &mut Problems) -> Rule {
    let mut rule = Rule {
        name: String::new(),
        line: table.line,
        who: None,
        tasks: None,
        hashes: None,
        signers: None,
        from: None,
        until: None,
        schedule: Schedule::default(),
        effect: Effect::Deny { reason: String::new() },
    };
    let (mut deny, mut reason, mut check, mut wall, mut rights) = (None, None, None, None, None);
    let (mut least, mut approvers, mut unconfined) = (None, None, None);
    for entry in &table.entries {
        match entry.key.as_str() {
            "name" => rule.name = name(entry, problems).unwrap_or_default(),
            "who" => rule.who = globs(entry, problems),
            "tasks" => rule.tasks = globs(entry, problems),
            "hashes" => rule.hashes = Some(hashes(entry, problems)),
            "signers" => rule.signers = Some(signers(entry, problems)),
            "from" => rule.from = instant(entry, problems),
            "until" => rule.until = instant(entry, problems),
            "days" => days(entry, &mut rule.schedule, problems),
            "hours" => hours(entry, &mut rule.schedule, problems),
            "grants" => rights = Some(grants(entry, problems)),
            "check" => check = word(entry, &[("only", true), ("allow", false)], problems),
            "wall" => wall = word(entry, &WALLS, problems),
            "unconfined" => unconfined = flag(entry, problems),
            "deny" => deny = flag(entry, problems),
            "reason" => reason = text(entry, problems),
            other if !SITE && site::RULE_KEYS.contains(&other) => site::not_here(entry.line, other, problems),
            "approvals" if SITE => least = site::least(entry, problems),
            "approvers" if SITE => approvers = Some(signers(entry, problems)),
            other => problems.unknown(entry.line, UNKNOWN, "key of a rule", other, &RULE_KEYS),
        }
    }
    let line = |key: &str| table.entries.iter().find(|entry| entry.key == key).map(|entry| entry.line);
    if line("name").is_none() {
        problems.say(
            table.line,
            INVALID,
            "the rule has no name",
            "refusals and logs name it: name = \"...\"",
        );
    }
    if let (Some(from), Some(until)) = (rule.from, rule.until)
        && from >= until
    {
        let at = line("until").unwrap_or(table.line);
        problems.say(at, INVALID, "the rule ends before it begins", "`until` has to be later than `from`");
    }
    if deny == Some(false) {
        let hint = "leave it out: a rule without it allows";
        problems.say(line("deny").unwrap_or(table.line), INVALID, "`deny = false` says nothing", hint);
    }
    if deny == Some(true) {
        for key in ["grants", "check", "wall", "unconfined", "approvals", "approvers"] {
            if let Some(line) = line(key) {
                let message = format!("a rule that denies has no use for `{key}`");
                problems.say(line, INVALID, message, "take one of the two out");
            }
        }
        match reason {
            Some(reason) => rule.effect = Effect::Deny { reason: reason.to_owned() },
            None if line("reason").is_some() => {}
            None => problems.say(
                table.line,
                INVALID,
                "a rule that denies says why",
                "whoever is refused reads it: reason = \"...\"",
            ),
        }
    } else {
        if let Some(line) = line("reason") {
            problems.say(line, INVALID, "`reason` belongs to a rule that denies", "add `deny = true`");
        }
        let (grants, given) = rights.unwrap_or_default();
        let approvals = if SITE { site::approvals(table, least, approvers, problems) } else { None };
        let check_only = check.unwrap_or_default();
        rule.effect = Effect::Allow { grants, given, check_only, wall, approvals, unconfined };
    }
    rule
}

fn revoked(table: &Table, site: &mut Site, problems: &mut Problems) -> Revoked {
    let mut revoked = Revoked::default();
    for entry in &table.entries {
        match entry.key.as_str() {
            "hashes" => revoked.hashes = hashes(entry, problems),
            "signers" => revoked.signers = signers(entry, problems),
            "keys" if !SITE => site::not_here(entry.line, "keys", problems),
            "keys" if SITE => site.revoked_keys = site::paths(entry, problems),
            other => problems.unknown(entry.line, UNKNOWN, "key of [revoked]", other, &REVOKED_KEYS),
        }
    }
    revoked
}

pub(crate) fn expected(entry: &Entry, wanted: &str, found: &Value, example: &str, problems: &mut Problems) {
    let found = match found {
        Value::One(item) => item.kind.what(),
        Value::Many(_) => "a list",
    };
    let message = format!("`{}` is {wanted}, and {found} stands there", entry.key);
    problems.say(entry.line, INVALID, message, format!("for example: {example}"));
}

fn flag(entry: &Entry, problems: &mut Problems) -> Option<bool> {
    match &entry.value {
        Value::One(Item { kind: Kind::Bool(value), .. }) => Some(*value),
        other => {
            expected(entry, "true or false", other, &format!("{} = true", entry.key), problems);
            None
        }
    }
}

pub(crate) fn text<'a>(entry: &'a Entry, problems: &mut Problems) -> Option<&'a str> {
    match &entry.value {
        Value::One(Item { kind: Kind::Text, text, .. }) => Some(text),
        other => {
            expected(entry, "a text", other, &format!("{} = \"...\"", entry.key), problems);
            None
        }
    }
}

fn word<T: Copy>(entry: &Entry, words: &[(&str, T)], problems: &mut Problems) -> Option<T> {
    let text = text(entry, problems)?;
    let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if known.is_none() {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        problems.unknown(entry.line, INVALID, &format!("value of `{}`", entry.key), text, &words);
    }
    known
}

/// The texts of a list that has some.
pub(crate) fn list<'a>(entry: &'a Entry, problems: &mut Problems) -> Vec<&'a Item> {
    let Value::Many(items) = &entry.value else {
        let example = format!("{} = [\"...\"]", entry.key);
        expected(entry, "a list of texts", &entry.value, &example, problems);
        return Vec::new();
    };
    let (texts, others): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.kind == Kind::Text);
    for item in others {
        let message = format!("`{}` is a list of texts, and {} stands in it", entry.key, item.kind.what());
        problems.say(item.line, INVALID, message, "write it in double quotes");
    }
    texts
}

/// The same where an empty list would be a rule that never matches.
fn some<'a>(entry: &'a Entry, problems: &mut Problems) -> Vec<&'a Item> {
    if matches!(&entry.value, Value::Many(items) if items.is_empty()) {
        let message = format!("`{}` is empty: nothing would match", entry.key);
        problems.say(entry.line, INVALID, message, "leave the key out to match everything");
    }
    list(entry, problems)
}

pub(crate) fn name(entry: &Entry, problems: &mut Problems) -> Option<String> {
    let text = text(entry, problems)?;
    let good = |c: char| c.is_ascii_graphic() || c == ' ';
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.trim() != text || !text.chars().all(good) {
        let message = format!("{} is no name for a rule", quoted(text));
        let hint = format!("1 to {NAME_BYTES_MAX} ASCII characters, no blanks at the ends");
        problems.say(entry.line, INVALID, message, hint);
        return None;
    }
    Some(text.to_owned())
}

fn globs(entry: &Entry, problems: &mut Problems) -> Option<Vec<Glob>> {
    let mut globs = Vec::new();
    for item in some(entry, problems) {
        match item.text.is_empty() || item.text.len() > GLOB_BYTES_MAX {
            true => {
                let message =
                    format!("a name in `{}` is empty or longer than {GLOB_BYTES_MAX} bytes", entry.key);
                problems.say(
                    item.line,
                    INVALID,
                    message,
                    "a name or a pattern: `*` is any characters, `?` is one",
                );
            }
            false => globs.push(Glob::new(&item.text)),
        }
    }
    Some(globs)
}

fn hashes(entry: &Entry, problems: &mut Problems) -> Vec<Hash> {
    let mut hashes = Vec::new();
    for item in some(entry, problems) {
        match parse_hash(&item.text) {
            Some(hash) => hashes.push(hash),
            None => {
                let message = format!("{} is no hash of a module", quoted(&item.text));
                problems.say(
                    item.line,
                    INVALID,
                    message,
                    "64 hex digits, with or without `blake3:` before them",
                );
            }
        }
    }
    hashes.sort_unstable();
    hashes
}

/// The hash of a module: 64 hex digits, also after `blake3:`.
pub fn parse_hash(text: &str) -> Option<Hash> {
    let digits = text.strip_prefix("blake3:").unwrap_or(text);
    let mut hash = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Hash(hash))
}

fn signers(entry: &Entry, problems: &mut Problems) -> Vec<String> {
    let mut signers = Vec::new();
    for item in some(entry, problems) {
        // A pattern would be a weaker rule than it looks: one person could sign for two.
        match item.text.is_empty() || item.text.contains(['*', '?']) {
            true => {
                let message = format!("{} is no signer", quoted(&item.text));
                problems.say(item.line, INVALID, message, "a principal as in allowed_signers, not a pattern");
            }
            false => signers.push(item.text.clone()),
        }
    }
    signers
}

fn instant(entry: &Entry, problems: &mut Problems) -> Option<u64> {
    let item = match &entry.value {
        Value::One(item @ Item { kind: Kind::Text | Kind::Time, .. }) => item,
        other => {
            expected(entry, "a time", other, &format!("{} = 2026-12-31T00:00:00Z", entry.key), problems);
            return None;
        }
    };
    let instant = parse_rfc3339(&item.text);
    if instant.is_none() {
        let message = format!("{} is no time with a date and a zone", quoted(&item.text));
        problems.say(item.line, INVALID, message, "as in RFC 3339: 2026-12-31T00:00:00Z");
    }
    instant
}

fn days(entry: &Entry, schedule: &mut Schedule, problems: &mut Problems) {
    let mut days = Vec::new();
    for item in some(entry, problems) {
        match DAYS.iter().position(|day| *day == item.text) {
            Some(day) => days.push(day),
            None => problems.unknown(item.line, INVALID, "day", &item.text, &DAYS),
        }
    }
    schedule.set_days(days.into_iter());
}

fn hours(entry: &Entry, schedule: &mut Schedule, problems: &mut Problems) {
    if let Some(text) = text(entry, problems)
        && !schedule.set_hours(text)
    {
        let message = format!("{} are no hours", quoted(text));
        problems.say(
            entry.line,
            INVALID,
            message,
            "in UTC, for example \"08:00-18:00\", or \"22:00-06:00\" over midnight",
        );
    }
}

/// The set, and whether it is all that is given.
fn grants(entry: &Entry, problems: &mut Problems) -> (GrantSet, bool) {
    let items = list(entry, problems);
    let given = items.iter().any(|item| item.text == GIVEN);
    let mut texts = Vec::new();
    for item in items.iter().filter(|item| item.text != GIVEN) {
        match Grant::parse(&item.text) {
            Ok(Grant::Limit(_)) => texts.push(item.text.as_str()),
            Ok(_) if given => {
                let message = format!("`{GIVEN}` holds every right, so {} adds nothing", quoted(&item.text));
                problems.say(item.line, INVALID, message, format!("beside `{GIVEN}` only limits stand"));
            }
            Ok(_) => texts.push(item.text.as_str()),
            Err(problem) => problems.add(item.line, problem),
        }
    }
    match GrantSet::parse_all(texts.into_iter()) {
        Ok(set) => (set, given),
        Err(more) => {
            more.into_iter().for_each(|problem| problems.add(entry.line, problem));
            Default::default()
        }
    }
}
