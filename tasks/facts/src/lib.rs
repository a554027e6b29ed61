//! Which facts are wanted. A library of its own, so that its tests run on the machine that builds it.

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use std::fmt;

/// Names, each may hold `*`. As in Ansible, no names at all are no filter.
#[derive(Default)]
pub struct Filter(Vec<String>);

impl Filter {
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    pub fn takes(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }
}

/// By hand: what serde derives for "a string or a list" would be a quarter of the module.
impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Filter, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Filter;

            fn expecting(&self, text: &mut fmt::Formatter) -> fmt::Result {
                text.write_str(
                    "the name of a fact or a list of names, in which `*` stands for any characters",
                )
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Filter, E> {
                Ok(Filter(vec![name.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Filter, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(Filter(names))
            }
        }
        input.deserialize_any(Names)
    }
}

/// Each part between stars must follow the one before, the first at the beginning and the last at the end.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::{Filter, matches};

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name) in [
            ("kernel", "kernel"),
            ("mem*", "memtotal_mb"),
            ("*_mb", "memfree_mb"),
            ("*", ""),
            ("a*b*c", "abc"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("kernel", "kernel_version"),
            ("mem*", "swapmem"),
            ("*_mb", "mb"),
            ("a*b*c", "acb"),
            ("aa*a", "aa"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn one_name_many_or_none() {
        let read = |text: &str| serde_json::from_str::<Filter>(text);
        assert!(read("\"kernel\"").unwrap().takes("kernel"));
        let many = read(r#"["kernel", "mem*"]"#).unwrap();
        assert!(many.takes("memtotal_mb") && !many.takes("hostname") && !many.is_all());
        assert!(read("[]").unwrap().is_all() && Filter::default().is_all());
        assert!(read("7").is_err_and(|error| error.to_string().contains("a list of names")));
    }
}
