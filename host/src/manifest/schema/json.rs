//! As a JSON Schema, version 2020-12. What that has no word for is said under names that begin with `x-`.

use super::{Kind, Object, Others, Schema};
use serde_json::{Map, Value, json};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

impl Object {
    /// A document of its own.
    pub fn document(&self) -> Value {
        let mut map = Map::new();
        map.insert("$schema".to_owned(), DIALECT.into());
        map.insert("type".to_owned(), "object".into());
        self.put(&mut map);
        Value::Object(map)
    }

    fn put(&self, map: &mut Map<String, Value>) {
        if !self.properties.is_empty() {
            let properties = self.properties.iter().map(|(name, schema)| (name.clone(), schema.json()));
            map.insert("properties".to_owned(), Value::Object(properties.collect()));
        }
        let required: Vec<&str> = self
            .properties
            .iter()
            .filter(|(_, schema)| schema.required)
            .map(|(name, _)| name.as_str())
            .collect();
        if !required.is_empty() {
            map.insert("required".to_owned(), json!(required));
        }
        match &self.others {
            Others::Any => {}
            Others::None => {
                map.insert("additionalProperties".to_owned(), false.into());
            }
            Others::Each(schema) => {
                map.insert("additionalProperties".to_owned(), schema.json());
            }
        }
    }
}

impl Schema {
    pub fn json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(key.to_owned(), value);
            }
        };
        // A file is an object when the task gets it.
        let mut words: Vec<&str> = Vec::new();
        for kind in &self.kinds {
            let word = if *kind == Kind::File { Kind::Object.word() } else { kind.word() };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        put(
            "type",
            match words.as_slice() {
                [] => None,
                [word] => Some(json!(word)),
                words => Some(json!(words)),
            },
        );
        put("description", self.description.clone().map(Value::from));
        put("default", self.default.clone());
        put("enum", (!self.choices.is_empty()).then(|| Value::from(self.choices.clone())));
        put("minimum", self.minimum.clone().map(Value::from));
        put("maximum", self.maximum.clone().map(Value::from));
        put("minLength", self.min_length.map(Value::from));
        put("maxLength", self.max_length.map(Value::from));
        put("pattern", self.pattern.clone().map(Value::from));
        put("items", self.items.as_ref().map(|items| items.json()));
        put("minItems", self.min_items.map(Value::from));
        put("maxItems", self.max_items.map(Value::from));
        put("x-file", self.is(Kind::File).then_some(Value::Bool(true)));
        put("x-aliases", (!self.aliases.is_empty()).then(|| json!(self.aliases)));
        put("writeOnly", self.sensitive.then_some(Value::Bool(true)));
        put("x-sensitive", self.sensitive.then_some(Value::Bool(true)));
        self.object.put(&mut map);
        Value::Object(map)
    }
}
