//! Where the value of a secret comes from, as text: `--secret NAME=SOURCE`, and `from` in an inventory.

use super::command::words;
use super::{Declared, Kind};
use std::path::{Path, PathBuf};
use waft_proto::grant::Grant;
use waft_proto::run::Problem;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Asked for at the terminal, without echo.
    Prompt,
    /// A variable of waft's own environment.
    Env(String),
    File(PathBuf),
    /// The output of a program. No shell looks at it.
    Command(Vec<String>),
    /// What `age --decrypt` makes of a file.
    Age(PathBuf),
}

const FORM: &str = "write prompt, env:VARIABLE, file:PATH, cmd:\"PROGRAM ARG...\" or age:FILE";

impl Source {
    /// The problem does not repeat the text: it may be the value, given by mistake.
    pub fn parse(text: &str) -> Result<Source, Problem> {
        let wrong = |what: &str| Problem::new("secret.source", format!("the source of a secret {what}"));
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let some = |what: &str| if rest.is_empty() { Err(wrong(what).hint(FORM)) } else { Ok(rest) };
        match kind {
            "prompt" if text == "prompt" => Ok(Source::Prompt),
            "env" => {
                let name = some("names no variable after `env:`")?;
                if name.contains(['=', '\0']) {
                    return Err(wrong("is no name of a variable after `env:`").hint(FORM));
                }
                Ok(Source::Env(name.to_owned()))
            }
            "file" => Ok(Source::File(some("names no file after `file:`")?.into())),
            "age" => Ok(Source::Age(some("names no file after `age:`")?.into())),
            "cmd" => {
                let words = words(some("names no program after `cmd:`")?)?;
                if words.first().is_none_or(String::is_empty) {
                    return Err(wrong("names no program after `cmd:`").hint(FORM));
                }
                Ok(Source::Command(words))
            }
            _ => Err(wrong("is none that is known; a value is never given on the command line").hint(FORM)),
        }
    }

    /// Relative files are below `beside`, and `~/` is `home`.
    pub fn placed(self, beside: &Path, home: Option<&Path>) -> Source {
        let place = |path: PathBuf| match (path.strip_prefix("~"), home) {
            (Ok(below), Some(home)) => home.join(below),
            _ => beside.join(path),
        };
        match self {
            Source::File(path) => Source::File(place(path)),
            Source::Age(path) => Source::Age(place(path)),
            other => other,
        }
    }

    /// For sentences: where, and no argument of a command.
    pub fn said(&self) -> String {
        match self {
            Source::Prompt => "the terminal".to_owned(),
            Source::Env(name) => format!("the variable {name}"),
            Source::File(path) => format!("the file {}", path.display()),
            Source::Command(words) => {
                format!("the command {}", words.first().map(String::as_str).unwrap_or_default())
            }
            Source::Age(path) => format!("the age file {}", path.display()),
        }
    }
}

/// `NAME=SOURCE` or `NAME:bytes=SOURCE`.
pub fn flag(text: &str, home: Option<&Path>) -> Result<(String, Declared), Problem> {
    let (name, source) = text.split_once('=').ok_or_else(|| {
        Problem::new("secret.flag", "--secret takes NAME=SOURCE, and here is no `=`").hint(FORM)
    })?;
    let (name, kind) = match name.split_once(':') {
        None => (name, None),
        Some((name, word)) => {
            let kind = Kind::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, kind)| kind);
            let kind = kind.ok_or_else(|| {
                Problem::new("secret.flag", format!("--secret {name}: the type is text or bytes"))
                    .hint(format!("write --secret {name}:bytes=SOURCE"))
            })?;
            (name, Some(kind))
        }
    };
    Grant::parse(&format!("secret:{name}"))?;
    let source = Source::parse(source).map_err(|mut problem| {
        problem.message = format!("--secret {name}: {}", problem.message);
        problem
    })?;
    let source = source.placed(Path::new(""), home);
    Ok((name.to_owned(), Declared { kind, source: Some(source), ..Declared::default() }))
}

/// All flags; each name once.
pub fn flags(texts: &[String], home: Option<&Path>) -> Result<super::Declarations, Vec<Problem>> {
    let mut given = super::Declarations::new();
    let mut problems = Vec::new();
    for text in texts {
        match flag(text, home) {
            Ok((name, _)) if given.contains_key(&name) => {
                let text = format!("--secret {name} is given twice");
                problems.push(Problem::new("secret.flag", text).hint("leave one of them out"));
            }
            Ok((name, declared)) => {
                given.insert(name, declared);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(given) } else { Err(problems) }
}
