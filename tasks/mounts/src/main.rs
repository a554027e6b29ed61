//! What is mounted where. The manifest says what the parameters are.

use mounts_task::{Mount, chosen};
use serde::Deserialize;
use waft_sdk::{Error, Outcome};
use waft_tasks_common::Words;
use waft_tasks_common::files::absolute;

waft_sdk::task!(run, manifest = "../waft.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    path: Option<String>,
    #[serde(default)]
    fstype: Words,
}

#[derive(Deserialize)]
struct Facts {
    #[serde(default)]
    mounts: Vec<Mount>,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let path = params.path.as_deref().map(|path| absolute("path", path)).transpose()?;
    let facts: Facts = serde_json::from_str(&waft_sdk::facts()?).map_err(|error| {
        Error::new("mounts.facts", format!("the host's facts are not what this task knows: {error}"))
    })?;
    let mounts = chosen(facts.mounts, path.as_deref(), &params.fstype.0);
    Ok(Outcome::ok().msg(format!("{} mounts", mounts.len())).with("mounts", &mounts))
}
