//! Hosts behind hops, the first of which is far away.

use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::proxy::Settings;
use waft_tests::sshd::HostSpec;

use super::{RTT, at};
use crate::bench::{Bench, ssh};
use crate::measure::{process, take_turns};
use crate::report::{Row, Table};

pub(super) const NAME: &str = "depth";
const ABOUT: &str = "`/bin/true` on a host behind so many hops, connecting included; the first link has RTT 30 ms, the \
                     others none. waft (hosts remembered) beside ssh with ProxyJump. Each hop gets a stub of its own, \
                     which crosses the far link once. The ratio is to ssh.";
const HOPS_MAX: usize = 3;
const ROUNDS: usize = 15;

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    let near = HostSpec::new("h1").proxied(Settings::round_trip(RTT));
    let chain = (1..=HOPS_MAX).fold(Lab::builder().host(near), |lab, at| {
        lab.host(HostSpec::new(format!("h{}", at + 1)).via(format!("h{at}")))
    });
    let lab = chain.start()?;
    let mut rows = Vec::new();
    for hops in 1..=HOPS_MAX {
        let kept = bench.nothing_kept()?;
        let target = format!("h{}", hops + 1);
        let [plain, waft] = take_turns(
            bench.rounds(ROUNDS),
            [&mut || process(ssh(&lab, &lab.ssh_config_tree, &[], &target)), &mut || {
                process(bench.waft_true(&lab, &target, &kept))
            }],
        )?;
        let many = if hops == 1 { "1 hop".to_owned() } else { format!("{hops} hops") };
        rows.push(Row::time(format!("ssh, {many}, {}", at(RTT)), &plain).over(RTT));
        rows.push(Row::time(format!("waft, {many}, {}", at(RTT)), &waft).over(RTT).against(&waft, &plain));
    }
    Ok(Table { name: NAME, about: ABOUT, rows })
}
