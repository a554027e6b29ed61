//! A value by its schema: text becomes what is asked for, other names become the first, what is left out becomes the
//! default, and everything that is wrong is said at once.

use super::{Kind, Object, Others, Schema, regex};
use crate::task::first_sentence;
use regex::Regex;
use serde_json::{Map, Number, Value};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use waft_proto::grant::nearest;
use waft_proto::run::Problem;

/// Problems of one set of values that are told one by one.
pub const PROBLEMS_MAX: usize = 50;
/// Of a value that is shown, characters.
const SHOWN_CHARS_MAX: usize = 60;
/// Names that are listed when none is near.
const NAMES_MAX: usize = 30;
/// As Ansible reads them.
const YES: [&str; 6] = ["true", "yes", "on", "y", "t", "1"];
const NO: [&str; 6] = ["false", "no", "off", "n", "f", "0"];

/// Where the value of a parameter is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// `-p k=v`.
    Text,
    /// `-p k:=JSON`.
    Json,
    /// `-p k@FILE`: the value is not there yet.
    File,
}

/// Collects what is wrong with the parameters of one task.
pub struct Checker<'a> {
    task: &'a str,
    problems: Vec<Problem>,
    left_out: usize,
    /// Whether it is wrong that a required one is missing.
    whole: bool,
    /// Parameters of which something was said that left no value.
    told: BTreeSet<String>,
    /// Compiled once: a list may have a million texts.
    patterns: BTreeMap<String, Option<Regex>>,
}

/// Where a value is, and whether it may be shown.
#[derive(Clone)]
struct Place {
    path: String,
    hidden: bool,
}

impl Place {
    fn of(&self, name: &str, schema: &Schema) -> Place {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Place { path, hidden: self.hidden || schema.sensitive }
    }

    fn shown(&self, value: &Value) -> String {
        if self.hidden { "(sensitive)".to_owned() } else { shown(value) }
    }
}

impl<'a> Checker<'a> {
    pub fn new(task: &'a str) -> Checker<'a> {
        Checker {
            task,
            problems: Vec::new(),
            left_out: 0,
            whole: true,
            told: BTreeSet::new(),
            patterns: BTreeMap::new(),
        }
    }

    /// Of a part of the parameters: what is missing may come later.
    pub fn of_part(task: &'a str) -> Checker<'a> {
        Checker { whole: false, ..Checker::new(task) }
    }

    /// The parameters as the task gets them, without those whose value is a file. What `sources` does not name is from a
    /// file of parameters, and gives way to a flag.
    pub fn params(
        mut self,
        schema: &Object,
        values: Map<String, Value>,
        sources: &BTreeMap<String, Source>,
    ) -> Result<Map<String, Value>, Vec<Problem>> {
        let given = self.names(schema, values, sources);
        let root = Place { path: String::new(), hidden: false };
        let object = self.object(&root, schema, given);
        if self.left_out > 0 {
            let text = format!("{} more problems with the parameters of {}", self.left_out, self.task);
            self.problems.push(Problem::new("params.more", text).hint("mend those above first"));
        }
        if self.problems.is_empty() { Ok(object) } else { Err(self.problems) }
    }

    /// Puts the first name of each in the place of the others, and of text what it stands for.
    fn names(
        &mut self,
        schema: &Object,
        values: Map<String, Value>,
        sources: &BTreeMap<String, Source>,
    ) -> Map<String, Value> {
        let mut by_flag: BTreeMap<String, String> = BTreeMap::new();
        let mut given = Map::new();
        let (flags, file): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|(name, _)| sources.contains_key(name));
        for (name, value) in flags {
            let Some((first, schema)) = schema.find(&name) else {
                given.insert(name, value);
                continue;
            };
            if let Some(other) = by_flag.insert(first.to_owned(), name.clone()) {
                self.twice(first, &other, &name);
            }
            let source = sources.get(&name);
            if source == Some(&Source::File) && !schema.allows(Kind::File) && !schema.allows(Kind::Object) {
                let expected = expected(schema);
                let at = Place { path: first.to_owned(), hidden: false };
                let hint = format!("write {}", flag(first, schema));
                self.wrong(&at, "params.type", &format!("is a file, expected {expected}"), Some(hint));
                self.told.insert(first.to_owned());
                continue;
            }
            let value = match value {
                Value::String(text) if source == Some(&Source::Text) => schema.of_text(&text),
                value => value,
            };
            given.insert(first.to_owned(), value);
        }
        let mut in_file: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in file {
            let first = schema.find(&name).map_or(name.as_str(), |(first, _)| first).to_owned();
            if let Some(other) = in_file.insert(first.clone(), name.clone()) {
                self.twice(&first, &other, &name);
            }
            if !by_flag.contains_key(&first) {
                given.entry(first).or_insert(value);
            }
        }
        given
    }

    fn twice(&mut self, first: &str, one: &str, other: &str) {
        let text = format!("`{one}` and `{other}` are one parameter of {}: `{first}`", self.task);
        self.say("params.alias", text, Some("give it once".to_owned()));
    }

    fn object(&mut self, at: &Place, schema: &Object, mut given: Map<String, Value>) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, schema) in &schema.properties {
            let mut value = given.remove(name).filter(|value| !value.is_null());
            // The parameters themselves have their names already.
            for alias in &schema.aliases {
                let Some(other) = given.remove(alias).filter(|value| !value.is_null()) else { continue };
                if value.replace(other).is_some() {
                    self.twice(name, name, alias);
                }
            }
            let at = at.of(name, schema);
            match value {
                Some(value) => {
                    if let Some(value) = self.value(&at, schema, value) {
                        object.insert(name.clone(), value);
                    }
                }
                None => match &schema.default {
                    Some(default) => {
                        object.insert(name.clone(), default.clone());
                    }
                    None if schema.required && self.whole && !self.told.contains(&at.path) => {
                        self.missing(&at, schema);
                    }
                    None => {}
                },
            }
        }
        for (name, value) in given {
            match &schema.others {
                Others::Any => {
                    object.insert(name, value);
                }
                Others::None => self.unknown(at, schema, &name),
                Others::Each(each) => {
                    let at = at.of(&name, each);
                    if let Some(value) = self.value(&at, each, value) {
                        object.insert(name, value);
                    }
                }
            }
        }
        object
    }

    /// As the task gets it; `None` when something was said.
    fn value(&mut self, at: &Place, schema: &Schema, value: Value) -> Option<Value> {
        let before = self.problems.len() + self.left_out;
        let value = match value {
            // For JSON Schema 5.0 is a whole number; for most languages it is none.
            Value::Number(number) if schema.is(Kind::Integer) && !schema.is(Kind::Number) => {
                Value::Number(whole(&number).unwrap_or(number))
            }
            value => value,
        };
        if !schema.kinds.is_empty() && !schema.kinds.iter().any(|kind| is(*kind, &value)) {
            self.wrong_type(at, schema, &value);
            return None;
        }
        if !schema.choices.is_empty() && !schema.has_choice(&value) {
            self.no_choice(at, schema, &value);
        }
        let value = match value {
            Value::Number(number) => {
                self.number(at, schema, &number);
                Value::Number(number)
            }
            Value::String(text) => {
                self.text(at, schema, &text);
                Value::String(text)
            }
            Value::Array(items) => self.array(at, schema, items),
            Value::Object(map) => Value::Object(self.object(at, &schema.object, map)),
            value => value,
        };
        (before == self.problems.len() + self.left_out).then_some(value)
    }

    fn number(&mut self, at: &Place, schema: &Schema, number: &Number) {
        let is = |bound: &Option<Number>| bound.as_ref().and_then(|bound| compare(number, bound));
        if is(&schema.minimum) == Some(Ordering::Less) || is(&schema.maximum) == Some(Ordering::Greater) {
            let expected = between(schema.minimum.as_ref(), schema.maximum.as_ref());
            let value = at.shown(&Value::Number(number.clone()));
            self.wrong(at, "params.range", &format!("is {value}, expected {expected}"), None);
        }
    }

    fn text(&mut self, at: &Place, schema: &Schema, text: &str) {
        let chars = text.chars().count() as u64;
        if outside(chars, schema.min_length, schema.max_length) {
            let expected = between(schema.min_length.as_ref(), schema.max_length.as_ref());
            self.wrong(at, "params.length", &format!("has {chars} characters, expected {expected}"), None);
        }
        let Some(pattern) = &schema.pattern else { return };
        let compiled = self.patterns.entry(pattern.clone()).or_insert_with(|| regex(pattern).ok());
        if !compiled.as_ref().is_some_and(|regex| regex.is_match(text)) {
            let value = at.shown(&Value::String(text.to_owned()));
            self.wrong(at, "params.pattern", &format!("is {value}, which does not match `{pattern}`"), None);
        }
    }

    fn array(&mut self, at: &Place, schema: &Schema, items: Vec<Value>) -> Value {
        let count = items.len() as u64;
        if outside(count, schema.min_items, schema.max_items) {
            let expected = between(schema.min_items.as_ref(), schema.max_items.as_ref());
            self.wrong(at, "params.items", &format!("has {count} items, expected {expected}"), None);
        }
        let Some(each) = &schema.items else { return Value::Array(items) };
        let place =
            |index| Place { path: format!("{}[{index}]", at.path), hidden: at.hidden || each.sensitive };
        let items = items.into_iter().enumerate();
        Value::Array(items.filter_map(|(index, item)| self.value(&place(index), each, item)).collect())
    }

    fn wrong_type(&mut self, at: &Place, schema: &Schema, value: &Value) {
        let text = format!("is {}, expected {}", at.shown(value), expected(schema));
        let hint = match (schema.kinds.first(), value) {
            (Some(Kind::File), Value::String(_)) => {
                Some(format!("name the file on the command line: -p {}@FILE", at.path))
            }
            (Some(Kind::Boolean), Value::String(_)) => {
                Some("in JSON that is true or false, without quotes".to_owned())
            }
            (Some(Kind::Integer | Kind::Number), Value::String(_)) => {
                Some("write digits; in JSON without quotes".to_owned())
            }
            (Some(Kind::Object), Value::String(_)) => Some(format!("write {}", flag(&at.path, schema))),
            (Some(Kind::String), Value::Number(_) | Value::Bool(_)) => {
                Some(format!("put it into quotes, or write {}, without a colon", flag(&at.path, schema)))
            }
            _ => None,
        };
        self.wrong(at, "params.type", &text, hint);
    }

    fn no_choice(&mut self, at: &Place, schema: &Schema, value: &Value) {
        let choices: Vec<String> = schema.choices.iter().map(shown).collect();
        let text = format!("is {}, expected {}", at.shown(value), choices.join(" or "));
        let words = schema.choices.iter().filter_map(Value::as_str);
        let near = value.as_str().filter(|_| !at.hidden).and_then(|text| nearest(text, words));
        self.wrong(at, "params.choice", &text, near.map(|near| format!("did you mean `{near}`?")));
    }

    fn missing(&mut self, at: &Place, schema: &Schema) {
        let what = schema.description.as_deref().map(first_sentence);
        let what = what.map(|text| format!(": {text}")).unwrap_or_default();
        let text = format!("the parameter `{}` of {} is missing{what}", at.path, self.task);
        self.say("params.missing", text, Some(format!("give it: {}", flag(&at.path, schema))));
    }

    fn unknown(&mut self, at: &Place, schema: &Object, name: &str) {
        let shown = name.escape_debug();
        let text = match at.path.as_str() {
            "" => format!("{} has no parameter `{shown}`", self.task),
            path => format!("the parameter `{path}` of {} has no `{shown}`", self.task),
        };
        let names: Vec<&str> = schema.properties.iter().map(|(name, _)| name.as_str()).collect();
        let hint = match (nearest(name, schema.names()), names.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, []) => "it takes none".to_owned(),
            (None, names) => {
                let more = if names.len() > NAMES_MAX { ", .." } else { "" };
                let listed = names.get(..NAMES_MAX.min(names.len())).unwrap_or_default();
                format!("known are {}{more}", listed.join(", "))
            }
        };
        self.say("params.unknown", text, Some(hint));
    }

    fn wrong(&mut self, at: &Place, code: &str, text: &str, hint: Option<String>) {
        self.say(code, format!("the parameter `{}` of {} {text}", at.path, self.task), hint);
    }

    fn say(&mut self, code: &str, text: String, hint: Option<String>) {
        if self.problems.len() >= PROBLEMS_MAX {
            self.left_out += 1;
            return;
        }
        let problem = Problem::new(code, text);
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }
}

impl Schema {
    /// Whether it is one of the values in `enum`.
    fn has_choice(&self, value: &Value) -> bool {
        self.choices.iter().any(|choice| same(choice, value))
    }

    /// What a text of a command line stands for: the first of the types that it can be.
    pub fn of_text(&self, text: &str) -> Value {
        let found = self.kinds.iter().find_map(|kind| as_kind(*kind, self, text));
        // Without a type, one of the values that are allowed may be written so.
        let has_text = || self.choices.iter().any(|choice| choice.as_str() == Some(text));
        let named = || serde_json::from_str(text).ok().filter(|value| self.has_choice(value));
        let found = found.or_else(|| if self.kinds.is_empty() && !has_text() { named() } else { None });
        found.unwrap_or_else(|| Value::String(text.to_owned()))
    }

    /// Whether a text of a command line is the name of a file.
    pub fn names_file(&self, text: &str) -> bool {
        let first =
            self.kinds.iter().find(|kind| **kind == Kind::File || as_kind(**kind, self, text).is_some());
        first == Some(&Kind::File) && !text.is_empty()
    }
}

fn expected(schema: &Schema) -> String {
    let told: Vec<&str> = schema.kinds.iter().map(|kind| kind.told()).collect();
    told.join(" or ")
}

fn as_kind(kind: Kind, schema: &Schema, text: &str) -> Option<Value> {
    let word = text.trim();
    match kind {
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Boolean => {
            let is_in = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
            if is_in(&YES) { Some(Value::Bool(true)) } else { is_in(&NO).then_some(Value::Bool(false)) }
        }
        Kind::Integer => {
            let small = word.parse::<i64>().map(Number::from);
            small.or_else(|_| word.parse::<u64>().map(Number::from)).ok().map(Value::Number)
        }
        Kind::Number => as_kind(Kind::Integer, schema, text)
            .or_else(|| Number::from_f64(word.parse().ok()?).map(Value::Number)),
        Kind::Array if word.starts_with('[') => serde_json::from_str(word).ok().filter(Value::is_array),
        Kind::Array if word.is_empty() => Some(Value::Array(Vec::new())),
        Kind::Array => {
            let item = |part: &str| match &schema.items {
                Some(each) => each.of_text(part.trim()),
                None => Value::String(part.trim().to_owned()),
            };
            Some(Value::Array(word.split(',').map(item).collect()))
        }
        Kind::Object => serde_json::from_str(word).ok().filter(Value::is_object),
        // Files have been taken out before.
        Kind::File => None,
    }
}

/// What a file is when it is sent; `-p k@FILE` makes it.
fn is_reference(value: &Value) -> bool {
    value.get("hash").is_some_and(Value::is_string) && value.get("bytes").is_some_and(Value::is_u64)
}

fn is(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::String, Value::String(_))
        | (Kind::Number, Value::Number(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::Array, Value::Array(_))
        | (Kind::Object, Value::Object(_)) => true,
        (Kind::Integer, Value::Number(number)) => whole(number).is_some(),
        (Kind::File, value) => is_reference(value),
        _ => false,
    }
}

/// The same number as a whole one.
fn whole(number: &Number) -> Option<Number> {
    /// Beyond, not every whole number can be told from the next.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if number.is_i64() || number.is_u64() {
        return Some(number.clone());
    }
    let exact = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT_MAX)?;
    format!("{exact:.0}").parse::<i64>().ok().map(Number::from)
}

/// By their values: whole numbers exactly, however they are written.
pub(crate) fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    match (exact(one), exact(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// A whole number; `None` of others, and of floats that need more than 128 bits.
fn exact(number: &Number) -> Option<i128> {
    let whole = |float: &f64| float.fract() == 0.0;
    let small = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    small.or_else(|| format!("{:.0}", number.as_f64().filter(whole)?).parse().ok())
}

/// As JSON Schema has it: 1.0 is 1.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other) == Some(Ordering::Equal),
        (Value::Array(these), Value::Array(those)) => {
            these.len() == those.len() && these.iter().zip(those).all(|(one, other)| same(one, other))
        }
        (Value::Object(these), Value::Object(those)) => {
            let has = |name: &String, one: &Value| those.get(name).is_some_and(|other| same(one, other));
            these.len() == those.len() && these.iter().all(|(name, one)| has(name, one))
        }
        (one, other) => one == other,
    }
}

fn outside(count: u64, min: Option<u64>, max: Option<u64>) -> bool {
    min.is_some_and(|min| count < min) || max.is_some_and(|max| count > max)
}

pub(crate) fn between<T: std::fmt::Display>(min: Option<&T>, max: Option<&T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "any".to_owned(),
    }
}

/// How a parameter is given on a command line.
fn flag(path: &str, schema: &Schema) -> String {
    let (name, nested) = match path.split_once(['.', '[']) {
        Some((name, _)) => (name, true),
        None => (path, false),
    };
    match schema.kinds.first() {
        _ if nested => format!("-p '{name}:=JSON'"),
        Some(Kind::Object) => format!("-p '{name}:={{..}}'"),
        Some(Kind::Array) => format!("-p {name}=A,B"),
        Some(Kind::File) => format!("-p {name}=FILE"),
        Some(Kind::Integer | Kind::Number) => format!("-p {name}=NUMBER"),
        Some(Kind::Boolean) => format!("-p {name}=yes"),
        Some(Kind::String) | None => format!("-p {name}=TEXT"),
    }
}

/// JSON, and of a long one the beginning.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text;
    }
    text.chars().take(SHOWN_CHARS_MAX).chain("..".chars()).collect()
}
