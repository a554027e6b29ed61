//! Checksums of files.

use sha2::{Digest, Sha256, Sha512};
use waft_sdk::Error;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Sha256,
    Sha512,
    Blake3,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Sha256 => "sha256",
            Kind::Sha512 => "sha512",
            Kind::Blake3 => "blake3",
        }
    }
}

/// One that is wanted.
#[derive(Debug)]
pub(crate) struct Checksum {
    pub(crate) kind: Kind,
    /// Small letters.
    pub(crate) hex: String,
}

impl Checksum {
    pub(crate) fn parse(text: &str) -> Result<Checksum, Error> {
        let wrong = |why: &str| Error::new("params.checksum", format!("`checksum` is {text:?}, which {why}"));
        let (kind, hex) =
            text.split_once(':').ok_or_else(|| wrong("has no algorithm: expected sha256:HEX"))?;
        let (kind, digits) = match kind {
            "sha256" => (Kind::Sha256, 64),
            "sha512" => (Kind::Sha512, 128),
            "blake3" => (Kind::Blake3, 64),
            _ => return Err(wrong("is none of sha256, sha512 and blake3")),
        };
        if hex.len() != digits || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong(&format!("has not {digits} hexadecimal digits")));
        }
        Ok(Checksum { kind, hex: hex.to_ascii_lowercase() })
    }
}

pub(crate) enum Sum {
    Sha256(Sha256),
    Sha512(Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl Sum {
    pub(crate) fn new(kind: Kind) -> Sum {
        match kind {
            Kind::Sha256 => Sum::Sha256(Sha256::new()),
            Kind::Sha512 => Sum::Sha512(Sha512::new()),
            Kind::Blake3 => Sum::Blake3(Box::new(blake3::Hasher::new())),
        }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        match self {
            Sum::Sha256(sum) => sum.update(bytes),
            Sum::Sha512(sum) => sum.update(bytes),
            Sum::Blake3(sum) => drop(sum.update(bytes)),
        }
    }

    pub(crate) fn hex(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Sum::Sha256(sum) => hex(&sum.finalize()),
            Sum::Sha512(sum) => hex(&sum.finalize()),
            Sum::Blake3(sum) => hex(sum.finalize().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_everybody() {
        for (kind, known) in [
            (Kind::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Kind::Blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        ] {
            let mut sum = Sum::new(kind);
            sum.add(b"a");
            sum.add(b"bc");
            assert_eq!(sum.hex(), known);
            let given = format!("{}:{}", kind.word(), known.to_uppercase());
            assert_eq!(Checksum::parse(&given).unwrap().hex, known);
        }
        assert_eq!(Sum::new(Kind::Sha512).hex().len(), 128);
        for bad in ["", "abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:00", "sha256:http://x"] {
            assert_eq!(Checksum::parse(bad).unwrap_err().code, "params.checksum", "{bad}");
        }
    }
}
