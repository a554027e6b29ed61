//! What both programs attack with.

pub mod escape;
pub mod flood;
pub mod report;
pub mod wasi;
