//! What a run looks like: the only part of the library that prints. It reads events and knows nothing of links,
//! plans or the inventory.
//!
//! Three readers of the same events: for people (`human`), a line per event for programs (`jsonl`), and an array of
//! results (`json`). What belongs to the task goes to stdout; progress, errors and hints go to stderr.
//!
//! Everything that comes from a target is hostile until it went through [`escape`]. The one exception is wanted: the
//! output of a single host passes unchanged when the stream it goes to is no terminal, as with `ssh`.
//!
//! **Errors.** A failed write to stdout is returned by [`Reporter::event`], and the caller should then stop the run;
//! when [`is_closed_pipe`] says that the reader simply went away (`| head`), it does so without a message. Writes to
//! stderr that fail are dropped: nobody is left to tell, and the run is worth more than its progress line.

pub mod escape;
mod human;
pub mod json;
pub mod names;
pub mod page;
pub mod paint;
pub mod pretty;
pub mod problem;
pub mod table;
pub mod terminal;
pub mod tree;
pub mod units;

use std::io;

use waft_proto::run::Status;

use crate::event::Event;
pub(crate) use human::walls;
pub use terminal::Terminal;

/// Where a reporter writes.
pub type Writer = Box<dyn io::Write + Send>;

/// A reader of one run's events.
pub trait Reporter {
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Writes what was held back and leaves the terminal as it was found. To be called once at the end, however
    /// the run ended; dropping a reporter only takes its live lines away.
    fn finish(&mut self) -> io::Result<()>;
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    #[default]
    Human,
    JsonLines,
    Json,
}

impl Format {
    pub const ALL: [Format; 3] = [Format::Human, Format::JsonLines, Format::Json];

    /// As `--format` takes it.
    pub fn word(self) -> &'static str {
        match self {
            Format::Human => "human",
            Format::JsonLines => "jsonl",
            Format::Json => "json",
        }
    }

    pub fn parse(word: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.word() == word)
    }
}

/// How much is said: the number of `-v`. From 1 on each state is a line, and each result has its walls, policy and
/// bytes; from 2 on such lines begin with the time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Verbosity(pub u8);

/// A reporter on the process's own stdout and stderr.
pub fn reporter(format: Format, terminal: Terminal, verbosity: Verbosity) -> Box<dyn Reporter + Send> {
    reporter_to(format, terminal, verbosity, Box::new(io::stdout()), Box::new(io::stderr()))
}

pub fn reporter_to(
    format: Format,
    terminal: Terminal,
    verbosity: Verbosity,
    out: Writer,
    err: Writer,
) -> Box<dyn Reporter + Send> {
    match format {
        Format::Human => Box::new(human::Human::new(terminal, verbosity, out, err)),
        Format::JsonLines => Box::new(json::JsonLines { out, err }),
        Format::Json => Box::new(json::JsonArray::new(out, err)),
    }
}

/// The reader of our stdout went away. No reason to complain.
pub fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// The exit code of `waft` for a run. A fault of our own (1) and bad usage (2) are not statuses: the caller knows.
pub fn exit_code(statuses: impl IntoIterator<Item = Status>) -> u8 {
    // Which of several counts: what the operator did, then what kept us from knowing, then refusals, then failures
    // that the task itself reported.
    const WEIGHT: [u8; 5] = [0, 3, 5, 4, 130];
    let weight = |code: &u8| WEIGHT.iter().position(|known| known == code);
    statuses.into_iter().map(Status::exit_code).max_by_key(weight).unwrap_or(0)
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_status_decides() {
        for (statuses, code) in [
            (&[][..], 0),
            (&[Status::Ok, Status::Changed, Status::Skipped], 0),
            (&[Status::Ok, Status::Failed], 3),
            (&[Status::TimedOut], 3),
            (&[Status::Failed, Status::Refused], 5),
            (&[Status::Refused, Status::Lost], 4),
            (&[Status::Refused, Status::Unreachable, Status::Failed], 4),
            (&[Status::Cancelled, Status::Unreachable, Status::Refused, Status::Failed], 130),
        ] {
            assert_eq!(exit_code(statuses.iter().copied()), code, "{statuses:?}");
            assert_eq!(exit_code(statuses.iter().rev().copied()), code, "{statuses:?} backwards");
        }
    }

    #[test]
    fn every_status_has_a_weight() {
        // A code without a weight would count less than success.
        for status in Status::ALL {
            assert_eq!(exit_code([Status::Ok, status]), status.exit_code());
        }
    }

    #[test]
    fn formats_have_one_word_each() {
        for format in Format::ALL {
            assert_eq!(Format::parse(format.word()), Some(format));
        }
        assert_eq!(Format::parse("yaml"), None);
    }
}
