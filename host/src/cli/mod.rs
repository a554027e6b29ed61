//! The command line: words to values, values to library calls, ends to exit codes.
//!
//! Exit codes: 0 done; 1 our own fault; 2 bad usage or input, before anything was sent; 3 failed or timed
//! out; 4 unreachable or lost; 5 refused; 130 cancelled. The worst of several is taken.

mod agreement;
mod approval;
mod args;
mod audit;
mod demo;
mod explain;
mod inventory;
mod new;
mod ping;
mod policy;
mod print;
mod run;
mod script;
mod sign;
mod stub;
mod targets;
mod task;
mod tree;
mod verify;

use crate::report::escape;
use args::{Cli, Command};
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use waft_proto::grant::nearest;
use waft_proto::run::Problem;

/// Exit code for bad usage or input.
const BAD_INPUT: u8 = 2;

/// How a command ended without a result of its own to show.
pub(crate) enum Failure {
    /// Nothing was sent: exit code 2.
    Input(Vec<Problem>),
    /// Our own fault: exit code 1.
    Own(Problem),
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Failure {
        Failure::Input(problems)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure::Input(vec![problem])
    }
}

pub(crate) type Done = Result<u8, Failure>;

pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| misused(&error));
    let done = match cli.command {
        Command::Compile { args } => return crate::compile::child::main(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "waft", &mut script);
            print::out(&String::from_utf8_lossy(&script)).map(|()| 0)
        }
        command => dispatch(command),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let (problems, code) = match failure {
                Failure::Input(problems) => (problems, BAD_INPUT),
                Failure::Own(problem) => (vec![problem], 1),
            };
            for problem in &problems {
                print::error(problem);
            }
            ExitCode::from(code)
        }
    }
}

/// As clap says it, and what it cannot know.
fn misused(error: &clap::Error) -> ! {
    // Nobody is left to tell when stderr is gone.
    let _ = error.print();
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(hint) = hint(error, &words) {
        let _ = writeln!(std::io::stderr(), "\nhint: {hint}");
    }
    std::process::exit(error.exit_code());
}

fn hint(error: &clap::Error, words: &[String]) -> Option<String> {
    let kind = error.kind();
    if kind == ErrorKind::InvalidSubcommand {
        // clap's own suggestion misses two letters that were swapped in a short word.
        let suggested = error.get(ContextKind::SuggestedSubcommand).is_some();
        return mistyped(words).filter(|_| !suggested).map(|near| format!("did you mean `{near}`?"));
    }
    let is_exec = words.get(1).is_some_and(|word| word == "exec") && !words.iter().any(|word| word == "--");
    let is_program = matches!(kind, ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument);
    (is_exec && is_program)
        .then(|| "put -- before the program: waft exec -t web1 -- systemctl is-active nginx".to_owned())
}

/// The command that the first word which is none was probably to be: `waft rnu`, `waft policy chekc`.
fn mistyped(words: &[String]) -> Option<String> {
    let mut command = Cli::command();
    for word in words.iter().skip(1) {
        match command.find_subcommand(word) {
            Some(below) => command = below.clone(),
            None => {
                let names = command.get_subcommands().filter(|below| !below.is_hide_set());
                return nearest(word, names.map(clap::Command::get_name)).map(str::to_owned);
            }
        }
    }
    None
}

fn dispatch(command: Command) -> Done {
    let verbose = match &command {
        Command::Run(run) => run.output.verbose,
        Command::Exec(exec) => exec.output.verbose,
        Command::Script(script) => script.output.verbose,
        Command::Ping(ping) => ping.output.verbose,
        _ => 0,
    };
    log_to_stderr(verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Failure::Own(Problem::new("runtime", format!("cannot start: {}", crate::files::plain(&error))))
    })?;
    let code = runtime.block_on(async {
        match command {
            Command::Run(run) => run::run(run).await,
            Command::Exec(exec) => run::exec(exec).await,
            Command::Script(args) => script::script(*args).await,
            Command::Explain(explain) => explain::explain(explain).await,
            Command::Ping(ping) => ping::ping(ping).await,
            Command::Tree(tree) => tree::tree(tree).await,
            Command::Inventory(inventory) => inventory::inventory(inventory).await,
            Command::Stub(stub) => stub::stub(stub).await,
            Command::Task(command) => task::task(command).await,
            Command::Sign(sign) => sign::sign(sign).await,
            Command::Verify(verify) => verify::verify(verify).await,
            Command::Policy(command) => policy::policy(command).await,
            Command::Audit(command) => audit::audit(command).await,
            Command::New(new) => new::new(&new),
            Command::Demo(demo) => demo::demo(demo).await,
            Command::Completions { .. } | Command::Compile { .. } => Ok(0),
        }
    });
    // A task that still blocks (a name that is being looked up) must not keep the user waiting.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    code
}

/// Warnings always, more with `-v`: plain lines on stderr.
fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let filter = tracing_subscriber::filter::Targets::new()
        .with_target("waft", level)
        .with_target("waft_hop", level)
        .with_target("waft_proto", level)
        .with_default(if verbose >= 3 { level } else { tracing::Level::ERROR });
    use tracing_subscriber::Layer;
    use tracing_subscriber::field::MakeExt;
    use tracing_subscriber::fmt::format::debug_fn;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    // Targets have a say in these as well. Its own escapes leave out what turns text around, and new lines: those would be
    // lines of ours.
    let fields = debug_fn(|out, field, value| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => write!(out, "{}", escape::cell(&text)),
            name => write!(out, "{name}={}", escape::cell(&text)),
        }
    });
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(fields.delimited(" "))
        .without_time()
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr);
    // Only fails when a subscriber is set already, which then serves as well.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// Resolves when the operator presses Ctrl-C or the process is told to end.
pub(crate) async fn interrupt() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
    // A second one does not wait for anybody.
    tokio::spawn(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        std::process::exit(130);
    });
}

#[cfg(test)]
mod tests {
    use super::{Cli, Parser, hint};

    #[test]
    fn a_program_without_its_dashes_gets_a_hint() {
        let hinted = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            Cli::try_parse_from(&words).err().map(|error| hint(&error, &words).is_some())
        };
        assert_eq!(hinted("waft exec -t web1 uptime"), Some(true));
        assert_eq!(hinted("waft exec -t web1 ls -l"), Some(true));
        assert_eq!(hinted("waft exec -t web1"), Some(true));
        assert_eq!(hinted("waft exec -t web1 -- uptime"), None);
        assert_eq!(hinted("waft exec --timeout x -- uptime"), Some(false));
        assert_eq!(hinted("waft ping web1"), Some(false));
    }

    #[test]
    fn a_command_that_is_none_is_told_what_it_is_near() {
        // By clap, or by us; never by both.
        let told = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let error = Cli::try_parse_from(&words).expect_err("no command");
            let by_clap = error.to_string().contains("similar");
            (by_clap, hint(&error, &words))
        };
        for (line, near) in [
            ("waft rnu x", "run"),
            ("waft pnig", "ping"),
            ("waft eexc", "exec"),
            ("waft policy chekc", "check"),
        ] {
            let (by_clap, hint) = told(line);
            let ours = hint == Some(format!("did you mean `{near}`?"));
            assert!(by_clap != ours, "{line}: {by_clap} {hint:?}");
        }
        assert_eq!(told("waft rnu x"), (false, Some("did you mean `run`?".to_owned())));
        assert_eq!(told("waft zzzz"), (false, None));
    }
}
