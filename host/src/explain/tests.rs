//! What is explained, against pages that were read by people: `golden/*.txt` and `*.json`. After a wanted change
//! `WAFT_GOLDEN=write cargo nextest run -p waft explain` writes them anew; the diff is what is to be looked at.

use super::*;
use crate::controller::Resolver;
use crate::report::paint::Paint;
use crate::ssh::known_hosts::Strict;
use crate::ssh::settings::Settings;
use crate::tree::{self, Endpoint, Target, Transport, ViaMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waft_hop::stream::Pending;

/// Knows every machine but `ghost`, by its name.
struct Fake;

impl Resolver for Fake {
    fn resolve<'a>(&'a self, endpoint: &'a Endpoint) -> Pending<'a, Result<Settings, Problem>> {
        Box::pin(async move {
            if endpoint.name == "ghost" {
                return Err(Problem::new("ssh.config", "ssh cannot say how to reach ghost: bad line"));
            }
            let jump = if endpoint.name == "old" { vec![Endpoint::named("jump")] } else { Vec::new() };
            let address = endpoint.address.clone();
            Ok(Settings {
                host: address.unwrap_or_else(|| format!("{}.example", endpoint.name)),
                user: endpoint.user.clone().unwrap_or_else(|| "deploy".to_owned()),
                port: endpoint.port.unwrap_or(22),
                strict: match endpoint.name.as_str() {
                    "old" => Strict::No,
                    "new" => Strict::AcceptNew,
                    "known" => Strict::Yes,
                    _ => Strict::Ask,
                },
                jump,
                ..Settings::local(&endpoint.name)
            })
        })
    }
}

fn target(name: &str, via: &[Endpoint], allow: &[&str]) -> Target {
    let allow = allow.iter().map(|text| (*text).to_owned()).collect();
    Target { endpoint: Endpoint::named(name), via: via.to_vec(), allow }
}

/// One of each kind of way.
fn fleet() -> Vec<Target> {
    let bastion = Endpoint { user: Some("ops".to_owned()), ..Endpoint::named("bastion") };
    let inner = Endpoint::named("inner");
    let mut hosts: Vec<Target> = ["web03", "web01", "web02"]
        .iter()
        .map(|name| target(name, std::slice::from_ref(&bastion), &["fs:/var/log:ro", "mem:32M"]))
        .collect();
    hosts.push(target("deep", &[bastion.clone(), inner], &[]));
    let mut vault = target("vault", &[bastion], &[]);
    vault.endpoint.via_mode = ViaMode::Tunnel;
    vault.endpoint.installed = Some("/usr/bin/waft-stub".to_owned());
    let mut six = target("six", &[], &[]);
    six.endpoint.address = Some("fe80::1".to_owned());
    six.endpoint.no_disk = true;
    six.endpoint.wall = waft_proto::envelope::Wall::Required;
    let mut old = target("old", &[], &[]);
    old.endpoint.transport = Transport::OpenSsh;
    old.endpoint.dir = Some("/opt/tmp".to_owned());
    let mut here = target("local", &[], &[]);
    here.endpoint.transport = Transport::Local;
    hosts.extend([vault, six, old, here, target("ghost", &[], &[])]);
    hosts.push(target("lost", &[Endpoint::named("ghost")], &[]));
    hosts
}

async fn hosts(targets: &[Target]) -> Vec<Host> {
    let resolver: Arc<dyn Resolver> = Arc::new(Fake);
    way::hosts(&tree::shape(targets).expect("a tree"), &resolver).await
}

fn task(manifest: Option<&str>) -> Task {
    let imports = [("waft_v1".to_owned(), vec!["exec".to_owned(), "take".to_owned()])];
    Task {
        name: "restart".to_owned(),
        file: Some("./restart.wasm".to_owned()),
        hash: Hash([0xa5; 32]),
        imports: imports.into(),
        manifest: manifest.map(|text| Manifest::parse("t", text, Place::Section).expect("a manifest")),
    }
}

const RESTART: &str = r#"
    name = "restart"
    version = "1.2"
    description = "Restarts units."
    grants = ["fs:/var/log:rw", "exec:systemctl restart *", "exec:sudo -n **", "exec:/bin/true:probe", "facts",
        "net:db:5432", "mem:64M", "time:10m"]
    check = true
"#;

fn set(texts: &[&str]) -> GrantSet {
    GrantSet::parse_all(texts.iter().copied()).expect("grants")
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explain/golden").join(name)
}

#[track_caller]
fn golden(name: &str, text: &str) {
    let file = file(name);
    if std::env::var_os("WAFT_GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::write(&file, text).expect("a golden page");
    }
    let expected = std::fs::read_to_string(&file).expect("a golden page");
    assert_eq!(text, expected, "{}", file.display());
}

#[track_caller]
fn both(name: &str, explanation: &Explanation) {
    golden(&format!("{name}.txt"), &text::text(explanation, Paint::Plain));
    let json = serde_json::to_string_pretty(explanation).expect("JSON");
    golden(&format!("{name}.json"), &(json + "\n"));
}

#[test]
fn a_task_alone() {
    let given = set(&["exec:/usr/bin/systemctl **", "env:TZ", "out:1M"]);
    both("alone", &explain(&task(Some(RESTART)), &given, None, false).expect("an explanation"));
    both("bare", &explain(&task(None), &set(&["fs:/etc"]), None, false).expect("an explanation"));
}

#[test]
fn a_task_that_says_what_it_takes() {
    let manifest = r#"
        name = "deploy"
        grants = "given"
        [params.path]
        type = "string"
        required = true
        description = "Where it is put."
        aliases = ["dest"]
        [params.state]
        enum = ["present", "absent"]
        default = "present"
        [params.password]
        type = "string"
        sensitive = true
        minLength = 8
        [[examples]]
        description = "A first time"
        params = { path = "/srv/my app", state = "present" }
        grants = ["fs:/srv:rw"]
    "#;
    both("params", &explain(&task(Some(manifest)), &set(&[]), None, false).expect("an explanation"));
}

#[tokio::test]
async fn a_task_on_a_fleet() {
    let all = explain(&task(Some(RESTART)), &set(&["facts"]), Some(hosts(&fleet()).await), false);
    both("fleet", &all.expect("an explanation"));
}

#[tokio::test]
async fn who_is_believed_without_a_known_key_could_read_it() {
    let through = target("behind", &[Endpoint::named("new")], &[]);
    let targets = [target("new", &[], &[]), target("old", &[], &[]), target("known", &[], &[]), through];
    let groups = way::groups(hosts(&targets).await);
    let of = |name: &str| {
        let group = groups.iter().find(|group| group.targets.iter().any(|target| target.name == name));
        group.unwrap_or_else(|| panic!("{name} in {groups:?}"))
    };
    for (name, who, word) in [
        ("new", "the network between here and there", "StrictHostKeyChecking accept-new"),
        ("behind", "the network between here and new", "StrictHostKeyChecking accept-new"),
        ("old", "jump, and the network between it and there", "StrictHostKeyChecking no"),
    ] {
        let group = of(name);
        let first = &group.exposed_to[0];
        assert_eq!((first.who.as_str(), &group.nobody), (who, &None), "{group:?}");
        assert!(first.what.contains(word), "{first:?}");
    }
    assert!(of("known").exposed_to.is_empty() && of("known").nobody.is_some(), "{groups:?}");
}

#[tokio::test]
async fn a_dry_run() {
    let manifest = task(Some(RESTART));
    let given =
        crate::manifest::agree::given(&["asked"], manifest.manifest.as_ref(), "restart").expect("all");
    let targets = [target("web1", &[], &[])];
    both("check", &explain(&manifest, &given, Some(hosts(&targets).await), true).expect("an explanation"));
}

/// The same fleet in another order is the same page.
#[tokio::test]
async fn the_order_of_what_is_given_does_not_matter() {
    let mut targets = fleet();
    let page = |hosts: Vec<Host>, given: &[&str]| {
        let explanation =
            explain(&task(Some(RESTART)), &set(given), Some(hosts), false).expect("an explanation");
        text::text(&explanation, Paint::Plain)
    };
    let first = page(hosts(&targets).await, &["facts", "env:TZ"]);
    targets.reverse();
    assert_eq!(page(hosts(&targets).await, &["env:TZ", "facts"]), first);
}

#[test]
fn nothing_that_a_manifest_says_can_draw_on_the_terminal_or_begin_a_line() {
    let hostile = r#"description = "a\n\nhosts:\n  \u001b[2Jnone \u202e"
        grants = ["fs:\"/a\\nb\\u001b[2J\""]
        [params.a]
        description = "b\u001b[2J \u202e"
        enum = ["\u001b[2J\nhosts:"]
        pattern = "\u001b|."
        [[examples]]
        description = "\u202e"
        params = { a = "\u001b[2J\nhosts:" }
        "#;
    let explanation = explain(&task(Some(hostile)), &set(&["fs:/"]), None, false).expect("an explanation");
    let page = text::text(&explanation, Paint::Plain);
    let plain = |c: char| c == '\n' || (!c.is_control() && c != '\u{202e}');
    assert!(page.chars().all(plain), "{page:?}");
    assert!(!page.contains("\nhosts:"), "{page}");
}

/// The inventory may come from somewhere, and a policy or `ssh_config` with it.
#[tokio::test]
async fn nothing_that_an_inventory_says_can_draw_on_the_terminal_or_begin_a_line() {
    const EVIL: &str = "x\u{1b}]0;owned\u{7}\u{9b}2J\r\u{202e}\u{2066}\u{7f}\nhosts:\n";
    let mut evil =
        target(EVIL, &[Endpoint { user: Some(EVIL.to_owned()), ..Endpoint::named("hop\u{1b}") }], &["facts"]);
    evil.endpoint.address = Some(EVIL.to_owned());
    evil.endpoint.user = Some(EVIL.to_owned());
    evil.endpoint.dir = Some(EVIL.to_owned());
    let mut installed = target("b\u{202e}", &[], &["fs:\"/a\u{202e}\u{1b}b\"", "env:TZ"]);
    installed.endpoint.installed = Some(EVIL.to_owned());
    for hostile in [evil, installed] {
        let hosts = Some(hosts(&[hostile]).await);
        let mut explanation = explain(&task(Some(RESTART)), &set(&[]), hosts, false).expect("an explanation");
        explanation.task.file = Some(EVIL.to_owned());
        explanation.task.name = EVIL.to_owned();
        explanation.task.imports.insert(EVIL.to_owned(), vec![EVIL.to_owned()]);
        let page = text::text(&explanation, Paint::Plain);
        let bad =
            page.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{2069}').contains(c));
        assert_eq!(bad, None, "{page:?}");
        assert_eq!(page.lines().filter(|line| *line == "hosts:").count(), 1, "{page}");
        let json = crate::report::json::without_hostile(serde_json::to_string(&explanation).expect("JSON"));
        assert_eq!(json.chars().find(|c| c.is_control() || ('\u{202a}'..='\u{2069}').contains(c)), None);
    }
}

#[test]
fn colour_is_only_added() {
    let explanation = explain(&task(Some(RESTART)), &set(&["exec:*"]), None, false).expect("an explanation");
    let coloured = text::text(&explanation, Paint::Color);
    let plain = text::text(&explanation, Paint::Plain);
    assert!(coloured.contains('\u{1b}') && !plain.contains('\u{1b}'));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped.push_str(before);
        rest = after.split_once('m').expect("a whole sequence").1;
    }
    assert_eq!(stripped + rest, plain);
}

/// What is told of stubs is what they do: their own constants, which this crate does not link.
#[test]
fn the_stub_takes_the_same_defaults() {
    let stub = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stub/src");
    let mut sources = String::new();
    let mut dirs = vec![stub];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("the sources of the stub").flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                sources += &std::fs::read_to_string(&path).expect("a source");
            }
        }
    }
    let value = |name: &str| {
        let line = sources.lines().find(|line| line.contains(&format!("const {name}: ")));
        let line = line.unwrap_or_else(|| panic!("the stub has no constant {name}: tell what it does now"));
        let (_, value) = line.trim_end_matches(';').split_once(" = ").expect("a value");
        value.to_owned()
    };
    assert_eq!(value("PATH"), format!("\"{}\"", crate::manifest::agree::PATH));
    let number = |text: String| match text.split_once(" << ") {
        Some((number, bits)) => {
            number.parse::<u64>().expect("a number") << bits.parse::<u32>().expect("a number")
        }
        None => text.parse().expect("a number"),
    };
    assert_eq!(number(value("MEMORY_BYTES_DEFAULT")), MEMORY_BYTES_DEFAULT);
    assert_eq!(number(value("OUT_BYTES_DEFAULT")), OUT_BYTES_DEFAULT);
    assert_eq!(number(value("FILES_DEFAULT")), FILES_DEFAULT);
}

#[tokio::test]
async fn who_could_read_a_secret_is_told_for_each_way_and_what_is_refused() {
    use crate::secret::{Declarations, Declared};
    let shape = Arc::new(tree::shape(&fleet()).expect("a tree"));
    let resolver: Arc<dyn Resolver> = Arc::new(Fake);
    let hosts = way::hosts(&shape, &resolver).await;
    let task = Task {
        name: "t".to_owned(),
        file: None,
        hash: Hash([7; 32]),
        imports: BTreeMap::new(),
        manifest: None,
    };
    let given = GrantSet::parse_all(["secret:db/password"].into_iter()).expect("grants");
    let mut explained = explain(&task, &given, Some(hosts), false).expect("a page");
    let closed =
        Declared { end_to_end: true, description: Some("of the backup".to_owned()), ..Declared::default() };
    explained.secrets =
        secrets::told(&explained, &[&Declarations::from([("db/password".to_owned(), closed)])]);
    let [told] = explained.secrets.as_slice() else { panic!("{:?}", explained.secrets) };
    let of = |target: &str| {
        let place = told.places.iter().find(|place| place.targets.iter().any(|other| other == target));
        let place = place.unwrap_or_else(|| panic!("{target} in {told:?}"));
        let who: Vec<&str> = place.readers.iter().map(|reader| reader.who.as_str()).collect();
        (who.join(" "), place.refused.is_some())
    };
    assert_eq!(of("web01"), ("bastion the target".to_owned(), true));
    assert_eq!(of("deep"), ("bastion inner the target".to_owned(), true));
    assert_eq!(of("vault"), ("the target".to_owned(), false), "a tunnel");
    assert_eq!(of("six"), ("the target".to_owned(), false), "directly");
    assert!(of("old").0.len() > "the target".len(), "its host key is not checked: {told:?}");
    let page = text::text(&explained, Paint::Plain);
    assert!(
        page.contains("\nsecrets:\n  db/password (text, requires end-to-end)\n    of the backup\n"),
        "{page}"
    );
}

/// Directly, behind a hop, through a tunnel, and behind a hop with an installed stub whose key is known.
#[tokio::test]
async fn who_could_read_each_secret() {
    use crate::secret::{Declarations, Declared};
    let bastion = [Endpoint::named("bastion")];
    let mut tunnelled = target("tunnelled", &bastion, &[]);
    tunnelled.endpoint.via_mode = ViaMode::Tunnel;
    let mut pinned = target("pinned", &bastion, &[]);
    pinned.endpoint.installed = Some("/usr/bin/waft-stub".to_owned());
    let mut unpinned = pinned.clone();
    unpinned.endpoint.name = "unpinned".to_owned();
    pinned.endpoint.node_key = Some([7; 32]);
    let targets = [target("direct", &[], &[]), target("pushed", &bastion, &[]), tunnelled, pinned, unpinned];
    let given = set(&["secret:db/password", "secret:token"]);
    let mut explained =
        explain(&task(None), &given, Some(hosts(&targets).await), false).expect("an explanation");
    let closed = Declared { end_to_end: true, ..Declared::default() };
    let declared = Declarations::from([("db/password".to_owned(), closed)]);
    explained.secrets = secrets::told(&explained, &[&declared]);
    both("secrets", &explained);
}
