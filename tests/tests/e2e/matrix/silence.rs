//! Peers that keep their connection and say nothing: only a clock tells.

use super::DEADLINE;
use super::together::{End, all_held};
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{descendants, wait_until};
use waft_tests::proxy::Settings;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::Waft;

/// All in one run, since each waits for its own clock: 20 s for a hello, 30 s for a word of the login's shell or a sign of
/// life.
const ENDS: [End; 6] = [
    ("near", "lost", "link.silent"),
    ("far", "lost", "link.silent"),
    ("hush-near", "unreachable", "link.hello"),
    ("hush-far", "unreachable", "link.hello"),
    ("mute-near", "unreachable", "delivery.timeout"),
    ("mute-far", "unreachable", "delivery.timeout"),
];

/// Answers like a shell with good tools, takes a stub, greets as one that was started, and that is all.
const HUSH: &str = r"printf 'WAFT1 Linux x86_64 head 1 1\n'; head -c 1000000 > /dev/null; printf '\nWAFT-LINK\n'; exec cat > /dev/null";

#[test]
fn silence_is_noticed_on_every_link() -> Result<()> {
    let guard = LeakGuard::start();
    let hush = |name: &str| HostSpec::new(name).force_command(HUSH);
    let mute = |name: &str| HostSpec::new(name).force_command("exec cat > /dev/null");
    let mut lab = Lab::builder()
        .host(HostSpec::new("bas"))
        .host(HostSpec::new("near").proxied(Settings::default()))
        .host(HostSpec::new("far").via("bas").proxied(Settings::default()))
        .host(hush("hush-near"))
        .host(hush("hush-far").via("bas"))
        .host(mute("mute-near"))
        .host(mute("mute-far").via("bas"))
        .start()?;
    let waft = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", &ENDS.map(|(name, ..)| name).join(","), "--format", "jsonl", "--timeout", "50s"])
        .args(["--", "/bin/sleep", "831"])
        .limit(DEADLINE)
        .spawn()?;
    let sshds = ["near", "far"].map(|name| lab.host(name).pid());
    wait_until("both programs to run", DEADLINE, || {
        let all = descendants(&sshds);
        (all.iter().filter(|process| process.command == "/bin/sleep 831").count() == 2).then_some(())
    })?;
    for name in ["near", "far"] {
        lab.host(name).proxy.as_ref().expect("a proxy").stall();
    }
    let output = waft.finish()?;
    for name in ["near", "far"] {
        lab.host_mut(name).proxy = None;
    }
    all_held("silence", &lab, output, &ENDS, 4)?;
    drop(lab);
    guard.check()
}
