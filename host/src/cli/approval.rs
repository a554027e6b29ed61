//! Who stands for a run besides its operator: `--approval-request` writes down what others are to approve,
//! `--approval` sends along what they signed, and the signatures beside a module go with it. What counts is decided on the
//! target; here is refused what could count nowhere.

use super::args::Approve;
use super::sign::{beside, read};
use super::targets::Selection;
use super::{Done, Failure, print};
use crate::explain::{Task, explain_with, mean, text, way};
use crate::files;
use crate::report::{Terminal, escape};
use crate::run::{Request, Vouched};
use crate::tree::Shape;
use chrono::{DateTime, SecondsFormat};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use waft_hop::driver::unix_now;
use waft_policy::wide;
use waft_proto::envelope::{Approval as Sent, Bytes};
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::id::Hash;
use waft_proto::run::Problem;
use waft_trust::approval::{self, Approval, DOCUMENT_BYTES_MAX, NONCE_BYTES};
use waft_trust::{APPROVAL_NAMESPACE, TASK_NAMESPACE, armour, check, task_message};

/// Signatures over a module that are sent along; with the rest of an order they must fit its envelope.
const TASK_SIGNATURES_MAX: usize = 4;
/// How long an approval is good when nothing is said.
const VALID_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// A request says what began so much earlier, seconds: the clocks of targets differ.
const CLOCK_SLACK_SECONDS: u64 = 300;

/// A task as it was found.
pub(super) struct About {
    pub(super) task: Task,
    /// `None`: it is built in.
    pub(super) file: Option<PathBuf>,
}

/// What a run is, in the words of an approval, without its times and nonce.
fn subject(request: &Request, shape: &Shape) -> Result<Approval, Problem> {
    if let Some(callee) = request.along.callees.first() {
        let text = format!(
            "`call:{}` lets this run call another task, which an approval does not name: nodes refuse the two together",
            callee.name
        );
        return Err(Problem::new("approval.calls", text)
            .hint("have each task approved and run by itself, or do not give `call:`"));
    }
    let mut groups: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    let mut targets = BTreeSet::new();
    for node in shape.selected() {
        groups.insert(request.allow.iter().chain(&node.allow).cloned().collect());
        targets.insert(node.endpoint.name.clone());
    }
    if groups.len() > 1 {
        let text =
            "these targets are given different grants by the inventory; an approval is for one set of grants";
        return Err(Problem::new("approval.grants", text).hint("run on one group of them at a time"));
    }
    Ok(Approval {
        module: Hash::of(&request.wasm),
        params: Hash::of(&request.params),
        grants: groups.into_iter().flatten().collect(),
        check: request.check,
        targets: targets.into_iter().collect(),
        not_before: 0,
        not_after: 0,
        nonce: [0; NONCE_BYTES],
    })
}

/// Writes the document, and says what the run would be.
pub(super) async fn ask(
    file: &Path,
    approve: &Approve,
    request: &Request,
    about: &About,
    selection: &Selection,
) -> Done {
    let mut approval = subject(request, &selection.shape)?;
    let now = unix_now();
    approval.not_before = now.saturating_sub(CLOCK_SLACK_SECONDS);
    approval.not_after = now.saturating_add(approve.approval_valid.unwrap_or(VALID_DEFAULT).as_secs());
    getrandom::fill(&mut approval.nonce).map_err(|error| {
        Failure::Own(Problem::new("approval.nonce", format!("there is no randomness: {error}")))
    })?;
    let document = approval.print();
    let checked = Approval::parse(document.as_bytes());
    checked.map_err(|problem| problem.hint("approve fewer targets at once, or for a shorter time"))?;
    let files: BTreeSet<String> = request.along.files.iter().map(|file| file.grant()).collect();
    let given = request.allow.iter().filter(|grant| !files.contains(*grant));
    let given = GrantSet::parse_all(given.map(String::as_str))?;
    let hosts = way::hosts(&selection.shape, &selection.setup.resolver).await;
    let explained = explain_with(&about.task, &given, Some(hosts), request.check, &request.along)?;
    write_new(file, document.as_bytes())?;
    print::out(&text::text(&explained, Terminal::detect().stdout_paint()))?;
    let name = escape::cell(&file.to_string_lossy());
    print::out(&format!(
        "\nnothing was run; to be approved in {name}, until {}\n\
         each approver: waft sign {name}\nthen: the same command with --approval {name}\n",
        time(approval.not_after)
    ))?;
    Ok(0)
}

/// Never over another file: it may be one that was signed.
fn write_new(file: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o666).open(file);
    made.and_then(|mut made| made.write_all(bytes)).map_err(|error| {
        let text = format!("{} cannot be written: {}", file.display(), files::plain(&error));
        Problem::new("approval.write", text).hint("name a file that is not there yet")
    })
}

/// What goes along with an order.
pub(super) fn vouched(
    approve: &Approve,
    request: &Request,
    about: &About,
    shape: &Shape,
) -> Result<Vouched, Vec<Problem>> {
    let task = about.file.as_deref().map_or(Ok(Vec::new()), |file| signatures(file, &about.task.hash));
    let approval = match &approve.approval {
        Some(file) => Some(approved(file, &subject(request, shape).map_err(|problem| vec![problem])?)?),
        None => None,
    };
    Ok(Vouched { task: task.map_err(|problem| vec![problem])?, approval })
}

/// Those in `TASK.wasm.sig`. What is no signature over this module counts nowhere: it is said, and stays here.
fn signatures(task: &Path, hash: &Hash) -> Result<Vec<Bytes>, Problem> {
    let file = beside(task);
    let bytes = match read(&file, armour::FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&file, &error)),
    };
    let message = task_message(&hash.0);
    let mut sent = Vec::new();
    for block in armour::parse(&bytes) {
        match good(&block, TASK_NAMESPACE, message.as_bytes()) {
            Ok(bytes) if sent.len() < TASK_SIGNATURES_MAX => sent.push(bytes),
            Ok(_) => tracing::warn!(
                "{}:{}: the signature is not sent: at most {TASK_SIGNATURES_MAX} are",
                file.display(),
                block.line
            ),
            Err(problem) => tracing::warn!(
                "{}:{}: the signature is not sent: {}",
                file.display(),
                block.line,
                problem.message
            ),
        }
    }
    Ok(sent)
}

/// A signature over that message, by whomever.
fn good(block: &armour::Block, namespace: &str, message: &[u8]) -> Result<Bytes, Problem> {
    let signature = block.signature.as_ref().map_err(Clone::clone)?;
    check::is_over(signature, namespace, message)?;
    block.bytes().map(Bytes).ok_or_else(|| Problem::new("signature.malformed", "it cannot be read twice"))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Problem {
    Problem::new("approval.read", format!("{} cannot be read: {}", file.display(), files::plain(error)))
}

/// A document that is for this run, now, with the signatures beside it.
fn approved(file: &Path, run: &Approval) -> Result<Sent, Vec<Problem>> {
    let one = |problem: Problem| vec![problem];
    let document = read(file, DOCUMENT_BYTES_MAX).map_err(|error| one(unreadable(file, &error)))?;
    let approval = Approval::parse(&document).map_err(one)?;
    let mut problems: Vec<Problem> = approval.objection(unix_now()).into_iter().collect();
    problems.extend(differences(&approval, run).into_iter().map(|difference| {
        Problem::new("approval.differs", format!("{} is not for this run: {difference}", file.display()))
            .hint("run what was approved, or ask for another approval with --approval-request")
    }));
    let signed = beside(file);
    let mut signatures = Vec::new();
    match read(&signed, armour::FILE_BYTES_MAX) {
        Ok(bytes) => {
            for block in armour::parse(&bytes) {
                match good(&block, APPROVAL_NAMESPACE, &document) {
                    Ok(bytes) => signatures.push(bytes),
                    Err(problem) => problems.push(Problem::new(
                        &problem.code,
                        format!("{}:{}: {}", signed.display(), block.line, problem.message),
                    )),
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => problems.push(unreadable(&signed, &error)),
    }
    if signatures.len() > approval::SIGNATURES_MAX {
        let text = format!(
            "{} has {} signatures; at most {} are sent",
            signed.display(),
            signatures.len(),
            approval::SIGNATURES_MAX
        );
        problems.push(Problem::new("approval.signatures", text));
    }
    if signatures.is_empty() && problems.is_empty() {
        let text =
            format!("nobody has approved {}: there is no signature in {}", file.display(), signed.display());
        problems.push(Problem::new("approval.none", text).hint(format!("`waft sign {}`", file.display())));
    }
    if problems.is_empty() { Ok(Sent { document, signatures }) } else { Err(problems) }
}

/// Each thing in which a run is not what was approved.
fn differences(approved: &Approval, run: &Approval) -> Vec<String> {
    let mut all = Vec::new();
    if approved.module != run.module {
        all.push(format!("the module is blake3:{}, approved is blake3:{}", run.module, approved.module));
    }
    if approved.params != run.params {
        all.push(format!(
            "the parameters are blake3:{}, approved are blake3:{}",
            run.params, approved.params
        ));
    }
    if approved.check != run.check {
        let word = |check: bool| if check { "a dry run" } else { "a run that changes things" };
        all.push(format!("it is {}, approved is {}", word(run.check), word(approved.check)));
    }
    for (what, approved, run) in
        [("the grant", &approved.grants, &run.grants), ("the target", &approved.targets, &run.targets)]
    {
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            these
                .iter()
                .filter(|text| !those.contains(text))
                .map(|text| format!("`{}`", escape::cell(text)))
                .collect()
        };
        all.extend(only(run, approved).iter().map(|text| format!("{what} {text} is not approved")));
        // Fewer targets are fewer; less of a right is another run.
        if what == "the grant" {
            all.extend(
                only(approved, run).iter().map(|text| format!("{what} {text} is approved and not given")),
            );
        }
    }
    all
}

/// `2026-11-21T12:00:00Z`
fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map_or_else(|| seconds.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// What is approved, in the words of `waft explain`.
pub(super) fn page(approval: &Approval) -> String {
    let mut lines = vec![
        format!("module blake3:{}", approval.module),
        format!("parameters blake3:{}", approval.params),
        (if approval.check { "a dry run" } else { "a run that changes things" }).to_owned(),
        format!("on {}", approval.targets.join(", ")),
        format!("from {} to {}", time(approval.not_before), time(approval.not_after)),
    ];
    lines.push(if approval.grants.is_empty() { "gets no right" } else { "gets" }.to_owned());
    for text in &approval.grants {
        lines.push(format!("  {text}"));
        // What cannot be read here is shown as it is; no target takes it.
        if let Ok(grant) = Grant::parse(text) {
            lines.push(format!("    {}", mean::sentence(&grant)));
            lines.extend(wide::warning(&grant).map(|warning| format!("    {}", text::wider(warning))));
        }
    }
    lines.iter().map(|line| format!("{}\n", escape::cell(line))).collect()
}

#[cfg(test)]
mod tests;
