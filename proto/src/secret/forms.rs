//! The texts that a value may stand as in output: as it is, escaped, encoded.
//!
//! Not found are values that were changed in another way (compressed, encrypted, reversed, cut into pieces with
//! something between them), and those that stand inside base64 of something longer whose lines are broken.

use super::SECRET_BYTES_MIN;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use zeroize::Zeroizing;

pub(super) type Form = Zeroizing<Vec<u8>>;

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Where programs break lines of base64, characters: base64 and MIME, openssl and PEM.
const BASE64_COLUMNS: [usize; 2] = [76, 64];
/// What URL encoders leave as it is, besides letters and digits: RFC 3986, Python's `quote`, JavaScript's
/// `encodeURIComponent` and `encodeURI`, HTML forms.
const URL_PLAIN: [&[u8]; 5] = [b"-._~", b"-._~/", b"-._~!*'()", b"-._~!*'();,/?:@&=+$#", b"*-._"];
/// Which of them write a blank as `+`.
const URL_FORM: usize = 4;

/// All forms of a value, some more than once, the shortest not below [`SECRET_BYTES_MIN`] bytes.
pub(super) fn of(value: &[u8]) -> Vec<Form> {
    let mut forms = Forms(Vec::new());
    forms.add(value.to_vec());
    // A key of several lines is also printed line by line, indented.
    for line in value.split(|byte| *byte == b'\n') {
        forms.add(line.trim_ascii().to_vec());
    }
    forms.add(String::from_utf8_lossy(value).into_owned().into_bytes());
    forms.json(value);
    forms.url(value);
    forms.shell(value);
    forms.nested(value);
    forms.hex(value);
    forms.base64(value);
    forms.0.retain(|form| form.len() >= SECRET_BYTES_MIN);
    forms.0
}

struct Forms(Vec<Form>);

impl Forms {
    fn add(&mut self, form: Vec<u8>) {
        self.0.push(Zeroizing::new(form));
    }

    /// As parts of a JSON string: with the short escapes, or ASCII only; `/` as it is, or escaped.
    fn json(&mut self, value: &[u8]) {
        let Ok(text) = core::str::from_utf8(value) else { return };
        for digits in [LOWER, UPPER] {
            for (ascii, slash) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut form = Vec::with_capacity(6 * value.len());
                for char in text.chars() {
                    let short = match char {
                        '"' | '\\' => Some(char as u8),
                        '/' if slash => Some(b'/'),
                        '\n' => Some(b'n'),
                        '\r' => Some(b'r'),
                        '\t' => Some(b't'),
                        '\u{8}' => Some(b'b'),
                        '\u{c}' => Some(b'f'),
                        _ => None,
                    };
                    match short {
                        Some(short) => form.extend([b'\\', short]),
                        None if char < ' ' || (ascii && !matches!(char, ' '..='~')) => {
                            let mut units = [0; 2];
                            for unit in char.encode_utf16(&mut units) {
                                form.extend(b"\\u");
                                unit.to_be_bytes().into_iter().for_each(|byte| hex(&mut form, byte, digits));
                            }
                        }
                        None => form.extend(char.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
                self.add(form);
            }
        }
    }

    fn url(&mut self, value: &[u8]) {
        for (at, plain) in URL_PLAIN.into_iter().enumerate() {
            for digits in [LOWER, UPPER] {
                let mut form = Vec::with_capacity(3 * value.len());
                for byte in value.iter().copied() {
                    if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
                        form.push(byte);
                    } else if byte == b' ' && at == URL_FORM {
                        form.push(b'+');
                    } else {
                        form.push(b'%');
                        hex(&mut form, byte, digits);
                    }
                }
                self.add(form);
            }
        }
    }

    /// What stands between the quotes.
    fn shell(&mut self, value: &[u8]) {
        for quote in [&b"'\\''"[..], b"'\"'\"'"] {
            self.add(escaped(value, |byte, form| match byte {
                b'\'' => form.extend(quote),
                _ => form.push(byte),
            }));
        }
        // In double quotes; an interactive shell minds `!` as well.
        for special in [&b"$`\"\\"[..], b"$`\"\\!"] {
            self.add(escaped(value, |byte, form| {
                if special.contains(&byte) {
                    form.push(b'\\');
                }
                form.push(byte);
            }));
        }
        // Without quotes: what is special, or (as `ls -b` and many programs) all but words.
        for plain in [&b"_-./:@%+=,"[..], b"_-./:@%+=,^{}~#]"] {
            self.add(escaped(value, |byte, form| match byte {
                b'\n' => form.extend(b"'\n'"),
                _ => {
                    if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !plain.contains(&byte) {
                        form.push(b'\\');
                    }
                    form.push(byte);
                }
            }));
        }
        // $'..': control characters by name, or in octal; others as they are, or in octal.
        for ascii in [false, true] {
            self.add(escaped(value, |byte, form| {
                let short = match byte {
                    7 => b'a',
                    8 => b'b',
                    9 => b't',
                    10 => b'n',
                    11 => b'v',
                    12 => b'f',
                    13 => b'r',
                    27 => b'E',
                    b'\\' | b'\'' => byte,
                    0..=31 | 127 => return octal(form, byte),
                    128.. if ascii => return octal(form, byte),
                    _ => return form.push(byte),
                };
                form.extend([b'\\', short]);
            }));
        }
    }

    /// One in the other: a record quotes a path that stands in JSON, a program prints JSON that a task puts into its own.
    fn nested(&mut self, value: &[u8]) {
        let json = |text: &[u8]| {
            Zeroizing::new(escaped(text, |byte, form| {
                let short = match byte {
                    b'\n' => b'n',
                    b'\r' => b'r',
                    b'\t' => b't',
                    b'"' | b'\\' => byte,
                    _ => return form.push(byte),
                };
                form.extend([b'\\', short]);
            }))
        };
        let shell = |text: &[u8]| {
            Zeroizing::new(escaped(text, |byte, form| match byte {
                b'\'' => form.extend(b"'\\''"),
                _ => form.push(byte),
            }))
        };
        for inner in [json(value), shell(value)] {
            self.0.extend([json(&inner), shell(&inner)]);
        }
    }

    fn hex(&mut self, value: &[u8]) {
        for digits in [LOWER, UPPER] {
            let mut form = Vec::with_capacity(2 * value.len());
            value.iter().for_each(|byte| hex(&mut form, *byte, digits));
            self.add(form);
        }
    }

    /// Alone, with and without padding and line breaks; and inside of something longer, at each of the three
    /// alignments, as far as the characters are made of the value alone.
    fn base64(&mut self, value: &[u8]) {
        for alphabet in [STANDARD, URL_SAFE] {
            for before in 0..3 {
                let mut text = Zeroizing::new(vec![0; before]);
                text.extend_from_slice(value);
                let whole = Zeroizing::new(base64(&text, alphabet));
                // Characters that hold bits of what is before, and of what may follow.
                let first = (before * 8).div_ceil(6);
                let sure = text.len() * 8 / 6;
                self.add(whole.get(first..sure).unwrap_or_default().to_vec());
                let mut end = Vec::with_capacity(whole.len() + 3);
                end.extend_from_slice(whole.get(first..).unwrap_or_default());
                self.add(end.clone());
                end.resize(end.len() + (3 - text.len() % 3) % 3, b'=');
                if before == 0 {
                    for columns in BASE64_COLUMNS {
                        for line_end in [&b"\n"[..], b"\r\n"] {
                            self.add(end.chunks(columns).collect::<Vec<_>>().join(line_end));
                        }
                    }
                }
                self.add(end);
            }
        }
    }
}

fn escaped(value: &[u8], mut escape: impl FnMut(u8, &mut Vec<u8>)) -> Vec<u8> {
    let mut form = Vec::with_capacity(5 * value.len());
    value.iter().for_each(|byte| escape(*byte, &mut form));
    form
}

fn hex(to: &mut Vec<u8>, byte: u8, digits: &[u8; 16]) {
    to.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
}

fn octal(to: &mut Vec<u8>, byte: u8) {
    to.extend([b'\\', b'0' + (byte >> 6), b'0' + ((byte >> 3) & 7), b'0' + (byte & 7)]);
}

/// Without padding.
fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..=chunk.len() {
            text.push(alphabet[(bits >> (18 - 6 * at) & 63) as usize]);
        }
    }
    text
}

#[cfg(test)]
mod tests;
