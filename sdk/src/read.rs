//! One JSON object as a type. What `serde_json::from_str` adds for structs in the form of arrays costs a task some 5 kB, and
//! nobody sends them.

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::de::StrRead;

pub(crate) fn object<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(Object(&mut json))?;
    json.end()?;
    Ok(value)
}

/// Of a struct only the form of an object; all else as it is.
struct Object<'a, 'de>(&'a mut serde_json::Deserializer<StrRead<'de>>);

macro_rules! passed_on {
    ($($function:ident($($word:ident: $type:ty),*))*) => {
        $(fn $function<V: Visitor<'de>>(self, $($word: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            self.0.$function($($word,)* visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Object<'_, 'de> {
    type Error = serde_json::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_map(visitor)
    }

    passed_on! {
        deserialize_any()
        deserialize_option()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_map()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string unit seq tuple tuple_struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Deserialize, PartialEq, Debug)]
    struct Point {
        x: i32,
        of: Option<Box<Point>>,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    enum Choice {
        One,
        Two(i32),
    }

    #[test]
    fn a_struct_is_an_object_and_all_else_is_as_it_was() {
        let point = Point { x: 1, of: Some(Point { x: 2, of: None }.into()) };
        assert_eq!(object::<Point>(r#" {"x":1,"of":{"x":2}} "#).unwrap(), point);
        for (wrong, said) in [
            ("[1,null]", "invalid type: sequence, expected struct Point at line 1 column 0"),
            ("{\"x\":1}{", "trailing characters at line 1 column 8"),
            ("{\"x\":\n\"a\"}", "invalid type: string \"a\", expected i32 at line 2 column 3"),
        ] {
            assert_eq!(object::<Point>(wrong).unwrap_err().to_string(), said);
        }
        assert_eq!(object::<serde_json::Value>("[1]").unwrap(), serde_json::json!([1]));
        assert_eq!(object::<BTreeMap<String, u8>>("{\"a\":1}").unwrap()["a"], 1);
        assert_eq!(object::<Option<u8>>("null").unwrap(), None);
        assert_eq!(object::<(i8, String)>("[-1,\"a\"]").unwrap(), (-1, "a".to_owned()));
        assert_eq!(object::<Choice>("\"One\"").unwrap(), Choice::One);
        assert_eq!(object::<Choice>("{\"Two\":2}").unwrap(), Choice::Two(2));
    }
}
