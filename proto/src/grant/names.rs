//! Paths, addresses, hashes and names in grants.

use super::words::{self, is_hidden};
use super::{Access, Wanted};
use crate::id::Hash;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A path, bytes: what a grant of the largest size can hold beside its own words, whatever is printed of it.
const PATH_BYTES_MAX: usize = 4000;
/// A name in the DNS, bytes.
const HOST_BYTES_MAX: usize = 253;
/// A part of it, bytes.
const LABEL_BYTES_MAX: usize = 63;

/// Where a task may connect to: a host as the task names it, and one port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// A name in lower case, or an address as `core::net` prints it, without brackets.
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// As a task names it: in any case, an address in any of its forms. What no grant can name equals none.
    pub fn named(host: &str, port: u16) -> Endpoint {
        let host = match host.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => host.to_ascii_lowercase(),
        };
        Endpoint { host, port }
    }

    pub(super) fn read(text: &str) -> Result<Endpoint, Wanted> {
        let (host, port) = match text.strip_prefix('[') {
            Some(inside) => {
                let split = inside.split_once("]:");
                let (host, port) = split.ok_or_else(|| {
                    Wanted::new("`]:` and a port after the address").hint("for example `net:[::1]:443`")
                })?;
                let address = host.parse::<Ipv6Addr>();
                let address = address.map_err(|_| {
                    Wanted::new("an IPv6 address in the brackets").hint("for example `net:[::1]:443`")
                })?;
                (address.to_string(), port)
            }
            None => {
                let split = text.rsplit_once(':');
                let (host, port) = split.ok_or_else(|| {
                    Wanted::new("a colon and a port after the host")
                        .hint("for example `net:db.internal:5432`")
                })?;
                if host.contains(':') {
                    return Err(
                        Wanted::new("an IPv6 address in brackets").hint("for example `net:[::1]:443`")
                    );
                }
                (host_name(host)?, port)
            }
        };
        let number = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok()).flatten();
        match number {
            Some(port) if port != 0 => Ok(Endpoint { host, port }),
            _ => Err(Wanted::new("a port from 1 to 65535 after the last colon")
                .hint("give one grant for each port")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn host_name(host: &str) -> Result<String, Wanted> {
    if host.contains('*') {
        return Err(Wanted::new("one host, not a pattern").hint("give one grant for each host"));
    }
    // 010.1.2.3 and 127.1 mean other things to other programs.
    let numeric = !host.is_empty() && host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if numeric {
        let address = host.parse::<Ipv4Addr>();
        return address.map(|address| address.to_string()).map_err(|_| {
            Wanted::new("an IPv4 address of four numbers").hint("for example `net:10.0.0.5:443`")
        });
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if host.len() > HOST_BYTES_MAX || !host.split('.').all(label) {
        return Err(
            Wanted::new("the name of a host or an address").hint("for example `net:db.internal:5432`")
        );
    }
    Ok(host.to_ascii_lowercase())
}

/// `PATH[:ro|:rw]`; the path may be a JSON string.
pub(super) fn directory(text: &str) -> Result<(String, Access), Wanted> {
    let (path, rest) = words::take(text, &[':'])?;
    let plain = !text.starts_with('"');
    let access = match rest {
        "" | ":ro" => Access::ReadOnly,
        ":rw" => Access::ReadWrite,
        _ => {
            return Err(Wanted::new("`:ro` or `:rw` after the path, or the end")
                .hint("a path with a colon is written as a JSON string: fs:\"/a:b\":ro"));
        }
    };
    if plain && path.contains(' ') {
        return Err(Wanted::new("a path with spaces to be a JSON string")
            .hint(format!("write fs:\"{path}\":{}", access.word())));
    }
    if plain && path.contains(['*', '?', '[']) {
        return Err(Wanted::new("one directory, not a pattern")
            .hint("grant the directory above, or write a name that has such characters as a JSON string"));
    }
    normalised(&path).map(|()| (path, access))
}

/// Whether a path is absolute and says where it ends without being walked.
pub(super) fn normalised(path: &str) -> Result<(), Wanted> {
    let Some(below) = path.strip_prefix('/') else {
        return Err(
            Wanted::new("an absolute path").hint("begin it with `/`; `~` and variables are not expanded")
        );
    };
    if path.len() > PATH_BYTES_MAX {
        return Err(Wanted::new(format!("a path of at most {PATH_BYTES_MAX} bytes")));
    }
    if below.is_empty() {
        return Ok(());
    }
    if below.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(Wanted::new("a normalised path: no `.`, `..`, `//` or `/` at the end")
            .hint("write the path as `realpath` prints it"));
    }
    Ok(())
}

/// Whether `inner` is `outer` or below it.
pub(super) fn holds(outer: &str, inner: &str) -> bool {
    match inner.strip_prefix(outer) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || outer == "/",
        None => false,
    }
}

pub(super) fn write_path(f: &mut fmt::Formatter<'_>, path: &str) -> fmt::Result {
    if path.contains(['*', '?', '[']) { words::write_json(f, path) } else { words::write_word(f, path) }
}

/// The name of an environment variable that a program may be given.
pub(super) fn variable(text: &str) -> Result<String, Wanted> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.bytes().all(word) {
        return Err(
            Wanted::new("the name of a variable: letters, digits and `_`").hint("for example `env:TZ`")
        );
    }
    if text.starts_with("LD_") {
        // These make the loader run other code than the program that was granted.
        return Err(Wanted::new("no variable of the dynamic loader").hint("LD_* is never passed on"));
    }
    Ok(text.into())
}

/// The name of a secret or a task.
pub(super) fn name(text: &str, what: &str) -> Result<String, Wanted> {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/' | b'@');
    if text.is_empty() || text.starts_with('-') || !text.bytes().all(word) || text.chars().any(is_hidden) {
        return Err(Wanted::new(format!("{what}: letters, digits and `_` `-` `.` `/` `@`")));
    }
    Ok(text.into())
}

pub(super) fn hash(text: &str) -> Result<Hash, Wanted> {
    let wanted = || Wanted::new("a blake3 hash of 64 hex digits after `blob:`");
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wanted());
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        let digits = text.get(2 * at..2 * at + 2).ok_or_else(wanted)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wanted())?;
    }
    Ok(Hash(hash))
}
