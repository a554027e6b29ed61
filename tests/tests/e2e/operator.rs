//! Somebody sits at a terminal, is asked, and answers.

use crate::LIMIT;
use std::fs;
use std::process::Command;
use waft_tests::lab::Lab;
use waft_tests::process::run_tool;
use waft_tests::sshd::HostSpec;
use waft_tests::user::User;
use waft_tests::waft::Waft;
use waft_tests::{Result, need_root};

const PASSPHRASE: &str = "correct horse";

/// The lab's key, encrypted from now on.
fn lock_key(lab: &Lab) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-p", "-P", "", "-N", PASSPHRASE, "-f"]).arg(&lab.key.path);
    run_tool(command, b"").map(drop)
}

#[test]
fn a_passphrase_is_asked_for_once_and_a_wrong_one_again() -> Result<()> {
    let lab = Lab::of(3)?;
    lock_key(&lab)?;
    let waft = Waft::new("exec")?.lab(&lab).args(["-t", "all", "--", "/bin/echo", "opened"]).limit(LIMIT);
    let mut terminal = waft.on_terminal()?;
    terminal.wait_for("Enter passphrase for key", 1)?;
    terminal.types("wrong\n")?;
    terminal.wait_for("That was not it", 1)?;
    terminal.types(&format!("{PASSPHRASE}\n"))?;
    assert_eq!(terminal.end()?, Some(0), "{}", terminal.text());
    let text = terminal.text();
    assert_eq!(text.matches("Enter passphrase").count(), 2, "{text}");
    assert!(text.contains("3 ok") && !text.contains(PASSPHRASE), "{text}");
    Ok(())
}

#[test]
fn without_a_terminal_an_encrypted_key_is_named_with_the_way_out() -> Result<()> {
    let lab = Lab::of(1)?;
    lock_key(&lab)?;
    let waft = Waft::new("exec")?.lab(&lab).args(["-t", "h1", "--", "/bin/true"]).limit(LIMIT);
    let said = waft.run()?.expect_code(4)?.stderr();
    assert!(said.contains("is encrypted") && said.contains("ssh-add"), "{said}");
    Ok(())
}

#[test]
fn an_unknown_host_key_is_asked_about_and_remembered() -> Result<()> {
    let lab = Lab::of(1)?;
    let known = fs::read_to_string(&lab.known_hosts).expect("known_hosts");
    let config = fs::read_to_string(&lab.ssh_config).expect("the configuration");
    let asking = config.replace("StrictHostKeyChecking yes", "StrictHostKeyChecking ask");
    fs::write(&lab.ssh_config, asking).expect("written");
    fs::write(&lab.known_hosts, "").expect("written");
    let waft = Waft::new("exec")?.lab(&lab).args(["-t", "h1", "--", "/bin/echo", "through"]).limit(LIMIT);
    // Nobody there, then somebody who does not know it.
    assert!(waft.run()?.expect_code(4)?.stderr().contains("is not known"));
    let mut terminal = waft.on_terminal()?;
    terminal.wait_for("(yes/no)", 1)?;
    terminal.types("no\n")?;
    assert_eq!(terminal.end()?, Some(4), "{}", terminal.text());
    assert_eq!(fs::read_to_string(&lab.known_hosts).expect("known_hosts"), "");
    let mut terminal = waft.on_terminal()?;
    terminal.wait_for("(yes/no)", 1)?;
    assert!(terminal.text().contains("SHA256:"), "{}", terminal.text());
    terminal.types("yes\n")?;
    assert_eq!(terminal.end()?, Some(0), "{}", terminal.text());
    assert!(terminal.text().contains("through"), "{}", terminal.text());
    assert_eq!(fs::read_to_string(&lab.known_hosts).expect("known_hosts").trim(), known.trim());
    waft.run()?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_password_is_asked_for_and_ctrl_c_at_the_question_ends_it() -> Result<()> {
    need_root!("an account with a password");
    let user = User::with_shell("/bin/sh").password("open sesame").create()?;
    let lab = Lab::builder().host(HostSpec::new("h1").login(&user).password_only()).start()?;
    let waft = Waft::new("exec")?.lab(&lab).args(["-t", "h1", "--", "/bin/echo", "through"]).limit(LIMIT);
    let mut terminal = waft.on_terminal()?;
    terminal.wait_for("'s password: ", 1)?;
    terminal.types("open sesame\n")?;
    assert_eq!(terminal.end()?, Some(0), "{}", terminal.text());
    assert!(terminal.text().contains("through"), "{}", terminal.text());
    let mut terminal = waft.on_terminal()?;
    terminal.wait_for("'s password: ", 1)?;
    terminal.types("\u{3}")?;
    assert_eq!(terminal.end()?, Some(130), "{}", terminal.text());
    lab.wait_idle()
}
