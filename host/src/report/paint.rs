//! Colour, or none. Styles are few and named by what they mean, so that they stay the same everywhere.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use waft_proto::run::Status;

pub const PLAIN: Style = Style::new();
pub const STDOUT: Style = AnsiColor::Cyan.on_default();
pub const STDERR: Style = AnsiColor::Yellow.on_default();
pub const LOG: Style = Style::new().dimmed();
pub const HEADER: Style = Style::new().bold();
pub const GOOD: Style = AnsiColor::Green.on_default();
pub const CHANGED: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const QUIET: Style = Style::new().dimmed();

pub fn of_status(status: Status) -> Style {
    match status {
        Status::Ok => GOOD,
        Status::Changed => CHANGED,
        Status::Skipped => QUIET,
        _ => BAD,
    }
}

/// Whether a stream gets control sequences for colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paint {
    Plain,
    Color,
}

impl Paint {
    pub fn push(self, out: &mut String, style: Style, text: &str) {
        if self == Paint::Color && style != PLAIN && !text.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(out, "{style}{text}{style:#}");
        } else {
            out.push_str(text);
        }
    }

    pub fn text(self, style: Style, text: &str) -> String {
        let mut out = String::new();
        self.push(&mut out, style, text);
        out
    }
}
