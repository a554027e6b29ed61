//! `user@host:port` and `[v6]:port`.

use super::{Machine, Selected};
use std::fmt;
use std::net::Ipv6Addr;
use waft_proto::run::Problem;

/// A machine as a user writes it, without `ssh://`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    pub user: Option<String>,
    /// Without brackets.
    pub host: String,
    pub port: Option<u16>,
}

/// What was expected where something else stood, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected(&'static str, &'static str);

impl Expected {
    pub fn of(self, text: &str) -> Problem {
        let shown = text.escape_debug();
        Problem::new("select.address", format!("`{shown}` is no address: expected {}", self.0)).hint(self.1)
    }
}

impl Address {
    pub fn parse(text: &str) -> Result<Address, Expected> {
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        if user.is_some_and(|user| user.is_empty() || user.starts_with('-') || user.chars().any(is_odd)) {
            return Err(Expected("the name of a user before `@`", "write `user@host`"));
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(inside) => {
                let bracket =
                    Expected("an IPv6 address in the brackets", "write `[fe80::1]` or `[fe80::1]:22`");
                let (host, after) = inside.split_once(']').ok_or_else(|| bracket.clone())?;
                let (number, zone) = host.split_once('%').unwrap_or((host, "eth0"));
                if number.parse::<Ipv6Addr>().is_err() || zone.is_empty() || !zone.chars().all(is_plain) {
                    return Err(bracket);
                }
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(Expected("`:` and a port after the bracket", "write `[fe80::1]:22`")),
                }
            }
            None => {
                let (host, port) = match rest.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (rest, None),
                };
                if port.is_some_and(|port| port.contains(':')) {
                    return Err(Expected(
                        "an IPv6 address in brackets",
                        "write `[fe80::1]` or `[fe80::1]:22`",
                    ));
                }
                if !is_host_name(host) {
                    return Err(Expected(
                        "a host name of letters, digits, `.`, `-` and `_`",
                        "write `host`, `user@host:port` or `[v6]:port`",
                    ));
                }
                (host, port)
            }
        };
        let port = match port {
            None => None,
            Some(text) => {
                let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
                let port = number.filter(|port| *port != 0);
                Some(port.ok_or(Expected("a port from 1 to 65535 after the colon", "write `host:22`"))?)
            }
        };
        Ok(Address { user: user.map(str::to_owned), host: host.to_owned(), port })
    }

    /// Only a name, which an inventory would have to know.
    pub fn is_bare(&self) -> bool {
        self.user.is_none() && self.port.is_none() && !self.host.contains(':')
    }

    pub(super) fn selected(&self) -> Selected {
        Selected {
            name: self.to_string(),
            machine: Machine::Address(self.host.clone()),
            user: self.user.clone(),
            port: self.port,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A name that can be given to ssh, stand in a selector, and be printed.
pub fn is_host_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_')
}

fn is_odd(c: char) -> bool {
    c.is_control() || c.is_whitespace()
}
