//! From what each table says to what counts for each host: groups, inheritance, hops.
//!
//! Nothing here recurses over what a file can make long: a chain of a hundred thousand groups is a loop, not
//! a stack.

use super::document::Report;
use super::draft::{Drafts, GroupDraft, Settings, Via};
use super::{Group, Host};
use crate::select::ALL;
use crate::select::address::Address;
use crate::tree::{DEPTH_MAX, Endpoint, Transport};
use std::collections::{BTreeMap, BTreeSet};
use waft_proto::grant::nearest;
use waft_proto::run::Problem;

/// Groups of a loop that one sentence names.
const SHOWN_MAX: usize = 20;

type Resolved = (BTreeMap<String, Host>, BTreeMap<String, Group>);

pub(super) fn resolve(drafts: Drafts, report: &mut Report) -> Resolved {
    let Some(order) = top_down(&drafts.groups, report) else { return Resolved::default() };
    let members = members(&drafts.groups, &order);

    // Farthest first, so that what comes later counts.
    let mut nearer: Vec<(usize, &str)> =
        order.iter().map(|(name, depth)| (*depth, *name)).filter(|(_, name)| *name != ALL).collect();
    nearer.sort_unstable();
    let mut groups_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, group) in &nearer {
        for host in members.get(group).into_iter().flatten() {
            groups_of.entry(host).or_default().push(group);
        }
    }

    let mut effective = BTreeMap::new();
    for (name, draft) in &drafts.hosts {
        let groups = groups_of.remove(name.as_str()).unwrap_or_default();
        let mut settings = Settings::default();
        for group in std::iter::once(ALL).chain(groups.iter().copied()) {
            if let Some(group) = drafts.groups.get(group) {
                settings.inherit(&group.settings);
            }
        }
        settings.inherit(&draft.settings);
        let inherited = draft.settings.via.is_none();
        if inherited && let Some(via) = &mut settings.via {
            let before = via.hops.iter().take_while(|hop| *hop != name).cloned().collect();
            via.hops = if settings.transport == Some(Transport::Local) { Vec::new() } else { before };
        }
        effective.insert(name.as_str(), (settings, groups));
    }

    let vias: BTreeMap<&str, &Via> =
        effective.iter().filter_map(|(name, (settings, _))| Some((*name, settings.via.as_ref()?))).collect();
    check_hops(&vias, &drafts, report);
    let chains: BTreeMap<&str, Vec<String>> =
        vias.keys().map(|name| (*name, chain(name, &vias, report))).collect();

    let mut hosts = BTreeMap::new();
    let mut chains = chains;
    for (name, (settings, groups)) in effective {
        let groups = groups.into_iter().map(str::to_owned).collect();
        let via = chains.remove(name).unwrap_or_default();
        hosts.insert(name.to_owned(), host(name, settings, via, groups));
    }
    let groups = drafts.groups.iter().filter(|(name, _)| *name != ALL).map(|(name, draft)| {
        let hosts = members.get(name.as_str()).into_iter().flatten().map(|host| (*host).to_owned()).collect();
        let below: BTreeSet<String> = draft.groups.iter().map(|(child, _)| child.clone()).collect();
        (name.clone(), Group { hosts, groups: below.into_iter().collect() })
    });
    (hosts, groups.collect())
}

fn host(name: &str, settings: Settings, via: Vec<String>, groups: Vec<String>) -> Host {
    let endpoint = Endpoint {
        name: name.to_owned(),
        address: settings.address,
        port: settings.port,
        user: settings.user,
        identities: settings.identities.unwrap_or_default(),
        known_hosts: settings.known_hosts.unwrap_or_default(),
        transport: settings.transport.unwrap_or_default(),
        via_mode: settings.via_mode.unwrap_or_default(),
        installed: settings.installed,
        node_key: settings.node_key,
        dir: settings.dir,
        no_disk: settings.no_disk.unwrap_or(false),
        wall: settings.wall.unwrap_or_default(),
        connect_timeout_ms: settings.connect_timeout_ms,
    };
    Host { endpoint, via, allow: settings.allow.unwrap_or_default(), vars: settings.vars, groups }
}

/// Every group after all groups above it, with its depth: the longest way down from `all`. `None`, and a
/// problem that names the way round, when groups contain each other.
fn top_down<'a>(
    groups: &'a BTreeMap<String, GroupDraft>,
    report: &mut Report,
) -> Option<Vec<(&'a str, usize)>> {
    let children = |name: &str| {
        let draft = groups.get(name);
        let names = draft.into_iter().flat_map(|draft| draft.groups.iter().map(|(child, _)| child.as_str()));
        names.filter(|child| groups.contains_key(*child)).collect::<BTreeSet<&str>>()
    };
    let mut above: BTreeMap<&str, usize> = groups.keys().map(|name| (name.as_str(), 0)).collect();
    for child in groups.keys().flat_map(|name| children(name)) {
        above.entry(child).and_modify(|count| *count += 1);
    }
    let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ready: Vec<&str> =
        above.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    let mut order = Vec::new();
    while let Some(name) = ready.pop() {
        let depth = depths.get(name).copied().unwrap_or(0);
        order.push((name, depth));
        above.remove(name);
        for child in children(name) {
            let child_depth = depths.entry(child).or_insert(0);
            *child_depth = (*child_depth).max(depth + 1);
            if let Some(count) = above.get_mut(child) {
                *count -= 1;
                if *count == 0 {
                    ready.push(child);
                }
            }
        }
    }
    if above.is_empty() {
        return Some(order);
    }
    // Whoever is left is in a loop or below one. Going up from any of them ends in the loop.
    let start = *above.keys().next()?;
    let mut parents: BTreeMap<&str, &str> = BTreeMap::new();
    for name in above.keys() {
        parents.extend(children(name).into_iter().map(|child| (child, *name)));
    }
    let mut path = vec![start];
    let mut passed = BTreeSet::from([start]);
    let round = loop {
        let parent = path.last().and_then(|here| parents.get(here)).copied().unwrap_or(start);
        if !passed.insert(parent) {
            let at = path.iter().position(|name| *name == parent).unwrap_or(0);
            let mut round: Vec<&str> = path.split_off(at);
            round.reverse();
            break round;
        }
        path.push(parent);
    };
    let first = round.first().copied().unwrap_or(start);
    let more = if round.len() > SHOWN_MAX { &["..."][..] } else { &[] };
    let shown =
        round.iter().take(SHOWN_MAX).chain(more).chain([&first]).copied().collect::<Vec<_>>().join(" -> ");
    let at = groups.get(first).map(|group| group.at).unwrap_or_default();
    report.say(
        at,
        format!("the groups contain each other: {shown}"),
        "take one of them out of the `groups` of the other",
    );
    None
}

/// The hosts of each group and of all groups below it.
fn members<'a>(
    groups: &'a BTreeMap<String, GroupDraft>,
    order: &[(&'a str, usize)],
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, _) in order.iter().rev() {
        let Some(draft) = groups.get(*name) else { continue };
        let mut all: BTreeSet<&str> = draft.hosts.iter().map(String::as_str).collect();
        for (child, _) in &draft.groups {
            all.extend(members.get(child.as_str()).into_iter().flatten());
        }
        members.insert(name, all);
    }
    members
}

/// Each hop must be a host of the inventory, or an address that says more than a name.
fn check_hops(vias: &BTreeMap<&str, &Via>, drafts: &Drafts, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for via in vias.values() {
        for hop in &via.hops {
            if drafts.hosts.contains_key(hop) || !seen.insert((via.at, hop)) {
                continue;
            }
            let known = || drafts.hosts.keys().map(String::as_str);
            let outside = hop.strip_prefix("ssh://");
            match Address::parse(outside.unwrap_or(hop)) {
                _ if drafts.groups.contains_key(hop) => {
                    let message = format!("`via` names the group `{hop}`, expected one host");
                    report.say(via.at, message, "name the host to pass through");
                }
                Err(expected) => {
                    let Problem { code, message, hint } = expected.of(hop);
                    report.add(via.at, Problem { code, message: format!("`via`: {message}"), hint });
                }
                Ok(address) if outside.is_none() && address.is_bare() => {
                    let message = format!("`via` names `{hop}`, which is no host of this inventory");
                    let hint = match nearest(hop, known()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("define it, or write `ssh://{hop}` for a machine that ssh knows"),
                    };
                    report.say(via.at, message, hint);
                }
                Ok(_) => {}
            }
        }
    }
}

/// All hops before a host: its own, and before them those of the first, and so on.
fn chain(name: &str, vias: &BTreeMap<&str, &Via>, report: &mut Report) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    let mut walked = vec![name.to_owned()];
    let mut at = vias.get(name);
    let start = at.map(|via| via.at).unwrap_or_default();
    while let Some(via) = at {
        let Some(first) = via.hops.first() else { break };
        for hop in via.hops.iter().rev() {
            // Passing a host twice is a loop too, also within one list.
            if let Some(from) = walked.iter().position(|walked| walked == hop) {
                let round = walked.iter().skip(from).chain([hop]).map(String::as_str).collect::<Vec<_>>();
                let message = format!("the way to `{name}` goes round: {}", round.join(" via "));
                report.say(start, message, "look at the `via` of these hosts and of their groups");
                return Vec::new();
            }
            walked.push(hop.clone());
            chain.insert(0, hop.clone());
        }
        if chain.len() >= DEPTH_MAX {
            let message = format!(
                "`{name}` is behind {} hops or more, at most {} are supported",
                chain.len(),
                DEPTH_MAX - 1
            );
            report.say(start, message, "shorten the `via` of these hosts");
            return Vec::new();
        }
        at = vias.get(first.as_str());
    }
    chain
}
