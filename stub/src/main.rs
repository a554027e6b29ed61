//! `waft-stub`: brought to a target by `waft`, runs its tasks there, and goes when its link goes.
//!
//! Not for people: it speaks the waft protocol on stdin and stdout.

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod absent;
#[cfg(feature = "hop")]
mod relay;
mod serve;
mod stdio;

use std::path::Path;
use std::process::ExitCode;
use waft_proto::msg::{Arch, Engine, Hello, StubKind};
use waft_proto::{VERSION_MAX, VERSION_MIN};
use waft_stub::policy::NodePolicy;

const KIND: StubKind = if cfg!(feature = "hop") { StubKind::Hop } else { StubKind::Leaf };

const USAGE: &str = "waft-stub is started by waft, not by hand.
  waft-stub --link HOW   speak the waft protocol on stdin and stdout; HOW says how it came here
  waft-stub --policy FILE --link HOW   the same, under this policy and not /etc/waft/policy.toml
  waft-stub --version    print its release, kind and architecture
";

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--worker"] => waft_stub::worker::main(),
        ["--link", how] => link(how, None),
        ["--policy", file, "--link", how] | ["--link", how, "--policy", file] => link(how, Some(file)),
        ["--version"] => {
            let arch = Arch::here().map_or("unknown", Arch::word);
            println!("waft-stub {} {} {arch}", env!("CARGO_PKG_VERSION"), KIND.word());
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn link(how: &str, policy: Option<&str>) -> ExitCode {
    let Some(arch) = Arch::here() else {
        eprintln!("waft-stub: no engine for this machine");
        return ExitCode::FAILURE;
    };
    // A stub in a directory needs its name only until it runs.
    if how.starts_with("dir:")
        && let Ok(path) = std::fs::read_link("/proc/self/exe")
    {
        let _ = std::fs::remove_file(path);
    }
    // Before any thread, too: it is tried out in a process that lives for a moment.
    let walls = waft_stub::walls();
    // Before any thread: from here on this is the child of a keeper that outlives it only to clean up.
    if let Err(error) = waft_stub::process::keep() {
        eprintln!("waft-stub: cannot set up the process that cleans up after it: {error}");
        return ExitCode::FAILURE;
    }
    let policy = match policy {
        // Whoever starts it with a policy of his own may write that.
        Some(file) => NodePolicy::read(Path::new(file), rustix::process::getuid().as_raw()),
        None => NodePolicy::read(Path::new(waft_stub::policy::FILE), 0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, parent) = match (runtime, stdio::link()) {
        (Ok(runtime), Ok(parent)) => (runtime, parent),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("waft-stub: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, serve::serve(hello(arch, how, &policy, walls), policy.clone(), parent));
    ExitCode::SUCCESS
}

fn hello(arch: Arch, how: &str, policy: &NodePolicy, walls: Vec<String>) -> Hello {
    let system = rustix::system::uname();
    let uid = rustix::process::getuid().as_raw();
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        kind: KIND,
        engine: Engine { arch, profile: waft_stub::profile() },
        release: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: system.nodename().to_string_lossy().into_owned(),
        kernel: system.release().to_string_lossy().into_owned(),
        user: waft_stub::user_name(uid),
        uid,
        pid: std::process::id(),
        delivery: how.chars().take(HOW_CHARS_MAX).collect(),
        policy: policy.word(),
        walls,
        seal_key: [0; 32],
        identity: None,
        compiles: false,
    }
}

/// How long the word on the delivery may be, characters.
const HOW_CHARS_MAX: usize = 200;
