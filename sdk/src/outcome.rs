//! What a task answers: one JSON object on stdout.

use crate::Error;
use serde::Serialize;

/// `changed`, `msg`, and fields of the task's own.
///
/// ```
/// let outcome = waft_sdk::Outcome::changed(true).msg("2 lines added").with("lines", &2);
/// assert_eq!(outcome.to_json(), r#"{"changed":true,"msg":"2 lines added","lines":2}"#);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    changed: bool,
    msg: Option<String>,
    /// Name and JSON text: a tree of values would cost a task 20 kB.
    fields: Vec<(String, String)>,
}

impl Outcome {
    /// Nothing had to be done.
    pub fn ok() -> Outcome {
        Outcome::changed(false)
    }

    /// Whether anything was changed; in a dry run, whether it would have been.
    pub fn changed(changed: bool) -> Outcome {
        Outcome { changed, msg: None, fields: Vec::new() }
    }

    /// One sentence for people.
    pub fn msg(mut self, msg: impl Into<String>) -> Outcome {
        self.msg = Some(msg.into());
        self
    }

    /// One more field. A value that is no JSON (a map whose keys are no texts) becomes `null`.
    pub fn with(self, name: &str, value: &(impl Serialize + ?Sized)) -> Outcome {
        let json = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
        self.with_json(name, json)
    }

    /// One more field, whose value is JSON text already.
    pub fn with_json(mut self, name: &str, json: String) -> Outcome {
        self.fields.push((name.to_owned(), json));
        self
    }

    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The JSON text of a field, if it is there.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, json)| json.as_str())
    }

    pub fn to_json(&self) -> String {
        let mut text = format!("{{\"changed\":{}", self.changed);
        if let Some(msg) = &self.msg {
            member(&mut text, "msg", &quoted(msg));
        }
        for (name, json) in &self.fields {
            member(&mut text, name, json);
        }
        text.push('}');
        text
    }
}

/// What is printed in place of an outcome: `{"changed":false,"msg":..,"error":{"code":..,"message":..,"hint":..}}`.
pub(crate) fn failure(error: &Error) -> String {
    let message = quoted(&error.message);
    let hint = error.hint.as_deref().map_or_else(|| "null".to_owned(), quoted);
    let code = quoted(&error.code);
    format!(
        "{{\"changed\":false,\"msg\":{message},\"error\":{{\"code\":{code},\"message\":{message},\"hint\":{hint}}}}}"
    )
}

fn member(text: &mut String, name: &str, json: &str) {
    text.push(',');
    text.push_str(&quoted(name));
    text.push(':');
    text.push_str(json);
}

fn quoted(text: &str) -> String {
    // A text is always JSON.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_one_object() {
        assert_eq!(Outcome::ok().to_json(), r#"{"changed":false}"#);
        let outcome = Outcome::changed(true).msg("a \"b\"").with("x\n", &[1, 2]).with("none", &None::<u8>);
        assert_eq!(outcome.to_json(), r#"{"changed":true,"msg":"a \"b\"","x\n":[1,2],"none":null}"#);
        assert_eq!((outcome.field("none"), outcome.field("y")), (Some("null"), None));
    }

    #[test]
    fn a_failure_has_its_code_and_hint() {
        let error = Error { hint: Some("do".into()), ..Error::new("file.kind", "No file.") };
        let said: serde_json::Value = serde_json::from_str(&failure(&error)).unwrap();
        let expected = serde_json::json!({"changed": false, "msg": "No file.",
            "error": {"code": "file.kind", "message": "No file.", "hint": "do"}});
        assert_eq!(said, expected);
    }
}
