//! What a waft node does with its links: the loop that drives [`waft_proto::node::Node`], the delivery of
//! a stub over a shell, and the ways to reach a target (SSH, the system's `ssh`, a local process).
//!
//! The controller and every relay run this same code; a leaf runs only the loop. Knows no plans, no task
//! formats and no terminal.

pub mod delivery;
pub mod dial;
pub mod driver;
pub mod intro;
#[cfg(feature = "liar")]
mod liar;
pub mod process;
#[cfg(feature = "ssh")]
pub mod ssh;
pub mod stream;
