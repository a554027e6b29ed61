//! Good and bad targets in one run: no fault of one is felt by another.

use super::{DEADLINE, INSIDE, PLACES, Place, TARGET};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{descendants, signal_pid, wait_until};
use waft_tests::proxy::{Direction, Fault, FaultAfter, Settings};
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft};

/// How a target ends: its name, status and error code.
pub(super) type End = (&'static str, &'static str, &'static str);

/// What holds for a run over several targets: each ends once, as expected, and its sentence names it. `exit` is what
/// the worst of them asks for.
pub(super) fn all_held(told: &str, lab: &Lab, output: Output, ends: &[End], exit: i32) -> Result<()> {
    let output = output.expect_code(exit)?;
    let results = output.events_of("result")?;
    assert_eq!(results.len(), ends.len(), "{told}: {output}");
    for (name, status, code) in ends {
        let result = output.result_of(name)?;
        assert_eq!(result["status"], *status, "{told}: {result}");
        if *status == "ok" {
            assert_eq!(result["error"], Value::Null, "{told}: {result}");
            continue;
        }
        assert_eq!(result["error"]["code"], *code, "{told}: {result}");
        let message = result["error"]["message"].as_str().unwrap_or_default();
        let plain = !message.contains(char::is_control) && !INSIDE.iter().any(|word| message.contains(word));
        assert!(plain && message.contains(name), "{told}: {result}");
    }
    let finished = output.events_of("run_finished")?;
    let counted = |status: &str| ends.iter().filter(|(_, ended, _)| *ended == status).count();
    for status in ["ok", "unreachable"] {
        assert_eq!(finished[0]["counts"][status], counted(status), "{told}: {output}");
    }
    drop(output);
    lab.wait_idle()
}

/// Hosts by these specifications, where the place says.
pub(super) fn lab(place: Place, hosts: impl IntoIterator<Item = HostSpec>) -> Result<Lab> {
    let (start, via) = match place {
        Place::Direct => (Lab::builder(), None),
        Place::BehindABastion => (Lab::builder().host(HostSpec::new("bas")), Some("bas")),
    };
    let with = |spec: HostSpec| match via {
        Some(hop) => spec.via(hop),
        None => spec,
    };
    hosts.into_iter().fold(start, |lab, spec| lab.host(with(spec))).start()
}

/// `waft exec /bin/echo through` on all of them.
pub(super) fn exec_all(lab: &Lab, ends: &[End]) -> Result<Output> {
    let names: Vec<&str> = ends.iter().map(|(name, ..)| *name).collect();
    let waft = Waft::new("exec")?.lab(lab).args(["-t", &names.join(","), "--format", "jsonl"]);
    waft.args(["--timeout", "30s", "--", "/bin/echo", "through"]).limit(DEADLINE).run()
}

const ENDS: [End; 9] = [
    ("good1", "ok", ""),
    ("good2", "ok", ""),
    ("closed", "unreachable", "ssh.refused"),
    ("stranger", "unreachable", "ssh.host_key"),
    ("refused", "unreachable", "ssh.auth"),
    ("crowded", "unreachable", "ssh.channel"),
    ("noisy", "unreachable", "delivery.noise"),
    ("mute", "unreachable", "delivery.ended"),
    ("cut", "unreachable", "delivery.ended"),
];

fn spec(name: &str) -> HostSpec {
    let spec = HostSpec::new(name);
    match name {
        "refused" => spec.option("AuthorizedKeysFile", "none"),
        "crowded" => spec.max_sessions(0),
        "noisy" => spec.force_command("exec yes"),
        "mute" => spec.force_command("exec false"),
        "cut" => {
            let fault = Some(FaultAfter { fault: Fault::Cut, direction: Direction::Up, bytes: 700_000 });
            spec.proxied(Settings { fault, ..Settings::default() })
        }
        _ => spec,
    }
}

#[test]
fn faults_of_some_targets_are_theirs_alone() -> Result<()> {
    let guard = LeakGuard::start();
    for place in PLACES {
        let mut lab = lab(place, ENDS.iter().map(|(name, ..)| spec(name)))?;
        lab.host_mut("closed").stop();
        let line = lab.host("stranger").known_hosts_line();
        let (name, key) = line.trim().split_once(' ').expect("a name and a key");
        let other = lab.host("good1").host_key.public_without_comment();
        let known = fs::read_to_string(&lab.known_hosts).expect("known_hosts");
        let swapped = known.replace(&format!("{name} {key}"), &format!("{name} {other}"));
        fs::write(&lab.known_hosts, swapped).expect("written");
        all_held(&format!("{place:?}"), &lab, exec_all(&lab, &ENDS)?, &ENDS, 4)?;
    }
    guard.check()
}

fn status(result: &Value) -> (&str, &str) {
    (result["target"].as_str().unwrap_or_default(), result["status"].as_str().unwrap_or_default())
}

/// The stub, below the keeper that the login started.
fn stub_below(sshd: u32) -> Option<u32> {
    let linked: Vec<_> =
        descendants(&[sshd]).into_iter().filter(|process| process.command.contains("--link")).collect();
    let is_keeper = |pid: u32| linked.iter().any(|process| process.id.pid == pid);
    linked.iter().find(|stub| is_keeper(stub.parent)).map(|stub| stub.id.pid)
}

#[test]
fn a_relay_that_is_killed_while_it_dials_ends_its_targets_only() -> Result<()> {
    let guard = LeakGuard::start();
    for (phase, bytes) in [("login", 2_500), ("delivery", 700_000)] {
        let fault = Some(FaultAfter { fault: Fault::Stall, direction: Direction::Up, bytes });
        let stalled = HostSpec::new(TARGET).via("bas").proxied(Settings { fault, ..Settings::default() });
        let mut lab = Lab::builder().hosts(1).host(HostSpec::new("bas")).host(stalled).start()?;
        let waft = Waft::new("exec")?
            .lab(&lab)
            .args(["-t", &format!("h1,{TARGET}"), "--format", "jsonl", "--", "/bin/echo", "through"])
            .limit(DEADLINE)
            .spawn()?;
        wait_until("the inner link to stall", DEADLINE, || {
            (lab.host(TARGET).proxy.as_ref()?.snapshot().up_bytes >= bytes).then_some(())
        })?;
        let relay = stub_below(lab.host("bas").pid()).expect("the relay that dials");
        signal_pid(relay, Signal::KILL);
        let output = waft.finish()?.expect_code(4)?;
        lab.host_mut(TARGET).proxy = None;
        let results = output.events_of("result")?;
        let ended: BTreeMap<&str, &str> = results.iter().map(status).collect();
        assert_eq!((results.len(), ended["h1"]), (2, "ok"), "{phase}: {output}");
        assert!(["unreachable", "lost"].contains(&ended[TARGET]), "{phase}: {output}");
        drop(output);
        lab.wait_idle()?;
    }
    guard.check()
}

#[test]
fn a_stub_that_is_killed_behind_a_hop_loses_its_own_target() -> Result<()> {
    let guard = LeakGuard::start();
    let lab = Lab::builder()
        .host(HostSpec::new("bas"))
        .host(HostSpec::new("good").via("bas"))
        .host(HostSpec::new("bad").via("bas"))
        .start()?;
    // The good one goes on until the other is lost, and then ends by itself.
    let done = lab.dir.path().join("done");
    let line = format!("setsid sleep 841 & until [ -e {} ]; do sleep 0.05; done", done.display());
    let waft = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "good,bad", "--format", "jsonl", "--timeout", "50s", "--", "/bin/sh", "-c", &line])
        .limit(DEADLINE)
        .spawn()?;
    let sshds = ["good", "bad"].map(|name| lab.host(name).pid());
    wait_until("both to run", DEADLINE, || {
        let all = descendants(&sshds);
        (all.iter().filter(|process| process.command == "sleep 841").count() == 2).then_some(())
    })?;
    let [_, bad] = sshds;
    signal_pid(stub_below(bad).expect("a stub"), Signal::KILL);
    wait_until("nothing to be left on the bad one", DEADLINE, || {
        descendants(&[bad]).is_empty().then_some(())
    })?;
    fs::write(&done, "").expect("written");
    all_held("killed", &lab, waft.finish()?, &[("good", "ok", ""), ("bad", "lost", "link.ended")], 4)?;
    drop(lab);
    guard.check()
}
