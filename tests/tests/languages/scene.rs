//! What the tasks tests/languages/LANG/calls.* find, each of which calls everything that its binding has: a target behind a
//! real sshd, a file, a blob, a secret, and somebody who listens.

use crate::project::{Project, TARGET, lab};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::waft::{Output, Waft};

/// Longer than one `read` gives, and no text.
pub(crate) const BLOB_BYTES: usize = 100_000;
/// More than the run takes, with CPython to be compiled.
const LIMIT: Duration = Duration::from_secs(400);

pub(crate) struct Scene {
    lab: Lab,
    dir: TempDir,
    port: u16,
    server: JoinHandle<std::io::Result<String>>,
    /// Of the bytes of the blob.
    pub(crate) sum: u64,
}

impl Scene {
    pub(crate) fn new() -> Result<Scene> {
        let lab = lab()?;
        let dir = tempfile::Builder::new().prefix("waft-calls-").tempdir().expect("a directory");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a mode");
        let file = dir.path().join("given/file");
        fs::create_dir(dir.path().join("given")).expect("a directory");
        fs::write(&file, "12345").expect("written");
        fs::set_permissions(file, Permissions::from_mode(0o644)).expect("a mode");
        let blob: Vec<u8> = (0..=250).cycle().take(BLOB_BYTES).collect();
        fs::write(dir.path().join("blob.bin"), &blob).expect("written");
        let sum = blob.iter().map(|byte| u64::from(*byte)).sum();

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        // It ends with the one connection; if that never comes, with this process.
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(LIMIT))?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            stream.write_all(said.to_uppercase().as_bytes())?;
            Ok(said)
        });
        Ok(Scene { lab, dir, port, server, sum })
    }

    /// The directory that the task may write to; the blob lies elsewhere.
    pub(crate) fn given(&self) -> PathBuf {
        self.dir.path().join("given")
    }

    /// What the module answers. It is given what all of them need, and `grants`; `word` is the secret.
    pub(crate) fn run(
        &self,
        project: &Project,
        module: &Path,
        grants: &[&str],
        word: &str,
    ) -> Result<Output> {
        let all = [
            "facts".to_owned(),
            "call:facts".to_owned(),
            "exec:/bin/cat".to_owned(),
            "secret:word".to_owned(),
            format!("fs:{}:rw", self.given().display()),
            format!("net:127.0.0.1:{}", self.port),
        ];
        let params = [
            format!("dir={}", self.given().display()),
            format!("port:={}", self.port),
            format!("blob@{}", self.dir.path().join("blob.bin").display()),
        ];
        let waft = Waft::new("run")?.lab(&self.lab).limit(LIMIT).env("WORD", word);
        let waft = waft.env("XDG_CACHE_HOME", project.path(".cache"));
        let waft = waft.arg(module).args(["-t", TARGET, "--format", "jsonl", "--secret", "word=env:WORD"]);
        let grants = all.iter().map(String::as_str).chain(grants.iter().copied());
        let waft = grants.fold(waft, |waft, grant| waft.args(["--allow", grant]));
        let waft = params.iter().fold(waft, |waft, param| waft.args(["-p", param]));
        waft.run()?.expect_code(0)
    }

    /// What was sent to who listened, and the last that was said of the task's progress; its line for the log has to be there.
    pub(crate) fn end(self, output: &Output) -> Result<(String, Value)> {
        let said = output.events_of("output")?;
        let is_logged = said.iter().any(|line| line["stream"] == "log" && line["text"] == "calls: log\n");
        assert!(is_logged, "{output}");
        let last = output.events_of("progress")?.pop().expect("progress");
        assert_eq!(last["text"], "all", "{output}");
        Ok((self.server.join().expect("a server").expect("a connection"), last))
    }
}

/// As the facts have it.
pub(crate) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel").trim().to_owned()
}
