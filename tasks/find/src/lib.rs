//! What is asked for. A library of its own, so that its tests run on the machine that builds it.

use waft_sdk::Error;
use waft_tasks_common::files::{Entry, Kind, matches};

/// A bound: at least, or at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    Least(u64),
    Most(u64),
}

impl Bound {
    fn holds(self, value: u64) -> bool {
        match self {
            Bound::Least(least) => value >= least,
            Bound::Most(most) => value <= most,
        }
    }

    fn parse(name: &str, text: &str, units: &[(char, u64)]) -> Result<Bound, Error> {
        let (number, most) = match text.strip_prefix('-') {
            Some(number) => (number, true),
            None => (text, false),
        };
        let unit = units.iter().find(|(unit, _)| number.ends_with([*unit, unit.to_ascii_uppercase()]));
        let (digits, factor) = match unit {
            Some((_, factor)) => (&number[..number.len() - 1], *factor),
            None => (number, 1),
        };
        let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        let value = digits.parse::<u64>().ok().filter(|_| plain).and_then(|value| value.checked_mul(factor));
        match value {
            Some(value) => Ok(if most { Bound::Most(value) } else { Bound::Least(value) }),
            None => {
                let known: Vec<String> = units.iter().map(|(unit, _)| unit.to_string()).collect();
                let message = format!("`{name}` is `{}`, expected a number", text.escape_debug());
                let hint = format!("behind it there may be one of {}, and a `-` in front", known.join(" "));
                Err(Error { hint: Some(hint), ..Error::new(&format!("params.{name}"), message) })
            }
        }
    }

    pub fn size(text: &str) -> Result<Bound, Error> {
        Bound::parse(
            "size",
            text,
            &[('b', 1), ('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)],
        )
    }

    pub fn age(text: &str) -> Result<Bound, Error> {
        Bound::parse("age", text, &[('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)])
    }
}

#[derive(Default)]
pub struct Wish {
    pub patterns: Vec<String>,
    pub excludes: Vec<String>,
    /// None: any.
    pub kind: Option<Kind>,
    pub hidden: bool,
    pub size: Option<Bound>,
    pub age: Option<Bound>,
}

impl Wish {
    /// Whether it is listed, as far as that can be told without looking into it. `now`: seconds since 1970.
    pub fn takes(&self, entry: &Entry, now: u64) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, &entry.name));
        (self.hidden || !entry.name.starts_with('.'))
            && self.kind.is_none_or(|kind| kind == entry.kind)
            && (self.patterns.is_empty() || named(&self.patterns))
            && !named(&self.excludes)
            && self.size.is_none_or(|size| size.holds(entry.size))
            && self.age.is_none_or(|age| age.holds(now.saturating_sub(entry.modified)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_units() {
        assert_eq!(Bound::size("10"), Ok(Bound::Least(10)));
        assert_eq!(Bound::size("-2K"), Ok(Bound::Most(2048)));
        assert_eq!(Bound::age("1w"), Ok(Bound::Least(604_800)));
        for text in ["", "-", "k", "1x", "--1", "1.5k", "+1", "99999999999999999999", "9999999999999t", " 1"]
        {
            let error = Bound::size(text).unwrap_err();
            assert!(error.code == "params.size" && error.message.contains("`size`"), "{text}");
        }
    }

    #[test]
    fn all_that_was_asked_for_has_to_hold() {
        let entry = Entry {
            path: "/v/a.log".into(),
            name: "a.log".into(),
            kind: Kind::File,
            size: 100,
            modified: 900,
            depth: 1,
        };
        let takes = |wish: Wish| wish.takes(&entry, 1_000);
        let list = |text: &str| vec![text.to_owned()];
        assert!(takes(Wish::default()));
        assert!(takes(Wish { patterns: list("*.log"), age: Some(Bound::Least(100)), ..Wish::default() }));
        assert!(takes(Wish { kind: Some(Kind::File), size: Some(Bound::Most(100)), ..Wish::default() }));
        for wish in [
            Wish { patterns: list("*.gz"), ..Wish::default() },
            Wish { excludes: list("a*"), ..Wish::default() },
            Wish { kind: Some(Kind::Dir), ..Wish::default() },
            Wish { size: Some(Bound::Least(101)), ..Wish::default() },
            Wish { age: Some(Bound::Most(99)), ..Wish::default() },
        ] {
            assert!(!takes(wish));
        }
        let hidden = Entry { name: ".a".into(), ..entry.clone() };
        assert!(
            !Wish::default().takes(&hidden, 0) && Wish { hidden: true, ..Wish::default() }.takes(&hidden, 0)
        );
    }
}
