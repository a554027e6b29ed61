//! A boolean as people write it.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;

/// `true`, `yes`, `on`, `1` and their opposites, as JSON booleans, texts or numbers: `-p force=yes` is a text where no
/// schema converted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Yes(pub bool);

impl<'de> Deserialize<'de> for Yes {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Yes, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Yes;

            fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
                text.write_str("true or false")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Yes, E> {
                Ok(Yes(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Yes, E> {
                match value {
                    0 | 1 => Ok(Yes(value == 1)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(value), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Yes, E> {
                match value.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "on" | "1" => Ok(Yes(true)),
                    "false" | "no" | "off" | "0" => Ok(Yes(false)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(value), &self)),
                }
            }
        }
        input.deserialize_any(Word)
    }
}
