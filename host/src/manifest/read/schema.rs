//! What a manifest says of parameters and results.

use super::{Reader, Value};
use crate::manifest::schema::{
    ALIASES_MAX, CHOICES_MAX, Checker, DEPTH_MAX, Kind, Object, Others, PATTERN_BYTES_MAX, PROPERTIES_MAX,
    PROPERTY_BYTES_MAX, Schema, Source, compare, regex,
};
use serde_json::{Map, Number};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use toml::de::{DeTable, DeValue};
use waft_proto::grant::nearest;

/// Of a property, in the order of the page that explains them.
pub(super) const KEYS: [&str; 17] = [
    "type",
    "required",
    "description",
    "default",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "additionalProperties",
    "aliases",
    "sensitive",
];
/// The description of a property, bytes.
const DESCRIPTION_BYTES_MAX: usize = 2048;
const OTHERS: &str = "additionalProperties";

/// Of which type a key says something.
const MEANT_FOR: [(&str, &[Kind]); 9] = [
    ("minimum", &[Kind::Integer, Kind::Number]),
    ("maximum", &[Kind::Integer, Kind::Number]),
    ("minLength", &[Kind::String]),
    ("maxLength", &[Kind::String]),
    ("pattern", &[Kind::String]),
    ("items", &[Kind::Array]),
    ("minItems", &[Kind::Array]),
    ("maxItems", &[Kind::Array]),
    ("properties", &[Kind::Object]),
];

/// What a schema is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Params,
    Result,
}

impl Reader<'_> {
    /// `[params]` or `[result]`: a table for each property.
    pub(super) fn object(&mut self, key: &str, value: &Value<'_>, about: About) -> Option<Object> {
        let Some(table) = value.get_ref().as_table() else {
            let hint = format!("for example `[{key}.name]`, and below it `type = \"string\"`");
            self.expected(key, value, "a table with a table for each name", &hint);
            return None;
        };
        let (own, others) = match about {
            About::Params => (table, Others::None),
            About::Result => (table, Others::Any),
        };
        let mut object = Object { properties: Vec::new(), others };
        for (name, value) in in_order(own) {
            let text = name.get_ref().as_ref();
            // A word for all of them and no parameter of that name, which would be a table.
            if text == OTHERS && value.get_ref().is_bool() {
                if self.bool(OTHERS, value) {
                    object.others = Others::Any;
                }
                continue;
            }
            let place = format!("{key}.{text}");
            if let Some(schema) = self.property(&place, text, (name.span().start, value), 1, about) {
                object.properties.push((text.to_owned(), schema));
            }
        }
        self.clashes(key, value, &object);
        Some(object)
    }

    /// Two properties of one name.
    fn clashes(&mut self, place: &str, value: &Value<'_>, object: &Object) {
        let mut names = BTreeSet::new();
        for name in object.names() {
            if !names.insert(name) {
                let text = format!("`{place}` has the name `{}` twice", name.escape_debug());
                let hint = "an alias is the name of one property, and no other has it";
                self.say(value.span().start, "manifest.alias", &text, hint);
            }
        }
    }

    fn property(
        &mut self,
        place: &str,
        name: &str,
        (at, value): (usize, &Value<'_>),
        depth: usize,
        about: About,
    ) -> Option<Schema> {
        self.properties += 1;
        if self.properties == PROPERTIES_MAX + 1 {
            let text = format!("there are more than {PROPERTIES_MAX} properties; {PROPERTIES_MAX} are read");
            self.say(
                at,
                "manifest.many",
                &text,
                "say `type = \"object\"` without `properties` of what is large",
            );
        }
        if self.properties > PROPERTIES_MAX {
            return None;
        }
        // What stands after -p.
        let is_name = match depth {
            1 => is_name(name),
            _ => !name.is_empty() && name.len() <= PROPERTY_BYTES_MAX && !name.chars().any(char::is_control),
        };
        if !is_name {
            let text = format!("`{}` is no name of a parameter or result", name.escape_debug());
            self.say(at, "manifest.name", &text, &name_hint());
        }
        self.schema(place, value, depth, about)
    }

    fn schema(&mut self, place: &str, value: &Value<'_>, depth: usize, about: About) -> Option<Schema> {
        let Some(table) = value.get_ref().as_table() else {
            self.expected(
                place,
                value,
                "a table",
                &format!("for example `[{place}]`, and below it `type = \"string\"`"),
            );
            return None;
        };
        if depth > DEPTH_MAX {
            let text = format!("`{place}` is more than {DEPTH_MAX} levels deep");
            self.say(
                value.span().start,
                "manifest.deep",
                &text,
                "leave out what `items` or `properties` say of it",
            );
            return None;
        }
        let before = self.problems.len();
        let mut schema = Schema::default();
        let (mut default, mut choices, mut bounds) = (None, None, Vec::new());
        for (key, value) in in_order(table) {
            let (word, at) = (key.get_ref().as_ref(), key.span().start);
            match word {
                "type" => schema.kinds = self.kinds(value, depth, about),
                "required" => {
                    let hint = "in a property it is `required = true`; there is no list of them";
                    schema.required = value.get_ref().as_bool().unwrap_or_else(|| {
                        self.expected("required", value, "true or false", hint);
                        false
                    });
                }
                "description" => {
                    let text = self.text("description", value, DESCRIPTION_BYTES_MAX);
                    schema.description =
                        text.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
                }
                "default" => default = Some(value),
                "enum" => choices = Some(value),
                "minimum" => schema.minimum = self.number(word, value),
                "maximum" => schema.maximum = self.number(word, value),
                "minLength" => schema.min_length = self.count(word, value),
                "maxLength" => schema.max_length = self.count(word, value),
                "minItems" => schema.min_items = self.count(word, value),
                "maxItems" => schema.max_items = self.count(word, value),
                "pattern" => schema.pattern = self.pattern(value),
                "items" => {
                    schema.items =
                        self.schema(&format!("{place}.items"), value, depth + 1, about).map(Box::new);
                }
                "properties" => {
                    schema.object.properties =
                        self.inner(&format!("{place}.properties"), value, depth, about);
                }
                OTHERS => schema.object.others = self.others(place, value, depth, about),
                "aliases" => schema.aliases = self.aliases(value, depth),
                "sensitive" => schema.sensitive = self.bool("sensitive", value),
                other => {
                    let text = format!("`{}` is no key of `{place}`", other.escape_debug());
                    let hint = match nearest(other, KEYS) {
                        Some(known) => format!("did you mean `{known}`?"),
                        None => format!("known are {}", KEYS.join(", ")),
                    };
                    self.say(at, "manifest.key", &text, &hint);
                }
            }
            bounds.push((word, at));
        }
        self.meant(place, &schema, &bounds);
        self.clashes(place, value, &schema.object);
        self.in_range(place, value, &schema);
        if self.problems.len() > before {
            return None;
        }
        if let Some(choices) = choices {
            self.choices(place, choices, &mut schema);
        }
        if let Some(default) = default {
            self.default(place, default, &mut schema);
        }
        (self.problems.len() == before).then_some(schema)
    }

    fn kinds(&mut self, value: &Value<'_>, depth: usize, about: About) -> Vec<Kind> {
        let words: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            _ => vec![value],
        };
        let mut kinds = Vec::new();
        for word in words {
            let Some(kind) = self.word("type", word, &Kind::ALL) else { continue };
            if kind == Kind::File && (depth > 1 || about == About::Result) {
                let text = "only a parameter itself can be a file, nothing inside of one";
                self.say(word.span().start, "manifest.word", text, "make it a parameter, or a `string`");
            }
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    fn inner(&mut self, place: &str, value: &Value<'_>, depth: usize, about: About) -> Vec<(String, Schema)> {
        let Some(table) = value.get_ref().as_table() else {
            self.expected(place, value, "a table", "for example `properties.name = { type = \"string\" }`");
            return Vec::new();
        };
        let mut properties = Vec::new();
        for (name, value) in in_order(table) {
            let text = name.get_ref().as_ref();
            let at = (name.span().start, value);
            if let Some(schema) = self.property(&format!("{place}.{text}"), text, at, depth + 1, about) {
                properties.push((text.to_owned(), schema));
            }
        }
        properties
    }

    fn others(&mut self, place: &str, value: &Value<'_>, depth: usize, about: About) -> Others {
        match value.get_ref() {
            DeValue::Boolean(true) => Others::Any,
            DeValue::Boolean(false) => Others::None,
            DeValue::Table(_) => {
                let place = format!("{place}.{OTHERS}");
                let each = self.schema(&place, value, depth + 1, about);
                each.map_or(Others::Any, |each| Others::Each(Box::new(each)))
            }
            _ => {
                self.expected(
                    OTHERS,
                    value,
                    "true, false or a table",
                    "`additionalProperties = false` allows no others",
                );
                Others::Any
            }
        }
    }

    fn aliases(&mut self, value: &Value<'_>, depth: usize) -> Vec<String> {
        let hint = "for example `aliases = [\"dest\", \"name\"]`";
        let Some(list) = value.get_ref().as_array() else {
            self.expected("aliases", value, "a list of names", hint);
            return Vec::new();
        };
        if list.len() > ALIASES_MAX {
            let text = format!("`aliases` has {} names, at most {ALIASES_MAX} are read", list.len());
            self.say(value.span().start, "manifest.many", &text, "keep those that people know");
            return Vec::new();
        }
        let mut names = Vec::new();
        for item in list.iter() {
            match item.get_ref().as_str() {
                Some(name) if is_name(name) || (depth > 1 && !name.is_empty()) => names.push(name.to_owned()),
                Some(name) => {
                    let text = format!("`{}` is no name of a parameter", name.escape_debug());
                    self.say(item.span().start, "manifest.name", &text, &name_hint());
                }
                None => self.expected("aliases", item, "a list of names", hint),
            }
        }
        names
    }

    fn number(&mut self, key: &str, value: &Value<'_>) -> Option<Number> {
        let number = match json(value.get_ref()) {
            Some(serde_json::Value::Number(number)) => Some(number),
            _ => None,
        };
        if number.is_none() {
            self.expected(key, value, "a number", &format!("for example `{key} = 1`"));
        }
        number
    }

    fn count(&mut self, key: &str, value: &Value<'_>) -> Option<u64> {
        let count = json(value.get_ref()).and_then(|value| value.as_u64());
        if count.is_none() {
            self.expected(key, value, "a whole number, 0 or more", &format!("for example `{key} = 1`"));
        }
        count
    }

    fn pattern(&mut self, value: &Value<'_>) -> Option<String> {
        let pattern = self.text("pattern", value, PATTERN_BYTES_MAX)?;
        if let Err(why) = regex(&pattern) {
            let why = why.to_string();
            let last = why.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            let text = format!("`pattern` cannot be used: {}", last.trim());
            let hint = "a regular expression like those of RE2, without look-around and back-references; write it as a TOML literal: '^[a-z]+$'";
            self.say(value.span().start, "manifest.pattern", &text, hint);
            return None;
        }
        Some(pattern)
    }

    /// Keys that say nothing of the type that the property has.
    fn meant(&mut self, place: &str, schema: &Schema, keys: &[(&str, usize)]) {
        if schema.kinds.is_empty() {
            return;
        }
        for (key, at) in keys {
            let Some((_, kinds)) = MEANT_FOR.iter().find(|(meant, _)| meant == key) else { continue };
            if !kinds.iter().any(|kind| schema.is(*kind)) {
                let own: Vec<&str> = schema.kinds.iter().map(|kind| kind.word()).collect();
                let other: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
                let text = format!(
                    "`{key}` is for {}, and `{place}` is of the type {}",
                    other.join(" or "),
                    own.join(" or ")
                );
                self.say(*at, "manifest.type", &text, "leave it out, or change `type`");
            }
        }
    }

    fn in_range(&mut self, place: &str, value: &Value<'_>, schema: &Schema) {
        let above =
            |min: Option<u64>, max: Option<u64>| matches!((min, max), (Some(min), Some(max)) if min > max);
        let numbers = schema.minimum.as_ref().zip(schema.maximum.as_ref());
        let numbers = numbers.is_some_and(|(min, max)| compare(min, max) == Some(Ordering::Greater));
        for (wrong, what) in [
            (numbers, "minimum"),
            (above(schema.min_length, schema.max_length), "minLength"),
            (above(schema.min_items, schema.max_items), "minItems"),
        ] {
            if wrong {
                let other = what.replace("min", "max");
                let text =
                    format!("`{what}` of `{place}` is more than its `{other}`: nothing could be right");
                self.say(value.span().start, "manifest.range", &text, "exchange the two");
            }
        }
    }

    fn choices(&mut self, place: &str, value: &Value<'_>, schema: &mut Schema) {
        let Some(list) = value.get_ref().as_array().filter(|list| !list.is_empty()) else {
            self.expected(
                "enum",
                value,
                "a list of values",
                "for example `enum = [\"present\", \"absent\"]`",
            );
            return;
        };
        if list.len() > CHOICES_MAX {
            let text = format!("`enum` has {} values, at most {CHOICES_MAX} are read", list.len());
            self.say(value.span().start, "manifest.many", &text, "use a `pattern`");
            return;
        }
        let what = format!("enum of `{place}`");
        let choices = list.iter().filter_map(|item| self.fitting(&what, item, schema));
        schema.choices = choices.collect();
    }

    fn default(&mut self, place: &str, value: &Value<'_>, schema: &mut Schema) {
        if schema.required {
            let text = format!("`{place}` is required and has a default");
            self.say(value.span().start, "manifest.default", &text, "leave out one of the two");
        }
        schema.default = self.fitting(&format!("default of `{place}`"), value, schema);
    }

    /// A value of the manifest that has to be right by the schema beside it.
    fn fitting(&mut self, what: &str, value: &Value<'_>, schema: &Schema) -> Option<serde_json::Value> {
        const NAME: &str = "value";
        let at = value.span().start;
        let Some(json) = json(value.get_ref()) else {
            self.expected(what, value, "a value that JSON has", "times are texts, in quotes");
            return None;
        };
        let object = Object { properties: vec![(NAME.to_owned(), schema.clone())], others: Others::None };
        let given = Map::from_iter([(NAME.to_owned(), json.clone())]);
        match Checker::new("this manifest").params(&object, given, &BTreeMap::new()) {
            Ok(mut object) => object.remove(NAME),
            Err(problems) => {
                let why = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
                let why = why.replace("the parameter `value` of this manifest ", "it ");
                self.say(
                    at,
                    "manifest.default",
                    &format!("the {what} is not right: {why}"),
                    "mend it, or the type",
                );
                None
            }
        }
    }

    /// Parameters as somebody would give them, where texts may stand for files.
    pub(super) fn example_params(
        &mut self,
        value: &Value<'_>,
        schema: Option<&Object>,
    ) -> Map<String, serde_json::Value> {
        let at = value.span().start;
        let Some(serde_json::Value::Object(given)) = json(value.get_ref()) else {
            self.expected(
                "params",
                value,
                "a table of parameters",
                "for example `params = { path = \"/srv\" }`",
            );
            return Map::new();
        };
        let Some(schema) = schema else { return given };
        let mut values = given.clone();
        let mut sources = BTreeMap::new();
        for (name, value) in &mut values {
            let is_file = schema.find(name).is_some_and(|(_, schema)| schema.is(Kind::File));
            if is_file && value.is_string() {
                *value = serde_json::json!({"hash": "", "bytes": 0});
                sources.insert(name.clone(), Source::File);
            }
        }
        if let Err(problems) = Checker::new("this task").params(schema, values, &sources) {
            for problem in problems {
                let hint = problem.hint.unwrap_or_else(|| "mend the example, or the parameter".to_owned());
                self.say(at, "manifest.example", &format!("in an example {}", problem.message), &hint);
            }
        }
        given
    }
}

/// What can stand after `-p`, and in the name of a secret.
fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    first
        && name.len() <= PROPERTY_BYTES_MAX
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn name_hint() -> String {
    format!(
        "a name begins with a letter, and is letters, digits, `_` and `-`, at most {PROPERTY_BYTES_MAX} of them"
    )
}

fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t toml::Spanned<std::borrow::Cow<'i, str>>, &'t Value<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// `None` for what JSON does not have: times, infinity, numbers beyond 64 bits.
pub(super) fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => {
            let (text, radix) = (number.as_str(), number.radix());
            let small = i64::from_str_radix(text, radix).ok().map(Number::from);
            let number = small.or_else(|| u64::from_str_radix(text, radix).ok().map(Number::from));
            serde_json::Value::Number(number?)
        }
        DeValue::Float(number) => Number::from_f64(number.as_str().parse().ok()?)?.into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(_) => return None,
        DeValue::Array(list) => {
            serde_json::Value::Array(list.iter().map(|item| json(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let entry = |(key, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &Value<'_>)| {
                Some((key.get_ref().to_string(), json(value.get_ref())?))
            };
            serde_json::Value::Object(table.iter().map(entry).collect::<Option<_>>()?)
        }
    })
}
