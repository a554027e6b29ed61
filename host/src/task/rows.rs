//! Parameters and results as rows: one for each property, those inside of others after it.

use crate::manifest::schema::{Kind, Object, Others, Schema, between, shown};
use serde::Serialize;

/// What is said of one property.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// With those that it is inside of: `mounts[].path`.
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub required: bool,
    /// As JSON.
    pub default: Option<String>,
    /// As JSON, each.
    pub choices: Vec<String>,
    /// What else a value has to be: `1 to 65535`.
    pub limits: Vec<String>,
    pub aliases: Vec<String>,
    pub sensitive: bool,
    pub description: Option<String>,
}

pub fn rows(object: &Object) -> Vec<Row> {
    let mut rows = Vec::new();
    put(object, "", &mut rows);
    rows
}

fn put(object: &Object, before: &str, rows: &mut Vec<Row>) {
    for (name, schema) in &object.properties {
        one(&format!("{before}{name}"), schema, rows);
    }
    if let Others::Each(each) = &object.others {
        one(&format!("{before}*"), each, rows);
    }
}

fn one(name: &str, schema: &Schema, rows: &mut Vec<Row>) {
    rows.push(Row {
        name: name.to_owned(),
        kind: kind(schema),
        required: schema.required,
        default: schema.default.as_ref().map(shown),
        choices: schema.choices.iter().map(shown).collect(),
        limits: limits(schema),
        aliases: schema.aliases.clone(),
        sensitive: schema.sensitive,
        description: schema.description.clone(),
    });
    put(&schema.object, &format!("{name}."), rows);
    match schema.items.as_deref() {
        // Of a list of texts its own row says that.
        Some(items) if *items != plain(items) => one(&format!("{name}[]"), items, rows),
        Some(items) => put(&items.object, &format!("{name}[]."), rows),
        None => {}
    }
}

/// The same schema with nothing but its type, and what is inside.
fn plain(schema: &Schema) -> Schema {
    Schema { kinds: schema.kinds.clone(), object: schema.object.clone(), ..Schema::default() }
}

fn kind(schema: &Schema) -> String {
    let words = schema.kinds.iter().map(|kind| match (kind, schema.items.as_deref()) {
        (Kind::Array, Some(items)) if !items.kinds.is_empty() => format!("array of {}", kind_words(items)),
        (kind, _) => kind.word().to_owned(),
    });
    let words: Vec<String> = words.collect();
    match words.is_empty() {
        true if !schema.choices.is_empty() && schema.choices.iter().all(serde_json::Value::is_string) => {
            Kind::String.word().to_owned()
        }
        true => "any".to_owned(),
        false => words.join(" or "),
    }
}

fn kind_words(schema: &Schema) -> String {
    schema.kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(" or ")
}

fn limits(schema: &Schema) -> Vec<String> {
    let range = |unit: &str, is_set: bool, text: String| {
        let plural = if unit.is_empty() || text.ends_with(" 1") { "" } else { "s" };
        is_set.then(|| format!("{text}{unit}{plural}"))
    };
    let (min, max) = (schema.minimum.as_ref(), schema.maximum.as_ref());
    let (short, long) = (schema.min_length.as_ref(), schema.max_length.as_ref());
    let (few, many) = (schema.min_items.as_ref(), schema.max_items.as_ref());
    [
        range("", min.or(max).is_some(), between(min, max)),
        range(" character", short.or(long).is_some(), between(short, long)),
        range(" item", few.or(many).is_some(), between(few, many)),
        schema.pattern.as_ref().map(|pattern| format!("matches {pattern}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}
