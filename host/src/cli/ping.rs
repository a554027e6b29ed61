//! `waft ping`: who answers, and what they are.

use super::args::{Format, Ping};
use super::{Done, Failure, interrupt, print, targets};
use crate::census::{self, Found};
use crate::controller::Controller;
use crate::report;
use serde_json::{Value, json};

pub(super) async fn ping(args: Ping) -> Done {
    let selection = targets::select(&args.targets)?;
    let shape = selection.shape.clone();
    let mut controller = Controller::start(selection.shape, selection.setup)?;
    let format = args.output.format;
    let mut printed = Ok(());
    let (all, finished) = census::take(&mut controller, interrupt(), |node, found| {
        let Some(node) = shape.node(node).filter(|node| node.selected) else { return };
        if format == Format::Jsonl && printed.is_ok() {
            printed = print::json(&object(&node.endpoint.name, found));
        }
    })
    .await;
    controller.stop().await;
    let selected: Vec<(&str, &Found)> =
        shape.selected().filter_map(|node| Some((node.endpoint.name.as_str(), all.get(&node.id)?))).collect();
    printed?;
    match format {
        Format::Jsonl => {}
        Format::Json => {
            let objects: Vec<Value> = selected.iter().map(|(name, found)| object(name, found)).collect();
            print::json(&Value::Array(objects))?;
        }
        Format::Human => table(&selected)?,
    }
    Ok(report::exit_code(finished.counts.keys().copied()))
}

fn object(name: &str, found: &Found) -> Value {
    match found {
        Found::Here { hello, rtt } => json!({
            "target": name,
            "status": "ok",
            "stub": { "release": hello.release, "kind": hello.kind.word(), "pid": hello.pid },
            "arch": hello.engine.arch.word(),
            "hostname": hello.hostname,
            "kernel": hello.kernel,
            "user": hello.user,
            "uid": hello.uid,
            "rtt_ms": (rtt.as_micros() as f64) / 1000.0,
            "delivery": hello.delivery,
            "walls": hello.walls,
            "policy": hello.policy.word(),
            "node_key": hello.identity.as_ref().map(|identity| waft_policy::site::key_text(&identity.key)),
            "error": null,
        }),
        Found::Missing { status, problem } => json!({
            "target": name,
            "status": status.word(),
            "error": { "code": problem.code, "message": problem.message, "hint": problem.hint },
        }),
    }
}

fn table(selected: &[(&str, &Found)]) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (name, found) in selected {
        if let Found::Here { hello, rtt } = found {
            rows.push(vec![
                (*name).to_owned(),
                format!("{:.1} ms", rtt.as_secs_f64() * 1000.0),
                hello.engine.arch.word().to_owned(),
                format!("{} ({})", hello.user, hello.uid),
                format!("{} {}", hello.release, hello.kind.word()),
                hello.delivery.clone(),
                report::walls(&hello.walls),
                hello.policy.word().to_owned(),
            ]);
        }
    }
    if !rows.is_empty() {
        let head = ["host", "rtt", "machine", "user", "stub", "delivery", "walls", "policy"];
        print::table(&head, &rows)?;
    }
    for (name, found) in selected {
        if let Found::Missing { status, problem } = found {
            print::target(name, *status, problem);
        }
    }
    Ok(())
}
