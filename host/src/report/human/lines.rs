//! Streams of bytes cut into lines that are safe to show, each stream with bounded memory.

use serde_json::Value;
use serde_json::from_slice;

use crate::report::escape::{self, LINE_CHARS_MAX};

/// Bytes of a line that are kept until its newline: enough for every character that is shown of it.
const PARTIAL_BYTES_MAX: usize = 4 * LINE_CHARS_MAX;
/// Bytes of stdout that are held back because they may be one JSON object, which is shown better when it is whole.
/// By eye: larger objects are not for reading.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Complete lines of one stream. Lines of different hosts can then be mixed without tearing any.
#[derive(Default, Debug)]
pub(super) struct Lines {
    partial: Vec<u8>,
    /// Bytes of the line that came after `partial` was full.
    unseen: u64,
}

impl Lines {
    /// Calls `each` for every line that became whole.
    pub(super) fn push(&mut self, chunk: &[u8], ellipsis: &str, mut each: impl FnMut(&str)) {
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let (kept, rest) = text.split_at(text.len().min(PARTIAL_BYTES_MAX - self.partial.len()));
            self.partial.extend_from_slice(kept);
            self.unseen += rest.len() as u64;
            if ends {
                each(&self.take(ellipsis));
            }
        }
    }

    /// The last line, when it had no newline.
    pub(super) fn finish(&mut self, ellipsis: &str) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take(ellipsis))
    }

    fn take(&mut self, ellipsis: &str) -> String {
        let line = escape::line(&self.partial, self.unseen, ellipsis);
        self.partial.clear();
        self.unseen = 0;
        line
    }
}

/// Holds stdout back as long as it may turn out to be one JSON object, which the result then shows in a form for
/// people. Anything else passes at once; a second value after a whole first line (a log of JSON lines) passes too.
#[derive(Default, Debug)]
pub(super) struct Hold {
    held: Vec<u8>,
    first_line: FirstLine,
    released: bool,
}

#[derive(Clone, Copy, Default, Debug)]
enum FirstLine {
    #[default]
    Open,
    /// An object of its own, this many bytes long.
    Object(usize),
    Other,
}

impl Hold {
    /// What is to be shown now.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        if self.released {
            return chunk.to_vec();
        }
        self.held.extend_from_slice(chunk);
        if self.may_be_one_object() {
            return Vec::new();
        }
        self.release()
    }

    /// Lets go of what is held: the target ended without a result, or it is to be shown after all.
    pub(super) fn release(&mut self) -> Vec<u8> {
        self.released = true;
        std::mem::take(&mut self.held)
    }

    /// Whether all of stdout is still here and can be replaced by a view of the result.
    pub(super) fn has_all(&self) -> bool {
        !self.released && !self.held.is_empty()
    }

    fn may_be_one_object(&mut self) -> bool {
        let first = self.held.iter().find(|byte| !byte.is_ascii_whitespace());
        if first.is_some_and(|&byte| byte != b'{') || self.held.len() > HELD_BYTES_MAX {
            return false;
        }
        if let FirstLine::Open = self.first_line
            && let Some(end) = self.held.iter().position(|&byte| byte == b'\n')
        {
            let (line, _) = self.held.split_at(end);
            let whole = matches!(from_slice(line), Ok(Value::Object(_)));
            self.first_line = if whole { FirstLine::Object(end) } else { FirstLine::Other };
        }
        match self.first_line {
            FirstLine::Object(end) => self.held.iter().skip(end).all(u8::is_ascii_whitespace),
            FirstLine::Open | FirstLine::Other => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(raw: &[u8], size: usize) -> Vec<String> {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        raw.chunks(size).for_each(|chunk| lines.push(chunk, "…", |line| all.push(line.to_owned())));
        all.extend(lines.finish("…"));
        all
    }

    #[test]
    fn lines_do_not_depend_on_chunks() {
        let raw = "one\n\ntwo é€\n\u{1b}[1m\nlast".as_bytes();
        for size in 1..=raw.len() {
            assert_eq!(lines(raw, size), ["one", "", "two é€", "\\x1b[1m", "last"], "in chunks of {size}");
        }
        assert_eq!(lines(b"end\n", 9), ["end"]);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            lines.push(&[b'x'; 10_000], "…", |line| assert_eq!(line, "", "no line has ended"));
            assert!(lines.partial.len() <= PARTIAL_BYTES_MAX);
        }
        let mut all = Vec::new();
        lines.push(b"\nnext\n", "…", |line| all.push(line.to_owned()));
        let cut = format!("{}… ({} more bytes)", "x".repeat(LINE_CHARS_MAX), 10_000_000 - LINE_CHARS_MAX);
        assert_eq!(all, [cut.as_str(), "next"]);
    }

    fn held(chunks: &[&str]) -> (String, bool) {
        let mut hold = Hold::default();
        let shown: Vec<u8> = chunks.iter().flat_map(|chunk| hold.push(chunk.as_bytes())).collect();
        (String::from_utf8_lossy(&shown).into_owned(), hold.has_all())
    }

    #[test]
    fn only_what_may_be_one_object_waits() {
        for (chunks, shown, has_all) in [
            (&["{\"a\":", "1}", "\n"][..], "", true),
            (&["\n {\n", "\"a\": 1\n}\n"], "", true),
            (&["{}\n", "\n \n"], "", true),
            (&["plain {}"], "plain {}", false),
            (&["[1]"], "[1]", false),
            (&["{\"log\":1}\n", "{\"log\":2}\n"], "{\"log\":1}\n{\"log\":2}\n", false),
            (&["{\"log\":1}", "\n", "x", "y"], "{\"log\":1}\nxy", false),
            (&[], "", false),
        ] {
            assert_eq!(held(chunks), (shown.to_owned(), has_all), "{chunks:?}");
        }
        let long = "{".repeat(HELD_BYTES_MAX);
        assert_eq!(held(&[&long]), (String::new(), true));
        assert_eq!(held(&[&long, "x"]), (format!("{long}x"), false));
    }
}
