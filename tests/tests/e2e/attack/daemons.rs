//! What a task started and let go of, when its stub dies under it.

use super::arena::attacks;
use crate::LIMIT;
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{Process, descendants, is_alive, is_root, signal_pid, wait_until};
use waft_tests::sshd::HostSpec;
use waft_tests::user::User;
use waft_tests::waft::Waft;

/// In sessions of their own, by two forks each, and one that stays.
const DAEMONS: &str =
    "(setsid sh -c 'setsid sleep 2985 & exec sleep 2986' &); (setsid sleep 2987 &); exec sleep 2988";

/// Below this sshd, all of them.
fn daemons(sshd: u32) -> Option<Vec<Process>> {
    let mut all = descendants(&[sshd]);
    all.retain(|process| process.command.starts_with("sleep 298"));
    (all.len() == 4).then_some(all)
}

/// The task's module in a place that the account may read.
fn task(lab: &Lab) -> Result<(PathBuf, PathBuf)> {
    let (task, params) = (lab.dir.path().join("attacks.wasm"), lab.dir.path().join("params.json"));
    fs::write(&task, &attacks()?).expect("written");
    let wanted = json!({"attack": "exec", "argv": ["/bin/sh", "-c", DAEMONS]});
    fs::write(&params, wanted.to_string()).expect("written");
    Ok((task, params))
}

#[test]
fn daemons_of_a_task_do_not_outlive_a_stub_that_is_killed() -> Result<()> {
    dies(|stub| stub.id.pid)
}

#[test]
fn daemons_of_a_task_do_not_outlive_a_keeper_that_is_killed() -> Result<()> {
    dies(|stub| stub.parent)
}

/// As root and as an ordinary user.
fn dies(victim: impl Fn(&Process) -> u32) -> Result<()> {
    let user = match is_root() {
        true => Some(User::with_shell("/bin/sh").create()?),
        false => {
            eprintln!("SKIPPED (needs root): daemons of root's, beside those of an ordinary user");
            None
        }
    };
    for login in [None, user.as_ref()].into_iter().take(1 + usize::from(user.is_some())) {
        let spec = HostSpec::new("h1");
        let spec = login.map_or(spec.clone(), |user| spec.login(user));
        let lab = Lab::builder().host(spec).start()?;
        let guard = LeakGuard::start();
        let sshd = lab.host("h1").pid();
        let (task, params) = task(&lab)?;
        let waft = Waft::new("run")?
            .lab(&lab)
            .arg(task)
            .args(["-t", "h1", "--format", "jsonl", "--allow", "exec:/bin/sh **", "--params"])
            .arg(params)
            .limit(LIMIT)
            .spawn()?;
        let daemons = wait_until("all daemons run", LIMIT, || daemons(sshd))?;
        // The keeper is what the login started; the stub is its child.
        let linked: Vec<Process> =
            descendants(&[sshd]).into_iter().filter(|process| process.command.contains("--link")).collect();
        let stub = linked.iter().find(|stub| linked.iter().any(|keeper| keeper.id.pid == stub.parent));
        let stub = stub.expect("a stub and its keeper");
        signal_pid(victim(stub), Signal::KILL);
        let output = waft.finish()?.expect_code(4)?;
        assert_eq!(output.result_of("h1")?["status"], "lost");
        wait_until("all daemons to be gone", LIMIT, || {
            daemons.iter().all(|process| !is_alive(process.id)).then_some(())
        })?;
        lab.wait_idle()?;
        guard.check()?;
    }
    Ok(())
}
