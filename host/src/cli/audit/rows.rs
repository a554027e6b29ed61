//! Lines of the log for people: one row each.

use crate::audit::{Line, line};
use crate::report::units;
use serde_json::Value;
use waft_proto::run::Status;

/// Of a run's id, this many characters are shown: its time to the millisecond.
const RUN_CHARS: usize = 13;
/// The same of a module's hash.
const MODULE_CHARS: usize = 8;

pub(super) fn row(line: &Line) -> Vec<String> {
    let run: String = line.text("run").unwrap_or_default().chars().take(RUN_CHARS).collect();
    let what = match line.event.as_str() {
        "run_started" => started(line),
        "result" => ended(line),
        "call" => called(line),
        "run_finished" => finished(line),
        line::TORN => format!("a line of {} bytes was torn by a crash", number(line, "bytes").unwrap_or(0)),
        other => other.to_owned(),
    };
    let text = |name: &str| line.text(name).unwrap_or_default().to_owned();
    vec![text("time"), run, text("target"), what]
}

fn number(line: &Line, name: &str) -> Option<u64> {
    line.fields.get(name).and_then(Value::as_u64)
}

fn started(line: &Line) -> String {
    let inner = |outer: &str, name: &str| line.fields.get(outer).and_then(|value| value.get(name));
    let text = |outer: &str, name: &str| inner(outer, name).and_then(Value::as_str);
    let uid =
        inner("user", "uid").and_then(Value::as_u64).map(|uid| format!("uid {uid}")).unwrap_or_default();
    let user = match text("user", "name") {
        Some(name) => format!("{name} ({uid})"),
        None => uid,
    };
    let mut words = vec![format!("{} by {user}", line.text("task").unwrap_or_default())];
    if let Some(login) = inner("user", "login_uid").and_then(Value::as_u64) {
        words.push(format!("logged in as uid {login}"));
    }
    words.extend(text("from", "host").map(|host| format!("on {host}")));
    words.extend(text("from", "ssh_client").map(|client| format!("from {client}")));
    let module: String = line.text("module").unwrap_or_default().chars().take(MODULE_CHARS).collect();
    words.push(format!("module {module}"));
    let grants = line.fields.get("grants").and_then(Value::as_array).into_iter().flatten();
    let grants: Vec<&str> = grants.filter_map(Value::as_str).collect();
    words.push(format!("grants {}", if grants.is_empty() { "none".to_owned() } else { grants.join(" ") }));
    let targets: Vec<&str> = names(line).collect();
    words.push(format!("targets {}", targets.join(" ")));
    words.join(", ")
}

fn called(line: &Line) -> String {
    if let Some(left_out) = number(line, "left_out") {
        return format!("{left_out} more calls, which were not recorded");
    }
    let text = |name: &str| line.text(name).unwrap_or_default();
    let what = format!("{} {}", text("call"), text("subject"));
    format!("{}: {}", what.trim_end(), line.text("code").unwrap_or("ok"))
}

fn ended(line: &Line) -> String {
    let mut words = vec![line.text("status").unwrap_or_default().to_owned()];
    words.extend(number(line, "exit_code").map(|code| format!("exit code {code}")));
    words.extend(number(line, "signal").map(|signal| format!("signal {signal}")));
    words.extend(line.text("error").map(str::to_owned));
    words.extend(number(line, "ms").map(units::time));
    words.join(", ")
}

fn finished(line: &Line) -> String {
    let counts = line.fields.get("counts");
    let count = |status: Status| {
        let count = counts?.get(status.word())?.as_u64().filter(|count| *count > 0)?;
        Some(format!("{count} {}", status.word()))
    };
    let mut words: Vec<String> = Status::ALL.into_iter().filter_map(count).collect();
    words.extend(number(line, "ms").map(units::time));
    format!("finished: {}", words.join(", "))
}

/// The targets of a run.
pub(super) fn names(line: &Line) -> impl Iterator<Item = &str> {
    let targets = line.fields.get("targets").and_then(Value::as_array).into_iter().flatten();
    targets.filter_map(|target| target.get("name")?.as_str())
}
