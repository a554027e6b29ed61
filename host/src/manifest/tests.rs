use super::agree::{covers, dropped, effective, given, missing};
use super::*;
use std::fs;
use waft_proto::grant::Grant;

/// A module of nothing but these custom sections.
fn module(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    for (name, bytes) in sections {
        let mut body = leb(name.len());
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(bytes);
        wasm.push(0);
        wasm.extend(leb(body.len()));
        wasm.extend(body);
    }
    wasm
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

fn parse(text: &str) -> Result<Manifest, Vec<Problem>> {
    Manifest::parse("t.toml", text, Place::Section)
}

fn set(texts: &[&str]) -> GrantSet {
    GrantSet::parse_all(texts.iter().copied()).expect("grants")
}

fn texts(grants: impl IntoIterator<Item = Grant>) -> Vec<String> {
    grants.into_iter().map(|grant| grant.to_string()).collect()
}

fn both(asked: &[&str], given: &[&str]) -> Vec<String> {
    texts(effective(Some(&set(asked)), &set(given)).expect("a set").iter())
}

#[test]
fn what_returns_after_a_reboot_has_a_dry_run_and_waits_by_numbers() {
    let good = "returns = \"after-reboot\"\ncheck = true\n[params.reboot_timeout]\ntype = \"integer\"\n[params.msg]\n";
    assert!(parse(good).expect("a manifest").after_reboot);
    assert!(!parse("check = true").expect("a manifest").after_reboot);
    let told = |text: &str| -> Vec<String> {
        let problems = parse(text).expect_err("problems");
        problems.into_iter().map(|problem| format!("{}: {}", problem.code, problem.message)).collect()
    };
    assert_eq!(
        told("returns = \"after-reboot\"\n[params.connect_timeout]\ntype = [\"integer\", \"string\"]\n"),
        [
            "manifest.returns: t.toml, line 1: `returns` is said of a task without `check = true`",
            "manifest.returns: t.toml, line 1: `returns` waits by `params.connect_timeout`, which is no integer",
        ]
    );
    let word = told("check = true\nreturns = \"later\"");
    assert_eq!(word, ["manifest.word: t.toml, line 2: `returns` is `later`, expected after-reboot"]);
    assert_eq!(
        told("returns = true"),
        ["manifest.type: t.toml, line 1: `returns` is a text, and here is boolean"]
    );
}

#[test]
fn all_keys_are_read() {
    let text = r#"
        name = "ops/restart"
        version = "1.2"
        description = """Restarts units
            and waits."""
        grants = ["exec:systemctl restart *", "facts", "mem:64M"]
        check = true
        [params.unit]
        type = "string"
        [result]
        [[examples]]
        params.unit = "nginx"
    "#;
    let manifest = parse(text).expect("a manifest");
    assert_eq!(manifest.name.as_deref(), Some("ops/restart"));
    assert_eq!(manifest.version.as_deref(), Some("1.2"));
    assert_eq!(manifest.description.as_deref(), Some("Restarts units and waits."));
    assert_eq!(texts(manifest.grants.iter()), ["exec:systemctl restart *", "facts", "mem:64M"]);
    assert!(manifest.check);
    assert_eq!(manifest.params.map(|params| params.properties.len()), Some(1));
    assert_eq!(manifest.examples.len(), 1);
    let empty = parse("").expect("nothing is asked for");
    assert!(empty.grants.is_empty() && !empty.check && empty.name.is_none());
}

#[test]
fn every_problem_is_told_with_its_line() {
    let text = "nmae = 1\nname = \"a b\"\ngrants = [\"fs:relative\",\n \"fax\", 7]\ncheck = \"yes\"\nversion = \"\"\n";
    let problems = parse(text).expect_err("six mistakes");
    let said: Vec<String> = problems.iter().map(|p| format!("{} {}", p.code, p.message)).collect();
    for (code, line) in [
        ("manifest.key", 1),
        ("manifest.name", 2),
        ("grant.syntax", 3),
        ("grant.unknown", 4),
        ("manifest.type", 4),
        ("manifest.type", 5),
        ("manifest.length", 6),
    ] {
        let start = format!("{code} t.toml, line {line}: ");
        assert!(said.iter().any(|said| said.starts_with(&start)), "{start} in {said:#?}");
    }
    assert_eq!(said.len(), 7, "{said:#?}");
    assert!(problems.iter().all(|problem| problem.hint.is_some()), "{problems:#?}");
    assert_eq!(problems[0].hint.as_deref(), Some("did you mean `name`?"));
    let broken = parse("name = \"a\"\ngrants = [\n").expect_err("no TOML");
    assert_eq!(broken[0].code, "manifest.syntax");
    let hidden = parse("version = \"1\\u001b[2J\"").expect_err("a control character");
    assert_eq!(hidden[0].code, "manifest.text");
}

#[test]
fn the_section_is_found_and_bounded() {
    let of = |sections: &[(&str, &[u8])]| of_module("t", &module(sections), None);
    assert_eq!(of(&[("name", b"x")]), Ok(None));
    let found = of(&[("other", b"\xff"), (SECTION, b"grants = [\"facts\"]")]).expect("a manifest");
    assert_eq!(found.map(|manifest| texts(manifest.grants.iter())), Some(vec!["facts".to_owned()]));
    let code = |sections: &[(&str, &[u8])]| of(sections).expect_err("refused").remove(0).code;
    assert_eq!(code(&[(SECTION, b""), (SECTION, b"")]), "manifest.twice");
    assert_eq!(code(&[(SECTION, b"\xff")]), "manifest.utf8");
    assert_eq!(code(&[(SECTION, &vec![b'\n'; MANIFEST_BYTES_MAX + 1])]), "manifest.size");
    assert!(of(&[(SECTION, &vec![b'\n'; MANIFEST_BYTES_MAX])]).is_ok());
}

#[test]
fn the_file_beside_counts_alone_and_must_not_contradict_the_section() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("t.wasm");
    let beside = dir.path().join("t.toml");
    let plain = module(&[]);
    assert_eq!(of_module("t", &plain, Some(&file)), Ok(None));
    fs::write(&beside, "grants = [\"facts\"]\r\n").expect("a file");
    let found = of_module("t", &plain, Some(&file)).expect("a manifest").expect("of the file");
    assert_eq!(found.place, Place::File(beside.clone()));
    let same = module(&[(SECTION, b"grants = [\"facts\"]")]);
    let found = of_module("t", &same, Some(&file)).expect("a manifest").expect("of the section");
    assert_eq!(found.place, Place::Section);
    let other = module(&[(SECTION, b"grants = []")]);
    let problems = of_module("t", &other, Some(&file)).expect_err("they differ");
    assert_eq!(problems[0].code, "manifest.differs");
    // What is built in has no file.
    assert!(of_module("t", &other, None).is_ok());
    fs::write(&beside, "[hosts.a]\n").expect("a file");
    let problems = of_module("t", &plain, Some(&file)).expect_err("an inventory");
    assert!(problems[0].message.starts_with(&format!("{}, line 1", beside.display())), "{problems:?}");
}

#[test]
fn effective_is_what_both_have_and_the_smaller_limit() {
    assert_eq!(both(&["fs:/var/log:ro", "facts"], &["fs:/var:rw", "env:TZ"]), ["fs:/var/log:ro"]);
    assert_eq!(both(&["fs:/var:rw", "mem:64M"], &["fs:/var:ro", "mem:1G"]), ["fs:/var:ro", "mem:64M"]);
    assert_eq!(both(&["mem:1G"], &["mem:64M", "out:1M"]), ["mem:64M", "out:1M"]);
    assert_eq!(both(&["exec:*"], &["exec:/bin/id -u"]), ["exec:/bin/id -u"]);
    assert_eq!(both(&[], &["exec:*"]), [""; 0]);
    assert_eq!(effective(None, &set(&["exec:*"])), Ok(set(&["exec:*"])));
}

#[test]
fn a_program_asked_for_by_name_may_be_given_by_its_path_and_not_the_other_way_round() {
    let named = ["exec:systemctl restart *"];
    assert_eq!(both(&named, &named), named);
    assert_eq!(both(&named, &["exec:/usr/bin/systemctl **"]), ["exec:/usr/bin/systemctl restart *"]);
    assert_eq!(missing(&set(&named), &set(&["exec:/usr/bin/systemctl **"])), []);
    // Neither outside of PATH nor another program.
    assert_eq!(both(&named, &["exec:/opt/systemctl **", "exec:/usr/bin/systemctl2 **"]), [""; 0]);
    // The name may be another file there: giving it would give more than was given.
    let path = ["exec:/usr/bin/id"];
    assert_eq!(both(&path, &["exec:id"]), [""; 0]);
    assert_eq!(texts(missing(&set(&path), &set(&["exec:id"]))), path);
}

#[test]
fn effective_is_never_more_than_what_is_given() {
    let pieces = [
        "fs:/",
        "fs:/var:rw",
        "fs:/var/log",
        "exec:*",
        "exec:id",
        "exec:/usr/bin/id -*",
        "exec:/usr/bin/id **",
        "exec:id a *",
        "facts",
        "env:TZ",
        "mem:1M",
        "mem:2M",
        "exec:*:probe",
    ];
    // All sets of up to three, against all of up to two.
    for a in 0..pieces.len() {
        for b in a..pieces.len() {
            for c in 0..pieces.len() {
                for d in c..pieces.len() {
                    let (asked, given) = (set(&[pieces[a], pieces[b]]), set(&[pieces[c], pieces[d]]));
                    let sent = effective(Some(&asked), &given).expect("a set");
                    for grant in sent.iter().filter(|grant| !matches!(grant, Grant::Limit(_))) {
                        assert!(given.check(&grant).is_ok(), "{grant} of {asked:?} and {given:?}");
                        assert!(
                            covers(&asked, &grant)
                                || asked
                                    .resolved(|name| Some(format!("/usr/bin/{name}")))
                                    .check(&grant)
                                    .is_ok(),
                            "{grant} was not asked for by {asked:?}"
                        );
                    }
                    for limit in sent.limits().iter() {
                        assert!(
                            asked.check(&Grant::Limit(limit)).is_ok()
                                && given.check(&Grant::Limit(limit)).is_ok()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_missing_and_what_is_dropped() {
    let asked = set(&["fs:/var/log:rw", "facts", "mem:64M"]);
    assert_eq!(texts(missing(&asked, &set(&["fs:/var:ro"]))), ["fs:/var/log:rw", "facts"]);
    assert_eq!(texts(missing(&asked, &set(&["fs:/:rw", "facts", "mem:1M"]))), [""; 0]);
    assert_eq!(
        texts(dropped(&asked, &set(&["fs:/var:ro", "env:TZ", "mem:1M", "exec:id"]))),
        ["env:TZ", "exec:id"]
    );
}

#[test]
fn asked_gives_all_and_needs_a_manifest() {
    let manifest = parse("grants = [\"facts\", \"mem:64M\"]").expect("a manifest");
    let all = given(&["env:TZ", "asked", "mem:1G"], Some(&manifest), "t").expect("a set");
    assert_eq!(texts(all.iter()), ["env:TZ", "facts", "mem:64M"]);
    let problems = given(&["asked", "fs:x"], None, "t").expect_err("no manifest, and no grant");
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["grant.asked", "grant.syntax"]);
}
