//! From a document to what each table says, before anything is inherited.

use super::document::{Entry, Node, Place, Report, Value, to_map};
use crate::secret::{Declarations, Declared, END_TO_END, Kind, Source};
use crate::select::address::{Address, is_host_name};
use crate::select::{ALL, ranges};
use crate::tree::{TARGETS_MAX, Transport, ViaMode};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use waft_policy::site::parse_key;
use waft_proto::envelope::Wall;
use waft_proto::grant::{Grant, parse_duration_ms};

/// What hosts, groups and the file may set.
const SHARED: [&str; 14] = [
    "user",
    "port",
    "via",
    "via_mode",
    "transport",
    "identity",
    "known_hosts",
    "connect_timeout",
    "installed",
    "dir",
    "no_disk",
    "wall",
    "allow",
    "vars",
];
const OF_HOSTS: [&str; 2] = ["host", "node_key"];
const OF_GROUPS: [&str; 2] = ["hosts", "groups"];

#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) address: Option<String>,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) via: Option<Via>,
    pub(super) via_mode: Option<ViaMode>,
    pub(super) transport: Option<Transport>,
    pub(super) identities: Option<Vec<PathBuf>>,
    pub(super) known_hosts: Option<Vec<PathBuf>>,
    pub(super) connect_timeout_ms: Option<u64>,
    pub(super) installed: Option<String>,
    pub(super) node_key: Option<[u8; 32]>,
    pub(super) dir: Option<String>,
    pub(super) no_disk: Option<bool>,
    pub(super) wall: Option<Wall>,
    pub(super) allow: Option<Vec<String>>,
    pub(super) vars: Map<String, Json>,
}

#[derive(Clone)]
pub(super) struct Via {
    pub(super) at: Place,
    pub(super) hops: Vec<String>,
}

impl Settings {
    /// Puts what is nearer over what is there.
    pub(super) fn inherit(&mut self, nearer: &Settings) {
        fn over<T: Clone>(far: &mut Option<T>, near: &Option<T>) {
            if near.is_some() {
                far.clone_from(near);
            }
        }
        over(&mut self.address, &nearer.address);
        over(&mut self.user, &nearer.user);
        over(&mut self.port, &nearer.port);
        over(&mut self.via, &nearer.via);
        over(&mut self.via_mode, &nearer.via_mode);
        over(&mut self.transport, &nearer.transport);
        over(&mut self.identities, &nearer.identities);
        over(&mut self.known_hosts, &nearer.known_hosts);
        over(&mut self.connect_timeout_ms, &nearer.connect_timeout_ms);
        over(&mut self.installed, &nearer.installed);
        over(&mut self.node_key, &nearer.node_key);
        over(&mut self.dir, &nearer.dir);
        over(&mut self.no_disk, &nearer.no_disk);
        over(&mut self.wall, &nearer.wall);
        over(&mut self.allow, &nearer.allow);
        self.vars.extend(nearer.vars.clone());
    }
}

/// A host, from every table that mentions it.
#[derive(Default)]
pub(super) struct HostDraft {
    pub(super) at: Place,
    pub(super) settings: Settings,
    /// Which keys were set, and where.
    keys: BTreeMap<String, Place>,
}

#[derive(Default)]
pub(super) struct GroupDraft {
    pub(super) at: Place,
    pub(super) settings: Settings,
    pub(super) hosts: Vec<String>,
    pub(super) groups: Vec<(String, Place)>,
    /// Whether a table defines it.
    defined: bool,
}

#[derive(Default)]
pub(super) struct Drafts {
    pub(super) hosts: BTreeMap<String, HostDraft>,
    /// With the file itself, as `all`.
    pub(super) groups: BTreeMap<String, GroupDraft>,
    pub(super) secrets: Declarations,
}

pub(super) fn read(document: &Node, report: &mut Report) -> Drafts {
    let mut reader = Reader { drafts: Drafts::default(), report };
    reader.group(ALL, document.at, document);
    let drafts = reader.drafts;
    for (name, group) in &drafts.groups {
        if let Some(host) = drafts.hosts.get(name) {
            let both = format!("`{name}` is a host and a group");
            report.say(
                host.at.max(group.at),
                both,
                "rename one of them: selectors could not tell them apart",
            );
        }
        for (child, at) in &group.groups {
            if !drafts.groups.contains_key(child) {
                let message = format!("the group `{name}` names the group `{child}`, which is not defined");
                report.unknown(*at, message, child, drafts.groups.keys().map(String::as_str));
            }
        }
    }
    drafts
}

struct Reader<'r> {
    drafts: Drafts,
    report: &'r mut Report,
}

impl Reader<'_> {
    /// Groups in groups are at most as deep as the document.
    fn group(&mut self, name: &str, at: Place, node: &Node) {
        let mut draft = GroupDraft { at, defined: true, ..GroupDraft::default() };
        for entry in self.table(node, &format!("the group `{name}`")) {
            match entry.key.as_str() {
                "hosts" => draft.hosts = self.hosts(&entry.node),
                "groups" => draft.groups = self.groups(&entry.node),
                "host" => {
                    let message = format!("`host` is the address of one machine, and `{name}` is a group");
                    self.report.say(
                        entry.at,
                        message,
                        "set `host` at hosts; list the hosts of a group in `hosts`",
                    );
                }
                key if SHARED.contains(&key) => self.setting(&mut draft.settings, entry),
                "secrets" if name == ALL => self.secrets(&entry.node),
                _ => self.unknown_key(entry, &format!("the group `{name}`"), &OF_GROUPS),
            }
        }
        if self.drafts.groups.get(name).is_some_and(|group| group.defined) {
            let message = format!("the group `{name}` is defined twice");
            return self.report.say(
                at,
                message,
                format!("define it once; elsewhere write groups = [\"{name}\"]"),
            );
        }
        self.drafts.groups.insert(name.to_owned(), draft);
    }

    /// A table: where the value of each comes from, or a table of more.
    fn secrets(&mut self, node: &Node) {
        for entry in self.table(node, "`secrets`") {
            let (name, at) = (&entry.key, entry.at);
            if let Err(problem) = Grant::parse(&format!("secret:{name}")) {
                self.report.add(at, problem);
            }
            let mut declared = Declared::default();
            match &entry.node.value {
                Value::Text(_) => declared.source = self.source(name, &entry.node),
                _ => {
                    for setting in self.table(&entry.node, &format!("the secret `{name}`")) {
                        let (key, node) = (setting.key.as_str(), &setting.node);
                        match key {
                            "from" => declared.source = self.source(key, node),
                            "type" => declared.kind = self.word(key, node, &Kind::ALL),
                            "description" => declared.description = self.text(key, node),
                            "require" => {
                                declared.end_to_end = self.word(key, node, &[(END_TO_END, true)]).is_some();
                            }
                            _ => {
                                let message =
                                    format!("unknown key `{}` in the secret `{name}`", key.escape_debug());
                                let known = ["from", "type", "description", "require"];
                                self.report.unknown(setting.at, message, key, known);
                            }
                        }
                    }
                }
            }
            self.drafts.secrets.insert(name.clone(), declared);
        }
    }

    fn source(&mut self, key: &str, node: &Node) -> Option<Source> {
        let read = Source::parse(&self.text(key, node)?);
        read.map_err(|problem| self.report.add(node.at, problem)).ok()
    }

    /// A list of names or a table of groups; answers their names.
    fn groups(&mut self, node: &Node) -> Vec<(String, Place)> {
        let mut names = Vec::new();
        match &node.value {
            Value::List(items) => {
                for item in items {
                    match &item.value {
                        Value::Text(name) => names.push((name.clone(), item.at)),
                        _ => self.report.expected(item, "groups", "names of groups"),
                    }
                }
            }
            Value::Table(entries) => {
                for entry in entries {
                    let name = &entry.key;
                    if !is_host_name(name) || matches!(name.as_str(), "all" | "local") {
                        let message = format!("`{name}` cannot be the name of a group");
                        let hint = "use letters, digits, `.`, `-`, `_`; `all` and `local` are taken";
                        self.report.say(entry.at, message, hint);
                        continue;
                    }
                    names.push((name.clone(), entry.at));
                    self.group(name, entry.at, &entry.node);
                }
            }
            Value::Null => {}
            _ => self.report.expected(node, "groups", "a table of groups, or a list of their names"),
        }
        names
    }

    /// A list of names or a table of hosts, both with ranges; answers all names.
    fn hosts(&mut self, node: &Node) -> Vec<String> {
        let mut all = Vec::new();
        match &node.value {
            Value::List(items) => {
                for item in items {
                    match &item.value {
                        Value::Text(text) => all.extend(self.host_names(text, item.at)),
                        _ => self.report.expected(item, "hosts", "names of hosts"),
                    }
                }
            }
            Value::Table(entries) => {
                for entry in entries {
                    let names = self.host_names(&entry.key, entry.at);
                    self.host(&names, entry);
                    all.extend(names);
                }
            }
            Value::Null => {}
            _ => self.report.expected(node, "hosts", "a table of hosts, or a list of their names"),
        }
        all
    }

    fn host_names(&mut self, text: &str, at: Place) -> Vec<String> {
        let names = match ranges::expand(text) {
            Ok(names) => names,
            Err(problem) => {
                self.report.add(at, problem);
                return Vec::new();
            }
        };
        if let Some(odd) = names.iter().find(|name| !is_host_name(name) || *name == ALL) {
            let message = format!("`{}` cannot be the name of a host", odd.escape_debug());
            let hint = "use letters, digits, `.`, `-`, `_`, and set `host`, `user` and `port` below it";
            self.report.say(at, message, hint);
            return Vec::new();
        }
        for name in &names {
            if self.drafts.hosts.len() >= TARGETS_MAX && !self.drafts.hosts.contains_key(name) {
                let message =
                    format!("there are more than {TARGETS_MAX} hosts, which is the most in one inventory");
                self.report.say(at, message, "split the inventory");
                return Vec::new();
            }
            self.drafts.hosts.entry(name.clone()).or_insert_with(|| HostDraft { at, ..HostDraft::default() });
        }
        names
    }

    fn host(&mut self, names: &[String], table: &Entry) {
        let what = format!("the host `{}`", table.key);
        let mut settings = Settings::default();
        let mut keys = Vec::new();
        if !matches!(table.node.value, Value::Null) {
            for entry in self.table(&table.node, &what) {
                if !SHARED.contains(&entry.key.as_str()) && !OF_HOSTS.contains(&entry.key.as_str()) {
                    self.unknown_key(entry, &what, &OF_HOSTS);
                    continue;
                }
                self.setting(&mut settings, entry);
                keys.push((&entry.key, entry.at));
            }
        }
        for name in names {
            let Some(draft) = self.drafts.hosts.get_mut(name) else { continue };
            for (key, at) in &keys {
                if let Some(first) = draft.keys.insert((*key).clone(), *at) {
                    let line = first.line;
                    let message = format!("`{key}` of the host `{name}` was already set in line {line}");
                    self.report.say(*at, message, "keep one of the two");
                }
            }
            draft.settings.inherit(&settings);
        }
    }

    fn table<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Entry] {
        match &node.value {
            Value::Table(entries) => entries,
            Value::Null => &[],
            _ => {
                self.report.say(
                    node.at,
                    format!("{what} is {}, expected a table", node.what()),
                    "write a table of settings",
                );
                &[]
            }
        }
    }

    fn unknown_key(&mut self, entry: &Entry, what: &str, own: &[&'static str]) {
        let message = format!("unknown key `{}` in {what}", entry.key.escape_debug());
        let known: Vec<&str> = own.iter().chain(&SHARED).copied().collect();
        self.report.unknown(entry.at, message, &entry.key, known);
    }

    fn setting(&mut self, settings: &mut Settings, entry: &Entry) {
        let (key, node) = (entry.key.as_str(), &entry.node);
        match key {
            "host" => settings.address = self.text(key, node).filter(|text| self.address(text, node)),
            "user" => {
                let odd = |user: &String| {
                    user.is_empty() || user.starts_with('-') || user.contains(char::is_whitespace)
                };
                settings.user = self.text(key, node);
                if settings.user.as_ref().is_some_and(odd) {
                    self.report.say(
                        node.at,
                        "`user` is no name of a user",
                        "leave it out to use ssh's own setting",
                    );
                }
            }
            "port" => match &node.value {
                Value::Number(number) if number.as_u64().is_some_and(|port| (1..=65535).contains(&port)) => {
                    settings.port = number.as_u64().and_then(|port| u16::try_from(port).ok());
                }
                _ => self.report.expected(node, key, "a port from 1 to 65535"),
            },
            "via" => settings.via = self.texts(key, node).map(|hops| Via { at: node.at, hops }),
            "via_mode" => {
                settings.via_mode =
                    self.word(key, node, &[("relay", ViaMode::Relay), ("tunnel", ViaMode::Tunnel)]);
            }
            "transport" => {
                let words =
                    [("ssh", Transport::Ssh), ("openssh", Transport::OpenSsh), ("local", Transport::Local)];
                settings.transport = self.word(key, node, &words);
            }
            "identity" => settings.identities = self.paths(key, node),
            "known_hosts" => settings.known_hosts = self.paths(key, node),
            "connect_timeout" => {
                let read = self.text(key, node).map(|text| parse_duration_ms(&text));
                match read {
                    Some(Ok(ms)) if ms > 0 => settings.connect_timeout_ms = Some(ms),
                    Some(Ok(_)) => {
                        self.report.say(node.at, "`connect_timeout` is no time at all", "write \"10s\"")
                    }
                    Some(Err(expected)) => {
                        let message = format!("`connect_timeout` cannot be read: expected {expected}");
                        self.report.say(node.at, message, "for example \"10s\"");
                    }
                    None => {}
                }
            }
            "node_key" => {
                settings.node_key = self.text(key, node).and_then(|text| {
                    let read = parse_key(&text);
                    if read.is_none() {
                        let hint = "`waft-stub --node-key`, on the host, prints 44 characters";
                        self.report.say(node.at, "`node_key` is no key of a node", hint);
                    }
                    read
                });
            }
            "installed" => settings.installed = self.absolute(key, node),
            "dir" => settings.dir = self.absolute(key, node),
            "wall" => {
                settings.wall = self.word(key, node, &Wall::ALL.map(|wall| (wall.word(), wall)));
            }
            "no_disk" => match node.value {
                Value::Bool(value) => settings.no_disk = Some(value),
                _ => self.report.expected(node, key, "true or false"),
            },
            "allow" => settings.allow = self.grants(key, node),
            _ => match &node.value {
                Value::Table(entries) => settings.vars = to_map(entries),
                Value::Null => {}
                _ => self.report.expected(node, key, "a table of variables"),
            },
        }
    }

    fn text(&mut self, key: &str, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.report.expected(node, key, "a text");
                None
            }
        }
    }

    /// One text or a list of them.
    fn texts(&mut self, key: &str, node: &Node) -> Option<Vec<String>> {
        match &node.value {
            Value::Text(text) => Some(vec![text.clone()]),
            Value::List(items) => Some(items.iter().filter_map(|item| self.text(key, item)).collect()),
            _ => {
                self.report.expected(node, key, "a text or a list of texts");
                None
            }
        }
    }

    fn paths(&mut self, key: &str, node: &Node) -> Option<Vec<PathBuf>> {
        let texts = self.texts(key, node)?;
        if texts.iter().any(String::is_empty) {
            self.report.say(
                node.at,
                format!("`{key}` has an empty path"),
                "leave it out to use ssh's own setting",
            );
        }
        Some(texts.into_iter().map(PathBuf::from).collect())
    }

    fn absolute(&mut self, key: &str, node: &Node) -> Option<String> {
        let path = self.text(key, node)?;
        if path.starts_with('/') {
            return Some(path);
        }
        let message =
            format!("`{key}` is the path `{}` on the target, expected an absolute one", path.escape_debug());
        self.report.say(node.at, message, "begin it with `/`");
        None
    }

    fn word<T: Copy>(&mut self, key: &str, node: &Node, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(key, node)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{key}` is `{}`, expected {}", text.escape_debug(), known.join(" or "));
            self.report.unknown(node.at, message, &text, known);
        }
        found
    }

    fn grants(&mut self, key: &str, node: &Node) -> Option<Vec<String>> {
        let texts = self.texts(key, node)?;
        let mut grants = Vec::new();
        for text in texts {
            match Grant::parse(&text) {
                Ok(grant) => grants.push(grant.to_string()),
                Err(problem) => self.report.add(node.at, problem),
            }
        }
        Some(grants)
    }

    /// An address without user and port: these have keys of their own.
    fn address(&mut self, text: &str, node: &Node) -> bool {
        let bare = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
        let fine =
            Address::parse(&bare).is_ok_and(|address| address.user.is_none() && address.port.is_none());
        if !fine {
            let message = format!("`host` is `{}`, expected a host name or an address", text.escape_debug());
            self.report.say(node.at, message, "set `user` and `port` by their own keys");
        }
        fine
    }
}
