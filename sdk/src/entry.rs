//! From parameters on stdin to a result on stdout: what every task does around its own work.

use crate::outcome::failure;
use crate::{Error, Outcome, exit, params};
use serde::de::DeserializeOwned;
use std::io::Write;
use std::process::ExitCode;

/// Whether this is a dry run: change nothing, and say what would be changed. What a task writes to files in spite of it
/// is thrown away by the host, and is what `--diff` shows.
pub fn is_check() -> bool {
    #[cfg(not(target_arch = "wasm32"))]
    if crate::testing::is_check() {
        return true;
    }
    std::env::var_os("WAFT_CHECK").is_some()
}

/// The main function of a task: reads its parameters, runs it, prints what it answers.
///
/// Exit codes: 0; [`exit::USAGE`] when the parameters are not those of the task (code `params.*`); [`exit::REFUSED`] when
/// the host refused something (code `grant.*`); else [`exit::FAILED`].
pub fn main<P: DeserializeOwned, E: Into<Error>>(run: impl FnOnce(P) -> Result<Outcome, E>) -> ExitCode {
    match params::<P>().and_then(|params| run(params).map_err(Into::into)) {
        Ok(outcome) => print(&outcome.to_result(), 0),
        Err(error) => print(&failure(&error), exit_code(&error)),
    }
}

fn exit_code(error: &Error) -> u8 {
    match error.code.split('.').next() {
        Some("params") => exit::USAGE,
        Some("grant") => exit::REFUSED,
        _ => exit::FAILED,
    }
}

/// Ends a task as failed, with all of this outcome: for a failure that has more to tell than an [`Error`]. Its field
/// `error` says why.
pub fn fail(outcome: &Outcome) -> ! {
    print(&outcome.to_result(), exit::FAILED);
    std::process::exit(exit::FAILED.into())
}

fn print(json: &str, code: u8) -> ExitCode {
    match writeln!(std::io::stdout(), "{json}") {
        Ok(()) => ExitCode::from(code),
        // Nobody reads any more; there is nobody to tell either.
        Err(_) => ExitCode::from(exit::FAILED),
    }
}

/// The main function of a task and its manifest: `waft_sdk::task!(run, manifest = "../waft.toml");`, where
/// `fn run(params: P) -> Result<Outcome, Error>`. The path is as in `include_bytes!`.
/// Of this crate without its feature `macros`, whose `#[waft::task]` has the same name.
#[cfg(not(feature = "macros"))]
#[macro_export]
macro_rules! task {
    ($run:path, manifest = $manifest:literal) => {
        /// What the task says of itself: a custom section of the module.
        #[cfg(target_arch = "wasm32")]
        #[expect(
            unsafe_code,
            reason = "the attribute could hide a symbol of somebody else; a custom section cannot"
        )]
        #[used]
        #[unsafe(link_section = "waft.task")]
        static MANIFEST: [u8; include_bytes!($manifest).len()] = *include_bytes!($manifest);

        fn main() -> ::std::process::ExitCode {
            $crate::main($run)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whose_fault_it_is() {
        for (code, expected) in
            [("params.invalid", 2), ("grant.missing", 125), ("file.denied", 1), ("", 1), ("paramsx", 1)]
        {
            assert_eq!(exit_code(&Error::new(code, "")), expected, "{code}");
        }
    }
}
