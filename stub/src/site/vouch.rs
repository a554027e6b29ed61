//! Who stands for a module by his signature, and who has approved a run.
//!
//! The files of keys are read once, when the stub starts, and have to be as safe as the policy. A mistake in them, or a
//! file that is not there, refuses every run: a signer or a revocation would be missing in silence.

use crate::policy::Vouched;
use std::path::Path;
use waft_policy::{Site, file};
use waft_proto::envelope::Envelope;
use waft_proto::id::Hash;
use waft_proto::run::Problem;
use waft_trust::time::utc;
use waft_trust::{
    AllowedSigners, Approval, Question, Revocations, Rules, TASK_NAMESPACE, allowed, approved, revoked,
    task_message,
};

/// Signatures over a module that are looked at: each costs a verification.
const SIGNATURES_MAX: usize = 8;
const ROOT: u32 = 0;

/// Whose signatures count.
pub(super) struct Keys(Rules);

impl Keys {
    pub(super) fn read(settings: &Site) -> Result<Keys, Problem> {
        let mut rules = Rules::default();
        if let Some(path) = &settings.allowed_signers {
            let bytes = bytes("the file of allowed signers", path, allowed::FILE_BYTES_MAX)?;
            // Times in it that name no zone are in UTC, as those of the policy.
            rules.signers = AllowedSigners::parse(path, &bytes, &|civil| Some(utc(civil))).map_err(first)?;
        }
        let mut revocations = Revocations::default();
        for path in &settings.revoked_keys {
            let bytes = bytes("the file of revoked keys", path, revoked::FILE_BYTES_MAX)?;
            revocations.add(path, &bytes).map_err(first)?;
        }
        rules.revoked = revocations;
        Ok(Keys(rules))
    }

    pub(super) fn vouched(
        &self,
        envelope: &Envelope,
        module: Hash,
        target: &str,
        now: u64,
    ) -> Result<Vouched, Problem> {
        let mut vouched = Vouched::default();
        if envelope.task_signatures.len() > SIGNATURES_MAX {
            let many = format!("the run comes with more than {SIGNATURES_MAX} signatures over its module");
            return Err(Problem::new("signature.many", many).hint("send those that the node's policy wants"));
        }
        let message = task_message(&module.0);
        for signature in &envelope.task_signatures {
            let question =
                Question { namespace: TASK_NAMESPACE, message: message.as_bytes(), now, principal: None };
            match self.0.verify(&signature.0, question) {
                Ok((_, accepted)) => vouched.signers.extend(accepted.principals),
                Err(problem) => vouched.bad.push(problem),
            }
        }
        if let Some(approval) = &envelope.approval {
            let wanted = Approval::parse(&approval.document)?;
            agrees(&wanted, envelope, target)?;
            let signatures: Vec<&[u8]> =
                approval.signatures.iter().map(|signature| signature.0.as_slice()).collect();
            // How many it takes is the rule's to say.
            let people = approved(&approval.document, &signatures, &self.0, 1, now)?;
            vouched.approvers = people.into_iter().map(|person| person.principals).collect();
        }
        Ok(vouched)
    }
}

/// What counts once of an approval, and until when.
pub(super) fn nonce(document: &[u8]) -> Result<(Hash, u64), Problem> {
    let approval = Approval::parse(document)?;
    Ok((Hash::of(&approval.nonce), approval.not_after))
}

/// Whether the approval is for exactly this run, here.
fn agrees(approval: &Approval, envelope: &Envelope, target: &str) -> Result<(), Problem> {
    let mut grants = envelope.grants.clone();
    grants.sort_unstable();
    let differences = [
        (approval.module != envelope.module, "the module"),
        (approval.params != envelope.params, "the parameters"),
        (approval.grants != grants, "the grants"),
        (approval.check != envelope.check, "whether it is a dry run"),
        (!approval.covers(target), "the targets, of which this node is none"),
        (!envelope.callees.is_empty(), "the tasks that it may call, which no approval names"),
    ];
    let named: Vec<&str> =
        differences.iter().filter(|(differs, _)| *differs).map(|(_, what)| *what).collect();
    if named.is_empty() {
        return Ok(());
    }
    let message = format!("the approval is for another run: what differs is {}", named.join(", "));
    Err(Problem::new("approval.other", message).hint("have exactly this run approved"))
}

fn bytes(what: &str, path: &str, most: usize) -> Result<Vec<u8>, Problem> {
    let missing = || {
        Problem::new("policy.missing", format!("{what} of this node's policy is not there: {path}"))
            .hint("put it there, or take its line out of the policy")
    };
    file::read_bytes(what, Path::new(path), ROOT, most)?.ok_or_else(missing)
}

fn first(problems: Vec<Problem>) -> Problem {
    let mut problems = problems.into_iter();
    problems.next().unwrap_or_else(|| Problem::new("policy.keys", "a file of keys cannot be read"))
}
