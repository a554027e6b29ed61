//! Scripts: what runs one, by its name, its first line, or the operator's word.
//!
//! Sandboxed, a script is the input of a task that is an interpreter (`python`, `javascript`, `lua`), with the parameters
//! `{"script": text, "name": .., "params": {..}, "args": [..]}`. Native, it is the input of the task `script`, which starts
//! an interpreter of the target on a file in memory.

use crate::inventory::read_text;
use std::io::Read;
use std::path::Path;
use waft_proto::run::Problem;

/// A script, bytes: with its parameters it is one request of a task to its host.
pub const SCRIPT_BYTES_MAX: u64 = 512 * 1024;
/// The task that starts interpreters of the target.
pub const NATIVE: &str = "script";
/// Where they find the script.
const PLACE: &str = "/dev/fd/3";
/// What runs a native script that does not say it.
const SHELL: &str = "/bin/sh";
/// The name for standard input.
pub const STDIN: &str = "-";

/// Tasks that are interpreters: endings of names, and names of programs without their version.
const INTERPRETERS: [(&str, &[&str], &[&str]); 3] = [
    ("python", &["py"], &["python", "pypy"]),
    ("javascript", &["js", "mjs"], &["node", "nodejs", "qjs", "bun", "deno"]),
    ("lua", &["lua"], &["lua", "luajit"]),
];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// The last part of its path.
    pub name: String,
    pub text: String,
}

impl Script {
    /// A file, or standard input for `-`.
    pub fn read(file: &str) -> Result<Script, Problem> {
        if file != STDIN {
            let name = Path::new(file).file_name().map(|name| name.to_string_lossy().into_owned());
            let text = read_text(file, SCRIPT_BYTES_MAX, "script")?;
            return Ok(Script { name: name.unwrap_or_default(), text });
        }
        let mut text = String::new();
        let read = std::io::stdin().lock().take(SCRIPT_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|why| {
            Problem::new("script.read", format!("the script on standard input cannot be read: {why}"))
        })?;
        if text.len() as u64 > SCRIPT_BYTES_MAX {
            let long = format!("the script on standard input has more than {SCRIPT_BYTES_MAX} bytes");
            return Err(Problem::new("script.long", long));
        }
        Ok(Script { name: "stdin".to_owned(), text })
    }

    /// The task that interprets it.
    pub fn task(&self) -> Result<&'static str, Problem> {
        let ending = Path::new(&self.name).extension().and_then(|ending| ending.to_str());
        let by_name = ending.and_then(|ending| known(|(_, endings, _)| endings.contains(&ending)));
        if let Some(task) = by_name {
            return Ok(task);
        }
        let words = self.first_line().unwrap_or_default();
        let program = words.first().map_or("", |word| plain(word));
        if let Some(task) = known(|(_, _, programs)| programs.contains(&program)) {
            return Ok(task);
        }
        let text = format!("nothing says which task interprets the script {}", self.name);
        let hint = "name one: --interpreter python, javascript or lua; to start an interpreter of the target, as for \
             a shell script: --native";
        Err(Problem::new("script.interpreter", text).hint(hint))
    }

    /// The interpreter of the target and its options: the operator's words, the first line's, or the shell.
    pub fn interpreter(&self, named: Option<&str>) -> Result<Vec<String>, Problem> {
        let words = match named {
            Some(named) => Some(named.split_ascii_whitespace().map(str::to_owned).collect()),
            None => self.first_line(),
        };
        let words: Vec<String> = words.unwrap_or_else(|| vec![SHELL.to_owned()]);
        match words.first() {
            Some(program) if program.starts_with('/') || !program.contains('/') => Ok(words),
            first => {
                let program = first.map_or("", String::as_str).escape_debug();
                let text = format!("`{program}` is no interpreter for the script {}", self.name);
                let hint = "it is an absolute path, or a bare name that is looked up on the target: --interpreter /bin/bash";
                Err(Problem::new("script.interpreter", text).hint(hint))
            }
        }
    }

    /// The words of `#!`, those that `env` looks up without `env`.
    fn first_line(&self) -> Option<Vec<String>> {
        let line = self.text.strip_prefix("#!")?.lines().next()?;
        let mut words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        if words.first().is_some_and(|word| word.ends_with("/env")) && words.len() > 1 {
            words.remove(0);
            if words.first().is_some_and(|word| word == "-S") {
                words.remove(0);
            }
        }
        if words.is_empty() { None } else { Some(words) }
    }
}

/// What the task `script` asks for, to start that interpreter: its arguments decide nothing, since the script does all.
pub fn grant(interpreter: &[String], probe: bool) -> String {
    let bare =
        |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+=,".contains(&byte));
    let words = interpreter.iter().map(|word| match bare(word) && !word.is_empty() {
        true => word.clone(),
        false => serde_json::Value::from(word.as_str()).to_string(),
    });
    let words: Vec<String> = words.collect();
    format!("exec:{} {PLACE} **{}", words.join(" "), if probe { ":probe" } else { "" })
}

type Known = (&'static str, &'static [&'static str], &'static [&'static str]);

fn known(is: impl Fn(&Known) -> bool) -> Option<&'static str> {
    INTERPRETERS.iter().find(|known| is(known)).map(|(task, _, _)| *task)
}

/// The name of a program without directory and version.
fn plain(program: &str) -> &str {
    let name = program.rsplit('/').next().unwrap_or(program);
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::{Script, grant};

    fn script(name: &str, text: &str) -> Script {
        Script { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_task_is_found_by_ending_or_first_line() {
        for (name, text, task) in [
            ("a.py", "", "python"),
            ("a.mjs", "#!/usr/bin/python3", "javascript"),
            ("a.lua", "", "lua"),
            ("a", "#!/usr/bin/env python3\n", "python"),
            ("a.x", "#! /usr/bin/python3.11 -u\n", "python"),
            ("stdin", "#!/usr/bin/env -S node --x\n", "javascript"),
        ] {
            assert_eq!(script(name, text).task().expect("known"), task, "{name} {text}");
        }
        for (name, text) in [("a.sh", "#!/bin/sh\n"), ("py", ""), ("a.PY", ""), ("a", "#!\n")] {
            let problem = script(name, text).task().expect_err("unknown");
            assert!(problem.hint.is_some_and(|hint| hint.contains("--native")), "{name}");
        }
    }

    #[test]
    fn an_interpreter_of_the_target_is_named_found_or_the_shell() {
        let words = |text: &str, named| script("a", text).interpreter(named).map(|words| words.join("|"));
        for (text, named, expected) in [
            ("echo", None, "/bin/sh"),
            ("#!/bin/bash -e\n", None, "/bin/bash|-e"),
            ("#!/usr/bin/env python3\r\n", None, "python3"),
            ("#!/usr/bin/env -S perl -w\n", None, "perl|-w"),
            ("#!/usr/bin/env\n", None, "/usr/bin/env"),
            ("#!\n", None, "/bin/sh"),
            ("#!/bin/bash\n", Some("dash  -x"), "dash|-x"),
        ] {
            assert_eq!(words(text, named).expect("an interpreter"), expected, "{text}");
        }
        for (text, named) in [("#!bin/sh\n", None), ("", Some("./sh")), ("", Some(" "))] {
            assert_eq!(words(text, named).expect_err("none").code, "script.interpreter");
        }
    }

    #[test]
    fn what_is_asked_for_is_a_grant() {
        let text = |words: &[&str], probe| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let text = grant(&words, probe);
            let read = waft_proto::grant::Grant::parse(&text).expect("a grant");
            assert_eq!(read.to_string(), text);
            text
        };
        assert_eq!(text(&["/bin/sh"], false), "exec:/bin/sh /dev/fd/3 **");
        assert_eq!(text(&["python3", "-X", "a:b"], true), "exec:python3 -X \"a:b\" /dev/fd/3 **:probe");
    }
}
