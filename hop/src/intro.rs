//! The first bytes of a target's shell: noise of the login, then the answer of the delivery line, then the
//! stub's preamble. Pure: bytes in, what they mean out; any split of the bytes gives the same.

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
    noise: usize,
    last_noise: Vec<u8>,
}

const PROBE_WORD: &str = "WAFT1 ";
const FAIL_WORD: &str = "WAFT1-FAIL ";
/// A line longer than this is noise, bytes.
const LINE_BYTES_MAX: usize = 4096;

impl Intro {
    /// Adds bytes; call [`Intro::next`] until it gives nothing.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether the target has said by now that it cannot go on. Consumes nothing.
    pub fn check(&self, host: &str) -> Result<(), Problem> {
        let text = String::from_utf8_lossy(&self.buffer);
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            if let Some((_, why)) = line.split_once(FAIL_WORD) {
                return Err(failure(host, why));
            }
        }
        Ok(())
    }

    pub fn next(&mut self, host: &str) -> Result<Option<Said>, Problem> {
        loop {
            // The preamble begins with a line break of its own, so that it stands alone after any noise.
            if let Some(rest) = self.buffer.strip_prefix(PREAMBLE) {
                return Ok(Some(Said::Preamble(rest.to_vec())));
            }
            let marker = PREAMBLE.get(1..).unwrap_or_default();
            if let Some(rest) = self.buffer.strip_prefix(marker) {
                return Ok(Some(Said::Preamble(rest.to_vec())));
            }
            let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
                if self.buffer.len() > LINE_BYTES_MAX {
                    self.skip(self.buffer.len() - PREAMBLE.len());
                }
                return self.check_noise(host).map(|()| None);
            };
            // A line break that may be the preamble's own stays until more is here.
            if end == 0 && self.buffer.len() < PREAMBLE.len() && PREAMBLE.starts_with(&self.buffer) {
                return Ok(None);
            }
            let line = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default()).into_owned();
            let at = line.find(FAIL_WORD).or_else(|| line.find(PROBE_WORD));
            let word = at.and_then(|at| line.get(at..)).unwrap_or_default();
            // The last noise line may lack its line break, so the word is looked for anywhere in the line;
            // the break itself is left in place when the preamble may begin with it.
            let keep_break = usize::from(at.is_none() && end > 0);
            if let Some(text) = word.strip_prefix(FAIL_WORD) {
                return Err(failure(host, text));
            }
            if let Some(text) = word.strip_prefix(PROBE_WORD) {
                self.buffer.drain(..=end);
                match parse_probe(text) {
                    Some(probe) => return Ok(Some(Said::Probe(probe))),
                    None => continue,
                }
            }
            self.skip(end + 1 - keep_break);
            self.check_noise(host)?;
        }
    }

    fn skip(&mut self, bytes: usize) {
        let bytes = bytes.min(self.buffer.len());
        self.noise += bytes;
        self.last_noise.extend(self.buffer.drain(..bytes));
        let excess = self.last_noise.len().saturating_sub(LINE_BYTES_MAX);
        self.last_noise.drain(..excess);
    }

    fn check_noise(&self, host: &str) -> Result<(), Problem> {
        if self.noise <= NOISE_BYTES_MAX {
            return Ok(());
        }
        Err(Problem::new(
            "delivery.noise",
            format!("the login shell of {host} wrote {} bytes to stdout before anything of ours", self.noise),
        )
        .hint("let rc files of that account be silent for shells that are not interactive"))
    }

    /// What a login printed, for a message when nothing else explains an end.
    pub fn noise(&self) -> Option<String> {
        let mut all = self.last_noise.clone();
        all.extend_from_slice(&self.buffer);
        let text = printable(&all);
        (!text.is_empty()).then_some(text)
    }
}

fn parse_probe(text: &str) -> Option<Probe> {
    let mut words = text.split_whitespace();
    let probe = Probe {
        system: words.next()?.to_owned(),
        machine: words.next()?.to_owned(),
        reader: words.next()?.to_owned(),
        exact: words.next()? == "1",
        gzip: words.next()? == "1",
    };
    Some(probe)
}

/// What the delivery line says when it cannot go on.
fn failure(host: &str, text: &str) -> Problem {
    let (word, detail) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let detail = printable(detail.as_bytes());
    match word {
        "arch" => Problem::new(
            "delivery.arch",
            format!("{host} is a {detail}, not the machine its stub was chosen for"),
        ),
        "reader" => Problem::new(
            "delivery.reader",
            format!("{host} has nothing that can read the stub: no head, dd, perl or python3"),
        )
        .hint("install one of them there, or install waft-stub and set `installed = PATH`"),
        "gzip" => Problem::new("delivery.gzip", format!("{host} has no gzip, perl or python3 to unpack the stub")),
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
        _ => Problem::new("delivery.failed", format!("{host} could not start the stub: {}", printable(text.as_bytes()))),
    }
}
