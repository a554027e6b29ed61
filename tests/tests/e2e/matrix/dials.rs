//! Targets that cannot be dialled, from the controller and from a hop.

use super::{DEADLINE, PLACES, TARGET, exec, held, target};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use waft_tests::keys::{KeyKind, KeyPair};
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Waft, binary};
use waft_tests::{Result, need_root};

/// Begins with the target's name, so that whoever reads it knows whom it is about.
const NOBODY: &str = "t1.invalid";

/// The inventory says another address, whose key is known: behind a hop a host of unknown key is not dialled.
fn rename(lab: &mut Lab) {
    let host = lab.host(TARGET);
    let (ip, port) = (host.address.ip(), host.address.port());
    let inventory = fs::read_to_string(&lab.inventory).expect("the lab's inventory");
    let (old, new) = (format!("host = \"{ip}\"\nport = {port}\n"), format!("host = \"{NOBODY}\"\n"));
    assert!(inventory.contains(&old), "{inventory}");
    fs::write(&lab.inventory, inventory.replace(&old, &new)).expect("written");
    let known = fs::read_to_string(&lab.known_hosts).expect("known_hosts");
    let line = format!("{NOBODY} {}\n", host.host_key.public_without_comment());
    fs::write(&lab.known_hosts, known + &line).expect("written");
}

/// The key that is known for the target is that of another host.
fn swap_known_key(lab: &mut Lab) {
    let other = KeyPair::generate(KeyKind::default(), &lab.dir.path().join("other")).expect("a key pair");
    let line = lab.host(TARGET).known_hosts_line();
    let (name, _) = line.split_once(' ').expect("a name and a key");
    let known = fs::read_to_string(&lab.known_hosts).expect("known_hosts");
    let swapped = known.replace(line.trim(), &format!("{name} {}", other.public_without_comment()));
    assert_ne!(swapped, known);
    fs::write(&lab.known_hosts, swapped).expect("written");
}

/// How the target is, what is changed once the lab is up, and the code of the error.
struct Case {
    name: &'static str,
    target: fn() -> HostSpec,
    change: fn(&mut Lab),
    code: &'static str,
}

const CASES: [Case; 5] = [
    Case { name: "unknown name", target, change: rename, code: "ssh.resolve" },
    Case { name: "nobody listens", target, change: |lab| lab.host_mut(TARGET).stop(), code: "ssh.refused" },
    Case { name: "wrong host key", target, change: swap_known_key, code: "ssh.host_key" },
    Case {
        name: "refused login",
        target: || target().option("AuthorizedKeysFile", "none"),
        change: |_| {},
        code: "ssh.auth",
    },
    Case {
        name: "no session allowed",
        target: || target().max_sessions(0),
        change: |_| {},
        code: "ssh.channel",
    },
];

#[test]
fn a_target_that_cannot_be_dialled_is_unreachable_and_says_why() -> Result<()> {
    let guard = LeakGuard::start();
    for place in PLACES {
        for case in &CASES {
            let mut lab = place.lab((case.target)()).start()?;
            (case.change)(&mut lab);
            let told = format!("{place:?}, {}", case.name);
            let result = held(&told, &lab, exec(&lab, "true")?.run()?, &["unreachable"], 4)?;
            assert_eq!(result["error"]["code"], case.code, "{told}: {result}");
        }
    }
    guard.check()
}

/// A network of its own has no route to anywhere, not even to this machine.
const NO_NETWORK: &str = "unshare --net";

#[test]
fn a_target_without_a_route_to_it_is_unreachable_and_says_so() -> Result<()> {
    need_root!("a network of its own");
    let guard = LeakGuard::start();
    cut_off_controller()?;
    cut_off_bastion()?;
    guard.check()
}

fn cut_off_controller() -> Result<()> {
    let lab = Lab::builder().host(target()).start()?;
    let script = lab.dir.path().join("waft");
    fs::write(&script, format!("#!/bin/sh\nexec {NO_NETWORK} {} \"$@\"\n", binary()?.display()))
        .expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    let waft = Waft::with_binary(script, "exec")?.lab(&lab);
    let waft = waft.args(["-t", TARGET, "--format", "jsonl", "--", "/bin/true"]).limit(DEADLINE);
    let result = held("Direct, no route", &lab, waft.run()?, &["unreachable"], 4)?;
    assert_eq!(result["error"]["code"], "ssh.route", "{result}");
    Ok(())
}

fn cut_off_bastion() -> Result<()> {
    let login = format!("exec {NO_NETWORK} /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"");
    let bastion = HostSpec::new("bas").force_command(&login);
    let lab = Lab::builder().host(bastion).host(target().via("bas")).start()?;
    let result = held("BehindABastion, no route", &lab, exec(&lab, "true")?.run()?, &["unreachable"], 4)?;
    assert_eq!(result["error"]["code"], "ssh.route", "{result}");
    Ok(())
}
