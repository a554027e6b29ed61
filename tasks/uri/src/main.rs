//! Asks a web server. Parameters and results as those of Ansible's uri.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::Read;
use std::time::Instant;
use waft_sdk::{Error, Outcome, is_check};
use waft_tasks_common::web::{Follow, Request, Statuses, Url, basic, check_header};
use waft_tasks_common::{Yes, is_readable};
use waft_tasks_tls::web::{send, tls};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Of an answer, bytes: with all else a result of less than 1 MiB.
const CONTENT_BYTES_MAX: usize = 512 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Box<RawValue>>,
    body: Option<Box<RawValue>>,
    body_format: Option<String>,
    #[serde(default)]
    status_code: Statuses,
    #[serde(default)]
    return_content: Yes,
    follow_redirects: Option<String>,
    #[serde(alias = "user")]
    url_username: Option<String>,
    #[serde(alias = "password")]
    url_password: Option<String>,
    #[serde(default = "yes")]
    validate_certs: Yes,
    ca_path: Option<String>,
    client_cert: Option<String>,
    client_key: Option<String>,
    #[serde(default = "half_a_minute")]
    timeout: u32,
}

fn yes() -> Yes {
    Yes(true)
}

fn half_a_minute() -> u32 {
    30
}

fn run(params: Params) -> Result<Outcome, Error> {
    let url = Url::parse(&params.url)?;
    let method = params.method.as_deref().unwrap_or("GET").to_ascii_uppercase();
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Error::new("params.method", format!("`method` is {method:?}: expected letters, as GET")));
    }
    let mut headers = Vec::new();
    for (name, value) in &params.headers {
        let value = text(value);
        check_header(name, &value)?;
        headers.push((name.clone(), value));
    }
    let (body, kind) = body(&params)?;
    let given = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let (has_kind, has_login) = (given("content-type"), given("authorization"));
    if let (Some(kind), false) = (kind, has_kind) {
        headers.push(("Content-Type".to_owned(), kind.to_owned()));
    }
    if let (Some(user), false) = (&params.url_username, has_login) {
        let password = params.url_password.as_deref().unwrap_or_default();
        headers.push(("Authorization".to_owned(), basic(user, password)));
    }
    let follow = Follow::parse(params.follow_redirects.as_deref())?;
    let tls = tls(params.validate_certs.0, &params.ca_path, &params.client_cert, &params.client_key)?;
    let limit_ms = params.timeout.clamp(1, 3600) * 1000;
    if is_check() {
        let text = format!("a dry run opens no connection: {method} {url} was not asked");
        return Ok(Outcome::ok().msg(text).with("skipped", &true));
    }
    let began = Instant::now();
    let request = Request { method: &method, url, headers, body: &body, follow, limit_ms };
    let mut reply = send(&request, &tls)?;
    let mut content = Vec::new();
    let mut limited = reply.body.by_ref().take(CONTENT_BYTES_MAX as u64 + 1);
    limited.read_to_end(&mut content).map_err(|why| {
        let text = format!("the answer of {} could not be read to its end: {why}", reply.url);
        Error::new("http.connection", text)
    })?;
    let is_cut = content.len() > CONTENT_BYTES_MAX;
    content.truncate(CONTENT_BYTES_MAX);
    let good = params.status_code.0.contains(&reply.status);
    let content = String::from_utf8_lossy(&content);
    let json = reply.header("content-type").filter(|kind| kind.contains("json") && !is_cut);
    let json = json.and_then(|_| serde_json::from_str::<Box<RawValue>>(&content).ok());
    let is_left_out = json.as_ref().is_some_and(|json| !is_readable(json.get()));
    let msg = match good {
        true if is_left_out => {
            format!("{} {}; `json` is left out: waft could not read it", reply.status, reply.reason)
        }
        true => format!("{} {}", reply.status, reply.reason),
        false => format!(
            "{} answered with the status {} {}, which is not wanted",
            reply.url, reply.status, reply.reason
        ),
    };
    let mut outcome = Outcome::ok()
        .msg(&msg)
        .with("status", &reply.status)
        .with("url", &reply.url.to_string())
        .with("redirected", &reply.redirected)
        .with("elapsed", &began.elapsed().as_secs());
    let known = ["status", "url", "redirected", "elapsed", "content", "json", "changed", "msg", "error"];
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in &reply.headers {
        let name = name.replace('-', "_");
        if !known.contains(&name.as_str()) && !seen.contains(&name) {
            outcome = outcome.with(&name, value);
            seen.push(name);
        }
    }
    if params.return_content.0 || !good {
        outcome = outcome.with("content", &content).with("content_truncated", &is_cut);
    }
    if let Some(json) = json.filter(|_| !is_left_out) {
        outcome = outcome.with_json("json", Box::<str>::from(json).into());
    }
    if good {
        return Ok(outcome);
    }
    // All that is known of the answer, not only why it is not good.
    let error =
        BTreeMap::from([("code", Some("uri.status")), ("message", Some(msg.as_str())), ("hint", None)]);
    waft_sdk::fail(&outcome.with("error", &error))
}

/// A JSON text as it is meant, anything else as it is written.
fn text(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

/// The bytes, and of what kind they are.
fn body(params: &Params) -> Result<(Vec<u8>, Option<&'static str>), Error> {
    let format = params.body_format.as_deref().unwrap_or("raw");
    let Some(body) = &params.body else { return Ok((Vec::new(), None)) };
    match format {
        "raw" => Ok((text(body).into_bytes(), None)),
        // Text is JSON already, as in Ansible.
        "json" => Ok((text(body).into_bytes(), Some("application/json"))),
        "form-urlencoded" => {
            let form: BTreeMap<String, Box<RawValue>> = match serde_json::from_str(body.get()) {
                Ok(form) => form,
                Err(_) => return Ok((text(body).into_bytes(), Some("application/x-www-form-urlencoded"))),
            };
            let pairs: Vec<String> = form
                .iter()
                .map(|(name, value)| format!("{}={}", quoted(name), quoted(&text(value))))
                .collect();
            Ok((pairs.join("&").into_bytes(), Some("application/x-www-form-urlencoded")))
        }
        other => {
            let text = format!("`body_format` is `{other}`: expected raw, json or form-urlencoded");
            Err(Error::new("params.body_format", text))
        }
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                quoted.push(char::from(byte))
            }
            b' ' => quoted.push('+'),
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    quoted
}
