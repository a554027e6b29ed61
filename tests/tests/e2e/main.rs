//! `waft` against real sshd, as a user runs it.

mod attack;
mod audit;
mod blobs;
mod callees;
mod check;
mod component;
mod counters;
mod demo;
mod direct;
mod explain;
mod faults;
mod home;
mod library;
mod malformed;
mod matrix;
mod node_policy;
mod operator;
mod other_stub;
mod params;
mod policy;
mod results;
mod script;
mod secrets;
mod sign;
mod site;
mod ssh_config;
mod tasks;
mod via;
mod whole;

use std::time::Duration;

/// More than anything here takes; a test that reaches it is stuck, and the harness says in what.
const LIMIT: Duration = Duration::from_secs(120);
