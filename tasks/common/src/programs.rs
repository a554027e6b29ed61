//! Programs of the target: starting them, reading a state by them, and saying why one failed.

use std::borrow::Cow;
use waft_sdk::Error;
use waft_sdk::exec::{Output, Program};

/// Of a program's last words in a message, bytes.
const SAID_BYTES_MAX: usize = 400;
/// Of what a probe prints, bytes: the most that a host gives.
const PROBE_BYTES_MAX: u32 = 512 * 1024;

/// A program by its words. More of it (stdin, user) can be set before it runs.
pub fn program(argv: &[&str]) -> Program {
    Program { argv: owned(argv), limit_bytes: Some(PROBE_BYTES_MAX), ..Program::default() }
}

/// Runs a program that changes something; one that fails is an error with this code.
pub fn run(code: &str, argv: &[&str]) -> Result<Output, Error> {
    succeed(code, &program(argv))
}

/// As [`run`], of a program that has more than words.
pub fn succeed(code: &str, program: &Program) -> Result<Output, Error> {
    let output = program.run()?;
    if output.is_success() { Ok(output) } else { Err(failed(code, &program.argv, &output)) }
}

/// Runs a program that only reads. None: there is no such program here.
pub fn probe(argv: &[&str]) -> Result<Option<Output>, Error> {
    match program(argv).run() {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.code == "exec.not_found" => Ok(None),
        Err(error) => Err(error),
    }
}

/// The program, how it ended, and the last line that it wrote.
pub fn failed(code: &str, argv: &[String], output: &Output) -> Error {
    let mut message = ["`", &argv.join(" "), "` "].concat();
    match (output.exit_code, output.signal) {
        _ if output.timed_out => message.push_str("took too long"),
        (Some(number), _) => message.extend(["ended with code ", &number.to_string()]),
        (None, Some(number)) => message.extend(["was ended by signal ", &number.to_string()]),
        (None, None) => message.push_str("ended, nobody knows how"),
    }
    let (stderr, stdout) = (text(&output.stderr), text(&output.stdout));
    if let Some(said) = last_line(&stderr).or_else(|| last_line(&stdout)) {
        message.extend([": ", cut(said)]);
    }
    Error::new(code, message)
}

/// What a program printed, as text; what is no UTF-8 becomes U+FFFD.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SAID_BYTES_MAX)).unwrap_or_default()
}

/// Looks for the first of several programs that answers: one that is not there is passed over, and so is one that was
/// not granted. Only when none is left the first refusal counts, as it came from the host.
#[derive(Default)]
pub struct Search {
    refused: Option<Error>,
}

impl Search {
    /// None: look on.
    pub fn ask<T>(&mut self, answer: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
        match answer {
            Err(error) if error.code.starts_with("grant.") => {
                self.refused.get_or_insert(error);
                Ok(None)
            }
            answer => answer,
        }
    }

    /// As [`probe`], and a refusal is kept.
    pub fn probe(&mut self, argv: &[&str]) -> Result<Option<Output>, Error> {
        self.ask(probe(argv))
    }

    /// Why nothing was found: the refusal, or what this says.
    pub fn nothing(self, otherwise: impl FnOnce() -> Error) -> Error {
        self.refused.unwrap_or_else(otherwise)
    }
}

/// One change: what it is, and the programs that can do it, the first of which that is there is taken.
pub struct Step {
    /// For people: `create`, `remove`.
    pub said: &'static str,
    pub ways: Vec<Vec<String>>,
}

impl Step {
    pub fn new(said: &'static str, ways: &[&[&str]]) -> Step {
        let words = |way: &&[&str]| way.iter().map(|word| (*word).to_owned()).collect();
        Step { said, ways: ways.iter().map(words).collect() }
    }
}

/// Runs the first of these programs that is there; one that fails is an error with this code.
pub fn first_there(code: &str, ways: &[Vec<String>]) -> Result<Output, Error> {
    first_way(code, ways).map(|(_, output)| output)
}

/// The same, and which of them it was.
pub fn first_way<'a>(code: &str, ways: &'a [Vec<String>]) -> Result<(&'a [String], Output), Error> {
    let mut search = Search::default();
    for way in ways {
        let argv: Vec<&str> = way.iter().map(String::as_str).collect();
        if let Some(output) = search.probe(&argv)? {
            return if output.is_success() { Ok((way, output)) } else { Err(failed(code, way, &output)) };
        }
    }
    Err(search.nothing(|| {
        let names: Vec<&str> = ways.iter().filter_map(|way| way.first().map(String::as_str)).collect();
        Error {
            hint: Some("install one of them there".into()),
            ..Error::new("exec.not_found", ["there is no program ", &names.join(" or ")].concat())
        }
    }))
}

fn owned(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|word| (*word).to_owned()).collect()
}

/// What was done to what, or would be: "create the user web".
pub fn tell(what: &str, name: &str, done: &str) -> String {
    let would = if waft_sdk::is_check() { "would " } else { "" };
    [would, done, " the ", what, " ", name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(exit_code: Option<u32>, stdout: &str, stderr: &str) -> Output {
        Output {
            exit_code,
            signal: if exit_code.is_none() { Some(9) } else { None },
            timed_out: false,
            stdout: stdout.into(),
            stderr: stderr.into(),
            stdout_truncated: false,
            stderr_truncated: false,
            ms: 1,
            stays: Vec::new(),
        }
    }

    #[test]
    fn a_failure_names_the_program_and_its_last_words() {
        let argv = ["useradd".to_owned(), "x".to_owned()];
        let said = |output: &Output| failed("user.failed", &argv, output).message;
        assert_eq!(
            said(&output(Some(9), "", "a\nuseradd: user 'x' already exists\n\n")),
            "`useradd x` ended with code 9: useradd: user 'x' already exists"
        );
        assert_eq!(
            said(&output(Some(1), "No package\n", " \n")),
            "`useradd x` ended with code 1: No package"
        );
        assert_eq!(said(&output(None, "", "")), "`useradd x` was ended by signal 9");
        let long = "é".repeat(SAID_BYTES_MAX);
        assert!(said(&output(Some(1), "", &long)).len() < SAID_BYTES_MAX + 60);
    }

    #[test]
    fn a_search_ends_with_the_first_refusal() {
        let refusal = |code: &str| Error::new(code, "No.");
        let mut search = Search::default();
        assert_eq!(search.ask::<()>(Ok(None)), Ok(None));
        assert_eq!(search.ask::<()>(Err(refusal("grant.missing"))), Ok(None));
        assert_eq!(search.ask::<()>(Err(refusal("grant.check"))), Ok(None));
        assert_eq!(search.ask::<()>(Err(refusal("exec.start"))), Err(refusal("exec.start")));
        assert_eq!(search.ask(Ok(Some(1))), Ok(Some(1)));
        assert_eq!(search.nothing(|| refusal("x.none")).code, "grant.missing");
        assert_eq!(Search::default().nothing(|| refusal("x.none")).code, "x.none");
    }
}
