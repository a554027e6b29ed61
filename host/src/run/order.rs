//! The order of a run: what stands in its envelope, and whether there is room for it, which is known before anything is dialled.

use super::Request;
use crate::manifest::agree::first;
use crate::tree::{Shape, ShapeNode};
use ed25519_dalek::SigningKey;
use std::collections::{BTreeMap, BTreeSet};
use waft_engine::Form;
use waft_hop::driver::unix_now;
use waft_proto::envelope::{Artifact, Callee, Envelope, Wall};
use waft_proto::grant::GrantSet;
use waft_proto::id::{Hash, NodeId, NodeRange, RunId};
use waft_proto::limits::ENVELOPE_BYTES_MAX;
use waft_proto::msg::{Arch, Engine, Profile};
use waft_proto::run::Problem;

/// How long an order may be underway by the clocks of controller and target, seconds. Wide, because the
/// clocks of targets are what they are.
const ORDER_EXPIRY_S: u64 = 24 * 3600;
/// Called tasks that are named when there is no room for them.
const LARGEST_MAX: usize = 3;
/// Bytes of a hash, and of what stands beside it, of a module, artifact or file.
const HASH_BYTES: usize = 40;

/// What goes to a target.
pub(super) fn grants(request: &Request, node: Option<&ShapeNode>) -> Vec<String> {
    let own = node.map(|node| node.allow.clone()).unwrap_or_default();
    let grants: BTreeSet<String> = request.allow.iter().cloned().chain(own).collect();
    grants.into_iter().collect()
}

/// All of an envelope but whom it is for. `compiled` gives the artifacts of the task (0) and of those that it may call.
pub(super) fn draft(
    request: &Request,
    module: Hash,
    (grants, wall): (Vec<String>, Wall),
    compiled: impl Fn(usize) -> Vec<Artifact>,
) -> Result<Envelope, Problem> {
    Ok(Envelope {
        run: RunId([0; 16]),
        task: request.task.clone(),
        targets: Vec::new(),
        module,
        artifacts: compiled(0),
        params: Hash::of(&request.params),
        callees: request.along.told(&grants, |at| compiled(at + 1))?,
        grants,
        check: request.check,
        timeout_ms: u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
        expires: unix_now() + ORDER_EXPIRY_S,
        nonce: [0; 8],
        wall,
        diff: request.diff,
        task_signatures: request.vouched.task.clone(),
        approval: request.vouched.approval.clone(),
        files: request.along.file_blobs(),
        audit: request.head.get(),
    })
}

/// Why a target with these grants gets no order: what the task, or one that it may call there, could not be compiled to.
pub(super) fn uncompiled(
    request: &Request,
    compiled: &[Result<Artifact, Problem>],
    grants: &[String],
) -> Result<(), Problem> {
    let good =
        |at: usize| compiled.get(at).map_or(Ok(()), |one| one.as_ref().map(drop).map_err(Clone::clone));
    good(0)?;
    let grants = GrantSet::parse_all(grants.iter().map(String::as_str)).map_err(first)?;
    request.along.callable(&grants).try_for_each(|(at, _)| good(at + 1))
}

/// Whether the order for each target has room for what goes with it, by the least that it can be: one target, one engine.
pub fn fits(request: &Request, shape: &Shape) -> Result<(), Vec<Problem>> {
    let own = std::iter::once(&request.wasm);
    let wasms = own.chain(request.along.callees.iter().map(|callee| &callee.wasm));
    let forms: Vec<Form> = wasms.map(|wasm| Form::of_wasm(wasm)).collect();
    let hash = Hash([0; 32]);
    let engine = Engine { arch: Arch::X86_64, profile: Profile::Fast };
    let compiled = |at: usize| {
        let worker = forms.get(at).filter(|form| **form == Form::Component).map(|_| hash);
        vec![Artifact { engine, hash, bytes: 1, worker }]
    };
    let mut sets: BTreeMap<Vec<String>, &str> = BTreeMap::new();
    for node in shape.selected() {
        sets.entry(grants(request, Some(node))).or_insert(&node.endpoint.name);
    }
    let mut problems = Vec::new();
    for (grants, target) in sets {
        let draft = draft(request, hash, (grants, Wall::Best), compiled).map_err(|problem| vec![problem])?;
        let audit = Some(hash);
        let least = Envelope { targets: vec![NodeRange::one(NodeId(1))], audit, ..draft };
        match least.seal(&SigningKey::from_bytes(&[0; 32])) {
            Err(problem) if problem.code == "envelope.size" => problems.push(full(&least, target)),
            other => other.map(drop).map_err(|problem| vec![problem])?,
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// What takes the room, in bytes that are nearly those of the encoding.
fn full(order: &Envelope, target: &str) -> Problem {
    let texts = |grants: &[String]| grants.iter().map(|text| text.len() + 1).sum::<usize>();
    let size = |callee: &Callee| {
        callee.name.len() + (1 + callee.artifacts.len()) * HASH_BYTES + texts(&callee.grants)
    };
    let mut callees: Vec<(usize, &str)> =
        order.callees.iter().map(|callee| (size(callee), callee.name.as_str())).collect();
    callees.sort_by(|one, other| other.cmp(one));
    let largest: Vec<String> =
        callees.iter().take(LARGEST_MAX).map(|(bytes, name)| format!("`{name}` {bytes}")).collect();
    let signed: usize = order.task_signatures.iter().map(|signature| signature.0.len()).sum();
    let approved = order.approval.iter().map(|approval| {
        approval.document.len() + approval.signatures.iter().map(|signature| signature.0.len()).sum::<usize>()
    });
    let mut parts: Vec<(usize, String)> = vec![
        (
            callees.iter().map(|(bytes, _)| bytes).sum(),
            format!("{} called tasks with their grants (of them {})", callees.len(), largest.join(", ")),
        ),
        (texts(&order.grants), "the grants of the task itself".to_owned()),
        (order.files.len() * HASH_BYTES, format!("{} files", order.files.len())),
        (signed, "signatures over the task".to_owned()),
        (approved.sum(), "the approval".to_owned()),
    ];
    parts.retain(|(bytes, _)| *bytes > 0);
    parts.sort_by(|one, other| other.cmp(one));
    let parts: Vec<String> = parts.iter().map(|(bytes, what)| format!("{bytes} for {what}")).collect();
    let text = format!(
        "the order for `{target}` has at most {ENVELOPE_BYTES_MAX} bytes, and there is no room in it for what goes with \
         this run: about {}",
        parts.join(", ")
    );
    let hint = match order.callees.is_empty() {
        true => "give fewer grants, or send several files as one archive",
        false => {
            "give called tasks manifests: one without has all grants of its caller; each is told of all files, so send \
             several as one archive; or give fewer grants"
        }
    };
    Problem::new("envelope.size", text).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::{fits, uncompiled};
    use crate::along::{Along, files::File};
    use crate::manifest::{Manifest, Place};
    use crate::run::{Head, Request};
    use crate::search::Found;
    use crate::tree::{Endpoint, Target, shape};
    use std::sync::Arc;
    use std::time::Duration;
    use waft_proto::envelope::Artifact;
    use waft_proto::id::Hash;
    use waft_proto::msg::{Arch, Engine, Profile};
    use waft_proto::run::Problem;

    fn task(at: usize, manifest: bool) -> Found {
        let manifest = manifest.then(|| Manifest::parse("m", "grants = []", Place::Section).expect("one"));
        Found { name: format!("t{at:02}"), wasm: Arc::from(format!("{at}").as_bytes()), file: None, manifest }
    }

    fn file(at: u8) -> File {
        let bytes: Arc<[u8]> = Arc::from(&[at][..]);
        File { param: format!("p{at}"), path: "/f".into(), hash: Hash::of(&bytes), bytes }
    }

    /// With so many called tasks, which have a manifest or not, and files.
    fn request(callees: usize, manifest: bool, files: u8) -> Request {
        let callees: Vec<Found> = (0..callees).map(|at| task(at, manifest)).collect();
        let files: Vec<File> = (0..files).map(file).collect();
        let allow = callees.iter().map(|callee| format!("call:{}", callee.name));
        let allow: Vec<String> = allow.chain(files.iter().map(File::grant)).collect();
        Request {
            task: "caller".to_owned(),
            wasm: Arc::from(&b"\0asm\x01\0\0\0"[..]),
            params: Vec::new(),
            allow,
            check: false,
            diff: false,
            timeout: Duration::from_secs(1),
            head: Head::default(),
            vouched: Default::default(),
            secrets: Default::default(),
            along: Along { callees, files },
            after_reboot: None,
        }
    }

    #[test]
    fn a_called_task_that_cannot_be_compiled_ends_those_that_may_call_it() {
        let request = request(2, true, 0);
        let engine = Engine { arch: Arch::X86_64, profile: Profile::Fast };
        let good = || Ok(Artifact { engine, hash: Hash([1; 32]), bytes: 1, worker: None });
        let bad = |code: &str| Err(Problem::new(code, "it cannot"));
        let code = |compiled: &[Result<Artifact, Problem>], grants: &[&str]| {
            let grants: Vec<String> = grants.iter().map(|text| (*text).to_owned()).collect();
            uncompiled(&request, compiled, &grants).map_err(|problem| problem.code)
        };
        let compiled = [good(), good(), bad("worker.missing")];
        assert_eq!(code(&compiled, &["facts", "call:t00"]), Ok(()));
        assert_eq!(code(&compiled, &["call:t00", "call:t01"]), Err("worker.missing".to_owned()));
        assert_eq!(code(&[bad("compile.cpu"), good(), good()], &[]), Err("compile.cpu".to_owned()));
    }

    #[test]
    fn an_order_without_room_is_told_with_what_takes_it_and_what_to_do() {
        let named = |name: &str, allow: Vec<String>| Target {
            endpoint: Endpoint::named(name),
            via: Vec::new(),
            allow,
        };
        let one = shape(&[named("web1", Vec::new())]).expect("a tree");
        assert_eq!(fits(&request(32, true, 3), &one), Ok(()));
        assert_eq!(fits(&request(0, true, 32), &one), Ok(()));
        let problem = fits(&request(32, false, 32), &one).expect_err("no room").remove(0);
        assert_eq!(problem.code, "envelope.size");
        for words in
            ["`web1`", "24576 bytes", "32 called tasks with their grants (of them `t31` ", "32 files"]
        {
            assert!(problem.message.contains(words), "{words} in {problem}");
        }
        assert!(problem.hint.as_ref().is_some_and(|hint| hint.contains("manifests")), "{problem:?}");
        // By what one host alone is granted, and then it is that one that is named.
        let more: Vec<String> = (0..500).map(|at| format!("fs:/srv/{at}/{}", "x".repeat(40))).collect();
        let two = shape(&[named("web1", Vec::new()), named("web2", more)]).expect("a tree");
        let problems = fits(&request(0, true, 1), &two).expect_err("no room");
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(problem.message.contains("`web2`") && !problem.message.contains("called"), "{problem}");
    }
}
