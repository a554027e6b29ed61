//! Exact counts: what crosses which link, and in how many flights.

mod chunks;
mod fan_out;
mod memory;
mod warm;

use std::time::{Duration, Instant};

use waft_proto::limits::KEEPALIVE_INTERVAL_MS;
use waft_tests::lab::Lab;
use waft_tests::proxy::{Mark, Proxy, Settings, Snapshot};
use waft_tests::sshd::HostSpec;
use waft_tests::waft::Waft;
use waft_tests::{Error, Result};

use crate::LIMIT;
use crate::library::{Connected, Ran, facts};
use waft::event::Body;

/// Slow enough that what is caused by what cannot be mistaken.
const RTT: Duration = Duration::from_millis(40);
/// Attempts at a measurement that a keep-alive could have joined.
const ATTEMPTS: u32 = 3;

/// Begins a count on every link of a lab that has a proxy.
fn marks(lab: &Lab) -> Vec<Mark> {
    lab.hosts.iter().filter_map(|host| host.proxy.as_ref()).map(Proxy::mark).collect()
}

/// What was added to each of these links since.
fn since(lab: &Lab, marks: &[Mark]) -> Vec<Snapshot> {
    let proxies = lab.hosts.iter().filter_map(|host| host.proxy.as_ref());
    proxies.zip(marks).map(|(proxy, mark)| proxy.since(*mark)).collect()
}

/// What `measured` adds to each link of the lab, straight after `before` has used them all.
///
/// Whoever has sent and heard something within an interval sends no keep-alive: a measurement which ends
/// less than an interval after `before` began holds none.
fn undisturbed<T>(
    lab: &Lab,
    connected: &mut Connected,
    before: impl Fn(&mut Connected) -> Result<T>,
    measured: impl Fn(&mut Connected) -> Result<Ran>,
) -> Result<(Ran, Vec<Snapshot>)> {
    for _ in 0..ATTEMPTS {
        let began = Instant::now();
        before(connected)?;
        let marks = marks(lab);
        let ran = measured(connected)?;
        let grown = since(lab, &marks);
        if began.elapsed() < Duration::from_millis(KEEPALIVE_INTERVAL_MS) {
            return Ok((ran, grown));
        }
    }
    Err(Error::new("two runs took longer than a keep-alive's interval, time after time"))
}

/// What has crossed a link when the first result, or the first byte of output, of a cold run is at the root.
fn until_the_first_byte(lab: &Lab, targets: &[&str], link: &Proxy) -> Result<Snapshot> {
    let mut connected = Connected::to(lab, targets)?;
    let request = facts()?;
    // Compiling takes no round trip; it is over before the first.
    connected.artifact_bytes(&request)?;
    let mut first = None;
    connected.run_seen(&request, |event| {
        if matches!(event.body, Body::Output { .. } | Body::Result(_)) {
            first.get_or_insert_with(|| link.snapshot());
        }
    })?;
    connected.stop()?;
    first.ok_or_else(|| Error::new("there was no result"))
}

/// Round trips: two flights each, and the one of TCP's handshake, which the proxy takes but does not count.
fn round_trips(link: Snapshot) -> u64 {
    link.flights.div_ceil(2) + 1
}

#[test]
fn cold_the_first_byte_comes_within_twelve_round_trips() -> Result<()> {
    let lab = Lab::builder().host(HostSpec::new("h1").proxied(Settings::round_trip(RTT))).start()?;
    let link = until_the_first_byte(&lab, &["h1"], lab.host("h1").proxy.as_ref().expect("counted"))?;
    assert!(round_trips(link) <= 12, "{} in {link:?}", round_trips(link));
    Ok(())
}

#[test]
fn cold_through_a_bastion_the_first_byte_comes_within_fourteen_round_trips() -> Result<()> {
    for count in [1, 16] {
        // Wider than the logins of sixteen targets are apart: one target's answer is no cause of another's request.
        let bastion = HostSpec::new("bas").proxied(Settings::round_trip(4 * RTT));
        let names: Vec<String> = (1..=count).map(|at| format!("t{at}")).collect();
        let lab = names
            .iter()
            .fold(Lab::builder().host(bastion), |lab, name| lab.host(HostSpec::new(name).via("bas")));
        let lab = lab.start()?;
        let targets: Vec<&str> = names.iter().map(String::as_str).collect();
        let link = until_the_first_byte(&lab, &targets, lab.host("bas").proxy.as_ref().expect("counted"))?;
        assert!(round_trips(link) <= 14, "{count} hosts: {} in {link:?}", round_trips(link));
    }
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

/// Bytes of a run's own messages in each direction, besides input and output: the record of its one host call is among them.
const RUN_BYTES_MAX: u64 = 480;

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
