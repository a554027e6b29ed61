//! One line of a text file. The manifest says what the parameters are.

use lineinfile_task::{Search, Wish, absent, present};
use serde::Deserialize;
use waft_sdk::{Error, Outcome};
use waft_tasks_common::files::{Attributes, Edit, Insert, absolute, regexp};
use waft_tasks_common::{State, Yes};

waft_sdk::task!(run, manifest = "../waft.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(alias = "dest", alias = "destfile", alias = "name")]
    path: String,
    #[serde(alias = "value")]
    line: Option<String>,
    #[serde(alias = "regex")]
    regexp: Option<String>,
    search_string: Option<String>,
    #[serde(default)]
    state: State,
    insertafter: Option<String>,
    insertbefore: Option<String>,
    #[serde(default)]
    firstmatch: Yes,
    #[serde(default)]
    backrefs: Yes,
    #[serde(default)]
    create: Yes,
    #[serde(default)]
    backup: Yes,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let path = absolute("path", &params.path)?;
    let attributes = Attributes::new(params.mode.as_deref(), params.owner, params.group)?;
    let line = params.line.as_deref();
    if line.is_some_and(|line| line.contains(['\n', '\r'])) {
        let text = "`line` holds the end of a line: it is one line";
        return Err(Error {
            hint: Some("see the task `blockinfile`".into()),
            ..Error::new("params.line", text)
        });
    }
    let search = match (params.regexp.as_deref(), params.search_string) {
        (Some(text), None) => Search::Regexp(regexp("regexp", text)?),
        (None, Some(text)) if !text.is_empty() => Search::Text(text),
        (None, None) => Search::Line,
        _ => return Err(Error::new("params.search", "expected `regexp`, `search_string` or none of them")),
    };
    if params.backrefs.0 && !matches!(search, Search::Regexp(_)) {
        return Err(Error::new("params.backrefs", "`backrefs` needs `regexp`, whose groups are meant"));
    }
    if params.state == State::Absent {
        if line.is_none() && matches!(search, Search::Line) {
            return Err(Error::new(
                "params.line",
                "expected `line`, `regexp` or `search_string`: what shall go",
            ));
        }
        let Some(edit) = Edit::open(&path, false, true)? else {
            return Ok(Outcome::ok().msg("the file is not there").with("path", &path).with("found", &0));
        };
        let (text, removed) = absent(&edit.text, line.unwrap_or_default(), &search);
        let what = format!("{removed} lines removed");
        let new = (removed > 0).then_some((text, what.as_str()));
        return Ok(edit.finish(new, &attributes, params.backup.0)?.with("found", &removed));
    }
    let Some(line) = line else {
        let text = "`line` is missing: what the file shall hold";
        return Err(Error {
            hint: Some("for example -p line='Port 22'".into()),
            ..Error::new("params.line", text)
        });
    };
    let insert = Insert::new(params.insertafter.as_deref(), params.insertbefore.as_deref())?;
    let Some(edit) = Edit::open(&path, params.create.0, false)? else {
        return Ok(Outcome::ok());
    };
    let wish = Wish { line, search, insert, first: params.firstmatch.0, backrefs: params.backrefs.0 };
    let new = present(&edit.text, &wish);
    edit.finish(new, &attributes, params.backup.0)
}
