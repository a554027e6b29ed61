//! Files by name, kind, size, age and content. The manifest says what the parameters are.

use find_task::{Bound, Wish};
use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::time::{SystemTime, UNIX_EPOCH};
use waft_sdk::{Error, Outcome, file};
use waft_tasks_common::files::{Entry, Kind, Skipped, Walk, absolute, is_dir};
use waft_tasks_common::{Words, Yes, listed};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Files that are listed.
const LISTED_MAX: usize = 5_000;
/// The same as JSON, bytes: with all else a result of less than 1 MiB.
const LISTED_BYTES_MAX: usize = 768 * 1024;
const LISTED_DEFAULT: usize = 1_000;
/// Of a file whose content is looked at, bytes.
const LOOKED_AT_BYTES_MAX: u64 = 64 << 20;
/// Bytes that are looked at at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Of a line, bytes: what comes behind is not looked at.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// An expression, bytes.
const REGEX_BYTES_MAX: usize = 4096;
/// Paths that could not be looked at, of which it is told; and as JSON, bytes.
const SKIPPED_MAX: usize = 100;
const SKIPPED_BYTES_MAX: usize = 128 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(alias = "path", alias = "name")]
    paths: Words,
    #[serde(default, alias = "pattern")]
    patterns: Words,
    #[serde(default, alias = "exclude")]
    excludes: Words,
    file_type: Option<String>,
    #[serde(default)]
    recurse: Yes,
    depth: Option<u32>,
    #[serde(default)]
    hidden: Yes,
    size: Option<String>,
    age: Option<String>,
    contains: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Found {
    path: String,
    kind: &'static str,
    size: u64,
    mtime: u64,
    mode: String,
    uid: u32,
    gid: u32,
    owner: Option<String>,
    group: Option<String>,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let kind = match params.file_type.as_deref() {
        None | Some("file") => Some(Kind::File),
        Some("directory") => Some(Kind::Dir),
        Some("link") => Some(Kind::Symlink),
        Some("any") => None,
        Some(other) => {
            let text =
                format!("`file_type` is `{}`, expected file, directory, link or any", other.escape_debug());
            return Err(Error::new("params.file_type", text));
        }
    };
    let wish = Wish {
        patterns: params.patterns.0,
        excludes: params.excludes.0,
        kind,
        hidden: params.hidden.0,
        size: params.size.as_deref().map(Bound::size).transpose()?,
        age: params.age.as_deref().map(Bound::age).transpose()?,
    };
    let limit = params.limit.unwrap_or(LISTED_DEFAULT).min(LISTED_MAX);
    let contains = params.contains.as_deref().filter(|text| !text.is_empty());
    let contains = contains.map(expression).transpose()?;
    let depth = if params.recurse.0 { params.depth } else { Some(1) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if params.paths.0.is_empty() {
        return Err(Error::new("params.paths", "`paths` names no directory"));
    }
    let (mut files, mut matched, mut examined) = (Vec::new(), 0_u64, 0_u64);
    let (mut skipped, mut unread): (Vec<Skipped>, Vec<Skipped>) = (Vec::new(), Vec::new());
    for path in &params.paths.0 {
        let path = absolute("paths", path)?;
        let stat = file::stat(&path)?;
        if !is_dir(&stat) {
            let why = format!("it is no directory, but {}", stat.kind.as_deref().unwrap_or("nothing"));
            skipped.push(Skipped { path, why });
            continue;
        }
        let mut take = |entry: &Entry| {
            let mut takes = wish.takes(entry, now);
            if takes && let Some(regex) = &contains {
                takes = entry.kind == Kind::File
                    && holds(&entry.path, regex).unwrap_or_else(|error| {
                        unread.push(Skipped { path: entry.path.clone(), why: error.to_string() });
                        false
                    });
            }
            if takes {
                matched += 1;
                if files.len() < limit {
                    files.push(found(entry)?);
                }
            }
            Ok(true)
        };
        let mut walk = Walk::new(depth, &mut take);
        walk.run(&path)?;
        examined += walk.seen();
        skipped.append(&mut walk.skipped);
    }
    skipped.append(&mut unread);
    skipped.truncate(SKIPPED_MAX);
    let (files, listed_count) = listed(&files, LISTED_BYTES_MAX);
    let (skipped, _) = listed(&skipped, SKIPPED_BYTES_MAX);
    let msg = format!("{matched} of {examined}");
    Ok(Outcome::ok()
        .msg(msg)
        .with("matched", &matched)
        .with("examined", &examined)
        .with("truncated", &(matched > listed_count as u64))
        .with_json("files", files)
        .with_json("skipped_paths", skipped))
}

/// As Ansible's: it has to match from the beginning of a line.
fn expression(text: &str) -> Result<Regex, Error> {
    let wrong = |why: &str| Error::new("params.contains", format!("`contains` {why}"));
    if text.len() > REGEX_BYTES_MAX {
        return Err(wrong("is too long"));
    }
    Regex::new(&["^(?:", text, ")"].concat())
        .map_err(|why| wrong(&format!("is no regular expression: {why}")))
}

fn found(entry: &Entry) -> Result<Found, Error> {
    let stat = file::stat(&entry.path)?;
    Ok(Found {
        path: entry.path.clone(),
        kind: match entry.kind {
            Kind::File => "file",
            Kind::Dir => "directory",
            Kind::Symlink => "link",
            Kind::Other => "other",
        },
        size: entry.size,
        mtime: entry.modified,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        owner: stat.owner,
        group: stat.group,
    })
}

/// Whether a line of a file matches from its beginning.
fn holds(path: &str, regex: &Regex) -> std::io::Result<bool> {
    let mut file = BufReader::with_capacity(PIECE_BYTES, File::open(path)?.take(LOOKED_AT_BYTES_MAX));
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        if line.last() != Some(&b'\n') {
            file.skip_until(b'\n')?;
        }
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        if regex.is_match(&String::from_utf8_lossy(&line)) {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use waft_sdk::RESULT_BYTES_MAX;
    use waft_sdk::serde_json::json;
    use waft_sdk::testing::Fake;

    #[test]
    fn what_is_too_long_for_a_result_is_cut_and_told() {
        const FILES: usize = 3_000;
        let host = Fake::new();
        let dir = host.dir();
        for number in 0..FILES {
            fs::write(dir.join(format!("{number:0>250}")), "").unwrap();
        }
        let found = host.run(run, json!({ "paths": dir, "limit": 5_000 })).unwrap();
        assert!(found.to_json().len() < RESULT_BYTES_MAX);
        assert_eq!((found.field("truncated"), found.field("matched")), (Some("true"), Some("3000")));
        // Hardly more than it has to be.
        assert!(found.field("files").is_some_and(|files| files.len() > RESULT_BYTES_MAX / 2));
        let few = host.run(run, json!({ "paths": dir, "limit": FILES / 3 })).unwrap();
        assert_eq!(few.field("files").unwrap().matches("\"path\"").count(), FILES / 3);
    }
}
