//! What several people agree to before it runs, and whether enough of them did.
//!
//! The document is canonical JSON (RFC 8785): keys sorted, no blanks, one form of each text, so that it can be signed as
//! it stands and compared byte by byte. Only that form is read.
//!
//! ```text
//!  {"check":false,"grants":["facts"],"module":"blake3:..","nonce":"..","not_after":..,"not_before":..,
//!   "params":"blake3:..","targets":["web1"],"v":1}
//! ```

mod canonical;

use canonical::{Reader, Writer};
use ssh_key::public::KeyData;
use waft_proto::id::Hash;
use waft_proto::run::Problem;

use super::check::{Question, Rules, Signer, signer};
use super::{APPROVAL_NAMESPACE, armour, key, pattern};

/// Bytes of a document: with its signatures it travels in the envelope of an order, which has 24 KiB.
pub const DOCUMENT_BYTES_MAX: usize = 12 << 10;
/// Signatures that are looked at: each costs a verification on every target.
pub const SIGNATURES_MAX: usize = 8;
/// From `not_before` to `not_after`, seconds: a target remembers a nonce for so long.
pub const VALID_SECONDS_MAX: u64 = 30 * 86_400;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 16;
/// The version of the document that is known.
const VERSION: u64 = 1;

/// What is agreed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Approval {
    /// blake3 of the module.
    pub module: Hash,
    /// blake3 of the parameters' bytes, as they are sent.
    pub params: Hash,
    /// Canonical text of each grant and limit, sorted.
    pub grants: Vec<String>,
    /// Whether it is a dry run.
    pub check: bool,
    /// Names of the targets, sorted.
    pub targets: Vec<String>,
    /// First and last second (since 1970, UTC) at which it may start.
    pub not_before: u64,
    pub not_after: u64,
    /// Each counts once per target.
    pub nonce: [u8; NONCE_BYTES],
}

/// Somebody who agreed.
#[derive(Clone, PartialEq, Debug)]
pub struct Approver {
    /// Names under which the rules know him; no two approvers share one.
    pub principals: Vec<String>,
    pub signer: Signer,
}

impl Approval {
    /// Reads a document: one that is not canonical is none, so that what was signed has one meaning.
    pub fn parse(document: &[u8]) -> Result<Approval, Problem> {
        let wrong = |why: &str| {
            Problem::new("approval.malformed", format!("the approval cannot be read: {why}"))
                .hint("`waft run ... --approval-request FILE` writes one; no byte of it may be changed")
        };
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(wrong(&format!("it has more than {DOCUMENT_BYTES_MAX} bytes")));
        }
        let text = str::from_utf8(document).map_err(|_| wrong("it is no UTF-8"))?;
        let approval = read(text).map_err(|why| wrong(&why))?;
        if approval.print() != text {
            return Err(wrong("it is not in canonical form (RFC 8785)"));
        }
        approval.validate().map_err(|why| wrong(&why))?;
        Ok(approval)
    }

    /// The document, which is what is signed.
    pub fn print(&self) -> String {
        let mut writer = Writer::default();
        writer.raw("{\"check\":");
        writer.raw(if self.check { "true" } else { "false" });
        writer.key("grants");
        writer.texts(&self.grants);
        writer.key("module");
        writer.text(&named(self.module));
        writer.key("nonce");
        writer.text(&data_encoding::HEXLOWER.encode(&self.nonce));
        writer.key("not_after");
        writer.raw(&self.not_after.to_string());
        writer.key("not_before");
        writer.raw(&self.not_before.to_string());
        writer.key("params");
        writer.text(&named(self.params));
        writer.key("targets");
        writer.texts(&self.targets);
        writer.key("v");
        writer.raw(&VERSION.to_string());
        writer.raw("}");
        writer.text
    }

    /// What no document says, however it was made.
    pub fn validate(&self) -> Result<(), String> {
        is_sorted(&self.grants).ok_or("its grants are not sorted, or one stands there twice")?;
        is_sorted(&self.targets).ok_or("its targets are not sorted, or one stands there twice")?;
        if self.targets.is_empty() {
            return Err("it names no targets".to_owned());
        }
        match self.not_after.checked_sub(self.not_before) {
            None => Err("it ends before it begins".to_owned()),
            Some(0..=VALID_SECONDS_MAX) => Ok(()),
            Some(_) => Err(format!("it is valid for more than {} days", VALID_SECONDS_MAX / 86_400)),
        }
    }

    /// What the clock says against it.
    pub fn objection(&self, now: u64) -> Option<Problem> {
        let problem = |text: String| {
            Problem::new("approval.time", text)
                .hint("compare the clocks of the controller and the target, or ask for a new approval")
        };
        if now < self.not_before {
            let wait = self.not_before - now;
            return Some(problem(format!("the approval is not valid yet: it begins in {wait} s")));
        }
        (now > self.not_after).then(|| {
            problem(format!("the approval is not valid any more: it ended {} s ago", now - self.not_after))
        })
    }

    pub fn covers(&self, target: &str) -> bool {
        self.targets.iter().any(|known| known == target)
    }
}

fn is_sorted(texts: &[String]) -> Option<()> {
    texts.iter().zip(texts.iter().skip(1)).all(|(one, next)| one < next).then_some(())
}

fn named(hash: Hash) -> String {
    format!("blake3:{}", data_encoding::HEXLOWER.encode(&hash.0))
}

fn read(text: &str) -> Result<Approval, String> {
    let mut reader = Reader::new(text);
    reader.raw("{")?;
    reader.key("check")?;
    let check = reader.bool()?;
    let grants = reader.next("grants")?.texts()?;
    let module = hash(&reader.next("module")?.text()?)?;
    let nonce = reader.next("nonce")?.text()?;
    let not_after = reader.next("not_after")?.number()?;
    let not_before = reader.next("not_before")?.number()?;
    let params = hash(&reader.next("params")?.text()?)?;
    let targets = reader.next("targets")?.texts()?;
    match reader.next("v")?.number()? {
        VERSION => {}
        other => return Err(format!("it is of version {other}; {VERSION} is known")),
    }
    reader.raw("}")?;
    reader.end()?;
    let nonce = bytes(&nonce).ok_or("its nonce is not 32 digits of lower-case hex")?;
    Ok(Approval { module, params, grants, check, targets, not_before, not_after, nonce })
}

fn hash(text: &str) -> Result<Hash, String> {
    let hash = text.strip_prefix("blake3:").and_then(bytes);
    hash.map(Hash).ok_or_else(|| format!("`{text}` is no hash: 64 digits of lower-case hex follow blake3:"))
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

/// Who agreed to a document: `needed` people or more, each with a key of his own, at this time (seconds since 1970, UTC).
/// `signatures` are without armour. What the document says is compared with the run by whoever calls this.
pub fn approved<S: AsRef<[u8]>>(
    document: &[u8],
    signatures: &[S],
    rules: &Rules,
    needed: usize,
    now: u64,
) -> Result<Vec<Approver>, Problem> {
    if let Some(problem) = Approval::parse(document)?.objection(now) {
        return Err(problem);
    }
    if signatures.len() > SIGNATURES_MAX {
        let text =
            format!("the approval has {} signatures; at most {SIGNATURES_MAX} are read", signatures.len());
        return Err(Problem::new("approval.signatures", text));
    }
    let mut people: Vec<Person> = Vec::new();
    let mut whys = Vec::new();
    for (number, signature) in (1..).zip(signatures) {
        match agreed(document, signature.as_ref(), rules, now) {
            Ok(person) => join(&mut people, person),
            Err(problem) => whys.push(format!("signature {number}: {}", problem.message)),
        }
    }
    // Nobody's agreement is nobody's, whatever a policy says.
    if people.len() >= needed.max(1) {
        return Ok(people.into_iter().map(|person| person.approver).collect());
    }
    let names: Vec<String> = people.iter().map(|person| person.approver.principals.join(",")).collect();
    let by = if names.is_empty() { String::new() } else { format!(" ({})", names.join("; ")) };
    let whys: String = whys.iter().map(|why| format!("; {why}")).collect();
    let text = format!("{} of {} people who must approve this did{by}{whys}", people.len(), needed.max(1));
    Err(Problem::new("approval.too_few", text)
        .hint("`waft sign FILE` signs it; two signatures by one person, or with one key, count once"))
}

/// All keys and names that are the same person's.
struct Person {
    keys: Vec<KeyData>,
    approver: Approver,
}

fn agreed(document: &[u8], signature: &[u8], rules: &Rules, now: u64) -> Result<Person, Problem> {
    let decoded = armour::decode(signature).map_err(|why| Problem::new("signature.malformed", why))?;
    let question = Question { namespace: APPROVAL_NAMESPACE, message: document, now, principal: None };
    let mut principals = rules.check(&decoded, question)?.principals;
    let data = decoded.public_key();
    if !matches!(data, KeyData::Certificate(_)) {
        // Behind a pattern may be anybody: also somebody who has agreed already.
        principals.retain(|name| !pattern::is_pattern(name));
        if principals.is_empty() {
            let why = "its signer is allowed by a pattern only, and an approval needs a name";
            return Err(Problem::new("approval.name", why));
        }
    }
    let signer = signer(data);
    Ok(Person { keys: vec![key::plain(data).clone()], approver: Approver { principals, signer } })
}

/// Whoever shares a name or a key with somebody is the same person, also when that makes one person of two.
fn join(people: &mut Vec<Person>, mut new: Person) {
    let is_same = |one: &Person, other: &Person| {
        one.keys.iter().any(|key| other.keys.contains(key))
            || one.approver.principals.iter().any(|name| other.approver.principals.contains(name))
    };
    let (same, others): (Vec<Person>, Vec<Person>) =
        std::mem::take(people).into_iter().partition(|person| is_same(person, &new));
    *people = others;
    for person in same {
        new.keys.extend(person.keys);
        for name in person.approver.principals {
            if !new.approver.principals.contains(&name) {
                new.approver.principals.push(name);
            }
        }
    }
    people.push(new);
}

#[cfg(test)]
mod tests;
