//! Lua 5.5 (the crate luars) with a table `waft` (waft.lua), which stands on the functions of [`host`].
//!
//! luars collects garbage between instructions of Lua, never inside of a function in Rust: what such a function makes is
//! on Lua's stack before it returns.

mod float;
mod host;

use luars::{Lua, LuaApi, LuaResult, LuaValue, SafeOption, Stdlib};
use serde::Deserialize;
use serde_json::value::RawValue;
use waft_sdk::{Error, is_check};

/// What the script sees, in Lua.
const WAFT: &str = include_str!("waft.lua");
/// What it is made of.
const PARTS: [(&str, &str); 3] = [
    ("data", include_str!("data.lua")),
    ("text", include_str!("text.lua")),
    ("library", include_str!("library.lua")),
];
/// How messages name these; none of their lines is in a traceback.
const PLACE: &str = "=waft";
/// Calls of Lua functions in each other, as in PUC-Rio's Lua. More is an error of the script.
const CALLS_MAX: usize = 200_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    script: String,
    #[serde(default = "script_lua")]
    name: String,
    #[serde(default)]
    params: Option<Box<RawValue>>,
    #[serde(default)]
    args: Vec<String>,
}

fn script_lua() -> String {
    "script.lua".to_owned()
}

/// Runs the script; answers its exit code.
pub fn run(params: &Params) -> Result<i32, Error> {
    let given = params.params.as_ref().map_or("{}", |params| params.get());
    if !given.starts_with('{') {
        return Err(Error::new("params.type", "the parameter `params` is no object"));
    }
    let options = SafeOption { max_call_depth: CALLS_MAX, ..SafeOption::default() };
    let mut lua = Lua::new(options);
    start(&mut lua, params, given).map_err(|error| {
        let why = lua.get_error_message(error).message;
        Error::new("lua.start", format!("the interpreter does not start: {why}"))
    })
}

/// Calls waft.lua, which runs the script and returns its exit code.
fn start(lua: &mut Lua, params: &Params, given: &str) -> LuaResult<i32> {
    lua.open_stdlib(Stdlib::All)?;
    let host = lua.create_table()?;
    for (name, function) in host::FUNCTIONS {
        host.set(name, LuaValue::cfunction(function))?;
    }
    for (name, text) in PARTS {
        let part = lua.load(text).set_name(PLACE).into_function()?;
        host.set(name, part)?;
    }
    let args = lua.create_sequence_from(params.args.iter().cloned())?;
    let words = (host, given.to_owned(), is_check(), params.script.clone(), params.name.clone(), args);
    lua.load(WAFT).set_name(PLACE).call1(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(json: &str) -> Result<i32, String> {
        let params: Params = serde_json::from_str(json).map_err(|error| error.to_string())?;
        run(&params).map_err(|error| error.code)
    }

    #[test]
    fn scripts_end_with_their_code() {
        for (script, expected) in
            [("return 1", 0), ("error('x')", 1), ("x x", 1), ("assert(waft.params.a == 1)", 0)]
        {
            let json = serde_json::json!({ "script": script, "params": { "a": 1 } }).to_string();
            assert_eq!(code(&json), Ok(expected), "{script}");
        }
    }

    #[test]
    fn what_is_no_parameter_starts_nothing() {
        assert_eq!(code(r#"{"script": "", "params": [1]}"#), Err("params.type".into()));
        assert!(code(r#"{"script": "", "nmae": "x"}"#).is_err_and(|why| why.contains("nmae")));
        assert!(code(r#"{"name": "x"}"#).is_err_and(|why| why.contains("script")));
    }
}
