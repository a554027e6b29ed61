//! Services of the target.

use service_task::{
    Found, Manager, Params, State, Unit, instead, is_unrecognized, openrc_enabled, systemd_enabled,
    sysv_enabled, unit, verb,
};
use waft_sdk::exec::Program;
use waft_sdk::{Error, Outcome, file, is_check};
use waft_tasks_common::Yes;
use waft_tasks_common::accounts::need_root;
use waft_tasks_common::programs::{
    Search, first_there, probe, program, run as run_program, succeed, tell, text,
};

waft_sdk::task!(run, manifest = "../waft.toml");

/// Of every change that fails.
const FAILED: &str = "service.failed";
/// Runlevels of System V in which a machine serves.
const SERVING: [&str; 4] = ["/etc/rc2.d", "/etc/rc3.d", "/etc/rc4.d", "/etc/rc5.d"];

fn run(params: Params) -> Result<Outcome, Error> {
    check(&params)?;
    let name = params.name.as_str();
    let level = params.runlevel.as_deref().unwrap_or("default");
    // systemd reads its units again first: one that is new is not known before.
    let reloads = params.daemon_reload.0 && probe(&SHOW_VERSION)?.is_some_and(|output| output.is_success());
    if reloads && !is_check() {
        need_root("service.denied", "change services")?;
        run_program(FAILED, &["systemctl", "daemon-reload"])?;
    }
    let found = find(name)?;
    let manager = found.manager;
    if found.is_masked && params.may_start() {
        return Err(masked(name));
    }
    let verb = verb(params.state, found.is_running);
    let enables = match params.enabled {
        Some(Yes(wanted)) => switch(manager, name, level, wanted)?,
        None => None,
    };
    let is_running = match params.state {
        Some(State::Stopped) => false,
        Some(_) => true,
        None => found.is_running,
    };
    let answer = |outcome: Outcome| {
        outcome
            .with("name", name)
            .with("manager", manager.name())
            .with("state", if is_running { "started" } else { "stopped" })
            .with("enabled", &params.enabled.map(|Yes(wanted)| wanted))
    };
    if verb.is_none() && enables.is_none() {
        return Ok(answer(Outcome::ok()));
    }
    need_root("service.denied", "change services")?;
    let switches = enables.as_ref().map(|(on, _)| if *on { "enable" } else { "disable" });
    let said: Vec<&str> = verb.into_iter().chain(switches).collect();
    let mut outcome = answer(Outcome::changed(true).msg(tell("service", name, &said.join(" and "))));
    if is_check() {
        return Ok(outcome);
    }
    if let Some((on, unit)) = enables {
        enable(manager, &unit, level, on)?;
    }
    if let Some(verb) = verb {
        let argv = manager.order(verb, name);
        // Scripts start daemons as their own children; systemd starts them itself.
        let leaves_daemons = manager != Manager::Systemd && matches!(verb, "start" | "restart");
        let order = Program { daemon: leaves_daemons, ..program(&argv) };
        let stays = succeed(FAILED, &order)?.stays;
        if !stays.is_empty() {
            let pids: Vec<u32> = stays.iter().map(|one| one.pid).collect();
            outcome = outcome.with("stays", &pids);
        }
        // The order may be done, and the service gone again.
        let now = find(name)?;
        if now.is_running != is_running && !(is_running && now.is_done) {
            return Err(not_as_asked(name, manager, is_running));
        }
    }
    Ok(outcome)
}

const SHOW_VERSION: [&str; 3] = ["systemctl", "show", "--property=Version"];

fn not_as_asked(name: &str, manager: Manager, is_running: bool) -> Error {
    let state = if is_running { "does not run after it was started" } else { "runs after it was stopped" };
    let hint = match manager {
        Manager::Systemd => format!("its log says why: `journalctl -u {name}`"),
        _ => ["its log may say why; `service ", name, " status` is what was asked"].concat(),
    };
    Error { hint: Some(hint), ..Error::new(FAILED, format!("the service {name} {state}")) }
}

fn check(params: &Params) -> Result<(), Error> {
    let name = &params.name;
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    for (parameter, word) in [("name", Some(name)), ("runlevel", params.runlevel.as_ref())] {
        if word.is_some_and(|word| word.is_empty() || word.starts_with('-') || word.contains(is_bad)) {
            return Err(Error {
                hint: Some("a name has no blanks or slashes, and does not begin with `-`".into()),
                ..Error::new("params.invalid", format!("`{parameter}` is no name of a service or runlevel"))
            });
        }
    }
    if params.state.is_none() && params.enabled.is_none() {
        return Err(Error {
            hint: Some(
                "`state` is started, stopped, restarted or reloaded; `enabled` is true or false".into(),
            ),
            ..Error::new("params.invalid", "expected `state` or `enabled`, or both")
        });
    }
    Ok(())
}

/// The manager that answers, and what it says of the service.
fn find(name: &str) -> Result<Found, Error> {
    let mut search = Search::default();
    let show = ["systemctl", "show", "--property=LoadState,ActiveState,Type,Result", name];
    if let Some(output) = search.probe(&show)? {
        match unit(output.is_success(), &text(&output.stdout)) {
            Unit::NotBooted => {}
            Unit::NotFound => return Err(unknown(name)),
            Unit::Known(found) => return Ok(found),
        }
    }
    if let Some(output) = search.probe(&["rc-service", "--exists", name])? {
        if !output.is_success() {
            return Err(unknown(name));
        }
        let status = probe(&["rc-service", name, "status"])?;
        let is_running = status.is_some_and(|status| status.is_success());
        return Ok(Found { manager: Manager::OpenRc, is_running, is_done: false, is_masked: false });
    }
    if let Some(output) = search.probe(&["service", name, "status"])? {
        if !output.is_success()
            && [&output.stdout, &output.stderr].iter().any(|said| is_unrecognized(&text(said)))
            && file::stat(&["/etc/init.d/", name].concat())?.kind.is_none()
        {
            return Err(unknown(name));
        }
        let is_running = output.is_success();
        return Ok(Found { manager: Manager::SysV, is_running, is_done: false, is_masked: false });
    }
    Err(search.nothing(|| Error {
        hint: Some(
            "known are systemd (systemctl), OpenRC (rc-service) and scripts of System V (service)".into(),
        ),
        ..Error::new("service.no_manager", "no manager of services answers here")
    }))
}

fn unknown(name: &str) -> Error {
    Error {
        hint: Some("names are those of units of systemd, or of scripts in /etc/init.d".into()),
        ..Error::new("service.not_found", format!("there is no service {name}"))
    }
}

fn masked(name: &str) -> Error {
    let message = format!("the unit {name} is masked: systemd neither starts nor enables it");
    Error { hint: Some(format!("`systemctl unmask {name}`")), ..Error::new("service.masked", message) }
}

fn fixed(name: &str, word: &str) -> Error {
    let message = format!("the unit {name} cannot be enabled: `systemctl is-enabled` says that it is {word}");
    Error { hint: Some(instead(word).into()), ..Error::new("service.cannot_enable", message) }
}

/// What to enable or disable, by the name that is to be given, so that it is as `wanted`; none where it is.
fn switch(manager: Manager, name: &str, level: &str, wanted: bool) -> Result<Option<(bool, String)>, Error> {
    let mut unit = name.to_owned();
    let is_enabled = match manager {
        Manager::Systemd => {
            let mut said = systemctl(&["is-enabled", name])?;
            if systemd_enabled(&said) == Err("alias") {
                // Another name is enabled and disabled with the unit that it stands for.
                let id = systemctl(&["show", "--property=Id", name])?;
                unit = id.trim().strip_prefix("Id=").unwrap_or(name).to_owned();
                said = systemctl(&["is-enabled", &unit])?;
            }
            match systemd_enabled(&said) {
                Ok(is_enabled) => is_enabled,
                Err(word) if wanted => return Err(fixed(&unit, word)),
                Err(_) => false,
            }
        }
        Manager::OpenRc => {
            let output = probe(&["rc-update", "show", level])?;
            output.is_some_and(|output| openrc_enabled(&text(&output.stdout), name, level))
        }
        Manager::SysV => is_serving(name)?,
    };
    Ok((is_enabled != wanted).then_some((wanted, unit)))
}

/// What it prints, whatever its exit code.
fn systemctl(words: &[&str]) -> Result<String, Error> {
    let output = probe(&[&["systemctl"], words].concat())?;
    Ok(output.map(|output| text(&output.stdout).into_owned()).unwrap_or_default())
}

/// Whether scripts start it with the machine.
fn is_serving(name: &str) -> Result<bool, Error> {
    // A refusal comes from here, with the grant to give.
    file::stat("/etc")?;
    Ok(SERVING.iter().any(|dir| {
        let names: Vec<String> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        sysv_enabled(names.iter().map(String::as_str), name)
    }))
}

fn enable(manager: Manager, name: &str, level: &str, on: bool) -> Result<(), Error> {
    let verb = if on { "enable" } else { "disable" };
    match manager {
        Manager::Systemd => run_program(FAILED, &["systemctl", verb, name])?,
        Manager::OpenRc => run_program(FAILED, &["rc-update", if on { "add" } else { "del" }, name, level])?,
        Manager::SysV => {
            let way = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let chkconfig = way(&["chkconfig", name, if on { "on" } else { "off" }]);
            // Makes the links of a script that has none.
            first_there(FAILED, &[way(&["update-rc.d", name, "defaults"]), chkconfig.clone()])?;
            first_there(FAILED, &[way(&["update-rc.d", name, verb]), chkconfig])?
        }
    };
    Ok(())
}
