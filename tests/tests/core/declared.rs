//! What a task answers is what its manifest says of it: each field, and of which type.

use serde_json::Value;
use waft::search;

/// Their results have fields of the module or script that they run, or (`uri`) of the headers of an answer.
const FREE: [&str; 5] = ["ansible", "javascript", "lua", "python", "uri"];
/// What every result may have; `error` when it failed.
const COMMON: [&str; 3] = ["changed", "msg", "error"];

/// Looks at the `result` of a result event. Tasks that are not built in, and those that become a program and so say nothing of
/// results, are passed over.
pub(crate) fn as_declared(task: &str, result: &Value) {
    let found = if FREE.contains(&task) { None } else { search::builtin(task).ok() };
    let Some(schema) = found.and_then(|found| Some(found.manifest?.result?.document())) else { return };
    let fields = result.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !COMMON.contains(&name.as_str())) {
        let said = &schema["properties"][name];
        assert!(said.is_object(), "the manifest of {task} does not say that it answers `{name}`: {result}");
        let kinds = match &said["type"] {
            Value::Array(kinds) => kinds.clone(),
            kind => vec![kind.clone()],
        };
        let is_right =
            value.is_null() || kinds.iter().any(|kind| kind.as_str().is_none_or(|kind| is_of(value, kind)));
        assert!(is_right, "`{name}` of {task} is not {}: {value}", said["type"]);
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
