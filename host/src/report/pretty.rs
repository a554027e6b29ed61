//! A JSON value for people: on one line where it fits, else a member a line. Bounded in lines, width and depth,
//! because the value comes from a target; `--format json` has all of it.

use serde_json::Value;

use super::escape;

/// Lines of one value that are shown.
const LINES_MAX: usize = 40;
/// Characters of one string or key that are shown.
const STRING_CHARS_MAX: usize = 400;
const INDENT: &str = "  ";

/// Lines without newlines. `columns` is where lines should end; a long string may go beyond.
pub fn pretty(value: &Value, columns: usize, ellipsis: &str) -> Vec<String> {
    let mut out = Lines { lines: Vec::new(), columns, ellipsis };
    let whole = out.push(0, "", value, "");
    if !whole {
        out.lines.truncate(LINES_MAX - 1);
        out.lines.push(format!("{ellipsis} (cut here; --format json shows all of it)"));
    }
    out.lines
}

struct Lines<'a> {
    lines: Vec<String>,
    columns: usize,
    ellipsis: &'a str,
}

impl Lines<'_> {
    /// Returns false as soon as there are too many lines; since every level begins with a line of its own, that
    /// bounds the depth as well.
    fn push(&mut self, level: usize, key: &str, value: &Value, comma: &str) -> bool {
        let head = format!("{}{key}", INDENT.repeat(level));
        let room = self.columns.saturating_sub(head.chars().count() + comma.len());
        let mut inline = String::new();
        if self.inline(&mut inline, value, room) {
            return self.line(format!("{head}{inline}{comma}"));
        }
        match value {
            Value::Array(items) => {
                let last = items.len().saturating_sub(1);
                self.line(format!("{head}["))
                    && items
                        .iter()
                        .enumerate()
                        .all(|(at, item)| self.push(level + 1, "", item, comma_before(at, last)))
                    && self.line(format!("{}]{comma}", INDENT.repeat(level)))
            }
            Value::Object(members) => {
                let last = members.len().saturating_sub(1);
                self.line(format!("{head}{{"))
                    && members.iter().enumerate().all(|(at, (key, item))| {
                        let key = format!("{}: ", self.string(key));
                        self.push(level + 1, &key, item, comma_before(at, last))
                    })
                    && self.line(format!("{}}}{comma}", INDENT.repeat(level)))
            }
            leaf => {
                let text = self.leaf(leaf);
                self.line(format!("{head}{text}{comma}"))
            }
        }
    }

    fn line(&mut self, line: String) -> bool {
        self.lines.push(line);
        self.lines.len() <= LINES_MAX
    }

    /// Writes the value on one line, and gives up when it is longer than `room`: a huge value costs no more than
    /// a line's worth of work.
    fn inline(&self, out: &mut String, value: &Value, room: usize) -> bool {
        match value {
            Value::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    if !self.inline(out, item, room) {
                        return false;
                    }
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (at, (key, item)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    out.push_str(&self.string(key));
                    out.push_str(": ");
                    if !self.inline(out, item, room) {
                        return false;
                    }
                }
                out.push('}');
            }
            leaf => out.push_str(&self.leaf(leaf)),
        }
        // Bytes are checked first, since they are free to count and never fewer than characters.
        out.len() <= room || out.chars().count() <= room
    }

    fn leaf(&self, value: &Value) -> String {
        match value {
            Value::String(text) => self.string(text),
            other => other.to_string(),
        }
    }

    fn string(&self, text: &str) -> String {
        let cut = text.char_indices().nth(STRING_CHARS_MAX).map(|(at, _)| text.split_at(at).0);
        let quoted = Value::String(cut.unwrap_or(text).to_owned()).to_string();
        let quoted = escape::text(&quoted);
        match cut {
            Some(head) => format!("{quoted}{} ({} more bytes)", self.ellipsis, text.len() - head.len()),
            None => quoted.into_owned(),
        }
    }
}

fn comma_before(at: usize, last: usize) -> &'static str {
    if at < last { "," } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(value: &Value, columns: usize) -> String {
        pretty(value, columns, "…").join("\n")
    }

    #[test]
    fn short_values_stay_on_one_line_and_others_break() {
        let value = json!({"os": "Debian", "cpus": [1, 2], "empty": {}, "none": null});
        assert_eq!(shown(&value, 80), r#"{"cpus": [1, 2], "empty": {}, "none": null, "os": "Debian"}"#);
        let broken = "{\n  \"cpus\": [1, 2],\n  \"empty\": {},\n  \"none\": null,\n  \"os\": \"Debian\"\n}";
        assert_eq!(shown(&value, 30), broken);
        assert_eq!(shown(&json!({"a": [10, 20]}), 6), "{\n  \"a\": [\n    10,\n    20\n  ]\n}");
    }

    #[test]
    fn strings_cannot_reach_the_terminal() {
        let value = json!({"k\u{9b}": "\u{1b}[31m \u{202e} \n \u{7f}"});
        assert_eq!(shown(&value, 80), "{\"k\\x9b\": \"\\u001b[31m \\u{202e} \\n \\x7f\"}");
    }

    #[test]
    fn nothing_is_shown_without_bounds() {
        let wide = Value::Array(vec![json!(123_456_789); 1_000_000]);
        let deep = (0..100).fold(json!(["x".repeat(100)]), |inner, _| json!([inner]));
        let long = json!("é".repeat(1_000_000));
        for value in [wide, deep, long] {
            let lines = pretty(&value, 80, "…");
            assert!(lines.len() <= LINES_MAX);
            assert!(lines.iter().all(|line| line.chars().count() <= STRING_CHARS_MAX + 60));
            assert!(lines.iter().any(|line| line.contains('…')));
        }
        let exact = Value::Array(vec![json!("x".repeat(60)); LINES_MAX - 2]);
        let lines = pretty(&exact, 80, "…");
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (LINES_MAX, Some("]")));
    }
}
