//! The words of the command line. Only this module and its siblings know clap.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Runs sandboxed WebAssembly tasks on many machines over SSH, through hops, leaving nothing behind.
#[derive(Parser, Debug)]
#[command(name = "waft", version, about, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a task on the selected targets
    Run(Run),
    /// Run a program on the selected targets (a built-in task with the grant exec:* for it)
    Exec(Exec),
    /// Run a script on the selected targets: in the sandbox, or by an interpreter of the target
    Script(Box<super::script::ScriptArgs>),
    /// Say what a task could touch, on which hosts, and who is in between; dials nothing
    Explain(super::explain::Explain),
    /// Say who answers: stub, machine, user, round-trip time, how the stub came there, walls, policy
    Ping(Ping),
    /// Show the tree of hops and targets, before and after dialling
    Tree(Tree),
    /// Look into the inventory
    #[command(subcommand)]
    Inventory(Inventory),
    /// The stubs at hand
    #[command(subcommand)]
    Stub(Stub),
    /// Look at tasks, make pages of them, and put their manifests in
    #[command(subcommand)]
    Task(super::task::TaskCommand),
    /// Sign a task: an SSH signature over its hash, beside it
    Sign(super::sign::Sign),
    /// Say who has signed a task, by a list of allowed signers
    Verify(super::verify::Verify),
    /// Check the policy of a node, and explain what it says
    #[command(subcommand)]
    Policy(super::policy::PolicyCommand),
    /// Show what was run, by whom and where, and verify that nothing of it was changed
    #[command(subcommand)]
    Audit(super::audit::Audit),
    /// Make a project: a task in Rust, C, Go and other languages, which builds, has a test, and runs
    #[command(subcommand)]
    New(super::new::New),
    /// Start a small fleet of SSH servers in this process and run a task on it, through a bastion
    Demo(Demo),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
    /// The compiler's own process: WebAssembly on stdin, an artifact on stdout
    #[command(name = "__compile", hide = true)]
    Compile { args: Vec<String> },
}

#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Targets {
    /// Target: user@host:port, a host or group of the inventory, a glob, web[01-20], @FILE, all, local, !SEL
    #[arg(short, long = "target", value_name = "SEL", allow_hyphen_values = true)]
    pub(crate) target: Vec<String>,
    /// Inventory file (TOML or YAML)
    #[arg(short, long, value_name = "FILE", env = "WAFT_INVENTORY")]
    pub(crate) inventory: Option<PathBuf>,
    /// Hop to go through, once per hop, nearest to you first; replaces the inventory's `via`
    #[arg(long, value_name = "HOST")]
    pub(crate) via: Vec<String>,
    /// ssh_config to read instead of ~/.ssh/config
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// known_hosts to read instead of ssh's own
    #[arg(long, value_name = "FILE")]
    pub(crate) known_hosts: Option<PathBuf>,
    /// Private key to log in with; may be given more than once
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Vec<PathBuf>,
}

#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Output {
    /// How results are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Say more; repeat for more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// For people
    #[default]
    Human,
    /// One event a line, as it happens
    Jsonl,
    /// One array of results, at the end
    Json,
}

#[derive(Args, Debug)]
pub(crate) struct Limits {
    /// Grant to give: fs:/etc:ro, "exec:/usr/bin/id", facts, mem:64M, ...; `asked` is all that the task's manifest
    /// asks for; may be repeated
    #[arg(long, value_name = "GRANT")]
    pub(crate) allow: Vec<String>,
    /// Running time per target
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Change nothing: say what would change
    #[arg(long)]
    pub(crate) check: bool,
    /// With --check: show the lines of files that would change
    #[arg(long)]
    pub(crate) diff: bool,
}

#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Approve {
    /// Write down what would run, for others to approve with `waft sign FILE`, and run nothing
    #[arg(long, value_name = "FILE", conflicts_with = "approval")]
    pub(crate) approval_request: Option<PathBuf>,
    /// How long that approval is good, from now [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "approval_request")]
    pub(crate) approval_valid: Option<Duration>,
    /// Approval to send along, with the signatures in FILE.sig
    #[arg(long, value_name = "FILE")]
    pub(crate) approval: Option<PathBuf>,
}

#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Secrets {
    /// Secret that a task may read, and where its value is: NAME=SOURCE, or NAME:bytes=SOURCE for what is no text; SOURCE
    /// is prompt, env:VARIABLE, file:PATH, cmd:"PROGRAM ARG..." or age:FILE; may be repeated
    #[arg(long, value_name = "NAME=SOURCE")]
    pub(crate) secret: Vec<String>,
    /// Send secrets shorter than 6 bytes as well: they are not taken out of output
    #[arg(long)]
    pub(crate) allow_short_secrets: bool,
    /// Identity to decrypt age: sources with
    #[arg(long, value_name = "FILE", env = "WAFT_AGE_IDENTITY")]
    pub(crate) age_identity: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// A .wasm file, or the name of a task in a directory of WAFT_PATH, in ./tasks, or built in
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
    /// Parameter: key=text, key:=JSON, or key@FILE to send a file that the task may read
    #[arg(short, long = "param", value_name = "K=V")]
    pub(crate) param: Vec<String>,
    /// File with all parameters as one JSON object; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) params: Option<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) approve: Approve,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
    #[command(flatten)]
    pub(crate) targets: Targets,
    #[command(flatten)]
    pub(crate) output: Output,
    /// What it asks for in this run, in place of what its manifest says.
    #[arg(skip)]
    pub(crate) asks: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub(crate) argv: Vec<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) approve: Approve,
    #[command(flatten)]
    pub(crate) targets: Targets,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct Ping {
    #[command(flatten)]
    pub(crate) targets: Targets,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args, Debug)]
pub(crate) struct Tree {
    /// Only show the shape, dial nothing
    #[arg(long)]
    pub(crate) dry: bool,
    #[command(flatten)]
    pub(crate) targets: Targets,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Inventory {
    /// The hosts, one a line (those that -t selects, or all)
    List(InventoryArgs),
    /// Everything known of the selected hosts, as JSON
    Show(InventoryArgs),
}

#[derive(Args, Debug)]
pub(crate) struct InventoryArgs {
    #[command(flatten)]
    pub(crate) targets: Targets,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Stub {
    /// The stubs at hand: kind, machine, size, hash, where from
    List,
    /// Build a stub from this source tree into the stub directory
    Build(StubBuild),
    /// Print the path of a stub, unpacking a built-in one into the cache
    Path(StubPath),
}

#[derive(Args, Debug)]
pub(crate) struct StubBuild {
    #[arg(long, value_enum, default_value_t = Kind::Leaf)]
    pub(crate) kind: Kind,
    /// Machine: x86_64 or aarch64 [default: this one]
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// waft's source tree [default: the one this program was built from]
    #[arg(long, value_name = "DIR")]
    pub(crate) source: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct StubPath {
    #[arg(long, value_enum, default_value_t = Kind::Leaf)]
    pub(crate) kind: Kind,
    /// Machine: x86_64 or aarch64 [default: this one]
    #[arg(long)]
    pub(crate) arch: Option<String>,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Leaf,
    Hop,
    /// Runs components for the other two
    Worker,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Hosts behind the bastion
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) hosts: u16,
    /// Round-trip time of the link to the bastion
    #[arg(long, default_value = "60ms", value_parser = duration)]
    pub(crate) rtt: Duration,
    /// Keep the fleet until Ctrl-C, and say how to enter it
    #[arg(long)]
    pub(crate) keep: bool,
}

/// `250ms`, `30s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let each = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{text}` is no duration; write 250ms, 30s, 5m or 1h")),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` is no duration; write 250ms, 30s, 5m or 1h"))?;
    let ms = number.checked_mul(each).filter(|ms| *ms > 0 && *ms <= 30 * 24 * 3_600_000);
    ms.map(Duration::from_millis).ok_or_else(|| format!("`{text}` is not between 1ms and 30 days"))
}
