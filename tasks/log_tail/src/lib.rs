//! Lines of the end of a file. A library of its own, so that its tests run on the machine that builds it.

use std::io::{self, Read, Seek, SeekFrom};

/// Of one file, bytes that are read: the end of it.
pub const READ_BYTES_MAX: u64 = 16 << 20;
/// Of one line, bytes that are answered.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// Of all lines of one run, bytes that are answered: a result has 1 MiB.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Bytes that are read first, from the end.
const PIECE_BYTES: u64 = 64 * 1024;

pub struct Wish<'a> {
    pub lines: usize,
    /// Bytes at the beginning that are known.
    pub from: u64,
    pub pattern: Option<&'a str>,
    /// Bytes that may be answered.
    pub room: usize,
}

#[derive(PartialEq, Eq, Debug)]
pub struct Tail {
    pub lines: Vec<String>,
    /// Behind the last whole line.
    pub offset: u64,
    pub truncated: bool,
}

/// The last whole lines of a file of this size; what is behind the last end of a line is still being written.
pub fn tail(file: &mut (impl Read + Seek), size: u64, wish: &Wish<'_>) -> io::Result<Tail> {
    let floor = wish.from.max(size.saturating_sub(READ_BYTES_MAX));
    let (mut start, mut bytes, mut whole) = (size, Vec::new(), 0);
    // Backwards, until there are enough ends of lines. With a pattern nobody knows how many that is.
    while start > floor && (wish.pattern.is_some() || whole <= wish.lines) {
        // Each time twice as much: what was read is moved each time.
        let step = if wish.pattern.is_some() { READ_BYTES_MAX } else { PIECE_BYTES.max(bytes.len() as u64) };
        let count = step.min(start - floor);
        start -= count;
        file.seek(SeekFrom::Start(start))?;
        let mut piece = Vec::new();
        file.by_ref().take(count).read_to_end(&mut piece)?;
        whole += piece.iter().filter(|byte| **byte == b'\n').count();
        piece.extend_from_slice(&bytes);
        bytes = piece;
    }
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let offset = if end == 0 { start.max(wish.from.min(size)) } else { start + end as u64 };
    // What is before the first end may be a part of a line.
    let begin = if start == wish.from {
        0
    } else {
        bytes.iter().position(|byte| *byte == b'\n').map_or(end, |at| at + 1)
    };
    let mut truncated = start > wish.from;
    let (mut lines, mut room) = (Vec::new(), wish.room);
    let body = bytes.get(begin..end).unwrap_or_default();
    for line in body.split_inclusive(|byte| *byte == b'\n').rev() {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        if wish.pattern.is_some_and(|pattern| !text.contains(pattern)) {
            continue;
        }
        if lines.len() == wish.lines {
            truncated = true;
            break;
        }
        let mut text = text.into_owned();
        if text.len() > LINE_BYTES_MAX {
            text.truncate((0..=LINE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
            truncated = true;
        }
        let Some(left) = room.checked_sub(text.len()) else {
            truncated = true;
            break;
        };
        room = left;
        lines.push(text);
    }
    lines.reverse();
    Ok(Tail { lines, offset, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn of(text: &str, lines: usize, from: u64, pattern: Option<&str>) -> Tail {
        let wish = Wish { lines, from, pattern, room: ANSWER_BYTES_MAX };
        tail(&mut Cursor::new(text.as_bytes()), text.len() as u64, &wish).unwrap()
    }

    #[test]
    fn the_last_whole_lines_are_answered() {
        let plain = of("a\nb\nc\n", 2, 0, None);
        assert_eq!(plain, Tail { lines: vec!["b".into(), "c".into()], offset: 6, truncated: true });
        assert_eq!(
            of("a\nb\npart", 5, 0, None),
            Tail { lines: vec!["a".into(), "b".into()], offset: 4, truncated: false }
        );
        assert_eq!(of("", 5, 0, None), Tail { lines: vec![], offset: 0, truncated: false });
        assert_eq!(of("part", 5, 0, None), Tail { lines: vec![], offset: 0, truncated: false });
        assert_eq!(of("a\n\n", 5, 0, None).lines, ["a", ""]);
    }

    #[test]
    fn what_was_answered_is_not_answered_again() {
        let first = of("a\nb", 5, 0, None);
        let second = of("a\nbb\nc\n", 5, first.offset, None);
        assert_eq!(second, Tail { lines: vec!["bb".into(), "c".into()], offset: 7, truncated: false });
        assert_eq!(of("a\nbb\nc\n", 5, 7, None), Tail { lines: vec![], offset: 7, truncated: false });
    }

    #[test]
    fn lines_are_chosen_by_what_they_hold() {
        let text = "x ERROR\n".to_owned() + &"fine\n".repeat(50_000) + "y ERROR\n";
        assert_eq!(of(&text, 5, 0, Some("ERROR")).lines, ["x ERROR", "y ERROR"]);
        assert_eq!(of(&text, 1, 0, Some("ERROR")).lines, ["y ERROR"]);
    }

    #[test]
    fn long_files_are_read_from_their_end_and_long_lines_cut() {
        let text = "0123456789\n".repeat(100_000);
        assert_eq!(of(&text, 3, 0, None).lines, ["0123456789"; 3]);
        let long = "\u{e4}".repeat(LINE_BYTES_MAX) + "\n";
        let cut = of(&long, 3, 0, None);
        assert!(cut.truncated && cut.lines[0].len() == LINE_BYTES_MAX, "{}", cut.lines[0].len());
        let wish = Wish { lines: 9, from: 0, pattern: None, room: 3 };
        let little = tail(&mut Cursor::new(b"aa\nbb\ncc\n"), 9, &wish).unwrap();
        assert_eq!(little, Tail { lines: vec!["cc".into()], offset: 9, truncated: true });
    }
}
