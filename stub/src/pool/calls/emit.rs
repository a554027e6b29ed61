//! `emit`: lines for the log, and how far the task is.

use super::cut_text;
use crate::secret::Patterns;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;
use waft_proto::run::Problem;

/// One line of the log, bytes; what is longer is cut.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// The text beside a progress, bytes; what is longer is cut.
const TEXT_BYTES_MAX: usize = 512;
/// Between two progress lines that are passed on.
const PROGRESS_STEP: Duration = Duration::from_millis(100);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub(in crate::pool) enum Emit {
    Log(String),
    Progress(Progress),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::pool) struct Progress {
    done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl Emit {
    pub(in crate::pool) fn parse(request: &[u8]) -> Result<Emit, Problem> {
        serde_json::from_slice(request).map_err(|error| {
            let text = format!("the request of `emit` is not what it should be: {error}");
            Problem::new("emit.request", text)
                .hint(r#"ask with {"log": "text"} or {"progress": {"done": 1, "total": 4, "text": "step"}}"#)
        })
    }

    /// Without secrets. Before it is cut, or half of a value would be left; and after it was read, because a number that is
    /// one stands for itself: a total is left out then, and a progress without its number is none.
    pub(in crate::pool) fn cleaned(mut self, patterns: &Patterns) -> Option<Emit> {
        if patterns.is_empty() {
            return Some(self);
        }
        let shows = |number: &u64| {
            // Something else follows it in the line.
            let text = number.to_string() + ",";
            patterns.clean(text.as_bytes()) == text.as_bytes()
        };
        match &mut self {
            Emit::Log(text) => {
                // As it will be passed on: what looks like the first part of a value and then goes on differently is none.
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                patterns.clean_text(text);
            }
            Emit::Progress(progress) => {
                progress.text.iter_mut().for_each(|text| patterns.clean_text(text));
                progress.total = progress.total.filter(shows);
                if !shows(&progress.done) {
                    return None;
                }
            }
        }
        Some(self)
    }
}

/// The text as lines that end, none too long.
pub(in crate::pool) fn lines(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        bytes.extend_from_slice(cut_text(line, LINE_BYTES_MAX).as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// Lets one progress pass each [`PROGRESS_STEP`], and keeps the last one that had to wait.
#[derive(Debug, Default)]
pub(in crate::pool) struct Pace {
    last: Option<Instant>,
    waiting: Option<Progress>,
}

impl Pace {
    pub(in crate::pool) fn push(&mut self, mut progress: Progress) {
        if let Some(text) = &mut progress.text {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        }
        self.waiting = Some(progress);
    }

    /// When the one that waits may pass.
    pub(in crate::pool) fn due(&self, now: Instant) -> Option<Instant> {
        self.waiting.as_ref().map(|_| self.last.map_or(now, |last| last + PROGRESS_STEP))
    }

    /// The line that may pass now; at the end any that waits.
    pub(in crate::pool) fn pop(&mut self, now: Instant, end: bool) -> Option<Vec<u8>> {
        if !end && self.due(now).is_none_or(|due| due > now) {
            return None;
        }
        let mut line = serde_json::to_vec(&self.waiting.take()?).ok()?;
        line.push(b'\n');
        self.last = Some(now);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::{Emit, LINE_BYTES_MAX, PROGRESS_STEP, Pace, Progress, lines};
    use tokio::time::Instant;

    fn code(request: &str) -> String {
        Emit::parse(request.as_bytes()).map_or_else(|problem| problem.code, |_| "good".to_owned())
    }

    #[test]
    fn an_emit_is_one_of_two_things() {
        assert_eq!(code(r#"{"log":"text"}"#), "good");
        assert_eq!(code(r#"{"progress":{"done":1,"total":2,"text":"x"}}"#), "good");
        for bad in [
            "{}",
            "\"log\"",
            r#"{"log":1}"#,
            r#"{"log":"a","progress":{"done":1}}"#,
            r#"{"progress":{}}"#,
            r#"{"progress":{"done":-1}}"#,
            r#"{"progress":{"done":1,"of":2}}"#,
        ] {
            assert_eq!(code(bad), "emit.request", "{bad}");
        }
    }

    #[test]
    fn a_log_is_lines_of_bounded_length() {
        assert_eq!(lines("a"), b"a\n");
        assert_eq!(lines("a\nb\n"), b"a\nb\n");
        assert_eq!(lines(""), b"\n");
        let long = lines(&format!("{}\nend", "\u{e9}".repeat(LINE_BYTES_MAX)));
        assert!(long.len() <= LINE_BYTES_MAX + 5 && long.ends_with(b"\nend\n"));
    }

    #[test]
    fn the_first_and_the_last_progress_always_pass() {
        let of = |done| Progress { done, total: None, text: None };
        let mut pace = Pace::default();
        let mut passed: Vec<Vec<u8>> = Vec::new();
        let mut now = Instant::now();
        for done in 0..1000 {
            pace.push(of(done));
            passed.extend(pace.pop(now, false));
            now += PROGRESS_STEP / 100;
        }
        passed.extend(pace.pop(now, true));
        let passed: Vec<&str> = passed.iter().map(|line| std::str::from_utf8(line).expect("text")).collect();
        assert_eq!((passed.first(), passed.last()), (Some(&"{\"done\":0}\n"), Some(&"{\"done\":999}\n")));
        assert_eq!(passed.len(), 11);
        assert!(pace.pop(now, true).is_none() && pace.due(now).is_none());
    }
}
