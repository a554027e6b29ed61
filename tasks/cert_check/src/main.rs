//! Says whose certificates there are, and until when.

use cert_check_task::certificate::{about, of_der, read};
use cert_check_task::hello::{certificates, client};
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use waft_sdk::{Connection, Error, Outcome, is_check};
use waft_tasks_tls::{Seen, look};

waft_sdk::task!(run, manifest = "../waft.toml");

/// A file of certificates, bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    path: Option<String>,
    content: Option<String>,
    host: Option<String>,
    #[serde(default = "https")]
    port: u16,
    server_name: Option<String>,
    ca_path: Option<String>,
    #[serde(default = "ten")]
    timeout: u32,
    days: Option<i64>,
}

fn https() -> u16 {
    443
}

fn ten() -> u32 {
    10
}

fn run(params: Params) -> Result<Outcome, Error> {
    if let Some(path) = params.ca_path.as_ref().filter(|path| !path.starts_with('/')) {
        return Err(Error::new("params.ca_path", format!("`ca_path` is `{path}`, which is not absolute")));
    }
    let mut seen = None;
    let (what, found) = match (&params.path, &params.content, &params.host) {
        (Some(path), None, None) => (path.clone(), read(path, &file(path)?)?),
        (None, Some(text), None) => ("`content`".to_owned(), read("`content`", text.as_bytes())?),
        (None, None, Some(host)) if is_check() => {
            let text =
                format!("a dry run opens no connection: port {} of {host} was not looked at", params.port);
            return Ok(Outcome::ok().msg(text).with("skipped", &true));
        }
        (None, None, Some(host)) => {
            let who = format!("port {} of {host}", params.port);
            let shown = shown(&params, host, &who)?;
            let found: Result<Vec<_>, Error> = shown.chain.iter().map(|bytes| of_der(&who, bytes)).collect();
            seen = Some(shown);
            (who, found?)
        }
        _ => {
            let text = "certificates are looked for in one of `path`, `content` and `host`";
            return Err(Error::new("params.what", text));
        }
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let all: Vec<_> = found.iter().map(|certificate| about(certificate, now)).collect();
    let Some(own) = all.first() else {
        return Err(Error::new("cert_check.form", format!("{what} holds no certificate")));
    };
    let least = all.iter().min_by_key(|about| about.days_left).unwrap_or(own);
    let msg = match least.expired {
        true => format!("{} ended at {}", least.subject, least.not_after),
        false => format!("{} days are left: {} ends at {}", least.days_left, least.subject, least.not_after),
    };
    if let Some(days) = params.days {
        let early = all.iter().find(|about| about.begins_later);
        if let Some(early) = early {
            let text = format!("{what}: {} is not valid before {}", early.subject, early.not_before);
            return Err(Error::new("cert_check.early", text));
        }
        if least.days_left < days || least.expired {
            return Err(Error::new("cert_check.days", format!("{what}: {msg}; at least {days} are wanted")));
        }
    }
    let outcome = Outcome::ok()
        .msg(msg)
        .with("days_left", &least.days_left)
        .with("expired", &all.iter().any(|about| about.expired))
        .with("not_before", &own.not_before)
        .with("not_after", &own.not_after)
        .with("subject", &own.subject)
        .with("issuer", &own.issuer)
        .with("subject_alt_name", &own.subject_alt_name)
        .with("serial_number", &own.serial_number)
        .with("certificates", &all);
    Ok(match seen {
        Some(seen) => verified(outcome, &seen),
        None => outcome,
    })
}

/// Whether to believe it.
fn verified(outcome: Outcome, seen: &Seen) -> Outcome {
    let outcome = match seen.version {
        Some(version) => outcome.with("tls_version", version),
        None => outcome,
    };
    let (verified, fault) = match &seen.verdict {
        Ok(None) => return outcome.with("verified", &true),
        Ok(Some(fault)) => (Some(false), fault),
        Err(unknown) => (None, unknown),
    };
    let fault = Fault { code: &fault.code, message: &fault.message, hint: fault.hint.as_deref() };
    let outcome = outcome.with("verify_error", &fault);
    match verified {
        Some(verified) => outcome.with("verified", &verified),
        None => outcome,
    }
}

#[derive(Serialize)]
struct Fault<'a> {
    code: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

fn file(path: &str) -> Result<Vec<u8>, Error> {
    // The host says what is not granted, and what is no file.
    if waft_sdk::file::stat(path)?.kind.is_none() {
        return Err(Error::new("cert_check.read", format!("there is no file {path}")));
    }
    let failed = |why: std::io::Error| Error::new("cert_check.read", format!("{path} cannot be read: {why}"));
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(failed)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::new("cert_check.read", format!("{path} has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// What the server shows.
fn shown(params: &Params, host: &str, who: &str) -> Result<Seen, Error> {
    let name = params.server_name.as_deref().unwrap_or(host);
    let limit_ms = params.timeout.clamp(1, 60) * 1000;
    match look(host, params.port, name, params.ca_path.as_deref(), limit_ms, who) {
        // Older ways to agree on a key than this task has: as far as the certificates they are the same.
        Err(error) if matches!(error.code.as_str(), "tls.alert" | "tls.version" | "tls.closed") => {
            let chain = older(params, host, who, limit_ms).map_err(|_| error.clone())?;
            Ok(Seen { chain, version: None, verdict: Ok(Some(error)) })
        }
        seen => seen,
    }
}

fn older(params: &Params, host: &str, who: &str, limit_ms: u32) -> Result<Vec<Vec<u8>>, Error> {
    let named =
        params.server_name.as_deref().or_else(|| Some(host).filter(|host| host.parse::<IpAddr>().is_err()));
    let mut connection = Connection::open_within(host, params.port, limit_ms)?;
    connection
        .write_all(&client(named, random()))
        .map_err(|why| Error::new("cert_check.tls", format!("{who} takes no greeting: {why}")))?;
    certificates(&mut connection, who)
}

/// Different each time; no key is made of it.
fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    for (at, piece) in bytes.chunks_mut(8).enumerate() {
        piece.copy_from_slice(&RandomState::new().hash_one(at).to_be_bytes());
    }
    bytes
}
