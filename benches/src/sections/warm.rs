//! One more run where the link is up already.

use std::process::Child;
use std::time::Duration;

use waft_tests::lab::Lab;
use waft_tests::process::{kill_trees, spawn_bound, wait_until};
use waft_tests::{Context, Result};

use super::{HOST, RTT, at, lab_at};
use crate::bench::{Bench, ssh};
use crate::library::{Connected, exec};
use crate::measure::{process, take_turns};
use crate::report::{Row, Table};

pub(super) const NAME: &str = "warm";
const ABOUT: &str = "One more `/bin/true` over a link that is up: ssh through a ControlMaster, waft through its library \
                     (the command `waft` keeps no link). ssh's time has the start of a client process in it, waft's \
                     has not; both start a process on the host, waft two (a supervisor, too). The ratio is to ssh.";
const ROUNDS: usize = 60;
const START_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    let mut rows = Vec::new();
    for rtt in [Duration::ZERO, RTT] {
        let lab = lab_at(rtt)?;
        let master = Master::start(bench, &lab)?;
        let mut connected = Connected::to_host(bench, &lab, HOST)?;
        let request = exec()?;
        let [plain, waft] = take_turns(
            bench.rounds(ROUNDS),
            [&mut || process(ssh(&lab, &lab.ssh_config, &["-S", &master.socket], HOST)), &mut || {
                connected.run(&request)
            }],
        )?;
        connected.stop()?;
        rows.push(Row::time(format!("ssh over a ControlMaster, {}", at(rtt)), &plain).over(rtt));
        rows.push(Row::time(format!("waft, {}", at(rtt)), &waft).over(rtt).against(&waft, &plain));
    }
    Ok(Table { name: NAME, about: ABOUT, rows })
}

/// An ssh that holds a connection for others; ended when dropped.
struct Master {
    socket: String,
    child: Child,
}

impl Master {
    fn start(bench: &Bench, lab: &Lab) -> Result<Master> {
        let path = bench.dir()?.join("m");
        let socket = path.to_string_lossy().into_owned();
        let command = lab.ssh_command(&lab.ssh_config, &["-M", "-N", "-S", &socket, HOST]);
        let child = spawn_bound(command).context(|| "cannot start ssh as a ControlMaster".to_owned())?;
        let master = Master { socket, child };
        wait_until("the ControlMaster to listen", START_LIMIT, || path.exists().then_some(()))?;
        Ok(master)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        kill_trees(&mut [&mut self.child]);
    }
}
