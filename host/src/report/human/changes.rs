//! What a dry run would change, for people. All of it comes from the target, so all of it is escaped.

use std::io;

use super::{Human, Shape, prefix};
use crate::dry::{Change, Changes, Pair, What};
use crate::report::paint::{self, Paint};
use crate::report::{escape, units};
use waft_proto::run::Problem;

impl Human {
    /// On stdout: in a dry run this is what was asked for.
    fn change(&mut self, name: &str, change: &Change) -> io::Result<()> {
        let paint = self.screen.terminal.stdout_paint();
        let mut lines = vec![headline(change, paint)];
        if let Some(diff) = &change.diff {
            lines.extend(diff.lines().map(|line| diff_line(line, paint, self.screen.ellipsis())));
        }
        let mut text = String::new();
        for line in lines {
            if matches!(self.shape, Shape::Many(_)) {
                prefix(&mut text, paint, paint::CHANGED, &escape::cell(name), '~');
            }
            text.push_str(&line);
            text.push('\n');
        }
        self.screen.out(text.as_bytes())
    }

    /// The changes, and beside them on stderr how many, and what is not known.
    pub(super) fn dry(&mut self, name: &str, changes: &Changes) -> io::Result<()> {
        if !changes.list.is_empty() {
            self.screen.fresh_line()?;
        }
        for change in &changes.list {
            self.change(name, change)?;
        }
        let count = changes.list.len() as u64 + changes.more;
        let mut text = match count {
            0 => format!("{}: nothing would change", escape::cell(name)),
            1 => format!("{}: 1 change would be made", escape::cell(name)),
            _ => format!("{}: {count} changes would be made", escape::cell(name)),
        };
        if !changes.probes.is_empty() {
            let plural = if changes.probes.len() == 1 { "" } else { "s" };
            text.push_str(&format!(", asked {} probe{plural}", changes.probes.len()));
        }
        let text = self.screen.terminal.stderr_paint().text(paint::QUIET, &text);
        self.screen.message(&format!("{text}\n"));
        if changes.more > 0 {
            let more = format!("{} of the changes are not shown: there are too many", changes.more);
            self.warn(Some(name), &Problem::new("check.many", more));
        }
        if changes.cut {
            let cut = Problem::new("check.cut", "not everything that the task wrote was looked at")
                .hint("the list of changes is not complete");
            self.warn(Some(name), &cut);
        }
        if changes.malformed > 0 {
            let text = format!("{} lines about changes could not be read", changes.malformed);
            let odd = Problem::new("check.malformed", text).hint("the target is broken or not honest");
            self.warn(Some(name), &odd);
        }
        Ok(())
    }
}

/// `~ /etc/app/x (file modified, 14 -> 12 bytes, mode 0644 -> 0600)`
fn headline(change: &Change, paint: Paint) -> String {
    let (mark, style) = match change.change {
        What::Created => ('+', paint::GOOD),
        What::Deleted => ('-', paint::BAD),
        _ => ('~', paint::CHANGED),
    };
    let word = match change.change {
        What::Mode | What::Owner => "",
        other => other.word(),
    };
    let mut notes = vec![format!("{} {word}", change.kind.word()).trim_end().to_owned()];
    if let Some(bytes) = &change.bytes {
        notes.push(arrow("", &bytes.map(|bytes| bytes.map(units::size))));
    }
    for (what, pair) in [("mode ", &change.mode), ("owner ", &change.owner), ("to ", &change.target)] {
        if let Some(pair) = pair {
            notes.push(arrow(what, pair));
        }
    }
    if change.binary {
        notes.push("no text".to_owned());
    }
    if change.unread {
        notes.push("not compared: it cannot be read, or is too long".to_owned());
    }
    let line = format!("{mark} {} ({})", escape::cell(&change.path), notes.join(", "));
    paint.text(style, &line)
}

fn arrow(what: &str, [old, new]: &Pair<String>) -> String {
    let word = |word: &String| escape::cell(word);
    match (old, new) {
        (Some(old), Some(new)) => format!("{what}{} -> {}", word(old), word(new)),
        (Some(old), None) => format!("{what}{}", word(old)),
        (None, Some(new)) => format!("{what}{}", word(new)),
        (None, None) => what.to_owned(),
    }
}

fn diff_line(line: &str, paint: Paint, ellipsis: &str) -> String {
    let style = match line.as_bytes().first() {
        Some(b'@') => paint::STDOUT,
        Some(b'+') => paint::GOOD,
        Some(b'-') => paint::BAD,
        _ => paint::PLAIN,
    };
    paint.text(style, &escape::line(line.as_bytes(), 0, ellipsis))
}
