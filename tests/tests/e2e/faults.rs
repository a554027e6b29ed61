//! Bad input and faults: each ends in one status per target, a sentence, the right exit code, and nothing left.

use crate::LIMIT;
use crate::via::behind_a_bastion;
use rustix::process::Signal;
use std::fs;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{Process, descendants, signal_pid, wait_until};
use waft_tests::proxy::{Direction, Fault, FaultAfter, Settings, Writes};
use waft_tests::sshd::HostSpec;
use waft_tests::user::User;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Result, need_root};

fn exec(lab: &Lab, target: &str, argv: &[&str]) -> Result<Output> {
    Waft::new("exec")?
        .lab(lab)
        .args(["-t", target, "--format", "jsonl", "--timeout", "30s", "--"])
        .args(argv)
        .limit(LIMIT)
        .run()
}

/// One result with that status and error code, and an exit code that fits.
fn ended(output: Output, target: &str, status: &str, code: &str, exit: i32) -> Result<()> {
    let output = output.expect_code(exit)?;
    let result = output.result_of(target)?;
    assert_eq!(result["status"], status, "{result}");
    assert_eq!(result["error"]["code"], code, "{result}");
    let message = result["error"]["message"].as_str().unwrap_or_default();
    assert!(message.len() > 10 && !message.contains("Err(") && !message.contains("Some("), "{message}");
    Ok(())
}

#[test]
fn what_is_no_module_is_told_before_anything_is_dialled() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let cases = [
        (file("text.wasm", b"(module)"), "\\0asm"),
        (file("empty.wasm", b""), "\\0asm"),
        (file("short.wasm", b"\0asm\x01\0\0\0\x01\xff\xff"), "no valid module"),
        (file("component.wasm", b"\0asm\x0d\0\x01\0"), "component"),
        (file("import.wasm", b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x09\x01\x03env\x01f\0\0"), "env.f"),
        ("no-such-task".to_owned(), "hint: built in are"),
        ("fcts".to_owned(), "hint: did you mean `facts`? built in are"),
        ("./no-such-file.wasm".to_owned(), "cannot be read"),
    ];
    for (task, words) in cases {
        let output =
            Waft::new("run")?.args([&task, "-t", "nobody@192.0.2.1"]).limit(LIMIT).run()?.expect_code(2)?;
        assert!(output.stderr().contains(words), "{task}: {}", output.stderr());
        assert!(output.stdout().is_empty());
    }
    Ok(())
}

#[test]
fn usage_mistakes_are_told_and_nothing_is_sent() -> Result<()> {
    let lab = Lab::of(1)?;
    for (args, words) in [
        (vec!["run", "facts"], "-t"),
        (vec!["run", "facts", "-t", "h9"], "h9"),
        (vec!["run", "facts", "-t", "h1", "--allow", "fs:relative"], "fs:"),
        (vec!["run", "facts", "-t", "h1", "-p", "novalue"], "novalue"),
        (vec!["run", "facts", "-t", "!h1"], "select"),
    ] {
        let mut waft = Waft::new(args[0])?.lab(&lab);
        waft = waft.args(&args[1..]);
        let output = waft.limit(LIMIT).run()?;
        let code = output.code();
        assert_eq!(code, Some(2), "{args:?}: {}", output.stderr());
        assert!(output.stderr().contains(words) || words == "select", "{args:?}: {}", output.stderr());
    }
    Ok(())
}

#[test]
fn hosts_that_cannot_be_reached() -> Result<()> {
    let mut lab = Lab::of(2)?;
    // A wrong host key: h1's key is written down for h2.
    let known = fs::read_to_string(&lab.known_hosts).expect("known_hosts");
    let (h1, h2) = (lab.host("h1").known_hosts_line(), lab.host("h2").known_hosts_line());
    let h1_key = h1.split_once(' ').map(|(_, key)| key.to_owned()).unwrap_or_default();
    let h2_name = h2.split_once(' ').map(|(name, _)| name.to_owned()).unwrap_or_default();
    let swapped = known.replace(h2.trim(), format!("{h2_name} {h1_key}").trim());
    fs::write(&lab.known_hosts, swapped).expect("written");
    ended(exec(&lab, "h2", &["/bin/true"])?, "h2", "unreachable", "ssh.host_key", 4)?;
    // Nobody listens.
    lab.host_mut("h1").stop();
    ended(exec(&lab, "h1", &["/bin/true"])?, "h1", "unreachable", "ssh.refused", 4)?;
    // A name that does not exist.
    let output = Waft::new("exec")?
        .args(["-t", "root@no-such-host.invalid", "--format", "jsonl", "--", "/bin/true"])
        .limit(LIMIT)
        .run()?;
    ended(output, "root@no-such-host.invalid", "unreachable", "ssh.resolve", 4)
}

#[test]
fn a_refused_login_says_what_was_tried() -> Result<()> {
    let lab = Lab::of(1)?;
    let other = Lab::of(1)?;
    let host = lab.host("h1");
    let output = Waft::new("exec")?
        .args(["--known-hosts", lab.known_hosts.to_str().unwrap_or_default()])
        .args(["--identity", other.key.path.to_str().unwrap_or_default()])
        .args(["-t", &format!("{}@{}", host.user, host.address), "--format", "jsonl", "--", "/bin/true"])
        .limit(LIMIT)
        .run()?;
    ended(output, &format!("{}@{}", host.user, host.address), "unreachable", "ssh.auth", 4)
}

#[test]
fn other_shells_noise_and_banners_do_not_matter() -> Result<()> {
    need_root!("accounts with other shells");
    let mut users = Vec::new();
    for shell in ["/bin/dash", "/bin/bash", "/usr/bin/fish", "/bin/csh"] {
        let noisy = User::with_shell(shell)
            .file(".bashrc", "echo noise from bashrc\n")
            .file(".cshrc", "echo noise from cshrc\n")
            .file(".config/fish/config.fish", "echo noise from fish\n");
        users.push(noisy.create()?);
    }
    users.push(User::with_busybox().create()?);
    let lab = users.iter().enumerate().fold(Lab::builder(), |lab, (at, user)| {
        lab.host(HostSpec::new(format!("h{}", at + 1)).login(user).banner("Authorised use only\n"))
    });
    let lab = lab.start()?;
    let output = exec(&lab, "all", &["/bin/echo", "through"])?.expect_code(0)?;
    for at in 1..=users.len() {
        let result = output.result_of(&format!("h{at}"))?;
        assert_eq!(result["stdout"], "through\n", "{result}");
    }
    Ok(())
}

/// With an installed stub, since a million single bytes of a pushed one would test only patience.
#[test]
fn single_bytes_are_as_good_as_frames() -> Result<()> {
    let stub = Waft::new("stub")?.args(["path", "--kind", "leaf"]).limit(LIMIT);
    let path = stub.run()?.expect_code(0)?.stdout();
    let settings = Settings { writes: Writes::SingleBytes, ..Settings::default() };
    let lab = Lab::builder().host(HostSpec::new("h1").proxied(settings)).start()?;
    let inventory = fs::read_to_string(&lab.inventory).expect("the lab's inventory");
    let installed = format!("[hosts.h1]\ninstalled = \"{}\"\n", path.trim());
    fs::write(&lab.inventory, inventory.replace("[hosts.h1]\n", &installed)).expect("written");
    let output = exec(&lab, "h1", &["/bin/echo", "slow"])?.expect_code(0)?;
    assert_eq!(output.result_of("h1")?["stdout"], "slow\n");
    let ping = Waft::new("ping")?.lab(&lab).args(["-t", "h1"]).limit(LIMIT).run()?.expect_code(0)?;
    assert!(ping.stdout().contains("installed"), "{}", ping.stdout());
    Ok(())
}

#[test]
fn a_link_cut_in_any_phase_ends_in_one_result() -> Result<()> {
    let guard = LeakGuard::start();
    // Bytes after which the link is cut, in the phases: banner, key exchange, login, delivery, run.
    for (direction, bytes) in [
        (Direction::Up, 10),
        (Direction::Up, 1_200),
        (Direction::Up, 2_500),
        (Direction::Up, 60_000),
        (Direction::Up, 700_000),
        (Direction::Down, 5_200),
    ] {
        let fault = Some(FaultAfter { fault: Fault::Cut, direction, bytes });
        let lab = Lab::builder()
            .host(HostSpec::new("h1").proxied(Settings { fault, ..Settings::default() }))
            .start()?;
        let output = exec(&lab, "h1", &["/bin/sh", "-c", "head -c 100000 /dev/zero; sleep 20"])?;
        let output = output.expect_code(4)?;
        let status = output.result_of("h1")?["status"].clone();
        assert!(status == "unreachable" || status == "lost", "cut after {bytes}: {status}");
        lab.wait_idle()?;
    }
    guard.check()
}

/// The keeper is what the login started; the stub is its child.
fn keeper_and_stub(sshd: u32) -> Option<(u32, u32)> {
    let linked: Vec<Process> =
        descendants(&[sshd]).into_iter().filter(|process| process.command.contains("--link")).collect();
    let is_keeper = |pid: u32| linked.iter().any(|process| process.id.pid == pid);
    linked.iter().find(|stub| is_keeper(stub.parent)).map(|stub| (stub.parent, stub.id.pid))
}

#[test]
fn a_stub_or_its_keeper_that_is_killed_leaves_nothing_and_the_target_is_lost() -> Result<()> {
    for victim in ["keeper", "stub"] {
        let lab = Lab::of(1)?;
        let guard = LeakGuard::start();
        let sshd = lab.host("h1").pid();
        let waft = Waft::new("exec")?
            .lab(&lab)
            .args(["-t", "h1", "--format", "jsonl", "--", "/bin/sh", "-c", "setsid sleep 987 & sleep 986"])
            .limit(LIMIT)
            .spawn()?;
        wait_until("the programs run", LIMIT, || {
            let all = descendants(&[sshd]);
            let sleeps = ["sleep 987", "sleep 986"].map(|line| all.iter().any(|p| p.command == line));
            (sleeps == [true, true]).then_some(())
        })?;
        let (keeper, stub) = keeper_and_stub(sshd).expect("what runs programs is there");
        signal_pid(if victim == "keeper" { keeper } else { stub }, Signal::KILL);
        let output = waft.finish()?.expect_code(4)?;
        assert_eq!(output.result_of("h1")?["status"], "lost");
        drop(output);
        lab.wait_idle()?;
        guard.check()?;
    }
    Ok(())
}

#[test]
fn a_relay_killed_with_twenty_children_loses_all_of_them_once() -> Result<()> {
    let lab = behind_a_bastion(20)?;
    let guard = LeakGuard::start();
    let bastion = lab.host("bas").pid();
    let waft = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "t[1-20]", "--format", "jsonl", "--", "/bin/sleep", "300"])
        .limit(LIMIT)
        .spawn()?;
    let t20 = lab.host("t20").pid();
    let all_run = || {
        let all = (1..=20).map(|at| lab.host(&format!("t{at}")).pid()).collect::<Vec<_>>();
        let sleeps = descendants(&all).iter().filter(|process| process.command.contains("sleep 300")).count();
        (sleeps == 20).then_some(())
    };
    wait_until("all twenty run", LIMIT, all_run)?;
    assert!(!descendants(&[t20]).is_empty());
    let (_, relay) = keeper_and_stub(bastion).expect("what has twenty children is there");
    signal_pid(relay, Signal::KILL);
    let output = waft.finish()?.expect_code(4)?;
    let results = output.events_of("result")?;
    assert_eq!(results.len(), 20);
    assert!(results.iter().all(|result| result["status"] == "lost"), "{results:?}");
    drop(output);
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn ctrl_c_stops_everything_everywhere() -> Result<()> {
    let lab = behind_a_bastion(3)?;
    let guard = LeakGuard::start();
    let waft = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "t[1-3]", "--format", "jsonl", "--", "/bin/sh", "-c", "setsid sleep 555 & sleep 556"])
        .limit(LIMIT)
        .spawn()?;
    let targets: Vec<u32> = (1..=3).map(|at| lab.host(&format!("t{at}")).pid()).collect();
    wait_until("all run", LIMIT, || {
        let sleeps =
            descendants(&targets).iter().filter(|process| process.command.contains("sleep 55")).count();
        (sleeps >= 6).then_some(())
    })?;
    waft.interrupt();
    // The programs sleep longer than `LIMIT`, which would end this.
    let output = waft.finish()?.expect_code(130)?;
    for result in output.events_of("result")? {
        assert_eq!(result["status"], "cancelled", "{result}");
    }
    drop(output);
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn a_program_that_outlives_its_time_is_timed_out_with_its_children() -> Result<()> {
    let lab = Lab::of(1)?;
    let guard = LeakGuard::start();
    let output = Waft::new("exec")?
        .lab(&lab)
        .args([
            "-t",
            "h1",
            "--format",
            "jsonl",
            "--timeout",
            "1s",
            "--",
            "/bin/sh",
            "-c",
            "setsid sleep 444 & sleep 445",
        ])
        .limit(LIMIT)
        .run()?
        .expect_code(3)?;
    assert_eq!(output.result_of("h1")?["status"], "timed_out");
    drop(output);
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn hostile_output_reaches_no_terminal_unescaped() -> Result<()> {
    let lab = Lab::of(2)?;
    let output = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "all", "--", "/usr/bin/printf", r"\033]0;owned\007\033[2J\302\233 x\n"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    assert!(
        !output.stdout().contains('\u{1b}') && !output.stdout().contains('\u{9b}'),
        "{:?}",
        output.stdout()
    );
    assert!(output.stdout().contains("\\x1b"), "{:?}", output.stdout());
    Ok(())
}
