//! A target that has no interpreter of its own, and a controller that keeps what it compiled.

use rustix::fs::FlockOperation;
use serde_json::{Value, json};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use waft_tests::lab::Lab;
use waft_tests::machine::{Login, Machine};
use waft_tests::waft::{Output, Waft};
use waft_tests::{Context, Error, Result};

/// One run, beside others on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// CPython, compiled by a waft that is not optimised, on a busy machine.
const COMPILE_LIMIT: Duration = Duration::from_secs(400);
pub(crate) const TARGET: &str = "bare";
/// Interpreters that others would run scripts with.
const INTERPRETERS: [&str; 9] =
    ["python3", "python", "node", "nodejs", "qjs", "deno", "lua", "lua5.4", "luajit"];

pub(crate) struct Desk {
    lab: Lab,
    pub(crate) machine: Machine,
}

impl Desk {
    /// For scripts of this task, whose artifact is at hand then.
    pub(crate) fn of(task: &str) -> Result<Desk> {
        warm(task)?;
        let lab = Lab::of(0)?;
        let machine = Machine::start(&lab, TARGET, Login::Ordinary, None)?;
        // The only one that the machine has, with its library.
        for file in ["/usr/bin/python3", "/usr/lib/python3"] {
            let path = machine.path(file);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
        for dir in ["/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin"] {
            let there = machine.path(dir);
            for name in INTERPRETERS {
                assert!(!there.join(name).exists(), "{dir}/{name} is there");
            }
        }
        Ok(Desk { lab, machine })
    }

    /// Runs a script with these parameters, grants and further words.
    pub(crate) fn script(&self, script: &Script, grants: &[&str], words: &[&str]) -> Result<Output> {
        let waft = Waft::new("run")?.env("XDG_CACHE_HOME", cache()).lab(&self.lab).limit(LIMIT);
        let waft = local(waft).args([script.task, "-t", TARGET, "--format", "jsonl", "--params", "-"]);
        let waft = grants.iter().fold(waft, |waft, grant| waft.args(["--allow", grant]));
        waft.args(words).stdin(script.params().to_string()).run()
    }

    /// The same, and the event `result`; the run has to end with this code.
    pub(crate) fn result(
        &self,
        script: &Script,
        grants: &[&str],
        words: &[&str],
        code: i32,
    ) -> Result<Value> {
        self.script(script, grants, words)?.expect_code(code)?.result_of(TARGET)
    }

    /// A program of the target, in the same way as anybody would start it.
    pub(crate) fn exec(&self, argv: &[&str]) -> Result<Output> {
        let waft = Waft::new("exec")?.lab(&self.lab).limit(LIMIT);
        waft.args(["-t", TARGET, "--format", "jsonl", "--"]).args(argv).run()
    }
}

pub(crate) struct Script {
    pub(crate) task: &'static str,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) params: Value,
}

impl Script {
    fn params(&self) -> Value {
        json!({ "script": self.text, "name": self.name, "params": self.params, "args": ["one", "two"] })
    }
}

/// For whoever works on an interpreter: its component in this directory goes before the one that is built in.
fn local(waft: Waft) -> Waft {
    match std::env::var_os("WAFT_TASKS_DIR") {
        Some(dir) => waft.env("WAFT_PATH", dir),
        None => waft,
    }
}

/// Kept from one run of the tests to the next.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interpreters/cache")
}

/// Compiles the interpreter once, whichever test comes first.
fn warm(task: &str) -> Result<()> {
    let cache = cache();
    let doing = || format!("cannot use {}", cache.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&cache).context(doing)?;
    let lock = File::create(cache.join(format!("{task}.lock"))).context(doing)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| Error::new(format!("{}: {error}", doing())))?;
    let waft = Waft::new("run")?.env("XDG_CACHE_HOME", &cache).limit(COMPILE_LIMIT);
    let ran = local(waft).args([task, "-t", "local", "--params", "-"]).stdin(r#"{"script": ""}"#).run()?;
    // What lacks it says how to get it.
    ran.expect_code(0).map(drop)
}
