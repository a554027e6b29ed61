//! Orders that a node with a policy for signatures and approvals takes, and those that it does not: each wrong in one
//! thing only.

use super::rig::{PARAMS, Rig, envelope, now};
use super::{Place, WHO};
use crate::component::made::guest;
use ed25519_dalek::SigningKey;
use std::fs;
use std::path::Path;
use std::process::Command;
use waft_policy::site::key_text;
use waft_proto::envelope::{self, Bytes, Envelope};
use waft_proto::id::Hash;
use waft_proto::msg::{BlobKind, Outcome};
use waft_proto::run::Status;
use waft_tests::keys::{KeyKind, KeyPair};
use waft_tests::process::run_tool;
use waft_tests::{Result, need_root};
use waft_trust::Approval;

/// Says hello.
pub(super) const TASK: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")
  (data (i32.const 16) "hello\n")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Who signs here.
pub(super) struct Desk {
    pub(super) place: Place,
    controller: SigningKey,
    module: Vec<u8>,
    pub(super) hash: Hash,
}

impl Desk {
    /// With a policy of these lines, that knows the controller and the signers.
    pub(super) fn start(lines: &str) -> Result<Desk> {
        let place = Place::start(|spec| spec)?;
        let controller = SigningKey::from_bytes(&[42; 32]);
        let module = wat::parse_str(TASK).expect("a module");
        let hash = Hash::of(&module);
        let desk = Desk { place, controller, module, hash };
        let mut signers = String::new();
        for name in ["release", "audit", "old"] {
            let key = desk.key(name)?;
            signers.push_str(&format!("{name}@example.com {}\n", key.public_without_comment()));
        }
        desk.key("stranger")?;
        fs::write(desk.place.path("allowed"), signers).expect("written");
        fs::copy(desk.place.path("old.pub"), desk.place.path("revoked")).expect("written");
        desk.policy("", lines)?;
        Ok(desk)
    }

    /// What the policy says below its `[revoked]`, and after the controller.
    pub(super) fn policy(&self, revoked: &str, lines: &str) -> Result<()> {
        let known = key_text(&self.controller.verifying_key().to_bytes());
        let policy = format!(
            "precompiled = \"deny\"\nallowed_signers = \"{}\"\nnames = [\"web1\"]\n[revoked]\nkeys = [\"{}\"]\n\
             {revoked}[[controller]]\nname = \"{WHO}\"\nkey = \"{known}\"\n{lines}",
            self.place.path("allowed").display(),
            self.place.path("revoked").display()
        );
        self.place.policy(&policy)
    }

    fn key(&self, name: &str) -> Result<KeyPair> {
        KeyPair::generate(KeyKind::Ed25519, &self.place.path(name))
    }

    /// A signature as ssh-keygen makes it, without its armour.
    fn sign(&self, name: &str, namespace: &str, message: &[u8]) -> Result<Bytes> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(self.place.path(name));
        let armoured = run_tool(keygen, message)?;
        let block = waft_trust::armour::parse(armoured.as_bytes()).into_iter().next().expect("a signature");
        Ok(Bytes(block.bytes().expect("a good one")))
    }

    pub(super) fn task(&self, name: &str) -> Result<Bytes> {
        self.sign(name, "waft-task", waft_trust::task_message(&self.hash.0).as_bytes())
    }

    pub(super) fn rig(&self) -> Result<Rig> {
        let mut rig = Rig::connect(&self.place, &self.controller)?;
        assert!(rig.hello.compiles);
        rig.offer(BlobKind::Task, &self.module);
        Ok(rig)
    }

    pub(super) fn seal(&self, envelope: &Envelope) -> (Vec<u8>, Vec<u8>) {
        envelope.seal(&self.controller).expect("sealed")
    }

    pub(super) fn run(&self, rig: &mut Rig, change: impl FnOnce(&mut Envelope)) -> Result<(Outcome, String)> {
        let mut envelope = envelope(self.hash, Vec::new());
        change(&mut envelope);
        rig.order(&self.seal(&envelope))
    }
}

pub(super) fn code(outcome: &Outcome) -> &str {
    outcome.problem.as_ref().map_or("", |problem| problem.code.as_str())
}

pub(super) fn is_ok((outcome, stdout): &(Outcome, String)) {
    assert_eq!((outcome.status, stdout.as_str()), (Status::Ok, "hello\n"), "{outcome:?}");
}

pub(super) const SIGNED: &str = "[[rule]]\nname = \"signed\"\nsigners = [\"release@example.com\"]\n";

#[test]
fn a_module_runs_when_who_should_has_signed_it_and_the_node_compiles_it() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start(SIGNED)?;
    let mut rig = desk.rig()?;
    let good = desk.task("release")?;
    is_ok(&desk.run(&mut rig, |envelope| envelope.task_signatures = vec![good.clone()])?);
    // A second good one, and a bad one beside it, do no harm.
    let (audit, stranger) = (desk.task("audit")?, desk.task("stranger")?);
    is_ok(&desk.run(&mut rig, |envelope| envelope.task_signatures = vec![stranger, audit, good])?);
    Ok(())
}

#[test]
fn a_stranger_a_revoked_key_and_other_bytes_are_refused() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start(SIGNED)?;
    let mut rig = desk.rig()?;
    let message = waft_trust::task_message(&desk.hash.0);
    let other = waft_trust::task_message(&Hash::of(b"other").0);
    let mut flipped = desk.task("release")?;
    *flipped.0.last_mut().expect("a byte") ^= 1;
    for (what, signatures, wanted) in [
        ("none", vec![], "policy.no_rule"),
        ("somebody else who may sign", vec![desk.task("audit")?], "policy.no_rule"),
        ("a stranger", vec![desk.task("stranger")?], "signature.unknown_signer"),
        ("a revoked key", vec![desk.task("old")?], "signature.revoked"),
        ("other bytes", vec![desk.sign("release", "waft-task", other.as_bytes())?], "signature.bytes"),
        ("another namespace", vec![desk.sign("release", "file", message.as_bytes())?], "signature.namespace"),
        ("a flipped bit", vec![flipped], "signature.bytes"),
        ("no signature at all", vec![Bytes(b"SSHSIG".to_vec())], "signature.malformed"),
    ] {
        let (outcome, stdout) = desk.run(&mut rig, |envelope| envelope.task_signatures = signatures)?;
        assert_eq!((outcome.status, code(&outcome)), (Status::Refused, wanted), "{what}: {outcome:?}");
        assert_eq!(stdout, "", "{what}");
    }
    Ok(())
}

#[test]
fn machine_code_of_others_is_not_taken() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start("[[rule]]\nname = \"any\"\n")?;
    let mut rig = desk.rig()?;
    let code_of = b"\x7fELF, as if somebody had compiled it".to_vec();
    let hash = rig.offer(BlobKind::Artifact, &code_of);
    let artifact = waft_proto::envelope::Artifact {
        engine: rig.hello.engine,
        hash,
        bytes: code_of.len() as u64,
        worker: None,
    };
    // Beside the module it is not looked at.
    is_ok(&desk.run(&mut rig, |envelope| envelope.artifacts = vec![artifact])?);
    // In the place of the module it is none.
    rig.offer(BlobKind::Task, &code_of);
    let (outcome, _) = desk.run(&mut rig, |envelope| envelope.module = hash)?;
    assert_eq!((outcome.status, code(&outcome)), (Status::Failed, "compile.failed"), "{outcome:?}");
    // Without the module it is not enough.
    let (outcome, _) = desk.run(&mut rig, |envelope| {
        envelope.module = Hash::of(b"nowhere");
        envelope.artifacts = vec![artifact];
    })?;
    assert_eq!(outcome.status, Status::Failed, "{outcome:?}");
    Ok(())
}

/// The node has in itself what runs components, and compiles them.
#[test]
fn a_signed_component_runs_and_what_would_run_it_is_not_taken() -> Result<()> {
    need_root!("an account of its own");
    let mut desk = Desk::start(SIGNED)?;
    desk.module = guest()?.to_vec();
    desk.hash = Hash::of(&desk.module);
    let mut rig = desk.rig()?;
    let good = desk.task("release")?;
    let (refused, _) = desk.run(&mut rig, |_| {})?;
    assert_eq!((refused.status, code(&refused)), (Status::Refused, "policy.no_rule"), "{refused:?}");
    // As the controller states it; nobody offers either.
    let artifact = waft_proto::envelope::Artifact {
        engine: rig.hello.engine,
        hash: Hash::of(b"machine code"),
        bytes: 1,
        worker: Some(Hash::of(b"a program")),
    };
    let (outcome, stdout) = desk.run(&mut rig, |envelope| {
        envelope.task_signatures = vec![good];
        envelope.artifacts = vec![artifact];
    })?;
    assert_eq!(outcome.status, Status::Ok, "{outcome:?}");
    assert!(stdout.contains("\"args\":[\"hello\"]"), "{stdout}");
    Ok(())
}

#[test]
fn an_order_counts_once_also_for_the_next_process() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start("[[rule]]\nname = \"any\"\n")?;
    let order = desk.seal(&envelope(desk.hash, Vec::new()));
    is_ok(&desk.rig()?.order(&order)?);
    let (outcome, stdout) = desk.rig()?.order(&order)?;
    assert_eq!((outcome.status, code(&outcome)), (Status::Refused, "policy.replayed"), "{outcome:?}");
    assert_eq!(stdout, "");
    // By a key that the policy does not know: not even a new one.
    let stranger = SigningKey::from_bytes(&[43; 32]);
    let mut rig = Rig::connect(&desk.place, &stranger)?;
    rig.offer(BlobKind::Task, &desk.module);
    let (outcome, _) = rig.order(&envelope(desk.hash, Vec::new()).seal(&stranger).expect("sealed"))?;
    assert_eq!((outcome.status, code(&outcome)), (Status::Refused, "policy.controller"), "{outcome:?}");
    Ok(())
}

#[test]
fn a_run_that_needs_approvals_needs_them_for_exactly_itself_and_once() -> Result<()> {
    need_root!("an account of its own");
    let rule = "[[rule]]\nname = \"two\"\napprovals = 2\napprovers = [\"release@example.com\", \"audit@example.com\"]\n";
    let desk = Desk::start(rule)?;
    let mut rig = desk.rig()?;
    let document = |number: u8| Approval {
        module: desk.hash,
        params: Hash::of(PARAMS),
        grants: Vec::new(),
        check: false,
        targets: vec!["web1".to_owned()],
        not_before: now() - 60,
        not_after: now() + 600,
        nonce: [number; 16],
    };
    let signed = |approval: &Approval, names: &[&str]| -> Result<envelope::Approval> {
        let document = approval.print().into_bytes();
        let signatures = names.iter().map(|name| desk.sign(name, "waft-approval", &document));
        Ok(envelope::Approval { signatures: signatures.collect::<Result<_>>()?, document })
    };
    let both = ["release", "audit"];
    let good = document(1);
    for (what, approval, wanted) in [
        ("none", None, "policy.approval"),
        ("one person", Some(signed(&good, &["release"])?), "policy.approval"),
        ("one person twice", Some(signed(&good, &["release", "release"])?), "policy.approval"),
        ("a stranger beside one", Some(signed(&good, &["release", "stranger"])?), "policy.approval"),
        ("a revoked key beside one", Some(signed(&good, &["audit", "old"])?), "policy.approval"),
        ("strangers", Some(signed(&good, &["stranger"])?), "approval.too_few"),
        (
            "another module",
            Some(signed(&Approval { module: Hash::of(b"x"), ..good.clone() }, &both)?),
            "approval.other",
        ),
        (
            "other parameters",
            Some(signed(&Approval { params: Hash::of(b"x"), ..good.clone() }, &both)?),
            "approval.other",
        ),
        (
            "other grants",
            Some(signed(&Approval { grants: vec!["facts".to_owned()], ..good.clone() }, &both)?),
            "approval.other",
        ),
        ("a dry run", Some(signed(&Approval { check: true, ..good.clone() }, &both)?), "approval.other"),
        (
            "another target",
            Some(signed(&Approval { targets: vec!["db1".to_owned()], ..good.clone() }, &both)?),
            "approval.other",
        ),
        (
            "over",
            Some(signed(&Approval { not_before: 1, not_after: 2, ..good.clone() }, &both)?),
            "approval.time",
        ),
        (
            "changed behind the signatures",
            Some(envelope::Approval { document: document(2).print().into_bytes(), ..signed(&good, &both)? }),
            "approval.too_few",
        ),
    ] {
        let (outcome, stdout) = desk.run(&mut rig, |envelope| envelope.approval = approval)?;
        assert_eq!((outcome.status, code(&outcome)), (Status::Refused, wanted), "{what}: {outcome:?}");
        assert_eq!(stdout, "", "{what}");
    }
    let approval = signed(&good, &both)?;
    is_ok(&desk.run(&mut rig, |envelope| envelope.approval = Some(approval.clone()))?);
    // In a new order, and to a new process.
    for mut rig in [rig, desk.rig()?] {
        let (outcome, _) = desk.run(&mut rig, |envelope| envelope.approval = Some(approval.clone()))?;
        assert_eq!((outcome.status, code(&outcome)), (Status::Refused, "policy.replayed"), "{outcome:?}");
    }
    let again = signed(&document(3), &both)?;
    is_ok(&desk.run(&mut desk.rig()?, |envelope| envelope.approval = Some(again))?);
    Ok(())
}

#[test]
fn a_file_of_signers_that_is_missing_or_wrong_refuses_all() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start("[[rule]]\nname = \"any\"\n")?;
    let allowed = desk.place.path("allowed");
    let text = fs::read_to_string(&allowed).expect("it");
    let refused = |wanted: &str| -> Result<()> {
        let (outcome, _) = desk.run(&mut desk.rig()?, |_| {})?;
        assert_eq!(code(&outcome), wanted, "{outcome:?}");
        Ok(())
    };
    fs::write(&allowed, format!("{text}mallory\n")).expect("written");
    refused("signature.allowed_signers")?;
    fs::write(&allowed, &text).expect("written");
    mode(&allowed, 0o666);
    refused("policy.unsafe")?;
    fs::remove_file(&allowed).expect("removed");
    refused("policy.missing")?;
    fs::write(&allowed, &text).expect("written");
    is_ok(&desk.run(&mut desk.rig()?, |_| {})?);
    Ok(())
}

pub(super) fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}
