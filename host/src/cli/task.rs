//! `waft task`: which tasks there are, what they say of themselves, and what is in their files.

use super::{BAD_INPUT, Done, Failure, print};
use crate::files::plain;
use crate::inventory::read_text;
use crate::manifest::MANIFEST_BYTES_MAX;
use crate::report::Terminal;
use crate::search::{Listed, Search};
use crate::stubs;
use crate::task::{self, doc, module, text};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use waft_proto::run::Problem;

#[derive(Subcommand, Debug)]
pub(crate) enum TaskCommand {
    /// The tasks that a name can mean: in the directories of WAFT_PATH, in ./tasks, and built in
    List(List),
    /// What a task says of itself: parameters, grants, result, examples
    Show(Show),
    /// A page about tasks, in Markdown, from their manifests alone
    Doc(Doc),
    /// Put a manifest into a module or component, in the place of the one that is there
    Embed(Embed),
    /// Take names of functions and what only debuggers read out of a module or component
    Strip(Strip),
    /// Make a project; the same as `waft new task`
    New(super::new::NewTask),
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Format {
    /// For people
    #[default]
    Human,
    /// One JSON document
    Json,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft task list
  WAFT_PATH=~/tasks waft task list --format json

A task that cannot be used is listed with what is wrong with it, and the exit code is 2.")]
pub(crate) struct List {
    /// How it is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft task show file
  waft task show ./deploy.wasm --format json             # with parameters and result as JSON Schema 2020-12
  waft explain ./deploy.wasm --allow asked -t web1       # what it could touch there")]
pub(crate) struct Show {
    /// A .wasm file, or the name of a task in a directory of WAFT_PATH, in ./tasks, or built in
    #[arg(value_name = "TASK")]
    task: String,
    /// How it is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft task doc ./deploy.wasm > deploy.md
  waft task doc --all > tasks.md                         # of those that are built in")]
pub(crate) struct Doc {
    /// Tasks, as for `waft run`
    #[arg(value_name = "TASK", required_unless_present = "all")]
    tasks: Vec<String>,
    /// All that are built in
    #[arg(long, conflicts_with = "tasks")]
    all: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft task embed deploy.wasm deploy.toml                # changes deploy.wasm
  waft task embed build/raw.wasm deploy.toml -o deploy.wasm

The manifest is read as `waft run` reads it, and nothing is written when something is wrong with it. The same two files make \
the same bytes every time.")]
pub(crate) struct Embed {
    /// The module or component
    #[arg(value_name = "TASK.wasm")]
    task: PathBuf,
    /// Its manifest
    #[arg(value_name = "MANIFEST.toml")]
    manifest: PathBuf,
    /// File to write [default: TASK.wasm itself]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft task strip deploy.wasm                            # changes deploy.wasm
  waft task strip deploy.wasm -o small.wasm --keep-names # traps still name the functions

The manifest stays.")]
pub(crate) struct Strip {
    /// The module or component
    #[arg(value_name = "TASK.wasm")]
    task: PathBuf,
    /// File to write [default: TASK.wasm itself]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Keep the names of functions, so that a trap tells where it was
    #[arg(long)]
    keep_names: bool,
    /// How it is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) async fn task(command: TaskCommand) -> Done {
    match command {
        TaskCommand::List(args) => list(args.format),
        TaskCommand::Show(args) => show(&args),
        TaskCommand::Doc(args) => doc(&args),
        TaskCommand::Embed(args) => embed(&args),
        TaskCommand::Strip(args) => strip(&args),
        TaskCommand::New(args) => super::new::task(&args),
    }
}

fn list(format: Format) -> Done {
    let all = Search::here().all();
    let problems: Vec<Problem> =
        all.iter().filter_map(|listed| listed.found.as_ref().err()).flatten().cloned().collect();
    if format == Format::Json {
        let tasks: Vec<serde_json::Value> = all.iter().map(listed_json).collect();
        print::out(&task::printed(&json!({"v": 1, "tasks": tasks})))?;
        return Ok(if problems.is_empty() { 0 } else { BAD_INPUT });
    }
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    print::table(&["task", "version", "from", "description"], &rows)?;
    if problems.is_empty() { Ok(0) } else { Err(Failure::Input(problems)) }
}

fn row(listed: &Listed) -> Vec<String> {
    match &listed.found {
        Ok(found) => {
            let manifest = found.manifest.as_ref();
            let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
            let description = manifest.and_then(|manifest| manifest.description.as_deref());
            vec![
                listed.name.clone(),
                text(manifest.and_then(|manifest| manifest.version.as_deref())),
                found.file.as_ref().map_or_else(|| "built in".to_owned(), |file| file.display().to_string()),
                text(description.map(task::first_sentence)),
            ]
        }
        Err(problems) => {
            let what = problems.first().map(|problem| problem.message.as_str()).unwrap_or_default();
            vec![listed.name.clone(), "-".to_owned(), "-".to_owned(), format!("cannot be used: {what}")]
        }
    }
}

fn listed_json(listed: &Listed) -> serde_json::Value {
    let told =
        |problem: &Problem| json!({"code": problem.code, "message": problem.message, "hint": problem.hint});
    match &listed.found {
        Ok(found) => {
            let manifest = found.manifest.as_ref();
            json!({
                "name": listed.name,
                "version": manifest.and_then(|manifest| manifest.version.clone()),
                "description": manifest.and_then(|manifest| manifest.description.clone()),
                "file": found.file.as_ref().map(|file| file.display().to_string()),
                "problems": [],
            })
        }
        Err(problems) => json!({
            "name": listed.name, "version": null, "description": null, "file": null,
            "problems": problems.iter().map(told).collect::<Vec<_>>(),
        }),
    }
}

fn show(args: &Show) -> Done {
    let found = Search::here().task(&args.task)?;
    match args.format {
        Format::Human => print::out(&text::show(&found, &args.task, Terminal::detect().stdout_paint()))?,
        Format::Json => print::out(&task::printed(&task::json(&found, &args.task)))?,
    }
    Ok(0)
}

fn doc(args: &Doc) -> Done {
    if args.all {
        let names = stubs::builtin_tasks();
        let mut found: Vec<_> = names.map(crate::search::builtin).collect::<Result<_, _>>()?;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        print::out(&doc::all(&found))?;
        return Ok(0);
    }
    let search = Search::here();
    let (mut pages, mut problems) = (Vec::new(), Vec::new());
    for name in &args.tasks {
        match search.task(name) {
            Ok(found) => pages.push(doc::one(&found, 1)),
            Err(more) => problems.extend(more),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Input(problems));
    }
    print::out(&pages.join("\n"))?;
    Ok(0)
}

fn embed(args: &Embed) -> Done {
    let name = args.manifest.display().to_string();
    let mut problems = Vec::new();
    let wasm = crate::search::bytes(&args.task).map_err(|problem| problems.push(problem)).ok();
    let text = read_text(&args.manifest.to_string_lossy(), MANIFEST_BYTES_MAX as u64, "manifest");
    let text = text.map_err(|problem| problems.push(problem)).ok();
    let (Some(wasm), Some(text)) = (wasm, text) else { return Err(Failure::Input(problems)) };
    let made = module::embed(&args.task.display().to_string(), &wasm, &name, &text)?;
    let to = args.output.as_ref().unwrap_or(&args.task);
    write(&args.task, to, &made)?;
    match args.format {
        Format::Human => print::out(&format!(
            "{}: {} bytes, {} of them the manifest\n",
            crate::report::escape::cell(&to.display().to_string()),
            made.len(),
            text.len()
        ))?,
        Format::Json => print::out(&task::printed(&json!({
            "v": 1, "file": to.display().to_string(), "bytes": made.len(), "manifest_bytes": text.len(),
        })))?,
    }
    Ok(0)
}

fn strip(args: &Strip) -> Done {
    let wasm = crate::search::bytes(&args.task)?;
    let made = module::strip(&args.task.display().to_string(), &wasm, args.keep_names)?;
    let to = args.output.as_ref().unwrap_or(&args.task);
    write(&args.task, to, &made)?;
    match args.format {
        Format::Human => print::out(&format!(
            "{}: {} bytes, {} before\n",
            crate::report::escape::cell(&to.display().to_string()),
            made.len(),
            wasm.len()
        ))?,
        Format::Json => print::out(&task::printed(&json!({
            "v": 1, "file": to.display().to_string(), "bytes": made.len(), "before_bytes": wasm.len(),
        })))?,
    }
    Ok(0)
}

/// As a whole or not at all, with the mode of the file that was read.
fn write(from: &Path, to: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let failed = |error: &io::Error| {
        Problem::new("task.write", format!("{} cannot be written: {}", to.display(), plain(error)))
            .hint("name another file with -o")
    };
    let mode = std::fs::metadata(from).map_err(|error| failed(&error))?.permissions();
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = tempfile::NamedTempFile::new_in(dir).map_err(|error| failed(&error))?;
    std::fs::write(made.path(), bytes).map_err(|error| failed(&error))?;
    std::fs::set_permissions(made.path(), mode).map_err(|error| failed(&error))?;
    made.persist(to).map_err(|error| failed(&error.error))?;
    Ok(())
}
