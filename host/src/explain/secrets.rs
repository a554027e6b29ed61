//! Who could read each secret that a task would get: on the target, and on the way there.

use super::way::{Exposure, Group, Mode};
use super::{Explanation, Gets};
use crate::secret::{Declarations, END_TO_END};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Told {
    pub name: String,
    /// `text` or `bytes`.
    pub kind: &'static str,
    pub description: Option<String>,
    /// `end-to-end`, or nothing.
    pub require: Option<&'static str>,
    /// Empty when no host was asked about.
    pub places: Vec<Place>,
}

/// Targets on which the same could read it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Place {
    pub targets: Vec<String>,
    pub readers: Vec<Exposure>,
    /// Why it would not be sent there.
    pub refused: Option<String>,
}

/// `declared` is what manifest and inventory say of secrets, nearer first.
pub fn told(explanation: &Explanation, declared: &[&Declarations]) -> Vec<Told> {
    let rights = explanation.gets.iter().flat_map(|gets| &gets.rights);
    let mut names: Vec<&str> = rights.filter_map(|line| line.grant.strip_prefix("secret:")).collect();
    names.sort_unstable();
    names.dedup();
    let told = |name: &str| {
        let said = || declared.iter().filter_map(|declared| declared.get(name));
        let closed = said().any(|declared| declared.end_to_end);
        let groups = explanation.hosts.as_deref().unwrap_or_default();
        Told {
            name: name.to_owned(),
            kind: said().find_map(|declared| declared.kind).unwrap_or_default().word(),
            description: said().find_map(|declared| declared.description.clone()),
            require: closed.then_some(END_TO_END),
            places: groups.iter().filter_map(|group| place(explanation, group, name, closed)).collect(),
        }
    };
    names.into_iter().map(told).collect()
}

fn place(explanation: &Explanation, group: &Group, name: &str, closed: bool) -> Option<Place> {
    let grant = format!("secret:{name}");
    let gets = |target: &str| {
        explanation.gets.iter().any(|gets| {
            gets.targets.iter().any(|other| other == target)
                && gets.rights.iter().any(|line| line.grant == grant)
        })
    };
    let located = group.targets.iter().filter(|target| target.problem.is_none() && gets(&target.name));
    let targets: Vec<String> = located.map(|target| target.name.clone()).collect();
    let called = |gets: &&Gets| gets.targets.iter().any(|target| targets.contains(target));
    let called = explanation.gets.iter().filter(called).flat_map(|gets| &gets.calls);
    let called = called.filter(|call| call.rights.iter().any(|line| line.grant == grant));
    let called: BTreeSet<&str> = called.map(|call| call.name.as_str()).collect();
    let relays = || group.way.iter().filter(|hop| hop.mode == Mode::Relay).map(|hop| hop.name.clone());
    let reader = |who: String, what: &str| Exposure { who, what: what.to_owned() };
    let pinned = group.stub.pinned;
    let what = match (pinned, closed) {
        (false, _) => {
            "a relay reads it if it gives its own key for the target's, or starts another stub there"
        }
        (true, false) => {
            "a relay reads it only if it can do more there than start the installed stub, whose node key it then has too"
        }
        (true, true) => {
            "a relay reads it only if it can do more there than start the installed stub; a run is refused unless that \
             says that its policy is enforced"
        }
    };
    let mut readers: Vec<Exposure> = relays().map(|hop| reader(hop, what)).collect();
    // Who passes for a host has no node key.
    let unchecked =
        group.exposed_to.iter().filter(|exposure| !pinned && relays().all(|hop| hop != exposure.who));
    readers.extend(unchecked.cloned());
    let mut what = "root there, the account that is logged in to, and the task".to_owned();
    if !called.is_empty() {
        let names: Vec<&str> = called.into_iter().collect();
        what = format!("{what} with those that it may call and that get it: {}", names.join(", "));
    }
    readers.push(reader("the target".to_owned(), &what));
    let refused = relays().next_back().filter(|_| closed && !pinned).map(|hop| {
        format!("it requires {END_TO_END}, and {hop} could read it: a run is refused before anything is sent")
    });
    (!targets.is_empty()).then_some(Place { targets, readers, refused })
}
