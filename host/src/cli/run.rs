//! `waft run` and `waft exec`.

use super::args::{Exec, Format, Limits, Output, Run, Targets};
use super::targets::{self, Selection};
use super::{Done, Failure, interrupt};
use crate::compile::Cache;
use crate::controller::Controller;
use crate::files;
use crate::report::{self, Reporter, Terminal, Verbosity};
use crate::run::{Request, run as run_task};
use crate::{params, stubs};
use std::path::Path;
use std::sync::Arc;
use waft_proto::grant::GrantSet;
use waft_proto::run::Problem;

pub(super) async fn run(args: Run) -> Done {
    let mut problems = Vec::new();
    let mut keep = |more: Vec<Problem>| problems.extend(more);
    let params = parameters(&args.param, args.params.as_deref()).map_err(&mut keep).ok();
    let task = find_task(&args.task).map_err(|problem| keep(vec![problem])).ok();
    let allow = grants(&args.limits.allow).map_err(&mut keep).ok();
    let selection = targets::select(&args.targets).map_err(&mut keep).ok();
    let (Some(params), Some((name, wasm)), Some(allow), Some(selection)) = (params, task, allow, selection)
    else {
        return Err(Failure::Input(problems));
    };
    let params = serde_json::Value::Object(params).to_string().into_bytes();
    start(Job { name, wasm, params, allow, limits: args.limits, selection, output: args.output }).await
}

pub(super) async fn exec(args: Exec) -> Done {
    let mut problems = Vec::new();
    let mut keep = |more: Vec<Problem>| problems.extend(more);
    let mut wanted = vec!["exec:*".to_owned()];
    wanted.extend(args.limits.allow.iter().cloned());
    let allow = grants(&wanted).map_err(&mut keep).ok();
    let selection = targets::select(&args.targets).map_err(&mut keep).ok();
    let (Some(allow), Some(selection)) = (allow, selection) else { return Err(Failure::Input(problems)) };
    let (name, wasm) = find_task("exec")?;
    let params = serde_json::json!({ "argv": args.argv }).to_string().into_bytes();
    start(Job { name, wasm, params, allow, limits: args.limits, selection, output: args.output }).await
}

struct Job {
    name: String,
    wasm: Arc<[u8]>,
    params: Vec<u8>,
    allow: Vec<String>,
    limits: Limits,
    selection: Selection,
    output: Output,
}

async fn start(job: Job) -> Done {
    // Everything that can be wrong here is told before a host is dialled.
    crate::compile::check_imports(&job.name, &job.wasm)?;
    let cache = Cache::new(files::cache_dir().map(|dir| dir.join("artifacts")));
    let request = Request {
        task: job.name,
        wasm: job.wasm,
        params: job.params,
        allow: job.allow,
        check: false,
        timeout: job.limits.timeout,
    };
    let mut reporter = reporter(&job.output);
    let mut controller = Controller::start(job.selection.shape, job.selection.setup)?;
    let finished = {
        let mut sink = |event: &crate::event::Event| reporter.event(event);
        run_task(&mut controller, &cache, &request, &mut sink, interrupt()).await
    };
    for name in controller.stop().await {
        tracing::warn!("{name} did not end its stub in time; it ends when its link does");
    }
    match reporter.finish() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(Failure::Own(Problem::new(
                "report.write",
                format!("the report could not be written: {error}"),
            )));
        }
        _ => {}
    }
    let finished = finished.map_err(Failure::Own)?;
    Ok(report::exit_code(finished.counts.keys().copied()))
}

fn reporter(output: &Output) -> Box<dyn Reporter + Send> {
    let format = match output.format {
        Format::Human => report::Format::Human,
        Format::Jsonl => report::Format::JsonLines,
        Format::Json => report::Format::Json,
    };
    report::reporter(format, Terminal::detect(), Verbosity(output.verbose))
}

/// `--params`, and over it each `-p`.
fn parameters(
    pairs: &[String],
    file: Option<&str>,
) -> Result<serde_json::Map<String, serde_json::Value>, Vec<Problem>> {
    let text = file.map(params::read).transpose().map_err(|problem| vec![problem])?;
    params::merge(pairs, file.zip(text.as_deref()))
}

/// Canonical texts of the grants, or everything that is wrong with them.
fn grants(texts: &[String]) -> Result<Vec<String>, Vec<Problem>> {
    let set = GrantSet::parse_all(texts.iter().map(String::as_str))?;
    Ok(set.iter().map(|grant| grant.to_string()).collect())
}

/// A file, or a task that is built in. Gives the name and the module.
fn find_task(wanted: &str) -> Result<(String, Arc<[u8]>), Problem> {
    let path = Path::new(wanted);
    let is_path = wanted.contains('/') || path.extension().is_some();
    if !is_path && let Some(wasm) = stubs::builtin_task(wanted) {
        return Ok((wanted.to_owned(), Arc::from(wasm)));
    }
    let name = path.file_stem().map_or_else(|| wanted.to_owned(), |stem| stem.to_string_lossy().into_owned());
    match std::fs::read(path) {
        Ok(wasm) => Ok((name, wasm.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_path => {
            let names: Vec<&str> = stubs::builtin_tasks().collect();
            Err(Problem::new("task.unknown", format!("there is no task `{wanted}`")).hint(format!(
                "built in are: {}; another is given by its path, like ./{wanted}.wasm",
                names.join(", ")
            )))
        }
        Err(error) => Err(Problem::new("task.read", format!("the task {wanted} cannot be read: {error}"))),
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
    let (name, wasm) = find_task(name)?;
    let allow = grants(&owned(allow))?;
    let selection = targets::select(targets)?;
    let limits = Limits { allow: Vec::new(), timeout: std::time::Duration::from_secs(60) };
    start(Job { name, wasm, params, allow, limits, selection, output }).await
}
