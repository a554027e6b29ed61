//! `waft policy`: what the policy of a node says, before a node obeys it. The code that judges is the node's own.

use super::sign::Format;
use super::{BAD_INPUT, Done, Failure, print};
use crate::report::{Terminal, escape, problem};
use crate::{files, identity};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use waft_policy::site::key_text;
use waft_policy::{
    Allowed, Decision, POLICY_BYTES_MAX, Placed, Policy, Request, Step, lint, parse_hash, time,
};
use waft_proto::grant::{Grant, GrantSet, print_duration_ms};
use waft_proto::id::Hash;
use waft_proto::run::Problem;

/// Exit code when the policy refuses.
const REFUSED: u8 = 5;
/// Version of the JSON. Fields are added without a new one.
const JSON_VERSION: u8 = 1;

#[derive(Subcommand, Debug)]
pub(crate) enum PolicyCommand {
    /// Say what is wrong with a policy, and what in it is hardly meant
    Check(Check),
    /// Say what a policy makes of one request: which rule decides, why those before it do not, and what is left
    Explain(Explain),
    /// Print the key of this controller, as the policies of nodes name it; it is made when there is none
    Key(Key),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft policy key --name ops >> policy.toml
  waft policy key --format json

The private half is kept in $XDG_STATE_HOME/waft/controller.key, else ~/.local/state/waft/controller.key, and signs the orders of \
every run.")]
pub(crate) struct Key {
    /// What nodes shall call this controller
    #[arg(long, value_name = "NAME", default_value = "controller")]
    name: String,
    /// How it is told
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft policy check ./policy.toml
  waft policy check --installed /etc/waft/policy.toml    # on the node: also owners, modes and links

Exit code 0 with warnings, 2 when a node would refuse every run because of it. docs/policy.md describes every key.")]
pub(crate) struct Check {
    /// The policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also demand what a node does: that nobody but root and you can have written it
    #[arg(long)]
    installed: bool,
    /// How it is told
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft policy explain ./policy.toml --task facts --who alice --allow facts --allow fs:/etc:rw
  waft policy explain ./policy.toml --task deploy --hash blake3:7f... --signer release@example.com --at 2026-12-24T20:00:00Z

Exit code 0 when the run is allowed, 5 when it is refused, 2 when the policy or the request cannot be read. Programs are
compared as they are written; a node first looks bare names up in its PATH.")]
pub(crate) struct Explain {
    /// The policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name of the task
    #[arg(long, value_name = "NAME")]
    task: String,
    /// Hash of the module: 64 hex digits, with or without blake3: before them
    #[arg(long, value_name = "HASH", value_parser = hash)]
    hash: Option<Hash>,
    /// Name of the controller
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Who has signed the module; may be repeated
    #[arg(long, value_name = "PRINCIPAL")]
    signer: Vec<String>,
    /// Who has approved the run; may be repeated
    #[arg(long, value_name = "PRINCIPAL")]
    approver: Vec<String>,
    /// Grant that is given, as with `waft run`; may be repeated
    #[arg(long, value_name = "GRANT")]
    allow: Vec<String>,
    /// A dry run is asked for
    #[arg(long)]
    check: bool,
    /// When, as in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<u64>,
    /// How it is told
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

fn hash(text: &str) -> Result<Hash, String> {
    parse_hash(text).ok_or_else(|| "expected 64 hex digits, with or without blake3: before them".to_owned())
}

fn instant(text: &str) -> Result<u64, String> {
    time::parse_rfc3339(text)
        .ok_or_else(|| "expected a time with a date and a zone: 2026-12-31T00:00:00Z".to_owned())
}

pub(super) async fn policy(command: PolicyCommand) -> Done {
    match command {
        PolicyCommand::Check(args) => check(&args),
        PolicyCommand::Explain(args) => explain(&args),
        PolicyCommand::Key(args) => key(&args),
    }
}

fn key(args: &Key) -> Done {
    let dir = files::state_dir().ok_or_else(|| {
        Problem::new("controller.key", "there is no directory in which the key could be kept")
            .hint("set HOME or XDG_STATE_HOME")
    })?;
    let key = key_text(&identity::kept(&dir)?.verifying_key().to_bytes());
    let name = &args.name;
    match args.format {
        Format::Json => print::json(&json!({ "v": JSON_VERSION, "name": name, "key": key }))?,
        Format::Human => {
            let text = format!("[[controller]]\nname = \"{name}\"\nkey = \"{key}\"\n");
            Policy::parse_placed(&format!("version = 1\n{text}")).map_err(|_| {
                Problem::new("usage.name", format!("{name:?} is no name for a controller"))
                    .hint("1 to 64 ASCII characters, no quotes, no blanks at the ends")
            })?;
            print::out(&text)?;
        }
    }
    Ok(0)
}

fn check(args: &Check) -> Done {
    let text = match args.installed {
        true => waft_policy::file::read_text(&args.file, rustix::process::geteuid().as_raw())?.ok_or_else(
            || {
                Problem::new("policy.missing", format!("there is no {}", args.file.display()))
                    .hint("a node without a policy allows what is given")
            },
        )?,
        false => read(&args.file)?,
    };
    let (policy, problems) = match Policy::parse_placed(&text) {
        Ok(policy) => (Some(policy), Vec::new()),
        Err(problems) => (None, problems),
    };
    let warnings = policy.as_ref().map(|policy| lint::warnings(policy, now())).unwrap_or_default();
    let rules = policy.as_ref().map(|policy| policy.rules().len());
    match args.format {
        Format::Json => print::json(&json!({
            "v": JSON_VERSION,
            "file": args.file.to_string_lossy(),
            "valid": policy.is_some(),
            "rules": rules,
            "problems": problems.iter().map(placed_json).collect::<Vec<_>>(),
            "warnings": warnings.iter().map(placed_json).collect::<Vec<_>>(),
        }))?,
        Format::Human => {
            problems.into_iter().for_each(|placed| print::error(&in_file(&args.file, placed)));
            let count = warnings.len();
            for placed in warnings {
                let text =
                    problem::warning(None, &in_file(&args.file, placed), Terminal::detect().stderr_paint());
                // Nobody is left to tell when stderr is gone.
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
            let is_site = policy.as_ref().is_some_and(|policy| !policy.site.controllers.is_empty());
            if args.installed && is_site {
                print::out(ENFORCED)?;
            }
            if let Some(rules) = rules {
                let (file, rules) = (escape::cell(&args.file.to_string_lossy()), counted(rules, "rule"));
                print::out(&format!("{file}: {rules}, no problems, {}\n", counted(count, "warning")))?;
            }
        }
    }
    Ok(if policy.is_some() { 0 } else { BAD_INPUT })
}

/// What else it takes; none of it can be seen in the policy.
const ENFORCED: &str = "\
enforced only where all of this holds, else advisory:
  * sshd starts the stub for the controller's key: restrict,command=\"/usr/bin/waft-stub --as NAME\" in authorized_keys,
    or Match User with ForceCommand, DisableForwarding yes, PermitTTY no, PermitUserRC no
  * that key, and the account, have no other way in; authorized_keys is no file that the account can write
  * the stub is a site build, and neither it nor this policy can be written by anybody but root
";

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn in_file(file: &Path, placed: Placed) -> Problem {
    let message = format!("{}:{}: {}", file.display(), placed.line, placed.problem.message);
    Problem { message, ..placed.problem }
}

fn placed_json(placed: &Placed) -> Value {
    let mut value = problem_json(&placed.problem);
    value["line"] = placed.line.into();
    value
}

fn problem_json(problem: &Problem) -> Value {
    json!({ "code": problem.code, "message": problem.message, "hint": problem.hint })
}

/// The text, if it is one and not too long; whose it is does not matter here.
fn read(file: &Path) -> Result<String, Problem> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Problem::new(
            "policy.unreadable",
            format!("{} cannot be read: {}", file.display(), crate::files::plain(&error)),
        )
    };
    let mut bytes = Vec::new();
    let cap = POLICY_BYTES_MAX as u64 + 1;
    let read = File::open(file).and_then(|opened| opened.take(cap).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(&error))?;
    String::from_utf8(bytes).map_err(|_| unreadable(&"it is no UTF-8 text"))
}

/// Before 1970 nothing has begun.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

fn explain(args: &Explain) -> Done {
    let policy = Policy::parse_placed(&read(&args.file)?).map_err(|problems| {
        problems.into_iter().map(|placed| in_file(&args.file, placed)).collect::<Vec<_>>()
    })?;
    let grants = GrantSet::parse_all(args.allow.iter().map(String::as_str))?;
    let request = Request {
        who: args.who.as_deref().unwrap_or_default(),
        task: &args.task,
        // No module has this hash.
        hash: args.hash.unwrap_or(Hash([0; 32])),
        signers: &args.signer,
        approvers: &args.approver.iter().map(|name| vec![name.clone()]).collect::<Vec<_>>(),
        grants: &grants,
        check: args.check,
        now_unix: args.at.unwrap_or_else(now),
        // Else nothing would be told of the rules of a node that compiles itself.
        precompiled: false,
    };
    let decision = policy.decide(&request);
    // A revocation comes before the rules: none was tried.
    let steps = match &decision {
        Decision::Refused(problem) if problem.code == "policy.revoked" => Vec::new(),
        _ => policy.trace(&request),
    };
    match args.format {
        Format::Json => print::json(&explanation_json(args, &request, &steps, &decision))?,
        Format::Human => human(args, &policy, &request, &steps, &decision)?,
    }
    Ok(if matches!(decision, Decision::Allowed(_)) { 0 } else { REFUSED })
}

/// What an execution has: in a dry run, programs that are no probes and the network are withdrawn as well.
struct Effective {
    is_dry: bool,
    grants: GrantSet,
    withdrawn: Vec<String>,
}

impl Effective {
    fn of(allowed: &Allowed<'_>, request: &Request<'_>) -> Effective {
        let is_dry = request.check || allowed.check_forced;
        let grants = if is_dry { allowed.grants.for_check() } else { allowed.grants.clone() };
        let withdrawn = allowed.grants.iter().filter(|grant| grants.check(grant).is_err());
        Effective { is_dry, withdrawn: withdrawn.map(|grant| grant.to_string()).collect(), grants }
    }
}

fn texts(set: &GrantSet) -> Vec<String> {
    set.iter().map(|grant| grant.to_string()).collect()
}

fn explanation_json(
    args: &Explain,
    request: &Request<'_>,
    steps: &[Step<'_>],
    decision: &Decision<'_>,
) -> Value {
    let step = |step: &Step<'_>| {
        let misses = step.misses.iter().map(|(key, why)| json!({ "key": key, "why": why }));
        json!({
            "rule": step.rule.name,
            "line": step.rule.line,
            "matches": step.misses.is_empty(),
            "misses": misses.collect::<Vec<_>>(),
        })
    };
    let mut value = json!({
        "v": JSON_VERSION,
        "file": args.file.to_string_lossy(),
        "time": time::print_rfc3339(request.now_unix),
        "allowed": matches!(decision, Decision::Allowed(_)),
        "rule": steps.last().filter(|step| step.misses.is_empty()).map(|step| &step.rule.name),
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
    });
    match decision {
        Decision::Allowed(allowed) => {
            let effective = Effective::of(allowed, request);
            value["grants"] = texts(&effective.grants).into();
            value["cut"] = texts(&allowed.cut).into();
            value["withdrawn"] = effective.withdrawn.into();
            value["check"] = effective.is_dry.into();
            value["check_forced"] = allowed.check_forced.into();
            value["wall"] = allowed.wall.word().into();
            value["timeout_ms"] = allowed.timeout_ms.into();
            value["unconfined"] = allowed.unconfined.into();
            value["error"] = Value::Null;
        }
        Decision::Refused(problem) => value["error"] = problem_json(problem),
    }
    value
}

fn human(
    args: &Explain,
    policy: &Policy,
    request: &Request<'_>,
    steps: &[Step<'_>],
    decision: &Decision<'_>,
) -> Result<(), Failure> {
    let mut lines: Vec<String> = steps.iter().map(step_line).collect();
    let mut note = |text: &str| lines.push(format!("note: {text}"));
    if args.hash.is_none() {
        note("without --hash, no rule with `hashes` matches");
    }
    if args.who.is_none() {
        note("without --who, the controller has no name");
    }
    if !policy.precompiled {
        note("the node takes only what it compiled itself (precompiled = \"deny\")");
    }
    if let Decision::Allowed(allowed) = decision {
        let effective = Effective::of(allowed, request);
        let mut list = |head: &str, texts: Vec<String>| {
            if !texts.is_empty() {
                lines.push(format!("{head}:"));
                lines.extend(texts.into_iter().map(|text| format!("  {text}")));
            }
        };
        let left = texts(&effective.grants);
        let left = if left.is_empty() { vec!["nothing".to_owned()] } else { left };
        list("allowed, with", left);
        list("cut by the policy", texts(&allowed.cut));
        list("withdrawn by the dry run", effective.withdrawn);
        let mut programs = effective.grants.iter().filter(|grant| matches!(grant, Grant::Exec(_)));
        if let (Some(Grant::Exec(exec)), false) = (programs.next(), allowed.unconfined) {
            let refusal = waft_policy::unconfined(&allowed.rule.name, exec.program().unwrap_or("*"));
            list("in site mode, where a task does not ask for `confine`, refused", refusal_lines(&refusal));
        }
        let dry = match (effective.is_dry, allowed.check_forced) {
            (false, _) => "no",
            (true, false) => "yes, as asked",
            (true, true) => "yes, forced by the policy",
        };
        let time = match allowed.timeout_ms {
            Some(ms) => format!("at most {}", print_duration_ms(ms)),
            None => "not limited by the policy".to_owned(),
        };
        lines.push(format!("dry run: {dry}; walls: {}; time: {time}", allowed.wall.word()));
    }
    let text: String = lines.iter().map(|line| format!("{}\n", escape::cell(line))).collect();
    print::out(&text)?;
    if let Decision::Refused(problem) = decision {
        print::error(problem);
    }
    Ok(())
}

fn refusal_lines(problem: &Problem) -> Vec<String> {
    let said = format!("{}: {}", problem.code, problem.message);
    [Some(said), problem.hint.clone()].into_iter().flatten().collect()
}

fn step_line(step: &Step<'_>) -> String {
    let head = format!("rule `{}` (line {})", step.rule.name, step.rule.line);
    let why: Vec<&str> = step.misses.iter().map(|(_, why)| why.as_str()).collect();
    if why.is_empty() {
        format!("{head} decides")
    } else {
        format!("{head} does not match: {}", why.join("; "))
    }
}
