//! Waits until a port, a file or a web server is as it should be. Parameters as those of Ansible's wait_for, and `url`
//! with `status`.

use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};
use waft_sdk::{Connection, Error, Outcome, is_check};
use waft_tasks_common::Yes;
use waft_tasks_common::web::{Follow, Request, Statuses, Url};
use waft_tasks_tls::Tls;
use waft_tasks_tls::web::{send, tls};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Of a file so much is searched at a time, bytes; what is found there is no longer than what the next one has of it again.
const WINDOW_BYTES: usize = 16 << 20;
const OVERLAP_BYTES: usize = 1 << 20;
const PIECE_BYTES: usize = 32 << 10;
/// What is read of what a port says, bytes.
const BANNER_BYTES_MAX: u64 = 64 << 10;
/// An expression, bytes; it is searched for with every look.
const REGEX_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    port: Option<u16>,
    host: Option<String>,
    path: Option<String>,
    url: Option<String>,
    #[serde(default)]
    status: Statuses,
    state: Option<String>,
    search_regex: Option<String>,
    #[serde(default = "five_minutes")]
    timeout: u32,
    #[serde(default)]
    delay: u32,
    #[serde(default = "one")]
    sleep: f64,
    #[serde(default = "five")]
    connect_timeout: u32,
    msg: Option<String>,
    #[serde(default = "yes")]
    validate_certs: Yes,
    ca_path: Option<String>,
    client_cert: Option<String>,
    client_key: Option<String>,
}

fn yes() -> Yes {
    Yes(true)
}

fn five_minutes() -> u32 {
    300
}

fn one() -> f64 {
    1.0
}

fn five() -> u32 {
    5
}

/// What is looked at.
enum What {
    Port { host: String, port: u16 },
    Path(String),
    Url { url: Url, statuses: Vec<u16>, tls: Box<Tls> },
}

struct Wait {
    what: What,
    /// Open, there.
    wanted: bool,
    regex: Option<Regex>,
    connect_ms: u32,
}

/// One look.
enum Look {
    /// With what the expression matched: groups, and those that have names.
    Good(Vec<Option<String>>, Vec<(String, Option<String>)>),
    /// And what was seen instead.
    NotYet(String),
}

fn good() -> Look {
    Look::Good(Vec::new(), Vec::new())
}

fn run(params: Params) -> Result<Outcome, Error> {
    let (timeout, delay) =
        (Duration::from_secs(params.timeout.into()), Duration::from_secs(params.delay.into()));
    if !(0.01..=3600.0).contains(&params.sleep) {
        return Err(Error::new("params.sleep", "`sleep` is not from 0.01 to 3600 seconds"));
    }
    let (pause, msg) = (Duration::from_secs_f64(params.sleep), params.msg.clone());
    let state = params.state.clone().unwrap_or_else(|| "started".to_owned());
    let wait = Wait::of(params, &state)?;
    if is_check() && !matches!(wait.what, What::Path(_)) {
        let text = format!("a dry run opens no connection: {} was not looked at", wait.name());
        return Ok(Outcome::ok().msg(text).with("skipped", &true));
    }
    let began = Instant::now();
    std::thread::sleep(delay);
    loop {
        let seen = match wait.look()? {
            Look::Good(groups, names) => return Ok(wait.outcome(&state, began, &groups, &names)),
            Look::NotYet(seen) => seen,
        };
        let left = (delay + timeout).saturating_sub(began.elapsed());
        if left.is_zero() {
            let text = msg.unwrap_or_else(|| {
                format!("{} was not {state} within {} seconds: {seen}", wait.name(), timeout.as_secs())
            });
            return Err(Error::new("wait_for.timeout", text));
        }
        std::thread::sleep(pause.min(left));
    }
}

impl Wait {
    fn of(params: Params, state: &str) -> Result<Wait, Error> {
        let wanted = match state {
            "started" | "present" => true,
            "stopped" | "absent" => false,
            other => {
                let text = format!("`state` is `{other}`: expected started, present, stopped or absent");
                return Err(Error::new("params.state", text));
            }
        };
        let what = match (params.port, params.path, params.url) {
            (Some(port @ 1..), None, None) => {
                What::Port { host: params.host.unwrap_or_else(|| "127.0.0.1".to_owned()), port }
            }
            (None, Some(path), None) if path.starts_with('/') => What::Path(path),
            (None, Some(path), None) => {
                return Err(Error::new("params.path", format!("`path` is `{path}`, which is not absolute")));
            }
            (None, None, Some(url)) => {
                let url = Url::parse(&url)?;
                let (own, key) = (&params.client_cert, &params.client_key);
                let tls = Box::new(tls(params.validate_certs.0, &params.ca_path, own, key)?);
                What::Url { url, statuses: params.status.0, tls }
            }
            _ => {
                let text = "what is waited for is one of `port` (from 1), `path` and `url`";
                return Err(Error::new("params.what", text));
            }
        };
        let regex = params.search_regex.map(|text| {
            let wrong = |why: &str| Error::new("params.search_regex", format!("`search_regex` {why}"));
            match (text.len(), wanted) {
                (..=REGEX_BYTES_MAX, true) => {
                    // Lines have beginnings and ends, as in Ansible.
                    let regex = RegexBuilder::new(&text).multi_line(true).build();
                    regex.map_err(|why| wrong(&format!("is no regular expression: {why}")))
                }
                (_, false) => {
                    Err(wrong("is given, and what is gone says nothing: leave one of it and `state` out"))
                }
                _ => Err(wrong("is too long")),
            }
        });
        let connect_ms = params.connect_timeout.clamp(1, 60) * 1000;
        Ok(Wait { what, wanted, regex: regex.transpose()?, connect_ms })
    }

    fn name(&self) -> String {
        match &self.what {
            What::Port { host, port } if host.contains(':') => format!("port {port} of [{host}]"),
            What::Port { host, port } => format!("port {port} of {host}"),
            What::Path(path) => path.clone(),
            What::Url { url, .. } => url.to_string(),
        }
    }

    fn look(&self) -> Result<Look, Error> {
        match &self.what {
            What::Port { host, port } => self.connect(host, *port),
            // What has to go is there as long as its port takes connections, also where it speaks no HTTP or hangs.
            What::Url { url, .. } if !self.wanted => self.connect(&url.host, url.port),
            What::Url { url, statuses, tls } => self.ask(url, statuses, tls),
            What::Path(path) => self.read(path),
        }
    }

    fn connect(&self, host: &str, port: u16) -> Result<Look, Error> {
        match Connection::open_within(host, port, self.connect_ms) {
            Ok(connection) if self.wanted => Ok(self.search(connection.take(BANNER_BYTES_MAX))),
            Ok(_) => Ok(Look::NotYet("the port is open".to_owned())),
            Err(error) => self.closed(error),
        }
    }

    fn read(&self, path: &str) -> Result<Look, Error> {
        let gone = || if self.wanted { Look::NotYet("it is not there".to_owned()) } else { good() };
        // First, because the host says what is not granted, which looks like a file that is gone.
        if !exists(path)? {
            return Ok(gone());
        }
        match File::open(path) {
            // A symlink to nothing.
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(gone()),
            _ if !self.wanted => Ok(Look::NotYet("it is there".to_owned())),
            Ok(file) => Ok(self.search(file)),
            // There, and nobody asked what is in it.
            Err(_) if self.regex.is_none() => Ok(good()),
            Err(why) => Err(Error::new("wait_for.read", format!("{path} cannot be looked at: {why}"))),
        }
    }

    /// A web server that has to be there.
    fn ask(&self, url: &Url, statuses: &[u16], tls: &Tls) -> Result<Look, Error> {
        let request = Request {
            method: "GET",
            url: url.clone(),
            headers: Vec::new(),
            body: &[],
            follow: Follow::None,
            limit_ms: self.connect_ms,
        };
        match send(&request, tls) {
            Ok(reply) if statuses.contains(&reply.status) => {
                Ok(self.search(reply.body.take(BANNER_BYTES_MAX)))
            }
            Ok(reply) => Ok(Look::NotYet(format!("it answers with the status {}", reply.status))),
            Err(error) => match error.code.as_str() {
                // It may still be starting. What is wrong with its certificate is not mended by waiting.
                "http.connection" | "http.answer" | "net.closed" | "tls.closed" | "tls.alert"
                | "tls.broken" | "tls.cut" | "tls.none" => Ok(Look::NotYet(error.message)),
                _ => self.closed(error),
            },
        }
    }

    /// Nobody listens, or this may not be asked.
    fn closed(&self, error: Error) -> Result<Look, Error> {
        match error.code.as_str() {
            "net.refused" | "net.timeout" | "net.route" | "net.connect" | "net.resolve" => {
                Ok(if self.wanted { Look::NotYet(error.message) } else { good() })
            }
            _ => Err(error),
        }
    }

    /// In what comes until its end or silence. A port is asked no longer than it takes.
    fn search(&self, mut from: impl Read) -> Look {
        let Some(regex) = &self.regex else { return good() };
        let (mut bytes, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
        let (mut next, mut total) = (0, 0_u64);
        loop {
            // Of a directory, and of one who says nothing in time, nothing can be read.
            let read = from.read(&mut piece).unwrap_or(0);
            total += read as u64;
            bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
            // Each time from the beginning, so only when there is twice as much.
            if read > 0 && bytes.len() < next.min(WINDOW_BYTES) {
                continue;
            }
            next = bytes.len() * 2;
            let text = String::from_utf8_lossy(&bytes);
            if let Some(found) = regex.captures(&text) {
                let part = |part: Option<regex_lite::Match<'_>>| part.map(|part| part.as_str().to_owned());
                let groups = found.iter().skip(1).map(part).collect();
                let names =
                    regex.capture_names().flatten().map(|name| (name.to_owned(), part(found.name(name))));
                return Look::Good(groups, names.collect());
            }
            if read == 0 {
                return Look::NotYet(format!("`search_regex` does not match in {total} bytes"));
            }
            if bytes.len() >= WINDOW_BYTES {
                let from = bytes.len() - OVERLAP_BYTES;
                // A line that began before would look as if it began here.
                let line = bytes[from..].iter().position(|byte| *byte == b'\n');
                bytes.drain(..line.map_or(from, |at| from + at + 1));
                next = WINDOW_BYTES;
            }
        }
    }

    fn outcome(
        &self,
        state: &str,
        began: Instant,
        groups: &[Option<String>],
        names: &[(String, Option<String>)],
    ) -> Outcome {
        let outcome = Outcome::ok().with("state", state).with("elapsed", &began.elapsed().as_secs());
        let outcome = match &self.what {
            What::Port { port, .. } => outcome.with("port", port),
            What::Path(path) => outcome.with("path", path),
            What::Url { url, .. } => outcome.with("url", &url.to_string()),
        };
        if self.regex.is_none() {
            return outcome;
        }
        let named: std::collections::BTreeMap<_, _> =
            names.iter().map(|(name, value)| (name, value)).collect();
        outcome.with("match_groups", groups).with("match_groupdict", &named)
    }
}

/// Whether something is there, by the host's word, which also says what is not granted.
fn exists(path: &str) -> Result<bool, Error> {
    match waft_sdk::file::stat(path) {
        Ok(stat) => Ok(stat.kind.is_some()),
        // The directory is not there either.
        Err(error) if matches!(error.code.as_str(), "file.not_found" | "file.not_dir") => Ok(false),
        Err(error) => Err(error),
    }
}
