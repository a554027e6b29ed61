//! systemd does not run where tests do. Scripts of System V are real ones, under the real `service` and `update-rc.d`; in
//! the place of systemctl and of the programs of OpenRC are small ones that keep what they were asked to do.

use crate::whole::Whole;
use serde_json::{Value, json};
use waft_tests::{Result, need_root};

/// Whether a service runs is a file. `crash` is one that says it started and does not run.
const SCRIPT: &str = r#"### BEGIN INIT INFO
# Provides: web
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
run=/run/${0##*/}
echo "${0##*/} $1" >>/var/log/orders
case $1 in
    start|restart) [ "${0##*/}" = crash ] || touch $run;;
    stop) rm -f $run;;
    reload) [ -e $run ];;
    status) [ -e $run ] || exit 3;;
    *) exit 2;;
esac
"#;

/// Keeps its orders; a unit is active or enabled when there is a file for it. As systemd it has one exit code for many
/// words.
const SYSTEMCTL: &str = r#"
case $1 in
    show)
        [ $2 != --property=Id ] || { [ $3 = alias ] && echo Id=web || echo Id=$3; exit 0; }
        case $3 in
        none) echo LoadState=not-found; echo ActiveState=inactive;;
        masked) echo LoadState=masked; [ -e /run/$3 ] && echo ActiveState=active || echo ActiveState=inactive;;
        job) printf '%s\n' LoadState=loaded ActiveState=inactive Type=oneshot Result=success;;
        ill) printf '%s\n' LoadState=loaded ActiveState=failed Type=oneshot Result=exit-code;;
        *) echo LoadState=loaded; [ -e /run/$3 ] && echo ActiveState=active || echo ActiveState=inactive;;
        esac;;
    is-enabled)
        [ ! -e /run/enabled-$2 ] || { echo enabled; exit 0; }
        case $2 in
            static|indirect|alias|generated|enabled-runtime) echo $2; exit 0;;
            masked|linked) echo $2; exit 1;;
        esac
        echo disabled; exit 1;;
    *) echo "systemctl $*" >>/var/log/orders;;
esac
case $1 in
    start|restart) touch /run/$2;;
    stop) rm -f /run/$2;;
    enable) touch /run/enabled-$2;;
    disable) rm -f /run/enabled-$2;;
esac
[ "$1 $2" != 'start broken' ] || { echo 'Job for broken.service failed.' >&2; exit 1; }
exit 0
"#;

fn wanted(name: &str, state: &str) -> Value {
    json!({"name": name, "state": state})
}

/// The same with each manager: it has `web`, which neither runs nor is enabled.
fn comes_and_goes(whole: &Whole, manager: &str) -> Result<()> {
    let both = json!({"name": "web", "state": "started", "enabled": true});
    let would = whole.would("service", &both, true)?;
    assert_eq!(would["msg"], "would start and enable the service web", "{would}");
    assert!(!whole.path("/run/web").exists());
    let done = whole.answer("service", &both, true)?;
    assert_eq!((&done["manager"], &done["state"]), (&json!(manager), &json!("started")), "{done}");
    assert!(whole.path("/run/web").exists());
    whole.answer("service", &both, false)?;
    whole.would("service", &both, false)?;
    whole.answer("service", &wanted("web", "reloaded"), true)?;
    whole.answer("service", &wanted("web", "restarted"), true)?;
    whole.answer("service", &json!({"name": "web", "state": "stopped", "enabled": false}), true)?;
    assert!(!whole.path("/run/web").exists());
    whole.answer("service", &json!({"name": "web", "state": "stopped", "enabled": false}), false)?;
    Ok(())
}

#[test]
fn services_of_system_v_by_their_scripts() -> Result<()> {
    need_root!("a target with services of its own");
    let whole = Whole::root()?;
    whole.program("/etc/init.d/web", SCRIPT);
    whole.program("/etc/init.d/crash", SCRIPT);
    comes_and_goes(&whole, "sysv")?;
    let orders = whole.read("/var/log/orders");
    let done: Vec<&str> = orders.lines().filter(|line| !line.ends_with("status")).collect();
    assert_eq!(done, ["web start", "web reload", "web restart", "web stop"]);
    whole.answer("service", &json!({"name": "web", "enabled": true}), true)?;
    let level = std::fs::read_dir(whole.path("/etc/rc3.d")).expect("a runlevel");
    let names: Vec<_> = level.flatten().map(|entry| entry.file_name()).collect();
    assert!(names.iter().any(|name| name.to_string_lossy().ends_with("web")), "{names:?}");

    // A service that only says that it runs is not believed.
    let crashed = whole.failure("service", &wanted("crash", "started"), &[])?;
    assert_eq!(crashed["code"], "service.failed", "{crashed}");
    assert!(crashed["message"].as_str().is_some_and(|said| said.contains("does not run")), "{crashed}");
    assert_eq!(
        whole.failure("service", &wanted("none", "started"), &["--check"])?["code"],
        "service.not_found"
    );
    for bad in
        [json!({"name": "web"}), json!({"name": "--all", "state": "stopped"}), wanted("a b", "started")]
    {
        assert_eq!(whole.failure("service", &bad, &[])?["code"], "params.invalid", "{bad}");
    }
    // What a script does not find need not be itself.
    whole.program("/etc/init.d/wordy", &SCRIPT.replace("exit 3", "{ echo 'pid file not found'; exit 3; }"));
    whole.answer("service", &wanted("wordy", "started"), true)?;
    // The operator's grants decide: to look is not to stop.
    whole.write("/run/web", "");
    let look = ["exec:service web status:probe", "exec:id -u:probe"];
    let refused = whole.result("service", &wanted("web", "stopped"), &look, &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    assert!(whole.path("/run/web").exists());
    Ok(())
}

#[test]
fn services_of_systemd_and_openrc_by_programs_that_stand_for_theirs() -> Result<()> {
    need_root!("a target with services of its own");
    let whole = Whole::root()?;
    whole.program("/usr/local/bin/systemctl", SYSTEMCTL);
    comes_and_goes(&whole, "systemd")?;
    let done = whole.read("/var/log/orders");
    let orders = ["enable web", "start web", "reload web", "restart web", "disable web", "stop web"];
    assert_eq!(done.lines().collect::<Vec<_>>(), orders.map(|order| format!("systemctl {order}")));
    assert_eq!(whole.failure("service", &wanted("none", "started"), &[])?["code"], "service.not_found");
    // One that has done its work is not there any more.
    whole.answer("service", &wanted("job", "started"), true)?;
    assert_eq!(whole.failure("service", &wanted("ill", "started"), &[])?["code"], "service.failed");
    let broken = whole.failure("service", &wanted("broken", "started"), &[])?;
    let said = "`systemctl start broken` ended with code 1: Job for broken.service failed.";
    assert_eq!(broken["message"], said, "{broken}");
    let params = json!({"name": "web", "state": "started", "daemon_reload": true});
    whole.answer("service", &params, true)?;
    assert!(whole.read("/var/log/orders").contains("systemctl daemon-reload\n"));

    // As where systemd is installed and another init runs.
    whole.program("/usr/local/bin/systemctl", "echo 'System has not been booted with systemd' >&2; exit 1\n");
    whole.program("/etc/init.d/web", SCRIPT);
    whole.program(
        "/usr/local/sbin/rc-service",
        "[ \"$1\" = --exists ] && { [ -e /etc/init.d/$2 ]; exit; }\nexec /etc/init.d/$1 $2\n",
    );
    whole.program(
        "/usr/local/sbin/rc-update",
        "case $1 in add) touch /run/on-$2;; del) rm /run/on-$2;;\nshow) for f in /run/on-*; do \
         [ -e $f ] && echo \"  ${f#/run/on-} | $2 \"; done;; esac\nexit 0\n",
    );
    std::fs::remove_file(whole.path("/run/web")).expect("it ran");
    comes_and_goes(&whole, "openrc")?;
    assert_eq!(whole.failure("service", &wanted("none", "started"), &[])?["code"], "service.not_found");
    Ok(())
}

#[test]
fn units_of_systemd_are_enabled_where_that_is_possible() -> Result<()> {
    need_root!("a target with services of its own");
    let whole = Whole::root()?;
    whole.program("/usr/local/bin/systemctl", SYSTEMCTL);
    let enabled = |name: &str, on: bool| json!({"name": name, "enabled": on});
    // Until the machine stops is not for good.
    for name in ["enabled-runtime", "linked"] {
        whole.answer("service", &enabled(name, false), false)?;
        whole.would("service", &enabled(name, true), true)?;
        whole.answer("service", &enabled(name, true), true)?;
        whole.answer("service", &enabled(name, true), false)?;
        whole.answer("service", &enabled(name, false), true)?;
    }
    whole.write("/var/log/orders", "");
    for name in ["static", "indirect", "generated"] {
        whole.answer("service", &enabled(name, false), false)?;
    }
    for (name, on, hint) in [
        ("static", true, "no [Install] section"),
        ("indirect", true, "Also="),
        ("generated", true, "no file with an [Install] section"),
    ] {
        for words in [&[][..], &["--check"]] {
            let failed = whole.failure("service", &enabled(name, on), words)?;
            let said = |part: &str, text: &str| failed[part].as_str().is_some_and(|said| said.contains(text));
            assert!(failed["code"] == "service.cannot_enable" && said("message", name), "{failed}");
            assert!(said("hint", hint), "{failed}");
        }
    }
    // Another name is switched with what it stands for.
    let alias = enabled("alias", true);
    whole.answer("service", &alias, true)?;
    assert_eq!(whole.read("/var/log/orders"), "systemctl enable web\n");
    whole.answer("service", &alias, false)?;
    whole.answer("service", &enabled("alias", false), true)?;
    whole.write("/var/log/orders", "");
    // Nothing is started before.
    let both = json!({"name": "static", "state": "started", "enabled": true});
    assert_eq!(whole.failure("service", &both, &[])?["code"], "service.cannot_enable");
    assert_eq!(whole.read("/var/log/orders"), "");
    Ok(())
}

#[test]
fn a_masked_unit_of_systemd_is_stopped_and_never_started() -> Result<()> {
    need_root!("a target with services of its own");
    let whole = Whole::root()?;
    whole.program("/usr/local/bin/systemctl", SYSTEMCTL);
    whole.write("/run/masked", "");
    for refused in [
        wanted("masked", "started"),
        wanted("masked", "restarted"),
        wanted("masked", "reloaded"),
        json!({"name": "masked", "enabled": true}),
        json!({"name": "masked", "state": "stopped", "enabled": true}),
    ] {
        assert_eq!(whole.failure("service", &refused, &[])?["code"], "service.masked", "{refused}");
    }
    assert!(whole.path("/run/masked").exists());
    whole.would("service", &wanted("masked", "stopped"), true)?;
    let off = json!({"name": "masked", "state": "stopped", "enabled": false});
    let stopped = whole.answer("service", &off, true)?;
    assert_eq!(stopped["msg"], "stop the service masked", "{stopped}");
    whole.answer("service", &off, false)?;
    assert_eq!(whole.read("/var/log/orders"), "systemctl stop masked\n");
    Ok(())
}

#[test]
fn an_ordinary_account_sees_services_and_changes_none() -> Result<()> {
    need_root!("a target with services of its own");
    let whole = Whole::ordinary()?;
    whole.program("/etc/init.d/web", SCRIPT);
    whole.program("/usr/local/bin/systemctl", "echo 'System has not been booted with systemd' >&2; exit 1\n");
    whole.answer("service", &wanted("web", "stopped"), false)?;
    for words in [&[][..], &["--check"]] {
        let denied = whole.failure("service", &wanted("web", "started"), words)?;
        assert_eq!(denied["message"], "only root can change services", "{denied}");
    }
    assert!(!whole.path("/run/web").exists());
    Ok(())
}

/// How long the daemon sleeps: no other program of this machine does so, nor another run of this test.
fn seconds() -> String {
    format!("98{:07}", std::process::id())
}

/// Its daemon is a child of the script, as most are.
const DAEMON: &str = r#"
stop() { start-stop-daemon --stop --retry KILL/5 --pidfile /run/daemon.pid --exec /bin/sleep; }
case $1 in
    restart) stop; exec $0 start;;
    stop) stop;;
    start) exec start-stop-daemon --start --background --make-pidfile --pidfile /run/daemon.pid --exec /bin/sleep -- SECONDS;;
    status) exec start-stop-daemon --status --pidfile /run/daemon.pid --exec /bin/sleep;;
esac
"#;

/// What a daemon was started as, with the process number that the target knows it by.
fn daemons() -> Vec<i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let daemon = format!("/bin/sleep\0{}\0", seconds());
    numbers
        .filter(|pid| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words == daemon.as_bytes()
        })
        .collect()
}

/// Ends the daemons of this test, whatever came of it.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        for pid in daemons().into_iter().filter_map(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[test]
fn a_daemon_that_a_script_starts_stays_where_that_is_granted() -> Result<()> {
    need_root!("a target with services of its own");
    let whole = Whole::root()?;
    whole.program("/etc/init.d/daemon", &DAEMON.replace("SECONDS", &seconds()));
    let _ends = Ends;
    let look = [
        "exec:id -u:probe",
        "exec:systemctl show --property=* *:probe",
        "exec:rc-service --exists *:probe",
        "exec:service * status:probe",
        "exec:service * *",
    ];
    let refused = whole.result("service", &wanted("daemon", "started"), &look, &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    let hint = refused["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("service daemon start:daemon"), "{refused}");
    // What it tried before is not what it lacks.
    let refused =
        whole.result("service", &wanted("daemon", "started"), &[look[0], look[3], look[4]], &[], 5)?;
    let hint = refused["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("service daemon start:daemon"), "{refused}");
    assert!(daemons().is_empty());
    whole.would("service", &wanted("daemon", "started"), true)?;
    assert!(daemons().is_empty());

    // Not by its own words: the run is over, and the stub with it.
    let started = whole.answer("service", &wanted("daemon", "started"), true)?;
    assert_eq!(started["stays"].as_array().map(Vec::len), Some(1), "{started}");
    let first = daemons();
    assert_eq!(first.len(), 1, "{started}");
    whole.answer("service", &wanted("daemon", "started"), false)?;
    whole.answer("service", &wanted("daemon", "restarted"), true)?;
    let second = daemons();
    assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
    whole.answer("service", &wanted("daemon", "stopped"), true)?;
    assert!(daemons().is_empty());

    // The same script, asked by a task that says nothing of daemons.
    let argv = json!({"argv": ["service", "daemon", "start"]});
    whole.result("command", &argv, &["exec:service daemon start:daemon"], &[], 0)?;
    assert!(daemons().is_empty());
    Ok(())
}
