//! Temporary accounts: passwords, shells, start-up files. All of them need root.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use waft_tests::lab::Lab;
use waft_tests::sshd::HostSpec;
use waft_tests::user::User;
use waft_tests::{Result, need_root, process};

use crate::SOON;

#[test]
fn a_password_logs_in_and_a_wrong_one_does_not() -> Result<()> {
    need_root!("a temporary account with a password");
    let user = User::with_shell("/bin/sh").password("right 1").create()?;
    let lab = Lab::builder().host(HostSpec::new("h1").login(&user).password_only()).start()?;
    for (password, expected) in [("right 1", Some(0)), ("wrong", Some(255))] {
        let askpass = lab.dir.path().join("askpass");
        fs::write(&askpass, format!("#!/bin/sh\necho '{password}'\n")).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let mut ssh = lab.ssh_command(&lab.ssh_config, &["-oNumberOfPasswordPrompts=1", "h1", "true"]);
        ssh.env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "force");
        let done = process::run(ssh, b"", SOON)?;
        assert_eq!(done.status.code(), expected, "{password}: {}", done.stderr_text());
    }
    Ok(())
}

/// Each line is valid in its shell only, so it is that shell which answers.
#[test]
fn accounts_have_the_shell_they_were_given() -> Result<()> {
    need_root!("temporary accounts with other shells");
    let cases = [
        (User::with_shell("/usr/bin/fish"), "string upper fish", "FISH"),
        (User::with_shell("/usr/bin/csh"), "set a = csh; if ($a == csh) echo CSH", "CSH"),
        (User::with_shell("/bin/bash"), "a=bash; echo ${a^^}", "BASH"),
        (User::with_shell("/bin/dash"), "echo $0", "dash"),
        (User::with_busybox(), "readlink /proc/$$/exe; :", "/usr/bin/busybox"),
    ];
    let users: Vec<_> = cases
        .into_iter()
        .map(|(user, line, said)| Ok((user.create()?, line, said)))
        .collect::<Result<_>>()?;
    let mut lab = Lab::builder();
    for (user, ..) in &users {
        lab = lab.host(HostSpec::new(&user.name).login(user));
    }
    let lab = lab.start()?;
    for (user, line, said) in &users {
        let done = lab.ssh(&[&user.name, line])?;
        assert_eq!(done.stdout_text().trim(), *said, "{}: {}", user.shell.display(), done.stderr_text());
    }
    Ok(())
}

#[test]
fn start_up_files_speak_first_and_accounts_go() -> Result<()> {
    need_root!("temporary accounts with start-up files");
    let bash = User::with_shell("/bin/bash").file(".bashrc", "echo from bashrc\n").create()?;
    let fish = User::with_shell("/usr/bin/fish")
        .file(".config/fish/config.fish", "echo from config.fish\n")
        .create()?;
    let csh = User::with_shell("/usr/bin/csh").file(".cshrc", "echo from cshrc\n").create()?;
    let rc = User::with_shell("/bin/dash").file(".ssh/rc", "echo from rc >&2\n").create()?;
    let lab = Lab::builder()
        .host(HostSpec::new("bash").login(&bash))
        .host(HostSpec::new("fish").login(&fish))
        .host(HostSpec::new("csh").login(&csh))
        .host(HostSpec::new("rc").login(&rc).user_rc())
        .start()?;
    for (host, noise) in [("bash", "from bashrc"), ("fish", "from config.fish"), ("csh", "from cshrc")] {
        assert_eq!(lab.ssh(&[host, "echo done"])?.stdout_text(), format!("{noise}\ndone\n"));
    }
    assert!(lab.ssh(&["rc", "true"])?.stderr_text().contains("from rc"));

    let (name, home) = (bash.name.clone(), bash.home.clone());
    let knows = |name: &str| fs::read_to_string("/etc/passwd").unwrap().contains(&format!("{name}:"));
    assert!(knows(&name));
    drop(bash);
    assert!(!knows(&name) && !home.exists());
    Ok(())
}
