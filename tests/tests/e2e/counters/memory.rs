//! A hop between ends of different speed: what it holds while 200 MB pass.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use waft::event::Body;
use waft_proto::limits::WINDOW_INITIAL_BYTES;
use waft_tests::lab::Lab;
use waft_tests::process::{ProcessId, descendants, wait_until};
use waft_tests::proxy::{Proxy, Settings};
use waft_tests::sshd::{Host, HostSpec};
use waft_tests::{Context, Error, Result};

use crate::LIMIT;
use crate::library::{Connected, exec};

const OUTPUT_BYTES: u64 = 200_000_000;
/// More than the output: the default would cut it.
const OUTPUT_LIMIT: &str = "out:300M";
/// When the outer link stalls, and when the leaf's: bytes of output that have come to the root.
const OUTER_STALLS_AT: u64 = OUTPUT_BYTES / 4;
const LEAF_STALLS_AT: u64 = OUTPUT_BYTES / 2;
/// Looks in a row that find a counter unchanged, after which nothing moves there.
const QUIET_LOOKS: u32 = 40;
/// What russh lets a peer send on one channel before it reads, bytes.
const SSH_WINDOW_BYTES: u64 = 2 * 1024 * 1024;
/// What may be between a leaf's link and the outer one, in the hop or beside it: an SSH window of each, the window
/// that the hop gives a child, and as much again for frames and packets around it. Bytes.
const HELD_BYTES_MAX: u64 = 2 * SSH_WINDOW_BYTES + 2 * WINDOW_INITIAL_BYTES as u64;

/// The most memory that each process of the stub on a host ever had, bytes. Workers come and go.
fn peaks(host: &Host) -> BTreeMap<ProcessId, u64> {
    let below = descendants(&[host.pid()]).into_iter();
    let stubs = below.filter(|process| process.command.starts_with("waft-stub --link"));
    stubs.filter_map(|process| Some((process.id, peak(process.id.pid)?))).collect()
}

fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// What the peaks on a host have grown by since `before`.
fn growth(host: &Host, before: &BTreeMap<ProcessId, u64>) -> Result<u64> {
    let after = peaks(host);
    let grown = |(id, peak): (&ProcessId, &u64)| Some(after.get(id)? - peak);
    let each: Option<Vec<u64>> = before.iter().map(grown).collect();
    match each {
        Some(each) if !each.is_empty() => Ok(each.into_iter().sum()),
        _ => Err(Error::new(format!("the stub on {} is not there any more", host.name))),
    }
}

fn link(host: &Host) -> &Proxy {
    host.proxy.as_ref().expect("every link has a proxy")
}

/// Waits until nothing more comes up a link; gives what came so far.
fn wait_quiet(link: &Proxy) -> Result<u64> {
    let (mut last, mut looks) = (0, 0);
    wait_until("a link to be quiet", LIMIT / 4, || {
        let bytes = link.snapshot().down_bytes;
        looks = if bytes == last { looks + 1 } else { 0 };
        last = bytes;
        (looks >= QUIET_LOOKS).then_some(bytes)
    })
}

/// Stalls the hop's own link, then the leaf's. Gives what had left the leaf and was not yet past the hop's link.
fn stall(hop: &Proxy, leaf: &Proxy, came: &AtomicU64) -> Result<u64> {
    let reach = |bytes| {
        let there = || (came.load(Ordering::Relaxed) >= bytes).then_some(());
        wait_until("output", LIMIT / 4, there)
    };
    reach(OUTER_STALLS_AT)?;
    hop.stall();
    let held = wait_quiet(leaf).map(|sent| sent - hop.snapshot().down_bytes);
    hop.resume();
    let held = held?;
    reach(LEAF_STALLS_AT)?;
    leaf.stall();
    let quiet = wait_quiet(hop);
    leaf.resume();
    quiet.map(|_| held)
}

#[test]
fn a_hop_holds_little_of_200_mb_whichever_link_stalls() -> Result<()> {
    let counted = |name: &str| HostSpec::new(name).proxied(Settings::default());
    let lab = Lab::builder().host(counted("bas")).host(counted("t1").via("bas")).start()?;
    let (hop, leaf) = (lab.host("bas"), lab.host("t1"));
    let mut connected = Connected::to(&lab, &["t1"])?;
    // What any run takes is no part of the growth.
    connected.run(&exec(&["/bin/true"])?)?;
    let (hop_before, leaf_before) = (peaks(hop), peaks(leaf));

    let mut flood = exec(&["/usr/bin/head", "-c", &OUTPUT_BYTES.to_string(), "/dev/zero"])?;
    flood.allow.push(OUTPUT_LIMIT.to_owned());
    let came = AtomicU64::new(0);
    let (ran, held) = std::thread::scope(|scope| {
        let held = scope.spawn(|| stall(link(hop), link(leaf), &came));
        let ran = connected.run_seen(&flood, |event| {
            if let Body::Output { bytes, .. } = &event.body {
                came.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        });
        (ran, held.join().expect("the stalling thread ends"))
    });
    let came = came.into_inner();
    ran.context(|| format!("{came} of {OUTPUT_BYTES} bytes came"))?;
    let held = held?;
    assert_eq!(came, OUTPUT_BYTES);
    assert!(held < HELD_BYTES_MAX, "{held} bytes were between the links when the outer one stalled");
    let grown = growth(hop, &hop_before)?;
    assert!(grown < HELD_BYTES_MAX, "the hop grew by {grown} bytes");
    let grown = growth(leaf, &leaf_before)?;
    assert!(grown < HELD_BYTES_MAX, "the leaf grew by {grown} bytes");
    connected.stop()
}
