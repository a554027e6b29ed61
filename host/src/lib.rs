//! The controller of waft: from a command line to results, over a tree of stubs.
//!
//! ```text
//! argv, files -> cli -> inventory + select -> tree -> controller -> hop, links ==SSH==> stubs
//!                                               ^          |
//!     terminal, JSONL, JSON <- report <- events <- run <---+   compile: module -> artifact, cached
//! ```
//!
//! The library emits events; only [`report`] shows them, and only [`cli`] knows clap and prints.

pub mod along;
pub mod audit;
pub mod census;
pub mod cli;
pub mod compile;
pub mod controller;
pub mod demo;
pub mod dry;
pub mod event;
pub mod explain;
pub mod files;
pub mod identity;
pub mod inventory;
pub mod manifest;
pub mod memory;
pub mod new;
pub mod operator;
pub mod params;
mod proof;
pub mod report;
pub mod run;
mod said;
pub mod script;
pub mod search;
pub mod secret;
pub mod select;
pub mod ssh;
pub mod ssh_config;
pub mod stubs;
pub mod task;
pub mod tree;
