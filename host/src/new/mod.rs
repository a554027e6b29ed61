//! A project for a task, from the templates in sdk/templates, which are built in together with the bindings: nothing is
//! downloaded but what the language's own tools download.

mod name;

use crate::files::plain;
use std::borrow::Cow;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::path::Path;
use waft_proto::grant::nearest;
use waft_proto::run::Problem;

/// A file of a template.
struct File {
    place: &'static str,
    /// The task's name is put into it.
    named: bool,
    bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// What stands for the task's name in a file of a template; the same with `_` for `-`; and in the name of a file.
const NAME: &str = "{{name}}";
const IDENT: &str = "{{ident}}";
const NAME_IN_PLACE: &str = "__name__";

/// The languages that there are templates for.
pub fn languages() -> impl Iterator<Item = &'static str> {
    LANGUAGES.iter().map(|(language, _)| *language)
}

/// The files of a project: where they lie below its directory, and what is in them.
#[derive(Debug)]
pub struct Project {
    files: Vec<(String, Cow<'static, [u8]>)>,
}

impl Project {
    pub fn plan(name: &str, language: &str) -> Result<Project, Vec<Problem>> {
        let known = LANGUAGES.iter().find(|(known, _)| *known == language);
        let mut problems: Vec<Problem> = name::check(name).err().into_iter().collect();
        let Some((_, files)) = known else {
            problems.push(unknown(language));
            return Err(problems);
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let files = files.iter().map(|file| (file.place.replace(NAME_IN_PLACE, name), filled(file, name)));
        Ok(Project { files: files.collect() })
    }

    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(place, bytes)| (place.as_str(), bytes.as_ref()))
    }

    /// Writes them below `dir`, which is made, or has nothing in it; how many there were. When that fails, a directory that
    /// was made is gone again.
    pub fn write(&self, dir: &Path) -> Result<usize, Problem> {
        let made = make(dir)?;
        for (place, bytes) in &self.files {
            let path = dir.join(place);
            let parent = path.parent().unwrap_or(dir);
            let written = DirBuilder::new()
                .recursive(true)
                .create(parent)
                .and_then(|()| fs::File::create_new(&path).and_then(|mut file| file.write_all(bytes)));
            if let Err(error) = written {
                if made {
                    // What is still there then is told by the next attempt.
                    let _ = fs::remove_dir_all(dir);
                }
                let text = format!("cannot write {}: {}", path.display(), plain(&error));
                return Err(Problem::new("new.write", text));
            }
        }
        Ok(self.files.len())
    }
}

/// Whether the directory had to be made.
fn make(dir: &Path) -> Result<bool, Problem> {
    let problem = |error: &io::Error| {
        Problem::new("new.dir", format!("cannot make a project in {}: {}", dir.display(), plain(error)))
    };
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(false),
            Some(_) => {
                let text = format!("the directory {} is there already, and is not empty", dir.display());
                Err(Problem::new("new.exists", text)
                    .hint("give another name, or another directory with --dir"))
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(|error| problem(&error))?;
            Ok(true)
        }
        Err(error) => Err(problem(&error)),
    }
}

fn filled(file: &File, name: &str) -> Cow<'static, [u8]> {
    match std::str::from_utf8(file.bytes) {
        Ok(text) if file.named => {
            Cow::Owned(text.replace(NAME, name).replace(IDENT, &name.replace('-', "_")).into_bytes())
        }
        _ => Cow::Borrowed(file.bytes),
    }
}

fn unknown(language: &str) -> Problem {
    let known: Vec<&str> = languages().collect();
    let text = format!("there is no template for the language `{}`", language.escape_debug());
    let hint = match nearest(language, known.iter().copied()) {
        Some(near) => format!("did you mean --lang {near}?"),
        None => format!("--lang is one of {}", known.join(", ")),
    };
    Problem::new("new.lang", text).hint(hint)
}

/// A word as a shell takes it.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./+,:@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(format!("'{}'", word.replace('\'', "'\\''"))),
    }
}

#[cfg(test)]
mod tests;
