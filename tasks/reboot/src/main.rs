//! Reboots the target. That it is back is what the controller waits for, by dry runs of this.

use reboot_task::{Facts, Params, SECONDS_PER_MINUTE};
use waft_sdk::exec::Program;
use waft_sdk::{Error, Outcome, is_check};
use waft_tasks_common::accounts::need_root;
use waft_tasks_common::programs::{failed, first_there, program};

waft_sdk::task!(run, manifest = "../waft.toml");

fn run(params: Params) -> Result<Outcome, Error> {
    // Before anything is asked: what is wrong with it does not depend on the target.
    params.ways(None)?;
    let test = params.test()?;
    let facts: Facts = serde_json::from_str(&waft_sdk::facts()?).map_err(|error| {
        Error::new("waft_v1.reply", format!("the host's facts are no JSON object: {error}"))
    })?;
    let boot_id = facts.boot_id.ok_or_else(|| {
        Error::new(
            "reboot.boot_id",
            "this machine does not tell its boot id, by which a reboot is recognised",
        )
    })?;
    let told = |outcome: Outcome, unready: &Option<String>| {
        let outcome = outcome.with("boot_id", &boot_id).with("uptime_seconds", &facts.uptime_seconds);
        match unready {
            Some(why) => outcome.with("not_ready", why),
            None => outcome,
        }
    };
    let is_since = params.boot_id.as_ref().is_some_and(|wanted| *wanted != boot_id);
    if !is_since {
        need_root("reboot.denied", "reboot")?;
    }
    // Also before the reboot: afterwards it is late to learn that there is no such program, or no grant.
    let unready = match test {
        Some(words) => unready(words)?.filter(|_| is_check()),
        None => None,
    };
    if is_since {
        return Ok(told(Outcome::ok().msg("rebooted since"), &unready));
    }
    let (ways, delay) = params.ways(facts.service_mgr.as_deref())?;
    let when = match delay / SECONDS_PER_MINUTE {
        0 => "now".to_owned(),
        1 => "in one minute".to_owned(),
        minutes => ["in ", &minutes.to_string(), " minutes"].concat(),
    };
    if !is_check() {
        first_there("reboot.failed", &ways)?;
    }
    let msg = [if is_check() { "would reboot " } else { "reboots " }, &when].concat();
    // A policy may make a dry run of any run: only this knows whether there is something to wait for.
    let outcome = Outcome::changed(true).msg(msg).with("delay", &delay).with("ordered", &!is_check());
    Ok(told(outcome, &unready))
}

/// Why the machine is not ready by this program, if it is not.
fn unready(argv: Vec<String>) -> Result<Option<String>, Error> {
    let program = Program { argv, ..program(&[]) };
    let output = program.run()?;
    Ok((!output.is_success()).then(|| failed("reboot.test", &program.argv, &output).message))
}
