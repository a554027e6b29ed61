//! Groups of the target.

use group_task::{Params, State, plan};
use waft_sdk::{Error, Outcome, is_check};
use waft_tasks_common::accounts::{check_name, group, need_root};
use waft_tasks_common::programs::{first_there, tell};

waft_sdk::task!(run, manifest = "../waft.toml");

fn run(params: Params) -> Result<Outcome, Error> {
    check_name("name", &params.name)?;
    let found = group(&params.name)?.filter(|group| group.name == params.name);
    let plan = plan(&params, found.as_ref());
    let answer = |outcome: Outcome, gid: Option<u32>| {
        let outcome = outcome.with("name", &params.name).with("state", params.state.word()).with("gid", &gid);
        outcome.with("system", &params.system.0)
    };
    if plan.is_empty() {
        return Ok(answer(Outcome::ok(), found.map(|group| group.gid)));
    }
    need_root("group.denied", "change groups")?;
    let msg = tell("group", &params.name, plan[0].said);
    if is_check() {
        let gid =
            if params.state == State::Present { params.gid.or(found.map(|group| group.gid)) } else { None };
        return Ok(answer(Outcome::changed(true).msg(msg), gid));
    }
    first_there("group.failed", &plan[0].ways)?;
    let gid = group(&params.name)?.map(|group| group.gid);
    if gid.is_some() != (params.state == State::Present) {
        return Err(Error::new("group.failed", format!("the group {} is not as it should be", params.name)));
    }
    Ok(answer(Outcome::changed(true).msg(msg), gid))
}
