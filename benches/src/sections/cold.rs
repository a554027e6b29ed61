//! From nothing to the end of `/bin/true` on one host, and back to nothing; and what that sends over the link.

use std::time::Duration;

use waft_tests::proxy::{Proxy, Snapshot};
use waft_tests::{Error, Result};

use super::{HOST, RTT, at, lab_at};
use crate::bench::{Bench, Kept, ssh};
use crate::measure::{process, take_turns};
use crate::report::{Row, Table};

pub(super) const NAME: &str = "cold";
const ABOUT: &str = "`waft exec -t h1 -- /bin/true` and `ssh h1 /bin/true`, connecting included. First time: waft asks \
                     the host what it is. Remembered: it knows from an earlier command. The ratio is to ssh. \
                     A flight is half a round trip that somebody waited for.";
const ROUNDS: usize = 30;
/// Compiling takes longer than everything else together, and varies less.
const ROUNDS_COMPILING: usize = 10;

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    let mut rows = Vec::new();
    for rtt in [Duration::ZERO, RTT] {
        let lab = lab_at(rtt)?;
        let known = bench.nothing_kept()?;
        let waft = |kept: &Kept| process(bench.waft_true(&lab, HOST, kept));
        let by_ssh = || process(ssh(&lab, &lab.ssh_config, &[], HOST));
        let [plain, first, again] = take_turns(
            bench.rounds(ROUNDS),
            [&mut || by_ssh(), &mut || waft(&bench.no_host_kept(&known)?), &mut || waft(&known)],
        )?;
        let [compiling] = take_turns(bench.rounds(ROUNDS_COMPILING), [&mut || waft(&bench.nothing_kept()?)])?;
        let named = |what: &str| format!("{what}, {}", at(rtt));
        rows.push(Row::time(named("ssh"), &plain).over(rtt));
        for (what, samples) in [
            ("waft, remembered", &again),
            ("waft, first time", &first),
            ("waft, first time and compiling", &compiling),
        ] {
            rows.push(Row::time(named(what), samples).over(rtt).against(samples, &plain));
        }
        if rtt.is_zero() {
            continue;
        }
        // Counted where there is a delay: without one, what caused what is a matter of chance.
        let proxy = lab.host(HOST).proxy.as_ref().ok_or_else(|| Error::new("the host has no proxy"))?;
        rows.extend(traffic("ssh", crossing(proxy, by_ssh)?));
        rows.extend(traffic("waft, remembered", crossing(proxy, || waft(&known))?).map(Row::bounded));
        let fresh = bench.no_host_kept(&known)?;
        rows.extend(traffic("waft, first time", crossing(proxy, || waft(&fresh))?).map(Row::bounded));
    }
    Ok(Table { name: NAME, about: ABOUT, rows })
}

fn crossing(proxy: &Proxy, go: impl FnOnce() -> Result<Duration>) -> Result<Snapshot> {
    let before = proxy.mark();
    go()?;
    Ok(proxy.since(before))
}

fn traffic(who: &str, crossed: Snapshot) -> [Row; 3] {
    [
        Row::bytes(format!("{who}: sent to the host"), crossed.up_bytes),
        Row::bytes(format!("{who}: received"), crossed.down_bytes),
        Row::count(format!("{who}: flights"), crossed.flights),
    ]
}
