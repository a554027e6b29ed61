//! A host for tests of tasks, in the place of a target's. Only where tests run: nothing of it is in a module.
//!
//! ```
//! use waft_sdk::testing::{Fake, Reply};
//! use waft_sdk::{Outcome, Result, exec::Program};
//! use waft_sdk::serde_json::{Map, Value, json};
//!
//! fn run(_: Map<String, Value>) -> Result<Outcome> {
//!     let words = ["systemctl", "is-active", "web"].map(String::from);
//!     let output = Program { argv: words.to_vec(), ..Program::default() }.run()?;
//!     Ok(Outcome::ok().with("active", &output.is_success()))
//! }
//!
//! let host = Fake::new().probe(&["systemctl", "is-active", "*"], Reply::new().exit(3)).check();
//! let outcome = host.run(run, json!({})).unwrap();
//! assert_eq!(outcome.field("active"), Some("false"));
//! assert_eq!(host.calls()[0].request["argv"][2], "web");
//! ```

mod dialog;
mod fake;
mod files;
mod program;

use crate::call::NO_HOST;
use crate::{Error, Outcome};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::cell::{Cell, RefCell};

pub use crate::call::Host;
pub use dialog::Dialog;
pub use fake::{Call, Fake};
pub use program::Reply;

thread_local! {
    static HOST: RefCell<Option<Box<dyn Host>>> = const { RefCell::new(None) };
    static CHECK: Cell<bool> = const { Cell::new(false) };
}

/// Runs a task that calls no host: `run(task, json!({"name": "you"}))`. See [`Fake::run`].
pub fn run<P, E>(task: impl FnOnce(P) -> Result<Outcome, E>, params: Value) -> Result<Outcome, Error>
where
    P: DeserializeOwned,
    E: Into<Error>,
{
    Fake::new().run(task, params)
}

/// Runs `test` with that host under each call to one, in this thread.
pub fn with_host<T>(host: impl Host + 'static, test: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also when the test panics.
    struct Before(Option<Box<dyn Host>>);
    impl Drop for Before {
        fn drop(&mut self) {
            HOST.set(self.0.take());
        }
    }
    let _before = Before(HOST.replace(Some(Box::new(host))));
    test()
}

/// Runs `test` as in a dry run, or not.
fn with_check<T>(check: bool, test: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            CHECK.set(self.0);
        }
    }
    let _before = Before(CHECK.replace(check));
    test()
}

pub(crate) fn is_check() -> bool {
    CHECK.get()
}

pub(crate) fn with(call: impl FnOnce(&mut dyn Host) -> i32) -> i32 {
    HOST.with_borrow_mut(|host| match host {
        Some(host) => call(&mut **host),
        None => NO_HOST,
    })
}
