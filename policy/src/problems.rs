//! All that is wrong with one policy, by line.

use waft_proto::grant::nearest;
use waft_proto::run::Problem;

/// Problems that are told of one file; who has more will not read them.
const PROBLEMS_MAX: usize = 50;
/// Of a text that is quoted in a problem, characters.
const QUOTED_CHARS_MAX: usize = 120;

/// What is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placed {
    /// From 1.
    pub line: usize,
    pub problem: Problem,
}

impl From<Placed> for Problem {
    /// With the line in front.
    fn from(Placed { line, problem }: Placed) -> Problem {
        Problem { message: format!("line {line}: {}", problem.message), ..problem }
    }
}

#[derive(Default)]
pub(crate) struct Problems {
    found: Vec<Placed>,
    /// Those that were not kept.
    more: usize,
}

impl Problems {
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// In the order of lines, then of finding. The first ones that are found are kept.
    pub(crate) fn add(&mut self, line: usize, problem: Problem) {
        if self.found.len() == PROBLEMS_MAX {
            self.more += 1;
            return;
        }
        let at = self.found.partition_point(|placed| placed.line <= line);
        self.found.insert(at, Placed { line, problem });
    }

    pub(crate) fn say(
        &mut self,
        line: usize,
        code: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(line, Problem::new(code, message).hint(hint));
    }

    /// A word that is none of `known`; `what` says of what kind, as in "key".
    pub(crate) fn unknown(&mut self, line: usize, code: &str, what: &str, word: &str, known: &[&str]) {
        let message = format!("{} is no {what}", quoted(word));
        let hint = match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        self.say(line, code, message, hint);
    }

    /// In the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Placed> {
        if let (Some(last), 1..) = (self.found.last(), self.more) {
            let problem = Problem::new("policy.more", format!("there are {} more problems", self.more));
            self.found.push(Placed { line: last.line, problem });
        }
        self.found
    }
}

/// In backquotes, printable, not endless.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = String::from("`");
    for (at, c) in text.chars().enumerate() {
        if at == QUOTED_CHARS_MAX {
            shown.push_str("...");
            break;
        }
        if c.is_control() { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown.push('`');
    shown
}

/// Texts of a list for a sentence.
pub(crate) fn listed<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    /// More are only counted.
    const SHOWN_MAX: usize = 5;
    let all: Vec<&str> = texts.collect();
    let mut shown: Vec<String> = all.iter().take(SHOWN_MAX).map(|text| quoted(text)).collect();
    if all.len() > SHOWN_MAX {
        shown.push(format!("{} more", all.len() - SHOWN_MAX));
    }
    shown.join(", ")
}

/// A basic string of TOML, for a line to paste.
pub(crate) fn toml_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
