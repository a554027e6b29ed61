//! Accounts of the target.

use user_task::{Found, Params, State, UpdatePassword, one_by_one, others, plan};
use waft_sdk::exec::Program;
use waft_sdk::{Error, Outcome, is_check};
use waft_tasks_common::accounts::{self, check_field, check_name, need_root};
use waft_tasks_common::programs::{first_there, first_way, program, succeed, tell};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Of every change that fails.
const FAILED: &str = "user.failed";

fn run(params: Params) -> Result<Outcome, Error> {
    check(&params)?;
    let found = look(&params)?;
    let plan = plan(&params, &found);
    let sets_password = params.state == State::Present
        && params.password.is_some()
        && (found.user.is_none() || found.other_password);
    if plan.is_empty() && !sets_password {
        return answer(&params, Outcome::ok());
    }
    need_root("user.denied", "change accounts")?;
    let mut said: Vec<&str> = plan.iter().map(|step| step.said).collect();
    said.extend((sets_password && found.user.is_some()).then_some("set the password of"));
    let outcome = Outcome::changed(true).msg(tell("user", &params.name, &said.join(", ")));
    if is_check() {
        return answer(&params, outcome);
    }
    let mut is_busybox = false;
    for step in &plan {
        let is_groups =
            found.user.is_some() && step.ways.iter().all(|way| way.iter().any(|word| word == "-G"));
        match first_way(FAILED, &step.ways) {
            // Only BusyBox: it adds to one group at a time.
            Err(error) if error.code == "exec.not_found" && is_groups => each_group(&params, &found)?,
            done => is_busybox = done?.0.first().is_some_and(|program| program == "adduser"),
        }
    }
    if is_busybox && params.groups.is_some() {
        // Its adduser has no word for more groups.
        let now = look(&params)?;
        each_group(&params, &now)?;
    }
    if let Some(password) = params.password.as_ref().filter(|_| sets_password) {
        let line = format!("{}:{password}\n", params.name);
        succeed(FAILED, &Program { stdin: line.into_bytes(), ..program(&["chpasswd", "-e"]) })?;
    }
    let is_there = accounts::user(&params.name)?.is_some();
    if is_there != (params.state == State::Present) {
        return Err(Error::new(FAILED, format!("the account {} is not as it should be", params.name)));
    }
    answer(&params, outcome)
}

fn each_group(params: &Params, found: &Found) -> Result<(), Error> {
    one_by_one(params, found).into_iter().try_for_each(|way| first_there(FAILED, &[way]).map(drop))
}

fn check(params: &Params) -> Result<(), Error> {
    check_name("name", &params.name)?;
    let groups = params.groups.iter().flat_map(|groups| &groups.0);
    groups
        .map(|group| ("groups", group))
        .chain(params.group.iter().map(|group| ("group", group)))
        .try_for_each(|(parameter, group)| check_name(parameter, group))?;
    let fields = [
        ("comment", &params.comment),
        ("home", &params.home),
        ("shell", &params.shell),
        ("password", &params.password),
    ];
    fields.into_iter().try_for_each(|(name, field)| check_field(name, field.as_deref().unwrap_or_default()))
}

fn look(params: &Params) -> Result<Found, Error> {
    let user = accounts::user(&params.name)?.filter(|user| user.name == params.name);
    if params.state == State::Absent {
        return Ok(Found { user, ..Found::default() });
    }
    let there = |parameter: &str, name: &str| {
        accounts::group(name)?.ok_or_else(|| Error {
            hint: Some("make it first, by the task group".into()),
            ..Error::new("user.no_group", format!("`{parameter}` names `{name}`, and there is no such group"))
        })
    };
    let wanted_gid = match &params.group {
        Some(group) => Some(there("group", group)?.gid),
        None => None,
    };
    let primary = wanted_gid.or(user.as_ref().map(|user| user.gid));
    let named =
        params.groups.as_ref().map(|groups| groups.0.iter().map(|name| there("groups", name)).collect());
    let wanted_groups = named.transpose()?.map(|named| others(named, primary));
    let (groups, has_namesake) = match &user {
        Some(_) if params.groups.is_some() => (accounts::groups_of(&params.name)?, false),
        Some(_) => (Vec::new(), false),
        None => (Vec::new(), accounts::group(&params.name)?.is_some()),
    };
    let compares = user.is_some() && params.update_password == UpdatePassword::Always;
    let other_password = match &params.password {
        Some(password) if compares => accounts::password(&params.name)?.as_ref() != Some(password),
        _ => false,
    };
    Ok(Found { user, groups, wanted_groups, wanted_gid, has_namesake, other_password })
}

/// What is there now; in a dry run what was there, so what would be is not guessed.
fn answer(params: &Params, outcome: Outcome) -> Result<Outcome, Error> {
    let outcome = outcome.with("name", &params.name).with("state", params.state.word());
    let Some(user) = accounts::user(&params.name)? else { return Ok(outcome) };
    let groups = accounts::groups_of(&params.name)?;
    Ok(outcome
        .with("uid", &user.uid)
        .with("group", &user.gid)
        .with("groups", &groups)
        .with("home", &user.home)
        .with("shell", &user.shell)
        .with("comment", &user.comment))
}
