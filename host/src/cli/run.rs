//! `waft run` and `waft exec`.

use super::agreement::Agreement;
use super::args::{Approve, Exec, Format, Limits, Output, Run, Secrets, Targets};
use super::audit::Recorded;
use super::targets::{self, Selection};
use super::{Done, Failure, approval, explain};
use crate::along::{Along, files::read_all};
use crate::compile::Cache;
use crate::controller::Controller;
use crate::files;
use crate::manifest::{Manifest, agree};
use crate::params::{self, Params};
use crate::report::{self, Reporter, Terminal, Verbosity};
use crate::run::{AfterReboot, Head, Request, order, run as run_task};
use crate::search::{self, Found, Search};
use crate::secret::{self, Plan, Sent};
use crate::tree::{Shape, ShapeNode, Transport};
use std::sync::Arc;
use waft_proto::grant::GrantSet;
use waft_proto::run::Problem;
use waft_proto::secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, SECRETS_BYTES_MAX, SECRETS_MAX};

pub(super) async fn run(args: Run) -> Done {
    let mut problems = Vec::new();
    let mut keep = |more: Vec<Problem>| problems.extend(more);
    dry_run(&args.limits).map_err(|problem| keep(vec![problem])).ok();
    let params = parameters(&args.param, args.params.as_deref()).map_err(&mut keep).ok();
    let task = Search::here().task(&args.task).and_then(|task| asking(task, &args.asks));
    let task = task.map_err(&mut keep).ok();
    let given = given(&args.limits.allow, task.as_ref()).map_err(&mut keep).ok();
    let selection = targets::select(&args.targets).map_err(&mut keep).ok();
    let flags = secret_flags(&args.secrets).map_err(&mut keep).ok();
    let params = params.and_then(|params| fitting(params, task.as_ref()).map_err(&mut keep).ok());
    let hidden = params.as_ref().map(|params| hidden(params, task.as_ref())).unwrap_or_default();
    let params = params.map(|params| Ok((params.object, read_all(params.files)?)));
    let params = params.and_then(|params| params.map_err(&mut keep).ok());
    let (Some((mut params, files)), Some(task), Some(given), Some(mut selection), Some(flags), []) =
        (params, task, given, selection, flags, &*problems)
    else {
        return Err(Failure::Input(problems));
    };
    let about = approval::About { task: explain::task(&task), file: task.file.clone() };
    let Found { name, wasm, manifest, .. } = task;
    let asked = manifest.as_ref().and_then(Manifest::asked).cloned();
    let after_reboot = manifest.as_ref().filter(|manifest| manifest.after_reboot);
    let after_reboot = after_reboot.map(|_| AfterReboot::of(&params));
    if after_reboot.is_some() && !args.limits.check {
        elsewhere(&name, &selection.shape)?;
    }
    let mut agreement = Agreement::new(&name, asked, given, &selection.shape)?;
    agreement.settle(&selection.shape, args.output.format, manifest.as_ref(), &params).await?;
    let declared = manifest.map(|manifest| manifest.secrets).unwrap_or_default();
    selection.shape = agreement.narrowed(selection.shape)?;
    for file in &files {
        params.insert(file.param.clone(), file.reference());
    }
    let along = along(&agreement, &selection.shape, files)?;
    let declared = along.declared(&declared);
    let plan = Plan::new(flags, &selection.secrets, &declared, &agreement.allow()?, &selection.shape)?;
    let mut secrets = plan.read().await?;
    secrets.hide(hidden);
    let params = serde_json::Value::Object(params).to_string().into_bytes();
    let (limits, approve, output) = (args.limits, args.approve, args.output);
    start(Job {
        name,
        wasm,
        params,
        secrets,
        along,
        after_reboot,
        agreement,
        limits,
        approve,
        about,
        selection,
        output,
    })
    .await
}

/// The task with these grants asked for, if there are any, in place of its manifest's.
fn asking(mut task: Found, asks: &[String]) -> Result<Found, Vec<Problem>> {
    if let (Some(manifest), [_, ..]) = (&mut task.manifest, asks) {
        manifest.grants = GrantSet::parse_all(asks.iter().map(String::as_str))?;
        manifest.given = false;
    }
    Ok(task)
}

/// Who reboots the machine that waits for it waits in vain.
fn elsewhere(task: &str, shape: &Shape) -> Result<(), Vec<Problem>> {
    let here = |node: &&ShapeNode| node.endpoint.transport == Transport::Local;
    let problem = |node: &ShapeNode| {
        let name = &node.endpoint.name;
        Problem::new(
            "reboot.local",
            format!("{task} reboots {name}, and that is the machine that would wait for it"),
        )
        .hint("take it out with `-t '!NAME'`, or reboot it from another machine")
    };
    let problems: Vec<Problem> = shape.selected().filter(here).map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Finds the tasks that any target may call.
fn along(
    agreement: &Agreement,
    shape: &Shape,
    files: Vec<crate::along::files::File>,
) -> Result<Along, Vec<Problem>> {
    let allow = agreement.allow().map_err(|problem| vec![problem])?;
    let all: Vec<String> =
        allow.into_iter().chain(shape.selected().flat_map(|node| node.allow.clone())).collect();
    let along = Along::find(&all, files, &Search::here())?;
    for hash in along.unsent(&all) {
        tracing::warn!("blob:{hash} is given, and no file of that hash is sent: name it with -p NAME@FILE");
    }
    Ok(along)
}

/// Whoever names the program is the one who asks: nothing is taken from what is given.
pub(super) async fn exec(args: Exec) -> Done {
    let mut problems = Vec::new();
    let mut keep = |more: Vec<Problem>| problems.extend(more);
    dry_run(&args.limits)?;
    let task = search::builtin("exec")?;
    let mut wanted = vec!["exec:*".to_owned()];
    wanted.extend(args.limits.allow.iter().cloned());
    let given = given(&wanted, Some(&task)).map_err(&mut keep).ok();
    let selection = targets::select(&args.targets).map_err(&mut keep).ok();
    let (Some(given), Some(selection)) = (given, selection) else { return Err(Failure::Input(problems)) };
    let about = approval::About { task: explain::task(&task), file: None };
    let Found { name, wasm, .. } = task;
    let agreement = Agreement::new(&name, None, given, &selection.shape)?;
    let params = serde_json::json!({ "argv": args.argv }).to_string().into_bytes();
    let along = along(&agreement, &selection.shape, Vec::new())?;
    let (secrets, limits, approve, output) = (Sent::default(), args.limits, args.approve, args.output);
    start(Job {
        name,
        wasm,
        params,
        secrets,
        along,
        after_reboot: None,
        agreement,
        limits,
        approve,
        about,
        selection,
        output,
    })
    .await
}

struct Job {
    name: String,
    wasm: Arc<[u8]>,
    params: Vec<u8>,
    secrets: Sent,
    along: Along,
    after_reboot: Option<AfterReboot>,
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
    for name in &job.secrets.unhidden {
        tracing::warn!(
            "the sensitive parameter {name} is not taken out of output: that takes {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} \
             bytes, and {SECRETS_MAX} secrets and parameters of {SECRETS_BYTES_MAX} bytes together"
        );
    }
    let cached =
        files::cache_dir().map(|dir| files::guarded(&dir, "artifacts", "XDG_CACHE_HOME")).transpose()?;
    let cache = Cache::new(cached);
    let blobs = job.along.blobs()?;
    let mut request = Request {
        task: job.name,
        wasm: job.wasm,
        params: job.params,
        allow: job
            .agreement
            .allow()?
            .into_iter()
            .chain(blobs.iter().map(|grant| grant.to_string()))
            .collect(),
        check: job.limits.check,
        diff: job.limits.diff,
        timeout: job.limits.timeout,
        head: Head::default(),
        vouched: Default::default(),
        secrets: job.secrets,
        along: job.along,
        after_reboot: job.after_reboot,
    };
    if let Some(file) = &job.approve.approval_request {
        return approval::ask(file, &job.approve, &request, &job.about, &job.selection).await;
    }
    request.vouched = approval::vouched(&job.approve, &request, &job.about, &job.selection.shape)?;
    order::fits(&request, &job.selection.shape)?;
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
pub(super) fn parameters(pairs: &[String], file: Option<&str>) -> Result<Params, Vec<Problem>> {
    let text = file.map(params::read).transpose().map_err(|problem| vec![problem])?;
    params::merge(pairs, file.zip(text.as_deref()))
}

/// By the schema of the task, if it has one. Without the task nobody can say what they should be.
fn fitting(params: Params, task: Option<&Found>) -> Result<Params, Vec<Problem>> {
    match task.and_then(|task| Some((task, task.manifest.as_ref()?.params.as_ref()?))) {
        Some((task, schema)) => params.fit(&task.name, schema),
        None => Ok(params),
    }
}

/// Values that are not to be shown, by the names of their parameters.
fn hidden(params: &Params, task: Option<&Found>) -> Vec<(String, String)> {
    let schema = task.and_then(|task| task.manifest.as_ref()?.params.as_ref());
    schema.map(|schema| params::sensitive(schema, &params.object)).unwrap_or_default()
}

/// What `--allow` gives. Without the task nobody can say what `asked` is, but the other grants can be read.
fn given(flags: &[String], task: Option<&Found>) -> Result<GrantSet, Vec<Problem>> {
    match task {
        Some(task) => agree::given(flags, task.manifest.as_ref(), &task.name),
        None => GrantSet::parse_all(flags.iter().map(String::as_str).filter(|flag| *flag != agree::ASKED)),
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
    let task = search::builtin(name)?;
    let params = fitting(parameters(&owned(param), None)?, Some(&task))?;
    let params = serde_json::Value::Object(params.object).to_string().into_bytes();
    let given = given(&owned(allow), Some(&task))?;
    let selection = targets::select(targets)?;
    let about = approval::About { task: explain::task(&task), file: None };
    let Found { name, wasm, .. } = task;
    let agreement = Agreement::new(&name, None, given, &selection.shape)?;
    let timeout = std::time::Duration::from_secs(60);
    let limits = Limits { allow: Vec::new(), timeout, check: false, diff: false };
    let (approve, secrets, along) = (Approve::default(), Sent::default(), Along::default());
    start(Job {
        name,
        wasm,
        params,
        secrets,
        along,
        after_reboot: None,
        agreement,
        limits,
        approve,
        about,
        selection,
        output,
    })
    .await
}
