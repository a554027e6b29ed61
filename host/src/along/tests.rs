use super::Along;
use super::files::File;
use crate::manifest::{Manifest, Place};
use crate::search::{Found, Search};
use crate::secret::{Declarations, Declared, Kind};
use std::path::PathBuf;
use std::sync::Arc;
use waft_proto::grant::GrantSet;
use waft_proto::id::Hash;

fn set(texts: &[&str]) -> GrantSet {
    GrantSet::parse_all(texts.iter().copied()).expect("grants")
}

fn texts(set: &GrantSet) -> Vec<String> {
    set.iter().map(|grant| grant.to_string()).collect()
}

fn task(name: &str, asks: Option<&str>) -> Found {
    let manifest = asks
        .map(|asks| Manifest::parse(name, &format!("grants = {asks}"), Place::Section).expect("a manifest"));
    Found { name: name.to_owned(), wasm: Arc::from(name.as_bytes()), file: None, manifest }
}

fn file(param: &str, bytes: &[u8]) -> File {
    let path = PathBuf::from(format!("/tmp/{param}"));
    File { param: param.to_owned(), path, hash: Hash::of(bytes), bytes: Arc::from(bytes) }
}

#[test]
fn a_called_task_gets_what_its_manifest_asks_for_of_what_its_caller_has() {
    let blob = format!("blob:{}", Hash::of(b"x"));
    let caller = set(&["fs:/srv:rw", "facts", "call:a", "mem:64M", &blob]);
    let shared = |asks| texts(&Along::shared(&task("a", asks), &caller).expect("grants"));
    let mut all = texts(&caller);
    let mut without = shared(None);
    all.sort();
    without.sort();
    assert_eq!(without, all, "without a manifest it asks for exactly what is given");
    assert_eq!(shared(Some("['fs:/srv/app:ro', 'net:db:1']")), ["fs:/srv/app:ro", &blob, "mem:64M"]);
    assert_eq!(
        shared(Some("['call:b', 'mem:1M']")),
        [blob.as_str(), "mem:1M"],
        "`call:b` is not the caller's to give"
    );
}

#[test]
fn an_order_names_the_tasks_that_its_grants_name() {
    let along = Along { callees: vec![task("a", None), task("b", Some("['facts']"))], files: Vec::new() };
    let told = |grants: &[&str]| {
        let grants: Vec<String> = grants.iter().map(|text| (*text).to_owned()).collect();
        let told = along.told(&grants, |_| Vec::new()).expect("grants");
        told.into_iter().map(|callee| (callee.name, callee.grants)).collect::<Vec<_>>()
    };
    assert_eq!(told(&["facts"]), []);
    assert_eq!(told(&["call:b", "facts"]), [("b".to_owned(), vec!["facts".to_owned()])]);
    assert_eq!(told(&["call:a", "call:b"]).len(), 2);
    let module = along.told(&["call:b".to_owned()], |_| Vec::new()).expect("grants")[0].module;
    assert_eq!(module, Hash::of(b"b"));
}

#[test]
fn all_that_is_not_found_is_told_at_once() {
    let grants = ["call:none", "facts", "call:facts", "call:neither"].map(str::to_owned);
    let search = Search::of([]);
    let problems = Along::find(&grants, Vec::new(), &search).expect_err("two are not there");
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["call.unknown", "call.unknown"]);
    let many: Vec<String> = (0..33).map(|at| format!("call:t{at}")).collect();
    assert_eq!(Along::find(&many, Vec::new(), &search).expect_err("too many")[0].code, "call.many");
    let found = Along::find(&grants[1..3], Vec::new(), &search).expect("it is built in");
    assert_eq!(found.callees[0].name, "facts");
}

#[test]
fn files_are_given_by_being_named_and_sent_once() {
    let files = vec![file("a", b"one"), file("b", b"one"), file("c", b"two")];
    let along = Along { callees: Vec::new(), files };
    assert_eq!(along.file_blobs().len(), 2);
    assert_eq!(texts(&along.blobs().expect("grants")).len(), 2);
    let other = Hash::of(b"three");
    let grants = [format!("blob:{}", Hash::of(b"one")), format!("blob:{other}"), "facts".to_owned()];
    assert_eq!(along.unsent(&grants), [other]);
}

#[test]
fn what_a_called_task_says_of_a_secret_counts_as_if_its_caller_said_it() {
    let closed = "['secret:pw', 'secret:own']\n[secrets.pw]\ntype = 'bytes'\ndescription = 'b'\nrequire = 'end-to-end'\n[secrets.own]\ntype = 'bytes'";
    let along = Along { callees: vec![task("a", None), task("b", Some(closed))], files: Vec::new() };
    let own = Declared { kind: Some(Kind::Text), ..Declared::default() };
    let all = along.declared(&Declarations::from([("pw".to_owned(), own.clone())]));
    let pw = Declared { description: Some("b".to_owned()), end_to_end: true, ..own };
    assert_eq!(all["pw"], pw, "its own kind first, and `require` of anybody");
    assert_eq!(all["own"], Declared { kind: Some(Kind::Bytes), ..Declared::default() });
}
