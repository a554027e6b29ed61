//! JSON in the one form of RFC 8785, as far as approvals need it: objects with known keys, texts, whole numbers, lists of
//! texts. What is read here is written again and compared by the caller, so reading may be lax where writing is not.

use std::fmt::Write as _;

/// Texts in a list.
const TEXTS_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct Writer {
    pub(super) text: String,
}

impl Writer {
    pub(super) fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// A key that is not the first.
    pub(super) fn key(&mut self, key: &str) {
        self.raw(",");
        self.text(key);
        self.raw(":");
    }

    pub(super) fn texts(&mut self, texts: &[String]) {
        self.raw("[");
        for (at, text) in texts.iter().enumerate() {
            if at > 0 {
                self.raw(",");
            }
            self.text(text);
        }
        self.raw("]");
    }

    pub(super) fn text(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.raw("\\\""),
                '\\' => self.raw("\\\\"),
                '\u{8}' => self.raw("\\b"),
                '\t' => self.raw("\\t"),
                '\n' => self.raw("\\n"),
                '\u{c}' => self.raw("\\f"),
                '\r' => self.raw("\\r"),
                // Writing to a string does not fail.
                c if c < ' ' => drop(write!(self.text, "\\u{:04x}", u32::from(c))),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

pub(super) struct Reader<'a> {
    rest: &'a str,
    bytes: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Reader<'a> {
        Reader { rest: text, bytes: text.len() }
    }

    fn wrong(&self, wanted: &str) -> String {
        format!("at byte {}: {wanted} is missing", self.bytes - self.rest.len())
    }

    pub(super) fn raw(&mut self, text: &str) -> Result<(), String> {
        self.rest = self.rest.strip_prefix(text).ok_or_else(|| self.wrong(text))?;
        Ok(())
    }

    pub(super) fn key(&mut self, key: &str) -> Result<(), String> {
        self.raw(&format!("\"{key}\":"))
    }

    /// A key that is not the first.
    pub(super) fn next(&mut self, key: &str) -> Result<&mut Reader<'a>, String> {
        self.raw(&format!(",\"{key}\":"))?;
        Ok(self)
    }

    pub(super) fn end(&self) -> Result<(), String> {
        self.rest.is_empty().then_some(()).ok_or_else(|| self.wrong("its end"))
    }

    pub(super) fn bool(&mut self) -> Result<bool, String> {
        match self.raw("true") {
            Ok(()) => Ok(true),
            Err(_) => self.raw("false").map(|()| false).map_err(|_| self.wrong("true or false")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        // What a reader of JSON with doubles would take for another number is none.
        const NUMBER_MAX: u64 = 1 << 53;
        let number = digits.parse().ok().filter(|number| *number < NUMBER_MAX);
        let number = number.ok_or_else(|| self.wrong("a whole number below 2^53"))?;
        self.rest = rest;
        Ok(number)
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>, String> {
        let mut texts = Vec::new();
        self.raw("[")?;
        if self.raw("]").is_ok() {
            return Ok(texts);
        }
        loop {
            texts.push(self.text()?);
            if texts.len() > TEXTS_MAX {
                return Err(format!("a list has more than {TEXTS_MAX} entries"));
            }
            if self.raw("]").is_ok() {
                return Ok(texts);
            }
            self.raw(",")?;
        }
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        self.raw("\"")?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(text);
                }
                '\\' => {
                    let escaped = match chars.next() {
                        Some((_, 'u')) => {
                            let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                            // Above these a canonical text has the character itself.
                            u8::from_str_radix(&digits, 16).ok().map(char::from)
                        }
                        Some((_, c)) => unescaped(c),
                        None => None,
                    };
                    text.push(escaped.ok_or_else(|| self.wrong("an escape that is known"))?);
                }
                c => text.push(c),
            }
        }
        Err(self.wrong("the end of a text"))
    }
}

fn unescaped(c: char) -> Option<char> {
    Some(match c {
        '"' | '\\' => c,
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'f' => '\u{c}',
        'r' => '\r',
        _ => return None,
    })
}
