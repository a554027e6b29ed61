//! Names with `*`, `?` and `[..]`, as fnmatch(3) has them.

/// Whether a name matches. A `*` also takes slashes: names of files have none.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star is, and how much of the name it takes so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
            continue;
        }
        if let Some(next) = one(&pattern, p, name[n]) {
            (p, n) = (next, n + 1);
            continue;
        }
        let Some((at, taken)) = star else { return false };
        star = Some((at, taken + 1));
        (p, n) = (at + 1, taken + 1);
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// Where the pattern goes on when its part at `p` is this character.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match *pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => match class(pattern, p + 1, c) {
            Some((true, next)) => Some(next),
            Some((false, _)) => None,
            // Without its end it is a bracket.
            None => (c == '[').then_some(p + 1),
        },
        literal => (literal == c).then_some(p + 1),
    }
}

/// Whether a class takes the character, and where it ends.
fn class(pattern: &[char], start: usize, c: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(start), Some('!' | '^'));
    let first = start + usize::from(negated);
    let (mut at, mut found) = (first, false);
    loop {
        let low = *pattern.get(at)?;
        if low == ']' && at > first {
            return Some((found != negated, at + 1));
        }
        match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some('-'), Some(high)) if *high != ']' => {
                found |= low <= c && c <= *high;
                at += 3;
            }
            _ => {
                found |= low == c;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_are_matched_as_a_shell_does() {
        for (pattern, name) in [
            ("*", ""),
            ("*.log", "a.log"),
            ("a*b*c", "aXbXbc"),
            ("?.[ch]", "x.c"),
            ("[!a-c]*", "dog"),
            ("[]]", "]"),
            ("[a-]", "-"),
            ("[x", "[x"),
            ("\u{e4}?", "\u{e4}\u{f6}"),
            ("***", "a"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("*.log", "a.log.1"),
            ("?", ""),
            ("?", "ab"),
            ("[!a]", "a"),
            ("[a-c]", "d"),
            ("a*b", "aXbX"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)));
    }
}
