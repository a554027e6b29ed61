//! What is known about where the output goes. A value: tests make their own, the program asks once.

use std::io::IsTerminal;

use rustix::termios::tcgetwinsize;

use super::paint::Paint;
use super::tree::Glyphs;

/// Assumed when the terminal does not say.
const WIDTH_DEFAULT: u16 = 80;
const HEIGHT_DEFAULT: u16 = 24;

/// When colours are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Color {
    Never,
    /// On streams that are a terminal.
    Auto,
    Always,
}

/// Columns and lines, when they are known.
pub type AskSize = fn() -> Option<(u16, u16)>;

#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    pub stdout_tty: bool,
    pub stderr_tty: bool,
    /// Columns and lines at the start.
    pub width: u16,
    pub height: u16,
    pub color: Color,
    /// The locale's encoding is UTF-8.
    pub utf8: bool,
    /// Cannot move its cursor (`TERM=dumb`): no live lines.
    pub dumb: bool,
    /// Asks for columns and lines again, since a window changes its size while a run goes on. `None` keeps
    /// `width` and `height`.
    pub resized: Option<AskSize>,
}

impl Terminal {
    /// No terminal at all: files and pipes.
    pub fn none() -> Terminal {
        Terminal {
            stdout_tty: false,
            stderr_tty: false,
            width: WIDTH_DEFAULT,
            height: HEIGHT_DEFAULT,
            color: Color::Auto,
            utf8: true,
            dumb: false,
            resized: None,
        }
    }

    /// Asks the process's streams and environment.
    pub fn detect() -> Terminal {
        let (width, height) = ask_size().unwrap_or((WIDTH_DEFAULT, HEIGHT_DEFAULT));
        Terminal {
            stdout_tty: std::io::stdout().is_terminal(),
            stderr_tty: std::io::stderr().is_terminal(),
            width,
            height,
            resized: Some(ask_size),
            ..Terminal::none()
        }
        .with_environment(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Applies `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR`, `TERM` and the locale.
    pub fn with_environment(self, get: impl Fn(&str) -> Option<String>) -> Terminal {
        let filled = |name: &str| get(name).filter(|value| !value.is_empty());
        let dumb = get("TERM").is_some_and(|term| term == "dumb");
        // Who says no wins over who says always: an accessibility wish is stronger than a habit of CI.
        let color = if filled("NO_COLOR").is_some() {
            Color::Never
        } else if filled("CLICOLOR_FORCE").is_some_and(|force| force != "0") {
            Color::Always
        } else if dumb || get("CLICOLOR").is_some_and(|wish| wish == "0") {
            Color::Never
        } else {
            Color::Auto
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(filled).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Terminal { color, dumb, utf8: locale.contains("utf-8") || locale.contains("utf8"), ..self }
    }

    pub fn stdout_paint(&self) -> Paint {
        self.paint(self.stdout_tty)
    }

    pub fn stderr_paint(&self) -> Paint {
        self.paint(self.stderr_tty)
    }

    fn paint(&self, tty: bool) -> Paint {
        match self.color {
            Color::Always => Paint::Color,
            Color::Auto if tty => Paint::Color,
            Color::Auto | Color::Never => Paint::Plain,
        }
    }

    pub fn glyphs(&self) -> Glyphs {
        if self.utf8 { Glyphs::Unicode } else { Glyphs::Ascii }
    }

    /// Columns of stdout now; `None` when it is no terminal and nothing need be cut.
    pub fn stdout_columns(&self) -> Option<usize> {
        self.stdout_tty.then(|| usize::from(self.size_now().0))
    }

    /// Columns and lines now.
    pub fn size_now(&self) -> (u16, u16) {
        self.resized.and_then(|ask| ask()).unwrap_or((self.width, self.height))
    }

    /// Lines that move may be drawn on stderr.
    pub fn is_live(&self) -> bool {
        self.stderr_tty && !self.dumb
    }
}

fn ask_size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stderr()).or_else(|_| tcgetwinsize(std::io::stdout())).ok()?;
    // Serial lines and some containers say 0, which means that they do not know.
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(environment: &[(&str, &str)]) -> Terminal {
        let get = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        Terminal { stdout_tty: true, stderr_tty: false, ..Terminal::none() }.with_environment(get)
    }

    #[test]
    fn colour_obeys_the_environment() {
        for (environment, stdout, stderr) in [
            (&[][..], Paint::Color, Paint::Plain),
            (&[("NO_COLOR", "1")], Paint::Plain, Paint::Plain),
            (&[("NO_COLOR", "")], Paint::Color, Paint::Plain),
            (&[("CLICOLOR_FORCE", "1")], Paint::Color, Paint::Color),
            (&[("CLICOLOR_FORCE", "0")], Paint::Color, Paint::Plain),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], Paint::Plain, Paint::Plain),
            (&[("CLICOLOR", "0")], Paint::Plain, Paint::Plain),
            (&[("TERM", "dumb")], Paint::Plain, Paint::Plain),
            (&[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], Paint::Color, Paint::Color),
        ] {
            let terminal = with(environment);
            assert_eq!(
                (terminal.stdout_paint(), terminal.stderr_paint()),
                (stdout, stderr),
                "{environment:?}"
            );
        }
        assert!(with(&[("TERM", "dumb")]).dumb);
    }

    #[test]
    fn the_first_locale_that_is_set_decides() {
        for (environment, utf8) in [
            (&[][..], false),
            (&[("LANG", "C")], false),
            (&[("LANG", "de_DE.UTF-8")], true),
            (&[("LANG", "C.utf8")], true),
            (&[("LC_ALL", "C"), ("LANG", "C.UTF-8")], false),
            (&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], true),
        ] {
            assert_eq!(with(environment).utf8, utf8, "{environment:?}");
        }
    }
}
