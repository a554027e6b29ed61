//! HTTP/1.1 over the connections that the host opens: one request, one response, redirects where the host lets them.

mod reply;
mod statuses;
mod url;

pub use reply::{Body, Reply};
pub use statuses::Statuses;
pub use url::Url;

use std::io::{self, Read, Write};
use waft_sdk::Error;

/// Redirects that are followed, one after the other.
const REDIRECTS_MAX: u32 = 10;

/// Headers that are sent wherever a redirect leads.
const FOR_ALL: &[&str] =
    &["accept", "accept-charset", "accept-encoding", "accept-language", "content-type", "user-agent"];

/// Which redirects are followed, as Ansible says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    None,
    /// Those of GET and HEAD.
    Safe,
    All,
}

impl Follow {
    pub fn parse(word: Option<&str>) -> Result<Follow, Error> {
        match word.unwrap_or("safe") {
            "none" | "no" | "false" => Ok(Follow::None),
            "safe" => Ok(Follow::Safe),
            "all" | "yes" | "true" => Ok(Follow::All),
            other => {
                let text = format!("`follow_redirects` is `{other}`: expected none, safe or all");
                Err(Error::new("params.follow_redirects", text))
            }
        }
    }
}

pub struct Request<'a> {
    pub method: &'a str,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: &'a [u8],
    pub follow: Follow,
    /// For connecting, and for each time that nothing comes, milliseconds.
    pub limit_ms: u32,
}

impl Request<'_> {
    /// Asks, and follows. `open` makes the connection to the server of an address.
    pub fn send_by<C: Read + Write>(
        &self,
        open: impl Fn(&Url) -> Result<C, Error>,
    ) -> Result<Reply<C>, Error> {
        let (mut url, mut method, mut body) = (self.url.clone(), self.method, self.body);
        let mut redirected = 0;
        loop {
            let mut connection = open(&url)?;
            let head = self.head(method, &url, body, url.is_of(&self.url));
            let asked = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body));
            // A server that answers before it has read all is heard; one that is gone says so below.
            let unsent = asked.err();
            let mut reply = match reply::read(connection, method == "HEAD", url.clone()) {
                Err(error) => return Err(unsent.map_or(error, |why| broken(&url, &why))),
                Ok(reply) => reply,
            };
            let follows = match self.follow {
                Follow::None => false,
                Follow::Safe => matches!(method, "GET" | "HEAD"),
                Follow::All => true,
            };
            let next = match reply.status {
                301 | 302 | 303 | 307 | 308 if follows => reply.header("location").map(|to| url.join(to)),
                _ => None,
            };
            let Some(next) = next else {
                reply.redirected = redirected > 0;
                return Ok(reply);
            };
            if redirected == REDIRECTS_MAX {
                let text =
                    format!("{} leads from one place to the next, more than {REDIRECTS_MAX} times", self.url);
                return Err(Error::new("http.redirects", text));
            }
            redirected += 1;
            // As browsers do: what was sent once is not sent to another place, unless the server insists.
            if reply.status == 303 && method != "HEAD"
                || matches!(reply.status, 301 | 302) && method == "POST"
            {
                (method, body) = ("GET", &[]);
            }
            url = next?;
        }
    }

    fn head(&self, method: &str, url: &Url, body: &[u8], to_own: bool) -> String {
        // A server of several names is asked for that one; another, where a redirect leads, for its own.
        let host = self.headers.iter().find(|(name, _)| to_own && name.eq_ignore_ascii_case("host"));
        let host = host.map_or_else(|| url.authority(), |(_, value)| value.clone());
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: {host}\r\n", url.path);
        let given = |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        for (name, value) in &self.headers {
            let known = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
            // Those say how a message ends. Of the others most are meant for whom the operator named: a token has many names.
            if known(&["host", "connection", "content-length", "transfer-encoding"])
                || (!to_own && !known(FOR_ALL))
            {
                continue;
            }
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !given("user-agent") {
            head.push_str("User-Agent: waft\r\n");
        }
        if !given("accept") {
            head.push_str("Accept: */*\r\n");
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("Connection: close\r\n\r\n");
        head
    }
}

/// The parts of headers are one line each, or somebody else's headers could follow.
pub fn check_header(name: &str, value: &str) -> Result<(), Error> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) || value.bytes().any(|byte| byte < b' ' && byte != b'\t') {
        let text = format!("`headers` has {name:?}, which cannot be sent with that value");
        return Err(Error::new("params.headers", text));
    }
    Ok(())
}

/// `Basic` and the two in base64.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", crate::base64(format!("{user}:{password}").as_bytes()))
}

fn broken(url: &Url, why: &io::Error) -> Error {
    // What the host said of it is in there, with its code.
    let said = why.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    // That names whom it is about, and what to do.
    if let Some(said) = said.filter(|said| said.code.starts_with("tls.")) {
        return said.clone();
    }
    let code = said.map_or("http.connection", |said| said.code.as_str());
    Error::new(code, format!("the connection to {} failed: {why}", url.authority()))
}

#[cfg(test)]
mod tests;
