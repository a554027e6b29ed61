//! Connections of a task, held by the stub: a worker has no sockets and names only handles.
//!
//! A name is resolved once per execution, by the node, and only when a grant names it; connections go to what was found
//! then and nowhere else, so that a name cannot be pointed elsewhere between the look and the leap. One [`Net`] per
//! execution: its handles mean nothing to another, and with it all its connections are closed.
//!
//! What it may not do: read ahead, buffer, or speak TLS. Those are the task's.

mod address;
mod connect;
mod request;

#[cfg(test)]
mod tests;

use crate::resolve::Resolver;
pub use request::subject;

use request::Request;
use rustix::net::Shutdown;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use waft_proto::grant::{Endpoint, GrantSet};
use waft_proto::run::Problem;

/// Connections of one execution that are open at a time.
pub const CONNECTIONS_MAX: usize = 16;
/// From the request until the connection stands, when the task says nothing.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What a task may ask for instead.
pub const CONNECT_LIMIT_MAX: Duration = Duration::from_secs(60);
/// What one read returns at most, bytes.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// The connections of one execution. Dropped, all are closed.
#[derive(Debug)]
pub struct Net {
    grants: GrantSet,
    resolver: Resolver,
    /// What the node calls itself.
    node: String,
    /// What names stand for in this execution. No more entries than grants.
    resolved: BTreeMap<String, Vec<SocketAddr>>,
    open: BTreeMap<u32, Connection>,
    /// Handles are not used twice: a stale one hits nothing.
    issued: u32,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// As the grant names it, for messages.
    endpoint: Endpoint,
    /// How long a read or write waits.
    idle: Option<Duration>,
}

/// Who asks, for messages.
#[derive(Clone, Copy)]
struct Who<'a> {
    task: &'a str,
    target: &'a str,
}

impl Net {
    /// For an execution that may do what these grants say.
    pub fn new(grants: &GrantSet) -> Net {
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Net::with(grants, Resolver::here(), node)
    }

    fn with(grants: &GrantSet, resolver: Resolver, node: String) -> Net {
        let (resolved, open) = (BTreeMap::new(), BTreeMap::new());
        Net { grants: grants.clone(), resolver, node, resolved, open, issued: 0 }
    }

    /// Answers a request of `task` on `target`.
    pub async fn call(&mut self, request: &[u8], task: &str, target: &str) -> Result<String, Problem> {
        let who = Who { task, target };
        match Request::parse(request)? {
            Request::Open { host, port, limit, idle } => self.open(who, &host, port, limit, idle).await,
            Request::Resolve { host } => self.addresses(who, &host).await,
            Request::Shutdown { handle } => {
                let connection = self.connection(handle)?;
                rustix::net::shutdown(&connection.stream, Shutdown::Write)
                    .map_err(|error| ended(&connection.endpoint, &error.into()))?;
                Ok("{}".to_owned())
            }
            Request::Close { handle } => {
                self.open.remove(&handle).map(|_| "{}".to_owned()).ok_or_else(|| unknown(handle))
            }
        }
    }

    async fn open(
        &mut self,
        who: Who<'_>,
        host: &str,
        port: u16,
        limit: Duration,
        idle: Option<Duration>,
    ) -> Result<String, Problem> {
        let endpoint = self.grants.check_net(host, port)?.clone();
        if self.open.len() >= CONNECTIONS_MAX {
            let text = format!(
                "`{}` has {CONNECTIONS_MAX} connections on `{}`, which is the most: none to {endpoint}",
                who.task, who.target
            );
            return Err(Problem::new("net.many", text).hint("close those that are not needed any more"));
        }
        let deadline = Instant::now() + limit;
        let found = timeout_at(deadline, self.resolve(who, &endpoint.host)).await.unwrap_or_else(|_| {
            let text = format!(
                "the name {} was not resolved on `{}` within {} ms",
                endpoint.host,
                who.target,
                limit.as_millis()
            );
            Err(Problem::new("net.timeout", text).hint("`timeout_ms` gives it longer"))
        })?;
        let stream = connect::first(who, &endpoint, &found, deadline).await?;
        let address = stream.peer_addr().map_err(|error| ended(&endpoint, &error))?;
        // Most tools lose 42 ms a step to Nagle's algorithm against delayed acknowledgements.
        stream.set_nodelay(true).map_err(|error| ended(&endpoint, &error))?;
        // As the guest knows numbers: signed, of 32 bits.
        let handle = self.issued + 1;
        if i32::try_from(handle).is_err() {
            return Err(Problem::new("net.many", "this execution has used up all numbers of connections"));
        }
        self.issued = handle;
        self.open.insert(handle, Connection { stream, endpoint, idle });
        Ok(json!({"handle": handle, "address": address.to_string()}).to_string())
    }

    async fn addresses(&mut self, who: Who<'_>, host: &str) -> Result<String, Problem> {
        let wanted = Endpoint::named(host, 0).host;
        if !self.grants.endpoints().any(|endpoint| endpoint.host == wanted) {
            let text = format!("the name {wanted:?} may not be resolved: no grant `net:` names it");
            return Err(Problem::new("grant.missing", text)
                .hint("grant what it is resolved for: --allow net:HOST:PORT"));
        }
        let found = self.resolve(who, &wanted).await?;
        let texts: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
        Ok(json!({"addresses": texts}).to_string())
    }

    /// What a host of a grant stands for in this execution, with any port.
    async fn resolve(&mut self, who: Who<'_>, host: &str) -> Result<Vec<SocketAddr>, Problem> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, 0)]);
        }
        if !self.resolved.contains_key(host) {
            let found = self.resolver.resolve(host, 0).await.map_err(|why| {
                let text = format!("the name {host} could not be resolved on `{}`: {why}", who.target);
                Problem::new("net.resolve", text)
                    .hint("it is resolved by the target, as its own programs do it")
            })?;
            self.resolved.insert(host.to_owned(), found);
        }
        let found = self.resolved.get(host).map(Vec::as_slice).unwrap_or_default();
        let own = address::is_own(host, &self.node);
        let good: Vec<SocketAddr> =
            found.iter().filter(|address| address::refused(address.ip(), own).is_none()).copied().collect();
        if !good.is_empty() {
            return Ok(good);
        }
        let mut text = format!(
            "the name {host} stands on `{}` only for addresses that a name may not stand for:",
            who.target
        );
        for address in found {
            let ip = address.ip();
            text.push_str(&format!(" {ip} ({})", address::refused(ip, own).unwrap_or_default()));
        }
        Err(Problem::new("net.address", text)
            .hint("if it is meant, grant the address itself: --allow net:ADDRESS:PORT"))
    }

    fn connection(&self, handle: u32) -> Result<&Connection, Problem> {
        self.open.get(&handle).ok_or_else(|| unknown(handle))
    }

    /// At most `limit` bytes, and at most [`READ_BYTES_MAX`]; none at the end. Given up, it has read nothing.
    pub async fn read(&mut self, handle: u32, limit: usize) -> Result<Vec<u8>, Problem> {
        let Connection { stream, endpoint, idle } = self.connection(handle)?;
        if limit == 0 {
            return Err(Problem::new("net.request", format!("a read of no bytes from {endpoint}")));
        }
        // First: a connection that is only open takes no memory.
        loop {
            ready(stream.readable(), *idle, endpoint).await?;
            let mut bytes = vec![0; limit.min(READ_BYTES_MAX)];
            match stream.try_read(&mut bytes) {
                Ok(read) => {
                    bytes.truncate(read);
                    return Ok(bytes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(ended(endpoint, &error)),
            }
        }
    }

    /// How many bytes were taken, at least one. Given up, it has written nothing.
    pub async fn write(&mut self, handle: u32, bytes: &[u8]) -> Result<usize, Problem> {
        let Connection { stream, endpoint, idle } = self.connection(handle)?;
        if bytes.is_empty() {
            return Err(Problem::new("net.request", format!("a write of no bytes to {endpoint}")));
        }
        loop {
            ready(stream.writable(), *idle, endpoint).await?;
            match stream.try_write(bytes) {
                Ok(written @ 1..) => return Ok(written),
                Ok(0) => return Err(ended(endpoint, &ErrorKind::WriteZero.into())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(ended(endpoint, &error)),
            }
        }
    }
}

/// Waits until bytes can be moved, as long as the task wants to wait.
async fn ready(
    can: impl Future<Output = std::io::Result<()>>,
    idle: Option<Duration>,
    endpoint: &Endpoint,
) -> Result<(), Problem> {
    let done = match idle {
        Some(idle) => timeout(idle, can).await.map_err(|_| {
            let text =
                format!("nothing came from {endpoint}, or was taken there, within {} ms", idle.as_millis());
            Problem::new("net.timeout", text).hint("the connection is still open; `idle_ms` gives it longer")
        })?,
        None => can.await,
    };
    done.map_err(|error| ended(endpoint, &error))
}

fn unknown(handle: u32) -> Problem {
    Problem::new("net.handle", format!("this execution has no open connection {handle}"))
        .hint("use the `handle` that `open` gave, until it is closed")
}

fn ended(endpoint: &Endpoint, error: &std::io::Error) -> Problem {
    Problem::new("net.closed", format!("the connection to {endpoint} is gone: {error}"))
}
