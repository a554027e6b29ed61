//! Base64 (RFC 4648, with padding), for bytes inside JSON.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Bits that one character holds.
const BITS: u32 = 6;

pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    encode_into(bytes, &mut text);
    text
}

pub(crate) fn encode_into(bytes: &[u8], text: &mut String) {
    for group in bytes.chunks(3) {
        let (mut bits, mut left) = (0u32, 24u32);
        for byte in group {
            left -= 8;
            bits |= u32::from(*byte) << left;
        }
        for at in 0..4 {
            let index = (bits >> (18 - at * BITS)) & 63;
            let letter = usize::try_from(index).ok().and_then(|index| ALPHABET.get(index));
            let there = usize::try_from(at).is_ok_and(|at| at <= group.len());
            text.push(letter.filter(|_| there).map_or('=', |letter| char::from(*letter)));
        }
    }
}

/// None when it is no base64: other characters, a wrong length, bits that say nothing.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let letters = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - letters.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for letter in letters.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        bits = (bits << BITS) | u32::try_from(value).ok()?;
        held += BITS;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0 && held < BITS).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn the_vectors_of_the_rfc() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(plain.as_bytes()), "{text}");
        }
    }

    #[test]
    fn all_bytes_come_back_and_other_texts_are_refused() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).as_deref(), Some(all.as_slice()));
        for bad in ["Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zg==Zg==", "é=="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
