//! tar: ustar, with the long names and large numbers of GNU and pax.

use crate::{Kind, Member, broken, unread};
use std::io::{self, Read, Write};
use waft_sdk::Error;

const BLOCK: usize = 512;
/// A long name or the attributes of an entry, bytes.
const EXTRA_BYTES_MAX: u64 = 64 * 1024;
/// Of a name in the header itself.
const NAME_BYTES_MAX: usize = 100;
const PREFIX_BYTES_MAX: usize = 155;
/// What eleven octal digits hold.
const SIZE_MAX: u64 = 0o77_777_777_777;

type Take<'a> = &'a mut dyn FnMut(&Member, &mut dyn Read) -> Result<(), Error>;

pub(crate) fn read(input: &mut dyn Read, take: Take<'_>) -> Result<(), Error> {
    let mut extra = Extra::default();
    let mut first = true;
    loop {
        let mut header = [0; BLOCK];
        if !fill(input, &mut header)? {
            // The two empty blocks at the end are missing: others take such an archive, too.
            return if first { Err(broken("this is no archive: it is empty")) } else { Ok(()) };
        }
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        if !is_header(&header) {
            let what = if first {
                "this is no archive that is known here"
            } else {
                "the archive is damaged: here is no header"
            };
            return Err(broken(what));
        }
        first = false;
        let size = octal(&header[124..136])?;
        match header[156] {
            b'L' => extra.name = Some(text(read_extra(input, size)?)?),
            b'K' => extra.link = Some(text(read_extra(input, size)?)?),
            b'x' => extra.pax(&read_extra(input, size)?)?,
            b'g' => drop(read_extra(input, size)?),
            kind => {
                let extra = std::mem::take(&mut extra);
                let member = member(&header, kind, size, extra)?;
                let size = member.size;
                let mut body = (&mut *input).take(size);
                take(&member, &mut body)?;
                io::copy(&mut body, &mut io::sink()).map_err(|error| unread(&error))?;
                if body.limit() > 0 {
                    return Err(broken(format!("the archive ends in the middle of {}", member.name)));
                }
                skip(input, padding(size))?;
            }
        }
    }
}

/// What comes before an entry and is about it.
#[derive(Default)]
struct Extra {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    is_sparse: bool,
    /// Of a sparse file, whose other name is made up.
    own_name: Option<String>,
}

impl Extra {
    /// Lines `LENGTH KEY=VALUE`.
    fn pax(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let damaged = || broken("the archive is damaged: attributes of an entry cannot be read");
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let length =
                std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse::<usize>().ok());
            let length =
                length.filter(|length| *length > space + 1 && *length <= bytes.len()).ok_or_else(damaged)?;
            let line = bytes[space + 1..length].strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = line.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
            let (key, value) = (&line[..equals], &line[equals + 1..]);
            match key {
                b"path" => self.name = Some(text(value.to_vec())?),
                b"linkpath" => self.link = Some(text(value.to_vec())?),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or_else(damaged)?);
                }
                b"GNU.sparse.name" => self.own_name = Some(text(value.to_vec())?),
                _ => {}
            }
            self.is_sparse |= key.starts_with(b"GNU.sparse.");
            bytes = &bytes[length..];
        }
        Ok(())
    }
}

fn member(header: &[u8; BLOCK], kind: u8, size: u64, extra: Extra) -> Result<Member, Error> {
    let name = match extra.own_name.or(extra.name) {
        Some(name) => name,
        None => {
            let name = text(header[..NAME_BYTES_MAX].to_vec())?;
            let prefix = if &header[257..263] == b"ustar\0" {
                text(header[345..500].to_vec())?
            } else {
                String::new()
            };
            if prefix.is_empty() { name } else { prefix + "/" + &name }
        }
    };
    let link = match extra.link {
        Some(link) => link,
        None => text(header[157..257].to_vec())?,
    };
    let kind = match kind {
        _ if extra.is_sparse => Kind::Sparse,
        b'S' => Kind::Sparse,
        b'0' | 0 | b'7' if name.ends_with('/') => Kind::Dir,
        b'0' | 0 | b'7' => Kind::File,
        b'1' => Kind::HardLink(link),
        b'2' => Kind::Symlink(link),
        b'5' => Kind::Dir,
        _ => Kind::Other,
    };
    let size = match &kind {
        Kind::File | Kind::Sparse | Kind::Other => extra.size.unwrap_or(size),
        // Some archives give the size of what a link is to, without its bytes.
        _ => 0,
    };
    let mode = u32::try_from(octal(&header[100..108])? & 0o777).unwrap_or(0);
    Ok(Member { name, kind, mode, size, modified: octal(&header[136..148])? })
}

/// The sum of all bytes, with spaces in the place of the sum itself.
fn sum(header: &[u8; BLOCK]) -> u64 {
    let bytes = header.iter().enumerate();
    bytes.map(|(at, byte)| if (148..156).contains(&at) { u64::from(b' ') } else { u64::from(*byte) }).sum()
}

fn is_header(header: &[u8; BLOCK]) -> bool {
    octal(&header[148..156]).is_ok_and(|told| told == sum(header))
}

/// Octal digits, or with the highest bit set a plain number.
fn octal(field: &[u8]) -> Result<u64, Error> {
    let damaged = || broken("the archive is damaged: a number in it is none");
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let mut bytes = field.to_vec();
        bytes[0] &= 0x7f;
        return bytes.iter().try_fold(0_u64, |number, byte| {
            number
                .checked_mul(256)
                .and_then(|number| number.checked_add(u64::from(*byte)))
                .ok_or_else(damaged)
        });
    }
    let digits = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    digits.iter().try_fold(0, |number: u64, digit| match digit {
        b'0'..=b'7' => Ok(number << 3 | u64::from(digit - b'0')),
        _ => Err(damaged()),
    })
}

fn text(mut bytes: Vec<u8>) -> Result<String, Error> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    String::from_utf8(bytes).map_err(|_| broken("the archive holds a name that is no UTF-8"))
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

fn read_extra(input: &mut dyn Read, size: u64) -> Result<Vec<u8>, Error> {
    if size > EXTRA_BYTES_MAX {
        return Err(broken(format!("the archive is damaged: a name in it has {size} bytes")));
    }
    let mut bytes = Vec::new();
    (&mut *input).take(size).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
    if (bytes.len() as u64) < size {
        return Err(broken("the archive ends in the middle of a name"));
    }
    skip(input, padding(size))?;
    Ok(bytes)
}

fn skip(input: &mut dyn Read, count: u64) -> Result<(), Error> {
    io::copy(&mut (&mut *input).take(count), &mut io::sink()).map(drop).map_err(|error| unread(&error))
}

/// Whether there was a whole block; half of one is an error.
fn fill(input: &mut dyn Read, block: &mut [u8; BLOCK]) -> Result<bool, Error> {
    let mut bytes = Vec::new();
    (&mut *input).take(BLOCK as u64).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
    match bytes.len() {
        0 => Ok(false),
        BLOCK => {
            block.copy_from_slice(&bytes);
            Ok(true)
        }
        _ => Err(broken("the archive ends in the middle of a header")),
    }
}

/// The header of an entry, with what a long name needs before it.
pub(crate) fn header(into: &mut dyn Write, member: &Member) -> io::Result<()> {
    let (kind, link) = match &member.kind {
        Kind::File => (b'0', ""),
        Kind::Dir => (b'5', ""),
        Kind::Symlink(target) => (b'2', target.as_str()),
        Kind::HardLink(name) => (b'1', name.as_str()),
        Kind::Sparse | Kind::Other => {
            return Err(io::Error::other("devices, FIFOs and sparse entries are not put into an archive"));
        }
    };
    let (prefix, name) = split(&member.name);
    if prefix.len() + name.len() == 0 || name.len() > NAME_BYTES_MAX {
        long(into, b'L', &member.name)?;
    }
    if link.len() > NAME_BYTES_MAX {
        long(into, b'K', link)?;
    }
    let fits = name.len() <= NAME_BYTES_MAX;
    let (prefix, name) = if fits { (prefix, name) } else { ("", name) };
    into.write_all(&block(kind, prefix, name, link, member.mode, member.size, member.modified)?)
}

pub(crate) fn end_of_file(into: &mut dyn Write, size: u64) -> io::Result<()> {
    let zeros = [0; BLOCK];
    into.write_all(&zeros[..usize::try_from(padding(size)).unwrap_or(0)])
}

pub(crate) fn end(into: &mut dyn Write) -> io::Result<()> {
    into.write_all(&[0; 2 * BLOCK])
}

/// A name in the two fields that ustar has for it, where it fits.
fn split(name: &str) -> (&str, &str) {
    if name.len() <= NAME_BYTES_MAX {
        return ("", name);
    }
    let fits =
        |at: &usize| *at <= PREFIX_BYTES_MAX && name.len() - at - 1 <= NAME_BYTES_MAX && at + 1 < name.len();
    match name.match_indices('/').map(|(at, _)| at).find(fits) {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => ("", name),
    }
}

fn long(into: &mut dyn Write, kind: u8, text: &str) -> io::Result<()> {
    let size = text.len() as u64 + 1;
    into.write_all(&block(kind, "", "././@LongLink", "", 0o644, size, 0)?)?;
    into.write_all(text.as_bytes())?;
    into.write_all(&[0])?;
    end_of_file(into, size)
}

fn block(
    kind: u8,
    prefix: &str,
    name: &str,
    link: &str,
    mode: u32,
    size: u64,
    modified: u64,
) -> io::Result<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8], most: usize| {
        let count = bytes.len().min(most);
        header[at..at + count].copy_from_slice(&bytes[..count]);
    };
    put(0, name.as_bytes(), NAME_BYTES_MAX);
    put(100, format!("{mode:07o}").as_bytes(), 7);
    put(108, b"0000000", 7);
    put(116, b"0000000", 7);
    if size <= SIZE_MAX {
        put(124, format!("{size:011o}").as_bytes(), 11);
    } else {
        put(124, &[0x80], 1);
        put(128, &size.to_be_bytes(), 8);
    }
    put(136, format!("{:011o}", modified.min(SIZE_MAX)).as_bytes(), 11);
    put(156, &[kind], 1);
    put(157, link.as_bytes(), NAME_BYTES_MAX);
    put(257, b"ustar\x0000", 8);
    put(345, prefix.as_bytes(), PREFIX_BYTES_MAX);
    let sum = format!("{:06o}\0 ", sum(&header));
    header[148..156].copy_from_slice(sum.as_bytes());
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pax(lines: &[(&str, &str)]) -> Vec<u8> {
        let mut text = String::new();
        for (key, value) in lines {
            // The length counts its own digits: two of them here.
            let length = key.len() + value.len() + 5;
            text += &format!("{length} {key}={value}\n");
        }
        let mut bytes = block(b'x', "", "x", "", 0o644, text.len() as u64, 0).unwrap().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        end_of_file(&mut bytes, text.len() as u64).unwrap();
        bytes
    }

    #[test]
    fn sparse_files_are_told_from_others() {
        let body = b"1\n0\n3\n";
        let mut bytes = pax(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.name", "dir/disk"),
            ("path", "dir/GNUSparseFile.1/disk"),
        ]);
        for (kind, name) in [(b'0', "disk"), (b'S', "old"), (b'0', "plain")] {
            bytes.extend_from_slice(&block(kind, "", name, "", 0o644, body.len() as u64, 0).unwrap());
            bytes.extend_from_slice(body);
            end_of_file(&mut bytes, body.len() as u64).unwrap();
        }
        end(&mut bytes).unwrap();
        let mut seen = Vec::new();
        read(&mut &bytes[..], &mut |member, _| {
            seen.push((member.name.clone(), member.kind.clone()));
            Ok(())
        })
        .unwrap();
        let expected = [("dir/disk", Kind::Sparse), ("old", Kind::Sparse), ("plain", Kind::File)];
        assert_eq!(seen, expected.map(|(name, kind)| (name.to_owned(), kind)));
    }
}
