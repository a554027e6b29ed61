//! Nothing reboots: in the place of shutdown and reboot are small programs that keep what they were asked to do. What a
//! reboot is to whoever waits for it happens nevertheless: all sessions are killed, nobody is answered for a while, and
//! then the same sshd answers on a machine that tells another boot.

use crate::whole::Whole;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use waft_tests::lab::Lab;
use waft_tests::machine::{Login, Machine};
use waft_tests::process::{run_tool, signal_pid, wait_until};
use waft_tests::terminal::Terminal;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Result, need_root};

/// More than any run here takes.
const LIMIT: Duration = Duration::from_secs(60);
const OLD: &str = "11111111-1111-1111-1111-111111111111";
const NEW: &str = "22222222-2222-2222-2222-222222222222";
const OTHER: &str = "33333333-3333-3333-3333-333333333333";
const ORDERS: &str = "/var/log/orders";
/// What a target says as soon as its task has answered, and then.
const ANSWERED: &str = "its link has not ended yet";
const LEFT: &str = "waits for its reboot: its link ended";

/// A machine that boots, as far as can be seen from outside.
struct Boots(Machine);

impl Boots {
    fn start(lab: &Lab, name: &str, via: Option<&str>) -> Result<Boots> {
        let boots = Boots(Machine::start(lab, name, Login::Root, via)?);
        boots.program("shutdown", &format!("echo \"${{0##*/}} $*\" >>{ORDERS}\n"));
        boots.tells(OLD, 1_000_000);
        for (file, over) in
            [("/run/boot_id", "/proc/sys/kernel/random/boot_id"), ("/run/uptime", "/proc/uptime")]
        {
            let mut command = Command::new("nsenter");
            command.args(["--target", &boots.0.pid().to_string(), "--mount", "mount", "--bind", file, over]);
            run_tool(command, b"")?;
        }
        Ok(boots)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.0.path("/usr/local/sbin").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, format!("#!/bin/sh\n{script}")).expect("a program");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    fn tells(&self, boot: &str, uptime: u64) {
        fs::write(self.0.path("/run/boot_id"), format!("{boot}\n")).expect("a boot id");
        fs::write(self.0.path("/run/uptime"), format!("{uptime}.00 1.00\n")).expect("an uptime");
    }

    fn orders(&self) -> usize {
        fs::read_to_string(self.0.path(ORDERS)).unwrap_or_default().lines().count()
    }

    /// Nobody is answered any more, and no session is left.
    fn down(&self) {
        signal_pid(self.0.pid(), Signal::STOP);
        for process in self.0.running() {
            signal_pid(process.id.pid, Signal::KILL);
        }
    }

    fn up(&self, boot: &str) {
        self.up_since(boot, 0);
    }

    fn up_since(&self, boot: &str, uptime: u64) {
        self.tells(boot, uptime);
        signal_pid(self.0.pid(), Signal::CONT);
    }
}

struct Site {
    lab: Lab,
    cache: TempDir,
}

impl Site {
    fn new() -> Result<Site> {
        Ok(Site { lab: Lab::of(0)?, cache: tempfile::tempdir().expect("a directory") })
    }

    fn waft(&self, words: &[&str]) -> Result<Waft> {
        let waft = Waft::new("run")?.env("XDG_CACHE_HOME", self.cache.path()).lab(&self.lab).limit(LIMIT);
        let waft = match std::env::var_os("WAFT_TASKS_DIR") {
            Some(dir) => waft.env("WAFT_PATH", dir),
            None => waft,
        };
        let grants = ["facts", "exec:id -u:probe", "exec:shutdown -r now"];
        let waft = grants.iter().fold(waft.arg("reboot"), |waft, grant| waft.args(["--allow", grant]));
        let has_own = words.iter().any(|word| word.starts_with("connect_timeout="));
        let waft = if has_own { waft } else { waft.args(["-p", "connect_timeout=1"]) };
        Ok(waft.args(words))
    }

    /// Somebody looks at its events as they come.
    fn watched(&self, words: &[&str]) -> Result<Watched> {
        let waft = self.waft(words)?.args(["--format", "jsonl"]);
        Ok(Watched { terminal: waft.on_terminal()?, _waft: waft })
    }

    fn run(&self, words: &[&str], code: i32) -> Result<Output> {
        self.waft(words)?.args(["--format", "jsonl"]).run()?.expect_code(code)
    }
}

/// A run on a terminal.
struct Watched {
    terminal: Terminal,
    /// Its home lasts as long.
    _waft: Waft,
}

impl Deref for Watched {
    type Target = Terminal;

    fn deref(&self) -> &Terminal {
        &self.terminal
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut Terminal {
        &mut self.terminal
    }
}

fn events(terminal: &Terminal) -> Vec<Value> {
    let text = terminal.text();
    text.lines().filter_map(|line| serde_json::from_str(line.trim().trim_start_matches("^C")).ok()).collect()
}

/// The one result of a target.
fn result(events: &[Value], target: &str) -> Value {
    let of = |event: &&Value| event["event"] == "result" && event["target"] == target;
    let results: Vec<&Value> = events.iter().filter(of).collect();
    assert_eq!(results.len(), 1, "{events:?}");
    results[0].clone()
}

/// The end of a run that was watched.
fn end(mut terminal: Watched, code: i32) -> Result<Value> {
    assert_eq!(terminal.end()?, Some(code), "{}", terminal.text());
    Ok(result(&events(&terminal), "r1"))
}

fn at<'a>(result: &'a Value, path: &str) -> &'a str {
    result.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn a_machine_is_waited_for_until_it_is_there_by_another_boot() -> Result<()> {
    need_root!("a target with a boot of its own");
    let site = Site::new()?;
    let machine = Boots::start(&site.lab, "r1", None)?;
    let would = site.run(&["-t", "r1", "--check"], 0)?.result_of("r1")?;
    assert_eq!((at(&would, "/result/msg"), machine.orders()), ("would reboot now", 0), "{would}");

    let terminal = site.watched(&["-t", "r1"])?;
    terminal.wait_for(ANSWERED, 1)?;
    machine.down();
    terminal.wait_for(LEFT, 1)?;
    // A dial that nobody answers.
    terminal.wait_for("waits for its reboot: ", 3)?;
    assert!(!terminal.text().contains("\"result\""), "{}", terminal.text());
    machine.up(NEW);
    let done = end(terminal, 0)?;
    assert_eq!((at(&done, "/status"), machine.orders()), ("changed", 1), "{done}");
    let told = &done["result"];
    assert_eq!(
        (&told["rebooted"], &told["boot_id"], &told["boot_id_before"]),
        (&json!(true), &json!(NEW), &json!(OLD))
    );
    assert!(told["elapsed"].as_u64().is_some_and(|elapsed| elapsed >= 1), "{done}");
    assert_eq!(serde_json::from_str::<Value>(at(&done, "/stdout")).ok().as_ref(), Some(told));

    // For people: the whole answer, once.
    let people = site.waft(&["-t", "r1"])?.spawn()?;
    wait_until("the order to reboot", LIMIT, || (machine.orders() == 2).then_some(()))?;
    machine.down();
    machine.up(OTHER);
    let said = people.finish()?.expect_code(0)?;
    let told: Value = serde_json::from_str(&said.stdout()).expect("one object");
    assert_eq!((&told["rebooted"], at(&told, "/boot_id")), (&json!(true), OTHER), "{said}");

    // Once more, only while the old boot lasts: there is nothing to do, and nobody to wait for.
    let since = site.run(&["-t", "r1", "-p", &format!("boot_id={OLD}")], 0)?;
    assert_eq!(at(&since.result_of("r1")?, "/result/msg"), "rebooted since");
    assert!(since.events_of("progress")?.is_empty(), "{since}");

    // Ready is what the test says, and a missing grant for it is told while there is time.
    machine.program("ready", "test -e /run/ready\n");
    let test = ["-t", "r1", "-p", "test_command=ready now"];
    let refused = site.run(&test, 5)?.result_of("r1")?;
    assert_eq!((at(&refused, "/error/code"), machine.orders()), ("grant.missing", 2), "{refused}");
    let terminal = site.watched(&[&test[..], &["--allow", "exec:ready now:probe"]].concat())?;
    terminal.wait_for(ANSWERED, 1)?;
    machine.down();
    machine.up(OLD);
    terminal.wait_for("it is there, and not ready: `ready now` ended with code 1", 1)?;
    fs::write(machine.0.path("/run/ready"), "").expect("a file");
    let done = end(terminal, 0)?;
    assert_eq!((&done["result"]["rebooted"], at(&done, "/result/boot_id")), (&json!(true), OLD), "{done}");
    Ok(())
}

#[test]
fn a_machine_that_does_not_come_back_is_told_by_what_was_seen_last() -> Result<()> {
    need_root!("a target with a boot of its own");
    let site = Site::new()?;
    let machine = Boots::start(&site.lab, "r1", None)?;
    let other = Boots::start(&site.lab, "r2", None)?;
    let told = |result: &Value| [at(result, "/status").to_owned(), at(result, "/error/code").to_owned()];
    // It never goes down.
    let stays = site.run(&["-t", "r1", "-p", "reboot_timeout=1"], 3)?.result_of("r1")?;
    assert_eq!(told(&stays), ["timed_out", "reboot.not_begun"], "{stays}");
    assert_eq!((&stays["result"]["rebooted"], &stays["result"]["changed"]), (&json!(false), &json!(true)));
    // Both go down; one never comes back, the other does by the boot from before.
    let mut terminal = site.watched(&["-t", "r1,r2", "-p", "reboot_timeout=15"])?;
    terminal.wait_for(ANSWERED, 2)?;
    machine.down();
    other.down();
    other.up(OLD);
    terminal.wait_for("it is still by the boot from before", 1)?;
    assert_eq!(terminal.end()?, Some(4), "{}", terminal.text());
    let events = events(&terminal);
    let (gone, same) = (result(&events, "r1"), result(&events, "r2"));
    assert_eq!(told(&gone), ["lost", "reboot.not_back"], "{gone}");
    let message = at(&gone, "/error/message");
    assert_eq!((&gone["result"]["rebooted"], &gone["result"]["changed"]), (&json!(null), &json!(true)));
    assert!(message.starts_with("r1 did not come back within "), "{gone}");
    assert!(message.contains("the last dial said: r1 (127.") && message.ends_with(" within 1 s"), "{gone}");
    assert_eq!(
        (told(&same), &same["result"]["rebooted"]),
        (["timed_out", "reboot.same_boot"].map(str::to_owned), &json!(false)),
        "{same}"
    );
    machine.up(OLD);
    // Whoever waits may stop waiting.
    let mut terminal = site.watched(&["-t", "r1"])?;
    terminal.wait_for(ANSWERED, 1)?;
    terminal.types("\u{3}")?;
    let stopped = end(terminal, 130)?;
    assert_eq!((at(&stopped, "/status"), at(&stopped, "/error/code")), ("cancelled", "run.cancelled"));
    assert!(at(&stopped, "/error/message").contains("is not taken back"), "{stopped}");
    Ok(())
}

#[test]
fn an_answer_that_the_reboot_was_quicker_than_is_no_failure() -> Result<()> {
    need_root!("a target with a boot of its own");
    let site = Site::new()?;
    let machine = Boots::start(&site.lab, "r1", None)?;
    machine.program("shutdown", &format!("echo ordered >>{ORDERS}\nexec sleep 100\n"));
    let ordered =
        |count: usize| wait_until("the order to reboot", LIMIT, || (machine.orders() == count).then_some(()));
    let terminal = site.watched(&["-t", "r1"])?;
    ordered(1)?;
    machine.down();
    machine.up(NEW);
    let done = end(terminal, 0)?;
    assert_eq!((at(&done, "/status"), at(&done, "/result/boot_id")), ("changed", NEW), "{done}");
    assert_eq!(
        (&done["result"]["rebooted"], &done["result"]["boot_id_before"]),
        (&json!(true), &json!(null))
    );
    // A link that ended, and nothing else.
    let terminal = site.watched(&["-t", "r1", "-p", "reboot_timeout=15"])?;
    ordered(2)?;
    machine.down();
    machine.up_since(NEW, 1_000_000);
    terminal.wait_for("it is still by the boot from before", 1)?;
    let lost = end(terminal, 4)?;
    assert_eq!((at(&lost, "/status"), at(&lost, "/error/code")), ("lost", "reboot.same_boot"), "{lost}");
    Ok(())
}

#[test]
fn any_task_may_say_that_it_returns_after_a_reboot() -> Result<()> {
    need_root!("a target with a boot of its own");
    let site = Site::new()?;
    let machine = Boots::start(&site.lab, "r1", None)?;
    let [wasm, manifest] = ["again.wasm", "again.txt"].map(|name| site.cache.path().join(name));
    let grants = ["facts", "exec:id -u:probe", "exec:shutdown -r now"];
    for (returns, boot) in [("returns = \"after-reboot\"\n", Some(NEW)), ("", None)] {
        fs::write(&wasm, waft::stubs::builtin_task("reboot").expect("a task")).expect("a module");
        fs::write(&manifest, format!("name = \"again\"\ngrants = {grants:?}\ncheck = true\n{returns}"))
            .expect("a manifest");
        Waft::new("task")?.arg("embed").arg(&wasm).arg(&manifest).run()?.expect_code(0)?;
        let waft = Waft::new("run")?.env("XDG_CACHE_HOME", site.cache.path()).lab(&site.lab).limit(LIMIT);
        let waft = waft.arg(&wasm).args(["-t", "r1", "--allow", "asked", "--format", "jsonl"]);
        let ordered = machine.orders();
        let run = waft.spawn()?;
        if let Some(boot) = boot {
            wait_until("the order to reboot", LIMIT, || (machine.orders() > ordered).then_some(()))?;
            machine.down();
            machine.up(boot);
        }
        let done = run.finish()?.expect_code(0)?.result_of("r1")?;
        assert_eq!(
            (at(&done, "/status"), done["result"]["rebooted"].as_bool()),
            ("changed", boot.map(|_| true)),
            "{done}"
        );
    }
    Ok(())
}

#[test]
fn a_dry_run_that_a_policy_makes_of_a_run_is_not_waited_for() -> Result<()> {
    need_root!("a target with a policy that is root's");
    let site = Site::new()?;
    let machine = Boots::start(&site.lab, "r1", None)?;
    let dir = machine.0.path("/etc/waft");
    fs::create_dir_all(&dir).expect("a directory");
    let rule = "version = 1\n[[rule]]\nname = \"look\"\ntasks = [\"reboot\"]\ngrants = [\"given\"]\ncheck = \"only\"\n";
    fs::write(dir.join("policy.toml"), rule).expect("a policy");
    for (path, mode) in [(dir.join("policy.toml"), 0o644), (dir, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let would = site.run(&["-t", "r1"], 0)?;
    let done = would.result_of("r1")?;
    assert_eq!((at(&done, "/result/msg"), machine.orders()), ("would reboot now", 0), "{done}");
    assert_eq!(done["result"]["ordered"], json!(false), "{done}");
    assert!(would.events_of("progress")?.is_empty(), "{would}");
    Ok(())
}

#[test]
fn nobody_begins_to_be_waited_for_when_the_run_is_cancelled() -> Result<()> {
    need_root!("targets with a boot of their own");
    let site = Site::new()?;
    let hop = Boots::start(&site.lab, "r0", None)?;
    let machine = Boots::start(&site.lab, "r1", Some("r0"))?;
    machine.program("shutdown", &format!("echo ordered >>{ORDERS}\nexec sleep 100\n"));
    let mut terminal = site.watched(&["-t", "r0,r1"])?;
    wait_until("the order to reboot", LIMIT, || (machine.orders() == 1).then_some(()))?;
    // Its stub can say nothing any more.
    for process in machine.0.running() {
        signal_pid(process.id.pid, Signal::STOP);
    }
    terminal.types("\u{3}")?;
    // That is the hop, which lets the other go first.
    terminal.wait_for("cancelled before it began", 1)?;
    machine.down();
    let stopped = end(terminal, 130)?;
    assert_eq!((at(&stopped, "/status"), at(&stopped, "/error/code")), ("cancelled", "run.cancelled"));
    assert!(at(&stopped, "/error/message").contains("may be ordered, and is not taken back"), "{stopped}");
    assert_eq!(hop.orders(), 0);
    Ok(())
}

#[test]
fn a_machine_that_hangs_holds_up_no_other_behind_the_same_hop() -> Result<()> {
    need_root!("targets with a boot of their own");
    let site = Site::new()?;
    let _hop = Boots::start(&site.lab, "r0", None)?;
    let hangs = Boots::start(&site.lab, "r1", Some("r0"))?;
    let other = Boots::start(&site.lab, "r2", Some("r0"))?;
    // It takes a connection, and says nothing for longer than anybody here waits.
    let terminal = site.watched(&["-t", "r1,r2", "-p", "connect_timeout=3600"])?;
    terminal.wait_for(ANSWERED, 2)?;
    hangs.down();
    terminal.wait_for(LEFT, 1)?;
    other.down();
    other.up(NEW);
    let is_its = |event: &Value| event["event"] == "result" && event["target"] == "r2";
    let done = wait_until("the result of the other", LIMIT, || events(&terminal).into_iter().find(is_its))?;
    assert_eq!(at(&done, "/result/boot_id"), NEW, "{done}");
    hangs.up(NEW);
    assert_eq!(at(&end(terminal, 0)?, "/result/boot_id"), NEW);
    Ok(())
}

#[test]
fn a_refused_dry_run_ends_the_waiting_at_once() -> Result<()> {
    need_root!("a target with a boot of its own");
    let site = Site::new()?;
    let machine = Boots::start(&site.lab, "r1", None)?;
    machine.program("ready", "true\n");
    // Enough for the reboot, and not for a dry run.
    let terminal = site.watched(&["-t", "r1", "-p", "test_command=ready", "--allow", "exec:ready"])?;
    terminal.wait_for(ANSWERED, 1)?;
    machine.down();
    machine.up(NEW);
    let unknown = end(terminal, 5)?;
    assert_eq!(
        (at(&unknown, "/status"), at(&unknown, "/error/code")),
        ("refused", "reboot.unknown"),
        "{unknown}"
    );
    assert_eq!(unknown["result"]["rebooted"], json!(null), "{unknown}");
    assert!(at(&unknown, "/error/hint").contains("/ready:probe"), "{unknown}");
    assert!(at(&unknown, "/error/message").contains("whether it was rebooted is not known"), "{unknown}");
    Ok(())
}

#[test]
fn a_hop_is_rebooted_after_what_is_behind_it_and_both_are_waited_for() -> Result<()> {
    need_root!("targets with a boot of their own");
    let site = Site::new()?;
    let hop = Boots::start(&site.lab, "r0", None)?;
    let machine = Boots::start(&site.lab, "r1", Some("r0"))?;
    both_boot(&site, [&hop, &machine], NEW)?;
    // Once more, with the controller's own session through the hop.
    let inventory = fs::read_to_string(&site.lab.inventory).expect("an inventory");
    let inventory = inventory.replace("via = \"r0\"", "via = \"r0\"\nvia_mode = \"tunnel\"");
    fs::write(&site.lab.inventory, inventory).expect("an inventory");
    both_boot(&site, [&hop, &machine], OTHER)
}

/// The first of them is the hop.
fn both_boot(site: &Site, machines: [&Boots; 2], boot: &str) -> Result<()> {
    let mut terminal = site.watched(&["-t", "r0,r1"])?;
    terminal.wait_for(ANSWERED, 2)?;
    machines.iter().for_each(|machine| machine.down());
    terminal.wait_for(LEFT, 2)?;
    machines.iter().for_each(|machine| machine.up(boot));
    assert_eq!(terminal.end()?, Some(0), "{}", terminal.text());
    let events = events(&terminal);
    for name in ["r0", "r1"] {
        let done = result(&events, name);
        assert_eq!((at(&done, "/status"), at(&done, "/result/boot_id")), ("changed", boot), "{done}");
    }
    let place = |target: &str, event: &str, what: &str| {
        let is = |line: &&Value| {
            line["target"] == target && line["event"] == event && line.to_string().contains(what)
        };
        let found = events.iter().position(|line| is(&line));
        found.unwrap_or_else(|| panic!("no {event} of {target}: {events:?}"))
    };
    assert!(place("r1", "progress", ANSWERED) < place("r0", "target_state", "running"), "{events:?}");
    Ok(())
}

#[test]
fn a_reboot_is_ordered_of_programs_that_only_keep_the_order() -> Result<()> {
    need_root!("a target with an init of its own");
    let whole = Whole::root()?;
    for program in ["shutdown", "reboot", "systemctl"] {
        whole.program(&format!("/usr/local/sbin/{program}"), "echo \"${0##*/} $*\" >>/var/log/orders\n");
    }
    let orders = || whole.read(ORDERS);
    let would = whole.would("reboot", &json!({}), true)?;
    assert_eq!((&would["msg"], orders().as_str()), (&json!("would reboot now"), ""), "{would}");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
    assert_eq!(would["boot_id"], json!(boot_id.trim()));
    // It is ordered, and never comes.
    let ordered = |params: &Value| whole.result("reboot", params, &["asked"], &[], 3);
    let done = ordered(&json!({"reboot_timeout": 1}))?;
    assert_eq!((&done["result"]["delay"], orders().as_str()), (&json!(0), "shutdown -r now\n"), "{done}");
    fs::create_dir_all(whole.path("/run/systemd/system")).expect("a directory");
    let params = json!({"msg": "new kernel", "boot_id": boot_id.trim(), "reboot_timeout": 1});
    let done = ordered(&params)?;
    assert_eq!(done["result"]["msg"], json!("reboots now"), "{done}");
    assert!(orders().ends_with("\nshutdown -r +0 new kernel\n"), "{}", orders());
    let would = whole.would("reboot", &json!({"pre_reboot_delay": 185}), true)?;
    assert_eq!(
        (&would["delay"], &would["msg"]),
        (&json!(180), &json!("would reboot in 3 minutes")),
        "{would}"
    );

    // Of another boot: it has happened.
    let before = orders();
    let done = json!({"boot_id": "00000000-0000-0000-0000-000000000000"});
    whole.would("reboot", &done, false)?;
    assert_eq!(whole.answer("reboot", &done, false)?["msg"], "rebooted since");
    let bad = whole.failure("reboot", &json!({"msg": "-c"}), &["--check"])?;
    assert_eq!(bad["code"], "params.invalid", "{bad}");
    let bad = json!({"reboot_timeout": 0, "test_comand": "x"});
    let bad = whole.run("reboot", &bad, &["asked"], &[])?.expect_code(2)?.stderr();
    assert!(
        bad.contains("`reboot_timeout` of reboot is 0") && bad.contains("did you mean `test_command`?"),
        "{bad}"
    );
    let here = whole.run("reboot", &json!({}), &["asked"], &["-t", "local"])?.expect_code(2)?.stderr();
    assert!(here.contains("the machine that would wait for it"), "{here}");
    let refused = whole.result("reboot", &json!({}), &["facts", "exec:id -u"], &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    assert_eq!(orders(), before);
    drop(whole);

    let whole = Whole::ordinary()?;
    assert_eq!(whole.failure("reboot", &json!({}), &["--check"])?["code"], "reboot.denied");
    assert_eq!(whole.failure("reboot", &json!({}), &[])?["code"], "reboot.denied");
    Ok(())
}
