//! Settings of the kernel of the target.

use sysctl_task::{Params, edit, same};
use waft_sdk::{Error, Outcome, is_check};
use waft_tasks_common::programs::{failed, program, run as run_program, text};
use waft_tasks_common::text::{read, replace};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Of every change that fails.
const FAILED: &str = "sysctl.failed";

fn run(params: Params) -> Result<Outcome, Error> {
    let wanted = params.wanted()?;
    let (name, file) = (params.name.as_str(), params.file());
    let old = read(file)?.unwrap_or_default();
    let (new, before) = edit(&old, name, wanted);
    let is_in_file = new == old;
    let kernel = kernel(&params)?;
    let sets = params.sysctl_set.0
        && wanted.is_some_and(|wanted| kernel.as_deref().is_none_or(|kernel| !same(kernel, wanted)));
    // First: a value that the kernel does not take is not kept either.
    if let Some(wanted) = wanted.filter(|_| sets && !is_check()) {
        tolerate(&params, run_program(FAILED, &["sysctl", "-w", &[name, "=", wanted].concat()]).map(drop))?;
    }
    if !is_in_file {
        // In a dry run as well: the host shows the difference, and throws it away.
        replace(file, &new)?;
        if !is_check() && params.reload.is_none_or(|reload| reload.0) {
            tolerate(&params, run_program(FAILED, &["sysctl", "-p", file]).map(drop))?;
        }
    }
    let outcome = Outcome::changed(!is_in_file || sets);
    let outcome = match (is_in_file, sets) {
        (true, false) => outcome,
        (in_file, sets) => {
            let would = if is_check() { "would " } else { "" };
            let parts =
                [(!in_file).then_some(["change ", file].concat()), sets.then_some(["set ", name].concat())];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            outcome.msg([would, &parts.join(" and ")].concat())
        }
    };
    let now = if is_check() { kernel } else { self::kernel(&params)? };
    Ok(outcome.with("before", &before).with("after", &wanted).with("kernel", &now))
}

/// What the kernel has. One that does not know the setting is a failure where that would get a value.
fn kernel(params: &Params) -> Result<Option<String>, Error> {
    let program = program(&["sysctl", "-n", &params.name]);
    let output = program.run()?;
    if output.is_success() {
        return Ok(Some(text(&output.stdout).trim().to_owned()));
    }
    let is_needed = params.value.is_some() && !params.ignoreerrors.0;
    if is_needed { Err(failed("sysctl.unknown", &program.argv, &output)) } else { Ok(None) }
}

fn tolerate(params: &Params, done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if params.ignoreerrors.0 && error.code == FAILED => {
            waft_sdk::log(&error.message)?;
            Ok(())
        }
        done => done,
    }
}
