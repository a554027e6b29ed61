//! Prints the facts of the target: `{"changed": false, "facts": {..}}`. Needs the grant `facts`.
//!
//! Takes no parameters. 2 when some were given; 125 when the host refused, with its sentence on stderr.

use serde::Deserialize;
use std::io::{Write, stdout};
use std::process::ExitCode;
use waft_sdk::exit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {}

fn main() -> ExitCode {
    let facts = match waft_sdk::params::<NoParams>().map_err(|e| (exit::USAGE, e)) {
        Ok(NoParams {}) => waft_sdk::facts().map_err(|e| (exit::REFUSED, e)),
        Err(usage) => Err(usage),
    };
    match facts {
        Ok(facts) => print(&facts),
        Err((code, error)) => {
            eprintln!("facts: {error}");
            ExitCode::from(code)
        }
    }
}

fn print(facts: &str) -> ExitCode {
    match writeln!(stdout(), "{{\"changed\":false,\"facts\":{facts}}}") {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads any more; there is nobody to tell either.
        Err(_) => ExitCode::FAILURE,
    }
}
