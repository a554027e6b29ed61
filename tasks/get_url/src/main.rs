//! Downloads a file. Parameters and results as those of Ansible's get_url.

mod sum;

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use sum::{Checksum, Kind, Sum};
use waft_sdk::file::{Stat, chmod, chown, fsync, rename, stat};
use waft_sdk::{Error, Outcome, is_check, progress};
use waft_tasks_common::Yes;
use waft_tasks_common::web::{Follow, Reply, Request, Url, basic, check_header};
use waft_tasks_tls::Stream;
use waft_tasks_tls::web::{send, tls};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Bytes that are moved at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Of a file that is not all there yet: for nobody else.
const PART_MODE: u32 = 0o600;
/// The name that a file gets when the address ends with a slash.
const INDEX: &str = "index.html";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    url: String,
    dest: String,
    checksum: Option<String>,
    #[serde(default)]
    force: Yes,
    mode: Option<Box<RawValue>>,
    owner: Option<String>,
    group: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    url_username: Option<String>,
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

/// What was downloaded, beside the place where it is to be.
struct Download<'a> {
    part: &'a str,
    sum: String,
    bytes: u64,
    /// The mode of new files.
    mode: u32,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let request = request(&params)?;
    let tls = tls(params.validate_certs.0, &params.ca_path, &params.client_cert, &params.client_key)?;
    let wanted = params.checksum.as_deref().map(Checksum::parse).transpose()?;
    let mode = params.mode.as_deref().map(octal).transpose()?;
    let kind = wanted.as_ref().map_or(Kind::Sha256, |wanted| wanted.kind);
    let (dest, there, in_dir) = place(&params.dest, &request.url)?;
    let old = match there.kind.as_deref() {
        None => None,
        Some("file") => Some(of_file(&dest, kind)?),
        Some(other) => {
            let text = format!("{dest} is a {other}, and no file takes its place");
            return Err(Error::new("get_url.dest", text));
        }
    };
    let is_wanted = match (&old, &wanted) {
        // Of a directory nobody knows which file was meant, as in Ansible.
        (Some(_), None) => !in_dir,
        (old, wanted) => old.as_ref() == wanted.as_ref().map(|wanted| &wanted.hex),
    };
    if old.is_some() && is_wanted && !params.force.0 {
        let changed = attributes(&dest, &params, mode)?;
        return Ok(Outcome::changed(changed).msg("file already exists").with("dest", &dest));
    }
    if is_check() {
        let then = if old.is_some() { ", and replace what is there if it differs" } else { "" };
        let text =
            format!("{} would be downloaded to {dest}{then}: a dry run opens no connection", request.url);
        return Ok(Outcome::changed(true).msg(text).with("dest", &dest));
    }
    let reply = send(&request, &tls)?;
    if reply.status != 200 {
        let text = format!(
            "{} answered with the status {} {}, not with a file",
            reply.url, reply.status, reply.reason
        );
        return Err(Error::new("get_url.status", text));
    }
    let (status, url) = (reply.status, reply.url.to_string());
    let (dir, name) = dest.rsplit_once('/').unwrap_or(("", &dest));
    let run = std::env::var("WAFT_RUN").unwrap_or_default();
    let part = format!("{dir}/.{name}.waft-{}", run.get(..8).unwrap_or("part"));
    let placed = download(reply, &part, kind).and_then(|download| {
        place_it(&download, &dest, &there, old.as_deref(), wanted.as_ref(), mode, &params)
            .map(|changed| (download.sum, download.bytes, changed))
    });
    let (sum, bytes, replaced) = placed.inspect_err(|_| {
        // Why it went wrong is the better word.
        let _ = fs::remove_file(&part);
    })?;
    let changed = attributes(&dest, &params, mode)? || replaced;
    Ok(Outcome::changed(changed)
        .msg(if replaced { "OK" } else { "what was downloaded is there already" })
        .with("dest", &dest)
        .with("url", &url)
        .with("status_code", &status)
        .with("size", &bytes)
        .with("checksum_dest", &format!("{}:{sum}", kind.word())))
}

fn request(params: &Params) -> Result<Request<'static>, Error> {
    let mut headers = Vec::new();
    for (name, value) in &params.headers {
        check_header(name, value)?;
        headers.push((name.clone(), value.clone()));
    }
    if let Some(user) = &params.url_username {
        let password = params.url_password.as_deref().unwrap_or_default();
        headers.push(("Authorization".to_owned(), basic(user, password)));
    }
    let limit_ms = params.timeout.clamp(1, 3600) * 1000;
    Ok(Request {
        method: "GET",
        url: Url::parse(&params.url)?,
        headers,
        body: &[],
        follow: Follow::All,
        limit_ms,
    })
}

/// Digits are octal, in quotes or not.
fn octal(mode: &RawValue) -> Result<u32, Error> {
    let digits = mode.get().trim_matches('"');
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777 && digits.len() >= 3).ok_or_else(|| {
        Error::new("params.mode", format!("`mode` is {}: expected octal digits, as \"0644\"", mode.get()))
    })
}

/// Where the file is to be, what is there, and whether `dest` is the directory of the file.
fn place(dest: &str, url: &Url) -> Result<(String, Stat, bool), Error> {
    if !dest.starts_with('/') {
        return Err(Error::new("params.dest", format!("`dest` is `{dest}`, which is not absolute")));
    }
    let path = if dest.len() > 1 { dest.trim_end_matches('/') } else { dest };
    let there = stat(path)?;
    let is_dir = match there.kind.as_deref() {
        Some("dir") => true,
        Some("symlink") => fs::metadata(path).is_ok_and(|found| found.is_dir()),
        _ => false,
    };
    if !is_dir {
        return match dest.ends_with('/') {
            true => Err(Error::new("get_url.dest", format!("there is no directory {dest}"))),
            false => Ok((path.to_owned(), there, false)),
        };
    }
    let name = match url.file_name() {
        "" | "." | ".." => INDEX,
        name => name,
    };
    let dest = format!("{}/{name}", path.trim_end_matches('/'));
    let there = stat(&dest)?;
    Ok((dest, there, true))
}

fn io(what: &str, path: &str, why: &std::io::Error) -> Error {
    Error::new("get_url.file", format!("{path} cannot be {what}: {why}"))
}

fn of_file(path: &str, kind: Kind) -> Result<String, Error> {
    let mut file = File::open(path).map_err(|why| io("read", path, &why))?;
    let (mut sum, mut piece) = (Sum::new(kind), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece).map_err(|why| io("read", path, &why))? {
            0 => return Ok(sum.hex()),
            read => sum.add(piece.get(..read).unwrap_or_default()),
        }
    }
}

fn download<'a>(mut reply: Reply<Stream>, part: &'a str, kind: Kind) -> Result<Download<'a>, Error> {
    // One of an earlier run that was killed.
    let _ = fs::remove_file(part);
    let mut file = File::create_new(part).map_err(|why| io("made", part, &why))?;
    // While it is empty: what it will hold may not be for everybody.
    let mode = u32::from_str_radix(&stat(part)?.mode, 8).unwrap_or(PART_MODE);
    chmod(part, PART_MODE)?;
    let total = reply.header("content-length").and_then(|length| length.parse().ok());
    let (mut sum, mut bytes, mut piece) = (Sum::new(kind), 0, vec![0; PIECE_BYTES]);
    loop {
        let read = reply.body.read(&mut piece).map_err(|why| {
            let text = format!("{} could not be read to its end, after {bytes} bytes: {why}", reply.url);
            Error::new("http.connection", text)
        })?;
        let read = piece.get(..read).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        file.write_all(read).map_err(|why| io("written", part, &why))?;
        sum.add(read);
        bytes += read.len() as u64;
        progress(bytes, total, None)?;
    }
    Ok(Download { part, sum: sum.hex(), bytes, mode })
}

/// Whether what was there was another.
fn place_it(
    download: &Download<'_>,
    dest: &str,
    there: &Stat,
    old: Option<&str>,
    wanted: Option<&Checksum>,
    mode: Option<u32>,
    params: &Params,
) -> Result<bool, Error> {
    if let Some(wanted) = wanted.filter(|wanted| wanted.hex != download.sum) {
        let kind = wanted.kind.word();
        let text = format!(
            "what was downloaded has the checksum {kind}:{}, not {kind}:{}; it was thrown away",
            download.sum, wanted.hex
        );
        return Err(Error::new("get_url.checksum", text));
    }
    if old == Some(download.sum.as_str()) {
        fs::remove_file(download.part).map_err(|why| io("removed", download.part, &why))?;
        return Ok(false);
    }
    // As it shall be, or else as it was, before anybody sees it.
    let (uid, gid) = (there.uid.to_string(), there.gid.to_string());
    let own = stat(download.part)?;
    let was = |is_other: bool| old.is_some() && is_other;
    let owner = params.owner.as_deref().or_else(|| was(own.uid != there.uid).then_some(uid.as_str()));
    let group = params.group.as_deref().or_else(|| was(own.gid != there.gid).then_some(gid.as_str()));
    if owner.is_some() || group.is_some() {
        chown(download.part, owner, group)?;
    }
    let before = u32::from_str_radix(&there.mode, 8).ok().filter(|_| old.is_some()).map(|mode| mode & 0o777);
    chmod(download.part, mode.or(before).unwrap_or(download.mode))?;
    fsync(download.part)?;
    rename(download.part, dest)?;
    Ok(true)
}

fn attributes(path: &str, params: &Params, mode: Option<u32>) -> Result<bool, Error> {
    let mut changed = false;
    if params.owner.is_some() || params.group.is_some() {
        changed |= chown(path, params.owner.as_deref(), params.group.as_deref())?;
    }
    if let Some(mode) = mode {
        changed |= chmod(path, mode)?;
    }
    Ok(changed)
}
