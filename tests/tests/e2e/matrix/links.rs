//! Links that are cut, links that stall, and somebody who presses Ctrl-C meanwhile.

use super::{DEADLINE, PLACES, TARGET, exec, held, proxied, target};
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{descendants, wait_until};
use waft_tests::proxy::{Direction, Fault, FaultAfter, Settings};
use waft_tests::sshd::HostSpec;
use waft_tests::waft::Waft;

/// Of what the stub's delivery is made, bytes; the artifact of `exec`, 0.28 MB, follows it.
fn gzip_bytes(kind: &str) -> Result<u64> {
    let listed = Waft::new("stub")?.arg("list").limit(DEADLINE).run()?.expect_code(0)?.stdout();
    let rows = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row[..2] == [kind, std::env::consts::ARCH]);
    Ok(row.and_then(|row| row.get(3)?.parse().ok()).expect("a stub for this machine"))
}

/// How a target ends whose link breaks before it has joined, and after.
const BEFORE: &[&str] = &["unreachable"];
const AFTER: &[&str] = &["lost"];
/// Frames follow a stub at once, so the artifact is on its way before anybody has said hello.
const EITHER: &[&str] = &["unreachable", "lost"];

/// Bytes towards the target after which its link fails, by phase, and how it ends then.
fn phases() -> Result<[(&'static str, u64, &'static [&'static str]); 6]> {
    let leaf = gzip_bytes("leaf")?;
    Ok([
        ("banner", 10, BEFORE),
        ("key exchange", 1_200, BEFORE),
        ("login", 2_500, BEFORE),
        ("delivery", leaf / 2, BEFORE),
        ("end of the delivery", leaf - 10_000, BEFORE),
        ("fetch of the artifact", leaf + 50_000, EITHER),
    ])
}

fn after(fault: Fault, bytes: u64) -> Settings {
    let fault = Some(FaultAfter { fault, direction: Direction::Up, bytes });
    Settings { fault, ..Settings::default() }
}

#[test]
fn a_target_whose_link_is_cut_is_unreachable_or_lost() -> Result<()> {
    let guard = LeakGuard::start();
    for place in PLACES {
        for (phase, bytes, ends) in phases()? {
            let lab = place.lab(proxied(after(Fault::Cut, bytes))).start()?;
            let output = exec(&lab, "sleep 30")?.run()?;
            held(&format!("{place:?}, cut in {phase}"), &lab, output, ends, 4)?;
        }
    }
    guard.check()
}

#[test]
fn a_target_behind_an_outer_link_that_is_cut_is_unreachable_or_lost() -> Result<()> {
    let guard = LeakGuard::start();
    // The bastion's own stub is followed by the leaf for those behind it.
    let (hop, leaf) = (gzip_bytes("hop")?, gzip_bytes("leaf")?);
    for (phase, bytes, ends) in [
        ("login", 2_500, BEFORE),
        ("delivery", hop / 2, BEFORE),
        ("the leaf's way through", hop + leaf / 2, BEFORE),
        ("fetch", hop + leaf + 100_000, EITHER),
    ] {
        let bastion = HostSpec::new("bas").proxied(after(Fault::Cut, bytes));
        let lab = Lab::builder().host(bastion).host(target().via("bas")).start()?;
        let output = exec(&lab, "sleep 30")?.run()?;
        held(&format!("outer link, cut in {phase}"), &lab, output, ends, 4)?;
    }
    guard.check()
}

/// So much of a blob is sent only to a peer that has said hello and asked for more than the first 256 KiB.
const WELL_INTO_A_FETCH_BYTES: u64 = 600_000;

#[test]
fn a_link_cut_in_the_fetch_of_a_large_task_loses_the_target() -> Result<()> {
    let guard = LeakGuard::start();
    // Bytes that nothing could make fewer.
    let noise = |at: u32| format!("\\{:02x}", at.wrapping_mul(2_654_435_761).rotate_left(at % 31) >> 24);
    let noise: String = (0..1 << 20).map(noise).collect();
    let text = format!(
        r#"(module (memory (export "memory") 20) (data (i32.const 0) "{noise}") (func (export "_start")))"#
    );
    let bytes = gzip_bytes("leaf")? + WELL_INTO_A_FETCH_BYTES;
    for place in PLACES {
        let lab = place.lab(proxied(after(Fault::Cut, bytes))).start()?;
        let task = lab.dir.path().join("large.wasm");
        std::fs::write(&task, wat::parse_str(&text).expect("good text")).expect("written");
        let waft = Waft::new("run")?.lab(&lab).arg(&task).args(["-t", TARGET, "--format", "jsonl"]);
        let output = waft.limit(DEADLINE).run()?;
        held(&format!("{place:?}, cut in a large fetch"), &lab, output, AFTER, 4)?;
    }
    guard.check()
}

#[test]
fn a_link_cut_while_the_program_runs_loses_the_target_and_ends_the_program() -> Result<()> {
    let guard = LeakGuard::start();
    for (which, bastion, leaf) in [("outer", true, false), ("inner", false, true)] {
        let on = |proxied: bool| if proxied { Some(Settings::default()) } else { None };
        let with = |spec: HostSpec, settings: Option<Settings>| match settings {
            Some(settings) => spec.proxied(settings),
            None => spec,
        };
        let mut lab = Lab::builder()
            .host(with(HostSpec::new("bas"), on(bastion)))
            .host(with(target().via("bas"), on(leaf)))
            .start()?;
        let waft = exec(&lab, "setsid sleep 811 & sleep 812")?.spawn()?;
        let sshd = lab.host(TARGET).pid();
        wait_until("both programs run", DEADLINE, || {
            let all = descendants(&[sshd]);
            ["sleep 811", "sleep 812"].iter().all(|line| all.iter().any(|p| p.command == *line)).then_some(())
        })?;
        lab.host_mut(if bastion { "bas" } else { TARGET }).proxy = None;
        held(&format!("{which} link, cut in the run"), &lab, waft.finish()?, &["lost"], 4)?;
    }
    guard.check()
}

#[test]
fn ctrl_c_in_any_phase_cancels_and_leaves_nothing() -> Result<()> {
    let guard = LeakGuard::start();
    for place in PLACES {
        for (phase, bytes, _) in phases()? {
            let mut lab = place.lab(proxied(after(Fault::Stall, bytes))).start()?;
            let waft = exec(&lab, "sleep 30")?.spawn()?;
            wait_until("the link to stall", DEADLINE, || {
                let crossed = lab.host(TARGET).proxy.as_ref()?.snapshot().up_bytes;
                (crossed >= bytes).then_some(())
            })?;
            waft.interrupt();
            let output = waft.finish()?;
            // A stalled network keeps both ends in the dark; it comes back as a connection that is gone.
            lab.host_mut(TARGET).proxy = None;
            let expected: &[&str] = &["cancelled"];
            held(&format!("{place:?}, Ctrl-C in {phase}"), &lab, output, expected, 130)?;
        }
    }
    guard.check()
}

#[test]
fn a_target_that_never_answers_is_given_up_in_time() -> Result<()> {
    let guard = LeakGuard::start();
    for place in PLACES {
        let mut lab = place.lab(proxied(after(Fault::Stall, 0))).start()?;
        let inventory = std::fs::read_to_string(&lab.inventory).expect("the lab's inventory");
        let hasty = format!("[hosts.{TARGET}]\nconnect_timeout = \"2s\"\n");
        let section = format!("[hosts.{TARGET}]\n");
        std::fs::write(&lab.inventory, inventory.replace(&section, &hasty)).expect("written");
        let output = exec(&lab, "true")?.run()?;
        lab.host_mut(TARGET).proxy = None;
        let result = held(&format!("{place:?}, silence"), &lab, output, &["unreachable"], 4)?;
        assert_eq!(result["error"]["code"], "ssh.timeout", "{result}");
    }
    guard.check()
}

#[test]
fn a_worker_that_is_killed_fails_its_task_only() -> Result<()> {
    use waft_tests::process::signal_pid;
    let guard = LeakGuard::start();
    for place in PLACES {
        let lab = place.lab(target()).start()?;
        let task = super::guests::module(&lab, "spins", "(loop $more (br $more))");
        let waft = Waft::new("run")?
            .lab(&lab)
            .arg(&task)
            .args(["-t", TARGET, "--format", "jsonl", "--timeout", "40s"])
            .limit(DEADLINE)
            .spawn()?;
        let sshd = lab.host(TARGET).pid();
        // The one that burns CPU: a spare one may wait beside it.
        let worker = wait_until("the worker to spin", DEADLINE, || {
            let all = descendants(&[sshd]);
            let workers = all.iter().filter(|process| process.command.contains("--worker"));
            workers.map(|process| process.id.pid).find(|pid| cpu_ticks(*pid) > 20)
        })?;
        signal_pid(worker, rustix::process::Signal::KILL);
        held(&format!("{place:?}, worker killed"), &lab, waft.finish()?, &["failed"], 3)?;
    }
    guard.check()
}

/// User time of a process, in ticks of a hundredth of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    // Field 14 of proc(5); the list begins with the third.
    fields.and_then(|fields| fields.get(11)?.parse().ok()).unwrap_or(0)
}
