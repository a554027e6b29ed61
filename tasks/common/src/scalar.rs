//! Text that may come as a number.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;

/// `-p minute=5` is a number where a schema converted it, and `*/5` is not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Scalar, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Scalar;

            fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
                text.write_str("a text or a whole number")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }
        }
        input.deserialize_any(Word)
    }
}
