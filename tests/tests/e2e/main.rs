//! `waft` against real sshd, as a user runs it.

mod attack;
mod audit;
mod check;
mod counters;
mod demo;
mod direct;
mod explain;
mod faults;
mod home;
mod library;
mod matrix;
mod node_policy;
mod operator;
mod other_stub;
mod policy;
mod sign;
mod site;
mod ssh_config;
mod via;
mod whole;

use std::time::Duration;

/// More than anything here takes; a test that reaches it is stuck, and the harness says in what.
const LIMIT: Duration = Duration::from_secs(120);
