use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use std::fmt;

/// Statuses that are good: one, or a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statuses(pub Vec<u16>);

impl Default for Statuses {
    fn default() -> Statuses {
        Statuses(vec![200])
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Statuses, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Statuses;

            fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
                text.write_str("a status from 100 to 599, or a list of them")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Statuses, E> {
                match u16::try_from(value) {
                    Ok(status @ 100..=599) => Ok(Statuses(vec![status])),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(value), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Statuses, E> {
                let number =
                    value.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))?;
                self.visit_u64(number)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Statuses, A::Error> {
                let mut all = Vec::new();
                while let Some(Statuses(one)) = list.next_element()? {
                    all.extend(one);
                }
                Ok(Statuses(all))
            }
        }
        input.deserialize_any(Numbers)
    }
}
