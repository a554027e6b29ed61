//! Examples of a manifest: they have to be right, because people paste them.

use super::{Reader, Value};
use crate::manifest::agree::ASKED;
use crate::manifest::schema::Object;
use crate::manifest::{EXAMPLES_MAX, Example};
use waft_proto::grant::nearest;

const KEYS: [&str; 3] = ["description", "params", "grants"];
/// What an example is of, bytes: a heading.
const DESCRIPTION_BYTES_MAX: usize = 256;

impl Reader<'_> {
    pub(super) fn examples(&mut self, value: &Value<'_>, schema: Option<&Object>) -> Vec<Example> {
        let hint = "for example `[[examples]]`, and below it `description = \"..\"` and `params = { .. }`";
        let Some(list) = value.get_ref().as_array() else {
            self.expected("examples", value, "a list of tables", hint);
            return Vec::new();
        };
        if list.len() > EXAMPLES_MAX {
            let text = format!("there are {} examples, at most {EXAMPLES_MAX} are read", list.len());
            self.say(value.span().start, "manifest.many", &text, "keep those that show most");
            return Vec::new();
        }
        list.iter().filter_map(|item| self.example(item, schema, hint)).collect()
    }

    fn example(&mut self, value: &Value<'_>, schema: Option<&Object>, hint: &str) -> Option<Example> {
        let Some(table) = value.get_ref().as_table() else {
            self.expected("examples", value, "a list of tables", hint);
            return None;
        };
        let mut example = Example::default();
        for (key, value) in table.iter() {
            match key.get_ref().as_ref() {
                "description" => {
                    example.description = self.line("description", value, DESCRIPTION_BYTES_MAX);
                }
                "params" => example.params = self.example_params(value, schema),
                "grants" if value.get_ref().as_str() == Some(ASKED) => {
                    example.grants = vec![ASKED.to_owned()];
                }
                "grants" => {
                    let grants = self.grants(value);
                    example.grants = grants.iter().map(|grant| grant.to_string()).collect();
                }
                other => {
                    let text = format!("`{}` is no key of an example", other.escape_debug());
                    let hint = match nearest(other, KEYS) {
                        Some(known) => format!("did you mean `{known}`?"),
                        None => format!("known are {}", KEYS.join(", ")),
                    };
                    self.say(key.span().start, "manifest.key", &text, &hint);
                }
            }
        }
        // Without any, what is required is missing as well.
        if !table.iter().any(|(key, _)| key.get_ref().as_ref() == "params")
            && let Some((name, _)) =
                schema.and_then(|schema| schema.properties.iter().find(|(_, schema)| schema.required))
        {
            let text = format!("an example is without `params`, and `{name}` is required");
            self.say(value.span().start, "manifest.example", &text, "add `params = { .. }`");
        }
        Some(example)
    }
}
