//! Inventories: which hosts there are, how they are grouped, how to reach them. Text in; everything resolved,
//! or *all* problems with the places where they are, out.
//!
//! TOML or YAML, by the file's ending; the two have the same shape. The file itself is the group `all`:
//!
//! ```toml
//! user = "deploy"                    # for every host
//! via = "bastion"
//!
//! [hosts.bastion]
//! host = "203.0.113.7"               # the address, when ssh does not know the name
//!
//! [groups.web]
//! hosts = ["web[01-20]"]             # by name, or a table of hosts with settings
//! groups = ["canary"]                # by name, or a table of groups
//! allow = ["fs:/var/log:ro"]
//! [groups.web.vars]
//! role = "web"
//!
//! [secrets]                          # of the file only: where values come from
//! token = "env:TOKEN"
//! [secrets."db/password"]
//! from = "cmd:pass show db"          # or prompt, env:VARIABLE, file:PATH, age:FILE
//! type = "text"                      # or bytes
//! require = "end-to-end"
//! ```
//!
//! Hosts, groups and the file take: `user`, `port`, `via`, `via_mode` (relay, tunnel), `transport` (ssh,
//! openssh, local), `identity`, `known_hosts`, `connect_timeout`, `installed`, `dir`, `no_disk`, `wall`
//! (required, best, off), `allow`, `vars`; only hosts take `host` and `node_key`.
//!
//! * The nearest setting counts: host over group over the group above over the file. A list replaces a list.
//!   Variables are inherited one by one. How near a group is to a host is its depth below `all`, by the
//!   longest way; of two groups at one depth the later in the alphabet counts.
//! * `via` lists hops, nearest to the controller first. When the first hop has hops of its own, these come
//!   before it; those of the others do not count. An inherited `via` ends before the host itself, so a
//!   file-wide `via = "bastion"` leaves bastion reachable.
//! * Keys that are not known are errors: a typing mistake must not silently be no setting.

mod document;
mod draft;
mod resolve;
mod toml;
mod yaml;

use crate::secret::Declarations;
use crate::tree::Endpoint;
use document::{Node, Report};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use waft_proto::run::Problem;

/// An inventory, bytes: room for every target of one command with settings of its own.
pub const INVENTORY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Problems of one file that are worth reading.
const PROBLEMS_MAX: usize = 100;

/// A host with everything it inherits.
#[derive(Clone, PartialEq, Debug)]
pub struct Host {
    /// How to reach it; `endpoint.name` is its name here.
    pub endpoint: Endpoint,
    /// The hops before it, nearest to the controller first: hosts of this inventory, or addresses.
    pub via: Vec<String>,
    /// Grants in canonical text.
    pub allow: Vec<String>,
    pub vars: Map<String, Value>,
    /// The groups it is in, farthest first, without `all`.
    pub groups: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Group {
    /// All hosts in it and in the groups below it, by name.
    pub hosts: Vec<String>,
    /// The groups right below it, by name.
    pub groups: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Inventory {
    /// As the user named it.
    pub file: String,
    pub hosts: BTreeMap<String, Host>,
    pub groups: BTreeMap<String, Group>,
    /// Where the values of secrets come from, and what is said of them.
    pub secrets: Declarations,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Toml,
    Yaml,
    /// The ending says nothing.
    Unknown,
}

impl Format {
    pub fn of(file: &str) -> Format {
        let ending =
            Path::new(file).extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("toml") => Format::Toml,
            Some("yaml" | "yml") => Format::Yaml,
            _ => Format::Unknown,
        }
    }
}

impl Inventory {
    /// Reads a file. Paths of identities and known hosts are then relative to it, and `~` is `home`.
    pub fn load(file: &str, home: Option<&Path>) -> Result<Inventory, Vec<Problem>> {
        let text = read_text(file, INVENTORY_BYTES_MAX, "inventory").map_err(|problem| vec![problem])?;
        let mut inventory = Inventory::parse(file, &text, Format::of(file))?;
        let beside = Path::new(file).parent().unwrap_or(Path::new(""));
        for host in inventory.hosts.values_mut() {
            let Endpoint { identities, known_hosts, .. } = &mut host.endpoint;
            identities.iter_mut().chain(known_hosts).for_each(|path| *path = place(path, beside, home));
        }
        for secret in inventory.secrets.values_mut() {
            secret.source = secret.source.take().map(|source| source.placed(beside, home));
        }
        Ok(inventory)
    }

    /// `file` is only a name for the problems.
    pub fn parse(file: &str, text: &str, format: Format) -> Result<Inventory, Vec<Problem>> {
        let mut report = Report::new(file);
        let document = match format {
            Format::Toml => toml::read(text, &mut report),
            Format::Yaml => yaml::read(text, &mut report),
            Format::Unknown => either(text, &mut report),
        };
        let drafts = document.map(|document| draft::read(&document, &mut report));
        let secrets = drafts.as_ref().map(|drafts| drafts.secrets.clone()).unwrap_or_default();
        let resolved = drafts.map(|drafts| resolve::resolve(drafts, &mut report));
        report.finish(PROBLEMS_MAX)?;
        let (hosts, groups) = resolved.unwrap_or_default();
        Ok(Inventory { file: file.to_owned(), hosts, groups, secrets })
    }
}

/// Tries both formats, and when neither fits says so with the reasons of both.
fn either(text: &str, report: &mut Report) -> Option<Node> {
    let mut as_toml = report.again();
    if let Some(document) = toml::read(text, &mut as_toml).filter(|_| as_toml.is_empty()) {
        return Some(document);
    }
    let mut as_yaml = report.again();
    if let Some(document) =
        yaml::read(text, &mut as_yaml).filter(|node| as_yaml.is_empty() && node.is_table())
    {
        return Some(document);
    }
    let why = |report: Report| report.first().unwrap_or_else(|| "it is no table of settings".to_owned());
    let message = format!("it is neither TOML ({}) nor YAML ({})", why(as_toml), why(as_yaml));
    report.whole(message, "give the file the ending .toml or .yaml, so that only one of them is tried");
    None
}

fn place(path: &Path, beside: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) => home.join(below),
        _ => beside.join(path),
    }
}

/// A text file of at most `bytes_max` bytes; `what` it is goes into the problem.
pub(crate) fn read_text(file: &str, bytes_max: u64, what: &str) -> Result<String, Problem> {
    let failed = |why: &dyn std::fmt::Display| {
        Problem::new("input.read", format!("the {what} {file} cannot be read: {why}"))
            .hint("look at the path and at who may read it")
    };
    let opened = File::open(file).map_err(|why| failed(&why))?;
    let mut text = Vec::new();
    opened.take(bytes_max + 1).read_to_end(&mut text).map_err(|why| failed(&why))?;
    if text.len() as u64 > bytes_max {
        let long =
            format!("the {what} {file} has more than {bytes_max} bytes, which is the most that is read");
        return Err(Problem::new("input.long", long));
    }
    String::from_utf8(text).map_err(|_| {
        Problem::new("input.utf8", format!("the {what} {file} is not UTF-8 text")).hint("save it as UTF-8")
    })
}

#[cfg(test)]
mod tests;
