//! Tasks as things to look at: what a manifest says, for a terminal ([`text`]), for a page ([`doc`]) and for programs, and
//! what can be done with the file of one ([`module`]).

pub mod doc;
pub mod example;
pub mod module;
pub mod rows;
pub mod text;

use crate::manifest::Manifest;
use crate::report::json::without_hostile;
use crate::search::Found;
use serde_json::{Value, json};
use waft_proto::id::Hash;

/// Version of the JSON of `waft task`. Fields are added without a new one.
const VERSION: u8 = 1;

/// One task as JSON. `wanted` is what starts it: its name, or its file.
pub fn json(found: &Found, wanted: &str) -> Value {
    let manifest = found.manifest.as_ref();
    let schema = |of: fn(&Manifest) -> Option<Value>| manifest.and_then(of);
    let grants = manifest.map(|manifest| match manifest.asked() {
        Some(asked) => json!(asked.iter().map(|grant| grant.to_string()).collect::<Vec<_>>()),
        None => json!("given"),
    });
    let examples = manifest.map(|manifest| &manifest.examples).into_iter().flatten().map(|example| {
        json!({
            "description": example.description,
            "params": example.params,
            "grants": example.grants,
            "command": example::command(wanted, manifest, example),
        })
    });
    let secrets = manifest.map(|manifest| &manifest.secrets).into_iter().flatten().map(|(name, said)| {
        let kind = said.kind.unwrap_or_default().word();
        json!({"name": name, "type": kind, "description": said.description, "end_to_end": said.end_to_end})
    });
    json!({
        "v": VERSION,
        "name": found.name,
        "version": manifest.and_then(|manifest| manifest.version.clone()),
        "description": manifest.and_then(|manifest| manifest.description.clone()),
        "file": found.file.as_ref().map(|file| file.display().to_string()),
        "hash": Hash::of(&found.wasm).to_string(),
        "bytes": found.wasm.len(),
        "manifest": manifest.is_some(),
        "check": manifest.is_some_and(|manifest| manifest.check),
        "returns": manifest.filter(|manifest| manifest.after_reboot).map(|_| "after-reboot"),
        "grants": grants,
        "secrets": secrets.collect::<Vec<_>>(),
        "params": schema(|manifest| manifest.params.as_ref().map(|params| params.document())),
        "result": schema(|manifest| manifest.result.as_ref().map(|result| result.document())),
        "examples": examples.collect::<Vec<_>>(),
    })
}

/// The first sentence of a description, for a list.
pub fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

/// JSON for a terminal or a file, with a line end.
pub fn printed(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    format!("{}\n", without_hostile(text))
}

#[cfg(test)]
mod tests;
