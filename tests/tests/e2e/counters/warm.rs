//! Links that are up: what one more run costs on each of them.

use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::proxy::Settings;
use waft_tests::sshd::HostSpec;

use super::{RTT, marks, since, undisturbed};
use crate::library::{Connected, exec, facts, wire_bytes};
use waft_proto::msg::BlobKind;

/// What a run may add to a link in each direction besides input and output, bytes, SSH's part and the record
/// of its one host call included.
const RUN_BYTES_MAX: u64 = 480;
/// What a record tells of a host call, bytes: a command line is cut there.
const SUBJECT_BYTES_MAX: u64 = 512;
/// Request and answer.
const ONE_ROUND_TRIP: u64 = 2;
const TRUE: [&str; 1] = ["/bin/true"];

#[test]
fn a_task_on_the_target_runs_in_one_round_trip_and_few_bytes() -> Result<()> {
    let lab = Lab::builder().host(HostSpec::new("h1").proxied(Settings::round_trip(RTT))).start()?;
    let mut connected = Connected::to(&lab, &["h1"])?;
    let request = exec(&TRUE)?;
    let (ran, link) = undisturbed(&lab, &mut connected, |it| it.run(&request), |it| it.run(&request))?;
    assert_eq!(link[0].flights, ONE_ROUND_TRIP, "{link:?}");
    // There is no output; the input, some 20 bytes, is not even taken away.
    assert!(link[0].up_bytes < RUN_BYTES_MAX && link[0].down_bytes < RUN_BYTES_MAX, "{link:?} {ran:?}");
    connected.stop()
}

#[test]
fn output_costs_little_more_than_itself() -> Result<()> {
    let lab = Lab::builder().host(HostSpec::new("h1").proxied(Settings::round_trip(RTT))).start()?;
    let mut connected = Connected::to(&lab, &["h1"])?;
    let (short, long) = (exec(&TRUE)?, exec(&["/bin/echo", &"x".repeat(1000)])?);
    let (ran, link) = undisturbed(&lab, &mut connected, |it| it.run(&short), |it| it.run(&long))?;
    let (input, output) = (long.params.len() as u64, ran.results[0].stdout.len() as u64);
    assert_eq!((output, link[0].flights), (1001, ONE_ROUND_TRIP), "{link:?}");
    assert!(link[0].up_bytes < input + RUN_BYTES_MAX, "{link:?}");
    assert!(link[0].down_bytes < output + SUBJECT_BYTES_MAX + RUN_BYTES_MAX, "{link:?}");
    connected.stop()
}

#[test]
fn three_hops_deep_a_module_crosses_each_link_once_and_then_never_again() -> Result<()> {
    let counted = |name: &str| HostSpec::new(name).proxied(Settings::round_trip(RTT / 4));
    let lab = Lab::builder()
        .host(counted("a"))
        .host(counted("b").via("a"))
        .host(counted("c").via("b"))
        .host(counted("d").via("c"))
        .start()?;
    let mut connected = Connected::to(&lab, &["d"])?;
    // The module under count prints nothing: how output falls into packets is no part of this.
    let (other, module) = (facts()?, exec(&TRUE)?);
    // Both are Rust and share a library: what the first brought is not sent again.
    let artifacts = [connected.artifact(&other)?, connected.artifact(&module)?];
    let artifact = wire_bytes(BlobKind::Artifact, &[&artifacts[0], &artifacts[1]]);
    assert!(artifact < connected.artifact_bytes(&module)?);
    connected.run(&other)?;

    let marks = marks(&lab);
    connected.run(&module)?;
    for (host, link) in lab.hosts.iter().zip(since(&lab, &marks)) {
        assert!(
            link.up_bytes > artifact && link.up_bytes < 2 * artifact,
            "{artifact} bytes, to {}: {link:?}",
            host.name
        );
    }

    let (ran, links) = undisturbed(&lab, &mut connected, |it| it.run(&module), |it| it.run(&module))?;
    assert!(ran.results[0].stdout.is_empty());
    for (host, link) in lab.hosts.iter().zip(links) {
        assert_eq!(link.flights, ONE_ROUND_TRIP, "to {}: {link:?}", host.name);
        let most = link.up_bytes.max(link.down_bytes);
        assert!(most < RUN_BYTES_MAX, "to {}: {link:?}", host.name);
    }
    connected.stop()
}
