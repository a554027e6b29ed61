//! The first bytes of a target's shell: noise of the login, then the answer of the delivery line, then the
//! stub's preamble. Pure: bytes in, what they mean out; any split of the bytes gives the same.

use crate::delivery::OTHER_ARCH;
use crate::stream::printable;
use waft_proto::limits::NOISE_BYTES_MAX;
use waft_proto::msg::{Arch, PREAMBLE, Remembered};
use waft_proto::run::Problem;

/// What the delivery line found on the target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    pub system: String,
    pub machine: String,
    /// The program that will read the stub from the shared stdin.
    pub reader: String,
    /// It takes exactly the stub's bytes.
    pub exact: bool,
    pub gzip: bool,
}

impl Probe {
    pub fn arch(&self) -> Option<Arch> {
        Arch::parse(&self.machine).filter(|_| self.system == "Linux")
    }

    pub fn remembered(&self) -> Option<Remembered> {
        Some(Remembered { arch: self.arch()?, exact: self.exact && self.gzip })
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    Probe(Probe),
    /// The stub runs; these bytes are already its frames.
    Preamble(Vec<u8>),
}

#[derive(Default)]
pub struct Intro {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that [`Intro::check`] has looked through: whole lines.
    checked: usize,
    noise: usize,
    last_noise: Vec<u8>,
}

const PROBE_WORD: &[u8] = b"WAFT1 ";
const FAIL_WORD: &[u8] = b"WAFT1-FAIL ";
/// A line longer than this is noise, bytes.
const LINE_BYTES_MAX: usize = 4096;

impl Intro {
    /// Adds bytes; call [`Intro::next`] until it gives nothing.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether the target has said by now that it cannot go on, or talks without end. Consumes nothing; for
    /// the time in which the stub is being written and a good target has nothing to say.
    pub fn check(&mut self, host: &str) -> Result<(), Problem> {
        while let Some(rest) = self.buffer.get(self.checked..)
            && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
        {
            let line = rest.get(..end).unwrap_or_default();
            if let Some(at) = find(line, FAIL_WORD) {
                return Err(failure(host, &text_after(line, at, FAIL_WORD)));
            }
            self.checked += end + 1;
        }
        within_noise(host, self.buffer.len())
    }

    /// What the bytes so far mean; `None` when it takes more of them. Only the first [`LINE_BYTES_MAX`] bytes
    /// decide, however many have arrived: that makes the portions in which they come irrelevant.
    pub fn next(&mut self, host: &str) -> Result<Option<Said>, Problem> {
        loop {
            // The preamble begins with a line break of its own, so that it stands alone after any noise; that
            // break may have gone with the line before it.
            let unbroken = PREAMBLE.strip_prefix(b"\n").unwrap_or(PREAMBLE);
            let rest = self.buffer.strip_prefix(PREAMBLE).or_else(|| self.buffer.strip_prefix(unbroken));
            if let Some(rest) = rest {
                let rest = rest.to_vec();
                self.buffer.clear();
                return Ok(Some(Said::Preamble(rest)));
            }
            let piece = self.buffer.get(..LINE_BYTES_MAX).unwrap_or(&self.buffer);
            let Some(end) = piece.iter().position(|byte| *byte == b'\n') else {
                if piece.len() < LINE_BYTES_MAX {
                    return Ok(None);
                }
                // A line without end goes in pieces. A word stays that begins in this one and may end in the next.
                let bytes = match (find(piece, FAIL_WORD), find_last(piece, PROBE_WORD)) {
                    (Some(0), _) => return Err(failure(host, &text_after(piece, 0, FAIL_WORD))),
                    (Some(at), _) | (None, Some(at)) if at > 0 => at,
                    _ => LINE_BYTES_MAX - FAIL_WORD.len(),
                };
                self.skip(host, bytes)?;
                continue;
            };
            // A line break that may be the preamble's own stays until more is here.
            if end == 0 && PREAMBLE.starts_with(&self.buffer) {
                return Ok(None);
            }
            // The last line of noise may lack its line break, so the words are looked for anywhere in a line.
            let line = piece.get(..end).unwrap_or_default();
            if let Some(at) = find(line, FAIL_WORD) {
                return Err(failure(host, &text_after(line, at, FAIL_WORD)));
            }
            let probe =
                find_last(line, PROBE_WORD).and_then(|at| parse_probe(&text_after(line, at, PROBE_WORD)));
            if let Some(probe) = probe {
                self.buffer.drain(..=end);
                self.checked = 0;
                return Ok(Some(Said::Probe(probe)));
            }
            // The line break behind noise stays in place: the preamble may begin with it.
            self.skip(host, end.max(1))?;
        }
    }

    /// So many bytes were noise. Says when it is too much.
    fn skip(&mut self, host: &str, bytes: usize) -> Result<(), Problem> {
        self.noise += bytes;
        self.last_noise.extend(self.buffer.drain(..bytes));
        self.checked = 0;
        let excess = self.last_noise.len().saturating_sub(LINE_BYTES_MAX);
        self.last_noise.drain(..excess);
        within_noise(host, self.noise)
    }

    /// What a login printed, for a message when nothing else explains an end.
    pub fn noise(&self) -> Option<String> {
        let mut all = self.last_noise.clone();
        all.extend_from_slice(&self.buffer);
        let text = printable(&all);
        (!text.is_empty()).then_some(text)
    }
}

fn within_noise(host: &str, bytes: usize) -> Result<(), Problem> {
    if bytes <= NOISE_BYTES_MAX {
        return Ok(());
    }
    Err(Problem::new(
        "delivery.noise",
        format!(
            "the login shell of {host} wrote more than {} KiB before anything of ours",
            NOISE_BYTES_MAX / 1024
        ),
    )
    .hint("let rc files of that account be silent for shells that are not interactive"))
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

fn find_last(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).rposition(|window| window == word)
}

fn text_after(line: &[u8], at: usize, word: &[u8]) -> String {
    String::from_utf8_lossy(line.get(at + word.len()..).unwrap_or_default()).into_owned()
}

/// Exactly the five words: what else begins like a probe is noise.
fn parse_probe(text: &str) -> Option<Probe> {
    let flag = |word: &str| match word {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [system, machine, reader, exact, gzip] = words.as_slice() else { return None };
    Some(Probe {
        // Shown to people, and a target wrote it.
        system: printable(system.as_bytes()),
        machine: printable(machine.as_bytes()),
        reader: (*reader).to_owned(),
        exact: flag(exact)?,
        gzip: flag(gzip)?,
    })
}

/// What the delivery line says when it cannot go on.
fn failure(host: &str, text: &str) -> Problem {
    let (word, detail) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let detail = printable(detail.as_bytes());
    match word {
        "arch" => Problem::new(
            OTHER_ARCH,
            format!("{host} is a {detail}, not the machine its stub was chosen for"),
        ),
        "reader" => Problem::new(
            "delivery.reader",
            format!("{host} has nothing that can read the stub: no head, dd, perl or python3"),
        )
        .hint("install one of them there, or install waft-stub and set `installed = PATH`"),
        "gzip" => Problem::new("delivery.gzip", format!("{host} has neither gzip nor python3 to unpack the stub"))
            .hint("install one of them there, or install waft-stub and set `installed = PATH`"),
        "short" => Problem::new("delivery.short", format!("{host} did not receive the whole stub")),
        "memfd" => Problem::new(
            "delivery.no_disk",
            format!("{host} cannot run the stub from memory alone ({detail}), and `no_disk` forbids a directory"),
        )
        .hint("a memfd takes perl or python3 there and vm.memfd_noexec below 2; else leave out `no_disk`, or use `installed`"),
        "dir" => Problem::new(
            "delivery.dir",
            format!("{host} has no directory where the stub could be written and executed; tried: {detail}"),
        )
        .hint("the directories are full, read-only or noexec; name another with `dir`, or use `installed`"),
        "write" => Problem::new("delivery.write", format!("{host} could not write the stub to {detail}"))
            .hint("name another directory with `dir`, or use `installed`"),
        _ => Problem::new("delivery.failed", format!("{host} could not start the stub: {}", printable(text.as_bytes()))),
    }
}

#[cfg(test)]
mod tests;
