//! What a task answers: one JSON object on stdout.

use crate::Error;
use serde::Serialize;

/// What waft takes as a result, bytes, with the end of the line: `CAPTURE_BYTES_MAX` of the host. Of more it would not even
/// know whether anything was changed.
pub const RESULT_BYTES_MAX: usize = 1 << 20;
/// Of `msg` and of `error`, when all else is too large, bytes each.
const KEPT_BYTES_MAX: usize = 64 * 1024;

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

    /// What is printed: where the whole is larger than a result may be, it is left out, but for `changed`, `msg` and `error`.
    pub(crate) fn to_result(&self) -> String {
        let json = self.to_json();
        if json.len() < RESULT_BYTES_MAX {
            return json;
        }
        let left_out = "the result was larger than 1 MiB and is left out";
        let short = Outcome::changed(self.changed).msg(match &self.msg {
            Some(msg) if msg.len() <= KEPT_BYTES_MAX => format!("{msg}; {left_out}"),
            _ => left_out.to_owned(),
        });
        match self.field("error").filter(|error| error.len() <= KEPT_BYTES_MAX) {
            Some(error) => short.with_json("error", error.to_owned()).to_json(),
            None => short.to_json(),
        }
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
    fn of_what_is_too_large_for_a_result_the_change_is_told() {
        let sized = |bytes: usize| {
            let outcome = Outcome::changed(true).msg("done").with("error", "why");
            let rest = outcome.clone().with("x", "").to_json().len();
            outcome.with("x", &"x".repeat(bytes - rest))
        };
        // With the end of the line.
        let fits = sized(RESULT_BYTES_MAX - 1);
        assert_eq!(fits.to_result(), fits.to_json());
        assert_eq!(
            sized(RESULT_BYTES_MAX).to_result(),
            r#"{"changed":true,"msg":"done; the result was larger than 1 MiB and is left out","error":"why"}"#
        );
        let long = "m".repeat(RESULT_BYTES_MAX);
        assert_eq!(
            Outcome::changed(false).msg(long.as_str()).with("error", &long).to_result(),
            r#"{"changed":false,"msg":"the result was larger than 1 MiB and is left out"}"#
        );
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
