//! What managers of services say, and what is to be done. A library of its own, so that its tests run on the machine
//! that builds it.

use serde::Deserialize;
use waft_tasks_common::Yes;

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    #[serde(alias = "service", alias = "unit")]
    pub name: String,
    pub state: Option<State>,
    pub enabled: Option<Yes>,
    #[serde(default, alias = "daemon-reload")]
    pub daemon_reload: Yes,
    pub runlevel: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manager {
    Systemd,
    OpenRc,
    SysV,
}

impl Params {
    /// Whether this may start the service, now or with the machine.
    pub fn may_start(&self) -> bool {
        self.state.is_some_and(|state| state != State::Stopped) || self.enabled.is_some_and(|wanted| wanted.0)
    }
}

impl Manager {
    pub fn name(self) -> &'static str {
        match self {
            Manager::Systemd => "systemd",
            Manager::OpenRc => "openrc",
            Manager::SysV => "sysv",
        }
    }

    /// The words for `start`, `stop`, `restart`, `reload`.
    pub fn order<'a>(self, verb: &'a str, name: &'a str) -> [&'a str; 3] {
        match self {
            Manager::Systemd => ["systemctl", verb, name],
            Manager::OpenRc => ["rc-service", name, verb],
            Manager::SysV => ["service", name, verb],
        }
    }
}

/// What is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    pub manager: Manager,
    pub is_running: bool,
    /// It does its work when it is started, and has ended well: nothing is left to run.
    pub is_done: bool,
    /// It can be stopped, and nothing else.
    pub is_masked: bool,
}

/// What `systemctl show` says of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// systemd is there, and not what runs here.
    NotBooted,
    NotFound,
    Known(Found),
}

/// Exit code and output of `systemctl show --property=LoadState,ActiveState,Type,Result NAME`.
pub fn unit(is_success: bool, stdout: &str) -> Unit {
    let field = |name: &str| {
        stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    if !is_success || field("LoadState").is_empty() {
        return Unit::NotBooted;
    }
    match field("LoadState") {
        "not-found" => Unit::NotFound,
        state => Unit::Known(Found {
            manager: Manager::Systemd,
            is_running: matches!(field("ActiveState"), "active" | "activating" | "reloading"),
            is_done: (field("ActiveState"), field("Type"), field("Result"))
                == ("inactive", "oneshot", "success"),
            is_masked: state == "masked",
        }),
    }
}

/// Whether a unit starts with the machine, by what `systemctl is-enabled NAME` prints: its exit code is 0 for much more.
/// The error is the word for a unit that nothing enables by that name.
pub fn systemd_enabled(stdout: &str) -> Result<bool, &str> {
    // The program for a script of System V may print something before.
    match stdout.lines().last().unwrap_or_default().trim() {
        word @ ("static" | "indirect" | "alias" | "generated" | "transient") => Err(word),
        // One that is enabled-runtime is so until the machine stops, and `systemctl disable` leaves it.
        word => Ok(word == "enabled"),
    }
}

/// What to do about a unit for which there is this word.
pub fn instead(word: &str) -> &'static str {
    match word {
        "static" => "its file has no [Install] section: add one, or enable a unit that starts it",
        "indirect" => "its [Install] section enables other units (Also=, DefaultInstance=): name these",
        _ => "it has no file with an [Install] section: change what makes it",
    }
}

/// Whether `rc-update show LEVEL` lists a service.
pub fn openrc_enabled(stdout: &str, name: &str, level: &str) -> bool {
    stdout.lines().filter_map(|line| line.split_once('|')).any(|(service, levels)| {
        service.trim() == name && levels.split_whitespace().any(|known| known == level)
    })
}

/// Whether the names in a directory /etc/rcN.d start a service.
pub fn sysv_enabled<'a>(mut files: impl Iterator<Item = &'a str>, name: &str) -> bool {
    files.any(|file| {
        let digits = file.strip_prefix('S').and_then(|rest| rest.split_at_checked(2));
        digits.is_some_and(|(number, service)| {
            service == name && number.bytes().all(|digit| digit.is_ascii_digit())
        })
    })
}

/// Whether what `service NAME status` says may mean that there is no such service. Scripts have no exit code for that,
/// and some say as much of a process or of a file.
pub fn is_unrecognized(said: &str) -> bool {
    ["unrecognized service", "does not exist", "could not be found", "not found"]
        .iter()
        .any(|words| said.contains(words))
}

/// The verb for the manager, if anything is to be done.
pub fn verb(wanted: Option<State>, is_running: bool) -> Option<&'static str> {
    match (wanted?, is_running) {
        (State::Started, false) | (State::Reloaded, false) => Some("start"),
        (State::Stopped, true) => Some("stop"),
        (State::Restarted, _) => Some("restart"),
        (State::Reloaded, true) => Some("reload"),
        (State::Started, true) | (State::Stopped, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows() {
        let found = |is_running, is_done, is_masked| {
            Unit::Known(Found { manager: Manager::Systemd, is_running, is_done, is_masked })
        };
        let known = |is_running, is_done| found(is_running, is_done, false);
        assert_eq!(unit(true, "LoadState=loaded\nActiveState=active\n"), known(true, false));
        assert_eq!(unit(true, "ActiveState=failed\nLoadState=loaded\n"), known(false, false));
        for (kind, active, result, is_done) in [
            ("oneshot", "inactive", "success", true),
            ("oneshot", "failed", "exit-code", false),
            ("oneshot", "inactive", "exit-code", false),
            ("simple", "inactive", "success", false),
        ] {
            let shown = format!("Type={kind}\nResult={result}\nLoadState=loaded\nActiveState={active}\n");
            assert_eq!(unit(true, &shown), known(false, is_done), "{shown}");
        }
        assert_eq!(unit(true, "LoadState=not-found\nActiveState=inactive\n"), Unit::NotFound);
        for (active, is_running) in [("inactive", false), ("active", true)] {
            let shown = format!("LoadState=masked\nActiveState={active}\n");
            assert_eq!(unit(true, &shown), found(is_running, false, true), "{shown}");
        }
        // "System has not been booted with systemd as init system (PID 1). Can't operate."
        assert_eq!(unit(false, ""), Unit::NotBooted);
        assert_eq!(unit(true, ""), Unit::NotBooted);
    }

    #[test]
    fn what_systemctl_says_is_enabled() {
        assert_eq!(systemd_enabled("enabled\n"), Ok(true));
        assert_eq!(systemd_enabled("redirected to systemd-sysv-install\nenabled\n"), Ok(true));
        for word in ["enabled-runtime", "linked", "linked-runtime", "disabled", "masked", "bad", ""] {
            assert_eq!(systemd_enabled(&format!("{word}\n")), Ok(false), "{word}");
        }
        for word in ["static", "indirect", "alias", "generated", "transient"] {
            assert_eq!(systemd_enabled(&format!("{word}\n")), Err(word));
        }
    }

    #[test]
    fn what_is_enabled() {
        let shown = "                 sshd | default                                 \n              devfs | sysinit\n";
        assert!(openrc_enabled(shown, "sshd", "default") && !openrc_enabled(shown, "devfs", "default"));
        assert!(!openrc_enabled(shown, "ssh", "default"));
        let files = ["README", "S01cron", "K01web", "S02my-web", "Sxxa"];
        assert!(sysv_enabled(files.into_iter(), "cron") && sysv_enabled(files.into_iter(), "my-web"));
        for other in ["web", "ron", "a", ""] {
            assert!(!sysv_enabled(files.into_iter(), other), "{other}");
        }
        assert!(is_unrecognized("web: unrecognized service") && !is_unrecognized("web is stopped"));
    }

    #[test]
    fn what_is_done() {
        for (wanted, is_running, expected) in [
            (Some(State::Started), false, Some("start")),
            (Some(State::Started), true, None),
            (Some(State::Stopped), true, Some("stop")),
            (Some(State::Stopped), false, None),
            (Some(State::Restarted), false, Some("restart")),
            (Some(State::Reloaded), true, Some("reload")),
            (Some(State::Reloaded), false, Some("start")),
            (None, true, None),
        ] {
            assert_eq!(verb(wanted, is_running), expected, "{wanted:?}");
        }
        assert_eq!(Manager::Systemd.order("start", "web"), ["systemctl", "start", "web"]);
        assert_eq!(Manager::OpenRc.order("start", "web"), ["rc-service", "web", "start"]);
        assert_eq!(Manager::SysV.order("start", "web"), ["service", "web", "start"]);
        for (params, expected) in [
            (r#"{"name":"a","state":"stopped"}"#, false),
            (r#"{"name":"a","state":"stopped","enabled":false}"#, false),
            (r#"{"name":"a","state":"stopped","enabled":true}"#, true),
            (r#"{"name":"a","state":"started"}"#, true),
            (r#"{"name":"a","state":"restarted"}"#, true),
            (r#"{"name":"a","state":"reloaded","enabled":false}"#, true),
        ] {
            let may_start = serde_json::from_str::<Params>(params).unwrap().may_start();
            assert_eq!(may_start, expected, "{params}");
        }
        for bad in [r#"{}"#, r#"{"name":"a","state":"running"}"#, r#"{"name":"a","enabled":"perhaps"}"#] {
            assert!(serde_json::from_str::<Params>(bad).is_err(), "{bad}");
        }
    }
}
