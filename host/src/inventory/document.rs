//! A document in either format: values that know where they stand, and problems that say it.

use serde_json::{Map, Number, Value as Json};
use waft_proto::grant::nearest;
use waft_proto::run::Problem;

/// How deep tables and lists may nest in a file. Readers recurse: an unoptimised one takes 35 kB of stack
/// for each level of YAML.
pub(super) const NESTING_MAX: usize = 24;

/// A place in the file; both count from 1, columns in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Place,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, Value::Table(_))
    }

    /// What it is, for "expected a text, found ..".
    pub(super) fn what(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// As JSON. Recurses at most [`NESTING_MAX`] deep, as all that is made of nodes.
    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(nodes) => Json::Array(nodes.iter().map(Node::to_json).collect()),
            Value::Table(entries) => Json::Object(to_map(entries)),
        }
    }
}

pub(super) fn to_map(entries: &[Entry]) -> Map<String, Json> {
    entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
}

/// The problems of one file.
pub(super) struct Report {
    file: String,
    found: Vec<(Place, Problem)>,
}

impl Report {
    pub(super) fn new(file: &str) -> Report {
        Report { file: file.to_owned(), found: Vec::new() }
    }

    /// An empty one for the same file.
    pub(super) fn again(&self) -> Report {
        Report::new(&self.file)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The first sentence.
    pub(super) fn first(&self) -> Option<String> {
        self.found.first().map(|(_, problem)| problem.message.clone())
    }

    pub(super) fn say(&mut self, at: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.add(at, Problem::new("inventory.invalid", message).hint(hint));
    }

    /// For what concerns no single place.
    pub(super) fn whole(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.say(Place::default(), message, hint);
    }

    pub(super) fn syntax(&mut self, at: Place, message: &str) {
        self.add(at, Problem::new("inventory.syntax", message.trim_end()));
    }

    pub(super) fn add(&mut self, at: Place, problem: Problem) {
        self.found.push((at, problem));
    }

    /// A word that should be one of `known`.
    pub(super) fn unknown<'a>(
        &mut self,
        at: Place,
        message: String,
        word: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) {
        let hint = match nearest(word, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", known.into_iter().take(20).collect::<Vec<_>>().join(", ")),
        };
        self.say(at, message, hint);
    }

    /// Expected one thing, found another.
    pub(super) fn expected(&mut self, node: &Node, key: &str, expected: &str) {
        self.say(
            node.at,
            format!("`{key}` is {}, expected {expected}", node.what()),
            format!("write {expected}"),
        );
    }

    /// All problems in the order of the file.
    pub(super) fn finish(mut self, most: usize) -> Result<(), Vec<Problem>> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|(at, _)| *at);
        self.found.truncate(most);
        let file = self.file;
        let named = |(at, mut problem): (Place, Problem)| {
            problem.message = match at.line {
                0 => format!("{file}: {}", problem.message),
                line => format!("{file}:{line}:{}: {}", at.column, problem.message),
            };
            problem
        };
        Err(self.found.into_iter().map(named).collect())
    }
}
