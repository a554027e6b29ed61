//! What is run, from the parameters. A library of its own, so that its tests run on the machine that builds it.

use serde::Deserialize;
use waft_sdk::Error;
use waft_tasks_common::Yes;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Params {
    pub argv: Option<Vec<String>>,
    pub cmd: Option<String>,
    pub chdir: Option<String>,
    pub creates: Option<String>,
    pub removes: Option<String>,
    pub stdin: Option<String>,
    pub stdin_add_newline: Option<Yes>,
    pub strip_empty_ends: Option<Yes>,
}

fn invalid(message: &str, hint: &str) -> Error {
    Error { hint: Some(hint.into()), ..Error::new("params.invalid", message) }
}

impl Params {
    /// The words of the program.
    pub fn words(&self) -> Result<Vec<String>, Error> {
        let words = match (&self.argv, &self.cmd) {
            (Some(argv), None) => argv.clone(),
            (None, Some(cmd)) => shlex::split(cmd).ok_or_else(|| {
                invalid(
                    "`cmd` has a quote that is not closed, or a backslash at its end",
                    "give the words as a list: `-p argv:='[\"/bin/echo\", \"a b\"]'`",
                )
            })?,
            _ => {
                return Err(invalid(
                    "expected one of `argv` and `cmd`",
                    "`argv` is a list of words, `cmd` one text that is split at blanks",
                ));
            }
        };
        match words.first().is_none_or(String::is_empty) {
            true => Err(invalid("no program is named", "for example `-p cmd='/usr/bin/uptime -p'`")),
            false => Ok(words),
        }
    }

    pub fn input(&self) -> Vec<u8> {
        let Some(stdin) = &self.stdin else { return Vec::new() };
        let newline = self.stdin_add_newline.unwrap_or(Yes(true)).0;
        [stdin.as_bytes(), if newline { b"\n" } else { b"" }].concat()
    }

    /// Output as it is told.
    pub fn shown<'a>(&self, text: &'a str) -> &'a str {
        let strip = self.strip_empty_ends.unwrap_or(Yes(true)).0;
        if strip { text.trim_end_matches(['\r', '\n']) } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(cmd: &str) -> Result<Vec<String>, Error> {
        Params { cmd: Some(cmd.into()), ..Params::default() }.words()
    }

    #[test]
    fn a_text_is_split_as_a_shell_would_and_nothing_else() {
        assert_eq!(
            words(r#"/bin/echo "a b" c\ d 'e"f' ''"#).unwrap(),
            ["/bin/echo", "a b", "c d", "e\"f", ""]
        );
        assert_eq!(words("echo $HOME | cat * ;x").unwrap(), ["echo", "$HOME", "|", "cat", "*", ";x"]);
        for bad in ["", "  ", "'' x", "echo 'x", "echo x\\"] {
            assert_eq!(words(bad).unwrap_err().code, "params.invalid", "{bad}");
        }
        let both = Params { argv: Some(vec!["a".into()]), cmd: Some("a".into()), ..Params::default() };
        assert!(both.words().is_err() && Params::default().words().is_err());
    }

    #[test]
    fn newlines_at_ends() {
        let mut params = Params { stdin: Some("x".into()), ..Params::default() };
        assert_eq!((params.input(), params.shown("a\n\r\n")), (b"x\n".to_vec(), "a"));
        params.stdin_add_newline = Some(Yes(false));
        params.strip_empty_ends = Some(Yes(false));
        assert_eq!((params.input(), params.shown("a\n")), (b"x".to_vec(), "a\n"));
        assert!(Params::default().input().is_empty());
    }
}
