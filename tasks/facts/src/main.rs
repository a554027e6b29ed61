//! Prints the facts of the target: `{"changed": false, "facts": {..}}`. Needs the grant `facts`.
//!
//! `filter`: a name or a list of names of facts, each may hold `*`; only these are printed. Without it, all are.
//! 2 when the parameters are others; 125 when the host refused, with its sentence on stderr.

use facts_task::Filter;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::io::{Write, stdout};
use std::process::ExitCode;
use waft_sdk::exit;

/// What it asks for, for whoever starts it: a custom section of the module.
#[expect(unsafe_code, reason = "the attribute could hide a symbol of somebody else; a custom section cannot")]
#[used]
#[unsafe(link_section = "waft.task")]
static MANIFEST: [u8; include_bytes!("../waft.toml").len()] = *include_bytes!("../waft.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(default)]
    filter: Filter,
}

fn main() -> ExitCode {
    let facts = match waft_sdk::params::<Params>().map_err(|e| (exit::USAGE, e.to_string())) {
        Ok(params) => gather(&params.filter).map_err(|e| (exit::REFUSED, e)),
        Err(usage) => Err(usage),
    };
    match facts {
        Ok(facts) => print(&facts),
        Err((code, error)) => {
            eprintln!("facts: {error}");
            ExitCode::from(code)
        }
    }
}

fn gather(filter: &Filter) -> Result<String, String> {
    let facts = waft_sdk::facts().map_err(|error| error.to_string())?;
    if filter.is_all() {
        return Ok(facts);
    }
    let mut input = serde_json::Deserializer::from_str(&facts);
    let chosen = Chosen(filter).deserialize(&mut input);
    chosen.map_err(|error| format!("the host's facts are no JSON object: {error}"))
}

/// Writes the chosen members again as they came, without looking into them.
struct Chosen<'a>(&'a Filter);

impl<'de> DeserializeSeed<'de> for Chosen<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<String, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Chosen<'_> {
    type Value = String;

    fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
        text.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut facts: A) -> Result<String, A::Error> {
        let mut chosen = "{".to_owned();
        // Names of facts hold nothing that JSON would escape.
        while let Some(name) = facts.next_key::<&str>()? {
            let value = facts.next_value::<&RawValue>()?.get();
            if self.0.takes(name) {
                let comma = if chosen.len() > 1 { "," } else { "" };
                chosen.extend([comma, "\"", name, "\":", value]);
            }
        }
        chosen.push('}');
        Ok(chosen)
    }
}

fn print(facts: &str) -> ExitCode {
    match writeln!(stdout(), "{{\"changed\":false,\"facts\":{facts}}}") {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads any more; there is nobody to tell either.
        Err(_) => ExitCode::FAILURE,
    }
}
