//! Which machines a command is for: `-t SEL`, as a value. Text in; machines, or *all* problems, out. Nothing
//! is looked up in the network or in ssh's configuration here.
//!
//! ```text
//! web1  web  web*  web[01-20]  web[a,b]     names of the inventory: host, group, glob, ranges
//! deploy@web1:2222  [fe80::1]:22            a machine by address, or one of the inventory with another login
//! ssh://web1                                a machine by address, whatever the inventory says
//! @FILE  all  local  !SEL                   a list; every host; this machine; taken away, at the end
//! ```
//!
//! Commas and repeated `-t` are a union: the order is kept, repetitions are dropped. Hosts of a group come in
//! the order of their names. A bare name that is not in a given inventory is an error: a typing mistake must
//! not become a machine.

pub mod address;
pub mod ranges;
pub mod targets;

use crate::inventory::Inventory;
use crate::tree::TARGETS_MAX;
use address::Address;
use std::collections::{HashMap, HashSet};
use waft_proto::grant::nearest;
use waft_proto::run::Problem;

/// This machine.
pub const LOCAL: &str = "local";
/// Every host of the inventory.
pub const ALL: &str = "all";
/// A file of selectors, bytes.
pub const LIST_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Names that one sentence lists.
const NAMED_MAX: usize = 5;
/// Problems of one command that are worth reading.
const PROBLEMS_MAX: usize = 100;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Machine {
    /// A host of the inventory, by its name there.
    Inventory(String),
    /// A host name or address for ssh.
    Address(String),
    Local,
}

/// One machine that was selected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selected {
    /// Unique among the selected; what results are printed under.
    pub name: String,
    pub machine: Machine,
    /// Over the inventory's, when the selector says one.
    pub user: Option<String>,
    pub port: Option<u16>,
}

/// What selectors are read against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub inventory: Option<&'a Inventory>,
    /// Reads the list behind `@FILE`: [`read_list`], except in tests.
    pub lists: &'a dyn Fn(&str) -> Result<String, Problem>,
}

/// All that the selectors name, less what they take away.
pub fn select<S: AsRef<str>>(selectors: &[S], context: Context<'_>) -> Result<Vec<Selected>, Vec<Problem>> {
    if selectors.is_empty() {
        let none = Problem::new("select.none", "no target is given");
        return Err(vec![
            none.hint("say where to run with `-t`, for example `-t web1`, `-t all` or `-t local`"),
        ]);
    }
    let mut selection = Selection::new(context);
    for selector in selectors {
        selection.line(selector.as_ref(), None);
    }
    selection.finish()
}

/// The one machine that a text names, for `--via`.
pub fn one(text: &str, inventory: Option<&Inventory>) -> Result<Selected, Problem> {
    let no_lists =
        |_: &str| Err(Problem::new("select.one", format!("`{text}` is a list, and one host is expected")));
    let context = Context { inventory, lists: &no_lists };
    let mut selection = Selection::new(context);
    let group = inventory.is_some_and(|inventory| inventory.groups.contains_key(text));
    if !group && !text.contains(['!', ',', '*', '?']) && text != ALL && text != LOCAL {
        selection.item(text, None);
    }
    let found = selection.chosen.pop();
    match (found, selection.problems.pop()) {
        (_, Some(problem)) => Err(problem),
        (Some(only), None) if selection.chosen.is_empty() => Ok(only),
        _ => Err(Problem::new("select.one", format!("`{text}` is not one host that can be passed through"))
            .hint("give one host for each `--via`, nearest to this machine first")),
    }
}

/// Reads a list from a file.
pub fn read_list(path: &str) -> Result<String, Problem> {
    crate::inventory::read_text(path, LIST_BYTES_MAX, "list of targets")
}

struct Selection<'a> {
    context: Context<'a>,
    chosen: Vec<Selected>,
    seen: HashSet<String>,
    /// For each machine, with which login it is taken away; `None` is any.
    taken: HashMap<Machine, Vec<Login>>,
    problems: Vec<Problem>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Adds,
    Takes,
}

/// User and port, where a selector says one.
type Login = (Option<String>, Option<u16>);

/// Where a selector stands, when that is not the command line.
type Line<'a> = (&'a str, usize);

impl<'a> Selection<'a> {
    fn new(context: Context<'a>) -> Selection<'a> {
        Selection {
            context,
            chosen: Vec::new(),
            seen: HashSet::new(),
            taken: HashMap::new(),
            problems: Vec::new(),
        }
    }

    fn say(&mut self, at: Option<Line<'_>>, mut problem: Problem) {
        if self.problems.len() == PROBLEMS_MAX {
            return;
        }
        if let Some((file, line)) = at {
            problem.message = format!("{file}:{line}: {}", problem.message);
        }
        self.problems.push(problem);
    }

    /// One argument of `-t`, or one line of a list.
    fn line(&mut self, text: &str, at: Option<Line<'_>>) {
        for item in split(text) {
            self.item(item.trim(), at);
        }
    }

    fn item(&mut self, item: &str, at: Option<Line<'_>>) {
        let (sign, name) = match item.strip_prefix('!') {
            Some(rest) => (Sign::Takes, rest),
            None => (Sign::Adds, item),
        };
        if name.is_empty() || name.starts_with('!') {
            let empty = format!("`{item}` is no selector: expected a host, a group, a pattern or @FILE");
            return self
                .say(at, Problem::new("select.syntax", empty).hint("look for a comma or `!` too many"));
        }
        if let Some(file) = name.strip_prefix('@') {
            return match at {
                None => self.list(file, sign),
                // Lists of lists could name each other.
                Some(_) => {
                    let nested = format!("`{item}`: a list cannot name another list");
                    self.say(at, Problem::new("select.nested", nested).hint("give each list to `-t` itself"));
                }
            };
        }
        match ranges::expand(name) {
            Ok(names) => self.names(name, &names, sign, at),
            Err(problem) => self.say(at, problem),
        }
    }

    fn list(&mut self, file: &str, sign: Sign) {
        let text = match (self.context.lists)(file) {
            Ok(text) => text,
            Err(problem) => return self.say(None, problem),
        };
        for (at, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
            if line.is_empty() {
                continue;
            }
            let place = Some((file, at + 1));
            match sign {
                Sign::Adds => self.line(line, place),
                Sign::Takes if split(line).any(|item| item.trim().starts_with('!')) => {
                    let twice = format!("`{line}` takes away inside of a list that is itself taken away");
                    self.say(place, Problem::new("select.syntax", twice).hint("leave out one of the `!`"));
                }
                Sign::Takes => split(line).for_each(|item| self.item(&format!("!{}", item.trim()), place)),
            }
        }
    }

    /// What one selector stands for once its ranges are written out.
    fn names(&mut self, selector: &str, names: &[String], sign: Sign, at: Option<Line<'_>>) {
        let mut unknown = Vec::new();
        for name in names {
            match self.name(name) {
                Ok(Some(machines)) => machines.into_iter().for_each(|machine| self.apply(machine, sign)),
                Ok(None) => unknown.push(name.as_str()),
                Err(problem) => self.say(at, problem),
            }
            if self.chosen.len() > TARGETS_MAX {
                return;
            }
        }
        if let (Some(inventory), Some(first)) = (self.context.inventory, unknown.first()) {
            let file = &inventory.file;
            let message = match unknown.len() {
                1 => format!("`{first}` is no host or group of {file}"),
                count => {
                    let named = unknown.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
                    let more = if count > NAMED_MAX { ", ..." } else { "" };
                    format!("`{selector}` names {count} hosts that are not in {file}: {named}{more}")
                }
            };
            let known = inventory.hosts.keys().chain(inventory.groups.keys()).map(String::as_str);
            let hint = match nearest(first, known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("to reach a machine that is not in the inventory write `ssh://{first}`"),
            };
            self.say(at, Problem::new("select.unknown", message).hint(hint));
        }
    }

    /// `None` when the inventory does not know a bare name.
    fn name(&self, name: &str) -> Result<Option<Vec<Selected>>, Problem> {
        let inventory = self.context.inventory;
        let known = |name: &str| Selected {
            name: name.to_owned(),
            machine: Machine::Inventory(name.to_owned()),
            user: None,
            port: None,
        };
        let none_given = |what: String| {
            Problem::new("select.inventory", format!("{what}, and none is given"))
                .hint("give an inventory with `-i FILE`, or name the hosts themselves")
        };
        if name == ALL {
            let Some(inventory) = inventory else {
                return Err(none_given("`all` is every host of an inventory".to_owned()));
            };
            return Ok(Some(inventory.hosts.keys().map(|name| known(name)).collect()));
        }
        if name == LOCAL && inventory.is_none_or(|inventory| !inventory.hosts.contains_key(LOCAL)) {
            return Ok(Some(vec![Selected { machine: Machine::Local, ..known(LOCAL) }]));
        }
        if let Some(outside) = name.strip_prefix("ssh://") {
            let address =
                Address::parse(outside.strip_suffix('/').unwrap_or(outside)).map_err(|why| why.of(name))?;
            let mut selected = address.selected();
            // The inventory's host of that name may be selected too, and is another target.
            if inventory.is_some_and(|inventory| inventory.hosts.contains_key(&selected.name)) {
                selected.name.insert_str(0, "ssh://");
            }
            return Ok(Some(vec![selected]));
        }
        if name.contains(['*', '?']) {
            if name.contains(['@', ':']) {
                let both = format!("`{name}` joins a pattern with a user or a port");
                return Err(
                    Problem::new("select.pattern", both).hint("set `user` and `port` in the inventory")
                );
            }
            let Some(inventory) = inventory else {
                return Err(none_given(format!("`{name}` is a pattern for names of an inventory")));
            };
            return glob(name, inventory).map(|names| Some(names.into_iter().map(known).collect()));
        }
        if let Some(inventory) = inventory {
            if inventory.hosts.contains_key(name) {
                return Ok(Some(vec![known(name)]));
            }
            if let Some(group) = inventory.groups.get(name) {
                return Ok(Some(group.hosts.iter().map(|name| known(name)).collect()));
            }
        }
        let address = Address::parse(name).map_err(|why| why.of(name))?;
        let Some(inventory) = inventory else { return Ok(Some(vec![address.selected()])) };
        if address.is_bare() {
            return Ok(None);
        }
        if inventory.groups.contains_key(&address.host) {
            let group = format!("`{name}` gives a user or a port to `{}`, which is a group", address.host);
            return Err(Problem::new("select.group", group)
                .hint("set `user` and `port` of the group in the inventory"));
        }
        let mut selected = address.selected();
        if inventory.hosts.contains_key(&address.host) {
            selected.machine = Machine::Inventory(address.host);
        }
        Ok(Some(vec![selected]))
    }

    fn apply(&mut self, selected: Selected, sign: Sign) {
        match sign {
            Sign::Takes => {
                self.taken.entry(selected.machine).or_default().push((selected.user, selected.port))
            }
            Sign::Adds => {
                if self.seen.insert(selected.name.clone()) {
                    self.chosen.push(selected);
                }
            }
        }
    }

    fn finish(mut self) -> Result<Vec<Selected>, Vec<Problem>> {
        if self.chosen.len() > TARGETS_MAX {
            let many =
                format!("more than {TARGETS_MAX} targets are selected, which is the most for one command");
            self.problems.push(Problem::new("select.many", many).hint("run for one group after the other"));
        }
        let taken = &self.taken;
        let stays = |selected: &Selected| {
            let same = |wanted: &Login| {
                (wanted.0.is_none() || wanted.0 == selected.user)
                    && (wanted.1.is_none() || wanted.1 == selected.port)
            };
            !taken.get(&selected.machine).is_some_and(|logins| logins.iter().any(same))
        };
        let before = self.chosen.len();
        self.chosen.retain(stays);
        if self.problems.is_empty() && self.chosen.is_empty() {
            let nothing = Problem::new("select.nothing", "the selectors leave no target");
            self.problems.push(match before {
                0 if !self.taken.is_empty() => {
                    nothing.hint("`!` only takes away; select first, for example `-t all`")
                }
                0 => nothing.hint("the groups or lists that are named are empty"),
                _ => nothing.hint(format!("`!` takes all {before} of them away")),
            });
        }
        if self.problems.is_empty() { Ok(self.chosen) } else { Err(self.problems) }
    }
}

/// At commas, but not at those in brackets.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// The hosts whose name, or the name of whose group, is matched.
fn glob<'a>(pattern: &str, inventory: &'a Inventory) -> Result<Vec<&'a str>, Problem> {
    let hosts = inventory.hosts.keys().filter(|name| matches(pattern, name)).map(String::as_str);
    let groups = inventory.groups.iter().filter(|(name, _)| matches(pattern, name));
    let mut found = hosts.peekable();
    let mut groups = groups.peekable();
    if found.peek().is_none() && groups.peek().is_none() {
        let nothing = format!("`{pattern}` matches no host or group of {}", inventory.file);
        return Err(Problem::new("select.unknown", nothing).hint("`waft inventory list` prints all names"));
    }
    Ok(found.chain(groups.flat_map(|(_, group)| group.hosts.iter().map(String::as_str))).collect())
}

/// `*` is any characters, `?` is one. Goes back only to the last star, so that time is bounded by the
/// product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut retry = None;
    loop {
        let before_name = name.clone();
        match (pattern.next(), name.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                name = before_name;
                retry = Some((pattern.clone(), name.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(p), Some(n)) if p == n => {}
            _ => {
                let Some((after_star, mut from)) = retry.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                name = from.clone();
                retry = Some((after_star, from));
            }
        }
    }
}

#[cfg(test)]
mod tests;
