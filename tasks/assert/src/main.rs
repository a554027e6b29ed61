//! Fails unless expressions are true. A dry run is no different.

use assert_task::{Params, check};
use waft_sdk::{Error, Outcome};

waft_sdk::task!(run, manifest = "../waft.toml");

fn run(mut params: Params) -> Result<Outcome, Error> {
    let success = params.success_msg.take().unwrap_or_else(|| "All assertions passed".to_owned());
    let assertions = check(params, waft_sdk::facts)?;
    Ok(Outcome::ok().msg(success).with("assertions", &assertions))
}
