//! The verdict on each signature of a file: good, and by whom, or why not.

use ssh_key::public::KeyData;
use ssh_key::{Certificate, HashAlg, SshSig};
use waft_proto::run::Problem;

use super::allowed::{Allowed, AllowedSigners};
use super::revoked::Revocations;
use super::{TASK_NAMESPACE, armour, key, pattern, to_be_signed};

/// Whose signatures count, and whose not any more.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rules {
    pub signers: AllowedSigners,
    pub revoked: Revocations,
}

/// What is asked of signatures.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What they must be for.
    pub namespace: &'a str,
    /// What they must be over.
    pub message: &'a [u8],
    /// Seconds since 1970, UTC.
    pub now: u64,
    /// Who must have signed; anybody who is allowed when `None`.
    pub principal: Option<&'a str>,
}

/// On one signature.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// Line of the file at which the signature begins, counted from 1.
    pub line: usize,
    /// Whose key it names; `None` when it cannot be read. Before it was found good, this is only what it says.
    pub signer: Option<Signer>,
    pub outcome: Result<Accepted, Problem>,
}

/// A key, and the certificate that it came with.
#[derive(Clone, PartialEq, Debug)]
pub struct Signer {
    /// Name of the type, as in a public key file.
    pub key_type: String,
    /// `SHA256:...`
    pub fingerprint: String,
    pub certificate: Option<Certified>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Certified {
    pub id: String,
    pub serial: u64,
    /// `SHA256:...` of the key that signed the certificate.
    pub authority: String,
}

/// Why a signature is good.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Accepted {
    /// The principal that was asked for. Without one: of a key all that its lines allow (patterns), of a certificate
    /// those of its own names that its authority's lines allow.
    pub principals: Vec<String>,
    /// Lines of the allowed signers, counted from 1.
    pub lines: Vec<usize>,
}

/// What a key is called.
pub fn signer(key: &KeyData) -> Signer {
    let certified = |certificate: &Certificate| Certified {
        id: certificate.key_id().to_owned(),
        serial: certificate.serial(),
        authority: key::fingerprint(certificate.signature_key()).to_string(),
    };
    Signer {
        key_type: key::kind(key),
        fingerprint: key::fingerprint(key).to_string(),
        certificate: match key {
            KeyData::Certificate(certificate) => Some(certified(certificate)),
            _ => None,
        },
    }
}

impl Rules {
    /// One verdict for each signature that a file has, and for all else that stands in it.
    pub fn judge(&self, file: &[u8], question: Question<'_>) -> Vec<Verdict> {
        let verdict = |block: armour::Block| match block.signature {
            Ok(signature) => Verdict {
                line: block.line,
                signer: Some(signer(signature.public_key())),
                outcome: self.check(&signature, question),
            },
            Err(problem) => Verdict { line: block.line, signer: None, outcome: Err(problem) },
        };
        armour::parse(file).into_iter().map(verdict).collect()
    }

    /// One signature without armour.
    pub fn verify(&self, signature: &[u8], question: Question<'_>) -> Result<(Signer, Accepted), Problem> {
        let signature = armour::decode(signature).map_err(|why| Problem::new("signature.malformed", why))?;
        Ok((signer(signature.public_key()), self.check(&signature, question)?))
    }

    /// One signature that was read.
    pub fn check(&self, signature: &SshSig, question: Question<'_>) -> Result<Accepted, Problem> {
        is_over(signature, question.namespace, question.message)?;
        let key = signature.public_key();
        if let Some(problem) = self.revoked.objection(key) {
            return Err(problem);
        }
        if let KeyData::Certificate(certificate) = key {
            is_certified(certificate, question.now)?;
        }
        self.allowed(key, question)
    }

    /// Some line that is for the key must have nothing against the signature. When all have, each is told.
    fn allowed(&self, key: &KeyData, question: Question<'_>) -> Result<Accepted, Problem> {
        let mut accepted = Accepted::default();
        let mut problems: Vec<Problem> = Vec::new();
        for line in self.signers.lines.iter().filter(|line| is_for(line, key)) {
            match principals(line, key, question) {
                Ok(principals) => {
                    accepted.lines.push(line.line);
                    for principal in principals {
                        if !accepted.principals.contains(&principal) {
                            accepted.principals.push(principal);
                        }
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        if !accepted.lines.is_empty() {
            return Ok(accepted);
        }
        let all = problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; ");
        match problems.first() {
            Some(first) => Err(Problem::new(&first.code, all)),
            None => Err(unknown(key)),
        }
    }
}

/// Whether a signature is for that purpose and over that message, by whomever.
pub fn is_over(signature: &SshSig, namespace: &str, message: &[u8]) -> Result<(), Problem> {
    if signature.namespace() != namespace {
        let problem = Problem::new(
            "signature.namespace",
            format!("it is for the namespace `{}`, not for {namespace}", signature.namespace()),
        );
        return Err(problem.hint(match namespace {
            TASK_NAMESPACE => {
                "`waft sign` signs a module; `ssh-keygen -Y sign` of the file itself is something else"
            }
            _ => "`waft sign FILE` signs an approval",
        }));
    }
    let data = to_be_signed(namespace, message, signature.hash_alg())?;
    key::is_signed(signature.public_key(), &data, signature.signature())
}

fn unknown(key: &KeyData) -> Problem {
    let who = match key {
        KeyData::Certificate(_) => "the authority of its certificate is not among the allowed signers",
        _ => "its signer is not among the allowed signers",
    };
    Problem::new("signature.unknown_signer", who)
}

/// A key is meant by its own line, a certificate by its authority's.
fn is_for(line: &Allowed, key: &KeyData) -> bool {
    match key {
        KeyData::Certificate(certificate) => line.is_authority() && line.key == *certificate.signature_key(),
        key => !line.is_authority() && line.key == *key,
    }
}

/// The names under which a line accepts the signature.
fn principals(line: &Allowed, key: &KeyData, question: Question<'_>) -> Result<Vec<String>, Problem> {
    if let Some(problem) = line.objection(question.namespace, question.now) {
        return Err(problem);
    }
    let wrong = |why: String| Problem::new("signature.principal", why);
    let of_certificate = match key {
        KeyData::Certificate(certificate) => Some(certificate.valid_principals()),
        _ => None,
    };
    match (question.principal, of_certificate) {
        (Some(asked), _) if !pattern::list(&line.principals, asked) => Err(wrong(format!(
            "its signer is allowed as {}, not as {asked} (line {})",
            line.principals, line.line
        ))),
        (Some(asked), Some(names)) if !names.iter().any(|name| name == asked) => {
            Err(wrong(format!("its certificate is not for {asked}")))
        }
        (Some(asked), _) => Ok(vec![asked.to_owned()]),
        (None, None) => Ok(line.principals.split(',').map(str::to_owned).collect()),
        (None, Some(names)) => {
            let named: Vec<String> =
                names.iter().filter(|name| pattern::list(&line.principals, name)).cloned().collect();
            match named.is_empty() {
                false => Ok(named),
                true => Err(wrong(format!(
                    "its certificate is for none of the names that its authority may give (line {})",
                    line.line
                ))),
            }
        }
    }
}

/// Whether a certificate holds by itself: made by its authority, for a user, now.
fn is_certified(certificate: &Certificate, now: u64) -> Result<(), Problem> {
    let wrong = |why: &str| Err(Problem::new("signature.certificate", format!("its certificate {why}")));
    if !certificate.cert_type().is_user() {
        return wrong("is that of a host");
    }
    if certificate.valid_principals().is_empty() {
        return wrong("names no principals");
    }
    // What they restrict is a login; none of it can be kept here.
    if let Some(option) = certificate.critical_options().keys().next() {
        return wrong(&format!("has the critical option {option}, which cannot be kept for a signature"));
    }
    let authority = certificate.signature_key();
    key::is_usable(authority)
        .or_else(|why| wrong(&format!("is signed by a key that cannot be used: {why}")))?;
    if let ssh_key::Algorithm::Rsa { hash: None } = certificate.signature().algorithm() {
        return wrong("is signed with SHA-1 (ssh-rsa)");
    }
    let time = |why: &str| Err(Problem::new("signature.time", format!("its certificate is not valid {why}")));
    if now < certificate.valid_after() {
        return time("yet");
    }
    if now >= certificate.valid_before() {
        return time("any more");
    }
    let fingerprint = authority.fingerprint(HashAlg::Sha256);
    certificate.validate_at(now, [&fingerprint]).or_else(|_| wrong("is not signed by its authority"))
}

#[cfg(test)]
mod tests;
