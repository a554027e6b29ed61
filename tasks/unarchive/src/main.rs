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
const ENTRIES_MAX: u64 = 200_000;
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
    let count = survey(&source, &choice, params.max_bytes.unwrap_or(BYTES_MAX_DEFAULT))?;
    let mut unpack = Unpack::new(&dest, &attributes);
    let mut names = Vec::new();
    each(source.open()?, &mut |member, body| {
        let Some(name) = choice.name(&member.name)? else { return Ok(()) };
        unpack.put(&name, &linked(member, &choice)?, body)?;
        if params.list_files.0 && names.len() < NAMES_MAX {
            names.push(name);
        }
        Ok(())
    })?;
    let written = unpack.finish()?;
    let outcome = Outcome::changed(written > 0)
        .msg(format!("{written} of {count} entries were missing or other"))
        .with("dest", &dest)
        .with("count", &count)
        .with("written", &written);
    Ok(if params.list_files.0 { outcome.with("files", &names) } else { outcome })
}

/// Names, links, kinds and sizes of all of it; how many entries are wanted.
fn survey(source: &Source, choice: &Choice, bytes_max: u64) -> Result<u64, Error> {
    let (mut count, mut bytes) = (0, 0_u64);
    let mut symlinks = HashMap::new();
    each(source.open()?, &mut |member, body| {
        let Some(name) = choice.name(&member.name)? else { return Ok(()) };
        count += 1;
        if count > ENTRIES_MAX {
            return Err(Error::new(
                "unarchive.many",
                format!("the archive holds more than {ENTRIES_MAX} entries"),
            ));
        }
        match &member.kind {
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
            Kind::HardLink(_) => {
                let kind = linked(member, choice)?.kind;
                // Another name of a symlink, from where it may lead somewhere else.
                if let Kind::HardLink(to) = kind
                    && let Some(target) = symlinks.get(&to).cloned()
                {
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
    Ok(count)
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
