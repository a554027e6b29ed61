//! One command on many hosts.

use std::fmt::Write as _;
use std::process::Command;

use waft_tests::lab::Lab;
use waft_tests::{Context, Result};

use crate::bench::{Bench, PROGRAM};
use crate::measure::{process, take_turns};
use crate::report::{Row, Table};

pub(super) const NAME: &str = "fan-out";
const ABOUT: &str = "`/bin/true` on so many sshd of this machine at once, connecting included: waft (hosts remembered) \
                     beside `xargs -P HOSTS` over ssh. Both ends share the cores, so this is the CPU of all clients and \
                     all servers together. The ratio is to ssh.";
const HOSTS_MAX: usize = 50;
/// Hosts, and repetitions.
const CASES: [(usize, usize); 3] = [(1, 30), (10, 10), (HOSTS_MAX, 5)];

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    let lab = Lab::of(HOSTS_MAX)?;
    let kept = bench.nothing_kept()?;
    let mut rows = Vec::new();
    for (hosts, rounds) in CASES {
        let loop_over_ssh = SshLoop::over(bench, &lab, hosts)?;
        let targets = format!("h[1-{hosts}]");
        let [plain, waft] = take_turns(
            bench.rounds(rounds),
            [&mut || process(loop_over_ssh.command(&lab)), &mut || {
                process(bench.waft_true(&lab, &targets, &kept))
            }],
        )?;
        let many = if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") };
        rows.push(Row::time(format!("ssh, {many}"), &plain));
        rows.push(Row::time(format!("waft, {many}"), &waft).against(&waft, &plain));
    }
    Ok(Table { name: NAME, about: ABOUT, rows })
}

/// The loop that people write.
struct SshLoop {
    names: std::path::PathBuf,
    hosts: usize,
}

impl SshLoop {
    fn over(bench: &Bench, lab: &Lab, hosts: usize) -> Result<SshLoop> {
        let names = bench.dir()?.join("hosts");
        let text = lab.hosts.iter().take(hosts).fold(String::new(), |mut text, host| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", host.name);
            text
        });
        std::fs::write(&names, text).context(|| format!("cannot write {}", names.display()))?;
        Ok(SshLoop { names, hosts })
    }

    fn command(&self, lab: &Lab) -> Command {
        let mut command = Command::new("xargs");
        command.arg("-a").arg(&self.names).args(["-P", &self.hosts.to_string(), "-I", "{}"]);
        command.args(["ssh", "-F"]).arg(&lab.ssh_config).args(["{}", PROGRAM]).env_remove("SSH_AUTH_SOCK");
        command
    }
}
