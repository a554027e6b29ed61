//! `waft verify`: who has signed a module, by the rules that the caller has.

use super::sign::{Format, beside, hash, hex, read, signer_json, signer_text};
use super::{Done, Failure, print};
use crate::report::{Terminal, escape, problem};
use chrono::{Local, NaiveDate, TimeZone};
use clap::Args;
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use waft_proto::run::Problem;
use waft_trust::time::Civil;
use waft_trust::{
    AllowedSigners, HASH_BYTES, Question, Revocations, Rules, TASK_NAMESPACE, Verdict, allowed, armour,
    revoked, task_message,
};

/// Exit code when no signature counts.
const REFUSED: u8 = 5;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  waft verify ./task.wasm                                # by ~/.config/waft/allowed_signers
  waft verify ./task.wasm --allowed-signers signers -I release@example.com
  waft verify ./task.wasm --allowed-signers signers --revoked revoked.krl --format json

One good signature is enough: by a signer who is allowed and not revoked. The exit code is 0 then, else 5, and 2 when \
a file cannot be read. The files are those of ssh-keygen(1): ALLOWED SIGNERS, and KEY REVOCATION LISTS or a list of public keys.")]
pub(crate) struct Verify {
    /// The module
    #[arg(value_name = "TASK.wasm")]
    task: PathBuf,
    /// The signatures [default: TASK.wasm.sig]
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
    /// How the verdicts are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) async fn verify(args: Verify) -> Done {
    let (hash, _) = hash(&args.task)?;
    let rules = rules(&args)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs());
    let now = now.map_err(|_| {
        Failure::Own(Problem::new("verify.clock", "the clock of this machine is before 1970"))
    })?;
    let message = task_message(&hash);
    let principal = args.principal.as_deref();
    let question = Question { namespace: TASK_NAMESPACE, message: message.as_bytes(), now, principal };
    let verdicts = match signatures(&args)? {
        Some(file) => rules.judge(&file, question),
        None => Vec::new(),
    };
    match args.format {
        Format::Human => human(&args, &verdicts)?,
        Format::Json => json(&args, &hash, &verdicts)?,
    }
    Ok(if is_good(&verdicts) { 0 } else { REFUSED })
}

fn is_good(verdicts: &[Verdict]) -> bool {
    verdicts.iter().any(|verdict| verdict.outcome.is_ok())
}

fn human(args: &Verify, verdicts: &[Verdict]) -> Result<(), Failure> {
    let file = signature_file(args);
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
    if !is_good(verdicts) {
        print::error(&unsigned(args, &file, verdicts));
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

fn json(args: &Verify, hash: &[u8; HASH_BYTES], verdicts: &[Verdict]) -> Result<(), Failure> {
    let signatures: Vec<Value> = verdicts.iter().map(verdict_json).collect();
    print::json(&json!({
        "task": args.task.to_string_lossy(),
        "hash": format!("blake3:{}", hex(hash)),
        "signature_file": signature_file(args).to_string_lossy(),
        "good": is_good(verdicts),
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
    Problem::new("verify.read", format!("{} cannot be read: {error}", file.display()))
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
