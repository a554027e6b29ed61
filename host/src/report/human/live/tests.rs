use std::num::NonZero;
use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthStr;
use waft_proto::run::Problem;

use super::*;
use crate::event::{Body, Stream};
use crate::report::Format;
use crate::report::testing::{Show, Sink};

fn board(running: usize, total: usize, now: Instant) -> Board {
    let mut board = Board::new(true, total, now);
    (0..running).for_each(|place| board.state(place, &format!("web{place}"), TargetState::Running, now));
    board
}

#[test]
fn there_are_never_more_lines_than_fit() {
    let now = Instant::now();
    for rows in 0..60 {
        for running in [0, 1, 3, 20, 500] {
            let lines = board(running, 500, now).lines(now, 80, rows);
            assert!(lines.len() <= rows.saturating_sub(LINES_FREE).max(1), "{running} on {rows} rows");
        }
    }
    let lines = board(40, 50, now).lines(now + Duration::from_millis(1250), 80, 7);
    let expected = [
        "⠹ web0  running  1.2 s",
        "⠹ web1  running  1.2 s",
        "⠹ web2  running  1.2 s",
        "... and 37 more",
        "⠹ 0 of 50 done, 1.2 s",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn how_far_a_task_is_stands_in_its_line() {
    let now = Instant::now();
    let mut board = board(1, 2, now);
    let of = |total, text: &str| Progress { done: 3, total, text: Some(text.to_owned()) };
    board.progress(0, &of(Some(9), "pack\u{1b}[2J"));
    board.progress(7, &of(None, "nobody"));
    let lines = board.lines(now, 80, 24);
    assert!(
        lines[0].starts_with("⠋ web0  running  0.0 s  3 of 9  pack") && !lines[0].contains('\u{1b}'),
        "{lines:?}"
    );
    board.progress(0, &of(None, ""));
    assert!(board.lines(now, 80, 24)[0].contains("0.0 s  3"));
}

#[test]
fn lines_are_shorter_than_the_terminal_is_wide() {
    let now = Instant::now();
    let mut board = board(3, 10, now);
    board.state(0, "日本語日本語日本語\u{1b}[2J", TargetState::Connecting, now);
    for columns in 0..60 {
        for line in board.lines(now, columns, 24) {
            assert!(line.width() <= columns.saturating_sub(1).max(1), "{line:?} in {columns}");
            assert!(!line.contains('\u{1b}'));
        }
    }
}

#[test]
fn the_totals_count_what_ended() {
    let now = Instant::now();
    let mut board = board(2, 2, now);
    board.ended(0, Status::Ok);
    board.ended(1, Status::Lost);
    assert_eq!(board.lines(now, 80, 24), ["⠋ 2 of 2 done, 1 not well, 0.0 s"]);
    let mut one = Board::new(false, 1, now);
    one.state(0, "web1", TargetState::Selected, now);
    assert_eq!(one.lines(now, 80, 24), ["| 0 of 1 done, 0.0 s"]);
    one.state(0, "web1", TargetState::Connecting, now);
    assert_eq!(one.lines(now, 80, 24), ["| web1  connecting  0.0 s"]);
}

/// A terminal that shows these bytes.
fn screen(bytes: &[u8], rows: u16, columns: u16) -> vt100::Parser {
    let cells = |count| NonZero::new(count).expect("a terminal has rows and columns");
    let mut parser = vt100::Parser::new(cells(rows), cells(columns), 0);
    for &byte in bytes {
        // The kernel's terminal adds the carriage returns.
        parser.process(if byte == b'\n' { b"\r\n" } else { std::slice::from_ref(&byte) });
    }
    parser
}

#[test]
fn no_live_line_stays_on_the_screen() {
    let (rows, columns) = (10, 30);
    let terminal = Terminal { stderr_tty: true, width: columns, height: rows, ..Terminal::none() };
    let mut show = Show::new(Format::Human, terminal, 0);
    let names: Vec<String> = (0..30).map(|n| format!("host-with-a-long-name-{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    show.start(&names);
    names.iter().for_each(|name| show.state(name, TargetState::Running));
    for name in &names {
        // Task errors share the stream with the live lines, and wrap on this terminal.
        show.output(name, Stream::Stderr, "an error that is longer than the line\n");
    }
    let during = screen(&show.err.bytes(), rows, columns).screen().contents();
    assert!(during.contains("... and 24 more\n"), "{during}");
    assert!(during.contains(" 0 of 30 done, "), "{during}");
    show.finished();
    // High enough for all: no error was wiped away, and nothing but errors and the totals is left.
    let after = screen(&show.err.bytes(), 200, columns).screen().contents();
    let error = |name: &&str| format!("{name} ! an error that is longer than the line\n");
    let mut expected: String = names.iter().map(error).collect();
    expected.push_str("30 targets: 30 without result in 1.2 s, 12.3 kB up, 8.1 kB down");
    assert_eq!(after, expected);
}

#[test]
fn no_line_is_filled_up_to_the_edge() {
    // Else a window that becomes narrower wraps it, and a piece stays behind.
    let mut show = Show::new(Format::Human, Terminal { stderr_tty: true, width: 200, ..Terminal::none() }, 0);
    show.start(&["web1", "web2"]);
    show.state("web1", TargetState::Running);
    show.event("web1", Body::Note(Problem::new("x", "careful")));
    let text = show.err.text();
    assert!(text.contains("web1  running"), "{text:?}");
    assert!(text.split("\r\n").all(|line| !line.ends_with(' ')), "{text:?}");
}

#[test]
fn the_size_of_the_window_is_asked_again() {
    let narrow: crate::report::terminal::AskSize = || Some((12, 24));
    let terminal = Terminal { stderr_tty: true, width: 200, resized: Some(narrow), ..Terminal::none() };
    let (live, err) = live(terminal);
    live.state(0, "web1", TargetState::Connecting);
    live.suspend(|| ());
    let text = screen(&err.bytes(), 24, 80).screen().contents();
    assert!(text.contains("web1  co…\n") && text.lines().all(|line| line.width() < 12), "{text:?}");
}

#[test]
fn a_reporter_that_is_dropped_clears_its_lines() {
    let terminal = Terminal { stderr_tty: true, ..Terminal::none() };
    let mut show = Show::new(Format::Human, terminal, 0);
    show.start(&["a", "b"]);
    show.state("a", TargetState::Running);
    show.event("a", Body::Note(Problem::new("x", "careful")));
    let err = show.err.clone();
    assert_ne!(screen(&err.bytes(), 24, 80).screen().contents(), "a: warning: careful");
    drop(show);
    assert_eq!(screen(&err.bytes(), 24, 80).screen().contents(), "a: warning: careful");
}

#[test]
fn a_question_has_the_terminal_for_itself() {
    let (live, err) = live(Terminal { stderr_tty: true, ..Terminal::none() });
    let shown = || screen(&err.bytes(), 24, 80).screen().contents();
    live.state(0, "a", TargetState::Connecting);
    live.suspend(|| assert_eq!(shown(), ""));
    assert!(shown().contains("a  connecting"));
    live.shared.leave();
    // Whatever happens meanwhile, no line comes back before the answer.
    live.suspend(|| ());
    assert_eq!(shown(), "");
    live.shared.come_back();
    live.suspend(|| ());
    assert!(shown().contains("a  connecting"));
}

fn live(terminal: Terminal) -> (Live, Sink) {
    let err = Sink::default();
    let writer: Writer = Box::new(err.clone());
    (Live::start(terminal, Arc::new(Mutex::new(writer)), 2).expect("a thread"), err)
}
