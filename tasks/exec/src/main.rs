//! The task behind `waft exec`: becomes a program of the target.
//!
//! Parameters: `{"argv": ["/bin/uptime"], "stdin": "text"}`; `stdin` may be missing. Output and exit code are the
//! program's. 2 when the parameters are wrong; 125 when the host refused, with its sentence on stderr.

use serde::Deserialize;
use std::process::ExitCode;
use waft_sdk::exit;

/// What it asks for, for whoever starts it: a custom section of the module.
#[expect(unsafe_code, reason = "the attribute could hide a symbol of somebody else; a custom section cannot")]
#[used]
#[unsafe(link_section = "waft.task")]
static MANIFEST: [u8; include_bytes!("../waft.toml").len()] = *include_bytes!("../waft.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    argv: Vec<String>,
    stdin: Option<String>,
}

fn main() -> ExitCode {
    let params: Params = match waft_sdk::params() {
        Ok(params) => params,
        Err(error) => return usage(&error.to_string()),
    };
    if params.argv.first().is_none_or(String::is_empty) {
        return usage(
            "`argv` names no program: it takes the program and its arguments, as [\"/bin/uptime\"]",
        );
    }
    let refusal = waft_sdk::exec_replace(&params.argv, params.stdin.as_deref());
    eprintln!("exec: {refusal}");
    ExitCode::from(exit::REFUSED)
}

fn usage(message: &str) -> ExitCode {
    eprintln!("exec: {message}");
    ExitCode::from(exit::USAGE)
}
