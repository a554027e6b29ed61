//! A program on a terminal, and somebody who types: by script(1), which every Debian has.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::process::{kill_trees, spawn_bound, wait_until};
use crate::{Context, Error, Result};

/// Killed with all below it when dropped.
pub struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
    limit: Duration,
}

impl Terminal {
    /// Starts a line of sh on a terminal of its own. `command` brings environment and directory.
    pub(crate) fn start(mut command: Command, line: &str, limit: Duration) -> Result<Terminal> {
        let doing = || "cannot start script(1), which is in the package bsdutils".to_owned();
        command.args(["-q", "-e", "-c", line, "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = spawn_bound(command).context(doing)?;
        let (keyboard, output) = (child.stdin.take(), child.stdout.take());
        let (Some(keyboard), Some(mut output)) = (keyboard, output) else {
            return Err(Error::new("script(1) has no pipes"));
        };
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut portion = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut portion) {
                shown.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&portion[..read]);
            }
        });
        Ok(Terminal { child, keyboard, screen, limit })
    }

    /// All that was shown until now, control characters included.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until `words` stand there for the `times`-th time.
    pub fn wait_for(&self, words: &str, times: usize) -> Result<()> {
        wait_until(&format!("`{words}` on the terminal"), self.limit, || {
            (self.text().matches(words).count() >= times).then_some(())
        })
        .context(|| format!("the terminal shows: {}", self.text()))
    }

    pub fn types(&mut self, keys: &str) -> Result<()> {
        let doing = || format!("cannot type {keys:?}");
        self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush()).context(doing)
    }

    /// The exit code, once it ended by itself.
    pub fn end(&mut self) -> Result<Option<i32>> {
        let child = &mut self.child;
        let status =
            wait_until("the program on the terminal to end", self.limit, || child.try_wait().transpose());
        let status = status.context(|| format!("the terminal shows: {}", self.text()))?;
        Ok(status.context(|| "cannot wait for it".to_owned())?.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        kill_trees(&mut [&mut self.child]);
    }
}
