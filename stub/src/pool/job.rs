//! One execution as ordered: what runs, with what, and what it may reach.

use crate::mounts;
use crate::policy::{NodePolicy, Ruled, Withheld};
use crate::process;
use crate::program;
use crate::secret::{Patterns, Secrets};
use crate::worker::wire::{Dir, Dry, Limits, Load, MESSAGE_BYTES_MAX, PART_BYTES_MAX};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use waft_engine::Form;
use waft_proto::envelope::{Envelope, Wall};
use waft_proto::grant::{Access, Grant, GrantSet, Limit};
use waft_proto::id::Hash;
use waft_proto::msg::{Arch, Engine};
use waft_proto::node::ReadyRun;
use waft_proto::run::Problem;

/// Linear memory of a task without a `mem:` limit, bytes.
const MEMORY_BYTES_DEFAULT: u64 = 256 << 20;
/// Each of stdout and stderr without an `out:` limit, bytes.
const OUT_BYTES_DEFAULT: u64 = 64 << 20;
/// Open files of a task without a `files:` limit.
const FILES_DEFAULT: u64 = 256;
/// Parameters, bytes. The worker holds them beside the task's memory.
const PARAMS_BYTES_MAX: usize = 64 << 20;

/// Names of task and target, bytes each.
const NAME_BYTES_MAX: usize = 1024;

/// Tasks that call tasks that call tasks: how deep.
const DEPTH_MAX: u8 = 4;
/// Calls of tasks in one execution, those that called tasks make included.
const CALLS_MAX: u32 = 64;

/// Granted variables, names and values together, bytes.
const ENV_BYTES_MAX: usize = 8 * 1024;

const _: () = assert!(
    PART_BYTES_MAX + ENV_BYTES_MAX + 4 * NAME_BYTES_MAX < MESSAGE_BYTES_MAX,
    "an order to start fits"
);

/// Decides which worker may run a job: equal keys share one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    pub(super) artifact: Hash,
    /// The program that runs it, when that is not ours.
    pub(super) program: Option<Hash>,
    pub(super) load: Load,
    /// What was given, also those rights that the stub alone decides about.
    pub(super) given: GrantSet,
    pub(super) check: bool,
}

pub struct Job {
    pub(super) key: Key,
    pub(super) code: Arc<[u8]>,
    pub(super) task: String,
    pub(super) target: String,
    pub(super) run: String,
    pub(super) params: Arc<[u8]>,
    /// A dry run shows the lines that would change.
    pub(super) diff: bool,
    pub(super) timeout: Duration,
    /// What of the given grants counts: less in a dry run.
    pub(super) grants: GrantSet,
    /// What the node's policy took away, and by which rule.
    pub(super) withheld: Option<Withheld>,
    /// Granted variables of the stub's own environment.
    pub(super) granted_env: Vec<(String, String)>,
    /// By the names that are granted.
    pub(super) secrets: Secrets,
    /// What is taken out of all that leaves: also values that the task was not given, but one that it calls.
    pub(super) patterns: Arc<Patterns>,
    /// Files that it may read, and the code of tasks that it may call.
    pub(super) blobs: Rc<BTreeMap<Hash, Arc<[u8]>>>,
    /// Those that its programs had in memory: sealed, one for all of them.
    pub(super) in_memory: RefCell<BTreeMap<InMemory, Arc<OwnedFd>>>,
    /// Programs that run components.
    workers: Rc<BTreeMap<Hash, Arc<[u8]>>>,
    callees: Rc<Vec<Callee>>,
    /// How many tasks called each other to come here.
    depth: u8,
    /// Calls of tasks that were made by all of them.
    calls: Rc<Cell<u32>>,
}

/// A blob, and whether it is a program there.
pub(super) type InMemory = (Hash, bool);

/// A task that may be called.
struct Callee {
    name: String,
    artifact: Hash,
    /// What the envelope names to run it.
    worker: Option<Hash>,
    engine: Engine,
    /// What the node's policy leaves of it.
    ruled: Result<Ruled, Problem>,
}

impl Job {
    /// Reads the order of a run on the target called `target`. The problem names the grant that is wrong.
    pub fn prepare(
        ready: ReadyRun,
        target: &str,
        policy: &NodePolicy,
        now_unix: u64,
    ) -> Result<Job, Problem> {
        let ReadyRun { envelope, artifact, code, input, blobs, workers, .. } = ready;
        let task = envelope.task.clone();
        if task.len() > NAME_BYTES_MAX || target.len() > NAME_BYTES_MAX {
            let text = format!("the name of a task or target is longer than {NAME_BYTES_MAX} bytes");
            return Err(Problem::new("task.name", text));
        }
        let given = GrantSet::parse_all(envelope.grants.iter().map(String::as_str)).map_err(first)?;
        let Ruled { grants: given, withheld, check, wall, timeout_ms } =
            policy.rule(&envelope, given, now_unix)?;
        let grants = if check { given.for_check() } else { given.clone() };
        let granted_env = granted_env(&grants, &task)?;
        let known = envelope.artifacts.iter().find(|known| known.hash == artifact);
        // What this node compiled may be the same, byte for byte, as what the controller names.
        let worker = known.filter(|_| !policy.compiles()).and_then(|known| known.worker);
        let program = program(&task, target, &code, worker, &workers)?;
        let engine = known
            .map(|known| known.engine)
            .or_else(|| Arch::here().map(|arch| Engine { arch, profile: crate::profile() }))
            .ok_or_else(|| {
                Problem::new("task.engine", format!("`{target}` has no engine for task `{task}`"))
            })?;
        if input.len() > PARAMS_BYTES_MAX {
            let (bytes, limit) = (input.len(), PARAMS_BYTES_MAX);
            let text =
                format!("the parameters of task `{task}` are {bytes} bytes; a task takes at most {limit}");
            return Err(
                Problem::new("task.params", text).hint("put large data into a file and grant its directory")
            );
        }
        enforceable(&grants, &task, check)?;
        let timeout = Duration::from_millis(timeout_ms.min(grants.limits().time_ms.unwrap_or(u64::MAX)));
        let load = load(engine, &code, wall, &grants, check);
        let callees = callees(&envelope, engine, &blobs, policy, now_unix)?;
        Ok(Job {
            key: Key { artifact, program, load, given, check },
            code,
            task,
            target: target.to_owned(),
            run: envelope.run.to_string(),
            diff: envelope.diff,
            params: input,
            timeout,
            grants,
            withheld,
            granted_env,
            secrets: Secrets::default(),
            patterns: Arc::default(),
            blobs: Rc::new(blobs),
            in_memory: RefCell::default(),
            workers: Rc::new(workers),
            callees: Rc::new(callees),
            depth: 0,
            calls: Rc::default(),
        })
    }

    /// The job of a task that this one calls: with no more than both were given, and no longer than `left`.
    pub(super) fn call(&self, name: &str, params: Vec<u8>, left: Duration) -> Result<Job, Problem> {
        let (task, target) = (&self.task, &self.target);
        if self.depth >= DEPTH_MAX {
            let text = format!("task `{task}` on `{target}` cannot call `{name}`: calls go {DEPTH_MAX} deep");
            return Err(Problem::new("task.depth", text));
        }
        if self.calls.get() >= CALLS_MAX {
            let text =
                format!("task `{task}` on `{target}` cannot call `{name}`: {CALLS_MAX} calls were made");
            return Err(Problem::new("task.many", text).hint("one execution calls no more tasks than that"));
        }
        let callee = self.callees.iter().find(|callee| callee.name == name);
        let missing = || {
            let text = format!("the task `{name}` was not sent to `{target}` with this run");
            Problem::new("task.missing", text)
        };
        let callee = callee.ok_or_else(missing)?;
        let code = Arc::clone(self.blobs.get(&callee.artifact).ok_or_else(missing)?);
        let ruled = callee.ruled.clone()?;
        // Programs by name and by path meet only as paths.
        let given =
            ruled.grants.resolved(program::look_up).intersect(&self.key.given.resolved(program::look_up))?;
        let check = self.key.check || ruled.check;
        let most = ruled.timeout_ms.min(given.limits().time_ms.unwrap_or(u64::MAX));
        let grants = if check { given.for_check() } else { given.clone() };
        let granted_env = granted_env(&grants, name)?;
        enforceable(&grants, name, check)?;
        let program = program(name, target, &code, callee.worker, &self.workers)?;
        let load = load(callee.engine, &code, self.key.load.wall.max(ruled.wall), &grants, check);
        self.calls.set(self.calls.get() + 1);
        Ok(Job {
            secrets: granted(&self.secrets, &grants),
            patterns: Arc::clone(&self.patterns),
            key: Key { artifact: callee.artifact, program, load, given, check },
            code,
            task: name.to_owned(),
            target: self.target.clone(),
            run: self.run.clone(),
            params: params.into(),
            timeout: left.min(Duration::from_millis(most)),
            grants,
            withheld: match ruled.withheld {
                Some(withheld) => Some(withheld.below(self.withheld.as_ref())),
                None => self.withheld.clone(),
            },
            diff: self.diff,
            granted_env,
            blobs: Rc::clone(&self.blobs),
            in_memory: RefCell::default(),
            workers: Rc::clone(&self.workers),
            callees: Rc::clone(&self.callees),
            depth: self.depth + 1,
            calls: Rc::clone(&self.calls),
        })
    }

    /// The bytes of the program that runs it, when that is not ours.
    pub(super) fn worker(&self) -> Option<&[u8]> {
        self.workers.get(self.key.program.as_ref()?).map(|bytes| &**bytes)
    }

    /// With what was sent for it, as far as it is granted.
    pub fn with_secrets(self, secrets: &Secrets) -> Job {
        Job { patterns: Arc::new(Patterns::new(secrets)), secrets: granted(secrets, &self.grants), ..self }
    }

    /// What the task sees of the run. `WAFT_CHECK` is there only in a dry run.
    pub(super) fn env(&self) -> Vec<(&str, &str)> {
        let mut env =
            vec![("WAFT_TASK", &*self.task), ("WAFT_RUN", &*self.run), ("WAFT_TARGET", &*self.target)];
        if self.key.check {
            env.push(("WAFT_CHECK", "1"));
        }
        env.extend(self.granted_env.iter().map(|(name, value)| (&**name, &**value)));
        env
    }
}

/// What runs `code`: none is our own program. `worker` is what the envelope names.
fn program(
    task: &str,
    target: &str,
    code: &[u8],
    worker: Option<Hash>,
    workers: &BTreeMap<Hash, Arc<[u8]>>,
) -> Result<Option<Hash>, Problem> {
    if Form::of_artifact(code) == Form::Module {
        return Ok(None);
    }
    if cfg!(feature = "components") {
        return match worker {
            None => Ok(None),
            Some(_) => {
                let text =
                    format!("`{target}` runs components in its own program and takes none from outside");
                let hint = "with precompiled = \"deny\" in its policy that node compiles components itself";
                Err(Problem::new("worker.outside", text).hint(hint))
            }
        };
    }
    match worker.filter(|worker| workers.contains_key(worker)) {
        Some(worker) => Ok(Some(worker)),
        None => {
            let text =
                format!("task `{task}` is a component, and nothing came to `{target}` that runs components");
            Err(Problem::new("worker.missing", text).hint(
                "waft has no worker program for this machine, or is of another release: `waft stub list`",
            ))
        }
    }
}

fn load(engine: Engine, code: &[u8], wall: Wall, grants: &GrantSet, check: bool) -> Load {
    let limits = grants.limits();
    // Who has a proc could then write to his own memory: there only root's stub can count.
    let counted =
        limits.disk_bytes.is_some() && !check && !mounts::show_processes(grants.dirs().map(|(path, _)| path));
    Load {
        engine,
        component: Form::of_artifact(code) == Form::Component,
        wall,
        // A dry run writes nowhere real: see `dry`.
        dirs: grants
            .dirs()
            .map(|(path, access)| Dir {
                path: path.to_owned(),
                writable: access == Access::ReadWrite && !check,
            })
            .collect(),
        limits: Limits {
            memory_bytes: limits.mem_bytes.unwrap_or(MEMORY_BYTES_DEFAULT),
            out_bytes: limits.out_bytes.unwrap_or(OUT_BYTES_DEFAULT),
            files: limits.files.unwrap_or(FILES_DEFAULT),
            counted,
        },
        dry: check.then(|| dry(grants)),
    }
}

/// What overlays stand for, and how much they hold together.
fn dry(grants: &GrantSet) -> Dry {
    let writable = (0..).zip(grants.dirs()).filter(|(_, (_, access))| *access == Access::ReadWrite);
    Dry {
        writable: writable.map(|(at, _)| at).collect(),
        bytes: grants.limits().disk_bytes.unwrap_or(crate::dry::DISK_BYTES_DEFAULT),
    }
}

/// The tasks whose code is here, for this engine. The policy judges each as if it had been sent by itself, without the
/// signatures and the approval of the one that calls it.
fn callees(
    envelope: &Envelope,
    engine: Engine,
    blobs: &BTreeMap<Hash, Arc<[u8]>>,
    policy: &NodePolicy,
    now_unix: u64,
) -> Result<Vec<Callee>, Problem> {
    let mut callees = Vec::with_capacity(envelope.callees.len());
    for callee in &envelope.callees {
        let alone = Envelope {
            task: callee.name.clone(),
            module: callee.module,
            artifacts: callee.artifacts.clone(),
            grants: callee.grants.clone(),
            // An approval is for the task that was started.
            approval: None,
            callees: Vec::new(),
            files: Vec::new(),
            ..envelope.clone()
        };
        let mut compiled = callee.artifacts.iter().filter(|known| known.engine == engine);
        let code =
            compiled.find(|known| blobs.contains_key(&known.hash)).map(|known| (known.hash, known.worker));
        let given = GrantSet::parse_all(callee.grants.iter().map(String::as_str)).map_err(first)?;
        if let Some((artifact, worker)) = code {
            let ruled = policy.rule(&alone, given, now_unix);
            callees.push(Callee { name: callee.name.clone(), artifact, worker, engine, ruled });
        }
    }
    Ok(callees)
}

fn granted(secrets: &Secrets, grants: &GrantSet) -> Secrets {
    secrets.only(|name| grants.check(&Grant::Secret(name.to_owned())).is_ok())
}

/// A limit that is given and not enforced would be a promise broken in silence.
fn enforceable(grants: &GrantSet, task: &str, check: bool) -> Result<(), Problem> {
    // In a dry run the tmpfs of the overlays holds it.
    match grants.limits().disk_bytes.filter(|_| !check) {
        Some(most) if process::written(std::process::id()).is_err() => {
            let text = format!(
                "the limit `{}` of task `{task}` cannot be enforced: this kernel does not count what a process writes",
                Grant::Limit(Limit::Disk(most))
            );
            Err(Problem::new("grant.unsupported", text).hint("leave it out"))
        }
        _ => Ok(()),
    }
}

/// Variables that are not set, or are no text, are not there for the task either.
fn granted_env(grants: &GrantSet, task: &str) -> Result<Vec<(String, String)>, Problem> {
    let env: Vec<_> =
        grants.env_names().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect();
    if env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > ENV_BYTES_MAX {
        let text =
            format!("the variables granted to task `{task}` are longer than {ENV_BYTES_MAX} bytes together");
        return Err(Problem::new("task.env", text).hint("grant fewer variables"));
    }
    Ok(env)
}

fn first(problems: Vec<Problem>) -> Problem {
    let more = problems.len().saturating_sub(1);
    let Some(mut problem) = problems.into_iter().next() else {
        return Problem::new("grant.malformed", "the grants of the run cannot be read");
    };
    if more > 0 {
        problem.message = format!("{} (and {more} more)", problem.message);
    }
    if !problem.code.starts_with("grant.") {
        problem.code = format!("grant.{}", problem.code);
    }
    problem
}
