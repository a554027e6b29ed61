//! Which worker runs what, and what becomes of it.

use crate::lab::{command, eventually, pool, task};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Instant;
use waft_proto::run::Status;

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
    kill_process(pid, Signal::KILL).expect("a process of ours");
}

/// Children of this process that are workers at work.
fn workers() -> Vec<u32> {
    waft_stub::process::below(std::process::id()).into_iter().map(|process| process.pid).collect()
}

#[tokio::test]
async fn the_same_job_finds_a_warm_worker_and_another_does_not() {
    let pool = pool();
    let plain = task(command("", ""));
    plain.run_in(&pool).await;
    let first = pool.idle();
    assert_eq!(first.len(), 1);
    plain.run_in(&pool).await;
    assert_eq!(pool.idle(), first);
    // Another grant, another module: each a process of its own.
    task(command("", "")).grant("facts").run_in(&pool).await;
    let second = pool.idle();
    assert!(second.len() == 1 && second != first);
    task(command("", "")).grant("facts").check().run_in(&pool).await;
    // The overlays of a dry run are one execution's: it takes no warm worker and leaves none.
    assert_eq!(pool.idle(), second);
    pool.shutdown().await;
    assert!(pool.idle().is_empty());
}

#[tokio::test]
async fn nothing_of_one_execution_is_seen_by_the_next() {
    let pool = pool();
    // Exits with what it finds in its memory, and leaves one more there.
    let counts = task(command(
        "",
        "(i32.store (i32.const 5000) (i32.add (i32.load (i32.const 5000)) (i32.const 1)))
                                   (call $proc_exit (i32.load (i32.const 5000)))",
    ));
    for _ in 0..3 {
        assert_eq!(counts.run_in(&pool).await.outcome.exit_code, Some(1));
    }
    pool.shutdown().await;
}

#[tokio::test]
async fn a_worker_is_not_used_again_after_a_bad_end() {
    let pool = pool();
    let traps = task(command("", "unreachable"));
    let spins = task(command("", "(loop $again (br $again))")).timeout_ms(100);
    for order in [traps, spins] {
        order.run_in(&pool).await;
        assert!(pool.idle().is_empty());
    }
    pool.shutdown().await;
}

#[tokio::test]
async fn an_idle_worker_that_died_is_replaced_unseen() {
    let pool = pool();
    let plain = task(command("", ""));
    plain.run_in(&pool).await;
    let first = pool.idle();
    kill(*first.first().expect("one idle worker"));
    eventually("it is dead", || !workers().contains(&first[0])).await;
    assert_eq!(plain.run_in(&pool).await.outcome.status, Status::Ok);
    assert_ne!(pool.idle(), first);
    pool.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_is_killed_from_outside_fails_with_the_signal() {
    let pool = pool();
    // The marker on stdout says that the guest runs; its worker is then the only one with this pool's parent.
    let plain = task(command("", ""));
    plain.run_in(&pool).await;
    let warm = pool.idle();
    let spins = task(command("", "(if (i32.eqz (i32.const 0)) (then (loop $again (br $again))))"));
    drop(plain);
    let before: Vec<u32> = workers();
    let killer = async {
        let mut victim = None;
        eventually("a new worker appears", || {
            victim = workers().into_iter().find(|pid| !before.contains(pid) && cpu_ticks(*pid) > 5);
            victim.is_some()
        })
        .await;
        kill(victim.expect("found"));
    };
    let (ran, ()) = tokio::join!(spins.run_in(&pool), killer);
    assert_eq!(
        (ran.outcome.status, ran.outcome.signal, ran.code()),
        (Status::Failed, Some(9), "worker.died")
    );
    assert_eq!(pool.idle(), warm, "the other worker is not touched");
    pool.shutdown().await;
}

/// Time in user mode: a worker that spins has some.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    fields.split_ascii_whitespace().nth(11).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

/// The figure in the design is 230 us, for an optimised build on a quiet machine; this is a debug build on
/// any machine, and only finds what is wrong by an order (a process or a runtime per execution).
#[tokio::test]
async fn a_warm_execution_costs_no_process() {
    let pool = pool();
    let plain = task(command("", ""));
    plain.run_in(&pool).await;
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        plain.run_in(&pool).await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("a warm execution: {median:?}");
    assert!(median.as_millis() < 10, "{median:?}");
    pool.shutdown().await;
}
