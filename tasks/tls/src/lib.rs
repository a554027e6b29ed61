//! TLS 1.2 and 1.3 over the connections that the host opens: the host moves bytes, what is in them is the task's own.

mod error;
mod look;
mod options;
mod provider;
mod spki;
mod stream;
mod trust;
pub mod web;

pub use look::{Seen, look};
pub use options::{Options, Tls};
pub use stream::Stream;
