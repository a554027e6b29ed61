//! The schema of parameters, as `#[derive(waft::Params)]` writes it into the manifest: TOML text in pieces, which are put
//! together while the task is compiled. Nothing of it is in the code of the module.

use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// Of a manifest, bytes: waft reads no more.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;

/// A piece of the text.
pub enum Part {
    Text(&'static str),
    Parts(&'static [Part]),
}

/// A type that a parameter may have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the type of a parameter",
    note = "a parameter is a String, number, bool, waft::File, Vec, Option, map from String, or what derives waft::Params"
)]
pub trait Schema {
    /// What stands in the braces of its table: `type = "string"`.
    const SCHEMA: &'static [Part];
    /// The words that it may be; none: any.
    const CHOICES: &'static [&'static str] = &[];
}

/// All parameters of a task. Made by `#[derive(waft::Params)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the parameters of a task",
    note = "give the struct #[derive(waft::Params)]"
)]
pub trait Params: Schema + DeserializeOwned {
    /// The lines of the table `params`.
    const PARAMS: &'static [Part];
}

/// A type whose default is written as a text.
#[diagnostic::on_unimplemented(
    message = "the default of a `{Self}` is not written as a text",
    note = "numbers, true and false are written without quotes, lists in brackets"
)]
pub trait Text {
    fn from_text(text: &'static str) -> Self;
}

/// Of a task that has none.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

impl Schema for NoParams {
    const SCHEMA: &'static [Part] = &[Part::Text("type = \"object\", additionalProperties = false")];
}

impl Params for NoParams {
    const PARAMS: &'static [Part] = &[];
}

macro_rules! schemas {
    ($($text:literal: $($type:ty),+;)+) => {
        $($(impl Schema for $type {
            const SCHEMA: &'static [Part] = &[Part::Text($text)];
        })+)+
    };
}

schemas! {
    "type = \"string\"": String, PathBuf;
    "type = \"boolean\"": bool;
    "type = \"integer\"": u8, u16, u32, u64, usize, i8, i16, i32, i64, isize;
    "type = \"number\"": f32, f64;
    "type = \"file\"": crate::File;
    "type = [\"string\", \"integer\", \"number\", \"boolean\", \"array\", \"object\"]": serde_json::Value;
    "type = \"object\"": serde_json::Map<String, serde_json::Value>;
}

impl<T: Schema> Schema for Vec<T> {
    const SCHEMA: &'static [Part] =
        &[Part::Text("type = \"array\", items = { "), Part::Parts(T::SCHEMA), Part::Text(" }")];
}

impl<T: Schema> Schema for Box<T> {
    const SCHEMA: &'static [Part] = T::SCHEMA;
    const CHOICES: &'static [&'static str] = T::CHOICES;
}

/// The names of its members are anybody's.
impl<T: Schema> Schema for BTreeMap<String, T> {
    const SCHEMA: &'static [Part] = &[
        Part::Text("type = \"object\", additionalProperties = { "),
        Part::Parts(T::SCHEMA),
        Part::Text(" }"),
    ];
}

impl<T: Schema, S> Schema for HashMap<String, T, S> {
    const SCHEMA: &'static [Part] = <BTreeMap<String, T>>::SCHEMA;
}

impl Text for String {
    fn from_text(text: &'static str) -> String {
        text.to_owned()
    }
}

impl Text for PathBuf {
    fn from_text(text: &'static str) -> PathBuf {
        text.into()
    }
}

/// Whether a word is one of these, or there are none.
pub const fn is_choice(choices: &[&str], word: &str) -> bool {
    let mut at = 0;
    while at < choices.len() {
        if is_same(choices[at].as_bytes(), word.as_bytes()) {
            return true;
        }
        at += 1;
    }
    choices.is_empty()
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Of the whole text, bytes.
pub const fn length(parts: &[Part]) -> usize {
    let (mut length, mut at) = (0, 0);
    while at < parts.len() {
        length += match parts[at] {
            Part::Text(text) => text.len(),
            Part::Parts(parts) => self::length(parts),
        };
        at += 1;
    }
    length
}

/// The whole text. Stops the compiler when its length is not `N`.
pub const fn bytes<const N: usize>(parts: &[Part]) -> [u8; N] {
    let (bytes, length) = put([0; N], 0, parts);
    assert!(length == N);
    bytes
}

const fn put<const N: usize>(mut bytes: [u8; N], mut to: usize, parts: &[Part]) -> ([u8; N], usize) {
    let mut at = 0;
    while at < parts.len() {
        match parts[at] {
            Part::Text(text) => {
                let mut from = 0;
                while from < text.len() {
                    bytes[to] = text.as_bytes()[from];
                    to += 1;
                    from += 1;
                }
            }
            Part::Parts(parts) => (bytes, to) = put(bytes, to, parts),
        }
        at += 1;
    }
    (bytes, to)
}

/// The text, for a test that looks at it.
#[cfg(not(target_arch = "wasm32"))]
pub fn text(parts: &[Part]) -> String {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => (*text).to_owned(),
            Part::Parts(parts) => text(parts),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_put_together_while_compiling() {
        const PARTS: &[Part] =
            &[Part::Text("a = { "), Part::Parts(<Vec<Vec<bool>>>::SCHEMA), Part::Text(" }")];
        const BYTES: [u8; length(PARTS)] = bytes(PARTS);
        let expected = r#"a = { type = "array", items = { type = "array", items = { type = "boolean" } } }"#;
        assert_eq!(std::str::from_utf8(&BYTES), Ok(expected));
        assert_eq!(text(PARTS), expected);
        const { assert!(length(<NoParams as Params>::PARAMS) == 0) };
    }

    #[test]
    fn a_word_is_one_of_the_choices_or_any() {
        assert!(is_choice(&[], "x") && is_choice(&["a", "ab"], "ab"));
        assert!(!is_choice(&["a", "ab"], "b") && !is_choice(&["ab"], "a") && !is_choice(&["a"], "ab"));
    }
}
