//! An example of a manifest as the line that somebody pastes into a shell.

use crate::manifest::agree::{ASKED, flag, shell_word};
use crate::manifest::schema::{Kind, Object};
use crate::manifest::{Example, Manifest};
use serde_json::Value;
use waft_proto::grant::Grant;

/// The host in examples.
const HOST: &str = "web1";

/// `waft run file -t web1 -p path=/srv/app --allow fs:/srv:rw`. `name` is the task's, or its file.
pub fn command(name: &str, manifest: Option<&Manifest>, example: &Example) -> String {
    let schema = manifest.and_then(|manifest| manifest.params.as_ref());
    let mut words = vec!["waft run".to_owned(), shell_word(name), "-t".to_owned(), HOST.to_owned()];
    let mut params: Vec<(&String, &Value)> = example.params.iter().collect();
    // As the manifest has them: what matters most stands first there.
    params.sort_by_key(|(name, _)| {
        let at = |schema: &Object| {
            let found = schema.find(name).map(|(first, _)| first);
            schema.properties.iter().position(|(known, _)| Some(known.as_str()) == found)
        };
        schema.and_then(at).unwrap_or(usize::MAX)
    });
    for (name, value) in params {
        words.push(format!("-p {}", shell_word(&param(schema, name, value))));
    }
    words.extend(example.grants.iter().filter_map(|text| match text.as_str() {
        ASKED => Some(format!("--allow {ASKED}")),
        text => Grant::parse(text).ok().map(|grant| flag(&grant)),
    }));
    words.join(" ")
}

/// As text where that is read as the same value.
fn param(schema: Option<&Object>, name: &str, value: &Value) -> String {
    let property = schema.and_then(|schema| schema.find(name)).map(|(_, property)| property);
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    };
    let is_same = |text: &String| match property {
        Some(property) if property.is(Kind::File) && value.is_string() => property.names_file(text),
        Some(property) => property.of_text(text) == *value,
        None => value.is_string(),
    };
    match text.filter(|text| !text.chars().any(char::is_control)).filter(is_same) {
        Some(text) => format!("{name}={text}"),
        None => format!("{name}:={value}"),
    }
}
