//! Runs a program. Not under `changed: false` but where `creates` or `removes` says that it was done before.

use command_task::Params;
use waft_sdk::exec::Program;
use waft_sdk::{Error, Outcome, file, is_check};
use waft_tasks_common::programs::{failed, text};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Of each stream, bytes: twice that, as text and as lines, is within a result unless most of it is control characters.
const OUTPUT_BYTES_MAX: u32 = 128 * 1024;

fn run(params: Params) -> Result<Outcome, Error> {
    let argv = params.words()?;
    for (path, wanted) in [(&params.creates, false), (&params.removes, true)] {
        let Some(path) = path else { continue };
        if file::stat(path)?.kind.is_some() != wanted {
            let state = if wanted { " does not exist" } else { " exists" };
            return Ok(Outcome::ok().msg(format!("not run: {path}{state}")).with("cmd", &argv));
        }
    }
    let program = Program {
        argv,
        cwd: params.chdir.clone(),
        stdin: params.input(),
        limit_bytes: Some(OUTPUT_BYTES_MAX),
        ..Program::default()
    };
    let output = match program.run() {
        // Asked all the same: a grant that is missing is told in a dry run, too.
        Err(error) if error.code == "grant.check" && is_check() => {
            let msg = format!("would run `{}`", program.argv.join(" "));
            return Ok(Outcome::changed(true).msg(msg).with("cmd", &program.argv));
        }
        output => output?,
    };
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let (stdout, stderr) = (params.shown(&stdout), params.shown(&stderr));
    let mut outcome = Outcome::changed(true);
    let is_success = output.is_success();
    if !is_success {
        let error = failed("command.failed", &program.argv, &output);
        outcome = outcome.msg(error.message.as_str()).with("error", &Said::of(&error));
    }
    let outcome = outcome
        .with("cmd", &program.argv)
        .with("rc", &output.exit_code)
        .with("stdout", stdout)
        .with("stderr", stderr)
        .with("stdout_truncated", &output.stdout_truncated)
        .with("stderr_truncated", &output.stderr_truncated)
        .with("stdout_lines", &stdout.lines().collect::<Vec<_>>())
        .with("stderr_lines", &stderr.lines().collect::<Vec<_>>());
    if is_success {
        return Ok(outcome);
    }
    // A failure that has all that the program wrote beside its reason.
    waft_sdk::fail(&outcome)
}

#[derive(serde::Serialize)]
struct Said<'a> {
    code: &'a str,
    message: &'a str,
}

impl Said<'_> {
    fn of(error: &Error) -> Said<'_> {
        Said { code: &error.code, message: &error.message }
    }
}
