//! Words of a grant: bare, or JSON strings where spaces or colons occur.

use super::Wanted;
use alloc::string::String;
use core::fmt::{self, Write};

/// Characters that a terminal obeys or does not show, and with which a grant could look like another one:
/// controls, separators of lines, zero-width and bidirectional marks. They are read only from JSON escapes.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
        || (c.is_whitespace() && c != ' ')
}

/// Whether a word can be written without quotes.
pub(super) fn is_bare(word: &str) -> bool {
    !word.is_empty() && !word.chars().any(|c| is_hidden(c) || matches!(c, ' ' | ':' | '"'))
}

/// A word as it is printed: bare when it can be, else as a JSON string.
pub(super) fn write_word(f: &mut fmt::Formatter<'_>, word: &str) -> fmt::Result {
    if is_bare(word) { f.write_str(word) } else { write_json(f, word) }
}

pub(super) fn write_json(f: &mut fmt::Formatter<'_>, word: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in word.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if is_hidden(c) => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(f, "\\u{unit:04x}"))?;
            }
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// Takes one word off the front of `text`: a JSON string when it begins with `"`, else everything up to
/// the next character that is in `ends`.
pub(super) fn take<'a>(text: &'a str, ends: &[char]) -> Result<(String, &'a str), Wanted> {
    if let Some(inside) = text.strip_prefix('"') {
        return take_json(inside);
    }
    let (word, rest) = text.split_at(text.find(|c| ends.contains(&c)).unwrap_or(text.len()));
    if let Some(c) = word.chars().find(|&c| is_hidden(c)) {
        let what = alloc::format!("no invisible character such as U+{:04X}", u32::from(c));
        return Err(
            Wanted::new(what).hint("if it is meant, write the word as a JSON string with a \\u escape")
        );
    }
    if word.contains('"') {
        return Err(Wanted::new("a quote only at the beginning of a word")
            .hint("write the whole word as a JSON string: \"two words\""));
    }
    Ok((word.into(), rest))
}

/// The rest of a JSON string whose opening quote is gone.
fn take_json(text: &str) -> Result<(String, &str), Wanted> {
    let broken =
        || Wanted::new("a complete JSON string").hint("close it with a quote; write \\\" for a quote inside");
    let mut word = String::new();
    let mut rest = text;
    loop {
        let mut chars = rest.chars();
        let c = chars.next().ok_or_else(broken)?;
        rest = chars.as_str();
        match c {
            '"' => return Ok((word, rest)),
            '\\' => {
                let (c, after) = escape(rest).ok_or_else(|| {
                    Wanted::new("one of the escapes of JSON after a backslash")
                        .hint("write \\\\ for a backslash")
                })?;
                word.push(c);
                rest = after;
            }
            c if is_hidden(c) => {
                let what = alloc::format!("U+{:04X} to be written as an escape", u32::from(c));
                return Err(Wanted::new(what).hint("write it as \\u and four hex digits"));
            }
            c => word.push(c),
        }
    }
}

/// What follows a backslash. No word may hold NUL: neither an argument nor a path can.
fn escape(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    let c = match chars.next()? {
        c @ ('"' | '\\' | '/') => c,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => {
            let (unit, rest) = unit(chars.as_str())?;
            let Some(c) = char::from_u32(unit.into()) else {
                let (low, rest) = self::unit(rest.strip_prefix("\\u")?)?;
                let c = char::decode_utf16([unit, low]).next()?.ok()?;
                return Some((c, rest));
            };
            return (c != '\0').then_some((c, rest));
        }
        _ => return None,
    };
    Some((c, chars.as_str()))
}

fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    // `from_str_radix` also takes a sign.
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
    Some((u16::from_str_radix(digits, 16).ok()?, rest))
}
