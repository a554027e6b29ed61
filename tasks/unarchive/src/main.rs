//! An archive becomes files. The manifest says what the parameters are.

mod unpack;

use serde::Deserialize;
use std::collections::HashMap;
use std::io::Read;
use unarchive_task::{Choice, stays_inside};
use unpack::{Unpack, told};
use waft_sdk::{Error, Outcome, file};
use waft_tasks_archives::{Kind, Member, each};
use waft_tasks_common::files::{Attributes, Sent, Source, absolute, exists, is_dir};
use waft_tasks_common::{Words, Yes};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Of all files together, bytes, when it is not given.
const BYTES_MAX_DEFAULT: u64 = 1 << 30;
/// Entries of an archive: each costs calls of the host.
const ENTRIES_MAX: usize = 200_000;
/// Names that are answered: the result is at most 1 MiB.
const NAMES_MAX: usize = 5_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    dest: String,
    src: Option<Sent>,
    remote_src: Option<String>,
    creates: Option<String>,
    #[serde(default)]
    exclude: Words,
    #[serde(default)]
    include: Words,
    #[serde(default)]
    strip_components: usize,
    max_bytes: Option<u64>,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
    #[serde(default)]
    list_files: Yes,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let dest = absolute("dest", &params.dest)?;
    let attributes = Attributes::new(params.mode.as_deref(), params.owner, params.group)?;
    if let Some(creates) = &params.creates {
        let creates = absolute("creates", creates)?;
        if exists(&file::stat(&creates)?) {
            return Ok(Outcome::ok().msg(format!("{creates} is there already")).with("dest", &dest));
        }
    }
    let source = match (params.src, params.remote_src) {
        (Some(sent), None) => Source::Sent(sent),
        (None, Some(path)) => Source::file(absolute("remote_src", &path)?)?,
        _ => {
            let hint = "for example -p src@app.tar.gz, for a file of this machine";
            let text = "expected `src` or `remote_src`";
            return Err(Error { hint: Some(hint.into()), ..Error::new("params.source", text) });
        }
    };
    let stat = file::stat(&dest)?;
    if !is_dir(&stat) {
        let text = format!("{dest} is no directory, but {}", stat.kind.as_deref().unwrap_or("nothing"));
        let hint = "make it first, with the task `file` and state=directory";
        return Err(Error { hint: Some(hint.into()), ..Error::new("unarchive.dest", text) });
    }
    let choice =
        Choice { include: params.include.0, exclude: params.exclude.0, strip: params.strip_components };
    // All of it is looked at before anything is written.
    let wanted = survey(&source, &choice, params.max_bytes.unwrap_or(BYTES_MAX_DEFAULT))?;
    let mut unpack = Unpack::new(&dest, &attributes);
    let (mut names, mut next) = (Vec::new(), 0);
    each(source.open()?, &mut |member, body| {
        let Some(name) = choice.name(&member.name)? else { return Ok(()) };
        next += 1;
        if !wanted.get(next - 1).copied().unwrap_or(true) {
            return Ok(());
        }
        unpack.put(&name, &linked(member, &choice)?, body)?;
        if params.list_files.0 && names.len() < NAMES_MAX {
            names.push(name);
        }
        Ok(())
    })?;
    let (written, count) = (unpack.finish()?, wanted.len());
    let outcome = Outcome::changed(written > 0)
        .msg(format!("{written} of {count} entries were missing or other"))
        .with("dest", &dest)
        .with("count", &count)
        .with("written", &written);
    Ok(if params.list_files.0 { outcome.with("files", &names) } else { outcome })
}

/// Names, links, kinds and sizes of all of it; of each entry that is chosen, whether it is written.
fn survey(source: &Source, choice: &Choice, bytes_max: u64) -> Result<Vec<bool>, Error> {
    let mut bytes = 0_u64;
    let (mut entries, mut symlinks) = (Entries::default(), HashMap::new());
    each(source.open()?, &mut |member, body| {
        let Some(name) = choice.name(&member.name)? else { return Ok(()) };
        if entries.links.len() == ENTRIES_MAX {
            return Err(Error::new(
                "unarchive.many",
                format!("the archive holds more than {ENTRIES_MAX} entries"),
            ));
        }
        let kind = linked(member, choice)?.kind;
        entries.add(&name, &kind);
        match &kind {
            Kind::Symlink(target) => {
                stays_inside(&name, target)?;
                symlinks.insert(name.clone(), target.clone());
            }
            Kind::Sparse => {
                let text = format!("the archive holds `{name}` as a sparse file, which is not read here");
                let hint = "pack it without --sparse, or leave it out with `exclude`; nothing of the archive was unpacked";
                return Err(Error { hint: Some(hint.into()), ..Error::new("unarchive.kind", text) });
            }
            Kind::Other => {
                let text = format!("the archive holds `{name}`, which is a device, a FIFO or unknown");
                let hint = "leave it out with `exclude`; nothing of the archive was unpacked";
                return Err(Error { hint: Some(hint.into()), ..Error::new("unarchive.kind", text) });
            }
            Kind::HardLink(to) => {
                // Another name of a symlink, from where it may lead somewhere else.
                if let Some(target) = symlinks.get(to).cloned() {
                    stays_inside(&name, &target)?;
                    symlinks.insert(name.clone(), target);
                }
            }
            Kind::File | Kind::Dir => {}
        }
        // What is said may be less than what comes: each entry is read to its end.
        let read = std::io::copy(&mut Read::take(body, bytes_max - bytes + 1), &mut std::io::sink());
        bytes += read.map_err(|error| told(&name, &error))?;
        if bytes > bytes_max {
            let text = format!("the files of the archive are larger than {bytes_max} bytes together");
            let hint = "give a larger `max_bytes` when that is right; nothing was unpacked";
            return Err(Error { hint: Some(hint.into()), ..Error::new("unarchive.size", text) });
        }
        Ok(())
    })?;
    Ok(entries.written())
}

/// Of several entries with one name, as tar(1) makes them with -r and -u, the last counts.
#[derive(Default)]
struct Entries {
    /// The last entry of each name so far.
    last: HashMap<String, usize>,
    /// Of each entry that is a hard link the one that it is to.
    links: Vec<Option<usize>>,
}

impl Entries {
    fn add(&mut self, name: &str, kind: &Kind) {
        let to = if let Kind::HardLink(to) = kind { self.last.get(to).copied() } else { None };
        self.last.insert(name.to_owned(), self.links.len());
        self.links.push(to);
    }

    /// The last of each name, and what hard links among these are to.
    fn written(self) -> Vec<bool> {
        let mut written = vec![false; self.links.len()];
        for at in self.last.into_values() {
            written[at] = true;
        }
        // A link is behind what it is to.
        for (at, to) in self.links.into_iter().enumerate().rev() {
            if let Some(to) = to.filter(|_| written[at]) {
                written[to] = true;
            }
        }
        written
    }
}

/// The entry, with the name that a hard link is to as it is in the directory.
fn linked(member: &Member, choice: &Choice) -> Result<Member, Error> {
    let Kind::HardLink(name) = &member.kind else { return Ok(member.clone()) };
    match choice.name(name)? {
        Some(name) => Ok(Member { kind: Kind::HardLink(name), ..member.clone() }),
        None => {
            let text = format!("`{}` is a hard link to `{name}`, which is left out", member.name);
            Err(Error { hint: Some("leave out both or none".into()), ..Error::new("unarchive.link", text) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use waft_sdk::serde_json::json;
    use waft_sdk::testing::Fake;
    use waft_tasks_archives::{Format, Writer};

    /// A tar of these, and a directory beside it.
    fn archive(host: &Fake, entries: &[(&str, Kind, &str)]) -> waft_sdk::serde_json::Value {
        let mut tar = Writer::new(Format::Tar, Vec::new());
        for (name, kind, text) in entries {
            let (name, size) = ((*name).to_owned(), text.len() as u64);
            let member = Member { name, kind: kind.clone(), mode: 0o644, size, modified: 0 };
            tar.add(&member, &mut text.as_bytes()).unwrap();
        }
        let (tar_path, dest) = (host.dir().join("tar"), host.dir().join("dest"));
        fs::write(&tar_path, tar.finish().unwrap()).unwrap();
        fs::create_dir_all(&dest).unwrap();
        json!({ "remote_src": tar_path, "dest": dest, "list_files": true })
    }

    fn link(to: &str) -> Kind {
        Kind::HardLink(to.to_owned())
    }

    #[test]
    fn of_entries_with_one_name_the_last_is_written() {
        let host = Fake::new();
        let twice = [
            ("d", Kind::Dir, ""),
            ("d/a", Kind::File, "old"),
            ("d/b", link("d/a"), ""),
            ("d", Kind::Dir, ""),
            ("d/a", Kind::File, "new"),
            ("d/b", link("d/a"), ""),
        ];
        let params = archive(&host, &twice);
        let first = host.run(run, params.clone()).unwrap();
        assert!(first.is_changed());
        assert_eq!(first.field("files"), Some(r#"["d","d/a","d/b"]"#));
        let dir = host.dir().join("dest/d");
        for name in ["a", "b"] {
            assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), "new", "{name}");
        }
        // What is old is at no moment there.
        let placed = host.calls().iter().filter(|call| call.request["to"] == json!(dir.join("a"))).count();
        assert_eq!(placed, 1);
        assert!(!host.run(run, params).unwrap().is_changed());
    }

    #[test]
    fn an_entry_that_only_a_link_is_to_is_written_before_the_last() {
        let host = Fake::new();
        let entries = [("a", Kind::File, "old"), ("b", link("a"), ""), ("a", Kind::File, "new")];
        assert!(host.run(run, archive(&host, &entries)).unwrap().is_changed());
        let text = |name: &str| fs::read_to_string(host.dir().join("dest").join(name)).unwrap();
        assert_eq!((text("a").as_str(), text("b").as_str()), ("new", "old"));
    }
}
