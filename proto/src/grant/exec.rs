//! Which programs may be started with which arguments: one pattern word for each word of argv.
//!
//! * `*` inside a word stands for any characters of that word, and never crosses into the next.
//! * A word that begins with `-` is matched only by a pattern that begins with `-`: `exec:rm *` must not turn
//!   into `rm -rf`.
//! * `**` as the last word takes all that is left, also nothing, also options.
//! * `exec:*` and `exec:**` alone are any program with any arguments. A program is never a pattern otherwise.
//!
//! A suffix says what the program may do beside: `:probe` start in a dry run, `:daemon` leave something running.
//!
//! Quotes are there for spaces and colons; they do not take the meaning from `*`.

use super::names::normalised;
use super::words::{self, write_word};
use super::{Wanted, quoted};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

const PROBE: &str = ":probe";
const DAEMON: &str = ":daemon";

/// One grant of the kind `exec`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Exec {
    pub(super) command: Command,
    /// Harmless enough to be run by `--check`, says whoever gave it.
    pub(super) probe: bool,
    /// What it leaves running may stay after the task.
    pub(super) daemon: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Command {
    Any,
    Program {
        /// An absolute path, or a bare name that is looked up in the fixed PATH.
        program: String,
        args: Vec<Pattern>,
        /// Whether a final `**` takes what is left.
        rest: bool,
    },
}

/// One word of argv, where `*` stands for any characters.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pattern(String);

impl Pattern {
    /// Linear in both texts, whatever they are.
    pub fn matches(&self, word: &str) -> bool {
        if word.starts_with('-') && !self.0.starts_with('-') {
            return false;
        }
        let Some((first, others)) = self.0.split_once('*') else { return self.0 == word };
        let Some(mut left) = word.strip_prefix(first) else { return false };
        let (between, last) = others.rsplit_once('*').unwrap_or(("", others));
        let Some(inner) = left.strip_suffix(last) else { return false };
        left = inner;
        // Each part at the first place where it occurs leaves the most for those after it.
        for part in between.split('*') {
            let Some((_, after)) = left.split_once(part) else { return false };
            left = after;
        }
        true
    }

    /// Whether every word that `other` matches is matched by `self`. A star of `other`, read as a plain
    /// character, can only be taken by a star of `self`, which then takes whatever that star stands for.
    fn covers(&self, other: &Pattern) -> bool {
        self.matches(&other.0)
    }

    /// The narrower one; `None` when neither covers the other, which errs on refusing.
    fn intersect(&self, other: &Pattern) -> Option<Pattern> {
        if self.covers(other) { Some(other.clone()) } else { other.covers(self).then(|| self.clone()) }
    }
}

impl Exec {
    /// The program, unless it is any: an absolute path, or a bare name to be looked up.
    pub fn program(&self) -> Option<&str> {
        match &self.command {
            Command::Any => None,
            Command::Program { program, .. } => Some(program),
        }
    }

    pub fn is_probe(&self) -> bool {
        self.probe
    }

    pub fn is_daemon(&self) -> bool {
        self.daemon
    }

    /// Whether arguments (without the program) are granted.
    pub fn matches_args<S: AsRef<str>>(&self, argv: &[S]) -> bool {
        match &self.command {
            Command::Any => true,
            Command::Program { args, rest, .. } => {
                let counts = if *rest { argv.len() >= args.len() } else { argv.len() == args.len() };
                counts && args.iter().zip(argv).all(|(pattern, word)| pattern.matches(word.as_ref()))
            }
        }
    }

    /// The same with the program as a path. `None` when it is a name that `resolve` does not know.
    pub(super) fn resolved(&self, resolve: impl Fn(&str) -> Option<String>) -> Option<Exec> {
        let mut exec = self.clone();
        if let Command::Program { program, .. } = &mut exec.command
            && !program.starts_with('/')
        {
            *program = resolve(program)?;
        }
        Some(exec)
    }

    pub(super) fn covers(&self, other: &Exec) -> bool {
        if (other.probe && !self.probe) || (other.daemon && !self.daemon) {
            return false;
        }
        match (&self.command, &other.command) {
            (Command::Any, _) => true,
            (_, Command::Any) => false,
            (
                Command::Program { program, args, rest },
                Command::Program { program: inner, args: inner_args, rest: inner_rest },
            ) => {
                let counts = if *rest {
                    inner_args.len() >= args.len()
                } else {
                    inner_args.len() == args.len() && !inner_rest
                };
                program == inner
                    && counts
                    && args.iter().zip(inner_args).all(|(outer, inner)| outer.covers(inner))
            }
        }
    }

    /// What both allow, as far as one pattern can say it; what it cannot is left out.
    pub(super) fn intersect(&self, other: &Exec) -> Option<Exec> {
        let (probe, daemon) = (self.probe && other.probe, self.daemon && other.daemon);
        let command = match (&self.command, &other.command) {
            (Command::Any, command) | (command, Command::Any) => command.clone(),
            (
                Command::Program { program, args: a, rest: a_rest },
                Command::Program { program: other, args: b, rest: b_rest },
            ) => {
                if program != other || (a.len() < b.len() && !a_rest) || (b.len() < a.len() && !b_rest) {
                    return None;
                }
                let both = a.iter().zip(b).map(|(a, b)| a.intersect(b));
                let longer = if a.len() > b.len() { a } else { b };
                let alone = longer.iter().skip(a.len().min(b.len())).map(|pattern| Some(pattern.clone()));
                let args = both.chain(alone).collect::<Option<Vec<_>>>()?;
                Command::Program { program: program.clone(), args, rest: *a_rest && *b_rest }
            }
        };
        Some(Exec { command, probe, daemon })
    }

    /// What comes after `exec:`.
    pub(super) fn read(text: &str) -> Result<Exec, Wanted> {
        let (words, suffix) = read_words(text)?;
        let (probe, daemon) = (suffix == Some(PROBE), suffix == Some(DAEMON));
        let Some((program, args)) = words.split_first() else {
            return Err(Wanted::new("a program after `exec:`").hint("for example `exec:systemctl restart *`"));
        };
        if matches!(program.as_str(), "*" | "**") {
            if !args.is_empty() {
                return Err(Wanted::new("nothing after `*`, which is any program with any arguments")
                    .hint("name the program, or write `exec:*`"));
            }
            return Ok(Exec { command: Command::Any, probe, daemon });
        }
        check_program(program)?;
        let (args, rest) = match args.split_last() {
            Some((last, before)) if last == "**" => (before, true),
            _ => (args, false),
        };
        if let Some(word) = args.iter().find(|word| word.contains("**")) {
            return Err(Wanted::new(format!("`**` only as the last word, and not in {}", quoted(word)))
                .hint("`*` matches within one word, a final `**` takes all that is left"));
        }
        let args = args.iter().cloned().map(Pattern).collect();
        Ok(Exec { command: Command::Program { program: program.clone(), args, rest }, probe, daemon })
    }

    /// A grant for exactly this command. Only a `*` in it matches more than itself.
    pub(super) fn literal(program: &str, args: &[&str], daemon: bool) -> Exec {
        let args = args.iter().map(|word| {
            let mut pattern = String::new();
            for c in word.chars() {
                if c != '*' || !pattern.ends_with('*') {
                    pattern.push(c);
                }
            }
            Pattern(pattern)
        });
        let command = Command::Program { program: program.into(), args: args.collect(), rest: false };
        Exec { command, probe: false, daemon }
    }
}

impl fmt::Display for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("exec:")?;
        match &self.command {
            Command::Any => f.write_str("*")?,
            Command::Program { program, args, rest } => {
                write_word(f, program)?;
                for Pattern(word) in args {
                    f.write_str(" ")?;
                    write_word(f, word)?;
                }
                if *rest {
                    f.write_str(" **")?;
                }
            }
        }
        for (is_said, suffix) in [(self.probe, PROBE), (self.daemon, DAEMON)] {
            if is_said {
                f.write_str(suffix)?;
            }
        }
        Ok(())
    }
}

/// The suffix at the end of a text.
fn suffix(text: &str) -> Option<&'static str> {
    [PROBE, DAEMON].into_iter().find(|suffix| text.ends_with(suffix))
}

/// The words, and which suffix follows them. There is no grant with both: a probe changes nothing.
fn read_words(text: &str) -> Result<(Vec<String>, Option<&'static str>), Wanted> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(' ');
    while !rest.is_empty() {
        let json = rest.starts_with('"');
        let (word, after) = words::take(rest, &[' '])?;
        let last = after.trim_matches(' ').is_empty();
        if json {
            if let Some(suffix) = suffix(after)
                && after == suffix
            {
                words.push(word);
                return Ok((words, Some(suffix)));
            }
            if !after.is_empty() && !after.starts_with(' ') {
                return Err(Wanted::new("a space, `:probe`, `:daemon` or the end after the closing quote")
                    .hint("write the whole word as one JSON string"));
            }
            words.push(word);
        } else {
            let said = suffix(&word).filter(|_| last);
            let word: String = said.and_then(|said| word.strip_suffix(said)).map_or(word.clone(), Into::into);
            if let (true, Some(said)) = (word.is_empty(), said) {
                return Err(Wanted::new(format!("`{said}` right after the last word")));
            }
            if let (Some(_), Some(other)) = (said, suffix(&word)) {
                return Err(Wanted::new(format!("one of `{PROBE}` and `{DAEMON}`, and not {other} as well"))
                    .hint("a probe changes nothing, so it leaves nothing that could stay"));
            }
            if word.contains(':') {
                return Err(Wanted::new(format!("the word {} as a JSON string", quoted(&word)))
                    .hint("words with colons or spaces are written in double quotes, as in JSON"));
            }
            words.push(word);
            if said.is_some() {
                return Ok((words, said));
            }
        }
        rest = after.trim_start_matches(' ');
    }
    Ok((words, None))
}

fn check_program(program: &str) -> Result<(), Wanted> {
    if program.contains('*') {
        return Err(Wanted::new("one program, not a pattern")
            .hint("give one grant for each program; `exec:*` alone is any program"));
    }
    if program.starts_with('/') {
        return match program {
            "/" => Err(Wanted::new("a program, and `/` is a directory")),
            path => normalised(path),
        };
    }
    if program.is_empty()
        || program.contains('/')
        || program.starts_with('-')
        || matches!(program, "." | "..")
    {
        return Err(Wanted::new("an absolute path or a bare name as the program")
            .hint("for example `exec:/usr/bin/id` or `exec:id`"));
    }
    Ok(())
}
