//! The audit log: who ran what, from where, on which targets, with which grants, and how it ended.
//!
//! Each line is one JSON object that names the hash of the line before it, so that a line which was changed, removed
//! or inserted later shows; docs/operators.md has the format to the byte. Parameters, output and environment are not
//! in it, at most their hashes: they may be secret.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@line`] | one line: its bytes and its hash |
//! | [`log`] | the file: appends whole lines, also when several processes do |
//! | [`chain`] | reads a log and says what does not fit |

pub mod chain;
pub mod line;
pub mod log;

pub use chain::{Defect, Kind, Walked, walk};
pub use line::Line;
pub use log::Log;

#[cfg(test)]
mod tests;
