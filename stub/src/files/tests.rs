//! On real files, as whoever runs the tests; started by root, all of them once more as an ordinary user.

mod anything;
mod changes;
mod escapes;
mod forms;
mod kernel;
mod race;

use super::{Roots, call, subject};
use crate::worker::walls::Dir;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use waft_proto::run::Problem;

/// `nobody`, on every system that has one.
const ORDINARY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A granted directory to write to, one to read, one inside of the former to read, and one that is not granted.
///
/// They lie so deep that no `..` of a test leads out of the temporary directory: where a wall is missing, these tests fail
/// as root, and must not change the machine by that.
struct Place {
    home: TempDir,
    top: PathBuf,
    roots: Roots,
}

impl Place {
    fn new() -> Place {
        let home = tempfile::Builder::new().prefix("waft-files-").tempdir().expect("a directory");
        let top = home.path().join("1/2/3/4/5/6/7/8/9/10/11/12");
        fs::create_dir_all(&top).expect("directories");
        let path = |name: &str| top.join(name).to_str().expect("a plain path").to_owned();
        for dir in ["rw", "rw/dir", "rw/inner", "ro", "outside"] {
            fs::create_dir(path(dir)).expect("a directory");
            fs::set_permissions(path(dir), fs::Permissions::from_mode(0o755)).expect("its mode");
            fs::write(path(&format!("{dir}/file")), dir).expect("a file");
            fs::set_permissions(path(&format!("{dir}/file")), fs::Permissions::from_mode(0o640))
                .expect("its mode");
        }
        let dirs = [("rw", true), ("ro", false), ("rw/inner", false)];
        let dirs = dirs.map(|(dir, writable)| Dir { path: path(dir), writable });
        let roots = Roots::open(&dirs).expect("they are there");
        Place { home, top, roots }
    }

    fn path(&self, name: &str) -> String {
        self.top.join(name).to_str().expect("a plain path").to_owned()
    }

    /// A request whose `path` and `to` are below the top, unless they begin with a slash.
    fn ask(&self, mut request: Value) -> Result<Value, Problem> {
        for field in ["path", "to"] {
            if let Some(path) =
                request.get(field).and_then(Value::as_str).filter(|path| !path.starts_with('/'))
            {
                // Not by `join`, which is for paths that mean something.
                request[field] = format!("{}/{path}", self.path("")).into();
            }
        }
        let answer = call(request.to_string().as_bytes(), &self.roots, "deploy", "web1")?;
        Ok(serde_json::from_str(&answer.text).expect("JSON"))
    }

    fn good(&self, request: Value) -> Value {
        self.ask(request.clone()).unwrap_or_else(|problem| panic!("{request}: {problem:?}"))
    }

    fn bad(&self, request: Value) -> Problem {
        match self.ask(request.clone()) {
            Err(problem) => problem,
            Ok(answer) => panic!("{request} was done: {answer}"),
        }
    }

    fn code(&self, request: Value) -> String {
        self.bad(request).code
    }

    /// Changes something, and then finds that there is nothing to change.
    fn changes_once(&self, request: Value) {
        assert_eq!(self.good(request.clone()), json!({"changed": true}), "{request}");
        let before = self.everything();
        assert_eq!(self.good(request.clone()), json!({"changed": false}), "{request}");
        assert_eq!(self.everything(), before, "{request}: the second time");
    }

    fn stat(&self, path: &str) -> Value {
        self.good(json!({"op": "stat", "path": path}))
    }

    fn everything(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        look(&self.top, &mut all);
        all
    }

    fn outside(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        look(Path::new(&self.path("outside")), &mut all);
        all
    }
}

/// All that can be seen of a directory and what is below. The change time shows what was changed and put back, too.
fn look(path: &Path, all: &mut BTreeMap<String, String>) {
    let Ok(stat) = fs::symlink_metadata(path) else { return };
    let mut names = [0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let content = if stat.is_file() { fs::read(path).unwrap_or_default() } else { Vec::new() };
    let seen = format!(
        "{:o} {}:{} {} {} {}.{} {}.{} {:?} {:?}",
        stat.mode(),
        stat.uid(),
        stat.gid(),
        stat.nlink(),
        stat.ino(),
        stat.mtime(),
        stat.mtime_nsec(),
        stat.ctime(),
        stat.ctime_nsec(),
        &names[..length],
        String::from_utf8_lossy(&content),
    );
    all.insert(path.display().to_string(), seen);
    if stat.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            look(&entry.path(), all);
        }
    }
}

impl Drop for Place {
    /// Whatever a test did to modes, the directories can be removed.
    fn drop(&mut self) {
        fn open_up(dir: &Path) {
            let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open_up(&entry.path());
                }
            }
        }
        open_up(self.home.path());
    }
}

#[test]
fn all_of_it_holds_for_an_ordinary_user() {
    if !is_root() {
        return eprintln!("NOT TESTED AS ROOT: this is an ordinary user already");
    }
    let home = tempfile::Builder::new().prefix("waft-files-").tempdir().expect("a directory");
    std::os::unix::fs::chown(home.path(), Some(ORDINARY), Some(ORDINARY)).expect("an owner");
    // Without a name on the disk that this user may not look up.
    let mut tests = Command::new("/proc/self/exe");
    tests.args(["files::", "--skip", "all_of_it_holds_for_an_ordinary_user"]).env("TMPDIR", home.path());
    let output = tests.uid(ORDINARY).gid(ORDINARY).current_dir("/").output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let passed = told
        .lines()
        .find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u32>().ok());
    let said = format!("{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && passed.is_some_and(|passed| passed >= 20), "{said}");
}
