//! What a task asks of `net`, as JSON.

use super::{CONNECT_LIMIT, CONNECT_LIMIT_MAX};
use serde::Deserialize;
use std::time::Duration;
use waft_proto::run::Problem;

const FORM: &str = r#"ask with {"op":"open","host":"db.internal","port":5432,"timeout_ms":10000}, {"op":"resolve","host":"db.internal"}, {"op":"shutdown","handle":1} or {"op":"close","handle":1}"#;

/// A host in a record or message, characters: no name is longer.
const HOST_CHARS_MAX: usize = 253;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Open {
        host: String,
        port: u16,
        limit: Duration,
        /// How long a read or write waits; none is as long as the execution may run.
        idle: Option<Duration>,
    },
    Resolve {
        host: String,
    },
    /// No more is written.
    Shutdown {
        handle: u32,
    },
    Close {
        handle: u32,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    op: String,
    host: Option<String>,
    port: Option<u16>,
    timeout_ms: Option<u64>,
    idle_ms: Option<u64>,
    handle: Option<u32>,
}

impl Request {
    pub(super) fn parse(request: &[u8]) -> Result<Request, Problem> {
        let fields: Fields = serde_json::from_slice(request)
            .map_err(|error| malformed(&format!("is not what it should be: {error}")))?;
        let Fields { op, host, port, timeout_ms, idle_ms, handle } = fields;
        if idle_ms.is_some() && (op != "open" || idle_ms == Some(0)) {
            return Err(malformed("has an `idle_ms` of 0, or where nothing is opened"));
        }
        match (op.as_str(), host, port, timeout_ms, handle) {
            ("open", Some(host), Some(port @ 1..), timeout_ms, None) => {
                let most = CONNECT_LIMIT_MAX.as_millis();
                let limit = timeout_ms.map_or(CONNECT_LIMIT, Duration::from_millis);
                if limit.is_zero() || limit > CONNECT_LIMIT_MAX {
                    return Err(malformed(&format!("has no `timeout_ms` from 1 to {most}")));
                }
                let idle = idle_ms.map(Duration::from_millis);
                Ok(Request::Open { host: bounded(host)?, port, limit, idle })
            }
            ("resolve", Some(host), None, None, None) => Ok(Request::Resolve { host: bounded(host)? }),
            ("shutdown", None, None, None, Some(handle)) => Ok(Request::Shutdown { handle }),
            ("close", None, None, None, Some(handle)) => Ok(Request::Close { handle }),
            _ => Err(malformed("has an unknown `op`, or not the fields of it")),
        }
    }
}

fn bounded(host: String) -> Result<String, Problem> {
    if host.len() > HOST_CHARS_MAX {
        return Err(malformed(&format!("names a host of more than {HOST_CHARS_MAX} characters")));
    }
    Ok(host)
}

fn malformed(what: &str) -> Problem {
    Problem::new("net.request", format!("the request of `net` {what}")).hint(FORM)
}

/// What a request is about, for the record of it: `open db.internal:5432`.
pub fn subject(request: &[u8]) -> String {
    match Request::parse(request) {
        Ok(Request::Open { host, port, .. }) if host.contains(':') => format!("open [{host}]:{port}"),
        Ok(Request::Open { host, port, .. }) => format!("open {host}:{port}"),
        Ok(Request::Resolve { host }) => format!("resolve {host}"),
        Ok(Request::Shutdown { handle }) => format!("shutdown {handle}"),
        Ok(Request::Close { handle }) => format!("close {handle}"),
        Err(_) => "malformed".to_owned(),
    }
}
