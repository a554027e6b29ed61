//! From entries to bytes. The same entries give the same bytes.

use crate::{Format, Member, tar, zip};
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::{self, Read, Write};

/// Of one frame of zstd, bytes.
const FRAME_BYTES: usize = 4 << 20;

pub struct Writer<W: Write>(Target<W>);

enum Target<W: Write> {
    Tar(W),
    Gzip(GzEncoder<W>),
    Zstd { into: W, frame: Vec<u8> },
    Zip { into: W, directory: zip::Directory },
}

impl<W: Write> Writer<W> {
    pub fn new(format: Format, into: W) -> Writer<W> {
        Writer(match format {
            Format::Tar => Target::Tar(into),
            // Without name and time.
            Format::Gzip => Target::Gzip(GzEncoder::new(into, Compression::default())),
            Format::Zstd => Target::Zstd { into, frame: Vec::new() },
            Format::Zip => Target::Zip { into, directory: zip::Directory::default() },
        })
    }

    /// One entry. A file has to have as many bytes as the entry says.
    pub fn add(&mut self, member: &Member, body: &mut dyn Read) -> io::Result<()> {
        match &mut self.0 {
            Target::Tar(into) => add_to_tar(into, member, body),
            Target::Gzip(into) => add_to_tar(into, member, body),
            Target::Zstd { into, frame } => add_to_tar(&mut Framed { into, frame }, member, body),
            Target::Zip { into, directory } => directory.add(into, member, body),
        }
    }

    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Target::Tar(mut into) => tar::end(&mut into).map(|()| into),
            Target::Gzip(mut into) => {
                tar::end(&mut into)?;
                into.finish()
            }
            Target::Zstd { mut into, mut frame } => {
                tar::end(&mut Framed { into: &mut into, frame: &mut frame })?;
                into.write_all(&compress_to_vec(&frame[..], CompressionLevel::Fastest))?;
                Ok(into)
            }
            Target::Zip { mut into, directory } => directory.end(&mut into).map(|()| into),
        }
    }
}

/// One file, compressed and without an archive around it.
pub fn gzip<W: Write>(body: &mut dyn Read, into: W) -> io::Result<W> {
    let mut into = GzEncoder::new(into, Compression::default());
    io::copy(body, &mut into)?;
    into.finish()
}

fn add_to_tar(into: &mut dyn Write, member: &Member, body: &mut dyn Read) -> io::Result<()> {
    tar::header(into, member)?;
    let count = io::copy(&mut body.take(member.size), into)?;
    if count != member.size {
        return Err(io::Error::other(format!("{} became shorter while it was read", member.name)));
    }
    tar::end_of_file(into, member.size)
}

/// Bytes that are compressed as soon as they are enough for a frame.
struct Framed<'a, W: Write> {
    into: &'a mut W,
    frame: &'a mut Vec<u8>,
}

impl<W: Write> Write for Framed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(FRAME_BYTES - self.frame.len());
        self.frame.extend_from_slice(&bytes[..count]);
        if self.frame.len() == FRAME_BYTES {
            self.into.write_all(&compress_to_vec(&self.frame[..], CompressionLevel::Fastest))?;
            self.frame.clear();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, each};

    fn entry(name: &str, kind: Kind, size: u64) -> Member {
        Member { name: name.into(), kind, mode: 0o640, size, modified: 1_700_000_000 }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let big: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 20) as u8).collect();
        let long = "d/".repeat(90) + "n";
        let longer = "n".repeat(200);
        for format in [Format::Tar, Format::Gzip, Format::Zstd, Format::Zip] {
            let entries = [
                (entry("d/", Kind::Dir, 0), &b""[..]),
                (entry("d/f", Kind::File, big.len() as u64), &big),
                (entry("d/empty", Kind::File, 0), b""),
                (entry(&long, Kind::File, 3), b"abc"),
                (entry(&longer, Kind::File, 1), b"x"),
                (entry("l", Kind::Symlink("d/f".into()), 0), b""),
            ];
            let write = || {
                let mut writer = Writer::new(format, Vec::new());
                for (member, body) in &entries {
                    writer.add(member, &mut &body[..]).unwrap();
                }
                writer.finish().unwrap()
            };
            let bytes = write();
            assert!(bytes == write(), "{format:?}");
            assert_eq!(Format::of_bytes(&bytes), format);
            let mut seen = Vec::new();
            each(&bytes[..], &mut |member, body| {
                let mut content = Vec::new();
                body.read_to_end(&mut content).unwrap();
                seen.push((member.clone(), content));
                Ok(())
            })
            .unwrap();
            assert_eq!(seen.len(), entries.len(), "{format:?}");
            for ((member, content), (expected, body)) in seen.iter().zip(&entries) {
                assert_eq!(
                    (&member.name, &member.kind, member.size),
                    (&expected.name, &expected.kind, expected.size)
                );
                assert!(content == body, "{format:?} {}", member.name);
                assert!(member.mode == 0o640 || matches!(member.kind, Kind::Symlink(_)), "{format:?}");
            }
            // Cut anywhere it is an error, or at the end of an entry an archive of fewer entries: never a wrong one.
            for length in [1, 300, 513, bytes.len() / 2, bytes.len() - 1] {
                let mut count = 0;
                let cut = each(&bytes[..length], &mut |_, body| {
                    count += 1;
                    io::copy(body, &mut io::sink()).map(drop).map_err(|error| crate::unread(&error))
                });
                assert!(cut.is_err() || count == entries.len(), "{format:?} {length}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let body = [7; 3_000];
        for format in [Format::Gzip, Format::Zstd, Format::Zip] {
            let mut writer = Writer::new(format, Vec::new());
            writer.add(&entry("f", Kind::File, body.len() as u64), &mut &body[..]).unwrap();
            let whole = writer.finish().unwrap();
            let read = |bytes: &[u8]| {
                each(bytes, &mut |_, body| {
                    io::copy(body, &mut io::sink()).map(drop).map_err(|error| crate::unread(&error))
                })
            };
            read(&whole).unwrap();
            // The checksum itself is at the end; that of a zip is in the directory, 22 and some bytes before it.
            let sum = match format {
                Format::Gzip => whole.len() - 8,
                Format::Zip => whole.len() - 22 - 47 + 16,
                _ => whole.len() - 4,
            };
            let mut bytes = whole.clone();
            bytes[sum] ^= 1;
            assert_eq!(read(&bytes).unwrap_err().code, "archive.broken", "{format:?}");
        }
    }

    #[test]
    fn garbage_is_no_archive() {
        for bytes in [
            &b""[..],
            b"x",
            &[7; 2_000],
            b"\x1f\x8bxxxx",
            b"\x28\xb5\x2f\xfdxxxx",
            b"PK\x03\x04xxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ] {
            let error = each(bytes, &mut |_, _| Ok(())).unwrap_err();
            assert_eq!(error.code, "archive.broken");
        }
    }
}
