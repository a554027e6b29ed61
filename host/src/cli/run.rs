//! `waft run` and `waft exec`.

use super::agreement::Agreement;
use super::args::{Approve, Exec, Format, Limits, Output, Run, Secrets, Targets};
use super::audit::Recorded;
use super::targets::{self, Selection};
use super::{Done, Failure, approval, explain};
use crate::compile::{Cache, check_imports};
use crate::controller::Controller;
use crate::files;
use crate::manifest::{self, Manifest, agree};
use crate::report::{self, Reporter, Terminal, Verbosity};
use crate::run::{Head, Request, run as run_task};
use crate::secret::{self, Plan, Sent};
use crate::{params, stubs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waft_proto::grant::GrantSet;
use waft_proto::run::Problem;

pub(super) async fn run(args: Run) -> Done {
    let mut problems = Vec::new();
    let mut keep = |more: Vec<Problem>| problems.extend(more);
    dry_run(&args.limits).map_err(|problem| keep(vec![problem])).ok();
    let params = parameters(&args.param, args.params.as_deref()).map_err(&mut keep).ok();
    let task = find_task(&args.task).map_err(&mut keep).ok();
    let given = given(&args.limits.allow, task.as_ref()).map_err(&mut keep).ok();
    let selection = targets::select(&args.targets).map_err(&mut keep).ok();
    let flags = secret_flags(&args.secrets).map_err(&mut keep).ok();
    let (Some(params), Some(task), Some(given), Some(mut selection), Some(flags), []) =
        (params, task, given, selection, flags, &*problems)
    else {
        return Err(Failure::Input(problems));
    };
    let about = approval::About { task: explain::task(&task), file: task.file.clone() };
    let Found { name, wasm, manifest, .. } = task;
    let (asked, declared) = manifest.map(|manifest| (manifest.grants, manifest.secrets)).unzip();
    let mut agreement = Agreement::new(&name, asked, given, &selection.shape)?;
    agreement.settle(&selection.shape, args.output.format).await?;
    selection.shape = agreement.narrowed(selection.shape)?;
    let declared = declared.unwrap_or_default();
    let plan = Plan::new(flags, &selection.secrets, &declared, &agreement.allow()?, &selection.shape)?;
    let secrets = plan.read().await?;
    let params = serde_json::Value::Object(params).to_string().into_bytes();
    let (limits, approve, output) = (args.limits, args.approve, args.output);
    start(Job { name, wasm, params, secrets, agreement, limits, approve, about, selection, output }).await
}

/// Whoever names the program is the one who asks: nothing is taken from what is given.
pub(super) async fn exec(args: Exec) -> Done {
    let mut problems = Vec::new();
    let mut keep = |more: Vec<Problem>| problems.extend(more);
    dry_run(&args.limits)?;
    let task = find_task("exec")?;
    let mut wanted = vec!["exec:*".to_owned()];
    wanted.extend(args.limits.allow.iter().cloned());
    let given = given(&wanted, Some(&task)).map_err(&mut keep).ok();
    let selection = targets::select(&args.targets).map_err(&mut keep).ok();
    let (Some(given), Some(selection)) = (given, selection) else { return Err(Failure::Input(problems)) };
    let about = approval::About { task: explain::task(&task), file: None };
    let Found { name, wasm, .. } = task;
    let agreement = Agreement::new(&name, None, given, &selection.shape)?;
    let params = serde_json::json!({ "argv": args.argv }).to_string().into_bytes();
    let (secrets, limits, approve, output) = (Sent::default(), args.limits, args.approve, args.output);
    start(Job { name, wasm, params, secrets, agreement, limits, approve, about, selection, output }).await
}

struct Job {
    name: String,
    wasm: Arc<[u8]>,
    params: Vec<u8>,
    secrets: Sent,
    agreement: Agreement,
    limits: Limits,
    approve: Approve,
    about: approval::About,
    selection: Selection,
    output: Output,
}

async fn start(job: Job) -> Done {
    for (name, _) in job.secrets.secrets.iter().filter(|(_, secret)| !secret.is_redacted()) {
        tracing::warn!("the secret {name} is short: it is not taken out of output");
    }
    let cached =
        files::cache_dir().map(|dir| files::guarded(&dir, "artifacts", "XDG_CACHE_HOME")).transpose()?;
    let cache = Cache::new(cached);
    let mut request = Request {
        task: job.name,
        wasm: job.wasm,
        params: job.params,
        allow: job.agreement.allow()?,
        check: job.limits.check,
        diff: job.limits.diff,
        timeout: job.limits.timeout,
        head: Head::default(),
        vouched: Default::default(),
        secrets: job.secrets,
    };
    if let Some(file) = &job.approve.approval_request {
        return approval::ask(file, &job.approve, &request, &job.about, &job.selection).await;
    }
    request.vouched = approval::vouched(&job.approve, &request, &job.about, &job.selection.shape)?;
    let mut recorded = Recorded::begin(&request, &job.selection.shape)?;
    let mut reporter = reporter(&job.output);
    let mut controller = Controller::start(job.selection.shape, job.selection.setup)?;
    let finished = {
        let interrupt = recorded.interrupt();
        let mut sink = |event: &crate::event::Event| {
            recorded.event(event, |event| reporter.event(&job.agreement.told(event)))
        };
        run_task(&mut controller, &cache, &request, &mut sink, interrupt).await
    };
    for name in controller.stop().await {
        tracing::warn!("{name} did not end its stub in time; it ends when its link does");
    }
    match reporter.finish() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(Failure::Own(Problem::new(
                "report.write",
                format!("the report could not be written: {}", crate::files::plain(&error)),
            )));
        }
        _ => {}
    }
    recorded.end()?;
    let finished = finished.map_err(Failure::Own)?;
    Ok(report::exit_code(finished.counts.keys().copied()))
}

/// A diff is of what would change; of what a task has changed nobody knows the lines any more.
fn dry_run(limits: &Limits) -> Result<(), Problem> {
    if limits.diff && !limits.check {
        return Err(Problem::new("usage.diff", "--diff shows what a dry run would change, and this is none")
            .hint("add --check"));
    }
    Ok(())
}

fn reporter(output: &Output) -> Box<dyn Reporter + Send> {
    let format = match output.format {
        Format::Human => report::Format::Human,
        Format::Jsonl => report::Format::JsonLines,
        Format::Json => report::Format::Json,
    };
    report::reporter(format, Terminal::detect(), Verbosity(output.verbose))
}

fn secret_flags(args: &Secrets) -> Result<secret::Flags, Vec<Problem>> {
    let home = std::env::home_dir();
    let given = secret::source::flags(&args.secret, home.as_deref())?;
    let (allow_short, age_identity) = (args.allow_short_secrets, args.age_identity.clone());
    Ok(secret::Flags { given, allow_short, age_identity })
}

/// `--params`, and over it each `-p`.
fn parameters(
    pairs: &[String],
    file: Option<&str>,
) -> Result<serde_json::Map<String, serde_json::Value>, Vec<Problem>> {
    let text = file.map(params::read).transpose().map_err(|problem| vec![problem])?;
    params::merge(pairs, file.zip(text.as_deref()))
}

/// What `--allow` gives. Without the task nobody can say what `asked` is, but the other grants can be read.
fn given(flags: &[String], task: Option<&Found>) -> Result<GrantSet, Vec<Problem>> {
    match task {
        Some(task) => agree::given(flags, task.manifest.as_ref(), &task.name),
        None => GrantSet::parse_all(flags.iter().map(String::as_str).filter(|flag| *flag != agree::ASKED)),
    }
}

/// A module that can be run, as far as this side can tell.
pub(super) struct Found {
    /// By its manifest, else by its file.
    pub(super) name: String,
    pub(super) wasm: Arc<[u8]>,
    /// `None`: it is built in.
    pub(super) file: Option<PathBuf>,
    pub(super) manifest: Option<Manifest>,
}

/// A file, or a task that is built in. Everything that can be wrong with it is told before a host is dialled.
pub(super) fn find_task(wanted: &str) -> Result<Found, Vec<Problem>> {
    let mut found = read_task(wanted).map_err(|problem| vec![problem])?;
    check_imports(&found.name, &found.wasm)?;
    found.manifest = manifest::of_module(&found.name, &found.wasm, found.file.as_deref())?;
    if let Some(name) = found.manifest.as_ref().and_then(|manifest| manifest.name.clone()) {
        found.name = name;
    }
    Ok(found)
}

/// Without a look into it.
fn read_task(wanted: &str) -> Result<Found, Problem> {
    let path = Path::new(wanted);
    let is_path = wanted.contains('/') || path.extension().is_some();
    if !is_path && let Some(wasm) = stubs::builtin_task(wanted) {
        let name = wanted.to_owned();
        return Ok(Found { name, wasm: Arc::from(wasm), file: None, manifest: None });
    }
    let name = path.file_stem().map_or_else(|| wanted.to_owned(), |stem| stem.to_string_lossy().into_owned());
    match std::fs::read(path) {
        Ok(wasm) => Ok(Found { name, wasm: wasm.into(), file: Some(path.to_owned()), manifest: None }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_path => {
            let names: Vec<&str> = stubs::builtin_tasks().collect();
            Err(Problem::new("task.unknown", format!("there is no task `{wanted}`")).hint(format!(
                "built in are: {}; another is given by its path, like ./{wanted}.wasm",
                names.join(", ")
            )))
        }
        Err(error) => Err(Problem::new(
            "task.read",
            format!("the task {wanted} cannot be read: {}", crate::files::plain(&error)),
        )),
    }
}

/// For the demo: the same with targets that are at hand already.
pub(super) async fn builtin(
    name: &str,
    allow: &[&str],
    param: &[&str],
    targets: &Targets,
    output: Output,
) -> Done {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let params = serde_json::Value::Object(parameters(&owned(param), None)?).to_string().into_bytes();
    let task = find_task(name)?;
    let given = given(&owned(allow), Some(&task))?;
    let selection = targets::select(targets)?;
    let about = approval::About { task: explain::task(&task), file: None };
    let Found { name, wasm, .. } = task;
    let agreement = Agreement::new(&name, None, given, &selection.shape)?;
    let timeout = std::time::Duration::from_secs(60);
    let limits = Limits { allow: Vec::new(), timeout, check: false, diff: false };
    let (approve, secrets) = (Approve::default(), Sent::default());
    start(Job { name, wasm, params, secrets, agreement, limits, approve, about, selection, output }).await
}
