//! The public key in a certificate, whatever else is in that: of version 1, with extensions that nobody knows.

use p256::pkcs8::der::asn1::AnyRef;
use p256::pkcs8::der::{Decode, Reader, Result, SliceReader};
use rustls::pki_types::SubjectPublicKeyInfoDer;

/// What stands before the key: serial number, algorithm, issuer, validity, subject.
const PARTS_BEFORE: usize = 5;
/// The first byte of the version, which those of version 1 do not have.
const VERSION: u8 = 0xa0;

pub fn of(certificate: &[u8]) -> Option<SubjectPublicKeyInfoDer<'_>> {
    key(certificate).ok().map(SubjectPublicKeyInfoDer::from)
}

/// Whether both are the same key: RSA has two names for one.
pub fn is_same(one: &SubjectPublicKeyInfoDer<'_>, other: &SubjectPublicKeyInfoDer<'_>) -> bool {
    bits(one).is_ok_and(|one| bits(other).is_ok_and(|other| one == other))
}

fn bits(key: &[u8]) -> Result<&[u8]> {
    let mut parts = SliceReader::new(inside(key)?)?;
    // The algorithm.
    parts.tlv_bytes()?;
    parts.tlv_bytes()
}

fn key(certificate: &[u8]) -> Result<&[u8]> {
    let mut parts = SliceReader::new(inside(inside(certificate)?)?)?;
    let version = usize::from(parts.peek_byte() == Some(VERSION));
    for _ in 0..version + PARTS_BEFORE {
        parts.tlv_bytes()?;
    }
    parts.tlv_bytes()
}

fn inside(bytes: &[u8]) -> Result<&[u8]> {
    Ok(AnyRef::decode(&mut SliceReader::new(bytes)?)?.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_with_and_without_a_version() {
        let part = |tag: u8, inside: &[u8]| [&[tag, u8::try_from(inside.len()).unwrap()], inside].concat();
        let sequence = |inside: &[u8]| part(0x30, inside);
        let key = sequence(b"\x05\x00");
        let before = [part(2, b"\x01"), sequence(b""), sequence(b""), sequence(b""), sequence(b"")].concat();
        for (version, after) in [(&b""[..], &b""[..]), (b"\xa0\x03\x02\x01\x02", b"\xa3\x00")] {
            let inside = sequence(&[version, &before, &key, after].concat());
            let certificate = sequence(&[&inside[..], b"\x30\x00\x03\x01\x00"].concat());
            assert_eq!(of(&certificate).unwrap().as_ref(), key);
            for length in 0..version.len() + before.len() + key.len() {
                assert!(of(&certificate[..length]).is_none(), "{length}");
            }
        }
        for odd in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", &sequence(&before)] {
            assert!(of(odd).is_none(), "{odd:?}");
        }
    }
}
