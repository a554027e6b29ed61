//! Questions to whoever sits at the terminal: one at a time for the whole program, because there is one terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::escape;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

const TERMINAL: &str = "/dev/tty";

/// What draws on the terminal, and must not while a question stands there.
pub trait Stage: Send + Sync {
    fn leave(&self);
    fn come_back(&self);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Echo {
    Shown,
    Hidden,
}

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static STAGE: Mutex<Option<Weak<dyn Stage>>> = Mutex::new(None);
static CLOCK: Mutex<Clock> = Mutex::new(Clock { spent: Duration::ZERO, since: None });

/// How long questions have stood on the terminal.
struct Clock {
    spent: Duration,
    since: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on this is asked to leave before a question.
pub fn draws(stage: Weak<dyn Stage>) {
    *lock(&STAGE) = Some(stage);
}

/// Time for which questions stood on the terminal until now: deadlines of logins do not run meanwhile.
pub fn time_asked() -> Duration {
    let clock = lock(&CLOCK);
    clock.spent + clock.since.map_or(Duration::ZERO, |since| since.elapsed())
}

/// Whether there is anybody to ask.
pub fn is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The answer without its line end; `None` when there is no terminal, or nothing was to be read.
///
/// Dropped before the answer came (Ctrl-C), it leaves the terminal as it was.
pub async fn ask(question: &str, echo: Echo) -> Option<String> {
    if !is_there() {
        return None;
    }
    let _turn = TURN.lock().await;
    let _asking = Asking::begin(echo);
    let question = clean(question);
    let (answer, answered) = tokio::sync::oneshot::channel();
    // A thread of its own: it may still wait for a line when the program wants to end.
    let work = move || {
        let said = match echo {
            Echo::Hidden => rpassword::prompt_password(question),
            Echo::Shown => read_line(&question),
        };
        match said {
            // Ctrl-C has become a signal as well, and what that ends must not go on with no answer before it does.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => std::mem::forget(answer),
            said => {
                let _ = answer.send(said.ok());
            }
        }
    };
    thread::Builder::new().name("question".to_owned()).spawn(work).ok()?;
    answered.await.ok().flatten()
}

/// A server may have worded it.
fn clean(question: &str) -> String {
    question.chars().filter(|c| !escape::is_hostile(*c) || *c == '\n').collect()
}

fn read_line(question: &str) -> std::io::Result<String> {
    let mut terminal = File::options().read(true).write(true).open(TERMINAL)?;
    terminal.write_all(question.as_bytes())?;
    let mut line = String::new();
    BufReader::new(terminal).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// While it lives, the terminal belongs to the question.
struct Asking {
    stage: Option<Weak<dyn Stage>>,
    before: Option<(File, Termios)>,
}

impl Asking {
    fn begin(echo: Echo) -> Asking {
        let stage = lock(&STAGE).clone();
        if let Some(stage) = stage.as_ref().and_then(Weak::upgrade) {
            stage.leave();
        }
        lock(&CLOCK).since = Some(Instant::now());
        let terminal = File::options().read(true).write(true).open(TERMINAL).ok();
        let before = terminal.and_then(|file| tcgetattr(&file).ok().map(|modes| (file, modes)));
        if let (Echo::Hidden, Some((terminal, modes))) = (echo, &before) {
            // Before the question is seen: who answers at once would else be shown what he types.
            let mut hidden = modes.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            hidden.local_modes.insert(LocalModes::ECHONL);
            let _ = tcsetattr(terminal, OptionalActions::Now, &hidden);
        }
        Asking { stage, before }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some((terminal, modes)) = &self.before {
            // The echo, if the answer never came.
            let _ = tcsetattr(terminal, OptionalActions::Now, modes);
        }
        let spent = time_asked();
        *lock(&CLOCK) = Clock { spent, since: None };
        if let Some(stage) = self.stage.as_ref().and_then(Weak::upgrade) {
            stage.come_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn a_question_cannot_move_the_cursor_or_turn_text_around() {
        assert_eq!(clean("\u{1b}[2JPassword\r:\u{9b} "), "[2JPassword: ");
        assert_eq!(clean("host \u{202e}moc.live\u{2066}\u{200b}? "), "host moc.live? ");
    }
}
