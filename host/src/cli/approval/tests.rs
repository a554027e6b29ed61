use super::*;
use crate::tree::{Endpoint, Target, shape};
use waft_trust::ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use waft_trust::ssh_key::{HashAlg, PrivateKey};
use waft_trust::{sealed, to_be_signed};

fn request() -> Request {
    Request {
        task: "restart".to_owned(),
        wasm: std::sync::Arc::from(&b"\0asm"[..]),
        params: b"{}".to_vec(),
        allow: vec!["facts".to_owned()],
        check: false,
        timeout: Duration::from_secs(1),
        diff: false,
        head: crate::run::Head::default(),
        secrets: crate::secret::Sent::default(),
        vouched: Vouched::default(),
        along: Default::default(),
        after_reboot: None,
    }
}

fn tree(targets: &[(&str, &[&str])]) -> Shape {
    let target = |(name, allow): &(&str, &[&str])| Target {
        endpoint: Endpoint::named(name),
        via: Vec::new(),
        allow: allow.iter().map(|text| (*text).to_owned()).collect(),
    };
    shape(&targets.iter().map(target).collect::<Vec<_>>()).expect("a tree")
}

fn now_valid(approval: Approval) -> Approval {
    Approval { not_before: unix_now() - 60, not_after: unix_now() + 600, ..approval }
}

/// By the key of that seed.
fn seal(seed: u8, namespace: &str, message: &[u8]) -> String {
    use russh::keys::signature::Signer;
    let pair = Ed25519Keypair::from(Ed25519PrivateKey::from_bytes(&[seed; 32]));
    let key = PrivateKey::new(KeypairData::Ed25519(pair), "").expect("a key");
    let data = to_be_signed(namespace, message, HashAlg::Sha512).expect("data");
    let signature = key.try_sign(&data).expect("a signature");
    sealed(key.public_key().into(), (namespace, message), HashAlg::Sha512, signature).expect("armour")
}

fn codes(outcome: Result<Sent, Vec<Problem>>) -> Vec<String> {
    outcome.expect_err("refused").into_iter().map(|problem| problem.code).collect()
}

#[test]
fn what_is_approved_is_the_run_on_all_its_targets() {
    let shape = tree(&[("web2", &["env:TZ"]), ("web1", &["env:TZ"])]);
    let subject = subject(&request(), &shape).expect("one set of grants");
    assert_eq!(subject.targets, ["web1", "web2"]);
    assert_eq!(subject.grants, ["env:TZ", "facts"]);
    assert_eq!(subject.module, Hash::of(b"\0asm"));
    assert_eq!(subject.params, Hash::of(b"{}"));
    let uneven = tree(&[("web1", &["env:TZ"]), ("web2", &[])]);
    let problem = super::subject(&request(), &uneven).expect_err("two sets");
    assert_eq!(problem.code, "approval.grants");
}

#[test]
fn each_difference_is_named() {
    let shape = tree(&[("web1", &[]), ("web2", &[])]);
    let approved = subject(&request(), &shape).expect("a subject");
    assert_eq!(differences(&approved, &approved), [] as [String; 0]);
    // A part of the targets is what was approved, too.
    let part = Approval { targets: vec!["web2".to_owned()], ..approved.clone() };
    assert_eq!(differences(&approved, &part), [] as [String; 0]);
    let run = Approval {
        module: Hash([1; 32]),
        params: Hash([2; 32]),
        check: true,
        grants: vec!["exec:*".to_owned()],
        targets: vec!["db1".to_owned(), "web1".to_owned()],
        ..approved.clone()
    };
    let all = differences(&approved, &run);
    let begins = [
        "the module is blake3:0101",
        "the parameters are blake3:0202",
        "it is a dry run, approved is a run that changes things",
        "the grant `exec:*` is not approved",
        "the grant `facts` is approved and not given",
        "the target `db1` is not approved",
    ];
    assert_eq!(all.len(), begins.len(), "{all:?}");
    for (said, begin) in all.iter().zip(begins) {
        assert!(said.starts_with(begin), "{said}");
    }
}

#[test]
fn an_approval_is_sent_as_it_was_signed_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, signed) = (dir.path().join("a"), dir.path().join("a.sig"));
    let run = subject(&request(), &tree(&[("web1", &[])])).expect("a subject");
    let document = now_valid(run.clone()).print();
    assert_eq!(codes(approved(&file, &run)), ["approval.read"]);
    write_new(&file, document.as_bytes()).expect("written");
    write_new(&file, b"").expect_err("it is there");
    assert_eq!(codes(approved(&file, &run)), ["approval.none"]);
    let good = [1, 2].map(|seed| seal(seed, APPROVAL_NAMESPACE, document.as_bytes())).concat();
    std::fs::write(&signed, &good).expect("signatures");
    let sent = approved(&file, &run).expect("it is sent");
    assert_eq!(sent.document, document.as_bytes());
    assert_eq!(sent.signatures.len(), 2);
    // As a target reads them.
    let keys: Vec<_> =
        sent.signatures.iter().map(|one| armour::decode(&one.0).expect("a signature")).collect();
    assert!(keys[0].public_key() != keys[1].public_key());
    for (bad, code) in [
        (seal(3, APPROVAL_NAMESPACE, b"{}"), "signature.bytes"),
        (seal(3, TASK_NAMESPACE, document.as_bytes()), "signature.namespace"),
        ("what\n".to_owned(), "signature.malformed"),
    ] {
        std::fs::write(&signed, format!("{good}{bad}")).expect("signatures");
        assert_eq!(codes(approved(&file, &run)), [code]);
    }
    std::fs::write(&signed, &good).expect("signatures");
    let other = Approval { params: Hash([1; 32]), targets: vec!["x".to_owned()], ..run.clone() };
    assert_eq!(codes(approved(&file, &other)), ["approval.differs", "approval.differs"]);
    let late = Approval { not_before: 1, not_after: 2, ..run.clone() }.print();
    std::fs::write(&file, &late).expect("written");
    std::fs::write(&signed, seal(1, APPROVAL_NAMESPACE, late.as_bytes())).expect("a signature");
    assert_eq!(codes(approved(&file, &run)), ["approval.time"]);
}

#[test]
fn signatures_beside_a_module_go_along_when_they_are_over_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let task = dir.path().join("t.wasm");
    let hash = Hash::of(b"\0asm");
    assert_eq!(signatures(&task, &hash), Ok(Vec::new()));
    let over = |seed: u8, hash: &Hash| seal(seed, TASK_NAMESPACE, task_message(&hash.0).as_bytes());
    let file = [over(1, &hash), over(2, &Hash::of(b"other")), "what\n".to_owned(), over(3, &hash)].concat();
    std::fs::write(dir.path().join("t.wasm.sig"), file).expect("signatures");
    let sent = signatures(&task, &hash).expect("read");
    assert_eq!(sent.len(), 2);
    let fingerprint = |seed: u8| {
        let pair = Ed25519Keypair::from(Ed25519PrivateKey::from_bytes(&[seed; 32]));
        let key = PrivateKey::new(KeypairData::Ed25519(pair), "").expect("a key");
        key.public_key().fingerprint(HashAlg::Sha256).to_string()
    };
    let told = crate::audit::record::signers(&sent);
    assert_eq!(told, [fingerprint(1), fingerprint(3)], "the audit log says by which keys");
    let many: String = (0..9).map(|seed| over(seed, &hash)).collect();
    std::fs::write(dir.path().join("t.wasm.sig"), many).expect("signatures");
    assert_eq!(signatures(&task, &hash).map(|sent| sent.len()), Ok(TASK_SIGNATURES_MAX));
}

#[test]
fn what_is_approved_is_said_in_the_words_of_explain() {
    let run = subject(&request(), &tree(&[("web1", &["exec:sh"])])).expect("a subject");
    let page = page(&Approval { not_before: 0, not_after: 86_400, ..run });
    assert!(page.contains("on web1\nfrom 1970-01-01T00:00:00Z to 1970-01-02T00:00:00Z\n"), "{page}");
    assert!(page.contains(mean::EVERYTHING), "{page}");
    let run = subject(&request(), &tree(&[("web1", &["fs:/etc:rw", "fs:/srv:rw"])])).expect("a subject");
    let page = super::page(&Approval { not_before: 0, not_after: 86_400, ..run });
    let (_, below) = page.split_once("  fs:/etc:rw\n").expect("the grant");
    let below: Vec<&str> = below.lines().take(4).collect();
    assert!(below[1].starts_with("    more than it seems: users, passwords"), "{page}");
    assert_eq!((below[2], page.matches("more than it seems").count()), ("  fs:/srv:rw", 1), "{page}");
}
