//! What a manifest says of values: of the parameters of a task, and of its result. A subset of JSON Schema 2020-12 with the
//! same words, and `aliases` and `sensitive` beside them.

mod check;
mod json;

pub use check::{Checker, PROBLEMS_MAX, Source};
pub(crate) use check::{between, compare, shown};

use regex::{Regex, RegexBuilder};
use serde_json::{Number, Value};

/// Objects and lists inside of each other, levels.
pub const DEPTH_MAX: usize = 8;
/// Properties of one manifest, those inside of others counted.
pub const PROPERTIES_MAX: usize = 256;
/// Other names of one property.
pub const ALIASES_MAX: usize = 16;
/// Values that a property may be limited to.
pub const CHOICES_MAX: usize = 256;
/// The name of a property, bytes.
pub const PROPERTY_BYTES_MAX: usize = 64;
/// A regular expression, bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// What a regular expression may become in memory, bytes.
const PATTERN_MEMORY_BYTES_MAX: usize = 1 << 20;

/// What a value may be. Nothing that is said here forbids nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schema {
    /// None: any. A text is tried as each in turn.
    pub kinds: Vec<Kind>,
    pub required: bool,
    pub description: Option<String>,
    pub default: Option<Value>,
    /// `enum`.
    pub choices: Vec<Value>,
    pub minimum: Option<Number>,
    pub maximum: Option<Number>,
    /// Characters.
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub pattern: Option<String>,
    pub items: Option<Box<Schema>>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    /// `properties` and `additionalProperties`.
    pub object: Object,
    pub aliases: Vec<String>,
    /// Never shown.
    pub sensitive: bool,
}

/// What an object may hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Object {
    /// In the order of the manifest.
    pub properties: Vec<(String, Schema)>,
    pub others: Others,
}

/// Properties that an object does not name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Others {
    #[default]
    Any,
    None,
    Each(Box<Schema>),
}

impl Object {
    /// By its name, or another name of it.
    pub fn find(&self, name: &str) -> Option<(&str, &Schema)> {
        let by_name = self.properties.iter().find(|(known, _)| known == name);
        let found = by_name.or_else(|| {
            self.properties.iter().find(|(_, schema)| schema.aliases.iter().any(|alias| alias == name))
        });
        found.map(|(name, schema)| (name.as_str(), schema))
    }

    /// All names, the other ones, too.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.properties.iter().flat_map(|(name, schema)| {
            std::iter::once(name.as_str()).chain(schema.aliases.iter().map(String::as_str))
        })
    }
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Object,
    /// On the command line the name of a file of the controller; for the task what it is sent as.
    File,
}

impl Kind {
    pub const ALL: [(&str, Kind); 7] = [
        ("string", Kind::String),
        ("integer", Kind::Integer),
        ("number", Kind::Number),
        ("boolean", Kind::Boolean),
        ("array", Kind::Array),
        ("object", Kind::Object),
        ("file", Kind::File),
    ];

    pub fn word(self) -> &'static str {
        Kind::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// For a sentence.
    fn told(self) -> &'static str {
        match self {
            Kind::String => "a text",
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
            Kind::Boolean => "true or false",
            Kind::Array => "a list",
            Kind::Object => "an object",
            Kind::File => "a file",
        }
    }
}

impl Schema {
    pub fn of(kind: Kind) -> Schema {
        Schema { kinds: vec![kind], ..Schema::default() }
    }

    /// Whether a value of this type is allowed.
    pub fn allows(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether it asks for this type by name.
    pub fn is(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// A regular expression within bounds.
pub(crate) fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_MEMORY_BYTES_MAX)
        .dfa_size_limit(PATTERN_MEMORY_BYTES_MAX)
        .build()
}

#[cfg(test)]
mod tests;
