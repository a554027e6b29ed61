//! `waft new`: a project to begin with.

use super::{Done, print};
use crate::new::{self, Project};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(crate) enum New {
    /// A task: what it is built with, its manifest, a test
    Task(NewTask),
}

/// Also of `waft task new`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft new task hello --lang rust
  waft new task restart-web --lang go --dir ~/tasks/restart-web")]
pub(crate) struct NewTask {
    /// Name of the task
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Language
    #[arg(long, value_name = "LANG", value_parser = PossibleValuesParser::new(new::languages()))]
    pub(crate) lang: String,
    /// Directory of the project, which is made [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

pub(super) fn new(command: &New) -> Done {
    match command {
        New::Task(args) => task(args),
    }
}

pub(super) fn task(args: &NewTask) -> Done {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let project = Project::plan(&args.name, &args.lang)?;
    let files = project.write(&dir)?;
    let shown = dir.to_string_lossy();
    let shown = new::shell_word(&shown);
    let name = &args.name;
    print::out(&format!(
        "{files} files in {shown}; next:\n\n    \
         make -C {shown}             # {name}.wasm\n    \
         make -C {shown} test        # its test\n    \
         waft run {shown}/{name}.wasm -t local -p name=you --allow asked\n"
    ))?;
    Ok(0)
}
