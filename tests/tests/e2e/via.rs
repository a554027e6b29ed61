//! Every command over every way: directly, through a bastion, through three hops.

use std::collections::BTreeSet;

use crate::LIMIT;
use serde_json::Value;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::machine::{Login, Machine};
use waft_tests::process;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft};

/// A bastion and hosts behind it, with every link's own proxy when `counted`.
pub(crate) fn behind_a_bastion(count: usize) -> Result<Lab> {
    let hosts = (1..=count).fold(Lab::builder().host(HostSpec::new("bas")), |lab, at| {
        lab.host(HostSpec::new(format!("t{at}")).via("bas"))
    });
    hosts.start()
}

const MANY: usize = 50;
/// Ways to the targets, nearest hop first.
const DIRECTLY: [&str; 0] = [];
const BASTION: [&str; 1] = ["bas"];
const THREE_HOPS: [&str; 3] = ["bas", "mid", "far"];

/// Which targets, of how many, over which hops.
struct Case<'a> {
    lab: &'a Lab,
    hops: &'a [&'a str],
    names: BTreeSet<String>,
}

impl Case<'_> {
    /// A command that ends well. The hosts are the same whatever the way: the hops are said by `--via`.
    fn waft(&self, command: &str, args: &[&str]) -> Result<Output> {
        let selected = format!("h[1-{}]", self.names.len());
        let mut waft = Waft::new(command)?.lab(self.lab).args(["-t", &selected]).limit(LIMIT);
        for hop in self.hops {
            waft = waft.args(["--via", hop]);
        }
        waft.args(args).run()?.expect_code(0)
    }
}

/// Does the same for one target and for fifty; nothing may be left behind.
fn for_one_and_fifty(hops: &[&str], commands: impl Fn(&Case<'_>) -> Result<()>) -> Result<()> {
    let targets = Lab::builder().hosts(MANY);
    let lab = hops.iter().fold(targets, |lab, hop| lab.host(HostSpec::new(*hop))).start()?;
    let guard = LeakGuard::start();
    for count in [1, MANY] {
        let names = (1..=count).map(|at| format!("h{at}")).collect();
        commands(&Case { lab: &lab, hops, names })?;
    }
    lab.wait_idle()?;
    guard.check()
}

fn ping_and_tree(case: &Case<'_>) -> Result<()> {
    answers(&case.waft("ping", &["--format", "json"])?, &case.names);
    drawn(&case.waft("tree", &[])?.stdout(), case.hops, case.names.len());
    Ok(())
}

fn run_and_exec(case: &Case<'_>) -> Result<()> {
    let run = case.waft("run", &["--allow", "facts", "--format", "jsonl", "facts"])?;
    for result in results(&run, &case.names)? {
        assert!(result["result"]["facts"]["kernel"].is_string(), "{result}");
        assert_eq!((&result["result"]["changed"], &result["policy"]), (&false.into(), &"none".into()));
    }
    let exec = case.waft("exec", &["--format", "jsonl", "--", "/bin/echo", "hi"])?;
    for result in results(&exec, &case.names)? {
        assert_eq!(result["stdout"], "hi\n", "{result}");
    }
    Ok(())
}

/// Who answered a ping is who was asked, each once.
fn answers(output: &Output, names: &BTreeSet<String>) {
    let found: Vec<Value> = serde_json::from_str(&output.stdout()).expect("a JSON array");
    assert_eq!(found.len(), names.len(), "{output}");
    for one in &found {
        assert_eq!((&one["status"], &one["stub"]["kind"]), (&"ok".into(), &"leaf".into()), "{one}");
    }
    assert_eq!(&found.iter().filter_map(name).collect::<BTreeSet<_>>(), names);
}

/// The tree is drawn before and after; afterwards everything is there, each hop one level below the one before.
fn drawn(text: &str, hops: &[&str], count: usize) {
    let (planned, met) = text.split_once("\n\n").expect("two trees");
    let depth = |line: &str| line.chars().take_while(|c| !c.is_ascii_alphanumeric()).count();
    let targets: Vec<&str> = met.lines().filter(|line| line.contains(" leaf, ")).collect();
    assert_eq!((planned.lines().count(), targets.len()), (1 + hops.len() + count, count), "{text}");
    let line_of = |hop: &&str| {
        let found = met.lines().find(|line| line.split_whitespace().any(|word| word == *hop));
        found.filter(|line| line.contains(" hop, ")).unwrap_or_else(|| panic!("no hop {hop} in {text}"))
    };
    let mut depths: Vec<usize> =
        hops.iter().map(line_of).chain(targets.first().copied()).map(depth).collect();
    assert!(depths.windows(2).all(|pair| pair[0] < pair[1]), "{text}");
    depths.extend(targets.iter().map(|line| depth(line)));
    depths.drain(..hops.len());
    assert!(depths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
}

/// Who gave a result is who was selected, each once, and each ended well.
fn results(output: &Output, names: &BTreeSet<String>) -> Result<Vec<Value>> {
    let results = output.events_of("result")?;
    assert_eq!(results.len(), names.len(), "{output}");
    for result in &results {
        assert_eq!((&result["status"], &result["exit_code"]), (&"ok".into(), &0.into()), "{result}");
    }
    assert_eq!(&results.iter().filter_map(name).collect::<BTreeSet<_>>(), names);
    let finished = output.events_of("run_finished")?;
    assert_eq!(finished[0]["counts"]["ok"], names.len(), "{finished:?}");
    Ok(results)
}

fn name(of: &Value) -> Option<String> {
    of["target"].as_str().map(str::to_owned)
}

#[test]
fn ping_and_tree_for_one_and_fifty_hosts_directly() -> Result<()> {
    for_one_and_fifty(&DIRECTLY, ping_and_tree)
}

#[test]
fn ping_and_tree_for_one_and_fifty_hosts_via_a_bastion() -> Result<()> {
    for_one_and_fifty(&BASTION, ping_and_tree)
}

#[test]
fn ping_and_tree_for_one_and_fifty_hosts_through_three_hops() -> Result<()> {
    for_one_and_fifty(&THREE_HOPS, ping_and_tree)
}

#[test]
fn run_and_exec_for_one_and_fifty_hosts_directly() -> Result<()> {
    for_one_and_fifty(&DIRECTLY, run_and_exec)
}

#[test]
fn run_and_exec_for_one_and_fifty_hosts_via_a_bastion() -> Result<()> {
    for_one_and_fifty(&BASTION, run_and_exec)
}

#[test]
fn run_and_exec_for_one_and_fifty_hosts_through_three_hops() -> Result<()> {
    for_one_and_fifty(&THREE_HOPS, run_and_exec)
}

#[test]
fn via_on_the_command_line_replaces_the_inventory() -> Result<()> {
    let lab = Lab::of(3)?;
    let output = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "h3", "--via", "h1", "--via", "h2", "--format", "jsonl"])
        .args(["--", "/bin/echo", "deep"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    assert_eq!(output.result_of("h3")?["stdout"], "deep\n");
    Ok(())
}

#[test]
fn three_hops_deep_and_the_tree_shows_them() -> Result<()> {
    let lab = Lab::builder()
        .host(HostSpec::new("a"))
        .host(HostSpec::new("b").via("a"))
        .host(HostSpec::new("c").via("b"))
        .host(HostSpec::new("d").via("c"))
        .start()?;
    let guard = LeakGuard::start();
    let run = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "d", "--", "/bin/echo", "from d"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    assert_eq!(run.stdout(), "from d\n");
    let tree = Waft::new("tree")?.lab(&lab).args(["-t", "d"]).limit(LIMIT).run()?.expect_code(0)?.stdout();
    for name in ["a", "b", "c", "d"] {
        assert!(tree.contains(name), "{tree}");
    }
    assert!(tree.contains("memfd"), "{tree}");
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn a_tunnel_logs_in_end_to_end_and_leaves_no_stub_on_the_hop() -> Result<()> {
    let lab = behind_a_bastion(1)?;
    let mut inventory = std::fs::read_to_string(&lab.inventory).expect("the lab's inventory");
    inventory = inventory.replace("[hosts.t1]\n", "[hosts.t1]\nvia_mode = \"tunnel\"\n");
    let file = lab.dir.path().join("tunnel.toml");
    std::fs::write(&file, inventory).expect("written");
    let output = Waft::new("tree")?
        .args(["-i", file.to_str().unwrap_or_default(), "--dry", "-t", "t1"])
        .limit(LIMIT)
        .run()?;
    let output = output.expect_code(0)?.stdout();
    assert!(output.contains("tunnel through bas"), "{output}");
    let exec = Waft::new("exec")?
        .args(["-i", file.to_str().unwrap_or_default()])
        .args(["--ssh-config", lab.ssh_config.to_str().unwrap_or_default()])
        .args(["--known-hosts", lab.known_hosts.to_str().unwrap_or_default()])
        .args(["--identity", lab.key.path.to_str().unwrap_or_default()])
        .args(["-t", "t1", "--", "/bin/echo", "end to end"])
        .limit(LIMIT)
        .run()?;
    assert_eq!(exec.expect_code(0)?.stdout(), "end to end\n");
    Ok(())
}

/// The hop has a file system of its own, with /etc/hosts and at first without `getent`; the controller knows none of the names.
#[test]
fn names_of_targets_behind_a_hop_are_resolved_there() -> Result<()> {
    let lab = Lab::builder().host(HostSpec::new("t1")).start()?;
    let hop = Machine::start(&lab, "bas", Login::Ordinary, None)?;
    let target = lab.host("t1");
    let (ip, port) = (target.address.ip(), target.address.port());
    let inventory = std::fs::read_to_string(&lab.inventory).expect("the lab's inventory");
    let mut known = std::fs::read_to_string(&lab.known_hosts).expect("the lab's known hosts");
    let dial = |name: &str| -> Result<Output> {
        let file = lab.dir.path().join(format!("{name}.toml"));
        let named = inventory.replace(&format!("host = \"{ip}\""), &format!("host = \"{name}\""));
        assert_ne!(named, inventory);
        std::fs::write(&file, named).expect("written");
        Waft::new("exec")?
            .args(["-i", file.to_str().unwrap_or_default()])
            .args(["--ssh-config", lab.ssh_config.to_str().unwrap_or_default()])
            .args(["--known-hosts", lab.known_hosts.to_str().unwrap_or_default()])
            .args(["--identity", lab.key.path.to_str().unwrap_or_default()])
            .args(["--format", "jsonl", "--via", "bas", "-t", "t1", "--", "/bin/echo", "by name"])
            .limit(LIMIT)
            .run()
    };
    for name in ["in-hosts.test", "by-getent.test", "no-such-name.invalid"] {
        known.push_str(&format!("[{name}]:{port} {}\n", target.host_key.public_without_comment()));
    }
    std::fs::write(&lab.known_hosts, known).expect("written");

    std::fs::write(hop.path("/etc/hosts"), format!("{ip} other.test in-hosts.test\n")).expect("written");
    let output = dial("in-hosts.test")?.expect_code(0)?.stdout();
    assert!(output.contains("by name"), "{output}");

    let getent = hop.path("/usr/bin/getent");
    let script = format!("#!/bin/sh\n[ \"$*\" = 'ahosts by-getent.test' ] || exit 2\necho '{ip} STREAM'\n");
    std::fs::write(&getent, script).expect("written");
    std::fs::set_permissions(&getent, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("executable");
    let output = dial("by-getent.test")?.expect_code(0)?.stdout();
    assert!(output.contains("by name"), "{output}");

    let output = dial("no-such-name.invalid")?.expect_code(4)?.stdout();
    assert!(output.contains("ssh.resolve") && output.contains("there is no such name"), "{output}");
    process::wait_until("sessions on the hop to end", LIMIT, || hop.running().is_empty().then_some(()))
}
