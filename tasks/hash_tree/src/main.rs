//! An inventory of files. The manifest says what the parameters are.

use hash_tree_task::{Listed, Tree, hex};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use waft_sdk::{Error, Outcome, file};
use waft_tasks_common::files::{Entry, Kind, Walk, absolute, exists, is_dir, is_file, matches, read_failed};
use waft_tasks_common::{Words, Yes};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Files that are listed.
const LISTED_MAX: usize = 5_000;
/// The same as JSON, bytes: with all else a result of less than 1 MiB.
const LISTED_BYTES_MAX: usize = 896 * 1024;
const LISTED_DEFAULT: usize = 1_000;
/// Bytes that are read at a time.
const PIECE_BYTES: usize = 256 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(alias = "dest", alias = "name")]
    path: String,
    #[serde(default, alias = "exclude")]
    excludes: Words,
    modes: Option<Yes>,
    expected: Option<String>,
    limit: Option<usize>,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let root = absolute("path", &params.path)?;
    let stat = file::stat(&root)?;
    if !exists(&stat) {
        return Err(Error::new("hash_tree.not_found", format!("{root} is not there")));
    }
    let modes = params.modes.unwrap_or(Yes(true)).0;
    let limit = params.limit.unwrap_or(LISTED_DEFAULT).min(LISTED_MAX);
    let mut tree = Tree::default();
    let (mut files, mut count, mut bytes) = (Vec::new(), 0_usize, 0_u64);
    let mut list = |path: &str, kind: Kind, name: &str| {
        let listed = listed(path, kind, name, modes)?;
        tree.add(&listed);
        count += 1;
        bytes += if kind == Kind::File { listed.size } else { 0 };
        if files.len() < limit {
            files.push(listed);
        }
        Ok::<_, Error>(())
    };
    if is_dir(&stat) {
        let below = if root == "/" { 1 } else { root.len() + 1 };
        let mut take = |entry: &Entry| {
            if params.excludes.0.iter().any(|pattern| matches(pattern, &entry.name)) {
                return Ok(false);
            }
            list(&entry.path, entry.kind, &entry.path[below..])?;
            Ok(true)
        };
        let mut walk = Walk::new(None, &mut take);
        walk.run(&root)?;
        if let Some(skipped) = walk.skipped.first() {
            // A hash of a part would be one of something else.
            let text = format!("{} cannot be read: {}", skipped.path, skipped.why);
            return Err(Error {
                hint: Some("leave it out with `excludes`".into()),
                ..Error::new("hash_tree.unread", text)
            });
        }
    } else if is_file(&stat) {
        let name = root.rsplit('/').next().unwrap_or_default();
        list(&root, Kind::File, name)?;
    } else {
        let kind = stat.kind.unwrap_or_default();
        return Err(Error::new(
            "hash_tree.kind",
            format!("{root} is neither a directory nor a file, but {kind}"),
        ));
    }
    let hash = tree.hash();
    if let Some(expected) =
        params.expected.as_deref().filter(|expected| !expected.eq_ignore_ascii_case(&hash))
    {
        let text = format!("{root} has the hash {hash}, expected {expected}");
        return Err(Error::new("hash_tree.other", text));
    }
    let (files, listed_count) = waft_tasks_common::listed(&files, LISTED_BYTES_MAX);
    Ok(Outcome::ok()
        .msg(format!("{count} files and directories, {bytes} bytes"))
        .with("path", &root)
        .with("hash", &hash)
        .with("count", &count)
        .with("bytes", &bytes)
        .with("truncated", &(count > listed_count))
        .with_json("files", files))
}

fn listed(path: &str, kind: Kind, name: &str, modes: bool) -> Result<Listed, Error> {
    // Of a plain file whose mode is not asked for the host need not be asked.
    let stat = if modes || kind != Kind::File { Some(file::stat(path)?) } else { None };
    let (mut size, mut sha256, mut target) = (0, None, None);
    match kind {
        Kind::File => {
            let (hash, bytes) = sum(path).map_err(|error| read_failed(path, &error))?;
            (size, sha256) = (bytes, Some(hash));
        }
        Kind::Symlink => target = stat.as_ref().and_then(|stat| stat.target.clone()),
        Kind::Dir | Kind::Other => {}
    }
    let kind = match (kind, &stat) {
        (Kind::File, _) => "file",
        (Kind::Dir, _) => "directory",
        (Kind::Symlink, _) => "link",
        (Kind::Other, _) => "other",
    };
    let mode = stat.filter(|_| modes && kind != "link").map(|stat| stat.mode);
    Ok(Listed { path: name.to_owned(), kind, mode, size, sha256, target })
}

fn sum(path: &str) -> std::io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut hash, mut piece, mut bytes) = (Sha256::new(), vec![0; PIECE_BYTES], 0);
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok((hex(&hash.finalize()), bytes));
        }
        hash.update(&piece[..count]);
        bytes += count as u64;
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
        let found = host.run(run, json!({ "path": dir, "limit": 5_000 })).unwrap();
        assert!(found.to_json().len() < RESULT_BYTES_MAX);
        assert_eq!((found.field("truncated"), found.field("count")), (Some("true"), Some("3000")));
        // Hardly more than it has to be.
        assert!(found.field("files").is_some_and(|files| files.len() > RESULT_BYTES_MAX / 2));
        let few = host.run(run, json!({ "path": dir, "limit": FILES / 3 })).unwrap();
        assert_eq!(few.field("files").unwrap().matches("\"path\"").count(), FILES / 3);
    }
}
