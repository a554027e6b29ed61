//! Messages of the DNS (RFC 1035), as far as asking for addresses takes: one question, and what its answer says.
//!
//! Pure. An answer comes from the network: each length is checked, a compressed name may only point back, and what does not
//! belong to the question is no answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A name as it is sent, bytes, with its last, empty label.
const WIRE_NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
/// Aliases of aliases that are followed.
const ALIASES_MAX: usize = 8;

const HEADER_BYTES: usize = 12;
const RESPONSE: u16 = 0x8000;
const OPERATION: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSE: u16 = 0x0100;
const CODE: u16 = 0x000f;
const CODE_NO_NAME: u16 = 3;

const INTERNET: u16 = 1;
const ALIAS: u16 = 5;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(super) enum Kind {
    V4 = 1,
    V6 = 28,
}

/// A name of labels in lower case, as it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Name(Vec<u8>);

impl Name {
    /// None when it is no name of the DNS.
    pub(super) fn parse(text: &str) -> Option<Name> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                return None;
            }
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.push(0);
        (wire.len() <= WIRE_NAME_BYTES_MAX).then_some(Name(wire))
    }
}

/// The question as it is sent.
pub(super) fn question(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_BYTES + name.0.len() + 4);
    for word in [id, RECURSE, 1, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(&name.0);
    message.extend_from_slice(&(kind as u16).to_be_bytes());
    message.extend_from_slice(&INTERNET.to_be_bytes());
    message
}

/// What a message says to a question.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It answers something else, or is damaged: whoever sent it, the answer may still come.
    Foreign,
    /// There is more than the message could hold.
    Truncated,
    /// Perhaps none.
    Addresses(Vec<IpAddr>),
    NoName,
    /// The server cannot or does not want to.
    Failed,
}

pub(super) fn answer(message: &[u8], id: u16, name: &Name, kind: Kind) -> Answer {
    read(message, id, name, kind).unwrap_or(Answer::Foreign)
}

fn read(message: &[u8], id: u16, name: &Name, kind: Kind) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let (its_id, flags, questions, records) =
        (reader.word()?, reader.word()?, reader.word()?, reader.word()?);
    reader.at = HEADER_BYTES;
    let ours = its_id == id && flags & RESPONSE != 0 && flags & OPERATION == 0 && questions == 1;
    if !ours || reader.name()? != *name || reader.word()? != kind as u16 || reader.word()? != INTERNET {
        return None;
    }
    if flags & TRUNCATED != 0 {
        return Some(Answer::Truncated);
    }
    match flags & CODE {
        0 => {}
        CODE_NO_NAME => return Some(Answer::NoName),
        _ => return Some(Answer::Failed),
    }
    // In any order, as servers send them. Each takes more than ten bytes, so the message bounds their number.
    let mut addresses: Vec<(Name, IpAddr)> = Vec::new();
    let mut aliases: Vec<(Name, Name)> = Vec::new();
    for _ in 0..records {
        let owner = reader.name()?;
        let (its_kind, class) = (reader.word()?, reader.word()?);
        reader.take(4)?; // How long it may be kept: it is not.
        let bytes = usize::from(reader.word()?);
        let begin = reader.at;
        let data = reader.take(bytes)?;
        if class != INTERNET {
            continue;
        }
        if its_kind == ALIAS {
            let mut inside = Reader { message, at: begin };
            let target = inside.name()?;
            if inside.at != begin.checked_add(bytes)? {
                return None;
            }
            aliases.push((owner, target));
        } else if its_kind == kind as u16 {
            let address = match kind {
                Kind::V4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)),
                Kind::V6 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)),
            };
            addresses.push((owner, address));
        }
    }
    let mut wanted = name;
    for _ in 0..=ALIASES_MAX {
        let of_name = addresses.iter().filter(|(owner, _)| owner == wanted);
        let found: Vec<IpAddr> = of_name.map(|(_, address)| *address).collect();
        match aliases.iter().find(|(owner, _)| owner == wanted) {
            Some((_, target)) if found.is_empty() => wanted = target,
            _ => return Some(Answer::Addresses(found)),
        }
    }
    Some(Answer::Failed)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(bytes)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    /// A name; its end may lie earlier in the message. Each jump goes further back than the one before, so it ends.
    fn name(&mut self) -> Option<Name> {
        const POINTER: u8 = 0xc0;
        let mut wire = Vec::new();
        let mut before = self.at;
        let mut behind = None;
        loop {
            let length = self.byte()?;
            if length & POINTER == POINTER {
                let target = usize::from(u16::from_be_bytes([length & !POINTER, self.byte()?]));
                behind.get_or_insert(self.at);
                if target >= before {
                    return None;
                }
                (self.at, before) = (target, target);
                continue;
            }
            // The two other forms were never used.
            if length & POINTER != 0 {
                return None;
            }
            wire.push(length);
            wire.extend(self.take(usize::from(length))?.iter().map(u8::to_ascii_lowercase));
            if wire.len() > WIRE_NAME_BYTES_MAX {
                return None;
            }
            if length == 0 {
                self.at = behind.unwrap_or(self.at);
                return Some(Name(wire));
            }
        }
    }
}
