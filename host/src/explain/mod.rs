//! What a task could touch, on which hosts, and who between here and there could read or change it: said before
//! anything runs, and without a connection to anything.
//!
//! A value: task, grants and the ways to the hosts in, an [`Explanation`] out. [`text`] and JSON show the same value, so
//! that neither says more. Nothing in it depends on the time or on the terminal: it is fit for review and diff.

pub mod mean;
pub mod secrets;
pub mod text;
pub mod way;

use crate::along::Along;
use crate::manifest::agree::{dropped, effective, flag, missing, rights, together};
use crate::manifest::{Manifest, Place};
use crate::search::Found;
use crate::task::example;
use crate::task::rows::{Row, rows};
use serde::Serialize;
use std::collections::BTreeMap;
use waft_proto::grant::{Grant, GrantSet, Limit};
use waft_proto::id::Hash;
use waft_proto::run::Problem;
use way::{Group, Host};

/// Version of the JSON. Fields are added without a new one; it changes when one goes or changes its meaning.
const VERSION: u8 = 1;
/// Running time when `--timeout` is not given, milliseconds.
pub const TIME_MS_DEFAULT: u64 = 5 * 60_000;
/// What a stub takes for a limit that nobody set: the constants of its pool of jobs.
pub const MEMORY_BYTES_DEFAULT: u64 = 256 << 20;
pub const OUT_BYTES_DEFAULT: u64 = 64 << 20;
pub const FILES_DEFAULT: u64 = 256;

/// A task as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    pub name: String,
    /// The file; `None` when it is built in.
    pub file: Option<String>,
    pub hash: Hash,
    /// Functions by the module they are imported from.
    pub imports: BTreeMap<String, Vec<String>>,
    pub manifest: Option<Manifest>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    pub v: u8,
    pub task: About,
    /// Whether this is about a dry run.
    pub check: bool,
    /// `None`: it has no manifest, and asks for exactly what is given.
    pub asks_for: Option<Vec<Line>>,
    /// By `--allow`.
    pub given: Vec<String>,
    /// Of these, what the task does not ask for.
    pub dropped: Vec<String>,
    pub gets: Vec<Gets>,
    /// `None`: no host was asked about.
    pub hosts: Option<Vec<Group>>,
    /// Who could read each secret (see [`secrets::told`]).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<secrets::Told>,
    /// Files that are sent with the run, each as a blob.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileLine>,
    /// `None`: the manifest says nothing of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<Row>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<ExampleLine>,
}

/// One use of the task, by its manifest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ExampleLine {
    pub description: Option<String>,
    /// To paste into a shell.
    pub command: String,
}

/// A file that a parameter names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FileLine {
    pub param: String,
    pub file: String,
    pub bytes: u64,
    /// blake3, hex.
    pub hash: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct About {
    pub name: String,
    pub version: Option<String>,
    pub description: Option<String>,
    /// The file; `null` when the task is built in.
    pub file: Option<String>,
    /// blake3 of the module, hex.
    pub hash: String,
    /// `section`, or the file it is in.
    pub manifest: Option<String>,
    /// Whether the manifest says that the task supports a dry run.
    pub check: bool,
    /// Whether it says that its target boots again, which a run waits for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub after_reboot: bool,
    pub imports: BTreeMap<String, Vec<String>>,
}

/// A grant and its meaning.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    pub grant: String,
    pub means: String,
    /// As good as the account.
    pub everything: bool,
    /// What it opens more than it seems (see [`waft_policy::wide::warning`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<&'static str>,
}

/// What the task gets on some targets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Gets {
    /// Empty when no host was asked about.
    pub targets: Vec<String>,
    /// Given there by the inventory, besides `--allow`.
    pub inventory: Vec<String>,
    pub rights: Vec<Line>,
    pub limits: Vec<LimitLine>,
    /// Asked for and not given.
    pub missing: Vec<Missing>,
    /// Given, and taken away because it is a dry run.
    pub withheld: Vec<String>,
    /// The tasks that it may call there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Calls>,
}

/// A task that may be called, and what it then gets: never more than its caller.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Calls {
    pub name: String,
    /// The file; `null` when it is built in.
    pub file: Option<String>,
    /// blake3 of the module, hex.
    pub hash: String,
    /// Whether it has a manifest; without one it asks for all that its caller has.
    pub manifest: bool,
    pub rights: Vec<Line>,
    /// Those that its manifest sets; its caller's count as well.
    pub limits: Vec<String>,
    /// What its manifest asks for and its caller does not have.
    pub missing: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LimitLine {
    pub grant: String,
    pub means: String,
    pub from: Source,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Asked,
    Given,
    Default,
}

impl Source {
    pub fn word(self) -> &'static str {
        match self {
            Source::Asked => "asked for",
            Source::Given => "given",
            Source::Default => "default",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Missing {
    pub grant: String,
    /// The flag that gives it.
    pub flag: String,
}

/// `given` is by `--allow`; each host has what the inventory gives there.
pub fn explain(
    task: &Task,
    given: &GrantSet,
    hosts: Option<Vec<Host>>,
    check: bool,
) -> Result<Explanation, Problem> {
    explain_with(task, given, hosts, check, &Along::default())
}

/// The same for a task that does not go alone.
pub fn explain_with(
    task: &Task,
    given: &GrantSet,
    hosts: Option<Vec<Host>>,
    check: bool,
    along: &Along,
) -> Result<Explanation, Problem> {
    let asked = task.manifest.as_ref().and_then(Manifest::asked);
    let gets = match &hosts {
        None => vec![gets(Vec::new(), asked, (given, &GrantSet::default()), check, along)?],
        Some(hosts) => by_grants(hosts)
            .into_iter()
            .map(|(inventory, targets)| gets(targets, asked, (given, inventory), check, along))
            .collect::<Result<_, _>>()?,
    };
    let files = along.files.iter().map(|file| FileLine {
        param: file.param.clone(),
        file: file.path.display().to_string(),
        bytes: file.bytes.len() as u64,
        hash: file.hash.to_string(),
    });
    Ok(Explanation {
        v: VERSION,
        task: about(task),
        check,
        asks_for: asked.map(|asked| sorted(asked.iter()).iter().map(line).collect()),
        given: texts(given.iter()),
        dropped: asked.map(|asked| texts(dropped(asked, given))).unwrap_or_default(),
        gets,
        hosts: hosts.map(way::groups),
        secrets: Vec::new(),
        files: files.collect(),
        parameters: task.manifest.as_ref().and_then(|manifest| manifest.params.as_ref()).map(rows),
        examples: examples(task),
    })
}

fn examples(task: &Task) -> Vec<ExampleLine> {
    let name = task.file.as_deref().unwrap_or(&task.name);
    let examples = task.manifest.as_ref().map(|manifest| &manifest.examples).into_iter().flatten();
    let line = |example| example::command(name, task.manifest.as_ref(), example);
    examples
        .map(|example| ExampleLine { description: example.description.clone(), command: line(example) })
        .collect()
}

fn about(task: &Task) -> About {
    let manifest = task.manifest.as_ref();
    About {
        name: task.name.clone(),
        version: manifest.and_then(|manifest| manifest.version.clone()),
        description: manifest.and_then(|manifest| manifest.description.clone()),
        file: task.file.clone(),
        hash: task.hash.to_string(),
        manifest: manifest.map(|manifest| match &manifest.place {
            Place::Section => "section".to_owned(),
            Place::File(file) => file.display().to_string(),
        }),
        check: manifest.is_some_and(|manifest| manifest.check),
        after_reboot: manifest.is_some_and(|manifest| manifest.after_reboot),
        imports: task.imports.clone(),
    }
}

/// Hosts that the inventory gives the same, by the names of the first of them.
fn by_grants(hosts: &[Host]) -> Vec<(&GrantSet, Vec<String>)> {
    let mut groups: BTreeMap<Vec<String>, (&GrantSet, Vec<String>)> = BTreeMap::new();
    for host in hosts {
        let group = groups.entry(texts(host.allow.iter())).or_insert_with(|| (&host.allow, Vec::new()));
        group.1.push(host.name.clone());
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.iter_mut().for_each(|(_, names)| names.sort());
    groups.sort_by(|(_, a), (_, b)| a.cmp(b));
    groups
}

fn gets(
    targets: Vec<String>,
    asked: Option<&GrantSet>,
    (given, inventory): (&GrantSet, &GrantSet),
    check: bool,
    along: &Along,
) -> Result<Gets, Problem> {
    let all = together([given, inventory])?;
    let sent = together([&effective(asked, &all)?, &along.blobs()?])?;
    let counts = if check { sent.for_check() } else { sent.clone() };
    let kept = texts(rights(&counts));
    let withheld = texts(rights(&sent)).into_iter().filter(|text| !kept.contains(text)).collect();
    let missing = asked.map(|asked| missing(asked, &all)).unwrap_or_default();
    let calls = along.callable(&counts).map(|(_, callee)| calls(callee, &sent, check));
    Ok(Gets {
        calls: calls.collect::<Result<_, _>>()?,
        targets,
        inventory: texts(inventory.iter()),
        rights: sorted(rights(&counts)).iter().map(line).collect(),
        limits: limits(&counts, asked),
        missing: sorted(missing)
            .iter()
            .map(|grant| Missing { grant: grant.to_string(), flag: flag(grant) })
            .collect(),
        withheld,
    })
}

fn calls(callee: &Found, caller: &GrantSet, check: bool) -> Result<Calls, Problem> {
    let shared = Along::shared(callee, caller)?;
    let counts = if check { shared.for_check() } else { shared };
    let asked = callee.manifest.as_ref().and_then(Manifest::asked);
    Ok(Calls {
        name: callee.name.clone(),
        file: callee.file.as_ref().map(|file| file.display().to_string()),
        hash: Hash::of(&callee.wasm).to_string(),
        manifest: callee.manifest.is_some(),
        rights: sorted(rights(&counts)).iter().map(line).collect(),
        limits: asked.map(|asked| texts(asked.limits().iter().map(Grant::Limit))).unwrap_or_default(),
        missing: asked.map(|asked| texts(missing(asked, caller))).unwrap_or_default(),
    })
}

/// Those that always count, and those that somebody set.
fn limits(sent: &GrantSet, asked: Option<&GrantSet>) -> Vec<LimitLine> {
    let set = sent.limits();
    let own = |limit: Limit| {
        let asked = asked.is_some_and(|asked| asked.limits().iter().any(|other| other == limit));
        (limit, if asked { Source::Asked } else { Source::Given })
    };
    let or = |value: Option<u64>, default: u64, limit: fn(u64) -> Limit| {
        value.map_or((limit(default), Source::Default), |value| own(limit(value)))
    };
    let optional = |value: Option<u64>, limit: fn(u64) -> Limit| value.map(|value| own(limit(value)));
    // A longer time than that of the run gives nothing.
    let time = set.time_ms.filter(|ms| *ms <= TIME_MS_DEFAULT);
    let all = [
        optional(set.cpu_ms, Limit::Cpu),
        optional(set.disk_bytes, Limit::Disk),
        Some(or(set.files, FILES_DEFAULT, Limit::Files)),
        Some(or(set.mem_bytes, MEMORY_BYTES_DEFAULT, Limit::Mem)),
        Some(or(set.out_bytes, OUT_BYTES_DEFAULT, Limit::Out)),
        optional(set.procs, Limit::Procs),
        Some(or(time, TIME_MS_DEFAULT, Limit::Time)),
    ];
    let line = |(limit, from)| {
        let grant = Grant::Limit(limit);
        LimitLine { grant: grant.to_string(), means: mean::sentence(&grant), from }
    };
    all.into_iter().flatten().map(line).collect()
}

fn line(grant: &Grant) -> Line {
    Line {
        grant: grant.to_string(),
        means: mean::sentence(grant),
        everything: mean::everything(grant),
        warning: waft_policy::wide::warning(grant),
    }
}

/// By their text: the order in which somebody wrote them says nothing.
fn sorted(grants: impl IntoIterator<Item = Grant>) -> Vec<Grant> {
    let mut grants: Vec<Grant> = grants.into_iter().collect();
    grants.sort_by_cached_key(Grant::to_string);
    grants
}

fn texts(grants: impl IntoIterator<Item = Grant>) -> Vec<String> {
    sorted(grants).iter().map(Grant::to_string).collect()
}

#[cfg(test)]
mod tests;
