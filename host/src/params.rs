//! Parameters of a task: `-p k=v`, `-p k:=JSON` and `--params FILE|-`, as one JSON object. Flags win over the
//! file, key by key. Text in; the object, or *all* problems, out.

use crate::inventory::read_text;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use waft_proto::run::Problem;

/// Parameters as text, bytes.
pub const PARAMS_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The name for standard input.
const STDIN: &str = "-";

/// Reads what `--params` names: a file, or standard input for `-`.
pub fn read(file: &str) -> Result<String, Problem> {
    if file != STDIN {
        return read_text(file, PARAMS_BYTES_MAX, "file of parameters");
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(PARAMS_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|why| {
        Problem::new("params.read", format!("the parameters on standard input cannot be read: {why}"))
    })?;
    if text.len() as u64 > PARAMS_BYTES_MAX {
        let long = format!("the parameters on standard input have more than {PARAMS_BYTES_MAX} bytes");
        return Err(Problem::new("params.long", long).hint("put large data into a file of its own"));
    }
    Ok(text)
}

/// Merges flags over the file. `file` is its name and its text.
pub fn merge<S: AsRef<str>>(
    flags: &[S],
    file: Option<(&str, &str)>,
) -> Result<Map<String, Value>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut params = Map::new();
    if let Some((name, text)) = file {
        let shown = if name == STDIN { "standard input" } else { name };
        match object(shown, text) {
            Ok(object) => params = object,
            Err(problem) => problems.push(problem),
        }
    }
    let mut given = HashSet::new();
    for flag in flags {
        match pair(flag.as_ref()) {
            Ok((key, _)) if !given.insert(key.to_owned()) => {
                let twice = Problem::new("params.twice", format!("`-p {key}` is given twice"));
                problems.push(twice.hint(format!("give it once; for several values write -p '{key}:=[..]'")));
            }
            Ok((key, value)) => {
                params.insert(key.to_owned(), value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(params) } else { Err(problems) }
}

/// `k=v` or `k:=JSON`; what comes before the first `=` decides.
fn pair(flag: &str) -> Result<(&str, Value), Problem> {
    let (name, text) = flag.split_once('=').unwrap_or(("", flag));
    let (key, typed) = match name.strip_suffix(':') {
        Some(key) => (key, true),
        None => (name, false),
    };
    if key.is_empty() {
        let bad = format!("`-p {}` is no parameter: expected a name, `=` and a value", flag.escape_debug());
        return Err(Problem::new("params.syntax", bad).hint("write -p name=text or -p 'name:=JSON'"));
    }
    if !typed {
        return Ok((key, Value::String(text.to_owned())));
    }
    match serde_json::from_str(text) {
        Ok(value) => Ok((key, value)),
        Err(why) => {
            let bad = format!("the value of `-p {key}:=` is no JSON: {why}");
            Err(Problem::new("params.json", bad)
                .hint(format!("for a text write -p {key}=..., without the colon")))
        }
    }
}

fn object(name: &str, text: &str) -> Result<Map<String, Value>, Problem> {
    let read = serde_json::from_str::<Unique>(text);
    read.map(|Unique(object)| object).map_err(|why| {
        Problem::new("params.json", format!("the parameters in {name} cannot be read: {why}"))
            .hint("expected one JSON object, for example {\"name\": \"value\"}")
    })
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
        let params = merge(&flags, None).expect("an object");
        let expected =
            json!({"a": "1", "b": 1, "c": "", "d": "x:=y=z", "e": [true, null], "f": "t", "g:h": "1"});
        assert_eq!(Value::Object(params), expected);
    }

    #[test]
    fn flags_win_over_the_file_key_by_key() {
        let file = Some(("p.json", r#"{"a": {"deep": 1}, "b": 2}"#));
        let params = merge(&["a=x", "c=y"], file).expect("an object");
        assert_eq!(Value::Object(params), json!({"a": "x", "b": 2, "c": "y"}));
        assert!(merge::<&str>(&[], None).expect("an object").is_empty());
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
