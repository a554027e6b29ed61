use super::command::words;
use super::plan::exposed;
use super::source::{flag, flags};
use super::*;
use crate::tree::{Endpoint, Shape, Target, ViaMode, shape};
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use waft_proto::msg::Policy;

const VALUE: &str = "correct horse";

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn declared(source: &str) -> Declared {
    Declared { source: Some(Source::parse(source).expect("a source")), ..Declared::default() }
}

fn codes<T>(result: Result<T, Vec<waft_proto::run::Problem>>) -> Vec<String> {
    result.err().unwrap_or_default().into_iter().map(|problem| problem.code).collect()
}

async fn read(source: Source, kind: Kind) -> Result<Vec<u8>, String> {
    let read = super::read::read("s", &source, kind, None).await;
    read.map(|secret| secret.bytes().to_vec()).map_err(|problem| problem.code)
}

async fn command(line: &str, kind: Kind) -> Result<Vec<u8>, String> {
    read(Source::Command(words(line).expect("words")), kind).await
}

#[test]
fn sources_are_read_and_none_is_repeated_when_it_is_wrong() {
    assert_eq!(Source::parse("prompt"), Ok(Source::Prompt));
    assert_eq!(Source::parse("env:TOKEN"), Ok(Source::Env("TOKEN".to_owned())));
    assert_eq!(Source::parse("file:/a:b"), Ok(Source::File("/a:b".into())));
    assert_eq!(Source::parse("age:x.age"), Ok(Source::Age("x.age".into())));
    assert_eq!(Source::parse("cmd:pass show 'a b'"), Ok(Source::Command(strings(&["pass", "show", "a b"]))));
    for wrong in
        ["", VALUE, "prompt:", "env:", "env:A=B", "file:", "age:", "cmd:", "cmd:''", "cmd:'x", "raw:horse"]
    {
        let problem = Source::parse(wrong).expect_err("no source");
        assert_eq!(problem.code, "secret.source", "{wrong}");
        assert!(!format!("{problem:?}").contains("horse"), "{problem:?}");
    }
    let flag = |text: &str| flag(text, Some(Path::new("/home/u"))).map_err(|problem| problem.code);
    assert_eq!(flag("db/pw=file:~/pw").expect("a flag").1.source, Some(Source::File("/home/u/pw".into())));
    assert_eq!(flag("key:bytes=prompt").expect("a flag").1.kind, Some(Kind::Bytes));
    assert_eq!(flag("db/pw").unwrap_err(), "secret.flag");
    assert_eq!(flag("db/pw:blob=prompt").unwrap_err(), "secret.flag");
    assert!(flag("a b=prompt").is_err());
    assert_eq!(codes(flags(&strings(&["a=prompt", "a=env:B"]), None)), ["secret.flag"]);
}

#[test]
fn a_command_line_is_split_and_nothing_else_is_done_to_it() {
    let split = |line: &str| words(line).unwrap_or_default();
    assert_eq!(split(r#"  a  'b c' "d \"e\" \x" f\ g'h'"" "#), ["a", "b c", r#"d "e" \x"#, "f gh"]);
    assert_eq!(split("a '' $HOME `id` ; >x"), ["a", "", "$HOME", "`id`", ";", ">x"]);
    for open in ["a 'b", "a \"b", "a\\", "a \"b\\"] {
        assert_eq!(words(open).expect_err("open").code, "secret.source");
    }
}

#[tokio::test]
async fn a_command_prints_the_value_and_one_line_end_is_cut_of_text() {
    assert_eq!(command("printf 'correct horse\\n\\n'", Kind::Text).await, Ok(b"correct horse\n".to_vec()));
    assert_eq!(command("printf 'correct horse\\r\\n'", Kind::Text).await, Ok(VALUE.into()));
    assert_eq!(command("printf 'correct horse\\n'", Kind::Bytes).await, Ok(b"correct horse\n".to_vec()));
    assert_eq!(command("printf '\\377\\376abcdef'", Kind::Bytes).await, Ok(b"\xff\xfeabcdef".to_vec()));
    assert_eq!(command("printf '\\377\\376abcdef'", Kind::Text).await, Err("secret.type".to_owned()));
    assert_eq!(command("printf ''", Kind::Text).await, Err("secret.size".to_owned()));
    assert_eq!(command("printf 'a\\0bcdefg'", Kind::Text).await, Err("secret.type".to_owned()));
    assert_eq!(command("printf 'a\\0bcdefg'", Kind::Bytes).await, Ok(b"a\0bcdefg".to_vec()));
    // No shell: the words are printed as they are.
    assert_eq!(command("printf %s $HOME", Kind::Text).await, Ok(b"$HOME".to_vec()));
    assert_eq!(command("false", Kind::Text).await, Err("secret.command".to_owned()));
    assert_eq!(command("/no/such/program", Kind::Text).await, Err("secret.command".to_owned()));
    // More than is taken: it is not waited for to end.
    assert_eq!(command("yes", Kind::Text).await, Err("secret.size".to_owned()));
}

#[tokio::test]
async fn a_file_of_our_own_that_others_may_read_is_refused() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(VALUE.as_bytes()).expect("written");
    let mode = |mode| {
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let source = || Source::File(file.path().to_owned());
    assert_eq!(read(source(), Kind::Text).await, Ok(VALUE.into()));
    for open in [0o640, 0o604, 0o620, 0o602, 0o611] {
        mode(open);
        assert_eq!(read(source(), Kind::Text).await, Err("secret.file".to_owned()), "{open:o}");
    }
    mode(0o400);
    assert_eq!(read(source(), Kind::Text).await, Ok(VALUE.into()));
    assert_eq!(read(Source::File("/".into()), Kind::Text).await, Err("secret.file".to_owned()));
    assert_eq!(read(Source::File("/no/such".into()), Kind::Text).await, Err("secret.file".to_owned()));
    assert_eq!(read(Source::File("/dev/zero".into()), Kind::Bytes).await, Err("secret.size".to_owned()));
    assert_eq!(read(Source::Env("NO_SUCH_VARIABLE".into()), Kind::Text).await, Err("secret.env".to_owned()));
    assert_eq!(read(Source::Prompt, Kind::Text).await, Err("secret.prompt".to_owned()));
}

fn tree(via_mode: ViaMode) -> Shape {
    let hop = Endpoint { via_mode, ..Endpoint::named("bastion") };
    let own = |name: &str, allow: &[&str]| Target {
        endpoint: Endpoint { via_mode, ..Endpoint::named(name) },
        via: vec![hop.clone()],
        allow: strings(allow),
    };
    shape(&[own("web", &[]), own("db", &["secret:own"])]).expect("a tree")
}

fn plan(
    given: &[(&str, &str)],
    inventory: &Declarations,
    manifest: &Declarations,
    allow: &[&str],
    via_mode: ViaMode,
) -> Result<Plan, Vec<waft_proto::run::Problem>> {
    let given = given.iter().map(|(name, source)| ((*name).to_owned(), declared(source))).collect();
    let flags = Flags { given, ..Flags::default() };
    Plan::new(flags, inventory, manifest, &strings(allow), &tree(via_mode))
}

#[test]
fn a_grant_without_a_value_and_a_value_without_a_grant_are_errors() {
    use ViaMode::Relay;
    let none = Declarations::new();
    let own = ("own", "env:OWN");
    assert!(plan(&[own], &none, &none, &[], Relay).is_ok());
    assert_eq!(codes(plan(&[], &none, &none, &[], Relay)), ["secret.missing"]);
    assert_eq!(codes(plan(&[own, ("more", "prompt")], &none, &none, &[], Relay)), ["secret.grant"]);
    let problems = plan(&[own], &none, &none, &["secret:token"], Relay).expect_err("no value");
    assert!(
        problems[0].hint.as_ref().is_some_and(|hint| hint.contains("--secret token=SOURCE")),
        "{problems:?}"
    );
    let inventory = Declarations::from([
        ("own".to_owned(), declared("file:/x")),
        ("unused".to_owned(), declared("prompt")),
    ]);
    assert!(plan(&[], &inventory, &none, &[], Relay).is_ok(), "what nobody is granted is not read");
}

#[test]
fn end_to_end_is_refused_behind_a_relay_and_the_relay_is_named() {
    let none = Declarations::new();
    let closed =
        Declarations::from([("own".to_owned(), Declared { end_to_end: true, ..Declared::default() })]);
    let own = [("own", "env:OWN")];
    let problems = plan(&own, &none, &closed, &[], ViaMode::Relay).expect_err("a relay");
    assert_eq!(problems.len(), 1, "only one host is granted it: {problems:?}");
    assert_eq!(problems[0].code, "secret.end_to_end");
    assert!(problems[0].message.contains("`bastion` before `db`"), "{problems:?}");
    assert!(plan(&own, &none, &closed, &[], ViaMode::Tunnel).is_ok());
    let mut inventory = closed.clone();
    inventory.get_mut("own").expect("a secret").source = Some(Source::Prompt);
    assert_eq!(codes(plan(&[], &inventory, &none, &[], ViaMode::Relay)), ["secret.end_to_end"]);
}

/// As [`tree`], with what the inventory says of `db`.
fn installed(stub: bool, key: bool) -> Shape {
    let mut own = Endpoint::named("db");
    own.installed = stub.then(|| "/usr/bin/waft-stub".to_owned());
    own.node_key = key.then_some([7; 32]);
    let via = vec![Endpoint::named("bastion")];
    shape(&[Target { endpoint: own, via, allow: strings(&["secret:own"]) }]).expect("a tree")
}

#[test]
fn end_to_end_goes_behind_a_relay_to_a_pinned_stub_that_is_locked_in_and_to_no_other() {
    let closed =
        Declarations::from([("own".to_owned(), Declared { end_to_end: true, ..declared("env:OWN") })]);
    let none = Declarations::new();
    let plan = |shape: &Shape| Plan::new(Flags::default(), &closed, &none, &[], shape);
    for (stub, key) in [(false, false), (true, false), (false, true)] {
        let problems = plan(&installed(stub, key)).expect_err("a relay");
        assert_eq!(problems[0].code, "secret.end_to_end", "{stub} {key}");
        assert!(problems[0].hint.as_ref().is_some_and(|hint| hint.contains("node_key")), "{problems:?}");
    }
    let tree = installed(true, true);
    assert!(plan(&tree).is_ok());
    let names = BTreeSet::from(["own".to_owned()]);
    let sent = Sent { end_to_end: names.clone(), ..Sent::default() };
    let node = tree.selected().next().expect("a target").id;
    assert_eq!(exposed(&sent, &names, &tree, node, Policy::Enforced), None);
    for policy in [Policy::Advisory, Policy::None] {
        let problem = exposed(&sent, &names, &tree, node, policy).expect("it is not locked in");
        assert_eq!(problem.code, "secret.end_to_end");
        assert!(problem.message.contains("`db`") && problem.message.contains("`bastion`"), "{problem:?}");
    }
    // What does not require it goes.
    assert_eq!(exposed(&Sent::default(), &names, &tree, node, Policy::None), None);
    let open = installed(true, false);
    let told = exposed(&sent, &names, &open, node, Policy::Enforced).expect("anybody may say so");
    assert!(told.message.contains("the hop `bastion` before `db` could read it"), "{told:?}");
}

#[tokio::test]
async fn short_ones_are_refused_unless_they_are_wanted() {
    for (allow_short, expected) in [(false, vec!["secret.short"]), (true, vec![])] {
        let given = Declarations::from([("own".to_owned(), declared("cmd:printf 12345"))]);
        let flags = Flags { given, allow_short, ..Flags::default() };
        let none = Declarations::new();
        let plan = Plan::new(flags, &none, &none, &[], &tree(ViaMode::Relay)).expect("a plan");
        assert_eq!(codes(plan.read().await), expected);
    }
}
