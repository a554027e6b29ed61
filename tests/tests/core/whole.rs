//! A target with accounts, packages, services and kernel settings of its own: what is changed there is gone with it.

use crate::declared::as_declared;
use crate::desk::{Desk, unsent};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::machine::{Login, Machine};
use waft_tests::waft::Output;

const TARGET: &str = "w1";

pub(crate) struct Whole {
    machine: Machine,
    lab: Lab,
    cache: TempDir,
}

impl Whole {
    /// As root there. Needs root.
    pub(crate) fn root() -> Result<Whole> {
        Whole::of(Login::Root, "")
    }

    /// As root there, without these programs of this machine, separated by blanks. Needs root.
    pub(crate) fn without(programs: &str) -> Result<Whole> {
        Whole::of(Login::Root, programs)
    }

    /// As an ordinary account there. Needs root.
    pub(crate) fn ordinary() -> Result<Whole> {
        Whole::of(Login::Ordinary, "")
    }

    fn of(login: Login, hidden: &str) -> Result<Whole> {
        let lab = Lab::of(0)?;
        let machine = Machine::start_whole(&lab, TARGET, login, hidden)?;
        Ok(Whole { machine, lab, cache: tempfile::tempdir().expect("a directory") })
    }

    /// What is at an absolute path there.
    pub(crate) fn path(&self, there: &str) -> PathBuf {
        self.machine.path(there)
    }

    pub(crate) fn read(&self, there: &str) -> String {
        fs::read_to_string(self.path(there)).unwrap_or_default()
    }

    pub(crate) fn write(&self, there: &str, text: &str) {
        let path = self.path(there);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// A shell script in the place of the program of that name.
    pub(crate) fn program(&self, there: &str, script: &str) {
        self.write(there, &format!("#!/bin/sh\n{script}"));
        fs::set_permissions(self.path(there), fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    pub(crate) fn run(&self, task: &str, params: &Value, grants: &[&str], words: &[&str]) -> Result<Output> {
        Desk::waft(&self.lab, self.cache.path(), TARGET, task, params, grants, words)?.run()
    }

    pub(crate) fn result(
        &self,
        task: &str,
        params: &Value,
        grants: &[&str],
        words: &[&str],
        code: i32,
    ) -> Result<Value> {
        let result = self.run(task, params, grants, words)?.expect_code(code)?.result_of(TARGET)?;
        as_declared(task, &result["result"]);
        Ok(result)
    }

    /// What the task answers with all that its manifest asks for: it has to end well, with this for `changed`.
    pub(crate) fn answer(&self, task: &str, params: &Value, changed: bool) -> Result<Value> {
        self.asked(task, params, &[], changed)
    }

    /// The same in a dry run.
    pub(crate) fn would(&self, task: &str, params: &Value, changed: bool) -> Result<Value> {
        self.asked(task, params, &["--check"], changed)
    }

    fn asked(&self, task: &str, params: &Value, words: &[&str], changed: bool) -> Result<Value> {
        let result = self.result(task, params, &["asked"], words, 0)?;
        assert_eq!(result["status"], if changed { "changed" } else { "ok" }, "{result}");
        Ok(result["result"].clone())
    }

    /// Parameters that are none by the manifest: nothing is sent.
    pub(crate) fn unsent(&self, task: &str, params: &Value, words: &[&str]) -> Result<()> {
        unsent(self.run(task, params, &["asked"], &[])?, words)
    }

    /// Why the task fails with all that its manifest asks for.
    pub(crate) fn failure(&self, task: &str, params: &Value, words: &[&str]) -> Result<Value> {
        let result = self.result(task, params, &["asked"], words, 3)?;
        Ok(result["result"]["error"].clone())
    }
}
