//! The controller ends, by whatever: nothing stays on any host.

use super::{DEADLINE, PLACES, TARGET, exec, held, target};
use rustix::process::Signal;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{descendants, wait_until};
use waft_tests::proxy::{Direction, Fault, FaultAfter, Settings};
use waft_tests::sshd::HostSpec;
use waft_tests::waft::RunningWaft;

/// One that left its session, one that also lost its parent, and the one that is waited for.
const THREE: &str = "setsid sleep 821 & (setsid sleep 822 &); sleep 823";

/// A run in which all three programs run.
fn busy(lab: &Lab) -> Result<RunningWaft> {
    let waft = exec(lab, THREE)?.spawn()?;
    let sshd = lab.host(TARGET).pid();
    wait_until("all programs to run", DEADLINE, || {
        let all = descendants(&[sshd]);
        let runs = |line: &str| all.iter().any(|process| process.command == line);
        ["sleep 821", "sleep 822", "sleep 823"].into_iter().all(runs).then_some(())
    })?;
    Ok(waft)
}

#[test]
fn a_controller_that_is_killed_leaves_nothing_anywhere() -> Result<()> {
    let guard = LeakGuard::start();
    for hops in [0, 1, 2] {
        let mut lab = Lab::builder();
        let mut spec = target();
        for (at, hop) in ["bas", "mid"].into_iter().enumerate().take(hops) {
            let hop_spec = HostSpec::new(hop);
            lab = lab.host(if at == 0 { hop_spec } else { hop_spec.via("bas") });
            spec = spec.via(hop);
        }
        let lab = lab.host(spec).start()?;
        for signal in [Signal::KILL, Signal::HUP] {
            let waft = busy(&lab)?;
            waft.signal(signal);
            let output = waft.finish()?;
            assert_eq!(output.code(), None, "{hops} hops, {signal:?}: {output}");
            lab.wait_idle()?;
        }
    }
    guard.check()
}

#[test]
fn a_controller_that_is_told_to_end_cancels() -> Result<()> {
    let guard = LeakGuard::start();
    for place in PLACES {
        let lab = place.lab(target()).start()?;
        let waft = busy(&lab)?;
        waft.signal(Signal::TERM);
        held(&format!("{place:?}, SIGTERM"), &lab, waft.finish()?, &["cancelled"], 130)?;
    }
    guard.check()
}

#[test]
fn ctrl_c_in_a_delivery_over_a_silent_outer_link_cancels_and_leaves_nothing() -> Result<()> {
    let guard = LeakGuard::start();
    // 900 kB are within the bastion's own stub, 2 MB within the leaf for what is behind it.
    for (phase, bytes) in [("delivery", 900_000), ("the leaf's way through", 2_000_000)] {
        let fault = Some(FaultAfter { fault: Fault::Stall, direction: Direction::Up, bytes });
        let bastion = HostSpec::new("bas").proxied(Settings { fault, ..Settings::default() });
        let mut lab = Lab::builder().host(bastion).host(target().via("bas")).start()?;
        let waft = exec(&lab, "sleep 30")?.spawn()?;
        wait_until("the outer link to stall", DEADLINE, || {
            (lab.host("bas").proxy.as_ref()?.snapshot().up_bytes >= bytes).then_some(())
        })?;
        waft.interrupt();
        let output = waft.finish()?;
        lab.host_mut("bas").proxy = None;
        held(&format!("outer link, Ctrl-C in {phase}"), &lab, output, &["cancelled"], 130)?;
    }
    guard.check()
}

#[test]
fn ctrl_c_in_a_run_behind_a_silent_link_cancels_and_leaves_nothing() -> Result<()> {
    let guard = LeakGuard::start();
    let bastion = HostSpec::new("bas").proxied(Settings::default());
    let mut lab = Lab::builder().host(bastion).host(target().via("bas")).start()?;
    let waft = busy(&lab)?;
    lab.host("bas").proxy.as_ref().expect("a proxy").stall();
    waft.interrupt();
    let output = waft.finish()?;
    lab.host_mut("bas").proxy = None;
    held("outer link, Ctrl-C in the run", &lab, output, &["cancelled"], 130)?;
    drop(lab);
    guard.check()
}
