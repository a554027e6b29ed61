use super::*;
use crate::allowed::AllowedSigners;
use crate::armour;
use crate::revoked::Revocations;
use crate::testing::{ed25519, public, seal_over, utc};
use ssh_key::certificate::Builder;
use ssh_key::{HashAlg, SshSig};

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

fn approval() -> Approval {
    Approval {
        module: Hash([1; 32]),
        params: Hash([2; 32]),
        grants: vec!["exec:systemctl restart nginx".to_owned(), "facts".to_owned()],
        check: false,
        targets: vec!["web1".to_owned(), "web2".to_owned()],
        not_before: NOW - 60,
        not_after: NOW + 60,
        nonce: [0xAB; 16],
    }
}

fn rules(lines: &str) -> Rules {
    let signers = AllowedSigners::parse("signers", lines.as_bytes(), &utc).expect("good lines");
    Rules { signers, revoked: Revocations::default() }
}

/// Principals and keys of the seeds that follow.
fn people(people: &[(&str, u8)]) -> Rules {
    rules(
        &people
            .iter()
            .map(|(names, seed)| format!("{names} {}\n", public(&ed25519(*seed))))
            .collect::<String>(),
    )
}

fn bytes(armoured: &str) -> Vec<u8> {
    armour::parse(armoured.as_bytes()).remove(0).bytes().expect("a signature")
}

fn by(seed: u8, document: &str) -> Vec<u8> {
    bytes(&seal_over(&ed25519(seed), APPROVAL_NAMESPACE, document.as_bytes()))
}

fn ask(rules: &Rules, seeds: &[u8], needed: usize) -> Result<Vec<Approver>, Problem> {
    let document = approval().print();
    let signatures: Vec<Vec<u8>> = seeds.iter().map(|seed| by(*seed, &document)).collect();
    approved(document.as_bytes(), &signatures, rules, needed, NOW)
}

fn refused(outcome: Result<Vec<Approver>, Problem>, code: &str) -> String {
    let problem = outcome.expect_err(code);
    assert_eq!(problem.code, code, "{problem}");
    problem.message
}

#[test]
fn the_document_is_canonical_json() {
    let mut approval = approval();
    approval.targets = vec!["a\"\\\u{1}\n\u{e9}\u{1F600}\u{7f}".to_owned()];
    let (one, two) = ("01".repeat(32), "02".repeat(32));
    let text = format!(
        "{{\"check\":false,\"grants\":[\"exec:systemctl restart nginx\",\"facts\"],\"module\":\"blake3:{one}\",\
         \"nonce\":\"{}\",\"not_after\":1767225660,\"not_before\":1767225540,\"params\":\"blake3:{two}\",\
         \"targets\":[\"a\\\"\\\\\\u0001\\n\u{e9}\u{1F600}\u{7f}\"],\"v\":1}}",
        "ab".repeat(16)
    );
    assert_eq!(approval.print(), text);
    assert_eq!(Approval::parse(text.as_bytes()), Ok(approval));
}

#[test]
fn what_is_not_canonical_is_no_document() {
    let good = approval().print();
    let cases = [
        (good.replace("\"check\":", "\"check\": "), "true or false"),
        (format!("{good}\n"), "its end"),
        (format!(" {good}"), "{ is missing"),
        (good.replace("\"v\":1", "\"v\":2"), "version 2"),
        (good.replace("\"v\":1", "\"v\":1,\"w\":1"), "} is missing"),
        (good.replace("\"v\":1", "\"v\":01"), "canonical"),
        (good.replace("facts", "\\u0066acts"), "canonical"),
        (good.replace("facts", "f\\/acts"), "escape"),
        (good.replace("facts", "f\\u00e"), "escape"),
        (good.replace("abab", "ABAB"), "nonce"),
        (good.replacen("0101", "01", 1), "is no hash"),
        (good.replace("blake3:", "sha256:"), "is no hash"),
        (good.replace("\"web1\",\"web2\"", "\"web2\",\"web1\""), "sorted"),
        (good.replace("\"web1\",\"web2\"", "\"web1\",\"web1\""), "twice"),
        (good.replace("\"web1\",\"web2\"", ""), "no targets"),
        (good.replace("1767225540", "1767225661"), "before it begins"),
        (good.replace("1767225540", "1"), "more than 30 days"),
        (good.replace("1767225540", "9007199254740992"), "whole number"),
        (good.replace("1767225540", "-1"), "whole number"),
        (good.replace("1767225540", "1767225540.0"), "is missing"),
        (good.replace("web1", &"x".repeat(DOCUMENT_BYTES_MAX)), "more than 12288 bytes"),
    ];
    for (text, why) in cases {
        let problem = Approval::parse(text.as_bytes()).expect_err(&text);
        assert_eq!(problem.code, "approval.malformed");
        assert!(problem.message.contains(why), "{problem} does not say {why}");
    }
    assert!(Approval::parse(b"\xff").expect_err("no text").message.contains("UTF-8"));
    for end in 0..good.len() {
        assert!(Approval::parse(&good.as_bytes()[..end]).is_err(), "{end}");
    }
}

#[test]
fn n_of_m_are_distinct_people_with_distinct_keys() {
    let rules = people(&[("amy", 1), ("bob", 2), ("cat", 3)]);
    let two = ask(&rules, &[1, 3], 2).expect("two of three");
    let names: Vec<&[String]> = two.iter().map(|who| who.principals.as_slice()).collect();
    assert_eq!(names, [["amy"], ["cat"]]);
    assert!(two.iter().all(|who| who.signer.key_type == "ssh-ed25519"));
    assert_eq!(ask(&rules, &[1, 2, 3], 2).map(|who| who.len()), Ok(3));
    let said = refused(ask(&rules, &[1], 2), "approval.too_few");
    assert!(said.contains("1 of 2 people") && said.contains("(amy)"), "{said}");
    // The same signature twice.
    refused(ask(&rules, &[1, 1], 2), "approval.too_few");
    // Two keys of one person, and one key under two names.
    refused(ask(&people(&[("amy", 1), ("amy", 2)]), &[1, 2], 2), "approval.too_few");
    refused(ask(&people(&[("amy", 1), ("bob", 1)]), &[1, 1], 2), "approval.too_few");
    // One who is called as two others makes one person of them, in whatever order they come.
    let linked = people(&[("amy", 1), ("bob", 2), ("amy,bob", 3)]);
    for order in [[1, 2, 3], [3, 1, 2], [1, 3, 2]] {
        refused(ask(&linked, &order, 2), "approval.too_few");
    }
    // None needed is one needed.
    refused(ask(&rules, &[], 0), "approval.too_few");
    assert!(ask(&rules, &[2], 0).is_ok());
}

#[test]
fn strangers_revoked_keys_and_patterns_do_not_count() {
    let mut rules = people(&[("amy", 1), ("bob", 2), ("*@example.com,!cat", 3)]);
    let said = refused(ask(&rules, &[1, 9], 2), "approval.too_few");
    assert!(said.contains("signature 2: its signer is not among the allowed signers"), "{said}");
    let said = refused(ask(&rules, &[1, 3], 2), "approval.too_few");
    assert!(said.contains("an approval needs a name"), "{said}");
    rules.revoked.add("list", public(&ed25519(2)).as_bytes()).expect("a list");
    let said = refused(ask(&rules, &[1, 2], 2), "approval.too_few");
    assert!(said.contains("signature 2:") && said.contains("is revoked"), "{said}");
    let key = public(&ed25519(1));
    for (options, why) in [
        ("namespaces=\"waft-task\"", "other namespaces than waft-approval"),
        ("valid-before=\"20250101Z\"", "not allowed any more"),
        ("valid-after=\"20270101Z\"", "not allowed yet"),
    ] {
        let said = refused(ask(&self::rules(&format!("amy {options} {key}")), &[1], 1), "approval.too_few");
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_signature_is_over_this_document_for_this_purpose() {
    let rules = people(&[("amy", 1)]);
    let document = approval().print();
    let other = Approval { check: true, ..approval() }.print();
    let of_task = bytes(&seal_over(&ed25519(1), crate::TASK_NAMESPACE, document.as_bytes()));
    for (signature, why) in [
        (by(1, &other), "not over these bytes"),
        (of_task, "for the namespace `waft-task`"),
        (vec![1, 2, 3], "no SSH signature"),
    ] {
        let said = refused(approved(document.as_bytes(), &[signature], &rules, 1, NOW), "approval.too_few");
        assert!(said.contains(why), "{said}");
    }
    let good = by(1, &document);
    let ask = |signatures: usize, now: u64| {
        approved(document.as_bytes(), &vec![good.clone(); signatures], &rules, 1, now)
    };
    refused(ask(SIGNATURES_MAX + 1, NOW), "approval.signatures");
    assert!(ask(SIGNATURES_MAX, NOW - 60).is_ok() && ask(1, NOW + 60).is_ok());
    assert!(refused(ask(1, NOW - 61), "approval.time").contains("begins in 1 s"));
    assert!(refused(ask(1, NOW + 61), "approval.time").contains("ended 1 s ago"));
    refused(approved(b"{}", std::slice::from_ref(&good), &rules, 1, NOW), "approval.malformed");
}

#[test]
fn a_key_and_its_certificate_are_one_person() {
    let mut builder = Builder::new([5; 16], ed25519(1).public_key(), NOW - 60, NOW + 60).expect("a builder");
    builder.serial(7).expect("a serial").key_id("amy's laptop").expect("an id");
    builder.valid_principal("amy@example.com").expect("a name");
    let certificate = builder.sign(&ed25519(9)).expect("a certificate");
    let document = approval().print();
    let plain = armour::decode(&by(1, &document)).expect("a signature");
    let certified = SshSig::new(
        KeyData::from(certificate),
        APPROVAL_NAMESPACE,
        HashAlg::Sha512,
        plain.signature().clone(),
    );
    let certified = bytes(&certified.expect("made").to_pem(ssh_key::LineEnding::LF).expect("written"));
    let (amy, ca) = (public(&ed25519(1)), public(&ed25519(9)));
    let rules = rules(&format!("amy {amy}\n* cert-authority {ca}\nbob {}\n", public(&ed25519(2))));
    let ask = |signatures: &[Vec<u8>]| approved(document.as_bytes(), signatures, &rules, 2, NOW);
    refused(ask(&[by(1, &document), certified.clone()]), "approval.too_few");
    assert_eq!(ask(&[certified, by(2, &document)]).map(|who| who.len()), Ok(2));
}
