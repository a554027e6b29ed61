use super::*;
use crate::task_message;
use crate::testing::{HASH, ed25519, public, seal, seal_in, utc};
use signature::Signer as _;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::public::SkEd25519;
use ssh_key::sha2::{Digest, Sha256};
use ssh_key::{Algorithm, LineEnding, Signature};

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

fn rules(signers: &str) -> Rules {
    let signers = AllowedSigners::parse("signers", signers.as_bytes(), &utc).expect("good lines");
    Rules { signers, revoked: Revocations::default() }
}

fn ask(rules: &Rules, file: &str, principal: Option<&str>) -> Vec<Verdict> {
    let message = task_message(&HASH);
    let question = Question { namespace: TASK_NAMESPACE, message: message.as_bytes(), now: NOW, principal };
    rules.judge(file.as_bytes(), question)
}

/// Of a file with one signature: the principals, or the code of what is wrong.
fn one(rules: &Rules, file: &str, principal: Option<&str>) -> Result<Vec<String>, String> {
    let mut verdicts = ask(rules, file, principal);
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    let outcome = verdicts.remove(0).outcome;
    outcome.map(|accepted| accepted.principals).map_err(|problem| problem.code)
}

fn refused(code: &str) -> Result<Vec<String>, String> {
    Err(format!("signature.{code}"))
}

fn names(names: &[&str]) -> Result<Vec<String>, String> {
    Ok(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn who_signed_is_told_with_every_name_that_the_lines_give() {
    let key = ed25519(1);
    let public = public(&key);
    let rules = rules(&format!(
        "amy,a@*,!a@x {public}\nbob {}\nops,amy {public}\n",
        super::tests::public(&ed25519(2))
    ));
    let file = seal(&key, &HASH);
    assert_eq!(one(&rules, &file, None), names(&["amy", "a@*", "!a@x", "ops"]));
    assert_eq!(one(&rules, &file, Some("a@y")), names(&["a@y"]));
    assert_eq!(one(&rules, &file, Some("a@x")), refused("principal"));
    assert_eq!(one(&rules, &file, Some("bob")), refused("principal"));
    let verdict = ask(&rules, &file, None).remove(0);
    let signer = verdict.signer.expect("a signer");
    assert_eq!(signer.key_type, "ssh-ed25519");
    assert_eq!(signer.fingerprint, key.public_key().fingerprint(HashAlg::Sha256).to_string());
    assert_eq!(verdict.outcome.expect("good").lines, [1, 3]);
}

#[test]
fn each_signature_has_a_verdict_of_its_own() {
    let rules = rules(&format!("amy {}", public(&ed25519(1))));
    let file = [seal(&ed25519(2), &HASH), "what\n".to_owned(), seal(&ed25519(1), &HASH)].concat();
    let verdicts = ask(&rules, &file, None);
    let codes: Vec<_> = verdicts
        .iter()
        .map(|verdict| verdict.outcome.as_ref().err().map(|problem| problem.code.as_str()))
        .collect();
    assert_eq!(codes, [Some("signature.unknown_signer"), Some("signature.malformed"), None]);
    assert!(ask(&rules, "", None).is_empty());
}

#[test]
fn other_bytes_other_namespaces_and_strangers_are_refused() {
    let key = ed25519(1);
    let rules = rules(&format!("amy {}", public(&key)));
    let mut other = HASH;
    other[31] ^= 1;
    assert_eq!(one(&rules, &seal(&key, &other), None), refused("bytes"));
    assert_eq!(one(&rules, &seal_in(&key, "file", &HASH), None), refused("namespace"));
    assert_eq!(one(&rules, &seal_in(&key, "waft-task2", &HASH), None), refused("namespace"));
    assert_eq!(one(&rules, &seal(&ed25519(2), &HASH), None), refused("unknown_signer"));
    // The signature of a stranger under the key of a friend.
    let data = to_be_signed(TASK_NAMESPACE, task_message(&HASH).as_bytes(), HashAlg::Sha512).expect("data");
    let by_stranger = ed25519(2).try_sign(&data).expect("a signature");
    let forged =
        SshSig::new(key.public_key().into(), TASK_NAMESPACE, HashAlg::Sha512, by_stranger).expect("made");
    assert_eq!(one(&rules, &forged.to_pem(LineEnding::LF).expect("written"), None), refused("bytes"));
    // A key listed as an authority does not sign for itself.
    let authority = self::rules(&format!("* cert-authority {}", public(&key)));
    assert_eq!(one(&authority, &seal(&key, &HASH), None), refused("unknown_signer"));
}

#[test]
fn what_a_line_limits_is_kept_and_another_line_may_still_allow() {
    let key = ed25519(1);
    let file = seal(&key, &HASH);
    let public = public(&key);
    let with = |options: &str| rules(&format!("amy {options} {public}"));
    assert_eq!(one(&with("namespaces=\"file\""), &file, None), refused("signer_namespace"));
    assert_eq!(one(&with("valid-after=\"20270101Z\""), &file, None), refused("time"));
    assert_eq!(one(&with("valid-before=\"20250101Z\""), &file, None), refused("time"));
    let both = format!("amy valid-before=\"20250101Z\" {public}\namy2 valid-after=\"20250101Z\" {public}");
    assert_eq!(one(&rules(&both), &file, None), names(&["amy2"]));
    assert_eq!(one(&rules(&both), &file, Some("amy")), refused("time"));
    // All lines say what they have against it.
    let problem = ask(&rules(&both), &file, Some("amy")).remove(0).outcome.expect_err("refused");
    assert!(problem.message.contains("line 1") && problem.message.contains("line 2"), "{problem}");
}

#[test]
fn a_revoked_key_does_not_count_whoever_allows_it() {
    let key = ed25519(1);
    let mut rules = rules(&format!("amy {}", public(&key)));
    let file = [seal(&key, &HASH), seal(&ed25519(2), &HASH)].concat();
    rules.revoked.add("list", public(&key).as_bytes()).expect("a list");
    let problem = ask(&rules, &file, None).remove(0).outcome.expect_err("revoked");
    assert_eq!(problem.code, "signature.revoked");
}

/// A certificate of key 1 by key 9, as `change` wants it.
fn certified(change: impl FnOnce(&mut Builder)) -> Certificate {
    let mut builder = Builder::new([5; 16], ed25519(1).public_key(), NOW - 60, NOW + 60).expect("a builder");
    builder.serial(7).expect("a serial").key_id("amy's laptop").expect("an id");
    builder.valid_principal("amy").expect("a name");
    change(&mut builder);
    builder.sign(&ed25519(9)).expect("a certificate")
}

fn seal_certified(certificate: &Certificate) -> String {
    let data = to_be_signed(TASK_NAMESPACE, task_message(&HASH).as_bytes(), HashAlg::Sha512).expect("data");
    let signature = ed25519(1).try_sign(&data).expect("a signature");
    let key = KeyData::from(certificate.clone());
    SshSig::new(key, TASK_NAMESPACE, HashAlg::Sha512, signature)
        .expect("made")
        .to_pem(LineEnding::LF)
        .expect("written")
}

fn authority(principals: &str) -> Rules {
    rules(&format!("{principals} cert-authority {}", public(&ed25519(9))))
}

#[test]
fn a_certificate_counts_by_its_authority_for_its_own_names() {
    let file = seal_certified(&certified(|builder| {
        builder.valid_principal("root").expect("a name");
    }));
    assert_eq!(one(&authority("*"), &file, None), names(&["amy", "root"]));
    assert_eq!(one(&authority("*,!root"), &file, None), names(&["amy"]));
    assert_eq!(one(&authority("bob"), &file, None), refused("principal"));
    assert_eq!(one(&authority("*"), &file, Some("amy")), names(&["amy"]));
    assert_eq!(one(&authority("*"), &file, Some("bob")), refused("principal"));
    assert_eq!(one(&authority("bob"), &file, Some("amy")), refused("principal"));
    // Neither the key alone nor another authority is enough, and an authority must be listed as one.
    let strangers = [
        format!("amy {}", public(&ed25519(1))),
        format!("* cert-authority {}", public(&ed25519(8))),
        format!("* {}", public(&ed25519(9))),
    ];
    for signers in strangers {
        assert_eq!(one(&rules(&signers), &file, None), refused("unknown_signer"), "{signers}");
    }
    let signer = ask(&authority("*"), &file, None).remove(0).signer.expect("a signer");
    assert_eq!(signer.key_type, "ssh-ed25519-cert-v01@openssh.com");
    let certificate = signer.certificate.expect("a certificate");
    assert_eq!((certificate.id.as_str(), certificate.serial), ("amy's laptop", 7));
    assert_eq!(certificate.authority, ed25519(9).public_key().fingerprint(HashAlg::Sha256).to_string());
}

#[test]
fn a_certificate_that_does_not_hold_is_refused() {
    let verdict = |certificate: &Certificate| one(&authority("*"), &seal_certified(certificate), None);
    let host = certified(|builder| {
        builder.cert_type(CertType::Host).expect("a type");
    });
    assert_eq!(verdict(&host), refused("certificate"));
    let critical = certified(|builder| {
        builder.critical_option("force-command", "/bin/true").expect("an option");
    });
    assert_eq!(verdict(&critical), refused("certificate"));
    let mut any = Builder::new([5; 16], ed25519(1).public_key(), NOW - 60, NOW + 60).expect("a builder");
    any.all_principals_valid().expect("anybody");
    assert_eq!(verdict(&any.sign(&ed25519(9)).expect("a certificate")), refused("certificate"));
    for (after, before, good) in [(NOW + 1, NOW + 60, false), (NOW - 60, NOW, false), (NOW, NOW + 1, true)] {
        let mut builder = Builder::new([5; 16], ed25519(1).public_key(), after, before).expect("a builder");
        builder.valid_principal("amy").expect("a name");
        let expected = if good { names(&["amy"]) } else { refused("time") };
        assert_eq!(verdict(&builder.sign(&ed25519(9)).expect("a certificate")), expected, "{after} {before}");
    }
    // A bit of it was changed after it was signed: another serial.
    let good = certified(|_| {});
    let mut bytes = good.to_bytes().expect("bytes");
    let serial = bytes.windows(8).position(|window| window == [0, 0, 0, 0, 0, 0, 0, 7]).expect("a serial");
    bytes[serial + 7] = 8;
    assert_eq!(verdict(&good), names(&["amy"]));
    assert_eq!(verdict(&Certificate::from_bytes(&bytes).expect("still readable")), refused("certificate"));
}

#[test]
fn certificates_are_revoked_by_key_authority_serial_and_id() {
    use crate::krl::tests::{certificates, list};
    let file = seal_certified(&certified(|_| {}));
    let ca = key::wire(&ed25519(9).public_key().into()).expect("bytes");
    let other = key::wire(&ed25519(8).public_key().into()).expect("bytes");
    let id = |id: &[u8]| (0x23, [&(id.len() as u32).to_be_bytes()[..], id].concat());
    let serial = |serial: u64| (0x20, serial.to_be_bytes().to_vec());
    for (revoked, what) in [
        (public(&ed25519(1)).into_bytes(), Some("its key")),
        (public(&ed25519(9)).into_bytes(), Some("the authority")),
        (list(&[certificates(&ca, &[serial(7)])]), Some("serial 7")),
        (list(&[certificates(b"", &[serial(7)])]), Some("serial 7")),
        (list(&[certificates(&ca, &[id(b"amy's laptop")])]), Some("amy's laptop")),
        (list(&[certificates(&other, &[serial(7), id(b"amy's laptop")])]), None),
        (list(&[certificates(&ca, &[serial(8), id(b"amy")])]), None),
    ] {
        let mut rules = authority("*");
        rules.revoked.add("list", &revoked).expect("a list");
        let outcome = ask(&rules, &file, None).remove(0).outcome;
        match what {
            Some(what) => {
                let problem = outcome.expect_err(what);
                assert!(problem.code == "signature.revoked" && problem.message.contains(what), "{problem}");
            }
            None => assert!(outcome.is_ok(), "{outcome:?}"),
        }
    }
}

/// What a security key signs, made without one.
fn by_security_key(seed: u8) -> (KeyData, String) {
    let holder = ed25519(seed);
    let point = *holder.public_key().key_data().ed25519().expect("an ed25519 key");
    let key = KeyData::from(SkEd25519::new(point, "ssh:"));
    let data = to_be_signed(TASK_NAMESPACE, task_message(&HASH).as_bytes(), HashAlg::Sha512).expect("data");
    let touched_and_counter = [1, 0, 0, 0, 3];
    let hashes = [Sha256::digest(b"ssh:"), Sha256::digest(data)];
    let signed = [&hashes[0][..], &touched_and_counter, &hashes[1][..]].concat();
    let raw = holder.try_sign(&signed).expect("a signature");
    let whole = [raw.as_bytes(), &touched_and_counter].concat();
    let signature = Signature::new(Algorithm::SkEd25519, whole).expect("a signature");
    let made = SshSig::new(key.clone(), TASK_NAMESPACE, HashAlg::Sha512, signature).expect("made");
    (key, made.to_pem(LineEnding::LF).expect("written"))
}

#[test]
fn signatures_by_security_keys_count() {
    let (key, file) = by_security_key(1);
    let line = ssh_key::PublicKey::from(key).to_openssh().expect("a line");
    assert_eq!(one(&rules(&format!("amy {line}")), &file, None), names(&["amy"]));
    // The same key without its hardware is another one.
    assert_eq!(one(&rules(&format!("amy {}", public(&ed25519(1)))), &file, None), refused("unknown_signer"));
}

/// Small and the same in each run.
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as usize
}

#[test]
fn a_changed_byte_never_makes_a_signature_good_and_nothing_panics() {
    let (rules, mut state) = (authority("*"), 0x9E37_79B9_7F4A_7C15);
    let plain = self::rules(&format!("amy {}", public(&ed25519(1))));
    for (rules, text) in [(&plain, seal(&ed25519(1), &HASH)), (&rules, seal_certified(&certified(|_| {})))] {
        let lines: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let bytes = data_encoding::BASE64.decode(lines.as_bytes()).expect("base64");
        for _ in 0..500 {
            let mut changed = bytes.clone();
            let at = random(&mut state) % changed.len();
            changed[at] ^= 1 << (random(&mut state) % 8);
            let base64 = data_encoding::BASE64.encode(&changed);
            let file = format!("-----BEGIN SSH SIGNATURE-----\n{base64}\n-----END SSH SIGNATURE-----\n");
            assert!(one(rules, &file, None).is_err(), "byte {at}");
        }
    }
}
