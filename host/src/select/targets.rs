//! From what was selected to what the tree is made of: how to reach each machine, and behind which hops.

use super::{LOCAL, Machine, Selected, one};
use crate::inventory::{Host, Inventory};
use crate::tree::{Endpoint, Target, Transport};
use waft_proto::run::Problem;

/// One target for each selected machine. `via` (from `--via`, nearest to the controller first) replaces the
/// inventory's. A machine that is itself one of the hops is reached through those before it.
pub fn targets<S: AsRef<str>>(
    selected: &[Selected],
    inventory: Option<&Inventory>,
    via: &[S],
) -> Result<Vec<Target>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut hops = |texts: &mut dyn Iterator<Item = &str>| -> Vec<Endpoint> {
        let mut hops = Vec::new();
        for text in texts {
            match one(text, inventory) {
                Ok(hop) => hops.push(endpoint(&hop, inventory)),
                Err(problem) => problems.push(problem),
            }
        }
        hops
    };
    let forced = hops(&mut via.iter().map(AsRef::as_ref));
    let mut targets = Vec::with_capacity(selected.len());
    for selected in selected {
        let host = host(selected, inventory);
        let via = if via.is_empty() {
            host.map(|host| hops(&mut host.via.iter().map(String::as_str))).unwrap_or_default()
        } else {
            forced.iter().take_while(|hop| hop.name != selected.name).cloned().collect()
        };
        let allow = host.map(|host| host.allow.clone()).unwrap_or_default();
        targets.push(Target { endpoint: endpoint(selected, inventory), via, allow });
    }
    if problems.is_empty() { Ok(targets) } else { Err(problems) }
}

fn host<'a>(selected: &Selected, inventory: Option<&'a Inventory>) -> Option<&'a Host> {
    match &selected.machine {
        Machine::Inventory(name) => inventory?.hosts.get(name),
        Machine::Address(_) | Machine::Local => None,
    }
}

fn endpoint(selected: &Selected, inventory: Option<&Inventory>) -> Endpoint {
    let mut endpoint = match (&selected.machine, host(selected, inventory)) {
        (_, Some(host)) => host.endpoint.clone(),
        (Machine::Local, None) => Endpoint { transport: Transport::Local, ..Endpoint::named(LOCAL) },
        (Machine::Address(host) | Machine::Inventory(host), None) => {
            Endpoint { address: Some(host.clone()), ..Endpoint::default() }
        }
    };
    // ssh's own configuration goes by the host's name, which a target with another login does not bear.
    if endpoint.address.is_none() && endpoint.name != selected.name {
        endpoint.address = Some(endpoint.name.clone());
    }
    endpoint.name.clone_from(&selected.name);
    if selected.user.is_some() {
        endpoint.user.clone_from(&selected.user);
    }
    endpoint.port = selected.port.or(endpoint.port);
    endpoint
}
