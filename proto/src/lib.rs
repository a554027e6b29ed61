//! The language both ends of a waft link speak.
//!
//! Pure: no clock, no IO, no randomness, no runtime, no standard library. Time and bytes are arguments;
//! what must be sent, and what a node must do, comes back as values. So the same code is driven by sockets
//! in the stub and the controller, by a fuzzer, and by a simulator of a thousand nodes.
//!
//! ```text
//!            bytes                 messages                  orders, reports
//!  socket ==========> frame, link ==========> node ====================> the owner's events
//!                     (credit, keep-alive)    (routes, blobs, runs)
//! ```
//!
//! `docs/protocol.md` describes the wire; [`limits`] has every bound.
#![no_std]

extern crate alloc;

pub mod envelope;
pub mod frame;
pub mod grant;
pub mod id;
pub mod limits;
pub mod link;
pub mod msg;
pub mod node;
#[cfg(feature = "pack")]
pub mod pack;
pub mod run;
pub mod seal;
pub mod secret;
pub mod store;
pub mod unpack;

/// Protocol versions this code speaks. The number goes up when a message changes or is added; the lowest
/// goes up when the code for an old form is deleted. Both ends say their range in their first frame and use
/// the highest common one. Golden bytes of every version stay in `tests/golden`.
pub const VERSION_MIN: u16 = 1;
pub const VERSION_MAX: u16 = 1;
