//! Lines that move while a run goes on: what runs now, and how far the run is. Only on a terminal, on stderr.
//!
//! They are always the last lines: they are taken away before anything else is printed, and put back below it. Between
//! two events a thread turns the spinners; it lives no longer than [`Live`].
//!
//! Drawn by hand, because indicatif fills each line up to the terminal's edge: a window that is made narrower then
//! wraps them all, and pieces stay behind (tried in tmux). Ours end where their text ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use waft_proto::run::{Status, TargetState};

use crate::event::Progress;
use crate::operator::{self, Stage};
use crate::report::{Terminal, Writer, escape, units};

/// Between two pictures. Ten a second look alive and cost little on a slow line.
const TICK: Duration = Duration::from_millis(100);
/// Hosts that have a line, on a terminal of any height. By eye.
const HOSTS_MAX: usize = 10;
/// Lines of the terminal that stay free for output, and those below the hosts ("and 37 more", the totals).
const LINES_FREE: usize = 2;
const LINES_BELOW: usize = 2;

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const SPINNER_ASCII: [&str; 4] = ["|", "/", "-", "\\"];

/// The writer of stderr: the thread writes there too.
pub(super) type SharedWriter = Arc<Mutex<Writer>>;

/// A panic while one thread wrote leaves nothing worse than half a line.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Live {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Locks are taken in this order: the picture, then the writer.
struct Shared {
    terminal: Terminal,
    err: SharedWriter,
    picture: Mutex<Picture>,
    stop: Condvar,
}

struct Picture {
    board: Board,
    /// Lines that are on the screen now; the cursor stands at the end of the last one.
    drawn: usize,
    /// A question to the operator stands there.
    away: bool,
    stopped: bool,
}

impl Live {
    /// `None` when there is no thread to be had: then the run goes on without.
    pub(super) fn start(terminal: Terminal, err: SharedWriter, total: usize) -> Option<Live> {
        let board = Board::new(terminal.utf8, total, Instant::now());
        let picture = Mutex::new(Picture { board, drawn: 0, away: false, stopped: false });
        let shared = Arc::new(Shared { terminal, err, picture, stop: Condvar::new() });
        let stage: Arc<dyn Stage> = shared.clone();
        operator::draws(Arc::downgrade(&stage));
        let ticker = Arc::clone(&shared);
        let thread = thread::Builder::new().name("live lines".into()).spawn(move || ticker.tick()).ok()?;
        Some(Live { shared, thread: Some(thread) })
    }

    pub(super) fn state(&self, place: usize, name: &str, state: TargetState) {
        lock(&self.shared.picture).board.state(place, name, state, Instant::now());
    }

    pub(super) fn progress(&self, place: usize, progress: &Progress) {
        lock(&self.shared.picture).board.progress(place, progress);
    }

    pub(super) fn ended(&self, place: usize, status: Status) {
        lock(&self.shared.picture).board.ended(place, status);
    }

    /// Runs `during` with the lines away and nothing drawn.
    pub(super) fn suspend<R>(&self, during: impl FnOnce() -> R) -> R {
        let mut picture = lock(&self.shared.picture);
        self.shared.show(picture.erase());
        let done = during();
        self.shared.redraw(&mut picture);
        done
    }
}

impl Drop for Live {
    /// However the run ends, no line stays behind.
    fn drop(&mut self) {
        lock(&self.shared.picture).stopped = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            // It wakes at once; should it have panicked, there is still a screen to clean.
            let _ = thread.join();
        }
        self.shared.show(lock(&self.shared.picture).erase());
    }
}

impl Stage for Shared {
    fn leave(&self) {
        let mut picture = lock(&self.picture);
        self.show(picture.erase());
        picture.away = true;
    }

    fn come_back(&self) {
        lock(&self.picture).away = false;
    }
}

impl Shared {
    fn tick(&self) {
        let mut picture = lock(&self.picture);
        while !picture.stopped {
            self.redraw(&mut picture);
            (picture, _) = self.stop.wait_timeout(picture, TICK).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn redraw(&self, picture: &mut Picture) {
        if picture.away {
            return;
        }
        let (columns, rows) = self.terminal.size_now();
        let lines = picture.board.lines(Instant::now(), usize::from(columns), usize::from(rows));
        let mut text = picture.erase();
        // With the carriage return: a question to the operator may have changed the terminal's mode.
        text.push_str(&lines.join("\r\n"));
        picture.drawn = lines.len();
        self.show(text);
    }

    /// One picture is one write: nothing is seen half drawn. When stderr is gone there is nobody to tell.
    fn show(&self, text: String) {
        let mut err = lock(&self.err);
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

impl Picture {
    /// What takes the lines away and leaves the cursor where the first of them began.
    ///
    /// Line by line from below: "erase to the end of the screen" makes tmux keep a copy in its history when the lines
    /// began at the top.
    fn erase(&mut self) -> String {
        let lines = vec!["\r\u{1b}[K"; std::mem::take(&mut self.drawn)];
        lines.join("\u{1b}[A")
    }
}

/// What the lines say. Knows no terminal, so that it can be looked at.
struct Board {
    utf8: bool,
    total: usize,
    begun: Instant,
    running: BTreeMap<usize, Running>,
    done: usize,
    bad: usize,
}

struct Running {
    name: String,
    state: TargetState,
    since: Instant,
    /// How far its task is, in its own words.
    far: String,
}

impl Board {
    fn new(utf8: bool, total: usize, begun: Instant) -> Board {
        Board { utf8, total, begun, running: BTreeMap::new(), done: 0, bad: 0 }
    }

    fn state(&mut self, place: usize, name: &str, state: TargetState, now: Instant) {
        if state != TargetState::Selected {
            self.running
                .insert(place, Running { name: escape::cell(name), state, since: now, far: String::new() });
        }
    }

    fn progress(&mut self, place: usize, progress: &Progress) {
        let Some(running) = self.running.get_mut(&place) else { return };
        running.far = match progress.total {
            Some(total) => format!("  {} of {total}", progress.done),
            None => format!("  {}", progress.done),
        };
        if let Some(text) = &progress.text {
            running.far.push_str("  ");
            running.far.push_str(&escape::cell(text));
        }
    }

    fn ended(&mut self, place: usize, status: Status) {
        self.running.remove(&place);
        self.done += 1;
        self.bad += usize::from(!status.is_done());
    }

    /// At most `rows - LINES_FREE` lines (but always one), each shorter than `columns`: a line that fills its row may or
    /// may not wrap, and a window that gets a little narrower should not break them all.
    fn lines(&self, now: Instant, columns: usize, rows: usize) -> Vec<String> {
        let ellipsis = escape::ellipsis(self.utf8);
        let frames: &[&str] = if self.utf8 { &SPINNER } else { &SPINNER_ASCII };
        let ticks = now.duration_since(self.begun).as_millis() / TICK.as_millis();
        let frame = frames.get(ticks as usize % frames.len()).copied().unwrap_or_default();
        let room = rows.saturating_sub(LINES_FREE + LINES_BELOW).min(HOSTS_MAX);
        let mut lines: Vec<String> = self.running.values().take(room).map(|r| r.line(frame, now)).collect();
        let hidden = self.running.len() - lines.len();
        if hidden > 0 && room > 0 {
            lines.push(format!("... and {hidden} more"));
        }
        if self.total > 1 || lines.is_empty() {
            lines.push(self.totals(frame, now));
        }
        let width = columns.saturating_sub(1);
        lines.into_iter().map(|line| escape::fit(&line, width, ellipsis).into_owned()).collect()
    }

    fn totals(&self, frame: &str, now: Instant) -> String {
        let mut out = format!("{frame} {} of {} done", self.done, self.total);
        // Writing to a string does not fail.
        if self.bad > 0 {
            let _ = write!(out, ", {} not well", self.bad);
        }
        let _ = write!(out, ", {}", elapsed(self.begun, now));
        out
    }
}

impl Running {
    fn line(&self, frame: &str, now: Instant) -> String {
        let Running { name, state, since, far } = self;
        format!("{frame} {name}  {}  {}{far}", state.word(), elapsed(*since, now))
    }
}

fn elapsed(since: Instant, now: Instant) -> String {
    // Tenths even below a second: "320 ms" would flicker.
    let ms = now.duration_since(since).as_millis().try_into().unwrap_or(u64::MAX);
    if ms < 1000 { format!("0.{} s", ms / 100) } else { units::time(ms) }
}

#[cfg(test)]
mod tests;
