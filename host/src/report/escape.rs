//! Bytes from targets, made safe to look at.
//!
//! A target is not trusted: what it prints may try to move the cursor, set a window's title, answer queries, hide
//! text or turn it around. So everything that could is shown as `\x1b`, `\u{202e}` and bytes that are no UTF-8 as
//! `\xff`. Newline and tab stay. A backslash stays too: the aim is to be safe and readable, not reversible; who
//! needs the exact bytes takes `--format json` or redirects the output of one host.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

use crate::event::incomplete_tail;

/// Characters of one line of a target's output that are shown.
pub const LINE_CHARS_MAX: usize = 4096;

/// Whether `c` can do something to a terminal or a reader other than show a glyph, newline and tab included.
pub(crate) fn is_hostile(c: char) -> bool {
    // The ranges are those of format characters without a glyph; joiners count, because they hide differences
    // between names.
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a JSON writer that leaves non-ASCII as it is should still write `c` as `\u....`.
pub(super) fn is_hostile_in_json(c: char) -> bool {
    c > '\u{7e}' && is_hostile(c)
}

fn push_char(out: &mut String, c: char) {
    if !is_hostile(c) || c == '\n' || c == '\t' {
        out.push(c);
    } else if (c as u32) < 0x100 {
        push_byte(out, c as u32 as u8);
    } else {
        // Writing to a string does not fail.
        let _ = write!(out, "\\u{{{:x}}}", c as u32);
    }
}

fn push_byte(out: &mut String, byte: u8) {
    let _ = write!(out, "\\x{byte:02x}");
}

/// Text with newlines and tabs kept.
pub fn text(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| !is_hostile(c) || c == '\n' || c == '\t') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push_char(&mut out, c));
    Cow::Owned(out)
}

/// Any bytes, with newlines and tabs kept.
pub fn bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_char(&mut out, c));
        chunk.invalid().iter().for_each(|&byte| push_byte(&mut out, byte));
    }
    out
}

/// One line of at most [`LINE_CHARS_MAX`] characters; `unseen` bytes of it were dropped before.
pub fn line(bytes: &[u8], unseen: u64, ellipsis: &str) -> String {
    let mut out = String::with_capacity(bytes.len().min(LINE_CHARS_MAX));
    let mut chars = 0;
    let mut rest = bytes.len();
    let mut piece = String::new();
    'all: for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().chars().map(|c| (Ok(c), c.len_utf8()));
        let invalid = chunk.invalid().iter().map(|&byte| (Err(byte), 1));
        for (symbol, length) in valid.chain(invalid) {
            piece.clear();
            match symbol {
                Ok('\n') => piece.push_str("\\n"),
                Ok(c) => push_char(&mut piece, c),
                Err(byte) => push_byte(&mut piece, byte),
            }
            // All that is longer than one character is ASCII.
            let wide = if piece.is_ascii() { piece.len() } else { 1 };
            if chars + wide > LINE_CHARS_MAX {
                break 'all;
            }
            chars += wide;
            rest -= length;
            out.push_str(&piece);
        }
    }
    let more = rest as u64 + unseen;
    if more > 0 {
        let _ = write!(out, "{ellipsis} ({more} more bytes)");
    }
    out
}

/// One line for a table or a message: newlines and tabs become spaces, the rest as in [`text`].
pub fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        push_char(&mut out, if matches!(c, '\n' | '\t') { ' ' } else { c });
    }
    out
}

/// Cuts (escaped) text to `columns` columns on a terminal, the ellipsis included.
pub fn fit<'a>(text: &'a str, columns: usize, ellipsis: &str) -> Cow<'a, str> {
    let width = |c: char| c.width().unwrap_or(0);
    if text.chars().map(width).sum::<usize>() <= columns {
        return Cow::Borrowed(text);
    }
    let mut left = columns.saturating_sub(ellipsis.chars().map(width).sum());
    let mut out = String::new();
    for c in text.chars() {
        match left.checked_sub(width(c)) {
            Some(rest) => left = rest,
            None => break,
        }
        out.push(c);
    }
    out.push_str(ellipsis);
    Cow::Owned(out)
}

/// The mark for "cut here".
pub fn ellipsis(utf8: bool) -> &'static str {
    if utf8 { "…" } else { "..." }
}

/// Escapes a stream whose chunks may end anywhere; holds back at most three bytes.
#[derive(Default, Debug)]
pub struct Escaper {
    held: Vec<u8>,
}

impl Escaper {
    pub fn push(&mut self, chunk: &[u8]) -> String {
        self.held.extend_from_slice(chunk);
        let tail = self.held.split_off(self.held.len() - incomplete_tail(&self.held));
        bytes(&std::mem::replace(&mut self.held, tail))
    }

    pub fn finish(&mut self) -> String {
        bytes(&std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests;
