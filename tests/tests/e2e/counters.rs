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

#[test]
fn a_cold_command_takes_the_flights_of_a_login_and_no_more() -> Result<()> {
    let lab = Lab::builder().host(HostSpec::new("h1").proxied(Settings::round_trip(RTT))).start()?;
    let proxy = lab.host("h1").proxy.as_ref().expect("the host is counted");
    let waft = Waft::new("exec")?.lab(&lab).args(["-t", "h1", "--", "/bin/echo", "hi"]).limit(LIMIT);
    waft.run()?.expect_code(0)?;
    let asked = proxy.snapshot();
    proxy.reset();
    // The same home: now it is known what the host is.
    waft.run()?.expect_code(0)?;
    let remembered = proxy.snapshot();
    // To sshd both are the same: it opens a channel's window only when it runs the command, so the stub
    // waits for that answer either way.
    assert!(remembered.flights <= asked.flights, "{asked:?} {remembered:?}");
    assert!(asked.flights <= FLIGHTS_COLD_MAX, "{asked:?}");
    Ok(())
}

/// Flights of a whole cold command, the end of the link included: two for each round trip. 21 were counted
/// when this was written; one more may come from where an acknowledgement falls.
const FLIGHTS_COLD_MAX: u64 = 22;

#[test]
fn a_cold_command_through_a_bastion_takes_two_round_trips_more() -> Result<()> {
    let run = facts(&counted(4)?, "t[1-4]")?;
    // 14 round trips, and what ending the link takes.
    assert!(run.flights <= 2 * 14 + 2, "{run:?}");
    Ok(())
}

/// Bytes of a run's own messages in each direction, besides input and output.
const RUN_BYTES_MAX: u64 = 400;

#[test]
fn a_run_is_a_few_hundred_bytes_each_way() -> Result<()> {
    let lab = Lab::of(1)?;
    let output = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "h1", "--format", "jsonl", "--", "/bin/true"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    let bytes = &output.result_of("h1")?["bytes"];
    for way in ["up", "down"] {
        assert!(bytes[way].as_u64().is_some_and(|bytes| bytes > 0 && bytes < RUN_BYTES_MAX), "{bytes}");
    }
    Ok(())
}
