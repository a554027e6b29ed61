//! Downloads a file. Parameters and results as those of Ansible's get_url.

mod sum;

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use sum::{Checksum, Kind, Sum};
use waft_sdk::file::{Stat, chmod, stat};
use waft_sdk::{Error, Outcome, is_check, progress};
use waft_tasks_common::Yes;
use waft_tasks_common::files::{Attributes, Backup, New, Replace, read_failed, write_failed};
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

fn run(params: Params) -> Result<Outcome, Error> {
    let request = request(&params)?;
    let tls = tls(params.validate_certs.0, &params.ca_path, &params.client_cert, &params.client_key)?;
    let wanted = params.checksum.as_deref().map(Checksum::parse).transpose()?;
    let mode = params.mode.as_deref().map(octal).transpose()?;
    let attributes = Attributes::new(mode, params.owner, params.group)?;
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
        let changed = attributes.apply(&dest, &there)?;
        return Ok(Outcome::changed(changed).msg("file already exists").with("dest", &dest));
    }
    if is_check() {
        if old.is_some() {
            attributes.or_of(&dest, &there)?;
        }
        let then = if old.is_some() { ", and replace what is there if it differs" } else { "" };
        let text =
            format!("{} would be downloaded to {dest}{then}: a dry run opens no connection", request.url);
        return Ok(Outcome::changed(true).msg(text).with("dest", &dest));
    }
    // Before anything is asked for: whether there may be a file at all.
    let replace = Replace { path: &dest, before: &there, attributes: &attributes, backup: Backup::No };
    let mut new = replace.begin()?;
    let mut reply = send(&request, &tls)?;
    if reply.status != 200 {
        let text = format!(
            "{} answered with the status {} {}, not with a file",
            reply.url, reply.status, reply.reason
        );
        return Err(Error::new("get_url.status", text));
    }
    let (status, url) = (reply.status, reply.url.to_string());
    let (sum, bytes) = download(&mut reply, &mut new, kind)?;
    if let Some(wanted) = wanted.filter(|wanted| wanted.hex != sum) {
        let kind = wanted.kind.word();
        let text = format!(
            "what was downloaded has the checksum {kind}:{sum}, not {kind}:{}; it was thrown away",
            wanted.hex
        );
        return Err(Error::new("get_url.checksum", text));
    }
    let replaced = old.as_ref() != Some(&sum);
    let changed = match replaced {
        true => new.place().map(|_| true)?,
        false => attributes.apply(&dest, &there)?,
    };
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
fn octal(mode: &RawValue) -> Result<&str, Error> {
    let digits = mode.get().trim_matches('"');
    let is_mode = digits.len() >= 3 && u32::from_str_radix(digits, 8).is_ok_and(|mode| mode <= 0o7777);
    is_mode.then_some(digits).ok_or_else(|| {
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

fn of_file(path: &str, kind: Kind) -> Result<String, Error> {
    let mut file = File::open(path).map_err(|why| read_failed(path, &why))?;
    let (mut sum, mut piece) = (Sum::new(kind), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece).map_err(|why| read_failed(path, &why))? {
            0 => return Ok(sum.hex()),
            read => sum.add(piece.get(..read).unwrap_or_default()),
        }
    }
}

/// The checksum, and how many bytes it is of.
fn download(reply: &mut Reply<Stream>, new: &mut New, kind: Kind) -> Result<(String, u64), Error> {
    // What it is to have it gets when all of it is there.
    let mode = u32::from_str_radix(&stat(&new.path)?.mode, 8).unwrap_or(PART_MODE);
    chmod(&new.path, PART_MODE)?;
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
        new.file.write_all(read).map_err(|why| write_failed(&new.path, &why))?;
        sum.add(read);
        bytes += read.len() as u64;
        progress(bytes, total, None)?;
    }
    chmod(&new.path, mode)?;
    Ok((sum.hex(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;
    use waft_sdk::file::set_xattr;
    use waft_sdk::testing::{Dialog, Fake, with_host};

    const ASKED: &str =
        "GET /file HTTP/1.1\r\nHost: web\r\nUser-Agent: waft\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    const URL: &str = "http://web/file";

    /// A host with that web server, once.
    fn serving(body: &str) -> Fake {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Fake::new().net("web", 80, Dialog::new().expect(ASKED).answer(answer))
    }

    fn names(dir: &std::path::Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_another_run_downloads_is_left_alone() {
        let host = serving("mine");
        let dir = host.dir();
        // What a run writes to meanwhile, by all names that it may have.
        let others = [".file.waft-part", ".waft--0", ".waft--1"];
        for name in others {
            fs::write(dir.join(name), "half").unwrap();
        }
        let outcome = host.run(run, json!({ "url": URL, "dest": dir.join("file") })).unwrap();
        assert!(outcome.is_changed());
        assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "mine");
        for name in others {
            assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), "half", "{name}");
        }
        assert_eq!(names(&dir).len(), others.len() + 1);
    }

    #[test]
    fn attributes_of_the_file_that_is_replaced_are_kept() {
        let host = serving("new");
        let path = host.dir().join("file");
        fs::write(&path, "old").unwrap();
        let name = path.to_str().unwrap();
        let set = || set_xattr(name, "user.note", b"kept");
        with_host(host.clone(), set).unwrap();
        host.run(run, json!({ "url": URL, "dest": path, "force": true })).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        let copied = host.calls().into_iter().any(|call| {
            call.request["op"] == "setxattr"
                && call.request["name"] == "user.note"
                && call.request["path"] != name
        });
        assert!(copied, "{:?}", host.calls());
        assert_eq!(names(&host.dir()), ["file"]);
    }

    #[test]
    fn nothing_is_left_of_what_is_not_as_it_should_be() {
        let wrong = format!("sha256:{}", "0".repeat(64));
        let host = serving("new");
        let params = json!({ "url": URL, "dest": host.dir().join("file"), "checksum": wrong });
        assert_eq!(host.run(run, params).unwrap_err().code, "get_url.checksum");
        assert_eq!(names(&host.dir()), [""; 0]);
    }

    #[test]
    fn a_dry_run_tells_that_a_mode_cannot_stay() {
        let host = Fake::new().check();
        let path = host.dir().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)).unwrap();
        let mut params = json!({ "url": URL, "dest": path, "force": true });
        assert_eq!(host.run(run, params.clone()).unwrap_err().code, "files.setid");
        params["mode"] = json!("0755");
        assert!(host.run(run, params).unwrap().is_changed());
    }

    #[test]
    fn no_server_is_asked_when_there_is_no_place_for_the_file() {
        let host = serving("new");
        let error = host.run(run, json!({ "url": URL, "dest": host.dir().join("no/file") })).unwrap_err();
        assert_eq!(error.code, "files.not_found");
        assert!(host.calls().iter().all(|call| call.function != "net"), "{:?}", host.calls());
    }
}
