use std::fmt;
use waft_sdk::Error;

/// A place that is asked by HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    pub is_tls: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// With the query; always begins with a slash.
    pub path: String,
}

fn wrong(text: &str, why: &str) -> Error {
    Error::new("params.url", format!("the address {text:?} {why}"))
}

impl Url {
    pub fn parse(text: &str) -> Result<Url, Error> {
        let at = text.find("://").ok_or_else(|| wrong(text, "has no scheme: expected http://HOST/PATH"))?;
        let scheme = text.get(..at).unwrap_or_default();
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong(text, "is neither http:// nor https://")),
        };
        if text.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return Err(wrong(
                text,
                "has spaces, control characters or letters that have to be written as %XX",
            ));
        }
        let rest = text.get(at + 3..).unwrap_or_default();
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(wrong("..@..", "has a user in it: give `url_username` and `url_password`"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => inner.split_once(']').ok_or_else(|| wrong(text, "has `[` without `]`"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| wrong(text, "has no port from 1 to 65535"))?,
            None => return Err(wrong(text, "has something else than a port behind the host")),
        };
        if host.is_empty() {
            return Err(wrong(text, "names no host"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { is_tls, host: host.to_ascii_lowercase(), port, path })
    }

    /// Where a `Location` leads from here.
    pub fn join(&self, to: &str) -> Result<Url, Error> {
        let to = to.trim();
        if let Some(rest) = to.strip_prefix("//") {
            let scheme = if self.is_tls { "https" } else { "http" };
            return Url::parse(&format!("{scheme}://{rest}"));
        }
        let scheme = to.find("://").filter(|at| !to.get(..*at).unwrap_or_default().contains(['/', '?', '#']));
        if scheme.is_some() {
            return Url::parse(to);
        }
        let own = self.path.split('?').next().unwrap_or_default();
        let path = if to.starts_with('/') {
            to.to_owned()
        } else if to.starts_with('?') {
            format!("{own}{to}")
        } else {
            let dir = own.rfind('/').and_then(|at| own.get(..=at)).unwrap_or("/");
            format!("{dir}{to}")
        };
        Url::parse(&format!("{}{}", self.origin(), resolved(&path)))
    }

    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// As `Host` has it.
    pub fn authority(&self) -> String {
        let host = self.bracketed_host();
        match (self.is_tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// As it stands before a port.
    pub fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// The same server, as far as an address can tell.
    pub fn is_of(&self, other: &Url) -> bool {
        self.host == other.host && self.port == other.port && self.is_tls == other.is_tls
    }

    fn origin(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

/// Without `.` and `..`.
fn resolved(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let ends = path.ends_with("/.") || path.ends_with("/..");
    format!("/{}{}{query}", parts.join("/"), if ends && !parts.is_empty() { "/" } else { "" })
}
