//! A task's parameters: one JSON object on stdin. An empty stdin is an empty object, so that `task.wasm </dev/null`
//! works in any WASI runtime.

use crate::Error;
use crate::read::object;
use serde::de::DeserializeOwned;
use std::io::Read;

/// More than waft sends: parameters beyond it travel as blobs. Read from another runtime, it bounds this guest's memory.
pub const PARAMS_BYTES_MAX: u64 = 1 << 20;

/// The parameters on stdin, as the task's own type. Give the type `#[serde(deny_unknown_fields)]`: a misspelt parameter
/// is better refused than ignored.
pub fn params<T: DeserializeOwned>() -> Result<T, Error> {
    params_from(std::io::stdin().lock())
}

/// As [`params`], from any reader.
pub fn params_from<T: DeserializeOwned>(input: impl Read) -> Result<T, Error> {
    let mut bytes = Vec::new();
    input.take(PARAMS_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| {
        Error::new("params.read", format!("the parameters could not be read from stdin: {e}"))
    })?;
    if bytes.len() as u64 > PARAMS_BYTES_MAX {
        return Err(Error::new(
            "params.size",
            format!("the parameters are larger than {PARAMS_BYTES_MAX} bytes"),
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| Error::new("params.invalid", format!("the parameters are no UTF-8 text: {e}")))?;
    let text = if text.trim_ascii().is_empty() { "{}" } else { &text };
    // As text, like the replies of the host: one more parser would cost a task 8 kB.
    object(text).map_err(|e| {
        Error::new("params.invalid", format!("the parameters are not what this task takes: {e}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, PartialEq, Debug)]
    #[serde(deny_unknown_fields)]
    struct Greeting {
        #[serde(default)]
        name: String,
    }

    #[test]
    fn nothing_on_stdin_is_an_empty_object() {
        assert_eq!(params_from::<Greeting>(&b""[..]), Ok(Greeting { name: String::new() }));
        assert_eq!(params_from::<Greeting>(&b" \n"[..]), Ok(Greeting { name: String::new() }));
    }

    #[test]
    fn a_misspelt_parameter_is_named() {
        let error = params_from::<Greeting>(&br#"{"nmae":"x"}"#[..]).unwrap_err();
        assert_eq!(error.code, "params.invalid");
        assert!(error.message.contains("nmae"), "{error}");
    }

    #[test]
    fn parameters_are_bounded() {
        let error = params_from::<Greeting>(std::io::repeat(b' ')).unwrap_err();
        assert_eq!(error.code, "params.size");
    }
}
