//! Runs a module written as WebAssembly text through a pool, and collects what came of it.

use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use waft_proto::envelope::{Artifact, Callee, Envelope, Wall};
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::{Arch, Engine, Outcome, Profile, Stream};
use waft_proto::node::ReadyRun;
use waft_proto::run::Problem;
use waft_stub::policy::NodePolicy;
use waft_stub::pool::{Job, JobEvent, Pool};
use waft_stub::secret::{Secret, Secrets};

/// No test takes this long; one that does hangs.
/// 2026-06-15, a Monday, 12:00 UTC.
pub(crate) const NOW: u64 = 1_781_524_800;
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn pool() -> Pool {
    Pool::with_program(PathBuf::from(env!("CARGO_BIN_EXE_waft-stub")))
}

/// Whose workers are started by a script, in other circumstances than ours.
pub(crate) fn pool_of(script: &std::path::Path) -> Pool {
    Pool::with_program(script.to_owned())
}

pub(crate) struct Order {
    pub(crate) wat: String,
    pub(crate) grants: Vec<String>,
    pub(crate) params: Vec<u8>,
    pub(crate) timeout: Duration,
    pub(crate) check: bool,
    pub(crate) diff: bool,
    pub(crate) wall: Wall,
    pub(crate) policy: NodePolicy,
    pub(crate) profile: Profile,
    pub(crate) files: Vec<Vec<u8>>,
    pub(crate) callees: Vec<(String, String, Vec<String>)>,
    pub(crate) secrets: Vec<(String, Vec<u8>)>,
}

/// A task without grants.
pub(crate) fn task(wat: impl Into<String>) -> Order {
    Order {
        wat: wat.into(),
        grants: Vec::new(),
        params: b"{}".to_vec(),
        timeout: PATIENCE,
        check: false,
        diff: false,
        wall: Wall::Required,
        policy: NodePolicy::default(),
        profile: waft_stub::profile(),
        files: Vec::new(),
        callees: Vec::new(),
        secrets: Vec::new(),
    }
}

impl Order {
    /// With a file that it may be granted as a blob.
    pub(crate) fn file(mut self, bytes: impl Into<Vec<u8>>) -> Order {
        self.files.push(bytes.into());
        self
    }

    /// With a task that it may be granted to call, and what is given to that.
    pub(crate) fn callee(mut self, name: &str, wat: impl Into<String>, grants: &[&str]) -> Order {
        let grants = grants.iter().map(|grant| (*grant).to_owned()).collect();
        self.callees.push((name.to_owned(), wat.into(), grants));
        self
    }

    /// The module.
    pub(crate) fn wat(&self) -> String {
        self.wat.clone()
    }

    pub(crate) fn secret(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Order {
        self.secrets.push((name.to_owned(), bytes.into()));
        self
    }

    pub(crate) fn grant(mut self, grant: impl Into<String>) -> Order {
        self.grants.push(grant.into());
        self
    }

    pub(crate) fn params(mut self, params: impl Into<Vec<u8>>) -> Order {
        self.params = params.into();
        self
    }

    pub(crate) fn timeout_ms(mut self, ms: u64) -> Order {
        self.timeout = Duration::from_millis(ms);
        self
    }

    pub(crate) fn check(mut self) -> Order {
        self.check = true;
        self
    }

    pub(crate) fn diff(mut self) -> Order {
        self.diff = true;
        self
    }

    pub(crate) fn policy(mut self, policy: NodePolicy) -> Order {
        self.policy = policy;
        self
    }

    pub(crate) fn wall(mut self, wall: Wall) -> Order {
        self.wall = wall;
        self
    }

    pub(crate) fn profile(mut self, profile: Profile) -> Order {
        self.profile = profile;
        self
    }

    pub(crate) fn job(&self) -> Result<Job, Problem> {
        let engine = Engine { arch: Arch::here().expect("an engine for here"), profile: self.profile };
        let code = compiled(engine, &self.wat);
        let artifact = Hash::of(&code);
        let mut blobs: BTreeMap<Hash, Arc<[u8]>> =
            self.files.iter().map(|bytes| (Hash::of(bytes), Arc::from(bytes.as_slice()))).collect();
        let mut callees = Vec::new();
        for (name, wat, grants) in &self.callees {
            let code = compiled(engine, wat);
            let (module, hash) = (Hash::of(wat.as_bytes()), Hash::of(&code));
            let artifacts = vec![Artifact { engine, hash, bytes: code.len() as u64, worker: None }];
            callees.push(Callee { name: name.clone(), module, artifacts, grants: grants.clone() });
            blobs.insert(hash, code);
        }
        let envelope = Envelope {
            run: RunId([7; 16]),
            task: "probe".to_owned(),
            targets: Vec::new(),
            module: Hash::of(self.wat.as_bytes()),
            artifacts: vec![Artifact { engine, hash: artifact, bytes: code.len() as u64, worker: None }],
            params: Hash::of(&self.params),
            grants: self.grants.clone(),
            check: self.check,
            timeout_ms: u64::try_from(self.timeout.as_millis()).expect("a short time"),
            expires: u64::MAX,
            nonce: [0; 8],
            wall: self.wall,
            diff: self.diff,
            task_signatures: Vec::new(),
            approval: None,
            callees,
            files: Vec::new(),
            audit: None,
        };
        let input = Arc::from(self.params.as_slice());
        let (order, workers) = (Hash::of(b"order"), BTreeMap::new());
        let ready = ReadyRun { envelope, artifact, code, input, blobs, workers, order, secrets: None };
        let mut secrets = Secrets::default();
        for (name, bytes) in &self.secrets {
            let text = std::str::from_utf8(bytes).is_ok();
            secrets.insert(name, Secret::new(bytes.clone().into(), text).expect("a value"))?;
        }
        Ok(Job::prepare(ready, "web1", &self.policy, NOW)?.with_secrets(&secrets))
    }

    /// Runs it in a pool of its own.
    pub(crate) async fn run(&self) -> Ran {
        let pool = pool();
        let ran = self.run_in(&pool).await;
        pool.shutdown().await;
        ran
    }

    pub(crate) async fn run_in(&self, pool: &Pool) -> Ran {
        let (events, mut receiver) = mpsc::channel(1);
        // Nobody cancels.
        let (_cancel, cancelled) = oneshot::channel();
        let run = pool.run(self.job().expect("a good order"), events, cancelled);
        let (ran, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(collect(&mut receiver), run) })
            .await
            .expect("the run ends");
        ran
    }
}

/// Compiled once per module: tests share many.
fn compiled(engine: Engine, wat: &str) -> Arc<[u8]> {
    type Known = HashMap<(Engine, String), Arc<[u8]>>;
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let mut known = KNOWN.lock().expect("no test panics in here");
    let known = known.get_or_insert_default();
    if let Some(code) = known.get(&(engine, wat.to_owned())) {
        return Arc::clone(code);
    }
    let wasm = wat::parse_str(wat).expect("a module");
    let code: Arc<[u8]> = waft_engine::compile(engine, &wasm).expect("compiles").into();
    known.insert((engine, wat.to_owned()), Arc::clone(&code));
    code
}

/// What came of a run.
pub(crate) struct Ran {
    pub(crate) states: Vec<&'static str>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// What a dry run would change.
    pub(crate) changes: Vec<u8>,
    pub(crate) log: Vec<u8>,
    pub(crate) progress: Vec<Value>,
    /// What was recorded of its calls.
    pub(crate) calls: Vec<Value>,
    pub(crate) outcome: Outcome,
}

impl Ran {
    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text on stdout")
    }

    /// The answers that the task wrote to stdout, one after the other.
    pub(crate) fn answers(&self) -> Vec<Value> {
        let stream = serde_json::Deserializer::from_slice(&self.stdout).into_iter();
        stream.collect::<Result<_, _>>().expect("answers on stdout")
    }

    /// The codes of its calls as recorded, empty for those that went well.
    pub(crate) fn recorded(&self) -> Vec<(&str, &str)> {
        fn of<'a>(call: &'a Value, name: &str) -> &'a str {
            call[name].as_str().unwrap_or_default()
        }
        self.calls.iter().map(|call| (of(call, "call"), of(call, "code"))).collect()
    }

    pub(crate) fn code(&self) -> &str {
        self.outcome.problem.as_ref().map_or("", |problem| &problem.code)
    }

    pub(crate) fn message(&self) -> &str {
        self.outcome.problem.as_ref().map_or("", |problem| &problem.message)
    }
}

pub(crate) async fn collect(events: &mut mpsc::Receiver<JobEvent>) -> Ran {
    let (mut states, mut stdout, mut stderr) = (Vec::new(), Vec::new(), Vec::new());
    let mut changes = Vec::new();
    let (mut log, mut progress, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    let line = |bytes: Vec<u8>| serde_json::from_slice(&bytes).expect("one line of JSON");
    loop {
        match events.recv().await.expect("one Done before the end") {
            JobEvent::Ready => states.push("ready"),
            JobEvent::Running => states.push("running"),
            JobEvent::Output { stream: Stream::Stdout, bytes } => stdout.extend(bytes),
            JobEvent::Output { stream: Stream::Stderr, bytes } => stderr.extend(bytes),
            JobEvent::Output { stream: Stream::Log, bytes } => log.extend(bytes),
            JobEvent::Output { stream: Stream::Progress, bytes } => progress.push(line(bytes)),
            JobEvent::Output { stream: Stream::Call, bytes } => calls.push(line(bytes)),
            JobEvent::Output { stream: Stream::Change, bytes } => changes.extend(bytes),
            JobEvent::Done(outcome) => {
                assert!(events.recv().await.is_none(), "nothing comes after Done");
                return Ran { states, stdout, stderr, changes, log, progress, calls, outcome };
            }
        }
    }
}

/// A command whose `_start` is `body`, with the imports that tests use, two pages of memory, and `data` at
/// address 1024.
pub(crate) fn command(data: &str, body: &str) -> String {
    let data: String = data.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "waft_v1" "exec" (func $exec (param i32 i32) (result i32)))
  (import "waft_v1" "facts" (func $facts (param i32 i32) (result i32)))
  (import "waft_v1" "take" (func $take (param i32 i32) (result i32)))
  (import "waft_v1" "file" (func $file (param i32 i32) (result i32)))
  (import "waft_v1" "net" (func $net (param i32 i32) (result i32)))
  (import "waft_v1" "task" (func $task (param i32 i32) (result i32)))
  (import "waft_v1" "blob" (func $blob (param i32 i32) (result i32)))
  (import "waft_v1" "secret" (func $secret (param i32 i32) (result i32)))
  (import "waft_v1" "emit" (func $emit (param i32 i32) (result i32)))
  (import "waft_v1" "read" (func $read (param i32 i32 i32) (result i32)))
  (import "waft_v1" "write" (func $send (param i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 1024) "{data}")
  ;; Writes len bytes at ptr to fd.
  (func $write (param $fd i32) (param $ptr i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $ptr))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  ;; Writes a kept reply to stdout, in pieces of 100 bytes.
  (func $show (local $got i32)
    (loop $more
      (local.set $got (call $take (i32.const 70000) (i32.const 100)))
      (if (i32.gt_s (local.get $got) (i32.const 0))
        (then
          (call $write (i32.const 1) (i32.const 70000) (local.get $got))
          (br $more)))))
  (func $main (export "_start") {body}))"#
    )
}

/// A task that makes calls, one after the other, and writes each answer to stdout.
pub(crate) fn asks(calls: &[(&str, String)]) -> Order {
    let (mut data, mut body) = (String::new(), String::new());
    for (function, request) in calls {
        let at = 1024 + data.len();
        body.push_str(&format!(
            "(drop (call ${function} (i32.const {at}) (i32.const {}))) (call $show)\n",
            request.len()
        ));
        data.push_str(request);
    }
    task(command(&data, &body))
}

/// Waits until `check` is true, with a bound.
pub(crate) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never happened: {what}"));
}
