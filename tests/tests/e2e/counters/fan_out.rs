//! Many targets behind one link: what crosses it, and how often its ends wait for each other.

use std::time::Duration;

use waft::event::Traffic;
use waft_proto::limits::WINDOW_INITIAL_BYTES;
use waft_proto::msg::StubKind;
use waft_tests::Result;
use waft_tests::lab::{Lab, LabBuilder};
use waft_tests::proxy::{Proxy, Settings, Snapshot};
use waft_tests::sshd::HostSpec;

use super::{RTT, undisturbed};
use crate::library::{Connected, exec, facts, stub_bytes};

const MANY: usize = 50;
/// Up, per target: its part of the dial order (address, host keys) and its signature, bytes.
const TARGET_UP_BYTES_MAX: u64 = 400;
/// Down, per target: hello, request for a signature, states and result, bytes.
const TARGET_DOWN_BYTES_MAX: u64 = 1_200;
/// Down, per target whose facts are asked for, bytes: what the project promises.
const FACTS_DOWN_BYTES_MAX: u64 = 3_000;
/// Credit for all of that, bytes of frames: a message of nine for each quarter of a window.
const CREDIT_BYTES_MAX: u64 =
    9 * (MANY as u64 * FACTS_DOWN_BYTES_MAX).div_ceil(WINDOW_INITIAL_BYTES as u64 / 4);
/// One order, bytes of frames.
const RUN_UP_BYTES_MAX: u64 = 480;
/// Login, delivery line, dial order and run on the outer link, each way, bytes.
const LINK_BYTES_MAX: u64 = 16 * 1024;
/// What SSH and frames add to a stream: 1/100 of it.
const ENVELOPE_SHARE: u64 = 100;
/// Longer than the logins of all targets take one after the other on two busy cores. With a shorter one an early
/// target's signature could be taken for the cause of a late target's request.
const LONG_RTT: Duration = Duration::from_millis(500);

fn named(count: usize) -> Vec<String> {
    (1..=count).map(|at| format!("t{at}")).collect()
}

/// `count` hosts behind a chain of hops, of which the first is counted.
fn behind(hops: &[&str], rtt: Duration, count: usize) -> LabBuilder {
    let first = |name: &str| HostSpec::new(name).proxied(Settings::round_trip(rtt));
    let mut lab = Lab::builder().host(first(hops[0]));
    for pair in hops.windows(2) {
        lab = lab.host(HostSpec::new(pair[1]).via(pair[0]));
    }
    let last = hops[hops.len() - 1];
    named(count).into_iter().fold(lab, |lab, name| lab.host(HostSpec::new(name).via(last)))
}

fn connect(lab: &Lab, count: usize) -> Result<Connected> {
    let names = named(count);
    Connected::to(lab, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn outer(lab: &Lab) -> &Proxy {
    lab.hosts[0].proxy.as_ref().expect("the first hop is counted")
}

/// What a bastion's link carried for a run on so many targets.
struct Carried {
    cold: Snapshot,
    /// For the same once more.
    warm: Snapshot,
    /// Of that, what is frames and not SSH.
    warm_frames: Traffic,
    /// What the task's artifact takes.
    artifact: u64,
    /// For facts of all hosts, once they were asked before.
    facts: Snapshot,
    /// Of that, what is frames and not SSH.
    facts_frames: Traffic,
}

fn cold_and_warm(count: usize) -> Result<Carried> {
    let lab = behind(&["bas"], RTT, count).start()?;
    let mut connected = connect(&lab, count)?;
    let request = exec(&["/bin/true"])?;
    let artifact = connected.artifact_bytes(&request)?;
    let all = |connected: &mut Connected| {
        let ran = connected.run(&request)?;
        assert_eq!(ran.results.len(), count);
        Ok(ran)
    };
    all(&mut connected)?;
    let cold = outer(&lab).snapshot();
    let (ran, warm) = undisturbed(&lab, &mut connected, all, all)?;
    let told = facts()?;
    let asked = |connected: &mut Connected| connected.run(&told);
    asked(&mut connected)?;
    let (told, facts) = undisturbed(&lab, &mut connected, asked, asked)?;
    assert_eq!(told.results.len(), count);
    let (facts, facts_frames) = (facts[0], told.frames);
    connected.stop()?;
    Ok(Carried { cold, warm: warm[0], warm_frames: ran.frames, artifact, facts, facts_frames })
}

#[test]
fn fifty_targets_cost_the_outer_link_two_stubs_one_module_and_one_run() -> Result<()> {
    let one = cold_and_warm(1)?;
    let many = cold_and_warm(MANY)?;
    let (cold, artifact) = (many.cold, many.artifact);
    let (hop, leaf) = (stub_bytes(StubKind::Hop)?, stub_bytes(StubKind::Leaf)?);
    let once = hop + leaf + artifact;
    let around = once / ENVELOPE_SHARE + LINK_BYTES_MAX + MANY as u64 * TARGET_UP_BYTES_MAX;
    assert!(around < artifact.min(hop).min(leaf), "{around} bytes could hide one that crosses twice");
    assert!(cold.up_bytes > once, "{cold:?}: {once} bytes did not cross");
    assert!(cold.up_bytes < once + around, "{cold:?}: more than {once} + {around}");
    assert!(cold.down_bytes < LINK_BYTES_MAX + MANY as u64 * TARGET_DOWN_BYTES_MAX, "{cold:?}");
    // The order names its targets as one range: for all of them it is one, as long as for one.
    assert_eq!(many.warm_frames.up, one.warm_frames.up, "{:?} {:?}", many.warm, one.warm);
    assert_eq!((many.warm.up_bytes, many.warm.flights), (one.warm.up_bytes, one.warm.flights));
    // Facts of fifty hosts: one order up, and from each host its own.
    // Credit for what came goes up as well.
    let more = many.facts_frames.up - one.facts_frames.up;
    assert!(more <= CREDIT_BYTES_MAX, "{more} bytes up: {:?} {:?}", many.facts, one.facts);
    assert!(many.facts_frames.up < RUN_UP_BYTES_MAX, "{:?}", many.facts_frames);
    assert!(many.facts.down_bytes < MANY as u64 * FACTS_DOWN_BYTES_MAX, "{:?}", many.facts);
    Ok(())
}

/// Flights on the outer link until the last node has said hello.
fn until_the_last_hello(hops: &[&str], count: usize) -> Result<Snapshot> {
    let lab = behind(hops, LONG_RTT, count).start()?;
    let mut connected = connect(&lab, count)?;
    connected.wait_joined()?;
    let link = outer(&lab).snapshot();
    connected.stop()?;
    Ok(link)
}

fn one_and_sixteen(hops: &[&str]) -> Result<()> {
    let (one, many) = std::thread::scope(|scope| {
        let one = scope.spawn(|| until_the_last_hello(hops, 1));
        let many = until_the_last_hello(hops, 16);
        (one.join().expect("joined"), many)
    });
    let (one, many) = (one?, many?);
    assert_eq!(one.flights, many.flights, "behind {hops:?}: 1 host {one:?}, 16 hosts {many:?}");
    Ok(())
}

#[test]
fn behind_one_hop_sixteen_hosts_join_in_the_flights_of_one() -> Result<()> {
    one_and_sixteen(&["a"])
}

#[test]
fn behind_three_hops_sixteen_hosts_join_in_the_flights_of_one() -> Result<()> {
    one_and_sixteen(&["a", "b", "c"])
}
