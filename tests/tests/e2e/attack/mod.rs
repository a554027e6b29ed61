//! Attacks by real modules, built from tests/guests, over real sshd: as root and as an ordinary user, with wasmtime's wall
//! alone (`wall = "off"`) and with the kernel's (`required`). The kernel's alone are in `stub/tests/walls.rs`.
//!
//! One order goes to all of these at once, and the links stay: what an attack did to a stub, the next one finds.

pub(crate) mod arena;
mod components;
mod daemons;
mod escapes;
mod files;
mod floods;
mod forged;
mod nets;
mod page;
mod pointers;
mod said;
mod special;
mod targets;
