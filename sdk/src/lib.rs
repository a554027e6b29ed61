//! The Rust binding of a waft task. With the feature `macros`, `#[waft::task]` makes a program and its manifest of a function, and
//! `#[derive(waft::Params)]` reads its parameters; without it, there are [`main`] and [`params()`]. [`testing`] runs a task without
//! WebAssembly.
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

// What the macros make names this crate as a project of `waft new` does.
extern crate self as waft;

mod base64;
mod call;
mod entry;
mod error;
pub mod exec;
pub mod file;
mod more;
mod outcome;
mod params;
pub mod raw;
mod read;
#[doc(hidden)]
pub mod schema;
#[cfg(test)]
mod script;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use entry::{fail, is_check, main};
pub use error::Error;
pub use more::{Called, File};
pub use outcome::{Outcome, RESULT_BYTES_MAX};
pub use params::{PARAMS_BYTES_MAX, params, params_from};
pub use schema::Params;
pub use {serde, serde_json};

pub use guest::{exec_replace, facts, facts_as};
pub use more::{Blob, Connection, call_task, log, progress, resolve, secret};

/// What a task returns; of another error type, if that can be turned into [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The main function of a task, and its manifest as a section of the module.
///
/// ```
/// # extern crate waft_sdk as waft;
/// use waft::{Outcome, Params, Result};
///
/// #[derive(Params)]
/// struct Greeting {
///     /// Whom to greet.
///     #[param(default = "world")]
///     name: String,
/// }
///
/// /// Greets somebody.
/// #[waft::task(name = "hello", grants = ["facts"], check)]
/// fn run(params: Greeting) -> Result<Outcome> {
///     Ok(Outcome::ok().msg(format!("Hello, {}!", params.name)))
/// }
/// ```
///
/// | word | |
/// |---|---|
/// | `name = ".."` | without it, the name of the package |
/// | `version = ".."` | without it, that of the package |
/// | `description = ".."` | without it, the doc comment of the function, else the description of the package |
/// | `grants = ["facts", ..]` | what the task asks for; `"given"`: whatever it is given |
/// | `check` | it does something sensible in a dry run |
/// | `more = "../more.toml"` | a file with further tables of the manifest: `[result.X]`, `[[examples]]`, `[secrets.X]` |
///
/// The function has one parameter, a type with [`macro@Params`], or none. It returns `Result<Outcome, E>`, where `E` is
/// [`Error`] or can be turned into it: `?` works on errors of `std::io` and of `serde_json`.
#[cfg(feature = "macros")]
pub use waft_sdk_macros::task;

/// Parameters: how they are read, and their schema, which [`macro@task`] writes into the manifest.
///
/// On a struct with named fields, or on an enum whose variants are words. A doc comment is the description; an `Option`
/// may be missing. What is no field is refused. It makes serde's `Deserialize` as well: derive that not yourself.
///
/// ```
/// # extern crate waft_sdk as waft;
/// #[derive(waft::Params)]
/// struct Site {
///     /// Where it lies.
///     #[param(alias = "dest")]
///     path: String,
///     #[param(default = "present")]
///     state: State,
///     #[param(default = 80, minimum = 1)]
///     port: u16,
///     owner: Option<String>,
///     #[param(default = ["index.html"], max_items = 8)]
///     index: Vec<String>,
///     #[param(sensitive)]
///     password: Option<String>,
/// }
///
/// #[derive(waft::Params, Debug, PartialEq)]
/// enum State {
///     Present,
///     Absent,
/// }
///
/// let site: Site = waft::serde_json::from_str(r#"{"dest": "/srv/www"}"#).unwrap();
/// assert_eq!((site.path.as_str(), site.state, site.port), ("/srv/www", State::Present, 80));
/// ```
///
/// | `#[param(..)]` | |
/// |---|---|
/// | `default = ..` | a text, number, boolean, or a list of these |
/// | `choices = ["a", "b"]` | of a `String` |
/// | `minimum`, `maximum` | of a number |
/// | `min_length`, `max_length`, `pattern` | of a `String`; the pattern is looked at by the controller alone |
/// | `min_items`, `max_items` | of a `Vec` |
/// | `alias = ".."` | another name; may be repeated |
/// | `rename = ".."` | its name, when that is not the field's; also of a variant |
/// | `sensitive` | waft shows it nowhere |
///
/// Fields may be texts, numbers, booleans, [`File`], `Vec`, `Option`, `serde_json::Value`, maps from `String`, and types
/// that derive `Params` themselves.
#[cfg(feature = "macros")]
pub use waft_sdk_macros::Params;

/// Exit codes the tasks shipped with waft agree on. A guest's own are 0..=125; from 126 on waft reports `failed`.
pub mod exit {
    /// The task did not do what it should, and says why.
    pub const FAILED: u8 = 1;
    /// The parameters are not what the task takes; nothing was done.
    pub const USAGE: u8 = 2;
    /// The host refused what the task asked for, or could not do it.
    pub const REFUSED: u8 = 125;
}

mod guest {
    use crate::{Error, call};
    use serde::de::DeserializeOwned;

    /// The facts of the target: the text of one JSON object, named as in Ansible's setup module without the prefix.
    /// Needs the grant `facts`.
    pub fn facts() -> Result<String, Error> {
        call::facts(&mut call::Imports)
    }

    /// The facts that are fields of `T`.
    ///
    /// ```
    /// # use waft_sdk::{Error, Outcome, testing::Fake, serde_json::{Value, json}};
    /// #[derive(waft_sdk::serde::Deserialize)]
    /// # #[serde(crate = "waft_sdk::serde")]
    /// struct Machine {
    ///     hostname: String,
    ///     processor_count: u32,
    /// }
    /// # let host = Fake::new().facts(json!({"hostname": "web1", "processor_count": 2, "kernel": "6.1"}));
    /// # host.run(|_: Value| -> Result<Outcome, Error> {
    /// let machine: Machine = waft_sdk::facts_as()?;
    /// assert_eq!((machine.hostname.as_str(), machine.processor_count), ("web1", 2));
    /// # Ok(Outcome::ok()) }, json!({})).unwrap();
    /// ```
    pub fn facts_as<T: DeserializeOwned>() -> Result<T, Error> {
        let facts = facts()?;
        serde_json::from_str(&facts)
            .map_err(|e| Error::new("waft_v1.reply", format!("the facts are not what this task knows: {e}")))
    }

    /// Becomes the program `argv`, as exec(3) does: its output and exit code are the task's from here on. Needs the
    /// grant `exec:` for exactly these words. Returns only when that did not happen, with the reason.
    ///
    /// ```
    /// # use waft_sdk::{Error, Outcome, testing::{Fake, Reply}, serde_json::{Value, json}};
    /// # let host = Fake::new().program(&["apt-get", "**"], Reply::new());
    /// fn upgrade() -> Error {
    ///     waft_sdk::exec_replace(&["apt-get", "-y", "upgrade"].map(String::from), None)
    /// }
    /// # let replaced = host.run(|_: Value| -> Result<Outcome, Error> { Err(upgrade()) }, json!({}));
    /// # assert_eq!(replaced.unwrap_err().code, "exec.replaced");
    /// ```
    pub fn exec_replace(argv: &[String], stdin: Option<&str>) -> Error {
        call::exec_replace(&mut call::Imports, argv, stdin)
    }
}
