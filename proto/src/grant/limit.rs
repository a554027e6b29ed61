//! Limits: sizes in bytes, durations in milliseconds, numbers.

use super::Wanted;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// Suffix and factor, largest first.
const SIZES: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
const DURATIONS_MS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// One limit of an execution.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Limit {
    /// Memory of the guest, bytes.
    Mem(u64),
    /// Output, each stream by itself, so that a chatty log does not cost a task its result; bytes.
    Out(u64),
    /// What may be written to files, bytes.
    Disk(u64),
    /// Running time, milliseconds.
    Time(u64),
    /// Processor time, milliseconds.
    Cpu(u64),
    /// Open files.
    Files(u64),
    /// Programs at one time.
    Procs(u64),
}

impl Limit {
    pub(super) fn read(kind: &str, text: &str) -> Result<Limit, Wanted> {
        let size =
            || parse_size_bytes(text).map_err(|expected| Wanted::new(expected).hint("for example `64M`"));
        let time =
            || parse_duration_ms(text).map_err(|expected| Wanted::new(expected).hint("for example `30s`"));
        let number = || {
            whole(text).ok_or_else(|| Wanted::new("a whole number").hint(format!("for example `{kind}:64`")))
        };
        let limit = match kind {
            "mem" => Limit::Mem(size()?),
            "out" => Limit::Out(size()?),
            "disk" => Limit::Disk(size()?),
            "time" => Limit::Time(time()?),
            "cpu" => Limit::Cpu(time()?),
            "files" => Limit::Files(number()?),
            _ => Limit::Procs(number()?),
        };
        match limit {
            // With none of these nothing can run at all: a mistake, and not a wish.
            Limit::Mem(0) | Limit::Time(0) | Limit::Cpu(0) => Err(Wanted::new("more than nothing")),
            limit => Ok(limit),
        }
    }

    pub(super) fn covers(self, other: Limit) -> bool {
        match (self, other) {
            (Limit::Mem(most), Limit::Mem(wanted))
            | (Limit::Out(most), Limit::Out(wanted))
            | (Limit::Disk(most), Limit::Disk(wanted))
            | (Limit::Time(most), Limit::Time(wanted))
            | (Limit::Cpu(most), Limit::Cpu(wanted))
            | (Limit::Files(most), Limit::Files(wanted))
            | (Limit::Procs(most), Limit::Procs(wanted)) => wanted <= most,
            _ => false,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Limit::Mem(bytes) => write!(f, "mem:{}", print_size_bytes(bytes)),
            Limit::Out(bytes) => write!(f, "out:{}", print_size_bytes(bytes)),
            Limit::Disk(bytes) => write!(f, "disk:{}", print_size_bytes(bytes)),
            Limit::Time(ms) => write!(f, "time:{}", print_duration_ms(ms)),
            Limit::Cpu(ms) => write!(f, "cpu:{}", print_duration_ms(ms)),
            Limit::Files(number) => write!(f, "files:{number}"),
            Limit::Procs(number) => write!(f, "procs:{number}"),
        }
    }
}

/// All limits of a set; `None` is "not limited by this set".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    pub mem_bytes: Option<u64>,
    pub out_bytes: Option<u64>,
    pub disk_bytes: Option<u64>,
    pub time_ms: Option<u64>,
    pub cpu_ms: Option<u64>,
    pub files: Option<u64>,
    pub procs: Option<u64>,
}

impl Limits {
    /// Adds a limit; the smaller of two counts.
    pub fn add(&mut self, limit: Limit) {
        let (slot, value) = match limit {
            Limit::Mem(bytes) => (&mut self.mem_bytes, bytes),
            Limit::Out(bytes) => (&mut self.out_bytes, bytes),
            Limit::Disk(bytes) => (&mut self.disk_bytes, bytes),
            Limit::Time(ms) => (&mut self.time_ms, ms),
            Limit::Cpu(ms) => (&mut self.cpu_ms, ms),
            Limit::Files(number) => (&mut self.files, number),
            Limit::Procs(number) => (&mut self.procs, number),
        };
        *slot = Some(slot.map_or(value, |old| old.min(value)));
    }

    pub fn iter(&self) -> impl Iterator<Item = Limit> + use<> {
        [
            self.mem_bytes.map(Limit::Mem),
            self.out_bytes.map(Limit::Out),
            self.disk_bytes.map(Limit::Disk),
            self.time_ms.map(Limit::Time),
            self.cpu_ms.map(Limit::Cpu),
            self.files.map(Limit::Files),
            self.procs.map(Limit::Procs),
        ]
        .into_iter()
        .flatten()
    }
}

/// Bytes from `512K`, `64M`, `1G`, `2T` (powers of 1024) or a plain number of bytes. The error says what was
/// expected.
pub fn parse_size_bytes(text: &str) -> Result<u64, String> {
    let (digits, factor) = SIZES
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .unwrap_or((text, 1));
    let number = whole(digits).ok_or("a size: a whole number of bytes, or with K, M, G or T")?;
    number.checked_mul(factor).ok_or_else(|| format!("a size of at most {} bytes", u64::MAX))
}

/// Milliseconds from `250ms`, `30s`, `5m` or `1h`. The unit must be there. The error says what was expected.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = DURATIONS_MS.iter().find(|(known, _)| *known == unit).map(|(_, factor)| *factor);
    let (Some(number), Some(factor)) = (whole(digits), factor) else {
        return Err("a duration: a whole number and one of ms, s, m, h".into());
    };
    number.checked_mul(factor).ok_or_else(|| format!("a duration of at most {} ms", u64::MAX))
}

/// The shortest text that [`parse_size_bytes`] reads as this many bytes.
pub fn print_size_bytes(bytes: u64) -> String {
    match SIZES.iter().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}"),
    }
}

/// The shortest text that [`parse_duration_ms`] reads as this many milliseconds.
pub fn print_duration_ms(ms: u64) -> String {
    match DURATIONS_MS.iter().find(|(_, factor)| ms != 0 && ms.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", ms / factor),
        None => format!("{ms}ms"),
    }
}

/// A decimal number of digits only: `str::parse` also takes a plus sign.
fn whole(digits: &str) -> Option<u64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}
