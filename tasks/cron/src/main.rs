//! Jobs of cron on the target.

use cron_task::{Params, State, edit, is_none, names};
use waft_sdk::exec::Program;
use waft_sdk::{Error, Outcome, is_check};
use waft_tasks_common::programs::{failed, program, succeed, text};
use waft_tasks_common::text::{read, replace};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Of every change that fails.
const FAILED: &str = "cron.failed";

fn run(params: Params) -> Result<Outcome, Error> {
    let wanted = params.line()?;
    let path = params.cron_file.as_ref().map(|file| ["/etc/cron.d/", file].concat());
    let old = match &path {
        Some(path) => read(path)?.unwrap_or_default(),
        None => list(params.user.as_deref())?,
    };
    let (new, before) = edit(&old, &params.name, params.env.0, wanted.as_deref());
    let changed = new != old;
    if changed {
        match &path {
            // In a dry run as well: the host shows the difference, and throws it away.
            Some(path) => replace(path, &new)?,
            None if is_check() => {}
            None => install(params.user.as_deref(), &new)?,
        }
    }
    let outcome = Outcome::changed(changed);
    let outcome = match changed {
        true => {
            let would = if is_check() { "would " } else { "" };
            let verb = match (params.state, &before) {
                (State::Absent, _) => "remove ",
                (_, None) => "add ",
                (_, Some(_)) => "change ",
            };
            let what = if params.env.0 { "the variable " } else { "the job " };
            outcome.msg([would, verb, what, &params.name].concat())
        }
        false => outcome,
    };
    let (jobs, envs) = names(&new);
    Ok(outcome.with("jobs", &jobs).with("envs", &envs).with("before", &before).with("after", &wanted))
}

fn words<'a>(first: &'a str, user: Option<&'a str>) -> Vec<&'a str> {
    let mut words = vec!["crontab"];
    words.extend((first == "-l").then_some("-l"));
    words.extend(user.into_iter().flat_map(|user| ["-u", user]));
    words.extend((first != "-l").then_some(first));
    words
}

fn list(user: Option<&str>) -> Result<String, Error> {
    let program = program(&words("-l", user));
    let output = program.run()?;
    if output.stdout_truncated {
        return Err(Error::new(FAILED, "the crontab is longer than 512 KiB: it is not written in part"));
    }
    match output.is_success() {
        // It is written back as a whole: what is no text here must not become another one there.
        true => String::from_utf8(output.stdout).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Error {
                hint: Some("save it in UTF-8, by `crontab -e`".into()),
                ..Error::new(
                    "cron.utf8",
                    format!("the crontab is no text in UTF-8: byte {at} is none of any character"),
                )
            }
        }),
        false if is_none(&text(&output.stderr)) => Ok(String::new()),
        false => Err(failed(FAILED, &program.argv, &output)),
    }
}

fn install(user: Option<&str>, crontab: &str) -> Result<(), Error> {
    let program = program(&words("-", user));
    succeed(FAILED, &Program { stdin: crontab.as_bytes().to_vec(), ..program }).map(drop)
}
