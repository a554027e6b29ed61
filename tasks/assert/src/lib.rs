//! Expressions and what they mean. A library of its own, so that its tests run on the machine that builds it.

mod eval;
mod parse;
mod value;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use value::Value;
use waft_sdk::Error;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    pub that: That,
    #[serde(default)]
    pub vars: BTreeMap<String, Value>,
    #[serde(alias = "msg")]
    pub fail_msg: Option<String>,
    pub success_msg: Option<String>,
}

/// One expression, or a list of them: a comma is part of one.
pub struct That(pub Vec<String>);

impl<'de> Deserialize<'de> for That {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<That, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = That;

            fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
                text.write_str("an expression or a list of expressions")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<That, E> {
                Ok(That(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<That, A::Error> {
                let mut that = Vec::new();
                while let Some(one) = list.next_element::<String>()? {
                    that.push(one);
                }
                Ok(That(that))
            }
        }
        input.deserialize_any(List)
    }
}

fn invalid(message: String, hint: &str) -> Error {
    Error { hint: Some(hint.into()), ..Error::new("params.invalid", message) }
}

/// Fails with the first expression that is not true. `facts` is called when one of them speaks of facts.
pub fn check(params: Params, facts: impl FnOnce() -> Result<String, Error>) -> Result<usize, Error> {
    let Params { that: That(that), mut vars, fail_msg, .. } = params;
    if that.is_empty() {
        let hint = "for example `-p that='facts.system == \"Linux\"'`";
        return Err(invalid("`that` holds no expression".to_owned(), hint));
    }
    let mut trees = Vec::new();
    for text in &that {
        trees.push(parse::parse(text).map_err(|why| {
            let hint = "an expression is as between `{{` and `}}` of Jinja, without them";
            invalid(["`", text, "` is no expression: ", &why].concat(), hint)
        })?);
    }
    if trees.iter().any(|tree| parse::uses(tree, "facts")) && !vars.contains_key("facts") {
        let facts = serde_json::from_str(&facts()?).map_err(|error| {
            Error::new("waft_v1.reply", format!("the host's facts are no JSON object: {error}"))
        })?;
        vars.insert("facts".to_owned(), facts);
    }
    for (text, tree) in that.iter().zip(&trees) {
        let value = eval::eval(tree, &vars)
            .map_err(|why| Error::new("assert.value", ["`", text, "` has no value here: ", &why].concat()))?;
        if !value.is_true() {
            let failed = fail_msg.as_deref().unwrap_or("Assertion failed:");
            return Err(Error::new("assert.failed", [failed, " `", text, "` is not true"].concat()));
        }
    }
    Ok(that.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: &str = r#"{"system":"Linux","memtotal_mb":3900,"distribution_major_version":"12",
        "mounts":[{"mount":"/"},{"mount":"/srv"}],"selinux":{"status":"disabled"}}"#;

    fn checked(json: &str) -> Result<usize, Error> {
        check(serde_json::from_str(json).unwrap(), || Ok(FACTS.to_owned()))
    }

    #[test]
    fn expressions_over_facts_and_values() {
        let that = r#"{"that": ["facts.system == \"Linux\" and not facts.selinux.status == \"enabled\"",
            "facts.memtotal_mb > 2000", "facts.distribution_major_version | int >= 12", "stage in ['a', 'b']",
            "facts.mounts[1].mount == '/srv'"], "vars": {"stage": "b"}}"#;
        assert_eq!(checked(that), Ok(5));
    }

    #[test]
    fn the_first_that_is_not_true_is_told() {
        let error = checked(r#"{"that": ["true", "facts.memtotal_mb > 4000", "false"]}"#).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("assert.failed", "Assertion failed: `facts.memtotal_mb > 4000` is not true")
        );
        let error = checked(r#"{"that": "1 > 2", "msg": "Too small."}"#).unwrap_err();
        assert_eq!(error.message, "Too small. `1 > 2` is not true");
    }

    #[test]
    fn what_is_no_expression_is_found_before_any_is_asked() {
        for (json, code) in [
            (r#"{"that": ["false", "1 +"]}"#, "params.invalid"),
            (r#"{"that": []}"#, "params.invalid"),
            (r#"{"that": "x == 1"}"#, "assert.value"),
            (r#"{"that": "facts.nothing.deeper"}"#, "assert.value"),
            (r#"{"that": "1 | nofilter"}"#, "assert.value"),
        ] {
            assert_eq!(checked(json).map_err(|error| error.code), Err(code.to_owned()), "{json}");
        }
    }

    #[test]
    fn facts_are_asked_for_only_when_needed() {
        let params = serde_json::from_str(r#"{"that": "x", "vars": {"x": "facts"}}"#).unwrap();
        assert_eq!(check(params, || panic!("not needed")), Ok(1));
        assert!(serde_json::from_str::<Params>(r#"{"that": "x", "vars": 3}"#).is_err());
        assert!(serde_json::from_str::<Params>(r#"{"that": {}}"#).is_err());
    }
}
