//! What a dry run must not change, and by whom it is tried.

use crate::lab::{Order, Ran, pool_of};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// `nobody`, on every system that has one.
const ORDINARY: u32 = 65534;
/// A tree to work in, everybody's, and the script that a worker is started with.
pub(super) struct Place {
    pub(super) top: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Place {
        let top = tempfile::Builder::new().prefix("waft-check-").tempdir().expect("a directory");
        let place = Place { top };
        fs::set_permissions(place.top.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        for dir in ["real", "real/old", "real/deep", "real/deep/er", "other"] {
            fs::create_dir(place.path(dir)).expect("a directory");
        }
        for (file, text) in [
            ("real/a", "one\ntwo\nthree\n"),
            ("real/b", "b"),
            ("real/gone", "gone"),
            ("real/old/file", "x"),
            ("real/deep/er/file", "deep\n"),
            ("other/file", "other"),
        ] {
            fs::write(place.path(file), text).expect("a file");
        }
        symlink("a", place.path("real/link")).expect("a link");
        place.own();
        place
    }

    /// Gives all of it to the ordinary user, as far as we may.
    pub(super) fn own(&self) {
        if rustix::process::geteuid().is_root() {
            for path in walk(self.top.path()) {
                std::os::unix::fs::lchown(path, Some(ORDINARY), Some(ORDINARY)).expect("an owner");
            }
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    pub(super) fn grant(&self, name: &str, access: &str) -> String {
        format!("fs:{}:{access}", self.path(name).display())
    }

    /// What there is, with all that a write would change.
    fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        walk(self.top.path())
            .into_iter()
            .filter(|path| !path.ends_with("start"))
            .map(|path| {
                let meta = fs::symlink_metadata(&path).expect("it is there");
                let content = if meta.is_file() { fs::read(&path).expect("its bytes") } else { Vec::new() };
                let all = format!(
                    "{:o} {}:{} {} {:?} {}.{} {:?}",
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.ino(),
                    meta.modified().expect("a time"),
                    meta.ctime(),
                    meta.ctime_nsec(),
                    content
                );
                (path, all)
            })
            .collect()
    }

    /// A program that starts the stub its own way.
    pub(super) fn starts(&self, how: &str) -> PathBuf {
        let path = self.path("start");
        let stub = env!("CARGO_BIN_EXE_waft-stub");
        fs::write(&path, format!("#!/bin/sh\n{}\n", how.replace("STUB", &format!("env -i {stub}"))))
            .expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        path
    }

    /// By whom the worker is run: us, and an ordinary user where we are root.
    pub(super) fn users(&self) -> Vec<(&'static str, PathBuf)> {
        let mut users = vec![("this user", PathBuf::from(env!("CARGO_BIN_EXE_waft-stub")))];
        if rustix::process::geteuid().is_root() {
            let how =
                format!("exec setpriv --reuid {ORDINARY} --regid {ORDINARY} --clear-groups STUB \"$@\"");
            users.push(("an ordinary user", self.starts(&how)));
        } else {
            eprintln!("SKIPPED: not root, so only this user's dry runs are tried");
        }
        users
    }

    pub(super) async fn run(&self, order: &Order, program: &Path) -> Ran {
        let before = self.snapshot();
        let pool = pool_of(program);
        let ran = order.run_in(&pool).await;
        if order.check {
            assert_eq!(pool.idle(), Vec::<u32>::new(), "no worker of a dry run is kept");
        }
        pool.shutdown().await;
        assert_eq!(self.snapshot(), before, "the real directories are what they were");
        ran
    }
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    if !dir.is_symlink() && dir.is_dir() {
        for entry in fs::read_dir(dir).expect("a directory") {
            all.extend(walk(&entry.expect("an entry").path()));
        }
    }
    all
}

/// The lines of a dry run, by the end of their path.
pub(super) fn changes(ran: &Ran, top: &Path) -> BTreeMap<String, Value> {
    let text = std::str::from_utf8(&ran.changes).expect("text");
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        let path = line["path"].as_str().expect("a path").to_owned();
        let name = path.strip_prefix(&format!("{}/", top.display())).expect("a path below").to_owned();
        line.as_object_mut().expect("an object").remove("path");
        assert!(all.insert(name, line).is_none(), "{path} twice");
    }
    assert_eq!(all.len(), ran.outcome.changes as usize, "{text}");
    all
}
