//! /etc/hosts and /etc/resolv.conf, as resolv.conf(5) and hosts(5) say. Lines that say nothing known are passed over.

use super::scoped;
use crate::facts::read_bounded;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Name servers, as in glibc; further ones are not asked.
const SERVERS_MAX: usize = 3;
/// Domains to search in, as in glibc before 2.26.
const SEARCH_MAX: usize = 6;
/// `options ndots:N`, as in glibc.
const DOTS_MAX: usize = 15;
/// `options timeout:N`, seconds: default and most.
const TIMEOUT_SECONDS: u64 = 5;
/// `options attempts:N`: default and most.
const ATTEMPTS: u32 = 2;
const ATTEMPTS_MAX: u32 = 5;

/// What /etc/hosts says of a name in lower case, in the order of its lines.
pub(super) fn hosts(file: &Path, name: &str) -> Vec<SocketAddr> {
    let text = read_bounded(file).unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = words(line);
        let Some(address) = words.next().and_then(scoped) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// Whom to ask, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Servers {
    /// With any port.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    /// A name with fewer dots is first looked for in the domains of `search`.
    pub(super) dots: usize,
    /// For one answer.
    pub(super) timeout: Duration,
    /// Rounds over all servers.
    pub(super) attempts: u32,
}

impl Servers {
    pub(super) fn read(file: &Path) -> Servers {
        let text = read_bounded(file).unwrap_or_default();
        let mut servers = Servers {
            addresses: Vec::new(),
            search: Vec::new(),
            dots: 1,
            timeout: Duration::from_secs(TIMEOUT_SECONDS),
            attempts: ATTEMPTS,
        };
        for line in text.lines() {
            let mut words = words(line);
            match words.next() {
                Some("nameserver") if servers.addresses.len() < SERVERS_MAX => {
                    servers.addresses.extend(words.next().and_then(scoped));
                }
                // The last line of them counts.
                Some("search" | "domain") => {
                    let plain = words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty());
                    servers.search = plain.take(SEARCH_MAX).map(str::to_owned).collect();
                }
                Some("options") => words.for_each(|word| servers.option(word)),
                _ => {}
            }
        }
        if servers.addresses.is_empty() {
            servers.addresses.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        }
        servers
    }

    fn option(&mut self, word: &str) {
        let Some((name, value)) = word.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.dots = usize::try_from(value).unwrap_or(DOTS_MAX).min(DOTS_MAX),
            "timeout" => self.timeout = Duration::from_secs(u64::from(value).clamp(1, TIMEOUT_SECONDS)),
            "attempts" => self.attempts = value.clamp(1, ATTEMPTS_MAX),
            _ => {}
        }
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace()
}
