//! The page for operators: its block is executed as it stands, on a machine of its own, with the package.

use super::{stub, told};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::LIMIT;
use serde_json::Value;
use waft_tests::lab::{Lab, SSH_LIMIT};
use waft_tests::machine::{Login, Machine};
use waft_tests::process::{self, run_tool, wait_until};
use waft_tests::waft::Waft;
use waft_tests::{Context, Result, need_root};

const SOON: Duration = Duration::from_secs(20);
/// What the block and dpkg need there.
const PROGRAMS: &str = "dpkg dpkg-deb dpkg-split dpkg-query dpkg-trigger tar ldconfig start-stop-daemon useradd usermod install kill diff";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

fn package(out: &Path) -> Result<()> {
    // One for tests has some hundred megabytes of names for debuggers, and the packer is slow.
    let small = out.with_extension("stub");
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&small).arg(stub()?);
    run_tool(strip, b"")?;
    let mut command = Command::new(root().join("packaging/build-deb.sh"));
    command.arg(&small).arg(out);
    run_tool(command, b"").map(drop)
}

/// The fenced block of the section.
fn block() -> String {
    let page = fs::read_to_string(root().join("docs/operators.md")).expect("the page");
    let (_, section) = page.split_once("\n## Site mode\n").expect("the section");
    let (_, block) = section.split_once("```sh\n").expect("a block");
    block.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn the_package_has_what_it_says_and_belongs_to_root() -> Result<()> {
    let dir = tempfile::tempdir().context(|| "a directory".to_owned())?;
    let deb = dir.path().join("waft-stub.deb");
    package(&deb)?;
    let mut list = Command::new("dpkg-deb");
    list.arg("--contents").arg(&deb);
    let listed = run_tool(list, b"")?;
    for (mode, path) in [
        ("-rwxr-xr-x root/root", "./usr/bin/waft-stub"),
        ("drwxr-xr-x root/root", "./etc/waft/"),
        ("-rw-r--r-- root/root", "./usr/share/doc/waft-stub/examples/policy.toml"),
        ("-rw-r--r-- root/root", "./usr/share/doc/waft-stub/examples/waft.yaml"),
        ("-rw-r--r-- root/root", "./usr/share/doc/waft-stub/examples/waft.rules"),
        ("-rw-r--r-- root/root", "./usr/share/doc/waft-stub/examples/80-waft.rules"),
    ] {
        assert!(
            listed.lines().any(|line| line.starts_with(mode) && line.ends_with(path)),
            "{path}: {listed}"
        );
    }
    let unpacked = dir.path().join("unpacked");
    let mut extract = Command::new("dpkg-deb");
    extract.arg("--extract").arg(&deb).arg(&unpacked);
    run_tool(extract, b"")?;
    let example = unpacked.join("usr/share/doc/waft-stub/examples/policy.toml");
    Waft::new("policy")?.arg("check").arg(example).run()?.expect_code(0)?;
    Ok(())
}

#[test]
fn the_package_can_be_upgraded_removed_and_purged_and_what_is_the_sites_stays() -> Result<()> {
    need_root!("dpkg for another root directory");
    let dir = tempfile::tempdir().context(|| "a directory".to_owned())?;
    let (deb, root, tree) = (dir.path().join("one.deb"), dir.path().join("root"), dir.path().join("tree"));
    package(&deb)?;
    let tool = |program: &str, words: &[&str], paths: &[&Path]| -> Result<String> {
        let mut command = Command::new(program);
        command.args(words).args(paths);
        run_tool(command, b"")
    };
    // The next release, as dpkg sees it.
    tool("dpkg-deb", &["--raw-extract"], &[&deb, &tree])?;
    let control = fs::read_to_string(tree.join("DEBIAN/control")).expect("it");
    let version = control.lines().find(|line| line.starts_with("Version: ")).expect("a version");
    fs::write(tree.join("DEBIAN/control"), control.replace(version, "Version: 99.0.0")).expect("written");
    let next = dir.path().join("next.deb");
    tool("dpkg-deb", &["--root-owner-group", "-Zgzip", "-z1", "--build"], &[&tree, &next])?;

    for made in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"] {
        fs::create_dir_all(root.join(made)).expect("a directory");
    }
    fs::write(root.join("var/lib/dpkg/status"), "").expect("written");
    let at = format!("--root={}", root.display());
    let (policy, state) = (root.join("etc/waft/policy.toml"), root.join("var/lib/waft/ops/node.key"));
    tool("dpkg", &[&at, "--install"], &[&deb])?;
    let stub = root.join("usr/bin/waft-stub");
    assert!(stub.exists() && !policy.exists(), "a policy is the site's to write");
    fs::write(&policy, "version = 1\n").expect("written");
    fs::create_dir_all(state.parent().expect("its directory")).expect("a directory");
    fs::write(&state, "key").expect("written");
    let is_kept = || {
        fs::read_to_string(&policy).is_ok_and(|text| text == "version = 1\n")
            && fs::read_to_string(&state).is_ok_and(|text| text == "key")
    };
    tool("dpkg", &[&at, "--install"], &[&next])?;
    let shown = tool("dpkg-query", &[&at, "--show", "waft-stub"], &[])?;
    assert!(shown.contains("99.0.0") && stub.exists() && is_kept(), "{shown}");
    for way in ["--remove", "--purge"] {
        tool("dpkg", &[&at, way, "waft-stub"], &[])?;
        assert!(!stub.exists() && !root.join("usr/share/doc/waft-stub").exists() && is_kept(), "{way}");
        // What was removed is there again before it is purged.
        if way == "--remove" {
            tool("dpkg", &[&at, "--install"], &[&deb])?;
        }
    }
    Ok(())
}

#[test]
fn the_block_of_the_page_locks_a_key_in() -> Result<()> {
    need_root!("a machine of its own, with accounts");
    let block = block();
    let lines = block.lines().filter(|line| !line.starts_with(' ')).count();
    assert!(lines <= 10, "{lines} lines");
    let lab = Lab::of(0)?;
    let machine = Machine::start_with(&lab, "web1", Login::Root, None, PROGRAMS)?;
    let state = tempfile::tempdir().context(|| "a directory".to_owned())?;
    let waft = |words: &[&str]| -> Result<Waft> {
        let (command, arguments) = words.split_first().expect("a command");
        let waft = Waft::new(command)?.env("XDG_STATE_HOME", state.path()).limit(LIMIT);
        Ok(waft.args(arguments))
    };
    let place = |there: &str, text: &str| fs::write(machine.path(there), text).expect("written");
    // What the page says is there, and what a Debian has.
    package(&machine.path("/root/waft-stub.deb"))?;
    place("/root/ops.pub", &format!("{}\n", lab.key.public));
    place(
        "/root/controller.toml",
        &waft(&["policy", "key", "--name", "ops"])?.run()?.expect_code(0)?.stdout(),
    );
    for dir in ["/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/var/lib/dpkg/triggers", "/etc/dpkg"] {
        fs::create_dir_all(machine.path(dir)).expect("a directory");
    }
    place("/var/lib/dpkg/status", "");
    place("/run/sshd.pid", "1\n");
    let mut ssh = lab.ssh_command(&lab.ssh_config, &["web1", "cd /root && sh -eu -s"]);
    ssh.env("LC_ALL", "C");
    let done = process::run(ssh, block.as_bytes(), SSH_LIMIT)?;
    assert!(done.status.success(), "{}\n{}", done.stdout_text(), done.stderr_text());
    let key = done.stdout_text().lines().last().unwrap_or_default().to_owned();
    assert_eq!(key.len(), 44, "{}", done.stdout_text());

    // The inventory of the page.
    let inventory = fs::read_to_string(&lab.inventory).expect("it");
    let locked = "user = \"ops\"\ninstalled = \"/usr/bin/waft-stub\"\n";
    let inventory = inventory.replace("user = \"root\"\n", &format!("{locked}node_key = \"{key}\"\n"));
    fs::write(&lab.inventory, inventory).expect("written");
    let ping = || -> Result<Value> {
        let ping = waft(&["ping"])?.lab(&lab).args(["-t", "web1", "--format", "json"]).run()?;
        let answers: Value = serde_json::from_str(&ping.stdout()).context(|| ping.to_string())?;
        Ok(answers[0].clone())
    };
    // sshd reads its configuration again in its own time.
    let answer = wait_until("the account to be let in", SOON, || {
        ping().ok().filter(|answer| answer["status"] == "ok")
    })?;
    assert_eq!((&answer["policy"], &answer["user"]), (&"enforced".into(), &"ops".into()), "{answer}");
    let facts =
        waft(&["run"])?.lab(&lab).args(["facts", "--allow", "facts", "-t", "web1", "--format", "jsonl"]);
    let facts = facts.run()?.result_of("web1")?;
    assert_eq!((told(&facts), &facts["policy"]), (("ok", ""), &"enforced".into()), "{facts}");
    let exec = waft(&["exec"])?.lab(&lab).args(["-t", "web1", "--format", "jsonl", "--", "/bin/true"]);
    assert_eq!(told(&exec.run()?.result_of("web1")?), ("refused", "policy.no_rule"));
    let shell = lab.ssh_command(&lab.ssh_config, &["-l", "ops", "web1", "echo in"]);
    let shell = process::run(shell, b"", SSH_LIMIT)?;
    assert_eq!((shell.status.code(), shell.stdout_text().as_str()), (Some(5), ""), "{}", shell.stderr_text());
    Ok(())
}

/// `auditctl` of the machine, if it has one and the kernel answers it.
fn auditctl(words: &[&str]) -> Option<process::Finished> {
    let mut command = Command::new("auditctl");
    command.args(words);
    process::run(command, b"", SSH_LIMIT).ok().filter(|done| done.status.success())
}

#[test]
fn rules_for_auditd_are_taken_by_the_kernel() -> Result<()> {
    need_root!("rules of the kernel's audit");
    let Some(before) = auditctl(&["-l"]) else {
        eprintln!("SKIPPED: there is no auditctl here, or this kernel has no audit (apt-get install auditd)");
        return Ok(());
    };
    if before.stdout_text().contains("waft-") {
        eprintln!("SKIPPED: rules of waft are loaded on this machine, and would be lost");
        return Ok(());
    }
    let file = root().join("packaging/auditd/waft.rules");
    let text = fs::read_to_string(&file).expect("the rules");
    let rules: Vec<&str> = text.lines().filter(|line| line.starts_with('-')).collect();
    let loaded = auditctl(&["-R", &file.display().to_string()]).is_some();
    let listed = auditctl(&["-l"]).map(|done| done.stdout_text()).unwrap_or_default();
    for rule in &rules {
        let words: Vec<&str> = rule.split(' ').collect();
        let undo = if words.first() == Some(&"-w") { "-W" } else { "-d" };
        let done = auditctl(&[&[undo], words.get(1..).unwrap_or_default()].concat());
        assert!(done.is_some(), "{rule} is still loaded, or never was: {listed}");
    }
    assert!(loaded && listed.matches("waft-").count() >= rules.len(), "{listed}");
    assert_eq!(auditctl(&["-l"]).map(|done| done.stdout_text()), Some(before.stdout_text()));
    Ok(())
}

#[test]
fn rules_for_monitors_have_what_their_formats_demand() -> Result<()> {
    let read = |name: &str| fs::read_to_string(root().join("packaging").join(name)).expect(name);
    let falco = read("falco/waft.yaml");
    let rules: Vec<&str> = falco.split("\n- rule: ").skip(1).collect();
    assert!(!rules.is_empty(), "{falco}");
    for rule in rules {
        for key in ["desc:", "condition:", "output:", "priority:"] {
            assert!(rule.lines().any(|line| line.trim_start().starts_with(key)), "{key} is missing: {rule}");
        }
    }
    let lines = |name: &str| -> Vec<String> {
        let text = read(name);
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        assert!(!lines.is_empty(), "{name}: {text}");
        lines
    };
    for line in lines("auditd/waft.rules") {
        assert!(line.starts_with("-w /") || line.starts_with("-a always,exit "), "{line}");
        assert!(line.contains(" -k waft-"), "{line}");
    }
    for line in lines("fapolicyd/80-waft.rules") {
        assert!(line.starts_with("allow perm=") && line.matches(" : ").count() == 1, "{line}");
    }
    Ok(())
}
