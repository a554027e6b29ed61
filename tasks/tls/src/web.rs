//! HTTP with and without TLS, as the address says it.

use crate::{Options, Stream, Tls};
use waft_sdk::Error;
use waft_tasks_common::web::{Reply, Request};

/// Asks, and follows.
pub fn send(request: &Request<'_>, tls: &Tls) -> Result<Reply<Stream>, Error> {
    request.send_by(|url| Stream::open(tls, url, url.is_of(&request.url), request.limit_ms))
}

/// Of parameters as Ansible's uri and `get_url` have them.
pub fn tls(
    validate_certs: bool,
    ca_path: &Option<String>,
    client_cert: &Option<String>,
    client_key: &Option<String>,
) -> Result<Tls, Error> {
    Tls::new(Options {
        validate_certs,
        ca_path: ca_path.clone(),
        client_cert: client_cert.clone(),
        client_key: client_key.clone(),
    })
}
