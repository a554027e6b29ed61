//! Files become an archive. The manifest says what the parameters are.

use serde::Deserialize;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, IntoInnerError, Read, Write};
use waft_sdk::file::{self, Stat};
use waft_sdk::{Error, Outcome};
use waft_tasks_archives::{Format, Kind, Member, Writer, gzip};
use waft_tasks_common::Words;
use waft_tasks_common::files::{
    self, Attributes, Backup, Entry, Replace, Walk, absolute, after, exists, is_dir, is_file, matches,
    parent, with_stat,
};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Entries of an archive: each costs a call of the host.
const ENTRIES_MAX: usize = 200_000;
/// Paths that are missing, of which it is told.
const MISSING_MAX: usize = 100;
/// Bytes that are written, and compared, at a time.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(alias = "paths")]
    path: Words,
    dest: String,
    format: Option<String>,
    #[serde(default, alias = "exclusion_patterns")]
    exclude: Words,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let dest = absolute("dest", &params.dest)?;
    let attributes = Attributes::new(params.mode.as_deref(), params.owner, params.group)?;
    let format = match params.format.as_deref() {
        Some(name) => Format::named(name)?,
        None => Format::of_name(&dest).unwrap_or(Format::Gzip),
    };
    let before = file::stat(&dest)?;
    if is_dir(&before) {
        let text = format!("{dest} is a directory");
        return Err(Error {
            hint: Some("give the name of the archive".into()),
            ..Error::new("archive.is_dir", text)
        });
    }
    let paths = params.path.0.iter().map(|path| absolute("path", path)).collect::<Result<Vec<_>, _>>()?;
    let above = common_root(&paths);
    let (mut entries, mut missing) = (Vec::new(), Vec::new());
    for path in &paths {
        gather(path, above, &dest, &params.exclude.0, &mut entries, &mut missing)?;
    }
    // A path that lies below another one, or is given twice.
    let mut seen = HashSet::new();
    entries.retain(|part: &Part| seen.insert(part.member.name.clone()));
    // The directory of the archive has another time whenever that is written.
    for part in entries.iter_mut().filter(|part| part.path == parent(&dest)) {
        part.member.modified = 0;
    }
    let shape = match &entries[..] {
        [only]
            if format == Format::Gzip
                && paths.len() == 1
                && only.member.kind == Kind::File
                && ![".tar.gz", ".tgz"].iter().any(|end| dest.ends_with(end)) =>
        {
            Shape::Plain
        }
        _ => Shape::Archive(format),
    };
    missing.truncate(MISSING_MAX);
    if entries.is_empty() {
        let text = format!("nothing of {} can be put into an archive", params.path.0.join(", "));
        let hint = missing.first().cloned().unwrap_or_else(|| "all of it is left out".to_owned());
        return Err(Error { hint: Some(hint), ..Error::new("archive.empty", text) });
    }
    let same = is_file(&before) && is_same(&dest, shape, &entries)?;
    let changed = if same {
        attributes.apply(&dest, &before)?
    } else {
        let replace = Replace { path: &dest, before: &before, attributes: &attributes, backup: Backup::No };
        replace.with(|file| {
            let mut into = write(shape, &entries, BufWriter::with_capacity(PIECE_BYTES, file))?;
            into.flush()
        })?;
        true
    };
    let outcome = Outcome::changed(changed)
        .msg(format!("{} entries", entries.len()))
        .with("dest", &dest)
        .with("count", &entries.len())
        .with("missing", &missing);
    Ok(with_stat(outcome, &after(&dest, changed, before)?))
}

#[derive(Clone, Copy)]
enum Shape {
    Archive(Format),
    /// One file, which is only compressed.
    Plain,
}

/// How many bytes of all paths are the directory above them: names in the archive begin behind it.
fn common_root(paths: &[String]) -> usize {
    let above = |path: &str| path.rfind('/').map_or(0, |slash| slash + 1);
    let Some(first) = paths.first() else { return 0 };
    let mut root = &first[..above(first)];
    while !paths.iter().all(|path| path[..above(path)].starts_with(root)) {
        root = &root[..above(root.trim_end_matches('/'))];
    }
    root.len()
}

/// A file of the target, and what it is in the archive.
struct Part {
    path: String,
    member: Member,
}

fn gather(
    path: &str,
    above: usize,
    dest: &str,
    exclude: &[String],
    parts: &mut Vec<Part>,
    missing: &mut Vec<String>,
) -> Result<(), Error> {
    let stat = file::stat(path)?;
    if !exists(&stat) {
        missing.push(path.to_owned());
        return Ok(());
    }
    let name = path.get(above..).unwrap_or_default();
    if !name.is_empty() {
        parts.extend(part(path, name, &stat));
    }
    if !is_dir(&stat) {
        return Ok(());
    }
    let mut take = |entry: &Entry| {
        // Itself, and what is written for a moment beside it.
        let own = entry.path == dest || entry.name.starts_with(".waft-");
        if own || exclude.iter().any(|pattern| matches(pattern, &entry.name)) {
            return Ok(false);
        }
        if parts.len() >= ENTRIES_MAX {
            let text = format!("{} is beyond the {ENTRIES_MAX} entries of an archive", entry.path);
            return Err(Error {
                hint: Some("leave some out with `exclude`".into()),
                ..Error::new("archive.many", text)
            });
        }
        if entry.kind != files::Kind::Other {
            parts.extend(part(&entry.path, &entry.path[above..], &file::stat(&entry.path)?));
        }
        Ok(true)
    };
    let mut walk = Walk::new(None, &mut take);
    walk.run(path)?;
    missing.extend(walk.skipped.into_iter().map(|skipped| skipped.path));
    Ok(())
}

fn part(path: &str, name: &str, stat: &Stat) -> Option<Part> {
    let (kind, size, end) = match stat.kind.as_deref() {
        Some("file") => (Kind::File, stat.size, ""),
        Some("dir") => (Kind::Dir, 0, "/"),
        Some("symlink") => (Kind::Symlink(stat.target.clone()?), 0, ""),
        _ => return None,
    };
    let modified = stat.mtime.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let mode = u32::from_str_radix(&stat.mode, 8).unwrap_or(0) & 0o777;
    let member = Member { name: [name, end].concat(), kind, mode, size, modified };
    Some(Part { path: path.to_owned(), member })
}

fn write<W: Write>(shape: Shape, parts: &[Part], into: W) -> io::Result<W> {
    let mut writer = match (shape, parts) {
        (Shape::Archive(format), _) => Writer::new(format, into),
        (Shape::Plain, [part]) => return gzip(&mut File::open(&part.path)?, into),
        (Shape::Plain, _) => return Err(io::Error::other("only one file is compressed without an archive")),
    };
    for part in parts {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", part.path));
        if part.member.kind == Kind::File {
            writer.add(&part.member, &mut File::open(&part.path).map_err(named)?).map_err(named)?;
        } else {
            writer.add(&part.member, &mut io::empty()).map_err(named)?;
        }
    }
    writer.finish()
}

/// Whether an archive would become what is there.
fn is_same(path: &str, shape: Shape, parts: &[Part]) -> Result<bool, Error> {
    let failed = |error: io::Error| files::read_failed(path, &error);
    let same = Same { there: File::open(path).map_err(failed)?, piece: vec![0; PIECE_BYTES], other: false };
    let written = write(shape, parts, BufWriter::with_capacity(PIECE_BYTES, same));
    // A small one is compared only here.
    match written.and_then(|buffer| buffer.into_inner().map_err(IntoInnerError::into_error)) {
        Ok(mut same) => {
            let end = same.there.read(&mut same.piece).map_err(failed)? == 0;
            Ok(end && !same.other)
        }
        // It is said again, and with its reason, when it is written.
        Err(_) => Ok(false),
    }
}

/// Compares instead of writing, and ends with an error where something is other.
struct Same {
    there: File,
    piece: Vec<u8>,
    other: bool,
}

impl Write for Same {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.piece.len());
        let there = &mut self.piece[..count];
        self.other |= self.there.read_exact(there).is_err() || *there != bytes[..count];
        if self.other { Err(io::Error::other("it is another one")) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, FileTimes};
    use std::time::{Duration, UNIX_EPOCH};
    use waft_sdk::serde_json::json;
    use waft_sdk::testing::Fake;

    #[test]
    fn an_archive_inside_of_what_it_holds_is_not_written_again() {
        let host = Fake::new();
        let app = host.dir().join("app");
        fs::create_dir_all(app.join("backups")).unwrap();
        fs::write(app.join("f"), "text").unwrap();
        let touch = |path: &std::path::Path, seconds: u64| {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
        };
        for name in ["app.tar", "backups/app.zip"] {
            let dest = app.join(name);
            let run = || host.run(run, json!({ "path": app, "dest": dest })).unwrap();
            touch(&app.join("f"), 1_700_000_000);
            touch(dest.parent().unwrap(), 1_700_000_000);
            assert!(run().is_changed(), "{name}");
            // As it is when the second run is later than the first.
            touch(dest.parent().unwrap(), 1_700_000_100);
            assert!(!run().is_changed(), "{name}");
            // Times of all others count.
            touch(&app.join("f"), 1_700_000_200);
            assert!(run().is_changed(), "{name}");
            fs::remove_file(&dest).unwrap();
        }
    }
}
