//! `waft __compile ARCH PROFILE MEMORY CPU`: a module on stdin, the artifact on stdout, behind walls. Which of them could
//! not be raised is said on stderr, a line each, before anything else.

use super::walls::{self, Limits};
use super::{MODULE_BYTES_MAX, profile_word};
use std::io::{Read, Write};
use std::process::ExitCode;
use waft_proto::msg::{Arch, Engine, Profile};

/// How a line begins that tells of a wall that is missing.
pub const WALL_MARK: &str = "without the wall ";

/// Must be called while the process has one thread: the walls are raised around that, and those that it starts.
pub fn main(args: &[String]) -> ExitCode {
    match child(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // The parent reads it; there is nobody else.
            let _ = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn child(args: &[String]) -> Result<(), String> {
    let [arch, profile, memory, cpu] = args else {
        return Err("usage: __compile ARCH PROFILE MEMORY_BYTES CPU_SECONDS".to_owned());
    };
    let arch = Arch::parse(arch).ok_or("an unknown architecture")?;
    let profile = [Profile::Fast, Profile::Small]
        .into_iter()
        .find(|known| profile_word(*known) == profile)
        .ok_or("an unknown profile")?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no limit"));
    let limits = Limits { memory_bytes: number(memory)?, cpu_seconds: number(cpu)? };
    for (wall, why) in walls::raise(&walls::ALL, &limits) {
        let _ = writeln!(std::io::stderr(), "{WALL_MARK}{wall}: {why}");
    }
    let mut wasm = Vec::new();
    let read = std::io::stdin().lock().take(MODULE_BYTES_MAX as u64 + 1).read_to_end(&mut wasm);
    read.map_err(|error| format!("the module could not be read: {error}"))?;
    let artifact =
        waft_engine::compile(Engine { arch, profile }, &wasm).map_err(|error| format!("{error:#}"))?;
    std::io::stdout()
        .lock()
        .write_all(&artifact)
        .map_err(|error| format!("the artifact could not be written: {error}"))
}
