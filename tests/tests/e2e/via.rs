//! Through a bastion, and through three hops.

use crate::LIMIT;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::Waft;

/// A bastion and hosts behind it, with every link's own proxy when `counted`.
pub(crate) fn behind_a_bastion(count: usize) -> Result<Lab> {
    let hosts = (1..=count).fold(Lab::builder().host(HostSpec::new("bas")), |lab, at| {
        lab.host(HostSpec::new(format!("t{at}")).via("bas"))
    });
    hosts.start()
}

#[test]
fn fifty_hosts_behind_a_bastion() -> Result<()> {
    let lab = behind_a_bastion(50)?;
    let guard = LeakGuard::start();
    let output = Waft::new("run")?
        .lab(&lab)
        .args(["facts", "--allow", "facts", "-t", "t[1-50]", "--format", "jsonl"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    assert_eq!(output.events_of("result")?.len(), 50);
    assert!(output.result_of("bas").is_err(), "a hop that is no target has no result");
    drop(output);
    lab.wait_idle()?;
    guard.check()
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
