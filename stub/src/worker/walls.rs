//! The walls of a worker, all of them, raised before the artifact is even mapped. New walls (namespaces,
//! landlock, seccomp) go into [`raise`] and [`expected`], nowhere else.

use super::wire::{Limits, Link, Load};
use crate::process;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::os::fd::{AsRawFd, OwnedFd};

/// Descriptors of the worker itself: the standard three, channel, artifact, the runtime's, and some spare.
const OWN_FILES: u64 = 24;

const NO_NEW_PRIVS: &str = "no_new_privs";
const RLIMITS: &str = "rlimits";
const EMPTY_ENVIRONMENT: &str = "no_environment";

/// What [`raise`] puts up on a machine that allows everything.
pub fn expected() -> &'static [&'static str] {
    &[EMPTY_ENVIRONMENT, NO_NEW_PRIVS, RLIMITS]
}

/// Raises the walls; returns those that stand. What the kernel refuses is missing from the list, and so
/// from the results; an error is only what must stop the worker.
pub(super) fn raise(link: &Link, artifact: &OwnedFd, load: &Load) -> Result<Vec<&'static str>, String> {
    let mut standing = Vec::new();
    process::close_others(&[link.as_raw_fd(), artifact.as_raw_fd()]);
    if std::env::vars_os().next().is_none() {
        standing.push(EMPTY_ENVIRONMENT);
    }
    if rustix::thread::set_no_new_privs(true).is_ok() {
        standing.push(NO_NEW_PRIVS);
    }
    limit(&load.limits).map_err(|error| format!("the worker's limits cannot be set: {error}"))?;
    standing.push(RLIMITS);
    Ok(standing)
}

fn limit(limits: &Limits) -> rustix::io::Result<()> {
    let exactly = |number| Rlimit { current: Some(number), maximum: Some(number) };
    setrlimit(Resource::Core, exactly(0))?;
    // Never above what the login allows: only root may raise it, and nobody needs to.
    let allowed = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    setrlimit(Resource::Nofile, exactly(limits.files.saturating_add(OWN_FILES).min(allowed)))
}
