use super::{Url, broken};
use std::io::{self, Read};
use waft_sdk::Error;

/// What is read at once, bytes.
const HELD_BYTES: usize = 16 * 1024;
/// The first line and the headers, bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A line with the size of a chunk, bytes.
const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Replies of the kind "go on" before the real one.
const INFORMATIONAL_MAX: usize = 16;

/// What a server answered, as far as its body.
#[derive(Debug)]
pub struct Reply<C> {
    pub status: u16,
    /// What the server calls that.
    pub reason: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Body<C>,
    /// Whose answer it is, after all redirects.
    pub url: Url,
    pub redirected: bool,
}

impl<C> Reply<C> {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Where a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// After so many bytes.
    After(u64),
    /// Of a chunk there are so many bytes left; none has begun yet when this is the first.
    Chunk {
        left: u64,
        first: bool,
    },
    Close,
}

/// The rest of a connection. Reading one that ends too early is an error.
#[derive(Debug)]
pub struct Body<C> {
    connection: C,
    /// Read and not taken yet.
    held: Vec<u8>,
    filled: usize,
    at: usize,
    end: End,
}

impl<C: Read> Body<C> {
    fn fill(&mut self) -> io::Result<usize> {
        (self.at, self.filled) = (0, 0);
        self.filled = self.connection.read(&mut self.held)?;
        Ok(self.filled)
    }

    fn byte(&mut self) -> io::Result<u8> {
        if self.at == self.filled && self.fill()? == 0 {
            return Err(cut());
        }
        let byte = self.held.get(self.at).copied().ok_or_else(cut)?;
        self.at += 1;
        Ok(byte)
    }

    /// A line without its end.
    fn line(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => {
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                    return Ok(line);
                }
                byte if line.len() < most => line.push(byte),
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long")),
            }
        }
    }

    /// What is there, at most so much.
    fn some(&mut self, into: &mut [u8], most: u64) -> io::Result<usize> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(into.len());
        let Some(into) = into.get_mut(..most) else { return Ok(0) };
        if self.at == self.filled && self.fill()? == 0 {
            return Ok(0);
        }
        let read = self.held.get(self.at..self.filled).unwrap_or_default().read(into)?;
        self.at += read;
        Ok(read)
    }

    fn next_chunk(&mut self, first: bool) -> io::Result<u64> {
        let odd = || io::Error::new(io::ErrorKind::InvalidData, "the size of a chunk is no number");
        if !first && !self.line(CHUNK_LINE_BYTES_MAX)?.is_empty() {
            return Err(odd());
        }
        let line = self.line(CHUNK_LINE_BYTES_MAX)?;
        let line = std::str::from_utf8(&line).map_err(|_| odd())?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| odd())?;
        if size == 0 {
            // Headers at the end, which nobody asked for.
            while !self.line(HEAD_BYTES_MAX)?.is_empty() {}
        }
        Ok(size)
    }
}

impl<C: Read> Read for Body<C> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        match self.end {
            End::Close => self.some(into, u64::MAX),
            End::After(0) => Ok(0),
            End::After(left) => {
                let read = self.some(into, left)?;
                if read == 0 {
                    return Err(cut());
                }
                self.end = End::After(left.saturating_sub(read as u64));
                Ok(read)
            }
            End::Chunk { left: 0, first } => match self.next_chunk(first)? {
                0 => {
                    self.end = End::After(0);
                    Ok(0)
                }
                left => {
                    self.end = End::Chunk { left, first: false };
                    self.read(into)
                }
            },
            End::Chunk { left, .. } => {
                let read = self.some(into, left)?;
                if read == 0 {
                    return Err(cut());
                }
                self.end = End::Chunk { left: left.saturating_sub(read as u64), first: false };
                Ok(read)
            }
        }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection in the middle")
}

/// Reads as far as the body.
pub(super) fn read<C: Read>(connection: C, is_head: bool, url: Url) -> Result<Reply<C>, Error> {
    let mut body = Body { connection, held: vec![0; HELD_BYTES], filled: 0, at: 0, end: End::Close };
    let odd = |what: &str| {
        Error::new("http.answer", format!("{} does not answer as HTTP has it: {what}", url.authority()))
    };
    for _ in 0..INFORMATIONAL_MAX {
        let mut room = HEAD_BYTES_MAX;
        let mut line = |body: &mut Body<C>| {
            let line = body.line(room).map_err(|why| broken(&url, &why))?;
            room = room.saturating_sub(line.len() + 2);
            Ok::<_, Error>(String::from_utf8_lossy(&line).into_owned())
        };
        let first = line(&mut body)?;
        let (status, reason) = status(&first).ok_or_else(|| odd("its first line is no status"))?;
        let mut headers = Vec::new();
        loop {
            let text = line(&mut body)?;
            if text.is_empty() {
                break;
            }
            let (name, value) = text.split_once(':').ok_or_else(|| odd("a header has no colon"))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let all = |name: &str| {
            headers
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
                .collect::<Vec<_>>()
        };
        let (coding, lengths) = (all("transfer-encoding"), all("content-length"));
        body.end = match (coding.as_slice(), lengths.as_slice()) {
            _ if is_head || matches!(status, 204 | 304) => End::After(0),
            ([coding], _) if coding.eq_ignore_ascii_case("chunked") => End::Chunk { left: 0, first: true },
            ([], []) => End::Close,
            ([], [length, more @ ..]) if more.iter().all(|other| other == length) => {
                End::After(length.parse().map_err(|_| odd("its length is no number"))?)
            }
            ([], _) => return Err(odd("it has two lengths")),
            _ => return Err(odd("its body is coded in a way that nobody asked for")),
        };
        return Ok(Reply { status, reason, headers, body, url, redirected: false });
    }
    Err(odd("it says to go on and never answers"))
}

/// `HTTP/1.1 200 OK`.
fn status(line: &str) -> Option<(u16, String)> {
    let rest = line.strip_prefix("HTTP/1.")?.strip_prefix(['0', '1'])?.strip_prefix(' ')?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = status.parse().ok().filter(|status| (100..600).contains(status) && rest.len() >= 3)?;
    Some((status, reason.trim().to_owned()))
}
