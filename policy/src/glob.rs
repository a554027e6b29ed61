//! Patterns of names: `*` stands for any characters, `?` for one.

/// A pattern, bytes.
pub(crate) const GLOB_BYTES_MAX: usize = 256;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob(String);

impl Glob {
    pub(crate) fn new(text: &str) -> Glob {
        Glob(text.to_owned())
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// At most as many steps as both texts have characters, multiplied.
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), name.chars());
        // After the last star: the pattern there, and what of the name the star has not taken yet.
        let mut star = None;
        loop {
            let (mut after, mut left) = (pattern.clone(), rest.clone());
            match (after.next(), left.next()) {
                (None, None) => return true,
                (Some('*'), _) => {
                    star = Some((after.clone(), rest.clone()));
                    pattern = after;
                    continue;
                }
                (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                    (pattern, rest) = (after, left);
                    continue;
                }
                _ => {}
            }
            // One more character for the last star.
            let Some((behind, taken)) = &mut star else { return false };
            if taken.next().is_none() {
                return false;
            }
            (pattern, rest) = (behind.clone(), taken.clone());
        }
    }

    /// Whether every name that `other` matches is matched by `self`; may say no when it is so.
    ///
    /// A star or question mark of `other`, read as a plain character, can only be taken by a star of `self`, unless
    /// `self` has question marks.
    pub(crate) fn covers(&self, other: &Glob) -> bool {
        self == other || ((!self.0.contains('?') || !other.0.contains(['*', '?'])) && self.matches(&other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn stars_take_any_number_and_question_marks_one() {
        for (pattern, yes, no) in [
            ("facts", vec!["facts"], vec!["", "fact", "factss", "Facts"]),
            ("*", vec!["", "x", "äö", "*"], vec![]),
            ("a*b", vec!["ab", "aab", "a*b", "abab"], vec!["a", "b", "abc", "ba"]),
            ("a?c", vec!["abc", "a?c", "aüc"], vec!["ac", "abbc"]),
            ("*-prod-*", vec!["x-prod-y", "-prod--prod-"], vec!["prod", "-prod"]),
            ("", vec![""], vec!["a"]),
        ] {
            let glob = Glob::new(pattern);
            yes.iter().for_each(|name| assert!(glob.matches(name), "{pattern} {name}"));
            no.iter().for_each(|name| assert!(!glob.matches(name), "{pattern} {name}"));
        }
        // The worst for matching: it ends.
        assert!(!Glob::new(&"*a".repeat(100)).matches(&"a".repeat(99)));
    }

    #[test]
    fn covering_is_never_claimed_wrongly() {
        let letters = ["a", "b", "*", "?"];
        let all = |length: usize| {
            (0..letters.len().pow(length as u32)).map(move |mut number| {
                let mut text = String::new();
                for _ in 0..length {
                    text.push_str(letters[number % letters.len()]);
                    number /= letters.len();
                }
                text
            })
        };
        let globs: Vec<Glob> = (0..=3).flat_map(all).map(|text| Glob::new(&text)).collect();
        let names: Vec<String> = (0..=4).flat_map(all).filter(|name| !name.contains(['*', '?'])).collect();
        let mut covered = 0;
        for outer in &globs {
            for inner in globs.iter().filter(|inner| outer.covers(inner)) {
                covered += 1;
                let all = names.iter().all(|name| !inner.matches(name) || outer.matches(name));
                assert!(all, "{outer:?} {inner:?}");
            }
        }
        assert!(covered > globs.len(), "more than themselves");
    }
}
