//! `waft explain`: what a task could touch, where, and who is in between. Nothing is dialled.

use super::args::Targets;
use super::{Done, Failure, print, targets};
use crate::along::{Along, files::read_all};
use crate::explain::{Task, explain_with, secrets, text, way};
use crate::manifest::{Manifest, agree};
use crate::params;
use crate::report::{Terminal, json};
use crate::search::{Found, Search};
use crate::secret::Declarations;
use clap::{Args, ValueEnum};
use waft_proto::run::Problem;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft explain facts                                     # the task alone
  waft explain ./restart.wasm --allow asked -t web -i hosts.toml
  waft explain ./restart.wasm -t all -i hosts.toml > restart.txt   # the same every time: for review and diff
  waft explain ./restart.wasm -t web1 --via bastion --format json

A task asks by its manifest: TOML in the section `waft.task` of the module, or in NAME.toml beside NAME.wasm. What it gets \
is what it asks for and is given; the policy of the target may take away more.")]
pub(crate) struct Explain {
    /// A .wasm file, or the name of a task in a directory of WAFT_PATH, in ./tasks, or built in
    #[arg(value_name = "TASK")]
    task: String,
    /// Parameter, as for `waft run`: it is checked, and the file that it names is told
    #[arg(short, long = "param", value_name = "K=V")]
    param: Vec<String>,
    /// Grant to give, as for `waft run`; `asked` is all that the manifest asks for; may be repeated
    #[arg(long, value_name = "GRANT")]
    allow: Vec<String>,
    /// What would be left of it in a dry run
    #[arg(long)]
    check: bool,
    /// How it is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    targets: Targets,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Format {
    /// For people
    #[default]
    Human,
    /// One JSON document
    Json,
}

pub(super) async fn explain(args: Explain) -> Done {
    let mut problems = Vec::new();
    let mut keep = |more: Vec<Problem>| problems.extend(more);
    let found = Search::here().task(&args.task).map_err(&mut keep).ok();
    let params = params::merge(&args.param, None).and_then(|params| {
        // Whoever explains a task need not know all its parameters yet.
        match found.as_ref().and_then(|found| Some((found, found.manifest.as_ref()?.params.as_ref()?))) {
            Some((found, schema)) => params.fit_in_part(&found.name, schema),
            None => Ok(params),
        }
    });
    let files = params.and_then(|params| read_all(params.files)).map_err(&mut keep).ok();
    let given = found.as_ref().and_then(|found| {
        agree::given(&args.allow, found.manifest.as_ref(), &found.name).map_err(&mut keep).ok()
    });
    // Without -t it is about the task alone; whoever names an inventory or hops means hosts.
    let named = !args.targets.target.is_empty() || !args.targets.via.is_empty();
    let selection =
        if named { targets::select(&args.targets).map_err(&mut keep).ok().map(Some) } else { Some(None) };
    let (Some(found), Some(given), Some(selection), Some(files)) = (found, given, selection, files) else {
        return Err(Failure::Input(problems));
    };
    let declared = found.manifest.as_ref().map(|manifest| manifest.secrets.clone()).unwrap_or_default();
    let (hosts, inventory) = match selection {
        Some(selection) => {
            let hosts = way::hosts(&selection.shape, &selection.setup.resolver).await;
            (Some(hosts), selection.secrets)
        }
        None => (None, Declarations::new()),
    };
    let asked = found.manifest.as_ref().and_then(Manifest::asked);
    let inventories = hosts.iter().flatten().map(|host| &host.allow);
    let sent = inventories.chain([&given]).map(|given| agree::effective(asked, given));
    let sent = agree::together(&sent.collect::<Result<Vec<_>, _>>()?)?;
    let sent: Vec<String> = sent.iter().map(|grant| grant.to_string()).collect();
    let along = Along::find(&sent, files, &Search::here())?;
    let mut explained = explain_with(&task(&found), &given, hosts, args.check, &along)?;
    let declared = along.declared(&declared);
    explained.secrets = secrets::told(&explained, &[&inventory, &declared]);
    match args.format {
        Format::Human => print::out(&text::text(&explained, Terminal::detect().stdout_paint()))?,
        Format::Json => {
            let text = serde_json::to_string_pretty(&explained).map_err(|error| {
                Failure::Own(Problem::new(
                    "report.write",
                    format!("it cannot be printed: {}", crate::files::plain(&error)),
                ))
            })?;
            print::out(&format!("{}\n", json::without_hostile(text)))?;
        }
    }
    Ok(0)
}

pub(super) fn task(found: &Found) -> Task {
    Task {
        name: found.name.clone(),
        file: found.file.as_ref().map(|file| file.display().to_string()),
        hash: waft_proto::id::Hash::of(&found.wasm),
        imports: crate::manifest::imports(&found.wasm),
        manifest: found.manifest.clone(),
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::args::{Cli, Command};
    use crate::explain::TIME_MS_DEFAULT;
    use clap::Parser;

    #[test]
    fn the_running_time_it_tells_is_that_of_a_run() {
        let cli = Cli::try_parse_from(["waft", "run", "facts", "-t", "local"]).expect("a command line");
        let Command::Run(run) = cli.command else { panic!("another command: {:?}", cli.command) };
        assert_eq!(run.limits.timeout.as_millis(), u128::from(TIME_MS_DEFAULT));
    }
}
