//! What becomes of the lines. A library of its own, so that its tests run on the machine that builds it.

use regex_lite::{Captures, Regex};
use waft_tasks_common::files::{Insert, bare, replaced};

/// Which line is meant.
pub enum Search {
    Regexp(Regex),
    Text(String),
    /// That very line.
    Line,
}

pub struct Wish<'a> {
    pub line: &'a str,
    pub search: Search,
    pub insert: Insert,
    pub first: bool,
    pub backrefs: bool,
}

impl Search {
    fn finds(&self, line: &str, wanted: &str) -> bool {
        match self {
            Search::Regexp(regexp) => regexp.is_match(bare(line)),
            Search::Text(text) => bare(line).contains(text.as_str()),
            Search::Line => bare(line) == wanted,
        }
    }
}

/// The text with the line in it, and what was done; `None` when there is nothing to do.
pub fn present(text: &str, wish: &Wish<'_>) -> Option<(String, &'static str)> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let pick = |test: &dyn Fn(&str) -> bool| {
        let mut at = lines.iter().enumerate().filter(|(_, line)| test(line)).map(|(at, _)| at);
        if wish.first { at.next() } else { at.last() }
    };
    if let Some(at) = pick(&|line| wish.search.finds(line, wish.line)) {
        let old = lines[at];
        let new = match &wish.search {
            Search::Regexp(regexp) if wish.backrefs => regexp
                .captures(bare(old))
                .map_or_else(|| wish.line.to_owned(), |found| expanded(wish.line, &found)),
            _ => wish.line.to_owned(),
        };
        if bare(old) == new {
            return None;
        }
        let mut changed = lines[..at].concat();
        changed.push_str(&new);
        changed.push_str(&old[bare(old).len()..]);
        lines[at + 1..].iter().for_each(|line| changed.push_str(line));
        return Some((changed, "line replaced"));
    }
    // A line that is there is not added a second time, also where `regexp` does not match it.
    if wish.backrefs || lines.iter().any(|line| bare(line) == wish.line) {
        return None;
    }
    let at = wish.insert.at(&lines, |test| pick(&|line| test(bare(line))));
    let changed = replaced(&lines, at, at, [wish.line].into_iter());
    Some((changed, "line added"))
}

/// The text without these lines, and how many they were.
pub fn absent(text: &str, line: &str, search: &Search) -> (String, usize) {
    let mut removed = 0;
    let kept = text.split_inclusive('\n').filter(|each| {
        let found = search.finds(each, line);
        removed += usize::from(found);
        !found
    });
    (kept.collect(), removed)
}

/// `\1`, `\g<1>` and `\g<name>` stand for groups, `\\` for itself; groups that matched nothing are empty.
fn expanded(line: &str, found: &Captures<'_>) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(named) = rest.strip_prefix("g<")
            && let Some((name, after)) = named.split_once('>')
        {
            let group = name.parse().map_or_else(|_| found.name(name), |number| found.get(number));
            text.push_str(group.map_or("", |group| group.as_str()));
            rest = after;
            continue;
        }
        let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
        if let Ok(number) = rest[..digits].parse() {
            text.push_str(found.get(number).map_or("", |group| group.as_str()));
            rest = &rest[digits..];
            continue;
        }
        text.push('\\');
        rest = rest.strip_prefix('\\').unwrap_or(rest);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use waft_tasks_common::files::regexp;

    fn re(text: &str) -> Regex {
        regexp("regexp", text).unwrap()
    }

    fn wish(line: &str) -> Wish<'_> {
        Wish { line, search: Search::Line, insert: Insert::Last, first: false, backrefs: false }
    }

    fn text_of(text: &str, wish: &Wish<'_>) -> Option<String> {
        let changed = present(text, wish).map(|(text, _)| text);
        if let Some(changed) = &changed {
            assert_eq!(present(changed, wish), None, "a second time");
        }
        changed
    }

    #[test]
    fn a_line_is_added_once() {
        assert_eq!(text_of("", &wish("a")).as_deref(), Some("a\n"));
        assert_eq!(text_of("b", &wish("a")).as_deref(), Some("b\na\n"));
        assert_eq!(text_of("b\r\n", &wish("a")).as_deref(), Some("b\r\na\r\n"));
        for text in ["a", "a\n", "b\na\r\nc\n"] {
            assert_eq!(text_of(text, &wish("a")), None);
        }
    }

    #[test]
    fn it_comes_where_it_was_asked_for() {
        let text = "[a]\nx\n[a]\ny\n";
        for (insert, first, expected) in [
            (Insert::First, false, "z\n[a]\nx\n[a]\ny\n"),
            (Insert::After(re(r"^\[a\]")), false, "[a]\nx\n[a]\nz\ny\n"),
            (Insert::After(re(r"^\[a\]")), true, "[a]\nz\nx\n[a]\ny\n"),
            (Insert::Before(re(r"^\[a\]")), false, "[a]\nx\nz\n[a]\ny\n"),
            (Insert::Before(re(r"^\[a\]")), true, "z\n[a]\nx\n[a]\ny\n"),
            (Insert::After(re("none")), false, "[a]\nx\n[a]\ny\nz\n"),
        ] {
            assert_eq!(text_of(text, &Wish { insert, first, ..wish("z") }).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_matches_is_replaced() {
        let search = || Search::Regexp(re("^#?Port "));
        let port = |text| text_of(text, &Wish { search: search(), ..wish("Port 22") });
        assert_eq!(port("#Port 1\nPort 2\nx").as_deref(), Some("#Port 1\nPort 22\nx"));
        assert_eq!(port("Port 22\r\n"), None);
        assert_eq!(port("x\n").as_deref(), Some("x\nPort 22\n"));
        let first = Wish { search: search(), first: true, ..wish("Port 22") };
        assert_eq!(text_of("#Port 1\nPort 2\n", &first).as_deref(), Some("Port 22\nPort 2\n"));
        let text = Wish { search: Search::Text("or*".into()), ..wish("new") };
        assert_eq!(text_of("for*e\nore\n", &text).as_deref(), Some("new\nore\n"));
        // One that `regexp` does not match is not added again and again.
        assert_eq!(text_of("b\n", &Wish { search: Search::Regexp(re("^a")), ..wish("b") }), None);
    }

    #[test]
    fn groups_are_put_in() {
        let search = || Search::Regexp(re(r"^(?P<key>\w+) *= *(\d+)$"));
        let line = |text, line| present(text, &Wish { search: search(), backrefs: true, ..wish(line) });
        assert_eq!(line("a=1\n", r"\g<key> = \2\\").map(|(text, _)| text).as_deref(), Some("a = 1\\\n"));
        assert_eq!(line("a=1\n", r"\g<1>\9\x").map(|(text, _)| text).as_deref(), Some("a\\x\n"));
        assert_eq!(line("none\n", r"\1"), None);
    }

    #[test]
    fn all_that_match_go() {
        assert_eq!(absent("a\nb\na", "a", &Search::Line), ("b\n".into(), 2));
        assert_eq!(absent("a\nb\n", "", &Search::Regexp(re("^b$"))), ("a\n".into(), 1));
        assert_eq!(absent("a\n", "b", &Search::Line), ("a\n".into(), 0));
    }

    #[test]
    fn what_is_no_expression_is_named() {
        let error = regexp("insertafter", "(").unwrap_err();
        assert!(error.code == "params.regexp" && error.message.contains("`insertafter`"), "{error}");
    }
}
