//! Names to addresses, as this node knows them.
//!
//! A static glibc resolves badly: it loads the target's NSS modules into a program that was linked with another libc, and
//! drags 600 kB along. So a node asks the target's own `getent ahosts NAME`, which honours nsswitch.conf with all that is
//! behind it (files, DNS, mDNS, sssd). Where there is no `getent`, it reads /etc/hosts and asks the name servers itself.
//!
//! What it may not do: keep an answer (whoever asks decides how long it holds), take longer than its limits, or leave a process.

mod client;
mod dns;
mod files;
mod getent;

#[cfg(test)]
pub(crate) mod tests;

use crate::program;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `getent` and what is behind it may take this long.
const GETENT_LIMIT: Duration = Duration::from_secs(5);
/// All questions to all name servers for one name may take this long.
const DNS_LIMIT: Duration = Duration::from_secs(10);
/// A name in the DNS, bytes.
const NAME_BYTES_MAX: usize = 253;
/// Addresses of one name; what comes after them is left out.
const ADDRESSES_MAX: usize = 16;
/// Where name servers listen.
const DNS_PORT: u16 = 53;

/// Where names are looked up.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// Not said: the target's own, if it has one.
    getent: Option<PathBuf>,
    getent_limit: Duration,
    hosts: PathBuf,
    servers: PathBuf,
    port: u16,
}

impl Resolver {
    /// As this machine does it.
    pub fn here() -> Resolver {
        Resolver {
            getent: None,
            getent_limit: GETENT_LIMIT,
            hosts: PathBuf::from("/etc/hosts"),
            servers: PathBuf::from("/etc/resolv.conf"),
            port: DNS_PORT,
        }
    }

    /// Without `getent`: these files, and name servers at this port.
    #[cfg(test)]
    pub(crate) fn of_files(hosts: &Path, servers: &Path, port: u16) -> Resolver {
        let getent = Some(PathBuf::from("/nothing"));
        Resolver { getent, hosts: hosts.to_owned(), servers: servers.to_owned(), port, ..Resolver::here() }
    }

    /// The addresses of a host, best first, at least one, with this port. The error ends the sentence "the name could not be
    /// resolved: ".
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        // `getent` would take a first `-` for an option.
        let odd = |byte: u8| byte <= b' ' || byte == 0x7f;
        if host.is_empty() || host.len() > NAME_BYTES_MAX || host.starts_with('-') || host.bytes().any(odd) {
            return Err("it is no name of a host".to_owned());
        }
        let getent = self.getent.clone().or_else(|| program::look_up("getent").map(PathBuf::from));
        let asked = match &getent {
            Some(getent) => getent::ask(getent, host, self.getent_limit).await,
            None => None,
        };
        let mut found = match asked {
            Some(answer) => answer?,
            None => self.without_getent(host).await?,
        };
        found.truncate(ADDRESSES_MAX);
        found.iter_mut().for_each(|address| address.set_port(port));
        Ok(found)
    }

    async fn without_getent(&self, host: &str) -> Result<Vec<SocketAddr>, String> {
        if let Some(address) = scoped(host) {
            return Ok(vec![address]);
        }
        let name = host.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let found = files::hosts(&self.hosts, name);
        if !found.is_empty() {
            return Ok(found);
        }
        // RFC 6761: these are never asked for.
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
                SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
            ]);
        }
        let servers = files::Servers::read(&self.servers);
        match tokio::time::timeout(DNS_LIMIT, client::look_up(&servers, self.port, host)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", DNS_LIMIT.as_secs())),
        }
    }
}

/// An address as files and programs write it: a link-local one may name its interface, `fe80::1%eth0`.
fn scoped(text: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse().ok().map(|address| SocketAddr::new(address, 0));
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let index = zone.parse().ok().or_else(|| {
        let plain = !zone.is_empty() && !zone.contains('/') && !zone.starts_with('.');
        let file = plain.then(|| Path::new("/sys/class/net").join(zone).join("ifindex"))?;
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    })?;
    Some(SocketAddr::V6(SocketAddrV6::new(address, 0, 0, index)))
}
