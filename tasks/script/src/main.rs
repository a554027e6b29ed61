//! Becomes an interpreter of the target that reads a script in memory.

use serde::Deserialize;
use serde_json::value::RawValue;
use waft_sdk::exec::{File, Program};
use waft_sdk::{Error, Outcome};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Where the interpreter finds the script.
const SCRIPT_FD: u8 = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    script: String,
    #[serde(default = "name")]
    name: String,
    #[serde(default = "shell")]
    interpreter: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    params: Option<Box<RawValue>>,
}

fn name() -> String {
    "script".to_owned()
}

fn shell() -> Vec<String> {
    vec!["/bin/sh".to_owned()]
}

fn run(params: Params) -> Result<Outcome, Error> {
    if params.interpreter.first().is_none_or(String::is_empty) {
        let text = format!("`interpreter` names no program for the script {}", params.name);
        return Err(Error::new("params.interpreter", text));
    }
    let mut argv = params.interpreter;
    argv.push(File::path(SCRIPT_FD));
    argv.extend(params.args);
    let mut input = params.params.as_deref().map_or("{}", RawValue::get).as_bytes().to_vec();
    // A whole line, as a shell reads one.
    input.push(b'\n');
    let files = vec![File::text(SCRIPT_FD, params.script)];
    // It says itself why it did not.
    Err(Program { argv, stdin: input, files, ..Program::default() }.replace())
}
