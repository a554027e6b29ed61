//! Processes of the target.

use processes_task::{BUSYBOX, PROCPS, Params, list};
use waft_sdk::{Error, Outcome};
use waft_tasks_common::programs::{program, succeed, text};

waft_sdk::task!(run, manifest = "../waft.toml");

fn run(params: Params) -> Result<Outcome, Error> {
    if params.limit().is_none() {
        return Err(Error::new("params.invalid", "`limit` is a number from 1 to 2000"));
    }
    let output = program(&PROCPS).run()?;
    let (output, is_busybox) = match output.is_success() {
        true => (output, false),
        // BusyBox has no option -e, and says so.
        false => (succeed("processes.failed", &program(&BUSYBOX))?, true),
    };
    let printed = text(&output.stdout);
    // A line that was cut in the middle says nothing right.
    let whole = if output.stdout_truncated {
        printed.rsplit_once('\n').map_or("", |(whole, _)| whole)
    } else {
        &printed
    };
    let (processes, count) = list(whole, is_busybox, &params);
    let pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
    Ok(Outcome::ok()
        .with("processes", &processes)
        .with("pids", &pids)
        .with("count", &count)
        .with("truncated", &output.stdout_truncated))
}
