//! A list of texts as people write it.

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use std::fmt;

/// A list, or one text with commas in it, as Ansible has it: `-p patterns=*.log,*.gz` is a text where no schema made it a list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words(pub Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Words, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Words;

            fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
                text.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Words, E> {
                Ok(Words(
                    text.split(',')
                        .map(|word| word.trim().to_owned())
                        .filter(|word| !word.is_empty())
                        .collect(),
                ))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }
        input.deserialize_any(Texts)
    }
}
