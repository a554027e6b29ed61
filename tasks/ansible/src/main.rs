//! Runs an Ansible module that was sent along, from memory.

use ansible_task::{
    Answer, Style, TEXT_BYTES_MAX, answer, arguments, interpreter, is_binary, module_name, style,
};
use ansible_task::{unsupported, with_args};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::Read;
use waft_sdk::exec::{File, Output, Program, Way};
use waft_sdk::{Blob, Error, Outcome, is_check};
use waft_tasks_common::Yes;

waft_sdk::task!(run, manifest = "../waft.toml");

/// Where a module, and where it finds its arguments; for modules that need them also Ansible's own, and the module then.
const PROGRAM_FD: u8 = 3;
const ARGS_FD: u8 = 4;
const UTILS_FD: u8 = 5;
const MODULE_FD: u8 = 6;
/// What a module may answer, bytes: the most that the host keeps.
const ANSWER_BYTES_MAX: u32 = 512 * 1024;
/// Gives a module what Ansible gives it.
const UTILS: &str = include_str!("utils.py");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    module: Sent,
    args: Option<Box<RawValue>>,
    module_utils: Option<Sent>,
    #[serde(alias = "ansible_python_interpreter")]
    python: Option<String>,
    #[serde(default)]
    diff: Yes,
}

/// A file that was sent with the run.
#[derive(Deserialize)]
struct Sent {
    hash: String,
    name: String,
}

/// Why it failed, beside all that the module says.
#[derive(Serialize)]
struct Said<'a> {
    code: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

fn run(params: Params) -> Result<Outcome, Error> {
    let name = module_name(&params.module.name);
    let own = params.args.as_deref().map_or("{}", RawValue::get);
    let args = arguments(own, &name, is_check(), params.diff.0)
        .ok_or_else(|| Error::new("params.args", "`args` is no object: expected {\"name\": \"value\"}"))?;
    let output = program(&params, &name, args)?.run()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    match answer(&stdout) {
        Some(Answer { outcome, failed: None }) => Ok(outcome),
        Some(Answer { outcome, failed: Some(why) }) => {
            // All that it says, not only why.
            let message = format!("the module {name} failed: {why}");
            let error = Said { code: "ansible.failed", message: &message, hint: None };
            waft_sdk::fail(&outcome.with("error", &error))
        }
        None => Err(no_answer(&name, &output)),
    }
}

/// How the module is started.
fn program(params: &Params, name: &str, args: String) -> Result<Program, Error> {
    let python = params.python.as_deref().unwrap_or("python3");
    let mut program =
        Program { limit_bytes: Some(ANSWER_BYTES_MAX), stderr: Way::Inherit, ..Program::default() };
    let paths = [File::path(PROGRAM_FD), File::path(ARGS_FD)];
    let mut bytes = Vec::new();
    Blob::open(&params.module.hash)?
        .take(TEXT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::new("ansible.read", format!("the module {name} cannot be read: {error}")))?;
    if is_binary(&bytes) {
        program.argv = paths.to_vec();
        program.files = vec![File::blob(PROGRAM_FD, &params.module.hash), File::text(ARGS_FD, args)];
        return Ok(program);
    }
    if bytes.len() > TEXT_BYTES_MAX {
        let text = format!("the module {name} is a script of more than {TEXT_BYTES_MAX} bytes");
        return Err(Error::new("params.module", text));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Error::new("params.module", format!("the module {name} is neither a binary nor UTF-8 text"))
    })?;
    let style = style(text);
    if let Some(error) = unsupported(style, name) {
        return Err(error);
    }
    if style == Style::Utils {
        let utils = params.module_utils.as_ref().ok_or_else(|| {
            let text = format!("the module {name} imports parts of Ansible, which are not on the target");
            let hint = "send them along: -p module_utils@utils.zip, made in the folder of an installed ansible by \
                 `python3 -m zipfile -c utils.zip module_utils`";
            Error { hint: Some(hint.to_owned()), ..Error::new("params.module_utils", text) }
        })?;
        program.argv = vec![python.to_owned(), File::path(PROGRAM_FD), name.to_owned()];
        program.files = vec![
            File::text(PROGRAM_FD, UTILS),
            File::text(ARGS_FD, format!("{{\"ANSIBLE_MODULE_ARGS\":{args}}}")),
            File::blob(UTILS_FD, &utils.hash),
            File::blob(MODULE_FD, &params.module.hash),
        ];
        return Ok(program);
    }
    program.argv = interpreter(text, python).ok_or_else(|| {
        let text = format!("the module {name} does not begin with `#!`, so nothing says what interprets it");
        Error::new("params.module", text)
    })?;
    program.argv.extend(paths);
    program.files = vec![
        match style {
            Style::JsonArgs => File::text(PROGRAM_FD, with_args(text, &args)),
            _ => File::blob(PROGRAM_FD, &params.module.hash),
        },
        File::text(ARGS_FD, args),
    ];
    Ok(program)
}

fn no_answer(name: &str, output: &Output) -> Error {
    let how = match (output.exit_code, output.signal) {
        (Some(code), _) => format!("ended with the code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in a way that nobody saw".to_owned(),
    };
    let said = if output.stdout.is_empty() { "nothing" } else { "no JSON object" };
    let more = if output.stdout_truncated { ", of which the end was cut off" } else { "" };
    let text = format!("the module {name} {how} and answered {said}{more}");
    let hint = "what it wrote to stderr is in the log of the run";
    Error { hint: Some(hint.to_owned()), ..Error::new("ansible.answer", text) }
}
