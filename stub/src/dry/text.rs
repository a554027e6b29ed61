//! Two texts without what they have in common at both ends, so that the controller can make the diff: the lines between,
//! and what a diff shows around them.

use serde::Serialize;

/// Lines that a diff shows before and after a change.
const CONTEXT_LINES: usize = 3;
/// Of each text, what is sent at most, bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;

#[derive(Serialize)]
pub(super) struct Pieces<'a> {
    /// The number of the first line, from 1.
    line: usize,
    old: &'a str,
    new: &'a str,
}

impl Pieces<'_> {
    pub(super) fn bytes(&self) -> usize {
        self.old.len() + self.new.len()
    }
}

/// None when they are too long.
pub(super) fn pieces<'a>(old: &'a [u8], new: &'a [u8]) -> Result<Option<Pieces<'a>>, NoText> {
    if old.contains(&0) || new.contains(&0) {
        return Err(NoText);
    }
    let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) else { return Err(NoText) };
    let (a, b) = (old.as_bytes(), new.as_bytes());
    // A line counts as common when its end is.
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let mut start = line_start(a, same);
    let most = a.len().min(b.len()) - start;
    let same = a.iter().rev().zip(b.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    // From the beginning of a whole line in both to the end.
    let at = a.len() - same;
    let whole = at == start || a.get(at.wrapping_sub(1)) == Some(&b'\n');
    let whole = whole && (b.len() - same == start || b.get((b.len() - same).wrapping_sub(1)) == Some(&b'\n'));
    let mut end = if whole { at } else { line_end(a, at) };
    for _ in 0..CONTEXT_LINES {
        start = line_start(a, start.saturating_sub(1));
        end = line_end(a, end);
    }
    let line = 1 + a.iter().take(start).filter(|byte| **byte == b'\n').count();
    // What follows is the same in both.
    let after = a.len() - end;
    let old = old.get(start..end).unwrap_or_default();
    let new = new.get(start..b.len() - after).unwrap_or_default();
    Ok((old.len().max(new.len()) <= PIECE_BYTES_MAX).then_some(Pieces { line, old, new }))
}

pub(super) struct NoText;

/// Where the line that holds byte `at` begins.
fn line_start(text: &[u8], at: usize) -> usize {
    text.iter().take(at).rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

/// Where the line after the one that holds byte `at` begins, or the end.
fn line_end(text: &[u8], at: usize) -> usize {
    let newline = text.iter().skip(at).position(|byte| *byte == b'\n');
    newline.map_or(text.len(), |newline| at + newline + 1)
}

#[cfg(test)]
mod tests {
    use super::{PIECE_BYTES_MAX, pieces};

    fn of(old: &str, new: &str) -> (usize, String, String) {
        let Ok(Some(pieces)) = pieces(old.as_bytes(), new.as_bytes()) else { panic!("short text") };
        (pieces.line, pieces.old.to_owned(), pieces.new.to_owned())
    }

    #[test]
    fn what_is_common_goes_but_for_three_lines_on_each_side() {
        let lines = |changed: &str| -> String {
            (1..=20).map(|at| if at == 10 { changed.to_owned() } else { format!("line {at}\n") }).collect()
        };
        let (line, old, new) = of(&lines("line 10\n"), &lines("line ten\n"));
        assert_eq!(line, 7);
        assert_eq!(old, "line 7\nline 8\nline 9\nline 10\nline 11\nline 12\nline 13\n");
        assert_eq!(new, "line 7\nline 8\nline 9\nline ten\nline 11\nline 12\nline 13\n");
    }

    /// Whatever the texts are, the rest of them is the same before and after the pieces.
    #[test]
    fn pieces_put_back_give_the_other_text() {
        let words = ["a\n", "b\n", "ab\n", "\n", "a", "é\n"];
        let mut seed = 7u64;
        for _ in 0..20_000 {
            let mut text = || {
                let mut text = String::new();
                for _ in 0..12 {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = usize::try_from(seed >> 33).expect("a small number");
                    if at % 7 > 1 {
                        text.push_str(words[at / 7 % words.len()]);
                    }
                }
                text
            };
            let (old, new) = (text(), text());
            let (line, old_piece, new_piece) = of(&old, &new);
            let start: usize = old.split_inclusive('\n').take(line - 1).map(str::len).sum();
            let (before, rest) = old.split_at(start);
            let after = rest.strip_prefix(&*old_piece).expect("a piece of the old text");
            assert_eq!(format!("{before}{new_piece}{after}"), new, "{old:?}");
            assert!(before.is_empty() || before.ends_with('\n'));
            // Only the last piece of a text may lack its newline.
            assert!(after.is_empty() || old_piece.is_empty() || old_piece.ends_with('\n'), "{old:?} {new:?}");
            assert!(after.is_empty() || new_piece.is_empty() || new_piece.ends_with('\n'), "{old:?} {new:?}");
        }
    }

    #[test]
    fn what_is_no_text_or_too_long_is_not_sent() {
        assert!(pieces(b"a\0", b"a").is_err() && pieces(b"a", b"\xff").is_err());
        let long = "a\n".repeat(PIECE_BYTES_MAX);
        assert!(pieces(b"", long.as_bytes()).is_ok_and(|pieces| pieces.is_none()));
        let (line, old, new) = of(&long, &format!("{long}b\n"));
        assert_eq!((line, &*old, &*new), (PIECE_BYTES_MAX - 2, "a\na\na\n", "a\na\na\nb\n"));
    }
}
