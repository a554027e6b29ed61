//! Parameters of a task: `-p k=v`, `-p k:=JSON`, `-p k@FILE` and `--params FILE|-`, as one JSON object. Flags win over
//! the file, key by key. Text in; the object, or *all* problems, out. What the value of `k@FILE` is, is known when the file
//! has been read: see [`crate::along::files`]. [`Params::fit`] then holds them against what the task's manifest says of
//! them.

use crate::inventory::read_text;
use crate::manifest::schema::{Checker, Object, Others, Schema, Source};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use waft_proto::run::Problem;

/// Parameters as text, bytes.
pub const PARAMS_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Objects and lists inside of each other, levels: the reader of JSON goes no deeper.
pub const DEPTH_MAX: usize = 127;
/// The name for standard input.
const STDIN: &str = "-";

/// Reads what `--params` names: a file, or standard input for `-`.
pub fn read(file: &str) -> Result<String, Problem> {
    if file != STDIN {
        return read_text(file, PARAMS_BYTES_MAX, "file of parameters");
    }
    let mut text = Vec::new();
    let read = std::io::stdin().lock().take(PARAMS_BYTES_MAX + 1).read_to_end(&mut text);
    read.map_err(|why| {
        Problem::new("params.read", format!("the parameters on standard input cannot be read: {why}"))
    })?;
    of_stdin(text)
}

fn of_stdin(text: Vec<u8>) -> Result<String, Problem> {
    if text.len() as u64 > PARAMS_BYTES_MAX {
        let long = format!("the parameters on standard input have more than {PARAMS_BYTES_MAX} bytes");
        return Err(Problem::new("params.long", long).hint("send large data as a file: -p NAME@FILE"));
    }
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text =
            format!("the parameters on standard input are not UTF-8 text: byte {at} is part of no character");
        Problem::new("params.utf8", text).hint("JSON is UTF-8; send other bytes as a file: -p NAME@FILE")
    })
}

/// What flags and file say.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Params {
    pub object: Map<String, Value>,
    /// Those whose value is a file.
    pub files: Vec<(String, PathBuf)>,
    /// Those that a flag gives.
    pub sources: BTreeMap<String, Source>,
}

impl Params {
    /// As the task `name` gets them: by its schema, with what that says for those that are left out. The value of a file is
    /// still to come.
    pub fn fit(self, name: &str, schema: &Object) -> Result<Params, Vec<Problem>> {
        self.checked(Checker::new(name), schema)
    }

    /// The same, and what is missing may come later.
    pub fn fit_in_part(self, name: &str, schema: &Object) -> Result<Params, Vec<Problem>> {
        self.checked(Checker::of_part(name), schema)
    }

    fn checked(self, checker: Checker<'_>, schema: &Object) -> Result<Params, Vec<Problem>> {
        let Params { mut object, files, mut sources } = self;
        // Stands for a file until that is read.
        let sent = || serde_json::json!({"hash": "", "bytes": 0});
        let mut paths = BTreeMap::new();
        let texts: Vec<String> =
            object.keys().filter(|key| sources.get(*key) == Some(&Source::Text)).cloned().collect();
        let named = texts.into_iter().filter_map(|key| {
            let text = object.get(&key)?.as_str()?;
            let (_, property) = schema.find(&key)?;
            property.names_file(text).then(|| (key, PathBuf::from(text)))
        });
        for (key, path) in named.collect::<Vec<_>>().into_iter().chain(files) {
            object.insert(key.clone(), sent());
            sources.insert(key.clone(), Source::File);
            let first = schema.find(&key).map_or(key.as_str(), |(first, _)| first);
            paths.insert(first.to_owned(), path);
        }
        let mut object = checker.params(schema, object, &sources)?;
        paths.keys().for_each(|key| drop(object.remove(key)));
        Ok(Params { object, files: paths.into_iter().collect(), sources: BTreeMap::new() })
    }
}

/// The values that a schema calls sensitive, by their places: what has to be taken out of output.
pub fn sensitive(schema: &Object, object: &Map<String, Value>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    gather(schema, object, "", false, &mut found);
    found
}

fn gather(
    schema: &Object,
    object: &Map<String, Value>,
    at: &str,
    hidden: bool,
    found: &mut Vec<(String, String)>,
) {
    for (name, value) in object {
        let property = schema.find(name).map(|(_, property)| property);
        let property = property.or(match &schema.others {
            Others::Each(each) => Some(&**each),
            _ => None,
        });
        gather_value(property, value, &format!("{at}/{name}"), hidden, found);
    }
}

fn gather_value(
    schema: Option<&Schema>,
    value: &Value,
    at: &str,
    hidden: bool,
    found: &mut Vec<(String, String)>,
) {
    let hidden = hidden || schema.is_some_and(|schema| schema.sensitive);
    let any = Object::default();
    match value {
        Value::Object(object) => {
            gather(schema.map_or(&any, |schema| &schema.object), object, at, hidden, found);
        }
        Value::Array(items) => {
            let each = schema.and_then(|schema| schema.items.as_deref());
            for (index, item) in items.iter().enumerate() {
                gather_value(each, item, &format!("{at}/{index}"), hidden, found);
            }
        }
        Value::String(text) if hidden && !text.is_empty() => found.push((at.to_owned(), text.clone())),
        Value::Number(number) if hidden => found.push((at.to_owned(), number.to_string())),
        _ => {}
    }
}

/// Merges flags over the file. `file` is its name and its text.
pub fn merge<S: AsRef<str>>(flags: &[S], file: Option<(&str, &str)>) -> Result<Params, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut params = Params::default();
    if let Some((name, text)) = file {
        let shown = if name == STDIN { "standard input" } else { name };
        match object(shown, text) {
            Ok(object) => params.object = object,
            Err(problem) => problems.push(problem),
        }
    }
    for flag in flags {
        match pair(flag.as_ref()) {
            Ok((key, given)) => {
                if params.sources.insert(key.to_owned(), given.source()).is_some() {
                    let twice = Problem::new("params.twice", format!("`-p {key}` is given twice"));
                    problems
                        .push(twice.hint(format!("give it once; for several values write -p '{key}:=[..]'")));
                    continue;
                }
                match given {
                    Given::Text(text) => drop(params.object.insert(key.to_owned(), Value::String(text))),
                    Given::Json(value) => drop(params.object.insert(key.to_owned(), value)),
                    Given::File(path) => params.files.push((key.to_owned(), path)),
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(params) } else { Err(problems) }
}

/// The value of a flag.
enum Given {
    Text(String),
    Json(Value),
    File(PathBuf),
}

impl Given {
    fn source(&self) -> Source {
        match self {
            Given::Text(_) => Source::Text,
            Given::Json(_) => Source::Json,
            Given::File(_) => Source::File,
        }
    }
}

/// `k=v`, `k:=JSON` or `k@FILE`; the first `=` or `@` decides.
fn pair(flag: &str) -> Result<(&str, Given), Problem> {
    let at = flag.find(['=', '@']);
    let (name, text) = at.and_then(|at| Some((flag.get(..at)?, flag.get(at + 1..)?))).unwrap_or(("", flag));
    let is_file = at.is_some_and(|at| flag.get(at..).is_some_and(|rest| rest.starts_with('@')));
    let (key, typed) = match name.strip_suffix(':') {
        Some(key) if !is_file => (key, true),
        _ => (name, false),
    };
    if key.is_empty() || (is_file && text.is_empty()) {
        let bad = format!("`-p {}` is no parameter: expected a name, `=` and a value", flag.escape_debug());
        return Err(Problem::new("params.syntax", bad)
            .hint("write -p name=text, -p 'name:=JSON', or -p name@FILE to send a file"));
    }
    if is_file {
        return Ok((key, Given::File(PathBuf::from(text))));
    }
    if !typed {
        return Ok((key, Given::Text(text.to_owned())));
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok((key, Given::Json(value))),
        Err(why) if is_deep(&why) => Err(deep(&format!("the value of `-p {key}:=`"))),
        Err(why) => {
            let bad = format!("the value of `-p {key}:=` is no JSON: {why}");
            Err(Problem::new("params.json", bad)
                .hint(format!("for a text write -p {key}=..., without the colon")))
        }
    }
}

fn object(name: &str, text: &str) -> Result<Map<String, Value>, Problem> {
    let read = serde_json::from_str::<Unique>(text);
    read.map(|Unique(object)| object).map_err(|why| match is_deep(&why) {
        true => deep(&format!("the parameters in {name}")),
        false => Problem::new("params.json", format!("the parameters in {name} cannot be read: {why}"))
            .hint("expected one JSON object, for example {\"name\": \"value\"}"),
    })
}

fn is_deep(why: &serde_json::Error) -> bool {
    why.to_string().starts_with("recursion limit exceeded")
}

fn deep(what: &str) -> Problem {
    let text = format!("{what}: lists and objects are more than {DEPTH_MAX} deep inside of each other");
    Problem::new("params.deep", text).hint("send it as a file: -p NAME@FILE")
}

/// A JSON object in which no key comes twice: the second would silently win.
struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
                let mut object = Map::new();
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if object.contains_key(&key) {
                        return Err(serde::de::Error::custom(format!("the key `{key}` is there twice")));
                    }
                    object.insert(key, value);
                }
                Ok(Unique(object))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn codes(flags: &[&str], file: Option<(&str, &str)>) -> Vec<String> {
        merge(flags, file).expect_err("problems").into_iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn text_stays_text_and_json_is_typed() {
        let flags = ["a=1", "b:=1", "c=", "d=x:=y=z", "e:=[true, null]", "f:=\"t\"", "g:h=1"];
        let params = merge(&flags, None).expect("an object").object;
        let expected =
            json!({"a": "1", "b": 1, "c": "", "d": "x:=y=z", "e": [true, null], "f": "t", "g:h": "1"});
        assert_eq!(Value::Object(params), expected);
    }

    #[test]
    fn flags_win_over_the_file_key_by_key() {
        let file = Some(("p.json", r#"{"a": {"deep": 1}, "b": 2}"#));
        let params = merge(&["a=x", "c=y"], file).expect("an object").object;
        assert_eq!(Value::Object(params), json!({"a": "x", "b": 2, "c": "y"}));
        assert_eq!(merge::<&str>(&[], None), Ok(Params::default()));
    }

    #[test]
    fn the_first_sign_decides_what_is_a_file() {
        let file = Some(("p.json", r#"{"a": 1, "b": 2}"#));
        let params = merge(&["a@/etc/app.conf", "mail=ops@example.com", "k@x=y.txt", "j:=\"@x\""], file);
        let params = params.expect("an object");
        let files =
            [("a", "/etc/app.conf"), ("k", "x=y.txt")].map(|(key, path)| (key.to_owned(), path.into()));
        assert_eq!(params.files, files);
        // What is to be in the place of the file's `a` is known when it has been read.
        assert_eq!(
            Value::Object(params.object),
            json!({"a": 1, "b": 2, "mail": "ops@example.com", "j": "@x"})
        );
        assert_eq!(
            codes(&["a@x", "a=1", "@x", "b@"], None),
            ["params.twice", "params.syntax", "params.syntax"]
        );
    }

    #[test]
    fn all_problems_come_at_once() {
        let flags = ["a=1", "a:=2", "novalue", "=x", ":=1", "j:={"];
        let expected =
            ["params.json", "params.twice", "params.syntax", "params.syntax", "params.syntax", "params.json"];
        assert_eq!(codes(&flags, Some(("p.json", "[1]"))), expected);
        assert_eq!(codes(&[], Some(("p.json", r#"{"a": 1, "a": 2}"#))), ["params.json"]);
        assert_eq!(codes(&[], Some(("-", "{} {}"))), ["params.json"]);
        let problem = merge::<&str>(&[], Some(("-", ""))).expect_err("empty").remove(0);
        assert!(problem.message.starts_with("the parameters in standard input cannot be read"), "{problem}");
    }

    #[test]
    fn a_file_is_read_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("p.json");
        std::fs::write(&path, "{}").expect("a file");
        assert_eq!(read(path.to_str().expect("UTF-8")).expect("text"), "{}");
        assert!(read("/nonexistent/p.json").expect_err("missing").message.contains("/nonexistent/p.json"));
    }
}
