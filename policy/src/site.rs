//! What an installed node has beyond rules: whose runs it takes, who may sign, what it remembers and where.

use crate::document::{Entry, Item, Kind, Table, Value};
use crate::problems::{Problems, listed, quoted};
use crate::read::{INVALID, UNKNOWN, expected, list, name, text};
use crate::{Policy, Rule};
use waft_proto::run::Problem;

/// Where a node keeps its key and what it has seen, unless the policy says otherwise: a directory for each account in it.
pub const STATE_DEFAULT: &str = "/var/lib/waft";
/// Of one approval.
pub const APPROVALS_MAX: u32 = 16;

pub(crate) const TOP_KEYS: [&str; 6] = ["audit", "syslog", "allowed_signers", "node_key", "state", "names"];
pub(crate) const RULE_KEYS: [&str; 2] = ["approvals", "approvers"];
pub(crate) const CONTROLLER_KEYS: [&str; 2] = ["name", "key"];
const KEY_BYTES: usize = 32;

/// Keys and files of a node that is installed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Site {
    /// Whose runs are taken; anybody's when there is none.
    pub controllers: Vec<Controller>,
    /// Who may sign modules and approvals, as in ssh-keygen(1).
    pub allowed_signers: Option<String>,
    /// Keys that do not count any more: revocation lists.
    pub revoked_keys: Vec<String>,
    /// The node's own key, when it is not in `state`.
    pub node_key: Option<String>,
    pub state: Option<String>,
    /// Where the node keeps a log of its own: a directory for each account in it.
    pub audit: Option<String>,
    /// Its lines go to the host's log, too.
    pub syslog: bool,
    /// What controllers call this node; anything when empty.
    pub names: Vec<String>,
}

/// A controller that the node knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Controller {
    pub name: String,
    /// ed25519.
    pub key: [u8; KEY_BYTES],
}

/// How many people besides the one who starts a run must have agreed to it. He is known by his name: as a controller it
/// has to be the one that the allowed signers have for him.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Approvals {
    pub least: u32,
    /// Whose count; those of all allowed signers when `None`.
    pub approvers: Option<Vec<String>>,
}

impl Policy {
    /// The name of the controller with this key: `None` when the policy knows no controllers.
    pub fn check_controller(&self, key: &[u8; KEY_BYTES]) -> Result<Option<&str>, Problem> {
        let known = &self.site.controllers;
        match known.iter().find(|controller| controller.key == *key) {
            Some(controller) => Ok(Some(&controller.name)),
            None if known.is_empty() => Ok(None),
            None => Err(Problem::new(
                "policy.controller",
                format!("this node's policy knows no controller with the key {}", key_text(key)),
            )
            .hint(
                "`waft policy key` prints the key of a controller; a [[controller]] of the policy names it",
            )),
        }
    }
}

impl Site {
    /// Whether a controller may call this node so. A hop tells the name, and an approval is for names.
    pub fn check_name(&self, name: &str) -> Result<(), Problem> {
        if self.names.is_empty() || self.names.iter().any(|known| known == name) {
            return Ok(());
        }
        let message = format!(
            "this run is for {}, and this node is {} by its policy",
            quoted(name),
            listed(self.names.iter().map(String::as_str))
        );
        Err(Problem::new("policy.target", message)
            .hint("call it so in the inventory, or add that name to `names` in the node's policy"))
    }
}

impl Approvals {
    /// Whether these people, each with all names, are enough for that rule: `who` starts the run and is none of them.
    pub(crate) fn check(&self, rule: &Rule, who: &str, people: &[Vec<String>]) -> Result<(), Problem> {
        let named = |name: &String| self.approvers.as_ref().is_none_or(|approvers| approvers.contains(name));
        let (own, others): (Vec<_>, Vec<_>) = people
            .iter()
            .filter(|names| names.iter().any(named))
            .partition(|names| names.iter().any(|name| name == who));
        let have = others.len();
        if have >= self.least as usize {
            return Ok(());
        }
        let (rule, least) = (quoted(&rule.name), self.least);
        let mut message = format!(
            "the rule {rule} of this node's policy wants the approval of {least} people, and {have} have approved"
        );
        if !own.is_empty() {
            message.push_str(&format!("; {} starts the run, and so does not count", quoted(who)));
        }
        Err(Problem::new("policy.approval", message)
            .hint("have the run approved by more of those who may, and send that along"))
    }
}

/// What this build cannot keep, and so refuses.
#[cold]
pub(crate) fn not_here(line: usize, what: &str, problems: &mut Problems) {
    let message = format!("{what} takes an installed stub, and this one was pushed");
    problems.say(line, "policy.site", message, "on this host, use `installed = PATH` with a site build");
}

/// `[[controller]]`.
pub(crate) fn controller(table: &Table, problems: &mut Problems) -> Option<Controller> {
    let (mut named, mut key) = (None, None);
    for entry in &table.entries {
        match entry.key.as_str() {
            "name" => named = name(entry, problems),
            "key" => key = text(entry, problems).and_then(|text| public_key(entry, text, problems)),
            other => problems.unknown(entry.line, UNKNOWN, "key of a controller", other, &CONTROLLER_KEYS),
        }
    }
    for wanted in CONTROLLER_KEYS {
        if !table.entries.iter().any(|entry| entry.key == wanted) {
            let message = format!("the controller has no {wanted}");
            problems.say(table.line, INVALID, message, "`waft policy key` prints both lines");
        }
    }
    Some(Controller { name: named?, key: key? })
}

fn public_key(entry: &Entry, text: &str, problems: &mut Problems) -> Option<[u8; KEY_BYTES]> {
    let key = parse_key(text);
    if key.is_none() {
        let message = format!("{} is no key of a controller", quoted(text));
        problems.say(entry.line, INVALID, message, "44 characters, as `waft policy key` prints them");
    }
    key
}

/// An ed25519 public key: 32 bytes in base64.
pub fn parse_key(text: &str) -> Option<[u8; KEY_BYTES]> {
    let digits = text.strip_suffix('=').filter(|digits| digits.len() == KEY_BYTES * 8 / 6 + 1)?;
    let mut key = [0; KEY_BYTES];
    let (mut held, mut bits, mut at) = (0_u32, 0, 0);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        held = held << 6 | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            *key.get_mut(at)? = u8::try_from(held >> bits & 0xff).ok()?;
            at += 1;
        }
    }
    // One text for each key: what is left over is nothing.
    (held & ((1 << bits) - 1) == 0).then_some(key)
}

/// The text of such a key.
pub fn key_text(key: &[u8; KEY_BYTES]) -> String {
    let mut text = String::new();
    for three in key.chunks(3) {
        let held =
            three.iter().fold(0_u32, |held, byte| held << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            let at = held >> (18 - 6 * digit) & 0x3f;
            text.push(ALPHABET.get(at as usize).map_or('=', |digit| char::from(*digit)));
        }
    }
    text.push('=');
    text
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn path(entry: &Entry, problems: &mut Problems) -> Option<String> {
    let text = text(entry, problems)?;
    good_path(entry.line, text, problems).then(|| text.to_owned())
}

pub(crate) fn paths(entry: &Entry, problems: &mut Problems) -> Vec<String> {
    let items = list(entry, problems);
    let good = items.into_iter().filter(|item| good_path(item.line, &item.text, problems));
    good.map(|item| item.text.clone()).collect()
}

fn good_path(line: usize, text: &str, problems: &mut Problems) -> bool {
    let good = text.len() > 1 && text.starts_with('/') && !text.split('/').any(|name| name == "..");
    if !good {
        let message = format!("{} is no absolute path", quoted(text));
        problems.say(line, INVALID, message, "for example \"/etc/waft/allowed_signers\"");
    }
    good
}

/// `approvals = 2`.
pub(crate) fn least(entry: &Entry, problems: &mut Problems) -> Option<u32> {
    let Value::One(Item { kind: Kind::Integer, text, .. }) = &entry.value else {
        expected(entry, "a number", &entry.value, "approvals = 2", problems);
        return None;
    };
    let number = text.parse().ok().filter(|number| (1..=APPROVALS_MAX).contains(number));
    if number.is_none() {
        let message = format!("{} is no number of approvals", quoted(text));
        problems.say(entry.line, INVALID, message, format!("1 to {APPROVALS_MAX} people"));
    }
    number
}

/// The approvals that a rule wants, from its two keys.
pub(crate) fn approvals(
    table: &Table,
    least: Option<u32>,
    approvers: Option<Vec<String>>,
    problems: &mut Problems,
) -> Option<Approvals> {
    let line = |key: &str| table.entries.iter().find(|entry| entry.key == key).map(|entry| entry.line);
    if let (None, Some(at)) = (line("approvals"), line("approvers")) {
        let hint = "add `approvals = 2`, or as many as have to agree";
        problems.say(at, INVALID, "`approvers` does not say how many of them", hint);
    }
    let least = least?;
    if let Some(names) = &approvers {
        let mut distinct = names.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < least as usize {
            let message = format!("{least} of {} approvers can never have agreed", distinct.len());
            problems.say(table.line, INVALID, message, "name more of them in `approvers`, or want fewer");
        }
    }
    Some(Approvals { least, approvers })
}
