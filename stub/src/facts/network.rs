//! Interfaces and addresses, from /proc/net and /sys alone. Nothing is sent.

use super::{Facts, Machine};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) fn gather(machine: &Machine, facts: &mut Facts) {
    facts.put_list("interfaces", machine.names("/sys/class/net").iter().map(|name| super::cut(name)));

    let ipv4 = local_ipv4(&machine.read("/proc/net/fib_trie").unwrap_or_default());
    let routes = routes_ipv4(&machine.read("/proc/net/route").unwrap_or_default());
    facts.put_list("all_ipv4_addresses", ipv4.iter().map(Ipv4Addr::to_string));
    facts.put("default_ipv4", default_ipv4(machine, &ipv4, &routes));

    let ipv6 = addresses_ipv6(&machine.read("/proc/net/if_inet6").unwrap_or_default());
    let gateway = default_route_ipv6(&machine.read("/proc/net/ipv6_route").unwrap_or_default());
    facts.put_list("all_ipv6_addresses", ipv6.iter().map(|(address, _)| address.to_string()));
    facts.put("default_ipv6", gateway.and_then(|route| default_ipv6(machine, &ipv6, &route)));
}

/// The machine's own IPv4 addresses without loopback, each once.
///
/// The trie lists a leaf `|-- ADDRESS` and below it what the address is for; own ones are `/32 host LOCAL`.
fn local_ipv4(trie: &str) -> Vec<Ipv4Addr> {
    let mut leaf: Option<Ipv4Addr> = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.trim().parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = leaf
            && !address.is_loopback()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

struct Route4 {
    interface: String,
    destination: u32,
    gateway: u32,
    metric: u32,
    mask: u32,
}

impl Route4 {
    fn is_default(&self) -> bool {
        self.destination == 0 && self.mask == 0
    }
}

fn routes_ipv4(table: &str) -> Vec<Route4> {
    // The kernel prints the bytes of memory, which are in network order, as a number of this machine.
    let hex = |word: &str| Some(u32::from_be_bytes(u32::from_str_radix(word, 16).ok()?.to_ne_bytes()));
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Some(Route4 {
                interface: (*words.first()?).to_owned(),
                destination: hex(words.get(1)?)?,
                gateway: hex(words.get(2)?)?,
                metric: words.get(6)?.parse().ok()?,
                mask: hex(words.get(7)?)?,
            })
        })
        .collect()
}

/// The default route with the lowest metric, and the own address in a network of its interface.
fn default_ipv4(machine: &Machine, own: &[Ipv4Addr], routes: &[Route4]) -> Option<Value> {
    let default = routes.iter().filter(|route| route.is_default()).min_by_key(|route| route.metric)?;
    let network = |address: &Ipv4Addr| {
        let address = u32::from(*address);
        routes
            .iter()
            .filter(|route| !route.is_default() && route.gateway == 0 && route.interface == default.interface)
            .find(|route| address & route.mask == route.destination)
    };
    let mut value = json!({"interface": default.interface});
    let fields = value.as_object_mut()?;
    if default.gateway != 0 {
        fields.insert("gateway".into(), Ipv4Addr::from(default.gateway).to_string().into());
    }
    if let Some((address, route)) = own.iter().find_map(|address| Some((address, network(address)?))) {
        fields.insert("address".into(), address.to_string().into());
        fields.insert("netmask".into(), Ipv4Addr::from(route.mask).to_string().into());
        fields.insert("network".into(), Ipv4Addr::from(route.destination).to_string().into());
    }
    link(machine, &default.interface, fields);
    Some(value)
}

/// Own IPv6 addresses without loopback, each with its interface.
fn addresses_ipv6(table: &str) -> Vec<(Ipv6Addr, String)> {
    table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let address = ipv6(words.first()?)?;
            Some((address, (*words.get(5)?).to_owned()))
        })
        .filter(|(address, _)| !address.is_loopback())
        .collect()
}

/// 32 hexadecimal digits without colons.
fn ipv6(digits: &str) -> Option<Ipv6Addr> {
    (digits.len() == 32).then(|| u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from)).flatten()
}

struct Route6 {
    interface: String,
    gateway: Ipv6Addr,
    metric: u32,
}

fn default_route_ipv6(table: &str) -> Option<Route6> {
    table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let to_everything = ipv6(words.first()?)?.is_unspecified() && *words.get(1)? == "00";
            let interface = *words.get(9)?;
            // The kernel's own "unreachable" entry is a default route by `lo`.
            (to_everything && interface != "lo").then_some(Route6 {
                interface: interface.to_owned(),
                gateway: ipv6(words.get(4)?)?,
                metric: u32::from_str_radix(words.get(5)?, 16).ok()?,
            })
        })
        .min_by_key(|route| route.metric)
}

fn default_ipv6(machine: &Machine, own: &[(Ipv6Addr, String)], route: &Route6) -> Option<Value> {
    let mut value = json!({"interface": route.interface});
    let fields = value.as_object_mut()?;
    if !route.gateway.is_unspecified() {
        fields.insert("gateway".into(), route.gateway.to_string().into());
    }
    let global = own.iter().find(|(address, at)| *at == route.interface && !address.is_unicast_link_local());
    if let Some((address, _)) = global {
        fields.insert("address".into(), address.to_string().into());
    }
    link(machine, &route.interface, fields);
    Some(value)
}

/// What both families say of an interface.
fn link(machine: &Machine, interface: &str, fields: &mut serde_json::Map<String, Value>) {
    // A name comes from the kernel, yet it becomes part of a path here.
    if interface.contains('/') || interface.starts_with('.') {
        return;
    }
    if let Some(mac) = machine.line(&format!("/sys/class/net/{interface}/address")) {
        fields.insert("macaddress".into(), mac.into());
    }
    let mtu = machine.line(&format!("/sys/class/net/{interface}/mtu"));
    if let Some(mtu) = mtu.and_then(|line| line.parse::<u32>().ok()) {
        fields.insert("mtu".into(), mtu.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_the_local_leaves() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.0.2.2\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\nLocal:\n     |-- 192.0.2.2\n        /32 host LOCAL\n";
        assert_eq!(local_ipv4(trie), [Ipv4Addr::new(192, 0, 2, 2)]);
    }

    #[test]
    fn the_default_route_is_the_cheapest_that_leaves_the_machine() {
        let zero = "00000000000000000000000000000000";
        let gateway = "fe800000000000000000000000000001";
        let table = format!(
            "{zero} 00 {zero} 00 {gateway} 00000400 1 0 3 eth1\n{zero} 00 {zero} 00 {gateway} 00000100 1 0 3 eth0\n{zero} 00 {zero} 00 {zero} 00000001 1 0 3 lo\n"
        );
        let route = default_route_ipv6(&table).unwrap();
        assert_eq!((route.interface.as_str(), route.metric), ("eth0", 0x100));
        assert_eq!(route.gateway.to_string(), "fe80::1");
    }

    #[test]
    fn broken_tables_say_nothing() {
        for table in ["", "x", "Iface\neth0 zz", "eth0 1 2 3\n\n"] {
            assert!(routes_ipv4(table).is_empty());
            assert!(addresses_ipv6(table).is_empty());
            assert!(default_route_ipv6(table).is_none());
            assert!(local_ipv4(table).is_empty());
        }
        assert!(ipv6("é000000000000000000000000000000").is_none());
    }
}
