//! The connection to the first address that takes it, tried in order.

use super::Who;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use waft_proto::grant::Endpoint;
use waft_proto::run::Problem;

/// Each address gets an equal part of what is left until the deadline, so that a dead one does not take it all.
pub(super) async fn first(
    who: Who<'_>,
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, Problem> {
    let mut codes = Vec::new();
    let mut tried = String::new();
    for (at, address) in addresses.iter().enumerate() {
        let mut address = *address;
        address.set_port(endpoint.port);
        let left = deadline.saturating_duration_since(Instant::now());
        let part = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let (code, why) = match timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => said(&error),
            Err(_) => ("net.timeout", format!("no answer within {} ms", part.as_millis())),
        };
        codes.push(code);
        if !tried.is_empty() {
            tried.push_str(", ");
        }
        tried.push_str(&format!("{} {why}", address.ip()));
    }
    let code = match codes.split_first() {
        Some((first, rest)) if rest.iter().all(|code| code == first) => first,
        _ => "net.connect",
    };
    let problem = Problem::new(
        code,
        format!("`{}` got no connection from `{}` to {endpoint}: {tried}", who.task, who.target),
    );
    Err(match code {
        "net.refused" => problem.hint("does anything listen on that port?"),
        "net.timeout" => problem.hint("is it up, and is a firewall in between? `timeout_ms` gives it longer"),
        _ => problem,
    })
}

fn said(error: &Error) -> (&'static str, String) {
    match error.kind() {
        ErrorKind::ConnectionRefused => ("net.refused", "refused it".to_owned()),
        ErrorKind::TimedOut => ("net.timeout", "did not answer".to_owned()),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            ("net.route", "cannot be reached".to_owned())
        }
        _ => ("net.connect", error.to_string()),
    }
}
