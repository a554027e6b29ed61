//! What ssh's own configuration says of a host is done as ssh would do it.

use crate::LIMIT;
use std::fs;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::waft::{Output, Waft};

/// Adds lines to the section of a host in the lab's ssh_config.
fn add(lab: &Lab, host: &str, lines: &str) {
    let config = fs::read_to_string(&lab.ssh_config).expect("the configuration");
    let section = format!("Host {host}\n");
    assert!(config.contains(&section), "{host} is in {config}");
    fs::write(&lab.ssh_config, config.replace(&section, &format!("{section}{lines}"))).expect("written");
}

fn echo(lab: &Lab, inventory: Option<&str>) -> Result<Output> {
    let mut waft = Waft::new("exec")?.args(["--ssh-config".as_ref(), lab.ssh_config.as_os_str()]);
    if let Some(text) = inventory {
        let file = lab.dir.path().join("own.toml");
        fs::write(&file, text).expect("written");
        waft = waft.arg("-i").arg(file);
    }
    waft.args(["-t", "h1", "--", "/bin/echo", "through"]).limit(LIMIT).run()
}

#[test]
fn the_systems_ssh_carries_the_link_with_the_users_configuration() -> Result<()> {
    let lab = Lab::of(2)?;
    let jump = format!("  ProxyCommand ssh -F {} -W %h:%p h2\n", lab.ssh_config.display());
    add(&lab, "h1", &jump);
    // Our own client does not run such a command, and says what does.
    let said = echo(&lab, None)?.expect_code(4)?.stderr();
    assert!(said.contains("ProxyCommand") && said.contains("transport = \"openssh\""), "{said}");
    assert_eq!(lab.host("h2").log().matches("Accepted").count(), 0);
    let output = echo(&lab, Some("[hosts.h1]\ntransport = \"openssh\"\n"))?.expect_code(0)?;
    assert_eq!(output.stdout(), "through\n");
    assert_eq!(lab.host("h2").log().matches("Accepted publickey").count(), 1, "it went through h2");
    lab.wait_idle()
}

#[test]
fn a_proxy_jump_may_have_one_of_its_own() -> Result<()> {
    let lab = Lab::of(3)?;
    add(&lab, "h1", "  ProxyJump h2\n");
    add(&lab, "h2", "  ProxyJump h3\n");
    assert_eq!(echo(&lab, None)?.expect_code(0)?.stdout(), "through\n");
    for hop in ["h2", "h3"] {
        assert_eq!(lab.host(hop).log().matches("Accepted publickey").count(), 1, "it went through {hop}");
    }
    // In a circle nobody arrives.
    add(&lab, "h3", "  ProxyJump h2\n");
    let said = echo(&lab, None)?.expect_code(4)?.stderr();
    assert!(said.contains("ProxyJump"), "{said}");
    lab.wait_idle()
}

#[test]
fn a_file_that_is_named_and_not_there_is_told_before_anything_is_dialled() -> Result<()> {
    for option in ["--identity", "--ssh-config"] {
        let waft = Waft::new("exec")?.args([option, "/nope", "-t", "nobody@192.0.2.1", "--", "/bin/true"]);
        let said = waft.limit(LIMIT).run()?.expect_code(2)?.stderr();
        assert!(said.contains(option) && said.contains("/nope"), "{said}");
    }
    Ok(())
}
