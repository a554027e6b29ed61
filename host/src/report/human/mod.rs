//! A run for people.
//!
//! One target: its output as `ssh` would show it, unprefixed; raw where the stream is no terminal, escaped where it
//! is. An object that the task returns is laid out on a terminal. Nothing else on stdout; errors on stderr.
//!
//! Many targets: whole lines as they come, `web1 | text` for stdout, `web1 ! text` for stderr, `web1 # text` for the
//! task's log; at the end `web[01-03] = {...}` for returned objects, a table where equal results are one row, and a
//! line of totals.
//!
//! Of a dry run, stdout also has what would change: a line each, and with `--diff` the lines of text, for many targets
//! as `web1 ~ text`.
//!
//! Stdout takes what tasks wrote to stdout, and the table. Stderr takes what tasks wrote to stderr, progress,
//! errors and hints, and the totals.

mod changes;
mod fold;
mod lines;
mod live;
mod many;
mod one;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use waft_proto::envelope::WALLS;
use waft_proto::run::{Problem, Status};

use super::paint::{self, Paint};
use super::{Reporter, Terminal, Verbosity, Writer, escape, problem, units};
use crate::event::{Body, Call, Event, Progress, TargetResult, Traffic};
use fold::Fold;
use live::{Live, SharedWriter, lock};
use many::Many;
use one::One;

/// Different hints of one run that are shown; by then nobody reads them.
const HINTS_MAX: usize = 64;
/// Processes of a program that stay, which are named; of more, how many there are.
const STAYS_NAMED_MAX: usize = 8;

pub(super) struct Human {
    screen: Screen,
    verbosity: Verbosity,
    /// Where a target stands in `run_started`.
    places: HashMap<String, usize>,
    shape: Shape,
    fold: Fold,
    /// Each hint is shown once: fifty hosts have one reason.
    hints: BTreeSet<String>,
    /// What each target said last of its progress.
    far: HashMap<String, String>,
    finished: bool,
}

/// What the end of a run says of all its targets.
struct Totals<'a> {
    counts: &'a BTreeMap<Status, u64>,
    ms: u64,
    bytes: Traffic,
}

enum Shape {
    One(One),
    Many(Many),
}

/// Both streams, and the lines that move below them.
struct Screen {
    terminal: Terminal,
    out: Writer,
    err: SharedWriter,
    live: Option<Live>,
    /// Something is on stdout.
    used: bool,
    /// On the terminal, the cursor stands behind text of a task: a message of ours begins a new line.
    line_open: bool,
}

impl Screen {
    fn out(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.used = true;
        if self.terminal.stdout_tty {
            self.line_open = !bytes.ends_with(b"\n");
        }
        let out = &mut self.out;
        let mut write = || out.write_all(bytes).and_then(|()| out.flush());
        match &self.live {
            Some(live) if self.terminal.stdout_tty => live.suspend(write),
            _ => write(),
        }
    }

    /// Errors are dropped: there is no place left to say so.
    fn err(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.terminal.stderr_tty {
            self.line_open = !bytes.ends_with(b"\n");
        }
        let write = || {
            let mut err = lock(&self.err);
            let _ = err.write_all(bytes).and_then(|()| err.flush());
        };
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }

    /// Lines of our own on stderr.
    fn message(&mut self, text: &str) {
        if self.terminal.stderr_tty && self.line_open {
            self.err(b"\n");
        }
        self.err(text.as_bytes());
    }

    /// On a terminal, what follows begins a line.
    fn fresh_line(&mut self) -> io::Result<()> {
        if self.terminal.stdout_tty && self.line_open { self.out(b"\n") } else { Ok(()) }
    }

    fn ellipsis(&self) -> &'static str {
        escape::ellipsis(self.terminal.utf8)
    }
}

impl Human {
    pub(super) fn new(terminal: Terminal, verbosity: Verbosity, out: Writer, err: Writer) -> Human {
        Human {
            screen: Screen {
                terminal,
                out,
                err: Arc::new(Mutex::new(err)),
                live: None,
                used: false,
                line_open: false,
            },
            verbosity,
            places: HashMap::new(),
            shape: Shape::Many(Many::default()),
            fold: Fold::default(),
            hints: BTreeSet::new(),
            far: HashMap::new(),
            finished: false,
        }
    }

    fn started(&mut self, task: &str, targets: &[String], event: &Event) {
        self.places = targets.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        self.shape = match targets {
            [_] => Shape::One(One::new(self.screen.terminal)),
            _ => Shape::Many(Many::new(targets, self.screen.terminal)),
        };
        if self.screen.terminal.is_live() {
            self.screen.live = Live::start(self.screen.terminal, Arc::clone(&self.screen.err), targets.len());
        }
        if self.verbosity >= Verbosity(1) {
            let count = targets.len();
            let plural = if count == 1 { "" } else { "s" };
            let task = escape::cell(task);
            self.say(event, &format!("run {}: {task} on {count} target{plural}\n", event.run));
        }
    }

    /// A line of `-v` on stderr, with the time from `-vv` on.
    fn say(&mut self, event: &Event, line: &str) {
        let time = match self.verbosity {
            Verbosity(0 | 1) => String::new(),
            _ => format!("{} ", humantime::format_rfc3339_millis(event.time)),
        };
        let text =
            self.screen.terminal.stderr_paint().text(paint::QUIET, &format!("{time}{}", line.trim_end()));
        self.screen.message(&format!("{text}\n"));
    }

    fn result(&mut self, name: &str, result: &TargetResult, event: &Event) -> io::Result<()> {
        self.far.remove(name);
        let shown = match &mut self.shape {
            Shape::One(one) => one.result(&mut self.screen, result)?,
            Shape::Many(many) => many.result(&mut self.screen, name, result)?,
        };
        let place = self.places.get(name).copied().unwrap_or(usize::MAX);
        if let Some(live) = &self.screen.live {
            live.ended(place, result.status);
        }
        let ellipsis = self.screen.ellipsis();
        self.fold.add(place, &escape::cell(name), result, shown, ellipsis);
        let paint = self.screen.terminal.stderr_paint();
        if let Some(changes) = &result.changes {
            let open = !result.stdout.is_empty() && !result.stdout.ends_with(b"\n");
            if open && matches!(self.shape, Shape::One(_)) && !self.screen.terminal.stdout_tty {
                self.screen.out(b"\n")?;
            }
            self.dry(name, changes)?;
        }
        if !result.status.is_done() {
            let reason = fold::reason(result);
            let mut text = problem::of_target(name, result.status, &reason, paint);
            text.push_str(&self.hint_once(result.error().as_deref()));
            self.screen.message(&text);
        }
        for (cut, stream) in [(result.stdout_cut, "stdout"), (result.stderr_cut, "stderr")] {
            if cut {
                let cut =
                    Problem::new("output.truncated", format!("{stream} was cut at the limit of this run"))
                        .hint("raise the limit with --allow out:SIZE");
                self.warn(Some(name), &cut);
            }
        }
        if self.verbosity >= Verbosity(1) {
            self.say(event, &details(name, result));
        }
        Ok(())
    }

    /// Without live lines `-v` says what a target says of its progress, each time that it says something else.
    fn far(&mut self, name: &str, progress: &Progress, event: &Event) {
        let Some(text) = progress.text.as_ref().filter(|_| self.verbosity >= Verbosity(1)) else { return };
        if self.far.get(name) != Some(text) {
            self.far.insert(name.to_owned(), text.clone());
            self.say(event, &format!("{}: {}", escape::cell(name), escape::cell(text)));
        }
    }

    fn warn(&mut self, name: Option<&str>, note: &Problem) {
        let paint = self.screen.terminal.stderr_paint();
        let sentence = Problem { hint: None, ..note.clone() };
        let text = problem::warning(name, &sentence, paint) + &self.hint_once(Some(note));
        self.screen.message(&text);
    }

    fn hint_once(&mut self, problem: Option<&Problem>) -> String {
        let hint = problem.map(problem::hint).unwrap_or_default();
        let new = self.hints.len() < HINTS_MAX && self.hints.insert(hint.clone());
        if new { hint } else { String::new() }
    }

    /// Ends the live lines and shows the table, once.
    fn close(&mut self, totals: Option<Totals<'_>>) -> io::Result<()> {
        if std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        self.screen.live = None;
        let is_one = match &mut self.shape {
            Shape::One(_) => true,
            Shape::Many(many) => {
                // Targets that never came to a result, because the run broke off.
                many.flush(&mut self.screen)?;
                false
            }
        };
        let terminal = self.screen.terminal;
        if !is_one && !self.fold.is_empty() {
            let ellipsis = self.screen.ellipsis();
            let gap = if self.screen.used { "\n" } else { "" };
            let table = self.fold.render(terminal.stdout_columns(), terminal.stdout_paint(), ellipsis);
            self.screen.out(format!("{gap}{table}").as_bytes())?;
        }
        if let Some(Totals { counts, ms, bytes }) = totals
            && (!is_one || self.verbosity >= Verbosity(1))
        {
            let paint = terminal.stderr_paint();
            let summary = fold::summary(self.places.len(), counts, ms, bytes, paint);
            self.screen.message(&summary);
        }
        Ok(())
    }
}

impl Reporter for Human {
    fn event(&mut self, event: &Event) -> io::Result<()> {
        match (&event.body, event.target.as_deref()) {
            (Body::RunStarted { task, targets, .. }, _) => self.started(task, targets, event),
            (Body::TargetState { state }, Some(name)) => {
                if let (Some(live), Some(&place)) = (&self.screen.live, self.places.get(name)) {
                    live.state(place, name, *state);
                }
                if self.verbosity >= Verbosity(1) {
                    self.say(event, &format!("{}: {}", escape::cell(name), state.word()));
                }
            }
            (Body::Output { stream, bytes }, Some(name)) => match &mut self.shape {
                Shape::One(one) => one.output(&mut self.screen, *stream, bytes)?,
                Shape::Many(many) => many.output(&mut self.screen, name, *stream, bytes)?,
            },
            // Shown with the result, behind what the task wrote.
            (Body::Change(_), Some(_)) => {}
            (Body::Call(call), Some(name)) => {
                if self.verbosity >= Verbosity(2) {
                    self.say(event, &asked(name, call));
                }
            }
            (Body::Progress(progress), Some(name)) => match (&self.screen.live, self.places.get(name)) {
                (Some(live), Some(&place)) => live.progress(place, progress),
                (Some(_), None) => {}
                (None, _) => self.far(name, progress, event),
            },
            (Body::Result(result), Some(name)) => self.result(name, result, event)?,
            (Body::Note(note), name) => self.warn(name, note),
            (Body::RunFinished { counts, ms, bytes }, _) => {
                self.close(Some(Totals { counts, ms: *ms, bytes: *bytes }))?;
            }
            // These always concern a target; without one there is nothing that could be said about whom.
            (
                Body::TargetState { .. }
                | Body::Output { .. }
                | Body::Change(_)
                | Body::Call(_)
                | Body::Progress(_)
                | Body::Result(_),
                None,
            ) => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.close(None)
    }
}

/// What `-vv` says of a call: `web1: exec /usr/bin/id -u: ok in 3 ms`.
fn asked(name: &str, call: &Call) -> String {
    let name = escape::cell(name);
    if let Some(left_out) = call.left_out {
        return format!("{name}: {left_out} more calls, which were not recorded");
    }
    let what = escape::cell(format!("{} {}", call.call, call.subject).trim_end());
    let how = call.code.as_deref().map_or_else(|| "ok".to_owned(), escape::cell);
    let time = units::time(call.ms);
    format!("{name}: {what}: {how} in {time}{}", stays(call))
}

/// What a program left running: `; stays: nginx (pid 812), and 3 more`.
fn stays(call: &Call) -> String {
    let mut named: Vec<String> = call
        .stays
        .iter()
        .take(STAYS_NAMED_MAX)
        .map(|stayed| format!("{} (pid {})", escape::cell(&stayed.name), stayed.pid))
        .collect();
    let count = call.stay_count.unwrap_or_default().max(call.stays.len() as u64);
    let more = count.saturating_sub(named.len() as u64);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    if named.is_empty() { String::new() } else { format!("; stays: {}", named.join(", ")) }
}

/// What `-v` says of a result: `web1: ok in 1.2 s, exit code 0, 1.2 kB up, 3.0 kB down, policy none, walls all`.
fn details(name: &str, result: &TargetResult) -> String {
    let Traffic { up, down } = result.bytes;
    let mut out = format!("{}: {} in {}", escape::cell(name), result.status, units::time(result.ms));
    // Writing to a string does not fail.
    if let Some(code) = result.exit_code {
        let _ = write!(out, ", exit code {code}");
    }
    let policy = result.policy.word();
    let _ = write!(out, ", {} up, {} down, policy {policy}", units::size(up), units::size(down));
    if !matches!(result.status, Status::Unreachable) {
        let _ = write!(out, ", walls {}", escape::cell(&walls(&result.walls)));
    }
    out
}

/// The walls of an execution, or of a machine, for people: all, none, or those that are missing.
pub(crate) fn walls(standing: &[String]) -> String {
    let missing: Vec<&str> =
        WALLS.into_iter().filter(|wall| !standing.iter().any(|stands| stands == wall)).collect();
    match missing.len() {
        0 => "all".to_owned(),
        missing if missing == WALLS.len() => "none".to_owned(),
        _ => format!("without {}", missing.join(" ")),
    }
}

/// `name | `, coloured by what it marks.
fn prefix(out: &mut String, paint: Paint, style: anstyle::Style, name: &str, mark: char) {
    paint.push(out, style, &format!("{name} {mark}"));
    out.push(' ');
}

#[cfg(test)]
mod tests;
