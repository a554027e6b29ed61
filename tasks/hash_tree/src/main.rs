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

/// Files that are listed: the result is at most 1 MiB.
const LISTED_MAX: usize = 5_000;
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
    Ok(Outcome::ok()
        .msg(format!("{count} files and directories, {bytes} bytes"))
        .with("path", &root)
        .with("hash", &hash)
        .with("count", &count)
        .with("bytes", &bytes)
        .with("truncated", &(count > files.len()))
        .with("files", &files))
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
