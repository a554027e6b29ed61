//! A text of a template. A library of its own, so that its tests run on the machine that builds it.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, UndefinedBehavior};
use std::collections::BTreeMap;
use waft_sdk::Error;

/// Templates and macros in each other.
const RECURSION_MAX: usize = 100;

pub struct Style {
    pub trim_blocks: bool,
    pub lstrip_blocks: bool,
}

/// The text. `facts` is asked for when the template names them.
pub fn rendered(
    name: &str,
    template: &str,
    mut vars: BTreeMap<String, Value>,
    style: &Style,
    facts: impl FnOnce() -> Result<Value, Error>,
) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_recursion_limit(RECURSION_MAX);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(style.trim_blocks)
        .lstrip_blocks(style.lstrip_blocks)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax.map_err(|error| told(name, &error))?);
    let template = environment.template_from_named_str(name, template).map_err(|error| told(name, &error))?;
    if !vars.contains_key(FACTS) && template.undeclared_variables(false).contains(FACTS) {
        vars.insert(FACTS.to_owned(), facts()?);
    }
    template.render(Value::from(vars)).map_err(|error| told(name, &error))
}

const FACTS: &str = "facts";

fn told(name: &str, error: &minijinja::Error) -> Error {
    let line = error.line().map_or_else(String::new, |line| format!(", line {line}"));
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    let hint = (error.kind() == minijinja::ErrorKind::UndefinedError)
        .then(|| "give it in `vars`, or write `| default(..)` behind it".to_owned());
    Error { hint, ..Error::new("template.error", format!("{name}{line}: {what}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { trim_blocks: true, lstrip_blocks: false };

    fn text(template: &str, vars: &str) -> Result<String, Error> {
        let facts = || Ok(serde_json::from_str(r#"{"hostname": "web1"}"#).unwrap());
        rendered("t.j2", template, serde_json::from_str(vars).unwrap(), &STYLE, facts)
    }

    #[test]
    fn texts_are_as_jinja_makes_them() {
        for (template, vars, expected) in [
            ("port = {{ port }}\n", r#"{"port": 80}"#, "port = 80\n"),
            ("{% for n in l %}\n- {{ n }}\n{% endfor %}\nend", r#"{"l": [1, 2]}"#, "- 1\n- 2\nend"),
            ("{{ a.b[1] | upper }}", r#"{"a": {"b": ["x", "y"]}}"#, "Y"),
            ("{{ gone | default('d') }}{% if on %}1{% endif %}", r#"{"on": true}"#, "d1"),
            ("{{ '<&' }} {{ a | tojson }}", r#"{"a": {"k": [1.5, null]}}"#, r#"<& {"k": [1.5, null]}"#),
            ("{{ facts.hostname }}", "{}", "web1"),
            ("{{ facts }}", r#"{"facts": "own"}"#, "own"),
            ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(1) }}", "{}", "[1]"),
        ] {
            assert_eq!(text(template, vars).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let error = text("a\n{{ port }}", "{}").unwrap_err();
        assert!(error.message.starts_with("t.j2, line 2: ") && error.hint.is_some(), "{error}");
        for template in
            ["{% if %}", "{{ a", "{% for x in 1 %}{% endfor %}", "{{ 'a' | no_filter }}", "{% include 'x' %}"]
        {
            assert_eq!(text(template, "{}").unwrap_err().code, "template.error", "{template}");
        }
    }

    #[test]
    fn facts_are_asked_for_when_they_are_used() {
        let refused = || Err(Error::new("grant.missing", "no facts"));
        assert_eq!(rendered("t", "x", BTreeMap::new(), &STYLE, refused).as_deref(), Ok("x"));
        assert_eq!(
            rendered("t", "{{ facts.x }}", BTreeMap::new(), &STYLE, refused).unwrap_err().code,
            "grant.missing"
        );
    }
}
