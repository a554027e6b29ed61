//! The Rust binding of a waft task.
//!
//! A task needs none of this: it is a WASI preview 1 command that reads one JSON object from stdin, prints one to
//! stdout, logs to stderr and exits with 0..=125. What WASI has no word for is the import module `waft_v1`, and this
//! crate wraps it:
//!
//! | import | request | reply |
//! |---|---|---|
//! | `facts(ptr, len) -> i32` | `{}` | the target's facts, one object |
//! | `exec(ptr, len) -> i32` | `{"argv": [..], ..}` | how the program ended; none with `"replace": true`: the task has become the program |
//! | `file`, `net`, `task`, `blob`, `secret`, `emit` | one object each, see docs/waft-v1.md | one object |
//! | `take(ptr, len) -> i32` | | copies the pending reply, answers the bytes copied |
//! | `read(handle, ptr, len)`, `write(handle, ptr, len)` | | bytes moved; 0 is the end; -4: `take` has the reason |
//!
//! Requests and replies are UTF-8 JSON. A call answers the length of its reply, which stays with the host until `take`
//! or the next call; a negative number says that the host could not read the request at all. A refusal is a reply:
//! `{"error": {"code", "message", "hint"}}`.
//!
//! What it may not do: decide anything. Grants are checked on the other side of these calls, never here.

#[cfg(any(target_arch = "wasm32", test))]
mod base64;
#[cfg(any(target_arch = "wasm32", test))]
mod call;
mod error;
#[cfg(any(target_arch = "wasm32", test))]
pub mod exec;
#[cfg(any(target_arch = "wasm32", test))]
pub mod file;
#[cfg(any(target_arch = "wasm32", test))]
mod more;
mod params;
#[cfg(test)]
mod script;

pub use error::Error;
#[cfg(any(target_arch = "wasm32", test))]
pub use more::Called;
pub use params::{PARAMS_BYTES_MAX, params, params_from};

#[cfg(target_arch = "wasm32")]
pub use guest::{exec_replace, facts};
#[cfg(target_arch = "wasm32")]
pub use more::{Blob, Connection, call_task, log, progress, resolve, secret};

/// Exit codes the tasks shipped with waft agree on. A guest's own are 0..=125; from 126 on waft reports `failed`.
pub mod exit {
    /// The parameters are not what the task takes; nothing was done.
    pub const USAGE: u8 = 2;
    /// The host refused what the task asked for, or could not do it.
    pub const REFUSED: u8 = 125;
}

#[cfg(target_arch = "wasm32")]
mod guest {
    use crate::{Error, call};

    /// The facts of the target: the text of one JSON object, named as in Ansible's setup module without the prefix.
    /// Needs the grant `facts`.
    pub fn facts() -> Result<String, Error> {
        call::facts(&mut call::Imports)
    }

    /// Becomes the program `argv`, as exec(3) does: its output and exit code are the task's from here on. Needs the
    /// grant `exec:` for exactly these words. Returns only when that did not happen, with the reason.
    pub fn exec_replace(argv: &[String], stdin: Option<&str>) -> Error {
        call::exec_replace(&mut call::Imports, argv, stdin)
    }
}
