//! A file with a given content. The manifest says what the parameters are.

use serde::Deserialize;
use waft_sdk::{Error, Outcome};
use waft_tasks_common::Yes;
use waft_tasks_common::files::{Attributes, Content, Sent, Source, absolute};

waft_sdk::task!(run, manifest = "../waft.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    dest: String,
    content: Option<String>,
    src: Option<Sent>,
    remote_src: Option<String>,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
    #[serde(default)]
    backup: Yes,
    force: Option<Yes>,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let dest = absolute("dest", &params.dest)?;
    let source = match (params.content, params.src, params.remote_src) {
        (Some(content), None, None) => Source::Bytes(content.into_bytes()),
        (None, Some(sent), None) => Source::Sent(sent),
        (None, None, Some(path)) => Source::file(absolute("remote_src", &path)?)?,
        _ => {
            let text = "expected one of `content`, `src` and `remote_src`";
            let hint = "for example -p content=TEXT, or -p src@FILE for a file of this machine";
            return Err(Error { hint: Some(hint.into()), ..Error::new("params.source", text) });
        }
    };
    let mode = match (params.mode.as_deref(), &source) {
        (Some("preserve"), Source::File(_, stat)) => Some(stat.mode.as_str()),
        (Some("preserve"), _) => {
            return Err(Error::new(
                "params.mode",
                "`mode` can be `preserve` only together with `remote_src`",
            ));
        }
        (mode, _) => mode,
    };
    let attributes = Attributes::new(mode, params.owner, params.group)?;
    let content = Content {
        source: &source,
        attributes: &attributes,
        force: params.force.unwrap_or(Yes(true)).0,
        backup: params.backup.0,
    };
    content.put(dest, params.dest.ends_with('/'))
}
