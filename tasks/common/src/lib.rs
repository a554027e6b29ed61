//! What several of the tasks share. Names and meanings of parameters follow Ansible's modules.

pub mod accounts;
mod base64;
pub mod files;
mod listed;
pub mod programs;
mod readable;
mod scalar;
mod state;
pub mod text;
pub mod web;
mod words;
mod yes;

pub use base64::base64;
pub use listed::listed;
pub use readable::is_readable;
pub use scalar::Scalar;
pub use state::State;
pub use words::Words;
pub use yes::Yes;
