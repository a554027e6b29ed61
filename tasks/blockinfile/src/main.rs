//! A block of lines of a text file. The manifest says what the parameters are.

use blockinfile_task::{Markers, with_block};
use serde::Deserialize;
use waft_sdk::{Error, Outcome};
use waft_tasks_common::files::{Attributes, Edit, Insert, absolute};
use waft_tasks_common::{State, Yes};

waft_sdk::task!(run, manifest = "../waft.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(alias = "dest", alias = "destfile", alias = "name")]
    path: String,
    #[serde(default, alias = "content")]
    block: String,
    marker: Option<String>,
    marker_begin: Option<String>,
    marker_end: Option<String>,
    #[serde(default)]
    state: State,
    insertafter: Option<String>,
    insertbefore: Option<String>,
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
    let markers = Markers::new(
        params.marker.as_deref().unwrap_or("# {mark} ANSIBLE MANAGED BLOCK"),
        params.marker_begin.as_deref().unwrap_or("BEGIN"),
        params.marker_end.as_deref().unwrap_or("END"),
    )?;
    let insert = Insert::new(params.insertafter.as_deref(), params.insertbefore.as_deref())?;
    let block = if params.state == State::Absent { "" } else { &params.block };
    // Nothing is to be in it: then it may as well be missing.
    let Some(edit) = Edit::open(&path, params.create.0 && !block.is_empty(), block.is_empty())? else {
        return Ok(Outcome::ok().msg("the file is not there").with("path", &path));
    };
    let new = with_block(&edit.path, &edit.text, block, &markers, &insert)?;
    edit.finish(new, &attributes, params.backup.0)
}
