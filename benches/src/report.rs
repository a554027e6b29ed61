//! What was measured, as tables for people and as JSON for programs.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use waft_tests::process::{TOOL_LIMIT, run};

use crate::bench::Bench;
use crate::measure::Samples;

/// Shown in a column that says nothing about a row.
const NOTHING: &str = "";
/// Above this the machine is busy with something else, and says so. Chosen by eye, for two cores.
const LOAD_QUIET_MAX: f64 = 0.7;

pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) sections: Vec<Table>,
}

/// One section: rows that are compared with each other.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// What the rows are, and what their ratios refer to.
    pub(crate) about: &'static str,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: String,
    amount: Amount,
    round_trips: Option<f64>,
    ratio: Option<f64>,
    /// What a bound is held against, if there is to be one.
    pub(crate) bounded: Option<f64>,
}

enum Amount {
    Time {
        median: Duration,
        min: Duration,
        max: Duration,
        count: usize,
    },
    /// Worked out of medians.
    Derived(Duration),
    Bytes(u64),
    Count(u64),
}

impl Row {
    pub(crate) fn time(name: impl Into<String>, samples: &Samples) -> Row {
        let (min, max, count) = (samples.min(), samples.max(), samples.count());
        Row::of(name.into(), Amount::Time { median: samples.median(), min, max, count })
    }

    pub(crate) fn derived(name: impl Into<String>, time: Duration) -> Row {
        Row::of(name.into(), Amount::Derived(time))
    }

    pub(crate) fn bytes(name: impl Into<String>, bytes: u64) -> Row {
        Row::of(name.into(), Amount::Bytes(bytes))
    }

    pub(crate) fn count(name: impl Into<String>, count: u64) -> Row {
        Row::of(name.into(), Amount::Count(count))
    }

    fn of(name: String, amount: Amount) -> Row {
        Row { name, amount, round_trips: None, ratio: None, bounded: None }
    }

    /// How many times the other; this is what has a bound.
    pub(crate) fn against(mut self, own: &Samples, other: &Samples) -> Row {
        let ratio = own.ratio_to(other);
        self.ratio = Some(ratio);
        self.bounded = Some(ratio);
        self
    }

    /// Bytes as a share of others; this is what has a bound.
    pub(crate) fn share_of(mut self, all: u64) -> Row {
        if let Amount::Bytes(bytes) = self.amount {
            let share = bytes as f64 / all as f64;
            self.ratio = Some(share);
            self.bounded = Some(share);
        }
        self
    }

    /// The same, but only what exceeds `allowed` has a bound.
    pub(crate) fn against_after(mut self, allowed: Duration, own: &Samples, other: &Samples) -> Row {
        let beyond = own.median().saturating_sub(allowed);
        self.ratio = Some(own.ratio_to(other));
        self.bounded = Some(beyond.as_secs_f64() / other.median().as_secs_f64());
        self
    }

    /// The time itself has a bound, in milliseconds: where a promise is one, and has room for a slow machine.
    pub(crate) fn bounded_ms(mut self, own: &Samples) -> Row {
        self.bounded = Some(own.median().as_secs_f64() * 1e3);
        self
    }

    /// Also told in round trips of the link.
    pub(crate) fn over(mut self, rtt: Duration) -> Row {
        if let (Amount::Time { median, .. } | Amount::Derived(median), false) = (&self.amount, rtt.is_zero())
        {
            self.round_trips = Some(median.as_secs_f64() / rtt.as_secs_f64());
        }
        self
    }

    /// The amount itself has a bound: bytes, counts and round trips are the same on every machine.
    pub(crate) fn bounded(mut self) -> Row {
        self.bounded = match self.amount {
            Amount::Bytes(number) | Amount::Count(number) => Some(number as f64),
            Amount::Time { .. } | Amount::Derived(_) => self.round_trips,
        };
        self
    }

    fn cells(&self) -> [String; 6] {
        let (amount, spread, count) = match self.amount {
            Amount::Time { median, min, max, count } => {
                (time(median), format!("{} to {}", time(min), time(max)), count.to_string())
            }
            Amount::Derived(duration) => (time(duration), NOTHING.to_owned(), NOTHING.to_owned()),
            Amount::Bytes(bytes) => (format!("{} B", grouped(bytes)), NOTHING.to_owned(), NOTHING.to_owned()),
            Amount::Count(count) => (count.to_string(), NOTHING.to_owned(), NOTHING.to_owned()),
        };
        let number = |number: Option<f64>| number.map_or_else(String::new, |number| format!("{number:.2}"));
        [self.name.clone(), amount, spread, count, number(self.round_trips), number(self.ratio)]
    }

    fn json(&self, section: &str) -> Value {
        let mut row = match self.amount {
            Amount::Time { median, min, max, count } => {
                let us = |duration: Duration| duration.as_secs_f64() * 1e6;
                json!({ "median_us": us(median), "min_us": us(min), "max_us": us(max), "repetitions": count })
            }
            Amount::Derived(duration) => json!({ "derived_us": duration.as_secs_f64() * 1e6 }),
            Amount::Bytes(bytes) => json!({ "bytes": bytes }),
            Amount::Count(count) => json!({ "count": count }),
        };
        row["section"] = section.into();
        row["row"] = self.name.as_str().into();
        for (key, value) in [("round_trips", self.round_trips), ("ratio", self.ratio)] {
            if let Some(value) = value {
                row[key] = value.into();
            }
        }
        row
    }
}

const HEAD: [&str; 6] = ["", "median", "from fastest to slowest", "n", "round trips", "ratio"];

impl Table {
    fn markdown(&self) -> String {
        let mut lines = vec![HEAD.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        // Columns that say nothing in this table are left out.
        let shown: Vec<usize> = (0..HEAD.len())
            .filter(|column| *column < 2 || lines.iter().skip(1).any(|line| line[*column] != NOTHING))
            .collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let mut text = format!("### {}\n\n{}\n\n", self.name, self.about);
        for (at, line) in lines.iter().enumerate() {
            for &column in &shown {
                let (cell, width) = (&line[column], width(column));
                // Writing to a string cannot fail.
                let _ = match column {
                    0 => write!(text, "| {cell:<width$} "),
                    _ => write!(text, "| {cell:>width$} "),
                };
            }
            text.push_str("|\n");
            if at == 0 {
                for &column in &shown {
                    let dashes = "-".repeat(width(column));
                    let _ = match column {
                        0 => write!(text, "|-{dashes}-"),
                        _ => write!(text, "|-{dashes}:"),
                    };
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let tables: Vec<String> = self.sections.iter().map(Table::markdown).collect();
        format!("{}\n\n{}", self.machine.words, tables.join("\n"))
    }

    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self
            .sections
            .iter()
            .flat_map(|section| section.rows.iter().map(|row| row.json(section.name)))
            .collect();
        let report = json!({
            "v": 1, "machine": self.machine.words, "warnings": self.machine.warnings, "figures": rows,
        });
        format!("{report:#}\n")
    }
}

/// Where it was measured, and what speaks against believing it.
pub(crate) struct Machine {
    words: String,
    pub(crate) warnings: Vec<String>,
    /// Release builds and all repetitions.
    pub(crate) is_fit_to_publish: bool,
}

impl Machine {
    pub(crate) fn here(bench: &Bench) -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cpu = cpu.map_or("an unnamed CPU", |(_, name)| name);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
        let mut version = Command::new("ssh");
        version.arg("-V");
        let ssh = run(version, b"", TOOL_LIMIT).map(|done| done.stderr_text()).unwrap_or_default();
        let ssh = ssh.split(',').next().unwrap_or_default().trim().to_owned();
        let words = format!(
            "{cpu}, {cores} cores, Linux {kernel}, {ssh}, load {load} at the start. \
             Medians; `n` is the number of repetitions."
        );
        let mut warnings = Vec::new();
        if cfg!(debug_assertions) || bench.waft.components().any(|part| part.as_os_str() == "debug") {
            warnings.push("a debug build is measured: the figures say nothing about waft".to_owned());
        }
        let is_fit_to_publish = warnings.is_empty() && !bench.quick;
        if bench.quick {
            warnings.push("--quick: few repetitions".to_owned());
        }
        if load.parse::<f64>().is_ok_and(|load| load > LOAD_QUIET_MAX) {
            warnings.push(format!("the machine is not quiet (load {load}): times are too long"));
        }
        Machine { words, warnings, is_fit_to_publish }
    }
}

/// Three digits that count.
fn time(duration: Duration) -> String {
    let us = duration.as_secs_f64() * 1e6;
    let (value, unit) = match us {
        ..1e3 => (us, "µs"),
        ..1e6 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    };
    match value {
        ..10.0 => format!("{value:.2} {unit}"),
        ..100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let mut parts: Vec<&str> = vec![head];
    parts.extend((0..rest.len()).step_by(3).map(|at| &rest[at..at + 3]));
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ms: &[u64]) -> Samples {
        Samples::new(ms.iter().copied().map(Duration::from_millis).collect()).unwrap()
    }

    #[test]
    fn numbers_are_readable() {
        let shown = [1_234, 12_345_000, 123_456_000, 999_000_000, 1_234_000_000].map(Duration::from_nanos);
        assert_eq!(shown.map(time), ["1.23 µs", "12.3 ms", "123 ms", "999 ms", "1.23 s"]);
        assert_eq!(
            [0, 12, 123, 1234, 123_456, 1_234_567].map(grouped),
            ["0", "12", "123", "1 234", "123 456", "1 234 567"]
        );
    }

    #[test]
    fn a_table_shows_the_columns_that_say_something() {
        let (ssh, waft) = (samples(&[100]), samples(&[150, 250, 200]));
        let row = Row::time("waft", &waft).against(&waft, &ssh).over(Duration::from_millis(30));
        let table = Table { name: "cold", about: "About.", rows: vec![Row::time("ssh", &ssh), row] };
        let text = table.markdown();
        assert!(
            text.contains("| waft | 200 ms |        150 ms to 250 ms | 3 |        6.67 |  2.00 |"),
            "{text}"
        );
        let sizes = Table { name: "size", about: "About.", rows: vec![Row::bytes("stub", 1500)] };
        assert!(sizes.markdown().ends_with("| stub | 1 500 B |\n"), "{}", sizes.markdown());
    }

    #[test]
    fn programs_read_the_same_in_microseconds() {
        let (ssh, waft) = (samples(&[125]), samples(&[250]));
        let row = Row::time("waft", &waft).against(&waft, &ssh).json("cold");
        assert_eq!(row["median_us"], 250_000.0);
        assert_eq!(
            (&row["section"], &row["row"], &row["repetitions"]),
            (&"cold".into(), &"waft".into(), &1.into())
        );
        assert_eq!(row["ratio"], 2.0);
        assert!(row.get("round_trips").is_none());
    }
}
