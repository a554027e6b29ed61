//! A project as `waft new task` makes it, with the toolchain of its language in front of PATH.

use serde_json::Value;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use waft_tests::lab::Lab;
use waft_tests::process::{self, Finished};
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft, binary};
use waft_tests::{Error, Result};

/// More than any run here takes.
const RUN_LIMIT: Duration = Duration::from_secs(300);
/// A first build with everything that it needs, on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(900);
/// What waft keeps of a project's modules.
const CACHE: &str = ".cache";
/// Of a lab's only host.
pub(crate) const TARGET: &str = "h1";

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository")
}

/// One target behind a real sshd.
pub(crate) fn lab() -> Result<Lab> {
    Lab::builder().host(HostSpec::new(TARGET)).start()
}

/// Its directory is always the same, so that what was compiled for it is found again; afterwards it is gone.
pub(crate) struct Project {
    /// All that is removed in the end: `dir`, or the directory in which lines are typed.
    top: PathBuf,
    dir: PathBuf,
    name: String,
    /// What its tools need to be found.
    environment: Vec<(OsString, OsString)>,
}

impl Project {
    /// `waft new task NAME --lang LANG`. No two tests use one name.
    pub(crate) fn new(language: &str, name: &str) -> Result<Project> {
        let dir = place(language, name);
        let environment = environment(language)?;
        let project = Project { top: dir.clone(), dir, name: name.to_owned(), environment };
        let made =
            Waft::new("new")?.args(["task", name, "--lang", language, "--dir"]).arg(&project.dir).run()?;
        let made = made.expect_code(0)?;
        assert!(made.stdout().contains(&format!("{name}.wasm")), "{made}");
        if let Some(modules) = node_modules(language, &project.environment) {
            symlink(modules, project.path("node_modules")).expect("a link");
            // What is there is newer than what names it, so `make` leaves it alone.
            let names = fs::File::options().write(true).open(project.path("package.json")).expect("a file");
            names.set_modified(SystemTime::UNIX_EPOCH).expect("a time");
        }
        Ok(project)
    }

    /// A directory in which such a project is made by typing; `waft` is in PATH, with a home of its own.
    pub(crate) fn none_yet(language: &str, name: &str) -> Result<Project> {
        // One test follows the page of a language, with whatever name.
        let top = place(language, "page");
        let mut environment = environment(language)?;
        let programs = top.join(".bin");
        fs::create_dir_all(&programs).expect("a directory");
        let homes = ["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"];
        let homes = homes.map(|name| format!("export {name}='{}'\n", top.join(CACHE).display()));
        let waft = format!("#!/bin/sh\n{}exec '{}' \"$@\"\n", homes.concat(), binary()?.display());
        fs::write(programs.join("waft"), waft).expect("a script");
        fs::set_permissions(programs.join("waft"), Permissions::from_mode(0o755)).expect("its mode");
        let known = environment.iter().rfind(|(name, _)| name == "PATH").map(|(_, path)| path.clone());
        let mut path: OsString = programs.into();
        path.push(":");
        path.push(known.or_else(|| std::env::var_os("PATH")).unwrap_or_default());
        environment.push(("PATH".into(), path));
        // What was downloaded once is not asked for again.
        environment.push(("npm_config_prefer_offline".into(), "true".into()));
        Ok(Project { dir: top.join(name), top, name: name.to_owned(), environment })
    }

    /// A line, as a user types it, which has to work; what it printed.
    pub(crate) fn typed(&self, line: &str) -> Result<String> {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(&self.top).envs(self.environment.iter().cloned());
        let done = process::run(command, b"", BUILD_LIMIT)?;
        let said = format!("{}{}", done.stdout_text(), done.stderr_text());
        match done.status.success() {
            true => Ok(said),
            false => Err(Error::new(format!("{line} ({}):\n{said}", done.status))),
        }
    }

    /// Where lines are typed.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    pub(crate) fn wasm(&self) -> PathBuf {
        self.path(&format!("{}.wasm", self.name))
    }

    /// Any program in the project's directory, with the language's tools; how it ended is for the caller.
    pub(crate) fn program(&self, program: &str, words: &[&str]) -> Result<Finished> {
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.dir).envs(self.environment.iter().cloned());
        process::run(command, b"", BUILD_LIMIT)
    }

    /// `make GOAL`, which has to work; what it printed. No goal: the module, which has to be there then.
    pub(crate) fn make(&self, goal: Option<&str>) -> Result<String> {
        let done = self.program("make", goal.as_slice())?;
        let said = format!("{}{}", done.stdout_text(), done.stderr_text());
        if !done.status.success() {
            return Err(Error::new(format!("make {} ({}):\n{said}", goal.unwrap_or(""), done.status)));
        }
        if goal.is_none() && !self.wasm().is_file() {
            return Err(Error::new(format!("make made no {}:\n{said}", self.wasm().display())));
        }
        Ok(said)
    }

    /// An `npm install` that broke off midway is done again by the next `make`.
    pub(crate) fn installs_again(&self, package: &str) -> Result<()> {
        let package = self.path("node_modules").join(package);
        fs::remove_dir_all(&package).expect("what was installed");
        // npm writes it when all is there.
        fs::remove_file(self.path("node_modules/.package-lock.json")).expect("a file of npm");
        fs::remove_file(self.wasm()).expect("a module");
        self.make(None)?;
        assert!(package.join("package.json").is_file(), "make has not installed {}", package.display());
        Ok(())
    }

    /// `waft run` of the module with these words; on the lab's host, else on `-t local`.
    pub(crate) fn run(&self, lab: Option<&Lab>, words: &[&str]) -> Result<Output> {
        let waft = Waft::new("run")?.env("XDG_CACHE_HOME", self.top.join(CACHE)).limit(RUN_LIMIT);
        let waft = match lab {
            Some(lab) => waft.lab(lab).args(["-t", TARGET]),
            None => waft.args(["-t", "local"]),
        };
        waft.arg(self.wasm()).args(["--format", "jsonl"]).args(words).run()
    }

    /// The same, and the event `result`; the run has to end with this code.
    pub(crate) fn result(&self, lab: Option<&Lab>, words: &[&str], code: i32) -> Result<Value> {
        let target = if lab.is_some() { TARGET } else { "local" };
        self.run(lab, words)?.expect_code(code)?.result_of(target)
    }

    /// What every template does: it greets whoever the parameter `name` names. Here, and over sshd; in a dry run as
    /// well; and what is no parameter of it is refused by somebody.
    pub(crate) fn greets(&self) -> Result<()> {
        let lab = lab()?;
        for lab in [None, Some(&lab)] {
            let result = self.result(lab, &["-p", "name=you"], 0)?;
            assert_eq!(
                (&result["status"], &result["result"]["msg"]),
                (&"ok".into(), &"Hello, you!".into()),
                "{result}"
            );
            let result = self.result(lab, &["-p", "name=you", "--check"], 0)?;
            assert_eq!(
                (&result["status"], &result["result"]["changed"]),
                (&"ok".into(), &false.into()),
                "{result}"
            );
            let refused = self.run(lab, &["-p", "nmae=you"])?;
            assert!(matches!(refused.code(), Some(2 | 3)), "{refused}");
            assert!(format!("{}{}", refused.stdout(), refused.stderr()).contains("name"), "{refused}");
        }
        Ok(())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // What is still there then is removed by the next run.
        let _ = fs::remove_dir_all(&self.top);
    }
}

/// Always the same, and empty.
fn place(language: &str, name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages").join(format!("{language}-{name}"));
    // What an interrupted run left.
    let _ = fs::remove_dir_all(&place);
    place
}

/// What `npm install` would bring.
fn node_modules(language: &str, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    if !matches!(language, "assemblyscript" | "javascript") {
        return None;
    }
    let (_, path) = environment.iter().find(|(name, _)| name == "PATH")?;
    let programs = std::env::split_paths(path).next()?;
    programs.parent().map(Path::to_owned)
}

/// The variables by which the tools of a language are found. `scripts/languages/LANG.sh` installs those that are missing and
/// prints the directory for PATH.
fn environment(language: &str) -> Result<Vec<(OsString, OsString)>> {
    if language == "rust" {
        let find = Command::new(repository().join("scripts/wasm-toolchain.sh"));
        let rustc = process::run_tool(find, b"")?;
        let target = repository().join("target/languages/rust");
        return Ok(vec![("RUSTC".into(), rustc.trim().into()), ("CARGO_TARGET_DIR".into(), target.into())]);
    }
    let script = repository().join(format!("scripts/languages/{language}.sh"));
    let done = process::run(Command::new(&script), b"", BUILD_LIMIT)?;
    if !done.status.success() {
        return Err(Error::new(format!("{} ({}):\n{}", script.display(), done.status, done.stderr_text())));
    }
    let mut path: OsString = done.stdout_text().trim().into();
    if let Some(old) = std::env::var_os("PATH") {
        path.push(":");
        path.push(old);
    }
    Ok(vec![("PATH".into(), path)])
}
