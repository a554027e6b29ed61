//! Bounds, for `--check`: so generous that a neighbour's noise does not reach them, and so tight that a lost round
//! trip, a worker that is started anew, or a compiler in the stub does.
//!
//! Ratios refer to `ssh` (or to what the table says) in the same run. A figure that is to be bounded and is not, or a
//! bound whose figure is gone, is a fault too: forgetting fails.

use crate::report::Table;

pub(crate) struct Limit {
    section: &'static str,
    row: &'static str,
    /// Of the ratio; or of the amount, where the row has none.
    at_most: f64,
}

const fn limit(section: &'static str, row: &'static str, at_most: f64) -> Limit {
    Limit { section, row, at_most }
}

pub(crate) const LIMITS: &[Limit] = &[];

pub(crate) struct Fault {
    section: String,
    row: String,
    text: String,
}

/// Everything that is wrong, of the sections that were measured.
pub(crate) fn faults(tables: &[Table], limits: &[Limit]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for table in tables {
        let mut fault = |row: &str, text: String| {
            faults.push(Fault { section: table.name.to_owned(), row: row.to_owned(), text });
        };
        for row in &table.rows {
            let limit = limits.iter().find(|limit| limit.section == table.name && limit.row == row.name);
            match (row.bounded, limit) {
                (Some(value), Some(limit)) if value > limit.at_most => {
                    fault(&row.name, format!("{value:.2} is more than {:.2}", limit.at_most));
                }
                (Some(value), None) => fault(&row.name, format!("{value:.2} has no bound")),
                (None, Some(_)) => fault(&row.name, "has a bound, but nothing to hold against it".to_owned()),
                _ => {}
            }
        }
        for limit in limits.iter().filter(|limit| limit.section == table.name) {
            if !table.rows.iter().any(|row| row.name == limit.row) {
                fault(limit.row, "has a bound, but was not measured".to_owned());
            }
        }
    }
    faults
}

pub(crate) fn table(faults: &[Fault]) -> String {
    let width =
        |of: fn(&Fault) -> &str| faults.iter().map(|fault| of(fault).chars().count()).max().unwrap_or(0);
    let (section, row) = (width(|fault| &fault.section), width(|fault| &fault.row));
    let lines = faults
        .iter()
        .map(|fault| format!("  {:<section$}  {:<row$}  {}\n", fault.section, fault.row, fault.text));
    format!("Out of bounds:\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Row;
    use crate::sections::SECTIONS;

    fn sizes(rows: Vec<Row>) -> [Table; 1] {
        [Table { name: "size", about: "", rows }]
    }

    fn said(tables: &[Table], limits: &[Limit]) -> Vec<String> {
        faults(tables, limits).into_iter().map(|fault| format!("{}: {}", fault.row, fault.text)).collect()
    }

    #[test]
    fn what_exceeds_its_bound_is_named_with_both_numbers() {
        let tables = sizes(vec![Row::bytes("a", 10).bounded(), Row::bytes("b", 11).bounded()]);
        let limits = [limit("size", "a", 10.0), limit("size", "b", 10.0), limit("cold", "c", 1.0)];
        assert_eq!(said(&tables, &limits), ["b: 11.00 is more than 10.00"]);
        assert!(table(&faults(&tables, &limits)).contains("  size  b  11.00"));
    }

    #[test]
    fn forgetting_a_bound_or_a_figure_is_a_fault() {
        let tables = sizes(vec![Row::bytes("a", 10).bounded(), Row::bytes("b", 11)]);
        let limits = [limit("size", "b", 10.0), limit("size", "gone", 10.0)];
        assert_eq!(
            said(&tables, &limits),
            [
                "a: 10.00 has no bound",
                "b: has a bound, but nothing to hold against it",
                "gone: has a bound, but was not measured",
            ]
        );
    }

    #[test]
    fn every_bound_is_of_a_section_that_exists() {
        for limit in LIMITS {
            assert!(
                SECTIONS.iter().any(|(name, _)| *name == limit.section),
                "{}: {}",
                limit.section,
                limit.row
            );
        }
    }
}
