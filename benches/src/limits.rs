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

pub(crate) const LIMITS: &[Limit] = &[
    // Bytes are the same on every machine. Of stubs they are what the project promises, of tasks a tenth above what they are.
    limit("size", "stub, leaf", 3_000_000.0),
    limit("size", "stub, leaf, gzip", 1_200_000.0),
    limit("size", "stub, hop", 4_500_000.0),
    limit("size", "stub, hop, gzip", 1_700_000.0),
    limit("size", "task exec, module", 112_000.0),
    limit("size", "task exec, artifact", 310_000.0),
    limit("size", "task facts, module", 119_000.0),
    limit("size", "task facts, artifact", 330_000.0),
    // Without a delay it is CPU on both ends: unpacking a stub, loading an artifact, and russh beside OpenSSH.
    limit("cold", "waft, remembered, RTT 0 ms", 1.2),
    limit("cold", "waft, first time, RTT 0 ms", 1.2),
    // Twice the median that was seen; the compiler shares the cores with the login.
    limit("cold", "waft, first time and compiling, RTT 0 ms", 2.5),
    // With one it is round trips: ssh takes about fifteen, so a lost one is a fifteenth.
    limit("cold", "waft, remembered, RTT 30 ms", 1.3),
    limit("cold", "waft, first time, RTT 30 ms", 1.4),
    limit("cold", "waft, first time and compiling, RTT 30 ms", 1.8),
    // The stub, gzip, and the artifact of `exec`, and little else.
    limit("cold", "waft, remembered: sent to the host", 1_620_000.0),
    limit("cold", "waft, remembered: received", 8_000.0),
    limit("cold", "waft, remembered: flights", 23.0),
    limit("cold", "waft, first time: sent to the host", 1_620_000.0),
    limit("cold", "waft, first time: received", 8_000.0),
    limit("cold", "waft, first time: flights", 23.0),
    // Beside an ssh that sends as much, what is left is waiting: one round trip is a twentieth.
    limit("wan", "waft, first time, RTT 300 ms", 1.1),
    limit("wan", "waft, remembered, RTT 300 ms", 1.1),
    limit("wan", "waft, first time, through a bastion, RTT 300 ms", 1.1),
    limit("wan", "waft, remembered, through a bastion, RTT 300 ms", 1.1),
    // In round trips: what the project promises.
    limit("wan", "waft, remembered, without the transfer, RTT 300 ms", 12.0),
    limit("wan", "waft, remembered, without the transfer, through a bastion, RTT 300 ms", 14.0),
    // An artifact of a quarter of a megabyte is five round trips of slow start.
    limit("wan", "waft, installed, RTT 300 ms", 1.3),
    // ssh starts a client process each time, so waft is far below; above these it would have lost its point.
    limit("warm", "waft, RTT 0 ms", 0.3),
    limit("warm", "waft, RTT 30 ms", 0.5),
    limit("fan-out", "waft, 1 host", 1.6),
    limit("fan-out", "waft, 10 hosts", 1.5),
    limit("fan-out", "waft, 50 hosts", 1.4),
    // Each hop needs a stub before it can dial, where ssh dials at once. A wait that nobody needs is seconds.
    limit("depth", "waft, 1 hop, RTT 30 ms", 1.2),
    limit("depth", "waft, 2 hops, RTT 30 ms", 1.2),
    limit("depth", "waft, 3 hops, RTT 30 ms", 1.2),
    // What exceeds 100 µs: the aim is three times the floor, and some 100 µs for the worker.
    limit("sandbox", "a warm worker", 3.0),
    // The start of a process is two milliseconds, of some 50 µs each.
    limit("sandbox", "a run over a local link to a warm worker", 30.0),
    limit("sandbox", "a warm worker, beside one without the kernel's walls", 2.0),
    limit("sandbox", "a new worker", 90.0),
    limit("sandbox", "a new worker without the kernel's walls", 60.0),
    // Milliseconds: what the project promises.
    limit("sandbox", "a new worker, milliseconds", 15.0),
    // What the project promises of a task that has nothing to do.
    limit("core", "file, as it shall be", 5.0),
    limit("core", "lineinfile, the line is there", 5.0),
    limit("core", "copy, the content is there", 5.0),
    // Milliseconds: what the project promises.
    limit("policy", "deciding by the last of 1 000 rules, milliseconds", 1.0),
    // Milliseconds: what the project promises. It is reading a file and hashing it.
    limit("cache", "the artifact of exec, milliseconds", 10.0),
    // Of the artifact: what the project promises.
    limit("chunks", "second component, sent", 0.2),
    // Deflate makes a third of it.
    limit("chunks", "first component, sent, with worker", 0.45),
];

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
                    fault(&row.name, format!("{} is more than {}", number(value), number(limit.at_most)));
                }
                (Some(value), None) => fault(&row.name, format!("{} has no bound", number(value))),
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

/// Ratios with two digits behind the point; bytes and counts as they are.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
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
        assert_eq!(said(&tables, &limits), ["b: 11 is more than 10"]);
        assert!(table(&faults(&tables, &limits)).contains("  size  b  11 is more"));
    }

    #[test]
    fn forgetting_a_bound_or_a_figure_is_a_fault() {
        let tables = sizes(vec![Row::bytes("a", 10).bounded(), Row::bytes("b", 11)]);
        let limits = [limit("size", "b", 10.0), limit("size", "gone", 10.0)];
        assert_eq!(
            said(&tables, &limits),
            [
                "a: 10 has no bound",
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
