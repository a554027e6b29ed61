//! The output of a single target, as `ssh` would show it.

use std::io;

use super::Screen;
use super::lines::{Hold, Lines};
use crate::event::{Stream, TargetResult};
use crate::report::escape::Escaper;
use crate::report::{Terminal, paint, pretty};

/// Lines are not cut here: there is nothing they could be mixed up with, and `waft exec HOST -- cat FILE` is meant.
pub(super) struct One {
    terminal: Terminal,
    hold: Hold,
    out: Escaper,
    err: Escaper,
    log: Lines,
}

impl One {
    pub(super) fn new(terminal: Terminal) -> One {
        One {
            terminal,
            hold: Hold::default(),
            out: Escaper::default(),
            err: Escaper::default(),
            log: Lines::default(),
        }
    }

    pub(super) fn output(&mut self, screen: &mut Screen, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout if !self.terminal.stdout_tty => {
                // Who reads the pipe may draw on the same terminal (a pager).
                screen.live = None;
                return screen.out(bytes);
            }
            Stream::Stdout => {
                let shown = self.hold.push(bytes);
                return self.escape_out(screen, &shown);
            }
            Stream::Stderr if !self.terminal.stderr_tty => screen.err(bytes),
            Stream::Stderr => {
                let text = self.err.push(bytes);
                show_err(screen, &text);
            }
            Stream::Log => {
                let mut text = String::new();
                self.log.push(bytes, screen.ellipsis(), |line| self.terminal.log_line(&mut text, line));
                show_log(screen, &text);
            }
            // Records are no text for people.
            Stream::Progress | Stream::Change | Stream::Call => {}
        }
        Ok(())
    }

    /// Shows what is left; says whether the result itself needs no more showing.
    pub(super) fn result(&mut self, screen: &mut Screen, result: &TargetResult) -> io::Result<bool> {
        let ellipsis = screen.ellipsis();
        let columns = usize::from(self.terminal.size_now().0);
        match &result.result {
            Some(value) if self.hold.has_all() => {
                screen.live = None;
                let lines = pretty::pretty(value, columns, ellipsis);
                screen.out(format!("{}\n", lines.join("\n")).as_bytes())?;
            }
            _ => {
                let rest = self.hold.release();
                self.escape_out(screen, &rest)?;
            }
        }
        let rest = self.out.finish();
        show_out(screen, &rest)?;
        let rest = self.err.finish();
        show_err(screen, &rest);
        if let Some(line) = self.log.finish(ellipsis) {
            let mut text = String::new();
            self.terminal.log_line(&mut text, &line);
            show_log(screen, &text);
        }
        Ok(true)
    }

    fn escape_out(&mut self, screen: &mut Screen, bytes: &[u8]) -> io::Result<()> {
        let text = self.out.push(bytes);
        show_out(screen, &text)
    }
}

// A line of the task may stay open for long (a progress of its own): from its first text on, nothing moves below it.

fn show_out(screen: &mut Screen, text: &str) -> io::Result<()> {
    if !text.is_empty() {
        screen.live = None;
    }
    screen.out(text.as_bytes())
}

fn show_err(screen: &mut Screen, text: &str) {
    if !text.is_empty() {
        screen.live = None;
    }
    screen.err(text.as_bytes());
}

fn show_log(screen: &mut Screen, text: &str) {
    if !text.is_empty() {
        screen.live = None;
        screen.message(text);
    }
}

impl Terminal {
    fn log_line(&self, out: &mut String, line: &str) {
        self.stderr_paint().push(out, paint::LOG, line);
        out.push('\n');
    }
}
