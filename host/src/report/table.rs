//! A small text table: aligned by what a terminal shows and not by bytes, two spaces between columns, no lines.
//!
//! Cells are escaped here, so that a name or message from a target cannot harm the reader of any table.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::escape;
use super::paint::{self, Paint};

/// Characters of one cell that are kept, whatever the width of the terminal.
const CELL_CHARS_MAX: usize = 1000;
/// Columns that a column keeps on a terminal that is too narrow.
const NARROW_MIN: usize = 6;
const GAP: &str = "  ";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    Left,
    Right,
}

#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn new(text: impl AsRef<str>) -> Cell {
        Cell::styled(text, paint::PLAIN)
    }

    pub fn styled(text: impl AsRef<str>, style: Style) -> Cell {
        let text = escape::cell(text.as_ref());
        let text = match text.char_indices().nth(CELL_CHARS_MAX) {
            Some((at, _)) => escape::fit(&text, text.split_at(at).0.width(), "...").into_owned(),
            None => text,
        };
        Cell { text, style }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::new(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::new(text)
    }
}

#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A heading and how the column is aligned, for each column.
    pub fn new(columns: &[(&str, Align)]) -> Table {
        let heads = columns.iter().map(|(head, _)| Cell::styled(head, paint::HEADER)).collect();
        Table { columns: columns.iter().map(|(_, align)| *align).collect(), rows: vec![heads] }
    }

    /// Missing cells are empty; cells beyond the last column are not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Table {
        self.rows.push(cells.into_iter().take(self.columns.len()).collect());
        self
    }

    /// The table as lines that end in newlines, with no blanks at their ends. `columns` is the width of the
    /// terminal; `None` cuts nothing.
    pub fn render(&self, columns: Option<usize>, paint: Paint, ellipsis: &str) -> String {
        let widths = self.widths(columns);
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            // Blanks are written only before the next cell that shows something.
            let mut owed = 0;
            for (at, (&width, &align)) in widths.iter().zip(&self.columns).enumerate() {
                owed += if at == 0 { 0 } else { GAP.len() };
                let Some(cell) = row.get(at).filter(|cell| !cell.text.is_empty()) else {
                    owed += width;
                    continue;
                };
                let shown = escape::fit(&cell.text, width, ellipsis);
                let blanks = width.saturating_sub(shown.width());
                let (before, after) = if align == Align::Right { (blanks, 0) } else { (0, blanks) };
                line.extend(std::iter::repeat_n(' ', owed + before));
                paint.push(&mut line, cell.style, &shown);
                owed = after;
            }
            out.push_str(&line);
            out.push('\n');
        }
        out
    }

    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let natural = |at: usize| {
            self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.width()).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(natural).collect();
        let Some(columns) = columns else { return widths };
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(columns);
        // Take from the widest; of equals from the last, which is most often a message.
        while over > 0
            && let Some(widest) = widths.iter_mut().max()
            && *widest > NARROW_MIN
        {
            *widest -= 1;
            over -= 1;
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table =
            Table::new(&[("HOST", Align::Left), ("TIME", Align::Right), ("MESSAGE", Align::Left)]);
        table.row(["web1".into(), "1.2 s".into(), "all is well".into()]);
        table.row(["日本".into(), "320 ms".into()]);
        table.row(["x".into(), "".into(), "late".into(), "beyond".into()]);
        table
    }

    #[test]
    fn columns_line_up_by_what_is_seen() {
        let expected = "HOST    TIME  MESSAGE\n\
                        web1   1.2 s  all is well\n\
                        日本  320 ms\n\
                        x             late\n";
        assert_eq!(sample().render(None, Paint::Plain, "…"), expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_first() {
        let expected = "HOST    TIME  MESSA…\n\
                        web1   1.2 s  all i…\n\
                        日本  320 ms\n\
                        x             late\n";
        assert_eq!(sample().render(Some(20), Paint::Plain, "…"), expected);
        // Nothing sensible fits: every column keeps a little and the terminal wraps.
        assert_eq!(sample().render(Some(3), Paint::Plain, "…"), expected);
    }

    #[test]
    fn cells_are_one_safe_line() {
        let mut table = Table::new(&[("A", Align::Left)]);
        table.row([Cell::new("two\nlines \u{1b}[2J")]);
        table.row([Cell::new("y".repeat(CELL_CHARS_MAX * 2))]);
        let shown = table.render(None, Paint::Plain, "…");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.get(1), Some(&"two lines \\x1b[2J"));
        assert_eq!(lines.get(2).map(|line| line.len()), Some(CELL_CHARS_MAX));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn colour_changes_no_width() {
        let mut table = Table::new(&[("A", Align::Left), ("B", Align::Left)]);
        table.row([Cell::styled("ok", paint::GOOD), "x".into()]);
        table.row(["longer".into(), "y".into()]);
        let shown = table.render(None, Paint::Color, "…");
        let expected =
            "\u{1b}[1mA\u{1b}[0m       \u{1b}[1mB\u{1b}[0m\n\u{1b}[32mok\u{1b}[0m      x\nlonger  y\n";
        assert_eq!(shown, expected);
    }
}
