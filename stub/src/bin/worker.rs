//! `waft-worker`: runs one component for a stub that has no runtime for components. Comes with the run, as a blob that
//! the controller's signature names; see docs/decisions/0028.

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
#[path = "../absent.rs"]
mod absent;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == "--worker") && args.next().is_none() {
        return waft_stub::worker::components_main();
    }
    eprintln!("waft-worker is started by waft-stub, not by hand.");
    ExitCode::from(2)
}
