//! TOML into a document.

use super::document::{Entry, NESTING_MAX, Node, Place, Report, Value};
use serde_json::Number;
use toml::de::{DeTable, DeValue};

/// `None` when not even a part of it can be read.
pub(super) fn read(text: &str, report: &mut Report) -> Option<Node> {
    let places = Places::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map(|span| places.at(span.start)).unwrap_or_default();
        report.syntax(at, error.message());
    }
    // What is left after a syntax error is full of holes, and would be blamed for them.
    if !errors.is_empty() {
        return None;
    }
    let value = Value::Table(entries(table.get_ref(), &places, NESTING_MAX, report));
    Some(Node { at: Place { line: 1, column: 1 }, value })
}

/// `levels` is how many more may be entered.
fn entries(table: &DeTable<'_>, places: &Places<'_>, levels: usize, report: &mut Report) -> Vec<Entry> {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
        let node = node(value, places, levels, report);
        Entry { key: key.get_ref().to_string(), at: places.at(key.span().start), node }
    };
    let mut entries: Vec<Entry> = table.iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}

fn node(value: &toml::Spanned<DeValue<'_>>, places: &Places<'_>, levels: usize, report: &mut Report) -> Node {
    let at = places.at(value.span().start);
    let Some(levels) = levels.checked_sub(1) else {
        let deep = format!("tables and lists nest deeper than {NESTING_MAX} levels");
        report.say(at, deep, "write it flatter");
        return Node { at, value: Value::Null };
    };
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Number(number.into()),
            Err(_) => {
                report.say(at, format!("the number {} is too large", number.as_str()), "write it as a text");
                Value::Null
            }
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Value::Number(number),
            None => {
                report.say(
                    at,
                    format!("`{}` is no number that JSON knows", number.as_str()),
                    "write it as a text",
                );
                Value::Null
            }
        },
        DeValue::Array(values) => {
            Value::List(values.iter().map(|value| node(value, places, levels, report)).collect())
        }
        DeValue::Table(table) => Value::Table(entries(table, places, levels, report)),
    };
    Node { at, value }
}

/// Where lines begin.
struct Places<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Places<'a> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Places { text, starts }
    }

    fn at(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Place { line, column }
    }
}
