//! `waft` against real sshd, as a user runs it.

mod counters;
mod demo;
mod direct;
mod faults;
mod home;
mod library;
mod matrix;
mod operator;
mod ssh_config;
mod via;

use std::time::Duration;

/// More than anything here takes; a test that reaches it is stuck, and the harness says in what.
const LIMIT: Duration = Duration::from_secs(120);
