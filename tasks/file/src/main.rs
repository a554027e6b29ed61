//! Mode, owner, links, directories, and the absence of files. The manifest says what the parameters are.

mod remove;
mod touch;

use serde::Deserialize;
use std::fs::{self, OpenOptions};
use waft_sdk::file::{self, Stat};
use waft_sdk::{Error, Outcome};
use waft_tasks_common::Yes;
use waft_tasks_common::files::{
    Attributes, absolute, after, child, exists, is_dir, is_file, is_symlink, led_to, make_dirs, parent,
    read_failed, resolved, with_stat, write_failed,
};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Directories in each other that are gone through.
const DEPTH_MAX: u32 = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(alias = "dest", alias = "name")]
    path: String,
    state: Option<State>,
    src: Option<String>,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
    #[serde(default)]
    recurse: Yes,
    #[serde(default)]
    force: Yes,
    follow: Option<Yes>,
    modification_time: Option<String>,
    access_time: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum State {
    File,
    Absent,
    Directory,
    Link,
    Hard,
    Touch,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let path = absolute("path", &params.path)?;
    let attributes = Attributes::new(params.mode.as_deref(), params.owner.clone(), params.group.clone())?;
    let follow = params.follow.unwrap_or(Yes(true)).0;
    fits(&params)?;
    match params.state {
        Some(State::Absent) => absent(&path),
        Some(State::Directory) => directory(&path, follow, params.recurse.0, &attributes),
        None if params.recurse.0 => directory(&path, follow, true, &attributes),
        Some(State::Link) => link(&path, &source(&params)?, params.force.0, &attributes),
        Some(State::Hard) => hard(&path, &absolute("src", &source(&params)?)?, params.force.0, &attributes),
        Some(State::Touch) => touch(&path, follow, &params, &attributes),
        Some(State::File) | None => present(&path, follow, params.state, &attributes),
    }
}

/// Parameters that would do nothing for this state are mistakes.
fn fits(params: &Params) -> Result<(), Error> {
    let wrong = |name: &str, states: &str| {
        let text = format!("`{name}` means something for the state {states} only");
        Err(Error {
            hint: Some(format!("leave `{name}` out, or give that state")),
            ..Error::new("params.state", text)
        })
    };
    let is = |states: &[State]| params.state.is_some_and(|state| states.contains(&state));
    if params.src.is_some() && !is(&[State::Link, State::Hard]) {
        return wrong("src", "`link` or `hard`");
    }
    if params.recurse.0 && params.state.is_some() && !is(&[State::Directory]) {
        return wrong("recurse", "`directory`");
    }
    if (params.modification_time.is_some() || params.access_time.is_some()) && !is(&[State::Touch]) {
        return wrong("modification_time` and `access_time", "`touch`");
    }
    Ok(())
}

fn source(params: &Params) -> Result<String, Error> {
    params.src.clone().filter(|src| !src.is_empty()).ok_or_else(|| {
        let text = "`src` is missing: what the link shall point to";
        Error {
            hint: Some("for example -p src=/srv/app/releases/42".into()),
            ..Error::new("params.src", text)
        }
    })
}

/// What was done, with what is there now.
fn done(changed: bool, path: &str, state: &str, before: Stat) -> Result<Outcome, Error> {
    let now = after(path, changed, before)?;
    Ok(with_stat(Outcome::changed(changed).with("path", path).with("state", state), &now))
}

fn look(path: &str, follow: bool) -> Result<(String, Stat), Error> {
    if follow { resolved(path) } else { Ok((path.to_owned(), file::stat(path)?)) }
}

fn present(
    path: &str,
    follow: bool,
    state: Option<State>,
    attributes: &Attributes,
) -> Result<Outcome, Error> {
    let (path, stat) = look(path, follow)?;
    let state = match stat.kind.as_deref() {
        None => {
            let hint = "state=touch makes an empty file, state=directory a directory, the task `copy` a file";
            let text = format!("{path} is not there");
            return Err(Error { hint: Some(hint.into()), ..Error::new("file.absent", text) });
        }
        Some("dir") if state.is_some() => {
            let text = format!("{path} is a directory, and state=file was asked for");
            return Err(Error::new("file.is_dir", text));
        }
        Some("dir") => "directory",
        Some("symlink") => "link",
        Some("file") => "file",
        Some(other) => other,
    }
    .to_owned();
    let changed = attributes.apply(&path, &stat)?;
    done(changed, &path, &state, stat)
}

fn directory(path: &str, follow: bool, recurse: bool, attributes: &Attributes) -> Result<Outcome, Error> {
    let (path, stat) = look(path, follow)?;
    let mut changed = false;
    if !is_dir(&stat) {
        let made = make_dirs(&path)?;
        changed = !made.is_empty();
        for dir in &made {
            attributes.apply(dir, &file::stat(dir)?)?;
        }
    } else {
        changed |= attributes.apply(&path, &stat)?;
        if recurse {
            changed |= within(&path, attributes, DEPTH_MAX)?;
        }
    }
    done(changed, &path, "directory", stat)
}

/// Mode and owner of all that is in a directory.
fn within(dir: &str, attributes: &Attributes, depth: u32) -> Result<bool, Error> {
    let Some(depth) = depth.checked_sub(1) else { return Err(deep(dir)) };
    let mut changed = false;
    for name in names(dir)? {
        let path = child(dir, &name);
        let stat = file::stat(&path)?;
        changed |= attributes.apply(&path, &stat)?;
        if is_dir(&stat) {
            changed |= within(&path, attributes, depth)?;
        }
    }
    Ok(changed)
}

fn deep(dir: &str) -> Error {
    Error::new("file.deep", format!("{dir} is deeper than {DEPTH_MAX} directories in each other"))
}

fn names(dir: &str) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| read_failed(dir, &error))? {
        let name = entry.map_err(|error| read_failed(dir, &error))?.file_name();
        let text = |_| Error::new("files.utf8", format!("{dir} holds a name that is no UTF-8"));
        names.push(name.into_string().map_err(text)?);
    }
    Ok(names)
}

fn absent(path: &str) -> Result<Outcome, Error> {
    let stat = file::stat(path)?;
    let changed = exists(&stat);
    if changed {
        remove::all(path, is_dir(&stat))?;
    }
    Ok(Outcome::changed(changed).with("path", path).with("state", "absent"))
}

fn link(path: &str, src: &str, force: bool, attributes: &Attributes) -> Result<Outcome, Error> {
    let stat = file::stat(path)?;
    // A link has no mode of its own.
    let attributes = Attributes { mode: None, ..attributes.clone() };
    if is_symlink(&stat) && stat.target.as_deref() == Some(src) {
        let changed = attributes.apply(path, &stat)?;
        return Ok(done(changed, path, "link", stat)?.with("src", src));
    }
    if !force {
        let from = parent(path);
        // Where that is not granted nobody can look, and nothing is said of it.
        if led_to(from, src).is_ok_and(|(_, stat)| !exists(&stat)) {
            let text = format!("{src}, which {path} shall point to, is not there (seen from {from})");
            return Err(Error {
                hint: Some("make it first, or give force=yes".into()),
                ..Error::new("file.src", text)
            });
        }
    }
    may_replace(path, &stat, force)?;
    let make = |name: &str| {
        file::symlink(name, src)?;
        attributes.apply(name, &file::stat(name)?).map(drop)
    };
    put(path, &stat, make)?;
    Ok(done(true, path, "link", stat)?.with("src", src))
}

fn hard(path: &str, src: &str, force: bool, attributes: &Attributes) -> Result<Outcome, Error> {
    let (stat, other) = (file::stat(path)?, file::stat(src)?);
    if !exists(&other) {
        return Err(Error::new(
            "file.src",
            format!("{src}, which {path} shall be another name of, is not there"),
        ));
    }
    if is_dir(&other) {
        return Err(Error::new("file.src", format!("{src} is a directory, which has no hard links")));
    }
    let mut changed = false;
    if !(exists(&stat) && stat.inode == other.inode && stat.device == other.device) {
        may_replace(path, &stat, force)?;
        put(path, &stat, |name| file::link(src, name).map(drop))?;
        changed = true;
    }
    changed |= attributes.apply(path, &other)?;
    Ok(done(changed, path, "hard", other)?.with("src", src))
}

/// What a link would take the place of: other symlinks go at once, files and empty directories when that is asked for.
fn may_replace(path: &str, stat: &Stat, force: bool) -> Result<(), Error> {
    if !exists(stat) || is_symlink(stat) || force && (is_file(stat) || is_dir(stat)) {
        return Ok(());
    }
    let kind = stat.kind.as_deref().unwrap_or_default();
    let text = format!("{path} is there already, and no link but {kind}");
    Err(Error {
        hint: Some("force=yes puts the link in place of a file or an empty directory".into()),
        ..Error::new("file.in_the_way", text)
    })
}

/// Has a link made beside what is there, and puts it in its place: what cannot be made costs nobody the old one.
fn put(path: &str, before: &Stat, make: impl FnOnce(&str) -> Result<(), Error>) -> Result<(), Error> {
    if !exists(before) {
        return make(path);
    }
    let run = std::env::var("WAFT_RUN").unwrap_or_default();
    let beside = child(parent(path), &[".waft-link-", &run].concat());
    let placed = make(&beside).and_then(|()| {
        if is_dir(before) {
            // No link is renamed over a directory.
            fs::remove_dir(path).map_err(|error| write_failed(path, &error))?;
        }
        file::rename(&beside, path)
    });
    if let Err(error) = placed {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    Ok(())
}

fn touch(path: &str, follow: bool, params: &Params, attributes: &Attributes) -> Result<Outcome, Error> {
    let (path, stat) = look(path, follow)?;
    let time = |name: &str, time: &Option<String>| match time.as_deref() {
        Some("preserve") => Ok(None),
        None | Some("now") if exists(&stat) => Ok(Some("now".to_owned())),
        None | Some("now") => Ok(None),
        Some(other) => touch::seconds(name, other).map(Some),
    };
    let modified = time("modification_time", &params.modification_time)?;
    let accessed = time("access_time", &params.access_time)?;
    let mut changed = !exists(&stat);
    if changed {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| write_failed(&path, &error))?;
    }
    if modified.is_some() || accessed.is_some() {
        changed |= file::utime(&path, modified.as_deref(), accessed.as_deref())?;
    }
    let now = if exists(&stat) { stat } else { file::stat(&path)? };
    let set = exists(&now) && attributes.apply(&path, &now)?;
    let state = if is_dir(&now) { "directory" } else { "file" };
    done(changed || set, &path, state, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_would_do_nothing_are_refused() {
        let read = |text: &str| serde_json::from_str::<Params>(text).unwrap();
        for (text, word) in [
            (r#"{"path":"/a","src":"b"}"#, "`src`"),
            (r#"{"path":"/a","state":"absent","recurse":true}"#, "`recurse`"),
            (r#"{"path":"/a","access_time":"now"}"#, "`access_time`"),
        ] {
            let error = fits(&read(text)).unwrap_err();
            assert!(error.code == "params.state" && error.message.contains(word), "{error}");
        }
        assert!(fits(&read(r#"{"dest":"/a","recurse":"yes"}"#)).is_ok());
    }
}
