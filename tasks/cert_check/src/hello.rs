//! The beginning of a TLS 1.2 handshake, as far as the certificates, which the server shows to everybody. No session comes
//! of it, and no secret is made: for servers that agree on keys only in ways that nobody should use any more.

use std::io::{self, Read};
use waft_sdk::Error;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
/// The first of two bytes of a version; the second is 3 for TLS 1.2.
const TLS: u8 = 3;
/// All that a server says until then, bytes.
const HELLO_BYTES_MAX: usize = 256 * 1024;
/// The longest record, bytes.
const RECORD_BYTES_MAX: usize = 16 * 1024 + 2048;

/// What the server may sign with: all that is usual, since a signature is not looked at.
const SUITES: [u16; 15] = [
    0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc009, 0xc013, 0xc00a, 0xc014, 0x009e, 0x009c, 0x009d,
    0x002f, 0x0035,
];
const GROUPS: [u16; 4] = [0x001d, 0x0017, 0x0018, 0x0019];
const SIGNATURES: [u16; 9] = [0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601];

fn sized(bytes: &[u8], length_bytes: usize) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    let mut all = length.get(length.len() - length_bytes..).unwrap_or_default().to_vec();
    all.extend_from_slice(bytes);
    all
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    sized(&numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>(), 2)
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), sized(content, 2)].concat()
}

/// What is said to the server. `name`: which of its sites is meant.
pub fn client(name: Option<&str>, random: [u8; 32]) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let entry = [vec![0], sized(name.as_bytes(), 2)].concat();
        extensions.extend(extension(0, &sized(&entry, 2)));
    }
    extensions.extend(extension(10, &numbers(&GROUPS)));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(13, &numbers(&SIGNATURES)));
    let hello = [vec![TLS, 3], random.to_vec(), vec![0], numbers(&SUITES), vec![1, 0], sized(&extensions, 2)]
        .concat();
    let message = [vec![1], sized(&hello, 3)].concat();
    [vec![HANDSHAKE, TLS, 1], sized(&message, 2)].concat()
}

/// What the server shows, in DER form, its own first.
pub fn certificates(server: &mut impl Read, who: &str) -> Result<Vec<Vec<u8>>, Error> {
    let odd = |why: &str| Error::new("cert_check.tls", format!("{who} does not begin TLS: {why}"));
    let failed = |why: io::Error| match why.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => error.clone(),
        None => odd(&format!("its answer ends too early ({why})")),
    };
    let mut said = Vec::new();
    loop {
        while let Some((kind, content, rest)) = message(&said) {
            match kind {
                SERVER_HELLO if content.get(..2) != Some(&[TLS, 3]) => {
                    return Err(odd("it wants another version than TLS 1.2"));
                }
                CERTIFICATE => return list(content).ok_or_else(|| odd("its list of certificates is broken")),
                _ => said = rest.to_vec(),
            }
        }
        if said.len() > HELLO_BYTES_MAX {
            return Err(odd("it says too much before its certificates"));
        }
        let mut head = [0; 5];
        server.read_exact(&mut head).map_err(failed)?;
        let [kind, version, _, high, low] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !matches!(kind, ALERT | HANDSHAKE) || version != TLS || length > RECORD_BYTES_MAX {
            return Err(odd("what it says is no record of TLS"));
        }
        let mut record = vec![0; length];
        server.read_exact(&mut record).map_err(failed)?;
        if kind == HANDSHAKE {
            said.extend(record);
        } else if let [_, alert] = *record {
            return Err(refused(who, alert));
        }
    }
}

fn refused(who: &str, alert: u8) -> Error {
    let (why, hint) = match alert {
        40 | 70 | 71 | 86 => (
            "does not agree to TLS 1.2",
            Some(
                "a server that speaks TLS 1.3 alone shows its certificate to nobody but who completes the handshake: \
                  read its file, with `path`",
            ),
        ),
        112 => ("does not know the name that it is asked for", Some("`server_name` says another")),
        _ => ("refuses", None),
    };
    let text = format!("{who} {why} (alert {alert})");
    Error { hint: hint.map(str::to_owned), ..Error::new("cert_check.tls", text) }
}

/// The first message, if it is whole: kind, content, and what follows.
fn message(said: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = said.split_first()?;
    let (content, rest) = part(rest)?;
    Some((*kind, content, rest))
}

/// Something with its length in three bytes, and what follows.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([a, b, c], rest) = bytes.split_first_chunk::<3>()?;
    let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
    rest.split_at_checked(length)
}

fn list(content: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut rest, after) = part(content)?;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (one, more) = part(rest)?;
        all.push(one.to_vec());
        rest = more;
    }
    (after.is_empty() && !all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
        [vec![kind, 3, 3], sized(bytes, 2)].concat()
    }

    fn handshake(kind: u8, content: &[u8]) -> Vec<u8> {
        [vec![kind], sized(content, 3)].concat()
    }

    #[test]
    fn certificates_come_in_whatever_records() {
        let hello = handshake(SERVER_HELLO, &[3, 3, 0, 0]);
        let shown = handshake(CERTIFICATE, &sized(&[sized(b"one", 3), sized(b"two", 3)].concat(), 3));
        let all = [hello, shown].concat();
        for split in 0..all.len() {
            let (first, second) = all.split_at(split);
            let said = [record(HANDSHAKE, first), record(HANDSHAKE, second)].concat();
            let found = certificates(&mut &*said, "x").unwrap();
            assert_eq!(found, [b"one".to_vec(), b"two".to_vec()], "{split}");
        }
    }

    #[test]
    fn what_is_no_tls_is_said() {
        let broken = handshake(CERTIFICATE, &[0, 0, 9, 1]);
        let newer = handshake(SERVER_HELLO, &[3, 4]);
        for said in [
            b"SSH-2.0-OpenSSH\r\n".to_vec(),
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Vec::new(),
            record(HANDSHAKE, &broken),
            record(HANDSHAKE, &newer),
            record(HANDSHAKE, &handshake(CERTIFICATE, &[0, 0, 0])),
            vec![HANDSHAKE, 3, 3, 0xff, 0xff],
            vec![HANDSHAKE, 3, 3, 0, 9, 1],
        ] {
            assert_eq!(certificates(&mut &*said, "x").unwrap_err().code, "cert_check.tls", "{said:?}");
        }
        let newer = certificates(&mut &*record(ALERT, &[2, 70]), "x").unwrap_err();
        assert!(newer.hint.unwrap().contains("TLS 1.3"));
        let flood = record(HANDSHAKE, &[[9, 0, 0, 0]; 4096].concat());
        assert!(certificates(&mut flood.repeat(3).as_slice(), "x").is_err());
        let endless = [vec![9, 0xff, 0xff, 0xff], vec![0; 16_000]].concat();
        let said = record(HANDSHAKE, &endless).repeat(40);
        assert!(certificates(&mut &*said, "x").unwrap_err().message.contains("too much"));
    }

    #[test]
    fn the_greeting_has_its_lengths_right() {
        let said = client(Some("a.example"), [7; 32]);
        let length = usize::from(u16::from_be_bytes([said[3], said[4]]));
        assert_eq!(length + 5, said.len());
        let (kind, content, rest) = message(&said[5..]).unwrap();
        assert_eq!((kind, rest.len(), &content[..2]), (1, 0, &[3, 3][..]));
        assert!(said.windows(9).any(|window| window == b"a.example"));
        assert_eq!(client(None, [7; 32]).len() + 9 + 9, said.len());
    }
}
