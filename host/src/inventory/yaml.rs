//! YAML into a document. Why this parser, and what it is told: `docs/decisions/0004-yaml.md`.
//!
//! Aliases and merge keys work, within a budget that a bomb of aliases meets long before memory does. Only
//! `true` and `false` are booleans: `no` is Norway.

use super::document::{Entry, NESTING_MAX, Node, Place, Report, Value};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// Every target of one command, with a few settings each.
const VALUES_MAX: usize = 2_000_000;

/// Copies of parts of anchors, of which aliases are made: what is shared is a few settings.
const ANCHORED_MAX: usize = 100_000;

/// `None` when it cannot be read.
pub(super) fn read(text: &str, report: &mut Report) -> Option<Node> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: 2 * VALUES_MAX,
            max_nodes: VALUES_MAX,
            max_recorded_anchor_events: ANCHORED_MAX,
            max_depth: NESTING_MAX,
            flow_nesting_limit: NESTING_MAX,
            max_documents: 1,
        },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Some(node(raw)),
        Err(error) => {
            let at = error.location().map(place).unwrap_or_default();
            let message = match innermost(&error) {
                // Whatever was counted, it is the same mistake.
                serde_saphyr::Error::Budget { .. } => format!(
                    "it is larger than an inventory may be: {VALUES_MAX} values, {NESTING_MAX} levels, aliases included"
                ),
                error => error.to_string(),
            };
            // The parser says the place too, in its own words.
            let message = message.split(" at line ").next().unwrap_or(&message);
            report.syntax(at, message);
            None
        }
    }
}

/// What went wrong, without what was wrapped around it for an alias.
fn innermost(error: &serde_saphyr::Error) -> &serde_saphyr::Error {
    let mut error = error.without_snippet();
    while let serde_saphyr::Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    error
}

fn place(location: Location) -> Place {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Place { line: number(location.line()), column: number(location.column()) }
}

/// A value as the deserialiser hands it out, before places are pulled up to it.
enum Raw {
    Leaf(Value),
    List(Vec<Spanned<Raw>>),
    Table(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(raw: Spanned<Raw>) -> Node {
    let value = match raw.value {
        Raw::Leaf(value) => value,
        Raw::List(nodes) => Value::List(nodes.into_iter().map(node).collect()),
        Raw::Table(entries) => {
            let entry = |(key, value): (Spanned<String>, _)| Entry {
                at: place(key.referenced),
                key: key.value,
                node: node(value),
            };
            Value::Table(entries.into_iter().map(entry).collect())
        }
    };
    Node { at: place(raw.referenced), value }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false, nothing, a list or a table")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Number(number.into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Number(number.into())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Raw, E> {
        let number =
            Number::from_f64(number).ok_or_else(|| E::custom("this is no number that JSON knows"))?;
        Ok(Raw::Leaf(Value::Number(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Leaf(Value::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element()? {
            nodes.push(node);
        }
        Ok(Raw::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Table(entries))
    }
}
