//! The first byte of an answer over a far link with real packets.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use waft_tests::lab::Lab;
use waft_tests::sshd::HostSpec;
use waft_tests::{Context, Result};

use super::size::stub_sizes;
use super::{HOST, at};
use crate::bench::{Bench, Kept};
use crate::measure::{first_byte, take_turns};
use crate::report::{Row, Table};
use crate::wan::{HERE, THERE, open};

pub(super) const NAME: &str = "wan";
const ABOUT: &str = "From the start of the command to the first byte that `/bin/echo` wrote, over a link with real packets: \
                     a TUN device whose other end is this machine, so with TCP's handshake, windows and slow start. \
                     `ssh and a stub` sends as many bytes as the gzipped leaf first (through a bastion: leaf and hop), and \
                     waits until they are there: what delivering costs anybody. The ratio of waft is to that. Without \
                     the transfer: less what those bytes cost ssh. Installed: waft with a stub that is on the host \
                     already; it still sends the task's artifact. Its ratio is to plain ssh.";
/// So far away that the CPU of both ends counts for less than one round trip.
const RTT: Duration = Duration::from_millis(300);
const ROUNDS: usize = 6;
const TARGET: &str = "h2";
const SAID: &str = "said";
const ECHO: [&str; 2] = ["/bin/echo", SAID];

pub(super) fn measure(bench: &Bench) -> Result<Table> {
    open(RTT)?;
    let far = HostSpec::new(HOST).reached_at(HERE, THERE);
    let lab = Lab::builder().host(far).host(HostSpec::new(TARGET).via(HOST)).start()?;
    let mut rows = compare(bench, &lab, HOST)?;
    rows.extend(compare(bench, &lab, TARGET)?);
    Ok(Table { name: NAME, about: ABOUT, rows })
}

fn compare(bench: &Bench, lab: &Lab, target: &str) -> Result<Vec<Row>> {
    let kept = bench.nothing_kept()?;
    let kinds: &[&str] = if target == HOST { &["leaf"] } else { &["hop", "leaf"] };
    let mut stub_bytes = 0;
    for kind in kinds {
        stub_bytes += stub_sizes(bench, kind)?.1;
    }
    let load = bench.dir()?.join("load");
    let doing = || format!("cannot write {}", load.display());
    // What was compressed once cannot be again: ssh would not send fewer of these either.
    let noise: Vec<u8> =
        (0_u64..stub_bytes).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    std::fs::write(&load, noise).context(doing)?;
    let waft = |kept: &Kept| first_byte(bench.waft_exec(lab, &lab.inventory, target, kept, &ECHO));
    let plain = || first_byte(by_ssh(lab, target, &format!("echo {SAID}")));
    let push = || {
        let mut command = by_ssh(lab, target, &format!("head -c {stub_bytes} > /dev/null; echo {SAID}"));
        command.stdin(File::open(&load).context(doing)?);
        first_byte(command)
    };
    let rounds = bench.rounds(ROUNDS);
    let [plain, push, first, again] = take_turns(
        rounds,
        [&mut || plain(), &mut || push(), &mut || waft(&bench.no_host_kept(&kept)?), &mut || waft(&kept)],
    )?;
    let place = if target == HOST { at(RTT) } else { format!("through a bastion, {}", at(RTT)) };
    let named = |what: &str| format!("{what}, {place}");
    let row = |what: &str, samples| Row::time(named(what), samples).over(RTT);
    let mut rows = vec![
        row("ssh", &plain),
        row("ssh and a stub", &push),
        row("waft, first time", &first).against(&first, &push),
        row("waft, remembered", &again).against(&again, &push),
    ];
    let transfer = push.median().saturating_sub(plain.median());
    let waiting = again.median().saturating_sub(transfer);
    rows.push(Row::derived(named("waft, remembered, without the transfer"), waiting).over(RTT).bounded());
    if target == HOST {
        let inventory = with_installed(bench, lab)?;
        let there = || first_byte(bench.waft_exec(lab, &inventory, target, &kept, &ECHO));
        let [there] = take_turns(rounds, [&mut || there()])?;
        rows.push(row("waft, installed", &there).against(&there, &plain));
    }
    Ok(rows)
}

fn by_ssh(lab: &Lab, target: &str, line: &str) -> Command {
    lab.ssh_command(&lab.ssh_config_tree, &[target, line])
}

/// The lab's inventory, but the near host has its stub already.
fn with_installed(bench: &Bench, lab: &Lab) -> Result<PathBuf> {
    let stub = bench.waft_stub(&["path", "--kind", "leaf"])?;
    let doing = || "cannot write an inventory".to_owned();
    let text = std::fs::read_to_string(&lab.inventory).context(doing)?;
    let host = format!("[hosts.{HOST}]\n");
    let path = bench.dir()?.join("inventory.toml");
    std::fs::write(&path, text.replace(&host, &format!("{host}installed = \"{}\"\n", stub.trim())))
        .context(doing)?;
    Ok(path)
}
