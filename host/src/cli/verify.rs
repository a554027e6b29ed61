//! `waft verify`: who has signed a module or an approval, by the rules that the caller has.

use super::approval::page;
use super::sign::{Format, Subject, beside, hex, read, signer_json, signer_text};
use super::{Done, Failure, print};
use crate::files;
use crate::report::{Terminal, escape, problem};
use chrono::{Local, NaiveDate, TimeZone};
use clap::Args;
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use waft_proto::run::Problem;
use waft_trust::time::Civil;
use waft_trust::{AllowedSigners, Question, Revocations, Rules, Verdict, allowed, armour, revoked};

/// Exit code when no signature counts.
const REFUSED: u8 = 5;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft verify ./task.wasm                                # by ~/.config/waft/allowed_signers
  waft verify ./task.wasm --allowed-signers signers -I release@example.com
  waft verify ./task.wasm --allowed-signers signers --revoked revoked.krl --format json
  waft verify ./restart.approval --needed 2              # by two people, each with a key of his own

One good signature is enough: by a signer who is allowed and not revoked. The exit code is 0 then, else 5, and 2 when \
a file cannot be read. The files are those of ssh-keygen(1): ALLOWED SIGNERS, and KEY REVOCATION LISTS or a list of public keys.")]
pub(crate) struct Verify {
    /// The module or the approval
    #[arg(value_name = "FILE")]
    task: PathBuf,
    /// The signatures [default: FILE.sig]
    #[arg(short, long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Who may sign [default: ~/.config/waft/allowed_signers]
    #[arg(short = 'f', long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// Keys and certificates that do not count any more: KRL, or public keys and SHA256: fingerprints; may be repeated
    #[arg(short, long, value_name = "FILE")]
    revoked: Vec<PathBuf>,
    /// Who must have signed, as the allowed signers name him
    #[arg(short = 'I', long = "identity-name", value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// How many people must have signed an approval
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    needed: u8,
    /// How the verdicts are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) async fn verify(args: Verify) -> Done {
    let (subject, _) = Subject::read(&args.task)?;
    let rules = rules(&args)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs());
    let now = now.map_err(|_| {
        Failure::Own(Problem::new("verify.clock", "the clock of this machine is before 1970"))
    })?;
    let message = subject.message();
    let principal = args.principal.as_deref();
    let question = Question { namespace: subject.namespace(), message: &message, now, principal };
    let file = signatures(&args)?;
    let verdicts = file.as_deref().map(|file| rules.judge(file, question)).unwrap_or_default();
    let end = end(&args, &subject, &rules, file.as_deref().unwrap_or_default(), &verdicts, now);
    match args.format {
        Format::Human => human(&args, &subject, &verdicts, end.as_ref())?,
        Format::Json => json(&args, &subject, &verdicts, end.is_none())?,
    }
    Ok(if end.is_none() { 0 } else { REFUSED })
}

/// What the whole comes to; nothing when it is good.
fn end(
    args: &Verify,
    subject: &Subject,
    rules: &Rules,
    file: &[u8],
    verdicts: &[Verdict],
    now: u64,
) -> Option<Problem> {
    if let Subject::Approval(_, document) = subject {
        let signatures: Vec<Vec<u8>> = armour::parse(file).iter().filter_map(armour::Block::bytes).collect();
        if let Err(problem) = waft_trust::approved(document, &signatures, rules, args.needed.into(), now) {
            return Some(problem);
        }
    }
    (!is_good(verdicts)).then(|| unsigned(args, &signature_file(args), verdicts))
}

fn is_good(verdicts: &[Verdict]) -> bool {
    verdicts.iter().any(|verdict| verdict.outcome.is_ok())
}

fn human(
    args: &Verify,
    subject: &Subject,
    verdicts: &[Verdict],
    end: Option<&Problem>,
) -> Result<(), Failure> {
    let file = signature_file(args);
    if let Subject::Approval(approval, _) = subject {
        print::out(&page(approval))?;
    }
    for verdict in verdicts {
        let by = verdict.signer.as_ref().map(signer_text);
        match &verdict.outcome {
            Ok(accepted) => {
                let names = escape::cell(&accepted.principals.join(", "));
                print::out(&format!("good: {names} {}\n", by.unwrap_or_default()))?;
            }
            Err(problem) => {
                let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
                let message =
                    format!("{}:{}: signature{by}: {}", file.display(), verdict.line, problem.message);
                warn(&Problem { message, ..problem.clone() });
            }
        }
    }
    if let Some(problem) = end {
        print::error(problem);
    }
    Ok(())
}

fn warn(problem: &Problem) {
    let text = problem::warning(None, problem, Terminal::detect().stderr_paint());
    // Nobody is left to tell when stderr is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// What the whole comes to when no signature counts.
fn unsigned(args: &Verify, file: &Path, verdicts: &[Verdict]) -> Problem {
    let task = args.task.display();
    match verdicts.is_empty() {
        true => Problem::new(
            "signature.none",
            format!("{task} is not signed: there is no signature in {}", file.display()),
        )
        .hint("`waft sign` makes one"),
        false => Problem::new("signature.refused", format!("{task} has no good signature")),
    }
}

fn json(args: &Verify, subject: &Subject, verdicts: &[Verdict], good: bool) -> Result<(), Failure> {
    let signatures: Vec<Value> = verdicts.iter().map(verdict_json).collect();
    print::json(&json!({
        "task": args.task.to_string_lossy(),
        "hash": format!("blake3:{}", hex(&subject.module())),
        "approval": subject.json(),
        "signature_file": signature_file(args).to_string_lossy(),
        "good": good,
        "signatures": signatures,
    }))
}

fn verdict_json(verdict: &Verdict) -> Value {
    let (principals, lines, error) = match &verdict.outcome {
        Ok(accepted) => (json!(accepted.principals), json!(accepted.lines), Value::Null),
        Err(problem) => (
            json!([]),
            json!([]),
            json!({ "code": problem.code, "message": problem.message, "hint": problem.hint }),
        ),
    };
    json!({
        "line": verdict.line,
        "good": verdict.outcome.is_ok(),
        "signer": verdict.signer.as_ref().map(signer_json),
        "principals": principals,
        "allowed_signers_lines": lines,
        "error": error,
    })
}

fn signature_file(args: &Verify) -> PathBuf {
    args.signature.clone().unwrap_or_else(|| beside(&args.task))
}

/// `None` when there is no file beside the module: it is not signed. One that was named must be there.
fn signatures(args: &Verify) -> Result<Option<Vec<u8>>, Problem> {
    let file = signature_file(args);
    match read(&file, armour::FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound && args.signature.is_none() => Ok(None),
        Err(error) => Err(unreadable(&file, &error)),
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> Problem {
    Problem::new("verify.read", format!("{} cannot be read: {}", file.display(), files::plain(error)))
}

/// All that is wrong with the files is told at once.
fn rules(args: &Verify) -> Result<Rules, Failure> {
    let mut rules = Rules::default();
    let mut problems = Vec::new();
    match signers(args) {
        Ok(signers) => rules.signers = signers,
        Err(more) => problems.extend(more),
    }
    for file in &args.revoked {
        if let Err(more) = revoke(&mut rules.revoked, file) {
            problems.extend(more);
        }
    }
    if problems.is_empty() { Ok(rules) } else { Err(Failure::Input(problems)) }
}

fn signers(args: &Verify) -> Result<AllowedSigners, Vec<Problem>> {
    let none = || {
        Problem::new("verify.allowed_signers", "it is not said who may sign").hint(
            "name a file with --allowed-signers, or write ~/.config/waft/allowed_signers; a line is: PRINCIPALS KEYTYPE KEY",
        )
    };
    let file = args.allowed_signers.clone().or_else(default_signers).ok_or_else(|| vec![none()])?;
    let bytes = match read(&file, allowed::FILE_BYTES_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound && args.allowed_signers.is_none() => {
            return Err(vec![none()]);
        }
        bytes => bytes.map_err(|error| vec![unreadable(&file, &error)])?,
    };
    AllowedSigners::parse(&file.to_string_lossy(), &bytes, &local)
}

fn revoke(revocations: &mut Revocations, file: &Path) -> Result<(), Vec<Problem>> {
    let bytes = read(file, revoked::FILE_BYTES_MAX).map_err(|error| vec![unreadable(file, &error)])?;
    revocations.add(&file.to_string_lossy(), &bytes)
}

/// `$XDG_CONFIG_HOME/waft/allowed_signers`.
fn default_signers() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = set.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    config.map(|dir| dir.join("waft/allowed_signers"))
}

/// The time zone of this machine. An hour that clocks show twice is the first of both.
fn local(civil: Civil) -> Option<u64> {
    let day = NaiveDate::from_ymd_opt(i32::try_from(civil.year).ok()?, civil.month, civil.day)?;
    let time = day.and_hms_opt(civil.hour, civil.minute, civil.second)?;
    u64::try_from(Local.from_local_datetime(&time).earliest()?.timestamp()).ok()
}
