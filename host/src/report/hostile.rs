//! Whatever a target says, wherever it says it: no reader of events passes on what can move a cursor, set a title, ask the
//! terminal something, hide text or turn it around.
//!
//! Texts are made by chance from a fixed seed, from all characters that could do harm and from whole sequences.

use super::paint::Paint;
use super::table::{Align, Cell, Table};
use super::terminal::Color;
use super::testing::{Show, ended};
use super::tree::{Glyphs, Node, tree};
use super::{Format, Terminal, escape, names, pretty, problem};
use crate::dry::{Change, Changes, Kind, What};
use crate::event::{Body, Call, Progress, Stream, TargetResult};
use serde_json::{Value, json};
use waft_proto::run::{Problem, Status, TargetState};

/// Runs of each format on each terminal.
const ROUNDS: u64 = 40;

/// What begins a sequence, or is one.
const SEQUENCES: [&str; 12] = [
    "\u{1b}]0;owned\u{7}",
    "\u{1b}[2J",
    "\u{1b}[6n",
    "\u{1b}P+q\u{1b}\\",
    "\u{1b}]52;c;b3duZWQ=\u{7}",
    "\u{9b}31m",
    "\u{9d}0;owned\u{9c}",
    "\r\nweb2: ok\n",
    "\u{8}\u{8}\u{8}",
    "\u{202e}txt.exe\u{202c}",
    "\u{2067}\u{2066}\u{2069}",
    "error: \u{200b}\u{feff}",
];

/// xorshift64*, good enough to mix texts.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("31 bits") % bound
    }

    fn harm(&mut self) -> char {
        let ranges = [(0u32, 0x20), (0x7f, 0x21), (0x2028, 7), (0x2060, 0x10), (0xe0000, 0x80), (0x200b, 5)];
        let (first, count) = ranges[self.below(ranges.len())];
        char::from_u32(first + u32::try_from(self.below(count as usize)).expect("small"))
            .expect("a character")
    }

    /// Of some fifty characters, with line ends.
    fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..1 + self.below(12) {
            match self.below(4) {
                0 => text.push_str(SEQUENCES[self.below(SEQUENCES.len())]),
                1 => text.push(self.harm()),
                2 => text.push_str(
                    ["web01", "日本", "é", "[1-3]", "\"", "\\", "a b", "{\"x\": 1}"][self.below(8)],
                ),
                _ => text.push(char::from(b' ' + u8::try_from(self.below(95)).expect("ASCII"))),
            }
        }
        text
    }

    /// The same with bytes that are no text.
    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = self.text().into_bytes();
        for _ in 0..self.below(4) {
            let (at, byte) = (self.below(bytes.len() + 1), u8::try_from(self.below(256)).expect("a byte"));
            bytes.insert(at, byte);
        }
        bytes
    }

    fn problem(&mut self) -> Problem {
        Problem::new(&self.text(), self.text()).hint(self.text())
    }

    fn value(&mut self) -> Value {
        json!({ self.text(): self.text(), "msg": self.text(), "changed": true, "list": [self.text(), { self.text(): null }] })
    }

    fn change(&mut self) -> Change {
        let pair = |chance: &mut Chance| Some([Some(chance.text()), Some(chance.text())]);
        Change {
            path: self.text(),
            kind: Kind::File,
            change: What::Modified,
            mode: pair(self),
            owner: pair(self),
            bytes: Some([Some(1), None]),
            target: pair(self),
            diff: Some(format!(
                "--- {}\n+++ {}\n@@ -1 +1 @@\n-{}\n+{}\n",
                self.text(),
                self.text(),
                self.text(),
                self.text()
            )),
            binary: false,
            unread: false,
        }
    }

    fn result(&mut self, status: Status) -> TargetResult {
        let value = self.value();
        TargetResult {
            result: (self.below(2) == 0).then_some(value),
            stdout: self.bytes(),
            stderr: self.bytes(),
            walls: vec![self.text(), self.text()],
            problem: (!status.is_done()).then(|| self.problem()),
            changes: (self.below(2) == 0).then(|| Changes {
                list: vec![self.change()],
                probes: vec![self.text()],
                more: 3,
                cut: true,
                malformed: 2,
            }),
            stdout_cut: true,
            ..ended(status, "")
        }
    }

    /// A whole run with everything that a target can say.
    fn run(&mut self, show: &mut Show, targets: usize) {
        let names: Vec<String> = (0..targets).map(|at| format!("{at}{}", self.text())).collect();
        let words: Vec<&str> = names.iter().map(String::as_str).collect();
        show.event("", Body::RunStarted { task: self.text(), hash: None, targets: names.clone() });
        for name in &words {
            for state in
                [TargetState::Selected, TargetState::Connecting, TargetState::Ready, TargetState::Running]
            {
                show.state(name, state);
            }
            for stream in [Stream::Stdout, Stream::Stderr, Stream::Log, Stream::Stdout] {
                show.output(name, stream, self.bytes());
            }
            let (call, subject, code) = (self.text(), self.text(), Some(self.text()));
            show.event(name, Body::Call(Call { call, subject, code, ms: 1, ..Call::default() }));
            show.event(name, Body::Progress(Progress { done: 1, total: Some(2), text: Some(self.text()) }));
            show.event(name, Body::Change(Box::new(self.change())));
            show.event(name, Body::Note(self.problem()));
        }
        show.event("", Body::Note(self.problem()));
        for (at, name) in words.iter().enumerate() {
            let status = Status::ALL[(at + self.below(Status::ALL.len())) % Status::ALL.len()];
            show.result(name, self.result(status));
        }
        show.finished();
    }
}

/// What is left of text when our own colours and movements are taken out of it.
fn without_our_own(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        let end = after.find(|c: char| !matches!(c, '0'..='9' | ';' | '?')).unwrap_or(after.len());
        match after[end..].chars().next() {
            Some('m' | 'A' | 'B' | 'K' | 'J' | 'G' | 'h' | 'l') => rest = &after[end + 1..],
            _ => {
                out.push('\u{1b}');
                rest = after;
            }
        }
    }
    out + rest
}

#[track_caller]
fn clean(what: &str, text: &str) {
    let bad = text.char_indices().find(|(_, c)| escape::is_hostile(*c) && !matches!(c, '\n' | '\t'));
    let around = bad.map(|(at, c)| {
        let from = (0..=at.saturating_sub(60)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        (c, text[from..].chars().take(120).collect::<String>())
    });
    assert_eq!(around, None, "{what}");
}

/// The table of the issue: these and no others are what must not be there.
#[test]
fn what_counts_as_hostile_has_all_that_must_not_reach_a_terminal() {
    let must = (0..0x20u32).chain(0x7f..0xa0).chain(0x202a..=0x202e).chain(0x2066..=0x2069);
    for c in must.filter_map(char::from_u32) {
        assert!(escape::is_hostile(c), "{c:?}");
    }
    for c in ['a', '~', ' ', 'é', '€', '日', '😀', '\u{a0}'] {
        assert!(!escape::is_hostile(c), "{c:?}");
    }
}

#[test]
fn no_event_of_a_target_reaches_a_terminal_or_a_file_unescaped() {
    let plain =
        Terminal { stdout_tty: true, stderr_tty: true, color: Color::Never, dumb: true, ..Terminal::none() };
    let painted = Terminal { color: Color::Always, ..plain };
    let live = Terminal { dumb: false, ..painted };
    let mut seen = 0;
    for round in 0..ROUNDS {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15 + round);
        for format in Format::ALL {
            for (what, terminal) in
                [("none", Terminal::none()), ("plain", plain), ("painted", painted), ("live", live)]
            {
                for targets in [1, 3] {
                    // Of a single target a pipe gets the bytes as they are.
                    if what == "none" && targets == 1 && format == Format::Human {
                        continue;
                    }
                    let verbosity = u8::try_from(chance.below(4)).expect("small");
                    let mut show = Show::new(format, terminal, verbosity);
                    chance.run(&mut show, targets);
                    for text in [show.out.text(), show.err.text()] {
                        let text =
                            if matches!(what, "painted" | "live") { without_our_own(&text) } else { text };
                        let text = if what == "live" { text.replace('\r', "") } else { text };
                        clean(&format!("round {round}, {format:?}, {what}, {targets} targets"), &text);
                        seen += text.len();
                    }
                }
            }
        }
    }
    assert!(seen > 1_000_000, "{seen} bytes are too few to prove anything");
}

#[test]
fn no_table_tree_or_message_passes_on_what_is_in_it() {
    let mut chance = Chance(0x2026_1121);
    for round in 0..ROUNDS * 10 {
        let what = format!("round {round}");
        let all: Vec<String> = (0..6).map(|_| chance.text()).collect();
        for columns in [None, Some(12), Some(80)] {
            let mut table = Table::new(&[("host", Align::Left), ("what", Align::Right)]);
            for pair in all.chunks(2) {
                table.row(pair.iter().map(Cell::new));
            }
            let text = table.render(columns, Paint::Plain, "...");
            clean(&what, &text);
            assert_eq!(text.lines().count(), 4, "a cell is one line: {text:?}");
        }
        let node = Node::new(all[0].clone(), all[1].clone()).child(Node::new(all[2].clone(), all[3].clone()));
        let text = tree(&node, Glyphs::Unicode, Paint::Plain);
        clean(&what, &text);
        assert_eq!(text.lines().count(), 2, "{text:?}");
        let odd = chance.problem();
        for text in [
            problem::error(&odd, Paint::Plain),
            problem::warning(Some(&all[0]), &odd, Paint::Plain),
            problem::of_target(&all[0], Status::Lost, &odd.message, Paint::Plain),
            problem::hint(&odd),
        ] {
            clean(&what, &text);
            // Its later lines cannot pass for messages of their own.
            assert!(text.lines().skip(1).all(|line| line.starts_with("  ")), "{text:?}");
        }
        let mut table = Table::new(&[("hosts", Align::Left)]);
        table.row([Cell::new(names::joined(&all, 60, "..."))]);
        clean(&what, &table.render(None, Paint::Plain, "..."));
        clean(&what, &super::json::without_hostile(chance.value().to_string()));
        let value = chance.value();
        clean(&what, &pretty::pretty(&value, 60, "...").join("\n"));
    }
}
