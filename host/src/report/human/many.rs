//! The output of many targets at once: whole lines, each with its target's name.

use std::collections::BTreeMap;
use std::io;

use unicode_width::UnicodeWidthStr;

use super::lines::{Hold, Lines};
use super::{Screen, prefix};
use crate::event::{Stream, TargetResult};
use crate::report::paint::{self, Paint};
use crate::report::{Terminal, escape};

/// Columns that short names are filled up to, so that lines begin below each other. By eye.
const NAME_COLUMNS_MAX: usize = 20;

#[derive(Default)]
pub(super) struct Many {
    targets: BTreeMap<String, Target>,
    /// Columns of a name on a terminal; 0 elsewhere, where programs read.
    name_columns: usize,
}

#[derive(Default)]
struct Target {
    label: String,
    hold: Hold,
    out: Lines,
    err: Lines,
    log: Lines,
}

impl Many {
    pub(super) fn new(targets: &[String], terminal: Terminal) -> Many {
        let widest = targets.iter().map(|name| escape::cell(name).width()).max().unwrap_or(0);
        let name_columns = if terminal.stdout_tty { widest.min(NAME_COLUMNS_MAX) } else { 0 };
        Many { targets: BTreeMap::new(), name_columns }
    }

    pub(super) fn output(
        &mut self,
        screen: &mut Screen,
        name: &str,
        stream: Stream,
        bytes: &[u8],
    ) -> io::Result<()> {
        let target = match self.targets.get_mut(name) {
            Some(target) => target,
            None => {
                let target = Target { label: label(name, self.name_columns), ..Target::default() };
                self.targets.entry(name.to_owned()).or_insert(target)
            }
        };
        target.output(screen, stream, bytes)
    }

    /// Shows what is left; says whether stdout was shown, so that the result would repeat it.
    pub(super) fn result(
        &mut self,
        screen: &mut Screen,
        name: &str,
        result: &TargetResult,
    ) -> io::Result<bool> {
        // The target is done: its buffers go.
        let Some(mut target) = self.targets.remove(name) else { return Ok(false) };
        let has_view = result.result.is_some() && target.hold.has_all();
        target.flush(screen, if has_view { Held::Drop } else { Held::Show })?;
        Ok(!has_view)
    }

    pub(super) fn flush(&mut self, screen: &mut Screen) -> io::Result<()> {
        for mut target in std::mem::take(&mut self.targets).into_values() {
            target.flush(screen, Held::Show)?;
        }
        Ok(())
    }
}

/// What becomes of stdout that waited for its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Show,
    /// The result shows it.
    Drop,
}

impl Target {
    fn output(&mut self, screen: &mut Screen, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let ellipsis = screen.ellipsis();
        let mut text = String::new();
        let paint = paint_of(screen.terminal, stream);
        let label = &self.label;
        let mut each = |line: &str| push_line(&mut text, paint, label, stream, line);
        match stream {
            Stream::Stdout => self.out.push(&self.hold.push(bytes), ellipsis, &mut each),
            Stream::Stderr => self.err.push(bytes, ellipsis, &mut each),
            Stream::Log => self.log.push(bytes, ellipsis, &mut each),
            // Records are no text for people.
            Stream::Progress | Stream::Change | Stream::Call => return Ok(()),
        }
        show(screen, stream, &text)
    }

    fn flush(&mut self, screen: &mut Screen, held: Held) -> io::Result<()> {
        let ellipsis = screen.ellipsis();
        let rest = self.hold.release();
        if held == Held::Show {
            // Released: it passes the hold now.
            self.output(screen, Stream::Stdout, &rest)?;
        }
        for (stream, last) in [
            (Stream::Stdout, self.out.finish(ellipsis)),
            (Stream::Stderr, self.err.finish(ellipsis)),
            (Stream::Log, self.log.finish(ellipsis)),
        ] {
            let Some(line) = last else { continue };
            let mut text = String::new();
            push_line(&mut text, paint_of(screen.terminal, stream), &self.label, stream, &line);
            show(screen, stream, &text)?;
        }
        Ok(())
    }
}

fn label(name: &str, columns: usize) -> String {
    let mut label = escape::cell(name);
    label.extend(std::iter::repeat_n(' ', columns.saturating_sub(label.width())));
    label
}

fn paint_of(terminal: Terminal, stream: Stream) -> Paint {
    if stream == Stream::Stdout { terminal.stdout_paint() } else { terminal.stderr_paint() }
}

fn push_line(out: &mut String, paint: Paint, label: &str, stream: Stream, line: &str) {
    let (style, mark) = match stream {
        Stream::Stdout => (paint::STDOUT, '|'),
        Stream::Stderr => (paint::STDERR, '!'),
        _ => (paint::LOG, '#'),
    };
    prefix(out, paint, style, label, mark);
    out.push_str(line);
    out.push('\n');
}

fn show(screen: &mut Screen, stream: Stream, text: &str) -> io::Result<()> {
    match stream {
        Stream::Stdout => screen.out(text.as_bytes()),
        _ => {
            screen.err(text.as_bytes());
            Ok(())
        }
    }
}
