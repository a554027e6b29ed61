//! What a stub does for its runs: workers that execute tasks, programs that tasks may start, and the
//! certainty that all of them end with it.
//!
//! ```text
//!   keeper (subreaper: cleans up if the stub is killed)
//!     stub (subreaper; links, pool) ---- socket pair ---- worker (one module, walled in)
//!                                   ---- socket pair ---- supervisor (subreaper) -- program -- its children
//! ```
//!
//! Knows no links and no routes; the binary beside this library connects the two.

#[cfg(feature = "site")]
pub mod audit;
mod base64;
pub mod dry;
pub mod facts;
pub mod files;
mod mounts;
pub mod net;
pub mod policy;
pub mod pool;
pub mod process;
pub mod program;
pub mod resolve;
pub mod secret;
#[cfg(feature = "site")]
pub mod site;
pub mod worker;

pub use files::user_name;
use waft_proto::msg::Profile;

/// The profile this machine can run: `fast` needs some gigabytes of address space that nobody uses.
pub fn profile() -> Profile {
    if worker::can_reserve() { Profile::Fast } else { Profile::Small }
}

/// The walls that executions stand behind here, for the hello. Each result says it again, of its own worker.
///
/// Must be called before the process has a second thread.
pub fn walls() -> Vec<String> {
    worker::walls::expected().into_iter().map(str::to_owned).collect()
}
