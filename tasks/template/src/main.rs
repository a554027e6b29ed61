//! A file made of a template. The manifest says what the parameters are.

use minijinja::value::Value;
use serde::Deserialize;
use std::collections::BTreeMap;
use template_task::{Style, rendered};
use waft_sdk::{Error, Outcome};
use waft_tasks_common::Yes;
use waft_tasks_common::files::{Attributes, Content, Sent, Source, TEXT_BYTES_MAX, absolute};

waft_sdk::task!(run, manifest = "../waft.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    dest: String,
    src: Option<Sent>,
    content: Option<String>,
    #[serde(default)]
    vars: BTreeMap<String, Value>,
    trim_blocks: Option<Yes>,
    #[serde(default)]
    lstrip_blocks: Yes,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
    #[serde(default)]
    backup: Yes,
    force: Option<Yes>,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let dest = absolute("dest", &params.dest)?;
    let attributes = Attributes::new(params.mode.as_deref(), params.owner, params.group)?;
    let (name, template) = match (params.src, params.content) {
        (Some(sent), None) => {
            let bytes = sent.read(TEXT_BYTES_MAX)?;
            let text =
                |_| Error::new("files.utf8", format!("the template {} is no text in UTF-8", sent.name));
            (sent.name.clone(), String::from_utf8(bytes).map_err(text)?)
        }
        (None, Some(content)) => ("content".to_owned(), content),
        _ => {
            let hint = "for example -p src@app.conf.j2, for a file of this machine";
            return Err(Error {
                hint: Some(hint.into()),
                ..Error::new("params.source", "expected `src` or `content`")
            });
        }
    };
    let mut vars = params.vars;
    let target = std::env::var("WAFT_TARGET").unwrap_or_default();
    vars.entry("waft_target".to_owned()).or_insert_with(|| Value::from(target));
    let style = Style {
        trim_blocks: params.trim_blocks.unwrap_or(Yes(true)).0,
        lstrip_blocks: params.lstrip_blocks.0,
    };
    let text = rendered(&name, &template, vars, &style, || {
        let facts = waft_sdk::facts()?;
        serde_json::from_str(&facts).map_err(|_| Error::new("template.facts", "the host's facts are no JSON"))
    })?;
    let content = Content {
        source: &Source::Bytes(text.into_bytes()),
        attributes: &attributes,
        force: params.force.unwrap_or(Yes(true)).0,
        backup: params.backup.0,
    };
    content.put(dest, false)
}
