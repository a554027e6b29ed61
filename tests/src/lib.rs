//! The harness of the tests that use the real thing: real sshd, real ssh-agent, real file systems, and the `waft`
//! binary as a user runs it.
//!
//! | module | what it gives |
//! |---|---|
//! | [`lab`] | hosts `h1..hN` (one sshd each), keys, `ssh_config`, `known_hosts`, inventory, trees |
//! | [`sshd`] | one sshd, its settings and its log |
//! | [`user`] | temporary accounts with a shell, a password and start-up files of their own (needs root) |
//! | [`keys`] | keys and certificates made by ssh-keygen |
//! | [`agent`] | a real ssh-agent |
//! | [`proxy`] | a link in the middle: delay, counting, cutting, stalling |
//! | [`waft`] | the program, with an environment of its own and a time limit |
//! | [`snapshot`], [`watch`] | what changed on a file system, and what came and went |
//! | [`machine`] | a target with a file system and processes of its own |
//! | [`leak`] | what a test left behind |
//! | [`process`] | starting, waiting for and ending processes |
//!
//! Rules that every module keeps:
//!
//! * Nothing is waited for without a bound, and a wait that ran out says what it waited for.
//! * Whatever is started is ended by its own pid and reaped when its owner is dropped. Should the test process be
//!   killed, the kernel ends what it started (see [`process::spawn_bound`]).
//! * The network is loopback. A lab takes addresses in 127.0.0.0/16 and ports the kernel calls free.
//! * The harness links nothing of waft: it tests the binary, not the crates.
//!
//! One test process per test is what makes [`leak`] exact: run these tests with cargo-nextest. `cargo test` puts them
//! into one process, where a guard would blame, and end, a neighbour's processes: there, add `-- --test-threads=1`.

pub mod agent;
mod error;
pub mod keys;
pub mod lab;
pub mod leak;
pub mod machine;
pub mod process;
pub mod proxy;
pub mod snapshot;
pub mod sshd;
pub mod terminal;
pub mod user;
pub mod waft;
pub mod watch;

pub use error::{Context, Error, Result};

/// Leaves the test early, and loudly, when it is not run by root; the argument says what root is needed for.
///
/// The test function must return `()` or `Result<(), _>`.
#[macro_export]
macro_rules! need_root {
    ($what:expr) => {
        if !$crate::process::is_root() {
            eprintln!("SKIPPED (needs root): {}", $what);
            return $crate::Skipped::skipped();
        }
    };
}

/// What a test that was skipped returns; see [`need_root!`].
pub trait Skipped {
    fn skipped() -> Self;
}

impl Skipped for () {
    fn skipped() -> Self {}
}

impl<E> Skipped for std::result::Result<(), E> {
    fn skipped() -> Self {
        Ok(())
    }
}
