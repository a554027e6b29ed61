//! Certificates: what is in them, and what a server shows.

pub mod certificate;
pub mod hello;
