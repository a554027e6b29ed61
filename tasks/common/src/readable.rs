use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Whether waft can read this JSON where it is a field of a result; otherwise it would lose all of the result. A `RawValue`
/// may have more: halves of surrogate pairs, numbers that are too large, any depth.
pub fn is_readable(json: &str) -> bool {
    // A list is as deep as the object of the result.
    serde_json::from_str::<(Read,)>(&format!("[{json}]")).is_ok()
}

/// A value that was read, and is not kept.
struct Read;

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Read, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Visitor<'de> for Read {
    type Value = Read;

    fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
        text.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Read, E> {
        Ok(Read)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Read, E> {
        Ok(Read)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Read, E> {
        Ok(Read)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Read, E> {
        Ok(Read)
    }

    fn visit_str<E>(self, _: &str) -> Result<Read, E> {
        Ok(Read)
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Read, A::Error> {
        while list.next_element::<Read>()?.is_some() {}
        Ok(Read)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Read, A::Error> {
        while object.next_entry::<Read, Read>()?.is_some() {}
        Ok(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists in each other that a field of a result may have.
    const DEPTH_MAX: usize = 126;

    #[test]
    fn what_is_readable_is_what_a_result_may_have() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for (json, expected) in [
            (r#" {"a": [1, -2, 0.5, 1e300, "\ud83d\ude00", true, null, {}]} "#, true),
            (&nested(DEPTH_MAX), true),
            (&nested(DEPTH_MAX + 1), false),
            (r#"{"n": "\ud83d"}"#, false),
            (r#"{"\ude00": 1}"#, false),
            ("[1e400]", false),
            ("1,2", false),
            ("", false),
        ] {
            assert_eq!(is_readable(json), expected, "{json}");
            let result = serde_json::from_str::<serde_json::Value>(&format!("{{\"json\":{json}}}"));
            assert!(result.is_ok() == expected, "{json}");
        }
    }
}
