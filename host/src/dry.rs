//! What a dry run would change, as a target tells it: one JSON object a line, from a machine that is not trusted. Lines are
//! bounded and checked here, and what is no such line is counted. The target sends the differing parts of two texts; the
//! diff is made here.

use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};
use std::fmt::Write as _;
use std::time::Duration;

/// One line, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// All lines of one target, bytes; what is beyond is dropped, and told.
const LINES_BYTES_MAX: usize = 8 << 20;
/// Changes of one target that are kept, number.
const CHANGES_MAX: usize = 10_000;
/// Programs of one target that are kept, number.
const PROBES_MAX: usize = 1_000;
/// A path or another word of a line, bytes.
const WORD_BYTES_MAX: usize = 8 * 1024;
/// Lines around a change.
const CONTEXT_LINES: usize = 3;
/// For one diff; texts that are made to be hard get a coarse one.
const DIFF_LIMIT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    File,
    Dir,
    Symlink,
    Other,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Dir => "directory",
            Kind::Symlink => "symlink",
            Kind::Other => "special file",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Created,
    Modified,
    Deleted,
    Mode,
    Owner,
    Replaced,
}

impl What {
    pub fn word(self) -> &'static str {
        match self {
            What::Created => "created",
            What::Modified => "modified",
            What::Deleted => "deleted",
            What::Mode => "mode",
            What::Owner => "owner",
            What::Replaced => "replaced",
        }
    }
}

/// What was, and what would be; none where there is nothing.
pub type Pair<T> = [Option<T>; 2];

/// One change, as reports have it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    pub path: String,
    pub kind: Kind,
    pub change: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Pair<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Pair<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Pair<u64>>,
    /// Of a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Pair<String>>,
    /// Unified, three lines of context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// No diff, because it is no text.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
    /// It could not be read or compared, or is too long for a diff.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unread: bool,
}

/// All that one target told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    pub list: Vec<Change>,
    /// Programs that were asked, because they are granted with `:probe`.
    pub probes: Vec<String>,
    /// Changes that were found beyond those in the list, as far as the target counted.
    pub more: u64,
    /// The target did not look at everything.
    pub cut: bool,
    /// Lines that are none.
    pub malformed: u64,
}

impl Changes {
    pub fn is_truncated(&self) -> bool {
        self.cut || self.more > 0 || self.malformed > 0
    }
}

/// What a target sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: String,
    kind: Kind,
    change: What,
    mode: Option<Pair<String>>,
    owner: Option<Pair<String>>,
    bytes: Option<Pair<u64>>,
    target: Option<Pair<String>>,
    text: Option<Text>,
    #[serde(default)]
    binary: bool,
    #[serde(default)]
    unread: bool,
}

/// Two texts from this line on, without the rest that they have in common.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    line: u64,
    old: String,
    new: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Probe {
    probe: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cut {
    cut: bool,
}

/// Reads the lines of one target as they come.
#[derive(Default)]
pub struct Reader {
    open: Vec<u8>,
    /// The line that is open is too long.
    skip: bool,
    taken: usize,
    pub changes: Changes,
}

impl Reader {
    /// Says which changes are new: those of the list from here on.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let before = self.changes.list.len();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.skip |= self.open.len() + piece.len() > LINE_BYTES_MAX;
            if !self.skip {
                self.open.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.end();
            }
        }
        before
    }

    /// At the end of the stream: what is open is no line.
    pub fn finish(&mut self, counted: u32) -> Changes {
        if !self.open.is_empty() || self.skip {
            self.open.clear();
            self.changes.malformed += 1;
        }
        let known = self.changes.list.len() as u64;
        self.changes.more = u64::from(counted).saturating_sub(known);
        std::mem::take(&mut self.changes)
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.open);
        if std::mem::take(&mut self.skip) {
            self.changes.malformed += 1;
            return;
        }
        self.taken = self.taken.saturating_add(line.len());
        if self.taken > LINES_BYTES_MAX || self.changes.list.len() >= CHANGES_MAX {
            self.changes.cut = true;
            return;
        }
        if let Ok(line) = serde_json::from_slice::<Line>(&line) {
            match line.check() {
                Some(change) => self.changes.list.push(change),
                None => self.changes.malformed += 1,
            }
        } else if let Ok(Probe { probe }) = serde_json::from_slice(&line) {
            if probe.len() <= WORD_BYTES_MAX && self.changes.probes.len() < PROBES_MAX {
                self.changes.probes.push(probe);
            } else {
                self.changes.cut = true;
            }
        } else if let Ok(Cut { cut }) = serde_json::from_slice(&line) {
            self.changes.cut |= cut;
        } else {
            self.changes.malformed += 1;
        }
    }
}

impl Line {
    fn check(self) -> Option<Change> {
        let short = |pair: &Option<Pair<String>>| {
            pair.iter().flatten().flatten().all(|word| word.len() <= WORD_BYTES_MAX)
        };
        let octal = |mode: &String| mode.len() == 4 && mode.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let sound = self.path.starts_with('/')
            && self.path.len() <= WORD_BYTES_MAX
            && short(&self.owner)
            && short(&self.target)
            && self.mode.iter().flatten().flatten().all(octal);
        if !sound {
            return None;
        }
        let diff = self.text.map(|text| unified(&self.path, self.bytes.as_ref(), &text));
        Some(Change {
            path: self.path,
            kind: self.kind,
            change: self.change,
            mode: self.mode,
            owner: self.owner,
            bytes: self.bytes,
            target: self.target,
            diff,
            binary: self.binary,
            unread: self.unread,
        })
    }
}

/// As `diff -u` prints it. A path is one line, whatever is in it.
fn unified(path: &str, bytes: Option<&Pair<u64>>, text: &Text) -> String {
    let lines = |text: &'_ str| -> Vec<String> { text.split_inclusive('\n').map(str::to_owned).collect() };
    let (old, new) = (lines(&text.old), lines(&text.new));
    let (old, new): (Vec<&str>, Vec<&str>) =
        (old.iter().map(|line| &**line).collect(), new.iter().map(|line| &**line).collect());
    let diff = TextDiff::configure().timeout(DIFF_LIMIT).diff_slices(&old, &new);
    let path: String = path
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    let there = |at: usize| bytes.is_none_or(|bytes| bytes.get(at).is_some_and(Option::is_some));
    let name =
        |side: char, at: usize| if there(at) { format!("{side}{path}") } else { "/dev/null".to_owned() };
    let mut out = format!("--- {}\n+++ {}\n", name('a', 0), name('b', 1));
    for group in diff.grouped_ops(CONTEXT_LINES) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let range = |range: std::ops::Range<usize>| {
            let before = text.line.saturating_sub(1).saturating_add(range.start as u64);
            // Nothing stands after the line before it.
            match range.len() {
                0 => format!("{before},0"),
                1 => before.saturating_add(1).to_string(),
                count => format!("{},{count}", before.saturating_add(1)),
            }
        };
        let old = range(first.old_range().start..last.old_range().end);
        let new = range(first.new_range().start..last.new_range().end);
        // Writing to a string does not fail.
        let _ = writeln!(out, "@@ -{old} +{new} @@");
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            out.push(match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            });
            out.push_str(change.value());
            if !change.value().ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
