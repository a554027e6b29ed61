//! Reading a log from its beginning: each line must name the hash of the one before it.

use super::line::{self, LINE_BYTES_MAX, Line, NOTHING};
use std::io::{self, BufRead, Read};
use waft_proto::id::Hash;

/// How a log is not what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Changed,
    Removed,
    Inserted,
    /// The same lines in another order.
    Moved,
    /// The last line has no end.
    Torn,
    /// A line that was known to be there is missing at the end.
    Cut,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Changed => "changed",
            Kind::Removed => "removed",
            Kind::Inserted => "inserted",
            Kind::Moved => "moved",
            Kind::Torn => "torn",
            Kind::Cut => "cut",
        }
    }
}

/// The first line that does not fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Defect {
    /// In the file, from 1.
    pub line: u64,
    pub kind: Kind,
    /// A sentence without its subject, which is the line.
    pub what: String,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walked {
    /// Lines from the beginning that fit.
    pub lines: u64,
    /// Lines torn by a crash and recorded as such; not among `lines`.
    pub torn: u64,
    /// The hash of the last line that fits.
    pub head: Hash,
    /// How many lines were added after the wanted hash.
    pub since: Option<u64>,
    pub defect: Option<Defect>,
}

/// One line as it stands in the file.
struct Raw {
    bytes: Vec<u8>,
    ended: bool,
}

struct Walk {
    walked: Walked,
    /// Of the last line that fits.
    seq: u64,
    wanted: Option<Hash>,
    /// A line that is missing where it should be: its `seq` and `prev`.
    missing: Option<(u64, Hash)>,
}

/// Reads a whole log. `each` is given every line that is whole in itself, also after the first that does not fit. `wanted` is a head that was told before.
pub fn walk(
    log: impl Read,
    wanted: Option<Hash>,
    each: &mut dyn FnMut(&Line) -> io::Result<()>,
) -> io::Result<Walked> {
    let mut reader = io::BufReader::new(log);
    let mut walk = Walk {
        walked: Walked {
            lines: 0,
            torn: 0,
            head: NOTHING,
            since: (wanted == Some(NOTHING)).then_some(0),
            defect: None,
        },
        seq: 0,
        wanted,
        missing: None,
    };
    let mut number = 0;
    let mut next = read_line(&mut reader)?;
    while let Some(raw) = next {
        number += 1;
        if !raw.ended && raw.bytes.len() > LINE_BYTES_MAX {
            walk.fault(number, Kind::Changed, "is longer than any line".to_owned());
            break;
        }
        next = read_line(&mut reader)?;
        walk.take(number, &raw, next.as_ref(), each)?;
    }
    if let Some(wanted) = wanted.filter(|_| walk.walked.since.is_none() && walk.walked.defect.is_none()) {
        let what = format!(
            "is missing: no line has the hash {wanted}, so lines were cut from the end, or the log is another one"
        );
        walk.fault(number + 1, Kind::Cut, what);
    }
    Ok(walk.walked)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Raw>> {
    let mut bytes = Vec::new();
    reader.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
    let ended = bytes.pop_if(|last| *last == b'\n').is_some();
    Ok((ended || !bytes.is_empty()).then_some(Raw { bytes, ended }))
}

impl Walk {
    fn fault(&mut self, line: u64, kind: Kind, what: String) {
        self.walked.defect.get_or_insert(Defect { line, kind, what });
    }

    fn take(
        &mut self,
        number: u64,
        raw: &Raw,
        next: Option<&Raw>,
        each: &mut dyn FnMut(&Line) -> io::Result<()>,
    ) -> io::Result<()> {
        let parsed = if raw.ended { line::parse(&raw.bytes) } else { Err("it has no line end") };
        if self.walked.defect.is_some() {
            let Ok(line) = parsed else { return Ok(()) };
            if self.missing == Some((line.seq, line.prev)) {
                self.misplaced(number);
            }
            return each(&line);
        }
        match parsed {
            Ok(line) if line.seq == self.seq + 1 && line.prev == self.walked.head => {
                self.seq = line.seq;
                self.walked.lines += 1;
                self.walked.head = line.hash;
                match &mut self.walked.since {
                    Some(since) => *since += 1,
                    None if self.wanted == Some(line.hash) => self.walked.since = Some(0),
                    None => {}
                }
                return each(&line);
            }
            Ok(line) => {
                self.unfit(number, &line);
                return each(&line);
            }
            Err(why) => self.unreadable(number, raw, why, next),
        }
        Ok(())
    }

    /// The line is nothing that waft has written as a whole.
    fn unreadable(&mut self, number: u64, raw: &Raw, why: &str, next: Option<&Raw>) {
        let next = next.filter(|next| next.ended).and_then(|next| line::parse(&next.bytes).ok());
        let next = next.filter(|next| next.seq == self.seq + 1 && next.prev == self.walked.head);
        match next {
            Some(next) if line::is_torn(&next, &raw.bytes) => self.walked.torn += 1,
            Some(_) => self.fault(number, Kind::Inserted, format!("was inserted: {why}")),
            None if raw.ended => self.fault(number, Kind::Changed, format!("was changed: {why}")),
            None => {
                let what = format!(
                    "is torn ({} bytes without a line end): a crash, or the log was cut there; the next run records it",
                    raw.bytes.len()
                );
                self.fault(number, Kind::Torn, what);
            }
        }
    }

    /// The line is whole, and not the one that belongs here.
    fn unfit(&mut self, number: u64, line: &Line) {
        let due = self.seq + 1;
        let (kind, what) = match line.seq {
            seq if seq > due => {
                self.missing = Some((due, self.walked.head));
                let count = seq - due;
                let lines = if count == 1 { "line is" } else { "lines are" };
                (
                    Kind::Removed,
                    format!("has seq {seq}: {count} {lines} missing before it, from seq {due} on"),
                )
            }
            seq if seq < due => (
                Kind::Inserted,
                format!("has seq {seq} where {due} is due: it or a line before it was inserted"),
            ),
            seq => (
                Kind::Changed,
                format!(
                    "has the right seq {seq}, but was written after another line: the one before it was changed"
                ),
            ),
        };
        self.fault(number, kind, what);
    }

    /// What was missing is there after all, at another place.
    fn misplaced(&mut self, number: u64) {
        self.missing = None;
        if let Some(defect) = &mut self.walked.defect {
            defect.kind = Kind::Moved;
            defect.what = format!("is out of order: the one that belongs there is line {number}");
        }
    }
}
