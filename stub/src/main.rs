//! `waft-stub`: brought to a target by `waft`, runs its tasks there, and goes when its link goes.
//!
//! Not for people: it speaks the waft protocol on stdin and stdout.

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod absent;
#[cfg(feature = "site")]
mod installed;
#[cfg(feature = "hop")]
mod relay;
mod serve;
mod stdio;

use std::path::Path;
use std::process::ExitCode;
use waft_proto::msg::{Arch, Engine, Hello, StubKind};
use waft_proto::{VERSION_MAX, VERSION_MIN};
use waft_stub::policy::NodePolicy;
use waft_stub::secret::Key;

const KIND: StubKind = if cfg!(feature = "hop") { StubKind::Hop } else { StubKind::Leaf };

const USAGE: &str = "waft-stub is started by waft, not by hand.
  waft-stub --link HOW   speak the waft protocol on stdin and stdout; HOW says how it came here
  waft-stub --policy FILE --link HOW   the same, under this policy and not /etc/waft/policy.toml
  waft-stub --version    print its release, kind and architecture
";
#[cfg(feature = "site")]
const SITE_USAGE: &str = "  waft-stub --as NAME    for sshd's forced commands: the same for the controller NAME only, by /etc/waft/policy.toml
  waft-stub --as NAME --policy FILE   by another policy, which is root's, too
  waft-stub --node-key   print the public key of this node; make it when there is none
  waft-stub --node-key ACCOUNT   the same for the account that controllers log in as; for root
";
#[cfg(not(feature = "site"))]
const SITE_USAGE: &str = "";

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--worker"] => waft_stub::worker::main(),
        ["--link", how] => link(how, || NodePolicy::read(Path::new(waft_stub::policy::FILE), 0)),
        ["--policy", file, "--link", how] | ["--link", how, "--policy", file] => {
            // Whoever starts it with a policy of his own may write that.
            link(how, || NodePolicy::read(Path::new(file), rustix::process::getuid().as_raw()))
        }
        #[cfg(feature = "site")]
        ["--as", name] => forced(name, waft_stub::policy::FILE),
        #[cfg(feature = "site")]
        ["--as", name, "--policy", file] | ["--policy", file, "--as", name] => forced(name, file),
        #[cfg(feature = "site")]
        ["--node-key"] => node_key(None, waft_stub::policy::FILE),
        #[cfg(feature = "site")]
        ["--node-key", account] => node_key(Some(account), waft_stub::policy::FILE),
        #[cfg(feature = "site")]
        ["--node-key", account, "--policy", file] => node_key(Some(account), file),
        #[cfg(feature = "site")]
        ["--compile", profile, wall] => waft_stub::site::compile::main(profile, wall),
        ["--version"] => {
            let arch = Arch::here().map_or("unknown", Arch::word);
            let kind = if cfg!(feature = "site") { "site" } else { KIND.word() };
            println!("waft-stub {} {kind} {arch}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}{SITE_USAGE}");
            ExitCode::from(2)
        }
    }
}

fn link(how: &str, policy: impl FnOnce() -> NodePolicy) -> ExitCode {
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
    let policy = policy();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, parent) = match (runtime, stdio::link()) {
        (Ok(runtime), Ok(parent)) => (runtime, parent),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("waft-stub: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    // After the keeper was left behind, which has no use for it.
    let key = match Key::new() {
        Ok(key) => key,
        Err(error) => {
            eprintln!("waft-stub: this system gives no random numbers: {error}");
            return ExitCode::FAILURE;
        }
    };
    let hello = Hello { seal_key: key.public(), ..hello(arch, how, &policy, walls) };
    let local = tokio::task::LocalSet::new();
    #[cfg(feature = "site")]
    let hello = identified(hello, &policy);
    local.block_on(&runtime, serve::serve(hello, policy.clone(), key, parent));
    ExitCode::SUCCESS
}

/// What sshd starts for a controller, whatever that asked for. Nothing of what it asked is executed.
#[cfg(feature = "site")]
fn forced(name: &str, policy: &str) -> ExitCode {
    match waft_stub::site::forced::Session::here().check(name) {
        Ok(()) => link("installed", || NodePolicy::forced(Path::new(policy), name)),
        Err(why) => {
            eprintln!("waft-stub: {why}");
            ExitCode::from(REFUSED)
        }
    }
}

/// Exit code of a login that is not for this.
#[cfg(feature = "site")]
const REFUSED: u8 = 5;

#[cfg(feature = "site")]
fn node_key(account: Option<&str>, policy: &str) -> ExitCode {
    let policy = waft_policy::file::read(Path::new(policy), 0);
    let settings = policy.map(|policy| policy.map(|policy| policy.site).unwrap_or_default());
    match settings.and_then(|settings| waft_stub::site::key::public_of(account, &settings)) {
        Ok(key) => {
            println!("{key}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("waft-stub: {}", problem.message);
            if let Some(hint) = problem.hint {
                eprintln!("{hint}");
            }
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "site")]
fn identified(mut hello: Hello, policy: &NodePolicy) -> Hello {
    if let Some(site) = policy.site() {
        site.identify(&mut hello);
    }
    hello
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
        compiles: policy.compiles(),
    }
}

/// How long the word on the delivery may be, characters.
const HOW_CHARS_MAX: usize = 200;
