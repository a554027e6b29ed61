//! Logins that answer with something else than a shell: an end, a flood, escapes of a terminal, half a stub.

use super::together::{End, all_held, exec_all, lab};
use super::{DEADLINE, PLACES, Place, TARGET, target};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::proxy::{Settings, Writes};
use waft_tests::sshd::HostSpec;
use waft_tests::user::{User, UserBuilder};
use waft_tests::waft::Waft;
use waft_tests::{Result, need_root};

/// How each login ends.
const ENDS: [End; 11] = [
    ("ends", "unreachable", "delivery.ended"),
    ("nologin", "unreachable", "delivery.ended"),
    ("escapes", "unreachable", "delivery.ended"),
    ("complains", "unreachable", "delivery.ended"),
    ("fails", "unreachable", "delivery.failed"),
    ("vax", "unreachable", "delivery.arch"),
    ("floods", "unreachable", "delivery.noise"),
    ("zeros", "unreachable", "delivery.noise"),
    ("greets", "unreachable", "delivery.failed"),
    ("plays", "unreachable", "link.ended"),
    ("babbles", "unreachable", "link.protocol"),
];

/// What it does instead of the command that it is given.
fn script(name: &str) -> String {
    let escapes = r"printf '\033]0;owned\007\033[2J\302\233\r x\n'";
    // Takes whatever comes, and ends with the link.
    let drain = "exec cat > /dev/null";
    let greets = r"printf '\nWAFT-LINK\n'";
    // Answers like a shell with good tools, takes most of a stub, and greets as one that was started.
    let plays = format!(r"printf 'WAFT1 Linux x86_64 head 1 1\n'; head -c 1000000 > /dev/null; {greets}");
    match name {
        "ends" => "exit 1".to_owned(),
        "nologin" => "echo This account is currently not available.; exit 1".to_owned(),
        "escapes" => format!("{escapes}; exit 1"),
        "complains" => format!("{escapes} >&2; exit 1"),
        "fails" => format!(r"printf 'WAFT1-FAIL \033[2J\033]0;owned\007 x\n'; {drain}"),
        "vax" => format!(r"printf 'WAFT1 Linux \033[2Jvax head 1 1\n'; {drain}"),
        "floods" => "exec yes no shell here".to_owned(),
        "zeros" => "exec cat /dev/zero".to_owned(),
        "greets" => format!("{greets}; {drain}"),
        "plays" => plays,
        "babbles" => format!("{plays}; yes | head -c 300; {drain}"),
        name => panic!("there is no login {name}"),
    }
}

fn host(scripts: &Path, name: &str, does: &str) -> HostSpec {
    let path = scripts.join(name);
    fs::write(&path, format!("#!/bin/sh\n{does}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    HostSpec::new(name).force_command(&path.display().to_string())
}

fn scripts() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("readable");
    dir
}

#[test]
fn a_login_that_is_no_shell_is_unreachable_and_its_escapes_stay_there() -> Result<()> {
    let guard = LeakGuard::start();
    let scripts = scripts();
    for place in PLACES {
        let lab = lab(place, ENDS.iter().map(|(name, ..)| host(scripts.path(), name, &script(name))))?;
        all_held(&format!("{place:?}"), &lab, exec_all(&lab, &ENDS)?, &ENDS, 4)?;
        // For people: nothing of it reaches the terminal as it is.
        let names: Vec<&str> = ENDS.iter().map(|(name, ..)| *name).collect();
        let ping = Waft::new("ping")?.lab(&lab).args(["-t", &names.join(",")]).limit(DEADLINE);
        let output = ping.run()?.expect_code(4)?;
        let shown = format!("{}{}", output.stdout(), output.stderr());
        let raw = |c: char| c.is_control() && c != '\n';
        assert!(
            !shown.contains(raw) && names.iter().all(|name| shown.contains(name)),
            "{place:?}: {shown:?}"
        );
        lab.wait_idle()?;
    }
    guard.check()
}

#[test]
fn a_machine_that_no_stub_is_there_for_is_named_with_what_to_do() -> Result<()> {
    const MACHINES: [End; 3] = [
        ("armv7l", "unreachable", "delivery.arch"),
        ("riscv64", "unreachable", "delivery.arch"),
        ("aarch64", "unreachable", "delivery.arch"),
    ];
    let guard = LeakGuard::start();
    let listed = Waft::new("stub")?.arg("list").limit(DEADLINE).run()?.expect_code(0)?.stdout();
    let machines: Vec<End> = MACHINES.into_iter().filter(|(machine, ..)| !listed.contains(machine)).collect();
    let scripts = scripts();
    for place in PLACES {
        // The host is called like its machine: the sentence has to name both.
        let answer = |machine: &str| {
            let does = format!("echo WAFT1 Linux {machine} head 1 1; exec cat > /dev/null");
            host(scripts.path(), machine, &does)
        };
        let lab = lab(place, machines.iter().map(|(machine, ..)| answer(machine)))?;
        let output = exec_all(&lab, &machines)?;
        for (machine, ..) in &machines {
            let result = output.result_of(machine)?;
            let (message, hint) = (&result["error"]["message"], &result["error"]["hint"]);
            let named = message.as_str().is_some_and(|text| text.matches(machine).count() == 2);
            assert!(named && hint.as_str().is_some_and(|text| text.contains("waft stub")), "{result}");
        }
        all_held(&format!("{place:?}"), &lab, output, &machines, 4)?;
    }
    guard.check()
}

/// An account whose start-up files talk, whichever of them its shell reads.
fn noisy(account: UserBuilder) -> Result<User> {
    let noise = |file: &str| (file.to_owned(), format!("echo noise from {file}\n"));
    let files = [".bashrc", ".cshrc", ".profile", ".config/fish/config.fish"].map(noise);
    files.iter().fold(account, |account, (file, text)| account.file(file, text)).create()
}

#[test]
fn shells_and_noise_do_not_matter_behind_a_hop_either() -> Result<()> {
    need_root!("accounts with other shells");
    const NAMES: [&str; 5] = ["dash", "bash", "fish", "csh", "busybox"];
    let guard = LeakGuard::start();
    let accounts = [
        noisy(User::with_shell("/bin/dash"))?,
        noisy(User::with_shell("/bin/bash"))?,
        noisy(User::with_shell("/usr/bin/fish"))?,
        noisy(User::with_shell("/bin/csh"))?,
        noisy(User::with_busybox())?,
    ];
    // The hop's own stub comes through the oddest of them.
    let [_, _, _, csh, _] = &accounts;
    let host = |name: &str, account| HostSpec::new(name).login(account).banner("Authorised use only\n");
    let bastion = Lab::builder().host(host("bas", csh));
    let targets = NAMES.iter().zip(&accounts).map(|(name, account)| host(name, account).via("bas"));
    let lab = targets.fold(bastion, |lab, spec| lab.host(spec)).start()?;
    let ends = NAMES.map(|name| (name, "ok", ""));
    let output = exec_all(&lab, &ends)?;
    for name in NAMES {
        assert_eq!(output.result_of(name)?["stdout"], "through\n", "{name}: {output}");
    }
    all_held("behind a hop", &lab, output, &ends, 0)?;
    drop((lab, accounts));
    guard.check()
}

#[test]
fn single_bytes_are_as_good_as_frames_behind_a_hop_too() -> Result<()> {
    let guard = LeakGuard::start();
    let single = Settings { writes: Writes::SingleBytes, ..Settings::default() };
    let lab = Place::BehindABastion.lab(target().proxied(single)).start()?;
    // A million single bytes of a pushed stub would test only patience.
    let waft = Waft::new("stub")?.args(["path", "--kind", "leaf"]).limit(DEADLINE);
    let leaf = waft.run()?.expect_code(0)?.stdout();
    let inventory = fs::read_to_string(&lab.inventory).expect("the lab's inventory");
    let section = format!("[hosts.{TARGET}]\n");
    let installed = format!("{section}installed = \"{}\"\n", leaf.trim());
    fs::write(&lab.inventory, inventory.replace(&section, &installed)).expect("written");
    let ping = Waft::new("ping")?.lab(&lab).args(["-t", TARGET, "--format", "json"]).limit(DEADLINE);
    let shown = ping.run()?.expect_code(0)?.stdout();
    assert!(shown.contains("\"installed\""), "{shown}");
    lab.wait_idle()?;
    drop(lab);
    guard.check()
}
