//! The end of a run over many targets: results that are the same are one row.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde_json::Value;
use waft_proto::id::Hash;
use waft_proto::run::Status;

use crate::event::{TargetResult, Traffic, incomplete_tail};
use crate::report::paint::{self, Paint};
use crate::report::table::{Align, Cell, Table};
use crate::report::{escape, names, pretty, units};

/// Names of one row where nothing is cut; the others are counted.
const NAMES_CHARS_MAX: usize = 2000;
/// Bytes of a stream's line that may become a row's message.
const EXCERPT_BYTES_MAX: usize = 1000;

/// Why a target ended as it did, in one sentence; empty when there is nothing to say.
pub(super) fn reason(result: &TargetResult) -> String {
    if let Some(problem) = &result.problem {
        return problem.message.clone();
    }
    let own = result.own_problem();
    let said = result.result.as_ref().and_then(|value| value.get("msg")).and_then(Value::as_str);
    let said = said.or(own.as_ref().map(|problem| problem.message.as_str()));
    let ended = match (result.exit_code, result.signal) {
        (_, Some(signal)) => Some(format!("ended by signal {signal}")),
        (Some(code), None) if code != 0 => Some(format!("exit code {code}")),
        _ => None,
    };
    match (said, ended) {
        (Some(said), Some(ended)) => format!("{said} ({ended})"),
        (Some(said), None) => said.to_owned(),
        (None, Some(ended)) => ended,
        (None, None) => String::new(),
    }
}

/// For the table, where no output stands beside it: the reason, and a line that the task printed.
fn message(result: &TargetResult, ellipsis: &str) -> String {
    let reason = reason(result);
    let says_why = result.result.as_ref().is_some_and(|value| value.get("msg").is_some());
    let says_why = says_why || result.own_problem().is_some();
    if result.problem.is_some() || says_why || (result.status.is_done() && result.result.is_some()) {
        return reason;
    }
    let stream = if result.status.is_done() { &result.stdout } else { &result.stderr };
    let text = stream.trim_ascii();
    let mut lines = text.split(|&byte| byte == b'\n');
    // The first line of an output says what it is; the last line of an error says what went wrong.
    let line = if result.status.is_done() { lines.next() } else { lines.next_back() }.unwrap_or_default();
    let (head, _) = line.split_at(line.len().min(EXCERPT_BYTES_MAX));
    let (line, rest) = line.split_at(head.len() - incomplete_tail(head));
    let excerpt = escape::line(line.trim_ascii_end(), rest.len() as u64, ellipsis);
    let more = lines.count();
    match (reason.is_empty(), excerpt.is_empty()) {
        (false, false) => format!("{reason}: {excerpt}"),
        (false, true) => reason,
        (true, _) if more == 1 && result.status.is_done() => format!("{excerpt} (+1 line)"),
        (true, _) if more > 1 && result.status.is_done() => format!("{excerpt} (+{more} lines)"),
        (true, _) => excerpt,
    }
}

/// Results by what they look like. Keeps one copy of each, however many targets there are.
#[derive(Default, Debug)]
pub(super) struct Fold {
    groups: HashMap<(Status, Hash), Group>,
}

#[derive(Debug)]
struct Group {
    /// Names with their places in the run.
    members: Vec<(usize, String)>,
    status: Status,
    ms_min: u64,
    ms_max: u64,
    message: String,
    /// To be shown below the output.
    view: Option<Value>,
}

impl Fold {
    /// `shown`: the output was already printed as it came, so that the result would only repeat it.
    pub(super) fn add(
        &mut self,
        place: usize,
        name: &str,
        result: &TargetResult,
        shown: bool,
        ellipsis: &str,
    ) {
        let message = message(result, ellipsis);
        let same = match &result.result {
            Some(value) => value.to_string().into_bytes(),
            None => result.stdout.clone(),
        };
        // The length keeps the border between the two parts.
        let key = [&(message.len() as u64).to_le_bytes(), message.as_bytes(), same.as_slice()].concat();
        let view = || result.result.as_ref().filter(|value| !shown && says_more(value)).cloned();
        let group = self.groups.entry((result.status, Hash::of(&key))).or_insert_with(|| Group {
            members: Vec::new(),
            status: result.status,
            ms_min: result.ms,
            ms_max: result.ms,
            message,
            view: view(),
        });
        group.members.push((place, name.to_owned()));
        group.ms_min = group.ms_min.min(result.ms);
        group.ms_max = group.ms_max.max(result.ms);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// JSON results as `web[01-03] = {...}`, then the table. What went wrong stands last, where the eye is.
    pub(super) fn render(&mut self, columns: Option<usize>, paint: Paint, ellipsis: &str) -> String {
        for group in self.groups.values_mut() {
            group.members.sort();
        }
        let mut groups: Vec<&Group> = self.groups.values().collect();
        groups.sort_by_key(|group| (!group.status.is_done(), group.members.first().map(|(place, _)| *place)));
        let mut out = String::new();
        let mut table = Table::new(&[
            ("HOST", Align::Left),
            ("STATUS", Align::Left),
            ("TIME", Align::Right),
            ("MESSAGE", Align::Left),
        ]);
        // Half of the line: the message is worth as much as the names.
        let names_max = columns.map_or(NAMES_CHARS_MAX, |columns| columns / 2);
        for group in groups {
            let names: Vec<&str> = group.members.iter().map(|(_, name)| name.as_str()).collect();
            let names = names::joined(&names, names_max, ellipsis);
            if let Some(value) = &group.view {
                push_view(&mut out, &names, value, columns, paint, ellipsis);
            }
            table.row([
                Cell::new(&names),
                Cell::styled(group.status.word(), paint::of_status(group.status)),
                Cell::new(units::times(group.ms_min, group.ms_max)),
                Cell::new(&group.message),
            ]);
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&table.render(columns, paint, ellipsis));
        out
    }
}

/// Whether there is more in a result than the table shows.
fn says_more(value: &Value) -> bool {
    value.as_object().is_none_or(|members| members.keys().any(|key| key != "changed" && key != "msg"))
}

/// Columns of a result where no terminal says how many there are.
const VIEW_COLUMNS: usize = 100;

fn push_view(
    out: &mut String,
    names: &str,
    value: &Value,
    columns: Option<usize>,
    paint: Paint,
    ellipsis: &str,
) {
    let head = format!("{names} = ");
    let columns = columns.unwrap_or(VIEW_COLUMNS);
    let room = columns.saturating_sub(head.chars().count());
    let mut lines = pretty::pretty(value, room, ellipsis);
    if lines.len() > 1 {
        // Only the first line stands behind the names.
        lines = pretty::pretty(value, columns, ellipsis);
        if let [whole] = lines.as_slice() {
            lines = vec![format!("\n  {whole}")];
        }
    }
    paint.push(out, paint::STDOUT, head.trim_end());
    for (at, line) in lines.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = if at == 0 && !line.starts_with('\n') {
            writeln!(out, " {line}")
        } else {
            writeln!(out, "{line}")
        };
    }
}

/// `50 targets: 48 ok, 1 failed, 1 unreachable in 1.2 s, 12.3 kB up, 8.1 kB down`
pub(super) fn summary(
    total: usize,
    counts: &BTreeMap<Status, u64>,
    ms: u64,
    bytes: Traffic,
    paint: Paint,
) -> String {
    let mut parts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(&status, count)| paint.text(paint::of_status(status), &format!("{count} {status}")))
        .collect();
    // There should be none; to say so is better than a sum that is wrong.
    let missing = (total as u64).saturating_sub(counts.values().sum());
    if missing > 0 {
        parts.push(paint.text(paint::BAD, &format!("{missing} without result")));
    }
    let plural = if total == 1 { "" } else { "s" };
    let (time, up, down) = (units::time(ms), units::size(bytes.up), units::size(bytes.down));
    format!("{total} target{plural}: {} in {time}, {up} up, {down} down\n", parts.join(", "))
}
