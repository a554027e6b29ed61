//! zip: stored and deflated entries, read by its directory at the end. No encryption, and no zip64.

use crate::{Kind, Member, broken, number, unread};
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::io::{self, Read, Write};
use waft_sdk::Error;

/// A zip that is read, bytes: it is held in memory, because its directory is at its end.
const ARCHIVE_BYTES_MAX: u64 = 128 << 20;
/// A file that is put into one, bytes: it is compressed in memory.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
/// Behind the directory a comment may come.
const COMMENT_BYTES_MAX: usize = 0xffff;
const END: usize = 22;
const ENTRY: usize = 46;
const LOCAL: usize = 30;
/// A name is UTF-8.
const UTF8: u16 = 1 << 11;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// Made on a system that has modes.
const UNIX: u16 = 3 << 8 | 20;
const S_IFMT: u32 = 0o170_000;
const S_IFLNK: u32 = 0o120_000;

type Take<'a> = &'a mut dyn FnMut(&Member, &mut dyn Read) -> Result<(), Error>;

pub(crate) fn read(input: &mut dyn Read, take: Take<'_>) -> Result<(), Error> {
    let mut bytes = Vec::new();
    (&mut *input).take(ARCHIVE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
    if bytes.len() as u64 > ARCHIVE_BYTES_MAX {
        return Err(broken(format!(
            "the archive is larger than {ARCHIVE_BYTES_MAX} bytes, which is the most of a zip"
        )));
    }
    let damaged = || broken("the archive is damaged: its directory cannot be read");
    let first = bytes.len().saturating_sub(END + COMMENT_BYTES_MAX);
    let last = bytes.len().checked_sub(END).ok_or_else(damaged)?;
    let end = (first..=last).rev().find(|at| bytes[*at..].starts_with(b"PK\x05\x06")).ok_or_else(damaged)?;
    let count = number(&bytes, end + 10, 2);
    let mut at = usize::try_from(number(&bytes, end + 16, 4)).map_err(|_| damaged())?;
    if count == 0xffff || at == 0xffff_ffff {
        return Err(broken("the archive is a zip64, which is not read here"));
    }
    for _ in 0..count {
        let entry =
            bytes.get(at..at + ENTRY).filter(|entry| entry.starts_with(b"PK\x01\x02")).ok_or_else(damaged)?;
        let lengths = [28, 30, 32].map(|at| usize::try_from(number(entry, at, 2)).unwrap_or(0));
        let name = bytes.get(at + ENTRY..at + ENTRY + lengths[0]).ok_or_else(damaged)?;
        one(&bytes, entry, name, take)?;
        at += ENTRY + lengths.iter().sum::<usize>();
    }
    Ok(())
}

fn one(bytes: &[u8], entry: &[u8], name: &[u8], take: Take<'_>) -> Result<(), Error> {
    let name =
        String::from_utf8(name.to_vec()).map_err(|_| broken("the archive holds a name that is no UTF-8"))?;
    let damaged = |why: &str| broken(format!("the archive is damaged: {name} {why}"));
    if number(entry, 8, 2) & 1 != 0 {
        return Err(broken(format!("{name} is encrypted, which is not read here")));
    }
    let (method, sum) = (number(entry, 10, 2), number(entry, 16, 4));
    let (packed, size) = (number(entry, 20, 4), number(entry, 24, 4));
    let local = usize::try_from(number(entry, 42, 4)).map_err(|_| damaged("is nowhere"))?;
    let header =
        bytes.get(local..).filter(|header| header.starts_with(b"PK\x03\x04") && header.len() >= LOCAL);
    let header = header.ok_or_else(|| damaged("is not where the directory says"))?;
    let start = LOCAL + usize::try_from(number(header, 26, 2) + number(header, 28, 2)).unwrap_or(0);
    let end = start + usize::try_from(packed).map_err(|_| damaged("is too large"))?;
    let body = header.get(start..end).ok_or_else(|| damaged("is cut short"))?;
    let attributes = if entry[5] == 3 { u32::try_from(number(entry, 38, 4) >> 16).unwrap_or(0) } else { 0 };
    let mut plain: Box<dyn Read> = match u16::try_from(method).unwrap_or(u16::MAX) {
        STORED => Box::new(body),
        DEFLATED => Box::new(DeflateDecoder::new(body)),
        other => {
            return Err(broken(format!("{name} is compressed by method {other}, which is not read here")));
        }
    };
    let kind = if name.ends_with('/') {
        Kind::Dir
    } else if attributes & S_IFMT == S_IFLNK {
        let mut target = String::new();
        (&mut plain).take(4096).read_to_string(&mut target).map_err(|error| unread(&error))?;
        Kind::Symlink(target)
    } else {
        Kind::File
    };
    let mode = match (attributes & 0o777, &kind) {
        (0, Kind::Dir) => 0o755,
        (0, _) => 0o644,
        (mode, _) => mode,
    };
    let is_file = kind == Kind::File;
    let member = Member { name: name.clone(), kind, mode, size: if is_file { size } else { 0 }, modified: 0 };
    if !is_file {
        return take(&member, &mut io::empty());
    }
    let mut body = Checked { plain: plain.take(size), crc: Crc::new() };
    take(&member, &mut body)?;
    io::copy(&mut body, &mut io::sink()).map_err(|error| unread(&error))?;
    if u64::from(body.crc.amount()) != size & 0xffff_ffff || u64::from(body.crc.sum()) != sum {
        return Err(damaged("does not have the bytes that it says"));
    }
    Ok(())
}

/// Bytes and their sum.
struct Checked<R> {
    plain: R,
    crc: Crc,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(into)?;
        self.crc.update(&into[..count]);
        Ok(count)
    }
}

/// What the directory at the end needs to know.
#[derive(Default)]
pub(crate) struct Directory {
    entries: Vec<u8>,
    count: u16,
    offset: u64,
}

impl Directory {
    pub(crate) fn add(
        &mut self,
        into: &mut dyn Write,
        member: &Member,
        body: &mut dyn Read,
    ) -> io::Result<()> {
        let large = || io::Error::other("more than a zip without zip64 holds: take tar");
        let mut plain = Vec::new();
        let (mode, suffix) = match &member.kind {
            Kind::File => {
                body.take(FILE_BYTES_MAX + 1).read_to_end(&mut plain)?;
                if plain.len() as u64 > FILE_BYTES_MAX {
                    return Err(io::Error::other(format!(
                        "{} is larger than {FILE_BYTES_MAX} bytes",
                        member.name
                    )));
                }
                (0o100_000 | member.mode, "")
            }
            Kind::Dir => (0o040_000 | member.mode, if member.name.ends_with('/') { "" } else { "/" }),
            Kind::Symlink(target) => {
                plain.extend_from_slice(target.as_bytes());
                (S_IFLNK | 0o777, "")
            }
            _ => return Err(io::Error::other("links, devices and FIFOs are not put into a zip")),
        };
        let mut packed = Vec::new();
        flate2::read::DeflateEncoder::new(&plain[..], flate2::Compression::default())
            .read_to_end(&mut packed)?;
        let (method, packed) =
            if packed.len() < plain.len() { (DEFLATED, &packed) } else { (STORED, &plain) };
        let mut crc = Crc::new();
        crc.update(&plain);
        let name = [member.name.as_bytes(), suffix.as_bytes()].concat();
        let length = u16::try_from(name.len()).map_err(|_| large())?;
        let (packed_size, size) = (
            u32::try_from(packed.len()).map_err(|_| large())?,
            u32::try_from(plain.len()).map_err(|_| large())?,
        );
        let offset = u32::try_from(self.offset).map_err(|_| large())?;
        let mut common = Vec::new();
        for word in [20, UTF8, method] {
            common.extend_from_slice(&word.to_le_bytes());
        }
        common.extend_from_slice(&dos_time(member.modified).to_le_bytes());
        for long in [crc.sum(), packed_size, size] {
            common.extend_from_slice(&long.to_le_bytes());
        }
        common.extend_from_slice(&length.to_le_bytes());
        common.extend_from_slice(&[0, 0]);
        into.write_all(b"PK\x03\x04")?;
        into.write_all(&common)?;
        into.write_all(&name)?;
        into.write_all(packed)?;
        self.entries.extend_from_slice(b"PK\x01\x02");
        self.entries.extend_from_slice(&UNIX.to_le_bytes());
        self.entries.extend_from_slice(&common);
        // No comment, on the first disk, binary.
        self.entries.extend_from_slice(&[0; 6]);
        self.entries.extend_from_slice(&(mode << 16).to_le_bytes());
        self.entries.extend_from_slice(&offset.to_le_bytes());
        self.entries.extend_from_slice(&name);
        self.count = self.count.checked_add(1).ok_or_else(large)?;
        self.offset += (LOCAL + name.len() + packed.len()) as u64;
        Ok(())
    }

    pub(crate) fn end(self, into: &mut dyn Write) -> io::Result<()> {
        let large = |_| io::Error::other("more than a zip without zip64 holds: take tar");
        let (size, offset) =
            (u32::try_from(self.entries.len()).map_err(large)?, u32::try_from(self.offset).map_err(large)?);
        into.write_all(&self.entries)?;
        into.write_all(b"PK\x05\x06\0\0\0\0")?;
        into.write_all(&self.count.to_le_bytes())?;
        into.write_all(&self.count.to_le_bytes())?;
        into.write_all(&size.to_le_bytes())?;
        into.write_all(&offset.to_le_bytes())?;
        into.write_all(&[0, 0])
    }
}

/// Time below and date above, in UTC; from 1980 to 2107.
fn dos_time(seconds: u64) -> u32 {
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = |year: u64| if is_leap(year) { 366 } else { 365 };
    while days >= length(year) {
        days -= length(year);
        year += 1;
    }
    let february = length(year) - 337;
    let mut month = 1;
    for of_month in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < of_month {
            break;
        }
        days -= of_month;
        month += 1;
    }
    if !(1980..=2107).contains(&year) {
        return 1 << 21 | 1 << 16;
    }
    let date = (year - 1980) << 9 | month << 5 | (days + 1);
    let time = (of_day / 3_600) << 11 | (of_day / 60 % 60) << 5 | (of_day % 60 / 2);
    u32::try_from(date << 16 | time).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_dos() {
        // 2024-02-29 13:14:16
        assert_eq!(dos_time(1_709_212_456), (44 << 9 | 2 << 5 | 29) << 16 | (13 << 11 | 14 << 5 | 8));
        assert_eq!(dos_time(0), 1 << 21 | 1 << 16);
    }
}
