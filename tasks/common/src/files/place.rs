//! Where in a text file lines go: what `lineinfile` and `blockinfile` have in common.

use regex_lite::Regex;
use waft_sdk::Error;

/// Where what is not there yet goes.
pub enum Insert {
    First,
    Last,
    After(Regex),
    Before(Regex),
}

impl Insert {
    /// Of the parameters `insertafter` and `insertbefore`.
    pub fn new(after: Option<&str>, before: Option<&str>) -> Result<Insert, Error> {
        Ok(match (after, before) {
            (None | Some("EOF"), None) => Insert::Last,
            (None, Some("BOF")) | (Some("BOF"), None) => Insert::First,
            (Some(after), None) => Insert::After(regexp("insertafter", after)?),
            (None, Some(before)) => Insert::Before(regexp("insertbefore", before)?),
            (Some(_), Some(_)) => {
                return Err(Error::new(
                    "params.insert",
                    "expected `insertafter` or `insertbefore`, not both",
                ));
            }
        })
    }

    /// Before which of the lines; where no line matches, behind them all. `pick` is the first or the last that does.
    pub fn at(&self, lines: &[&str], pick: impl Fn(&dyn Fn(&str) -> bool) -> Option<usize>) -> usize {
        let (regexp, behind) = match self {
            Insert::First => return 0,
            Insert::Last => return lines.len(),
            Insert::After(regexp) => (regexp, 1),
            Insert::Before(regexp) => (regexp, 0),
        };
        pick(&|line| regexp.is_match(line)).map_or(lines.len(), |at| at + behind)
    }
}

/// A regular expression of a parameter.
pub fn regexp(name: &str, text: &str) -> Result<Regex, Error> {
    Regex::new(text).map_err(|error| {
        let message =
            format!("`{name}` is `{}`, which is no regular expression: {error}", text.escape_debug());
        let hint =
            "the syntax is that of RE2: no look-around and no backreferences; in JSON `\\` is written twice";
        Error { hint: Some(hint.into()), ..Error::new("params.regexp", message) }
    })
}

/// A line without its end.
pub fn bare(line: &str) -> &str {
    line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line))
}

/// The text of these lines with `new`, which have no ends, in place of those from `at` to `after`. Ends are those of the first line.
pub fn replaced<'a>(lines: &[&str], at: usize, after: usize, new: impl Iterator<Item = &'a str>) -> String {
    let end = if lines.first().is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" };
    let mut text = lines[..at].concat();
    for line in new {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push_str(end);
        }
        text.push_str(line);
        text.push_str(end);
    }
    lines[after..].iter().for_each(|line| text.push_str(line));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_where_it_was_asked_for() {
        let lines = ["a", "b", "a"];
        let at = |after: Option<&str>, before: Option<&str>| {
            let insert = Insert::new(after, before).unwrap();
            let first = insert.at(&lines, |test| lines.iter().position(|line| test(line)));
            (first, insert.at(&lines, |test| lines.iter().rposition(|line| test(line))))
        };
        assert_eq!((at(None, None), at(Some("EOF"), None)), ((3, 3), (3, 3)));
        assert_eq!((at(Some("BOF"), None), at(None, Some("BOF"))), ((0, 0), (0, 0)));
        assert_eq!((at(Some("^a"), None), at(None, Some("^a"))), ((1, 3), (0, 2)));
        assert_eq!((at(Some("x"), None), at(None, Some("x"))), ((3, 3), (3, 3)));
        let wrong = |after, before| Insert::new(after, before).err().unwrap().code;
        assert_eq!(wrong(Some("a"), Some("b")), "params.insert");
        assert_eq!(wrong(Some("("), None), "params.regexp");
    }

    #[test]
    fn ends_of_lines_are_those_that_are_there() {
        let put = |lines: &[&str], at, after| replaced(lines, at, after, ["x", "y"].into_iter());
        assert_eq!(put(&[], 0, 0), "x\ny\n");
        assert_eq!(put(&["a\r\n", "b"], 2, 2), "a\r\nb\r\nx\r\ny\r\n");
        assert_eq!(put(&["a\n", "b\n", "c"], 1, 2), "a\nx\ny\nc");
        assert_eq!(replaced(&["a", "b"], 1, 1, [].into_iter()), "ab");
        assert_eq!([bare("a\r\n"), bare("a\n"), bare("a\r")], ["a", "a", "a\r"]);
    }
}
