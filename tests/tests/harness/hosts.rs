//! Labs: real sshds, the files to reach them with, and their end.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Instant;

use waft_tests::agent::Agent;
use waft_tests::keys::{KeyKind, KeyPair};
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{spawn_bound, wait_until};
use waft_tests::sshd::HostSpec;
use waft_tests::{Result, process};

use crate::SOON;

#[test]
fn a_command_runs_on_a_host() -> Result<()> {
    let lab = Lab::of(2)?;
    assert_ne!(lab.hosts[0].address.ip(), lab.hosts[1].address.ip());
    for host in ["h1", "h2"] {
        let done = lab.ssh(&[host, "echo over $SSH_CONNECTION; exit 7"])?;
        assert_eq!(done.status.code(), Some(7), "{}", done.stderr_text());
        let server = lab.host(host).address;
        let end = format!("{} {}\n", server.ip(), server.port());
        assert!(done.stdout_text().ends_with(&end), "{}", done.stdout_text());
    }
    assert!(lab.host("h1").log().contains("Accepted publickey"));
    Ok(())
}

#[test]
fn a_host_with_another_key_is_not_trusted() -> Result<()> {
    let lab = Lab::of(2)?;
    let known = fs::read_to_string(&lab.known_hosts).unwrap();
    let swapped = known.replace(&lab.hosts[0].host_key.public_without_comment(), "KEY");
    let swapped = swapped.replace("KEY", &lab.hosts[1].host_key.public_without_comment());
    fs::write(&lab.known_hosts, swapped).unwrap();
    assert_eq!(lab.ssh(&["h1", "true"])?.status.code(), Some(255));
    assert_eq!(lab.ssh(&["h2", "true"])?.status.code(), Some(0));
    Ok(())
}

#[test]
fn a_tree_is_reached_through_its_parents() -> Result<()> {
    let lab = Lab::builder().tree(&[1, 2]).start()?;
    let names: Vec<_> = lab.hosts.iter().map(|host| (host.name.as_str(), host.via.as_deref())).collect();
    assert_eq!(names, [("h1", None), ("h2", Some("h1")), ("h3", Some("h1"))]);
    let done = lab.ssh_tree(&["h3", "true"])?;
    assert!(done.status.success(), "{}", done.stderr_text());
    assert!(lab.host("h1").log().contains("Accepted publickey"), "h3 was not reached through h1");
    let inventory = fs::read_to_string(&lab.inventory).unwrap();
    assert!(inventory.contains("via = \"h1\""), "{inventory}");
    Ok(())
}

#[test]
fn a_jump_host_that_forwards_nothing_is_a_wall() -> Result<()> {
    let lab = Lab::builder().tree(&[1, 1]).each(HostSpec::no_tcp_forwarding).start()?;
    assert_eq!(lab.ssh_tree(&["h2", "true"])?.status.code(), Some(255));
    Ok(())
}

#[test]
fn fifty_hosts_start_and_end_together() -> Result<()> {
    let guard = LeakGuard::start();
    let started = Instant::now();
    let lab = Lab::of(50)?;
    println!("50 hosts in {} ms", started.elapsed().as_millis());
    assert!(started.elapsed() < SOON, "50 hosts took {} ms", started.elapsed().as_millis());
    assert!(lab.ssh(&["h50", "true"])?.status.success());
    let ended = Instant::now();
    drop(lab);
    println!("ended in {} ms", ended.elapsed().as_millis());
    guard.check()
}

#[test]
fn the_end_of_a_lab_ends_its_sessions() -> Result<()> {
    let guard = LeakGuard::start();
    let lab = Lab::of(1)?;
    let mut ssh = lab.ssh_command(&lab.ssh_config, &["h1", "sleep 1000"]);
    ssh.stdin(Stdio::null()).stderr(Stdio::null());
    let mut client = spawn_bound(ssh).unwrap();
    let is_sleep = |process: &process::Process| process.command == "sleep 1000";
    let in_session = || lab.host("h1").sessions().iter().any(is_sleep).then_some(());
    let began = wait_until("the session's sleep", SOON, in_session);
    drop(lab);
    assert!(!client.wait().unwrap().success());
    began?;
    guard.check()
}

#[test]
fn keys_of_other_kinds_and_certificates_are_accepted() -> Result<()> {
    let ca_dir = tempfile::tempdir().unwrap();
    let ca = KeyPair::generate(KeyKind::Ed25519, &ca_dir.path().join("ca"))?;
    let lab = Lab::builder()
        .user_key(KeyKind::Ecdsa)
        .host(HostSpec::new("rsa").host_key(KeyKind::Rsa))
        .host(HostSpec::new("certified").host_certificate(&ca))
        .host(HostSpec::new("authority").trusted_user_ca(&ca).option("AuthorizedKeysFile", "none"))
        .start()?;
    assert!(fs::read_to_string(&lab.known_hosts).unwrap().contains("@cert-authority"));
    for host in ["rsa", "certified"] {
        let done = lab.ssh(&[host, "true"])?;
        assert!(done.status.success(), "{host}: {}", done.stderr_text());
    }
    assert!(!lab.ssh(&["-oBatchMode=yes", "authority", "true"])?.status.success(), "a bare key was let in");
    ca.certify_user(&lab.key, &[&lab.host("authority").user])?;
    let done = lab.ssh(&["authority", "true"])?;
    assert!(done.status.success(), "{}", done.stderr_text());
    Ok(())
}

#[test]
fn banner_noise_and_limits_are_as_ordered() -> Result<()> {
    let lab = Lab::builder()
        .host(HostSpec::new("loud").banner("No trespassing\n").noise("welcome to loud\n"))
        .host(HostSpec::new("forced").force_command("echo forced"))
        .host(HostSpec::new("narrow").max_sessions(0))
        .start()?;
    let done = lab.ssh(&["loud", "echo said"])?;
    assert_eq!(done.stdout_text(), "welcome to loud\nsaid\n");
    assert!(done.stderr_text().contains("No trespassing"));
    assert_eq!(lab.ssh(&["forced", "echo mine"])?.stdout_text(), "forced\n");
    assert!(!lab.ssh(&["narrow", "true"])?.status.success());
    Ok(())
}

#[test]
fn max_startups_drops_who_comes_too_many() -> Result<()> {
    let lab = Lab::builder().host(HostSpec::new("h1").max_startups("1:100:1")).start()?;
    let connect = || TcpStream::connect(lab.host("h1").address).unwrap();
    let mut first = connect();
    first.set_read_timeout(Some(SOON)).unwrap();
    let mut banner = [0; 4];
    first.read_exact(&mut banner).unwrap();
    let mut second = connect();
    second.set_read_timeout(Some(SOON)).unwrap();
    let mut said = Vec::new();
    // A reset is a refusal as well.
    let _ = second.read_to_end(&mut said);
    assert!(!said.starts_with(b"SSH-"), "{}", String::from_utf8_lossy(&said));
    Ok(())
}

#[test]
fn an_sshd_that_cannot_start_says_why() {
    let error =
        Lab::builder().host(HostSpec::new("h1").option("NoSuchKeyword", "yes")).start().err().unwrap();
    assert!(error.to_string().contains("h1") && error.to_string().contains("NoSuchKeyword"), "{error}");
}

#[test]
fn the_agent_logs_in_with_the_key_it_holds() -> Result<()> {
    let guard = LeakGuard::start();
    {
        let lab = Lab::of(1)?;
        let agent = Agent::start(&[&lab.key.path])?;
        assert_eq!(agent.keys()?, std::slice::from_ref(&lab.key.public));
        fs::remove_file(&lab.key.path).unwrap();
        assert!(!lab.ssh(&["-oBatchMode=yes", "h1", "true"])?.status.success());
        let mut ssh = lab.ssh_command(&lab.ssh_config, &["h1", "true"]);
        ssh.env("SSH_AUTH_SOCK", &agent.socket);
        let done = process::run(ssh, b"", SOON)?;
        assert!(done.status.success(), "{}", done.stderr_text());
    }
    guard.check()
}
