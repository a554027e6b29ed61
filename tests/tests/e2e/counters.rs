//! Exact counts: what crosses which link, and in how many flights.

use crate::LIMIT;
use std::time::Duration;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::proxy::{Settings, Snapshot};
use waft_tests::sshd::HostSpec;
use waft_tests::waft::Waft;

/// Slow enough that what is caused by what cannot be mistaken.
const RTT: Duration = Duration::from_millis(40);

fn counted(count: usize) -> Result<Lab> {
    let bastion = HostSpec::new("bas").proxied(Settings::round_trip(RTT));
    let hosts = (1..=count)
        .fold(Lab::builder().host(bastion), |lab, at| lab.host(HostSpec::new(format!("t{at}")).via("bas")));
    hosts.start()
}

/// What crosses the bastion's link for one run of `facts` on all hosts behind it, in a given home.
fn facts(lab: &Lab, targets: &str) -> Result<Snapshot> {
    let proxy = lab.host("bas").proxy.as_ref().expect("the bastion is counted");
    proxy.reset();
    let output = Waft::new("run")?
        .lab(lab)
        .args(["facts", "--allow", "facts", "-t", targets, "--format", "jsonl"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    drop(output);
    Ok(proxy.snapshot())
}

#[test]
fn the_outer_link_carries_each_thing_once_whatever_the_number_of_targets() -> Result<()> {
    let one = facts(&counted(1)?, "t1")?;
    let many = facts(&counted(16)?, "t[1-16]")?;
    // Per further target: its part of the dial order and its signature upward; hello, signature request
    // and facts downward. Never a stub or a module.
    let up = many.up_bytes.saturating_sub(one.up_bytes) / 15;
    let down = many.down_bytes.saturating_sub(one.down_bytes) / 15;
    assert!(up < 2_000, "{up} bytes up per further target; {one:?} {many:?}");
    assert!(down < 6_000, "{down} bytes down per further target; {one:?} {many:?}");
    Ok(())
}

#[test]
fn flights_do_not_depend_on_the_number_of_hosts() -> Result<()> {
    let one = facts(&counted(1)?, "t1")?;
    let many = facts(&counted(16)?, "t[1-16]")?;
    assert!(many.flights <= one.flights + 4, "1 host: {} flights, 16 hosts: {}", one.flights, many.flights);
    Ok(())
}
