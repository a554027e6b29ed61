//! `waft inventory`: what is in it, after groups, defaults and selectors were worked out.

use super::args::{Inventory, InventoryArgs};
use super::{Done, print, targets};
use crate::report::json;
use serde_json::{Value, json};
use waft_proto::run::Problem;

pub(super) async fn inventory(command: Inventory) -> Done {
    match command {
        Inventory::List(args) => list(args),
        Inventory::Show(args) => show(args),
    }
}

fn everything(mut args: InventoryArgs) -> Result<InventoryArgs, Problem> {
    if args.targets.inventory.is_none() {
        return Err(Problem::new("usage.inventory", "there is no inventory to look into")
            .hint("name one: `waft inventory list -i hosts.toml` (or WAFT_INVENTORY)"));
    }
    if args.targets.target.is_empty() {
        args.targets.target.push("all".to_owned());
    }
    Ok(args)
}

fn list(args: InventoryArgs) -> Done {
    let targets = targets::resolve(&everything(args)?.targets)?;
    let or_dash =
        |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = targets
        .iter()
        .map(|resolved| {
            let endpoint = &resolved.target.endpoint;
            let via: Vec<&str> = resolved.target.via.iter().map(|hop| hop.name.as_str()).collect();
            let groups = resolved.host.as_ref().map(|host| host.groups.join(", "));
            vec![
                endpoint.name.clone(),
                or_dash(endpoint.address.clone()),
                or_dash(endpoint.port.map(|port| port.to_string())),
                or_dash(endpoint.user.clone()),
                or_dash(Some(via.join(" > "))),
                or_dash(groups),
            ]
        })
        .collect();
    print::table(&["host", "address", "port", "user", "via", "groups"], &rows)?;
    Ok(0)
}

fn show(args: InventoryArgs) -> Done {
    let targets = targets::resolve(&everything(args)?.targets)?;
    let all: Vec<Value> = targets
        .iter()
        .map(|resolved| {
            let endpoint = &resolved.target.endpoint;
            json!({
                "name": endpoint.name,
                "address": endpoint.address,
                "port": endpoint.port,
                "user": endpoint.user,
                "identity": endpoint.identities,
                "known_hosts": endpoint.known_hosts,
                "via": resolved.target.via.iter().map(|hop| hop.name.as_str()).collect::<Vec<_>>(),
                "groups": resolved.host.as_ref().map(|host| host.groups.clone()).unwrap_or_default(),
                "vars": resolved.host.as_ref().map(|host| host.vars.clone()).unwrap_or_default(),
                "allow": resolved.target.allow,
                "installed": endpoint.installed,
                "node_key": endpoint.node_key.as_ref().map(waft_policy::site::key_text),
                "dir": endpoint.dir,
                "no_disk": endpoint.no_disk,
                "wall": endpoint.wall.word(),
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&all).unwrap_or_default();
    print::out(&format!("{}\n", json::without_hostile(text)))?;
    Ok(0)
}
