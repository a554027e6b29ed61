//! What commands without a run print: tables, trees, problems.

use super::Failure;
use crate::report::table::{Align, Cell, Table};
use crate::report::tree::Node;
use crate::report::{Terminal, escape, is_closed_pipe, json, problem, tree};
use std::io::{self, Write};
use waft_proto::run::{Problem, Status};

/// Writes to stdout. A reader that went away ends the command quietly.
pub(super) fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if !is_closed_pipe(&error) => Err(Failure::Own(Problem::new(
            "report.write",
            format!("cannot print: {}", crate::files::plain(&error)),
        ))),
        _ => Ok(()),
    }
}

/// A line of JSON, in which a target may have had its say.
pub(super) fn json(value: &serde_json::Value) -> Result<(), Failure> {
    out(&format!("{}\n", json::without_hostile(value.to_string())))
}

/// Rows of untrusted text under headings.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let terminal = Terminal::detect();
    let columns: Vec<(&str, Align)> = heads.iter().map(|head| (*head, Align::Left)).collect();
    let mut table = Table::new(&columns);
    for row in rows {
        table.row(row.iter().map(Cell::new));
    }
    out(&table.render(terminal.stdout_columns(), terminal.stdout_paint(), escape::ellipsis(terminal.utf8)))
}

pub(super) fn draw(root: &Node) -> Result<(), Failure> {
    let terminal = Terminal::detect();
    out(&tree::tree(root, terminal.glyphs(), terminal.stdout_paint()))
}

/// What stops waft itself.
pub(super) fn error(problem: &Problem) {
    let text = problem::error(problem, Terminal::detect().stderr_paint());
    // Nobody is left to tell when stderr is gone.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// What became of one target, on stderr.
pub(super) fn target(name: &str, status: Status, problem: &Problem) {
    let paint = Terminal::detect().stderr_paint();
    let text = problem::of_target(name, status, &problem.message, paint) + &problem::hint(problem);
    let _ = io::stderr().write_all(text.as_bytes());
}
