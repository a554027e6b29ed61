//! What is measured: one file per table.

mod cache;
pub(crate) mod chunks;
mod cold;
mod core;
mod depth;
mod fan_out;
mod policy;
mod sandbox;
mod size;
mod wan;
mod warm;

use crate::bench::Bench;
use crate::report::Table;
use std::time::Duration;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::proxy::Settings;
use waft_tests::sshd::HostSpec;

pub(crate) type Section = (&'static str, fn(&Bench) -> Result<Table>);

/// In the order of the page.
pub(crate) const SECTIONS: [Section; 11] = [
    (size::NAME, size::measure),
    (cold::NAME, cold::measure),
    (wan::NAME, wan::measure),
    (warm::NAME, warm::measure),
    (fan_out::NAME, fan_out::measure),
    (depth::NAME, depth::measure),
    (sandbox::NAME, sandbox::measure),
    (core::NAME, core::measure),
    (policy::NAME, policy::measure),
    (cache::NAME, cache::measure),
    (chunks::NAME, chunks::measure),
];

/// The one that needs a network namespace.
pub(crate) const FAR: &str = wan::NAME;
/// The far link: far enough that waiting for each other outweighs the CPU that two cores have for both ends.
const RTT: Duration = Duration::from_millis(30);
const HOST: &str = "h1";

/// One host behind a proxy that delays by `rtt` in all; with none it still counts.
fn lab_at(rtt: Duration) -> Result<Lab> {
    Lab::builder().host(HostSpec::new(HOST).proxied(Settings::round_trip(rtt))).start()
}

fn at(rtt: Duration) -> String {
    format!("RTT {} ms", rtt.as_millis())
}
