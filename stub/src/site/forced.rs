//! `waft-stub --as NAME`, which sshd starts whatever was asked of it: what was asked is looked at, and never done.

use std::path::Path;
use waft_policy::file;
use waft_proto::run::Problem;

const ROOT: u32 = 0;
/// Of NAME, bytes.
const NAME_BYTES_MAX: usize = 64;
/// Of what was asked, when it is told, characters.
const SHOWN_CHARS_MAX: usize = 80;

/// What sshd says of a session, by its environment.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Addresses and ports: there is one.
    pub connection: Option<String>,
    /// What the other end asked to be started.
    pub command: Option<String>,
    /// Its terminal.
    pub terminal: Option<String>,
}

impl Session {
    pub fn here() -> Session {
        let text = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Session {
            connection: text("SSH_CONNECTION"),
            command: text("SSH_ORIGINAL_COMMAND"),
            terminal: text("SSH_TTY"),
        }
    }

    /// Why this is not a session that a controller asked for, as one line.
    pub fn check(&self, name: &str) -> Result<(), String> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(format!(
                "`--as` takes the name of a controller: 1 to {NAME_BYTES_MAX} characters, no blanks"
            ));
        }
        if self.connection.is_none() {
            return Err("`--as` is for sshd's forced commands, and sshd did not start this".to_owned());
        }
        if self.terminal.is_some() {
            return Err("this login is for waft only, without a terminal".to_owned());
        }
        match self.command.as_deref() {
            None | Some("") => Ok(()),
            Some(command) if is_ours(command) => Ok(()),
            Some(command) => Err(format!(
                "this login is for waft only; `{}` was not started. A controller reaches it with `installed = PATH`",
                shown(command)
            )),
        }
    }
}

/// The line by which a controller starts a stub that is installed, whatever its path there.
fn is_ours(command: &str) -> bool {
    let words: Vec<&str> = command.split(' ').collect();
    let ["exec", path, "--link", "installed"] = words.as_slice() else { return false };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    path.starts_with('/') && path.bytes().all(plain)
}

fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Whether this very program is root's alone to change: else a policy binds nobody who can write it.
pub fn check_program() -> Result<(), Problem> {
    const WHAT: &str = "the program";
    let unknown = |why: &dyn std::fmt::Display| {
        Problem::new("policy.unsafe", format!("{WHAT} that runs here cannot be looked at: {why}"))
    };
    let path = std::fs::read_link("/proc/self/exe").map_err(|error| unknown(&error))?;
    match file::open_safe(WHAT, Path::new(&path), ROOT)? {
        Some(_) => Ok(()),
        None => Err(unknown(&"its file is gone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(command: Option<&str>) -> Session {
        let connection = Some("127.0.0.1 50000 127.0.0.1 22".to_owned());
        Session { connection, command: command.map(str::to_owned), terminal: None }
    }

    #[test]
    fn only_the_line_of_a_controller_is_let_in() {
        let line = waft_hop::delivery::installed_line("/usr/bin/waft-stub").expect("a line");
        for good in [None, Some(""), Some(line.as_str())] {
            assert_eq!(asked(good).check("ops"), Ok(()), "{good:?}");
        }
        for bad in [
            "id",
            "sh -c 'exec /usr/bin/waft-stub --link installed'",
            "exec /usr/bin/waft-stub --link installed; id",
            "exec /usr/bin/waft-stub --link installed\nid",
            "exec /usr/bin/waft-stub --link memfd",
            "exec /usr/bin/waft-stub --policy /tmp/p --link installed",
            "exec  /usr/bin/waft-stub --link installed",
            "exec waft-stub --link installed",
            "exec /usr/bin/$(id) --link installed",
            "internal-sftp",
            " ",
        ] {
            let why = asked(Some(bad)).check("ops").expect_err(bad);
            assert!(why.starts_with("this login is for waft only") && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn sshd_has_to_have_started_it_without_a_terminal_and_with_a_name() {
        assert!(Session::default().check("ops").is_err());
        let terminal = Session { terminal: Some("/dev/pts/0".to_owned()), ..asked(None) };
        assert!(terminal.check("ops").is_err());
        for name in ["", "a b", "ä", &"x".repeat(65)] {
            assert!(asked(None).check(name).is_err(), "{name}");
        }
    }
}
