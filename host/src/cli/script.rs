//! `waft script`: a script in place of a task.

use super::args::{Approve, Limits, Output, Run, Secrets, Targets};
use super::{Done, Failure};
use crate::params;
use crate::script::{NATIVE, STDIN, Script, grant};
use crate::search::Search;
use clap::Args;
use serde_json::{Value, json};
use waft_proto::run::Problem;

const EXAMPLES: &str = "\
Examples:
  waft script -t web report.py -p days:=7              # Python in the sandbox: the target needs none
  waft script -t web tidy.js --allow fs:/srv/app:rw -- --dry
  waft script -t web --native fix.sh --allow 'exec:/bin/sh /dev/fd/3 **' -- now
  generate | waft script -t web --native - --allow 'exec:/bin/sh /dev/fd/3 **'

The script finds the parameters in `waft` (Python, JavaScript, Lua), or as one JSON object on its standard input. One JSON
object on its standard output is the result. A native script runs as the account on the target, with no wall around it; it
is in memory there, on no disk.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ScriptArgs {
    /// The script; - is stdin
    #[arg(value_name = "FILE")]
    file: String,
    /// Arguments of the script
    #[arg(last = true, value_name = "ARG")]
    args: Vec<String>,
    /// Start an interpreter of the target, by the grant exec: for it, and not a task in the sandbox
    #[arg(long)]
    native: bool,
    /// The task that interprets it [default: by the ending .py, .js, .mjs or .lua, or the line #!]; with --native the
    /// program and its options [default: by the line #!, else /bin/sh]
    #[arg(long, value_name = "NAME")]
    interpreter: Option<String>,
    /// Parameter of the script: key=text or key:=JSON
    #[arg(short, long = "param", value_name = "K=V")]
    param: Vec<String>,
    /// File with all parameters as one JSON object; - is stdin
    #[arg(long, value_name = "FILE")]
    params: Option<String>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    approve: Approve,
    #[command(flatten)]
    secrets: Secrets,
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    pub(super) output: Output,
}

pub(super) async fn script(args: ScriptArgs) -> Done {
    let mut problems = Vec::new();
    if args.file == STDIN && args.params.as_deref() == Some(STDIN) {
        let text = "script and parameters are both to be read from standard input";
        problems.push(Problem::new("usage.stdin", text).hint("put one of them into a file"));
        return Err(Failure::Input(problems));
    }
    let script = Script::read(&args.file).map_err(|problem| problems.push(problem)).ok();
    let params = super::run::parameters(&args.param, args.params.as_deref());
    let params = params.map_err(|more| problems.extend(more)).ok();
    let params = params.and_then(|params| object(params).map_err(|problem| problems.push(problem)).ok());
    let how = script.as_ref().map(|script| How::of(&args, script));
    let how = how.and_then(|how| how.map_err(|problem| problems.push(problem)).ok());
    let (Some(script), Some(params), Some(how)) = (script, params, how) else {
        return Err(Failure::Input(problems));
    };
    let mut given = vec![
        ("script", json!(script.text)),
        ("name", json!(script.name)),
        ("params", params),
        ("args", json!(args.args)),
    ];
    let (task, mut asks) = match how {
        How::Task(task) => (task, Vec::new()),
        How::Native(words) => {
            let asked = grant(&words, args.limits.check);
            given.push(("interpreter", json!(words)));
            (NATIVE.to_owned(), vec![asked])
        }
    };
    if !asks.is_empty() {
        // Variables of the login, for one: what is given is given to the script.
        asks.extend(args.limits.allow.iter().filter(|grant| *grant != "asked").cloned());
    }
    let param = given.into_iter().map(|(name, value)| format!("{name}:={value}")).collect();
    super::run::run(Run {
        task,
        param,
        params: None,
        limits: args.limits,
        approve: args.approve,
        secrets: args.secrets,
        targets: args.targets,
        output: args.output,
        asks,
    })
    .await
}

enum How {
    Task(String),
    Native(Vec<String>),
}

impl How {
    fn of(args: &ScriptArgs, script: &Script) -> Result<How, Problem> {
        if args.native {
            return script.interpreter(args.interpreter.as_deref()).map(How::Native);
        }
        let task = match &args.interpreter {
            Some(task) => task.clone(),
            None => script.task()?.to_owned(),
        };
        match Search::here().task(&task) {
            Err(problems) if problems.iter().any(|problem| problem.code == "task.unknown") => {
                let text = format!(
                    "the script {} is to be run by the task `{task}`, which is not here",
                    script.name
                );
                Err(Problem::new("script.task", text).hint(format!(
                    "this waft was built without it: put {task}.wasm into ./tasks or a directory that WAFT_PATH names \
                     (`make interpreters` in the source tree builds python and javascript), or name another with --interpreter; \
                     --native starts an interpreter of the target"
                )))
            }
            // What else is wrong with it the run says.
            _ => Ok(How::Task(task)),
        }
    }
}

/// Files go to tasks, which can ask for them; a script is told what it was given.
fn object(params: params::Params) -> Result<Value, Problem> {
    match params.files.first() {
        None => Ok(Value::Object(params.object)),
        Some((name, _)) => {
            let text = format!("`-p {name}@` names a file, and a script has no parameters that are files");
            Err(Problem::new("params.files", text).hint(format!("give its text: -p {name}=\"$(cat FILE)\"")))
        }
    }
}
