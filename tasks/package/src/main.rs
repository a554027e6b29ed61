//! Packages of the target.

use package_task::{
    DPKG_FORMAT, MANAGERS, Manager, Params, RPM_FORMAT, State, bare, dnf_updates, dpkg_has, is_package,
    rpm_has, zypper_updates,
};
use waft_sdk::exec::Program;
use waft_sdk::{Error, Outcome, is_check};
use waft_tasks_common::accounts::need_root;
use waft_tasks_common::programs::{Search, failed, program, succeed, text};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Of every change that fails.
const FAILED: &str = "package.failed";

fn run(params: Params) -> Result<Outcome, Error> {
    check(&params)?;
    let manager = find()?;
    let refreshes = params.update_cache.0 && !is_check();
    if refreshes {
        need_root("package.denied", "change packages")?;
        change(manager, &manager.refresh())?;
    }
    let names: Vec<&str> = params.name.0.iter().map(String::as_str).collect();
    let Plan { install, upgrade, remove, said } = plan(manager, params.state, &names)?;
    let answer = |outcome: Outcome| {
        outcome.with("manager", manager.name()).with("packages", &said).with("cache_updated", &refreshes)
    };
    if said.is_empty() {
        return Ok(answer(Outcome::ok()));
    }
    need_root("package.denied", "change packages")?;
    let would = if is_check() { "would " } else { "" };
    let verb = if params.state == State::Absent { "remove " } else { "install " };
    let outcome = answer(Outcome::changed(true).msg([would, verb, &said.join(", ")].concat()));
    if is_check() {
        return Ok(outcome);
    }
    let spell = |names: &[&str]| names.iter().map(|name| manager.spelled(name)).collect::<Vec<_>>();
    let (install, upgrade) = (spell(&install), spell(&upgrade));
    if !install.is_empty() {
        change(manager, &manager.install(&install.iter().map(String::as_str).collect::<Vec<_>>()))?;
    }
    if !upgrade.is_empty() {
        change(manager, &manager.upgrade(&upgrade.iter().map(String::as_str).collect::<Vec<_>>()))?;
    }
    if !remove.is_empty() {
        change(manager, &manager.remove(&remove))?;
    }
    let is_as_asked = match params.state {
        State::Absent => installed(manager, &names)?.is_empty(),
        // A name may stand for what others provide, so apt alone is not asked again.
        _ => manager == Manager::Apt || installed(manager, &names)?.len() == names.len(),
    };
    match is_as_asked {
        true => Ok(outcome),
        false => {
            let message = format!("{} ended well, and the packages are not as asked for", manager.name());
            Err(Error::new(FAILED, message))
        }
    }
}

fn check(params: &Params) -> Result<(), Error> {
    let invalid = |message: String, hint: &str| {
        Err(Error { hint: Some(hint.into()), ..Error::new("params.invalid", message) })
    };
    if params.name.0.is_empty() && !params.update_cache.0 {
        return invalid(
            "expected `name`".into(),
            "or `update_cache=true` to fetch the lists of packages only",
        );
    }
    match params.name.0.iter().find(|name| !is_package(name)) {
        Some(name) => invalid(
            format!("`name` holds `{}`, which is no name of a package", name.escape_debug()),
            "a name is that of one package: no pattern, no group, no `-` at its ends, and none of `~`, `!` and `+` before it",
        ),
        None => Ok(()),
    }
}

fn find() -> Result<Manager, Error> {
    let mut search = Search::default();
    for (program, manager) in MANAGERS {
        if search.probe(&[program, "--version"])?.is_some_and(|output| output.is_success()) {
            return Ok(manager);
        }
    }
    Err(search.nothing(|| Error {
        hint: Some("known are apt, dnf, yum, zypper, apk and pacman".into()),
        ..Error::new("package.no_manager", "no manager of packages answers here")
    }))
}

fn change(manager: Manager, argv: &[&str]) -> Result<(), Error> {
    let mut program = program(argv);
    if manager == Manager::Apt {
        program.env.insert("DEBIAN_FRONTEND".into(), "noninteractive".into());
    }
    succeed(FAILED, &Program { stdin: Vec::new(), ..program }).map(drop)
}

/// What is to be done by which program, and what people are told.
#[derive(Default)]
struct Plan<'a> {
    install: Vec<&'a str>,
    upgrade: Vec<&'a str>,
    remove: Vec<&'a str>,
    said: Vec<String>,
}

fn plan<'a>(manager: Manager, state: State, names: &[&'a str]) -> Result<Plan<'a>, Error> {
    if names.is_empty() {
        return Ok(Plan::default());
    }
    let there = installed(manager, names)?;
    let missing: Vec<&str> = names.iter().filter(|name| !there.contains(name)).copied().collect();
    let mut plan = match state {
        State::Present => Plan { install: missing, ..Plan::default() },
        State::Absent => Plan { remove: there.iter().map(|name| bare(name)).collect(), ..Plan::default() },
        State::Latest => Plan { install: missing, upgrade: there, ..Plan::default() },
    };
    let mut all = [plan.install.as_slice(), &plan.upgrade, &plan.remove].concat();
    if all.is_empty() {
        return Ok(plan);
    }
    // One by one: then no word of the grant for it can be an option.
    let mut is_simulated = false;
    for name in &all {
        let Some(argv) = manager.simulate(state, name) else { break };
        is_simulated = true;
        for package in manager.simulated(&said(&argv)?) {
            if !plan.said.contains(&package) {
                plan.said.push(package);
            }
        }
    }
    if is_simulated {
        return Ok(plan);
    }
    if !plan.upgrade.is_empty() {
        plan.upgrade = newer(manager, &plan.upgrade)?;
        all = [plan.install.as_slice(), &plan.upgrade].concat();
    }
    plan.said = all.into_iter().map(str::to_owned).collect();
    Ok(plan)
}

/// What a probe prints that has to end well.
fn said(argv: &[&str]) -> Result<String, Error> {
    let program = program(argv);
    succeed(FAILED, &program).map(|output| text(&output.stdout).into_owned())
}

/// Of these names those that are there.
fn installed<'a>(manager: Manager, names: &[&'a str]) -> Result<Vec<&'a str>, Error> {
    let mut there = Vec::new();
    for name in names {
        let is = |argv: &[&str]| -> Result<bool, Error> { Ok(program(argv).run()?.is_success()) };
        let is_there = match manager {
            Manager::Apt => {
                let output = program(&["dpkg-query", "-W", DPKG_FORMAT, bare(name)]).run()?;
                dpkg_has(&text(&output.stdout), name)
            }
            Manager::Apk => is(&["apk", "info", "-e", name])?,
            // Also what others provide.
            Manager::Pacman => is(&["pacman", "-T", name])?,
            _ if name.contains('=') => {
                let (name, version) = name.split_once('=').unwrap_or_default();
                let output = program(&["rpm", "-q", "--qf", RPM_FORMAT, name]).run()?;
                output.is_success() && rpm_has(&text(&output.stdout), version)
            }
            _ => is(&["rpm", "-q", bare(name)])? || is(&["rpm", "-q", "--whatprovides", bare(name)])?,
        };
        there.extend(is_there.then_some(*name));
    }
    Ok(there)
}

/// Of packages that are there those of which there is a newer one.
fn newer<'a>(manager: Manager, names: &[&'a str]) -> Result<Vec<&'a str>, Error> {
    /// Of `dnf check-update`: there is one.
    const SOME: u32 = 100;
    let mut newer = Vec::new();
    for name in names {
        let argv = match manager {
            Manager::Dnf(dnf) => vec![dnf, "check-update", "-q", name],
            // It takes no name.
            Manager::Zypper => vec!["zypper", "-n", "list-updates"],
            _ => vec!["pacman", "-Qu", name],
        };
        let program = program(&argv);
        let output = program.run()?;
        let printed = text(&output.stdout);
        let is_newer = match (manager, output.exit_code) {
            (Manager::Dnf(_), Some(0 | SOME)) => dnf_updates(&printed).contains(&bare(name)),
            (Manager::Zypper, Some(0)) => zypper_updates(&printed).contains(&bare(name)),
            // 1: no.
            (Manager::Pacman, Some(0 | 1)) => {
                printed.lines().any(|line| line.split_whitespace().next() == Some(bare(name)))
            }
            _ => return Err(failed(FAILED, &program.argv, &output)),
        };
        newer.extend(is_newer.then_some(*name));
    }
    Ok(newer)
}
