use super::*;
use crate::tree::{Transport, ViaMode};
use serde_json::json;
use waft_proto::envelope::Wall;

fn toml(text: &str) -> Inventory {
    Inventory::parse("i.toml", text, Format::Toml).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn wrong(file: &str, text: &str) -> Vec<String> {
    let problems = Inventory::parse(file, text, Format::of(file)).expect_err(text);
    problems
        .into_iter()
        .map(|problem| format!("{} | {}", problem.message, problem.hint.unwrap_or_default()))
        .collect()
}

fn via<'a>(inventory: &'a Inventory, host: &str) -> &'a [String] {
    &inventory.hosts[host].via
}

const TOML: &str = r#"
user = "deploy"
via = "bastion"
connect_timeout = "10s"
[vars]
site = "north"
tier = 0

[hosts.bastion]
host = "203.0.113.7"
identity = ["~/.ssh/b", "keys/b"]

[hosts.lonely]
via = []
transport = "openssh"

[groups.web]
hosts = ["web[01-02]"]
port = 2222
groups = ["canary"]
allow = ["fs:/var/log", "mem:1024M"]
[groups.web.vars]
tier = 1
role = "web"

[groups.canary]
hosts = ["web02"]
user = "canary"
[groups.canary.vars]
tier = 2

[groups.eu.groups.paris.hosts.par1]
port = 22
no_disk = true
wall = "required"
via_mode = "tunnel"
installed = "/usr/bin/waft-stub"
"#;

const YAML: &str = r#"
user: deploy
via: bastion
connect_timeout: 10s
vars: {site: north, tier: 0}
hosts:
  bastion:
    host: 203.0.113.7
    identity: [~/.ssh/b, keys/b]
  lonely: {via: [], transport: openssh}
groups:
  web:
    hosts: ["web[01-02]"]
    port: 2222
    groups: [canary]
    allow: ["fs:/var/log", "mem:1024M"]
    vars:
      tier: 1
      role: web
  canary:
    hosts: [web02]
    user: canary
    vars: {tier: 2}
  eu:
    groups:
      paris:
        hosts:
          par1:
            port: 22
            no_disk: true
            wall: required
            via_mode: tunnel
            installed: /usr/bin/waft-stub
"#;

#[test]
fn settings_are_inherited_from_the_nearest() {
    let inventory = toml(TOML);
    let names: Vec<&str> = inventory.hosts.keys().map(String::as_str).collect();
    assert_eq!(names, ["bastion", "lonely", "par1", "web01", "web02"]);

    let web01 = &inventory.hosts["web01"];
    assert_eq!((web01.endpoint.user.as_deref(), web01.endpoint.port), (Some("deploy"), Some(2222)));
    assert_eq!(web01.allow, ["fs:/var/log:ro", "mem:1G"]);
    assert_eq!(web01.groups, ["web"]);
    assert_eq!(Value::Object(web01.vars.clone()), json!({"site": "north", "tier": 1, "role": "web"}));
    assert_eq!(
        (via(&inventory, "web01"), web01.endpoint.connect_timeout_ms),
        (&["bastion".to_owned()][..], Some(10_000))
    );

    let web02 = &inventory.hosts["web02"];
    assert_eq!((web02.endpoint.user.as_deref(), web02.endpoint.port), (Some("canary"), Some(2222)));
    assert_eq!(web02.groups, ["web", "canary"], "farthest first");
    assert_eq!(web02.vars["tier"], 2);

    let bastion = &inventory.hosts["bastion"];
    assert_eq!(bastion.endpoint.address.as_deref(), Some("203.0.113.7"));
    assert!(bastion.via.is_empty(), "a file-wide via does not send a host through itself");
    let lonely = &inventory.hosts["lonely"];
    assert_eq!((lonely.via.len(), lonely.endpoint.transport), (0, Transport::OpenSsh));

    let par1 = &inventory.hosts["par1"];
    assert_eq!(par1.groups, ["eu", "paris"]);
    assert_eq!((par1.endpoint.no_disk, par1.endpoint.via_mode), (true, ViaMode::Tunnel));
    assert_eq!((par1.endpoint.wall, lonely.endpoint.wall), (Wall::Required, Wall::Best));
    assert_eq!(
        inventory.groups["eu"],
        Group { hosts: vec!["par1".to_owned()], groups: vec!["paris".to_owned()] }
    );
    assert_eq!(inventory.groups["web"].hosts, ["web01", "web02"]);
}

#[test]
fn both_formats_say_the_same_whatever_the_ending() {
    let from_toml = toml(TOML);
    for (file, text) in [("i.yaml", YAML), ("i.yml", YAML), ("i", YAML), ("inventory.d", TOML)] {
        let parsed = Inventory::parse("i.toml", text, Format::of(file))
            .unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert_eq!(parsed, from_toml, "{file}");
    }
    let neither = wrong("hosts", "{ [");
    assert_eq!(neither.len(), 1);
    assert!(
        neither[0].contains("hosts: it is neither TOML (") && neither[0].contains(") nor YAML ("),
        "{neither:?}"
    );
}

#[test]
fn the_later_group_of_one_depth_counts() {
    let inventory = toml(
        "[groups.b]\nhosts = ['x']\nuser = 'b'\nport = 1\n[groups.a]\nhosts = ['x']\nuser = 'a'\n\
         [groups.zz]\nuser = 'top'\ngroups = ['b']\n",
    );
    // b is below zz, and therefore nearer than a although b comes after it in the alphabet anyway.
    assert_eq!(inventory.hosts["x"].groups, ["a", "zz", "b"]);
    assert_eq!(inventory.hosts["x"].endpoint.user.as_deref(), Some("b"));
    let inventory = toml("[groups.b]\nhosts = ['x']\nuser = 'b'\n[groups.a]\nhosts = ['x']\nuser = 'a'\n");
    assert_eq!(inventory.hosts["x"].endpoint.user.as_deref(), Some("b"));
}

#[test]
fn hops_are_followed_to_the_controller() {
    let inventory = toml(
        "[hosts.outer]\n[hosts.inner]\nvia = 'outer'\n[hosts.deep]\nvia = 'inner'\n\
         [hosts.listed]\nvia = ['inner', 'ops@far:22']\n[hosts.away]\nvia = 'ssh://jump'\n",
    );
    assert_eq!(via(&inventory, "deep"), ["outer", "inner"]);
    assert_eq!(via(&inventory, "listed"), ["outer", "inner", "ops@far:22"]);
    assert_eq!(via(&inventory, "away"), ["ssh://jump"]);

    let inventory =
        toml("via = ['b1', 'b2']\nhosts = ['b1', 'b2', 'x']\n[groups.g.hosts.me]\ntransport = 'local'\n");
    assert_eq!(via(&inventory, "x"), ["b1", "b2"]);
    assert_eq!(via(&inventory, "b2"), ["b1"]);
    assert!(via(&inventory, "b1").is_empty() && via(&inventory, "me").is_empty());
}

#[test]
fn loops_name_the_way_round() {
    let found = wrong("i.toml", "[hosts.a]\nvia = 'b'\n[hosts.b]\nvia = 'c'\n[hosts.c]\nvia = 'b'\n");
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("i.toml:2:7: the way to `a` goes round: b via c via b |"), "{found:#?}");
    let found = wrong("i.toml", "[hosts.a]\nvia = 'a'\n");
    assert!(found[0].starts_with("i.toml:2:7: the way to `a` goes round: a via a |"), "{found:#?}");

    let found = wrong(
        "i.toml",
        "[groups.a]\ngroups = ['b']\n[groups.b]\ngroups = ['c']\n[groups.c]\ngroups = ['a']\n[groups.d]\n",
    );
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("the groups contain each other: "), "{found:#?}");
    let round = found[0].split(" |").next().and_then(|text| text.rsplit(": ").next()).expect("a way round");
    assert!(["a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"].contains(&round), "{round}");
    assert!(wrong("i.toml", "[groups.a]\ngroups = ['a']\n")[0].contains("a -> a"));
}

#[test]
fn every_mistake_is_said_with_its_place() {
    let text = "prot = 22\n\
        host = 'x'\n\
        [hosts.web1]\n\
        port = 70000\n\
        user = 'a b'\n\
        via_mode = 'realy'\n\
        host = 'u@h'\n\
        no_disk = 'yes'\n\
        dir = 'tmp'\n\
        connect_timeout = '10'\n\
        allow = ['fs:/a', 'exce:ls']\n\
        vars = 3\n\
        wall = 'no'\n\
        [hosts.\"a b\"]\n\
        [hosts.all]\n\
        [hosts.web2]\n\
        via = ['wbe1', 'web']\n\
        [groups.web]\n\
        hosts = ['web[1']\n\
        groups = ['wbe', 7]\n\
        [groups.web.groups]\n\
        [groups.local]\n";
    // A key twice is a matter of TOML itself, and then nothing else is looked at.
    assert_eq!(wrong("i.toml", text).len(), 1);
    let text = text.replace("[groups.web.groups]\n", "[groups.web1]\n");
    let found = wrong("i.toml", &text);
    let expected = [
        "i.toml:1:1: unknown key `prot` in the group `all` | did you mean `port`?",
        "i.toml:2:1: `host` is the address of one machine, and `all` is a group |",
        "i.toml:4:8: `port` is a number, expected a port from 1 to 65535",
        "i.toml:5:8: `user` is no name of a user",
        "i.toml:6:12: `via_mode` is `realy`, expected relay or tunnel | did you mean `relay`?",
        "i.toml:7:8: `host` is `u@h`, expected a host name or an address",
        "i.toml:8:11: `no_disk` is a text, expected true or false",
        "i.toml:9:7: `dir` is the path `tmp` on the target, expected an absolute one",
        "i.toml:10:19: `connect_timeout` cannot be read: expected a duration",
        "i.toml:11:9: the grant `exce:ls` begins with `exce`",
        "i.toml:12:8: `vars` is a number, expected a table of variables",
        "i.toml:13:8: `wall` is `no`, expected off or best or required",
        "i.toml:14:8: `a b` cannot be the name of a host",
        "i.toml:15:8: `all` cannot be the name of a host",
        "i.toml:17:7: `via` names `wbe1`, which is no host of this inventory | did you mean `web1`?",
        "i.toml:17:7: `via` names the group `web`, expected one host",
        "i.toml:19:10: `web[1` cannot be read",
        "i.toml:20:11: the group `web` names the group `wbe`, which is not defined | did you mean `web`?",
        "i.toml:20:18: `groups` is a number, expected names of groups",
        "i.toml:21:9: `web1` is a host and a group",
        "i.toml:22:9: `local` cannot be the name of a group",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "found {found}\nexpected {expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn yaml_says_places_too() {
    let found = wrong("i.yaml", "hosts:\n  web1:\n    prot: 22\n  web2: 7\n");
    let expected = [
        "i.yaml:3:5: unknown key `prot` in the host `web1` | did you mean `port`?",
        "i.yaml:4:9: the host `web2` is a number, expected a table",
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    assert_eq!(found.len(), 2, "{found:#?}");
    let twice = wrong("i.yaml", "hosts:\n  a:\n  a:\n");
    assert!(twice.len() == 1 && twice[0].starts_with("i.yaml:3:3: "), "{twice:?}");
    let broken = wrong("i.yaml", "hosts: [a\nuser: b\n");
    assert!(broken.len() == 1 && broken[0].starts_with("i.yaml:2:"), "{broken:?}");
    assert_eq!(wrong("i.yaml", "a: 1\n---\nb: 2\n").len(), 1, "one document");
    assert_eq!(wrong("i.yaml", "just text").len(), 1);
}

#[test]
fn yaml_words_are_what_they_look_like() {
    let text = "vars: {country: no, on: off, yes: true, id: 0123, big: 18446744073709551615, version: 1.10, none: ~}\nhosts: [a]\n";
    let inventory = Inventory::parse("i.yaml", text, Format::Yaml).expect("an inventory");
    let vars = Value::Object(inventory.hosts["a"].vars.clone());
    assert_eq!(vars["country"], "no");
    assert_eq!((&vars["on"], &vars["yes"]), (&json!("off"), &json!(true)));
    assert_eq!((&vars["big"], &vars["none"]), (&json!(u64::MAX), &json!(null)));
    let text = "x: &x {port: 1}\n".to_owned();
    assert_eq!(wrong("i.yaml", &text).len(), 1, "anchors have no key of their own");
    let text = "hosts:\n  a: &base {port: 1, user: u}\n  b: {<<: *base, port: 2}\n";
    let inventory = Inventory::parse("i.yaml", text, Format::Yaml).expect("an inventory");
    let b = &inventory.hosts["b"].endpoint;
    assert_eq!((b.port, b.user.as_deref()), (Some(2), Some("u")));
}

/// Nine lists of nine aliases each would be a thousand million texts.
#[test]
fn bombs_are_refused_before_they_go_off() {
    let mut bomb = "vars:\n  a0: &a0 [lol]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(",");
        bomb += &format!("  a{level}: &a{level} [{aliases}]\n");
    }
    let found = wrong("i.yaml", &bomb);
    assert!(found.len() == 1 && found[0].contains("it is larger than an inventory may be"), "{found:?}");
    for deep in [format!("vars:\n  a: {}", "[".repeat(100_000)), format!("{}a: 1", "- ".repeat(100_000))] {
        assert!(!wrong("i.yaml", &deep).is_empty());
    }
    assert!(!wrong("i.toml", &format!("vars.a = {}", "[".repeat(100_000))).is_empty());
    assert!(!wrong("i.toml", &format!("[{}a]", "groups.a.".repeat(100_000))).is_empty());
    assert_eq!(wrong("i.toml", "hosts = ['a[1-65536]', 'b[1-65536]']").len(), 1);
    // Long chains of names are walked, not recursed over.
    let mut chain: String =
        (0..20_000).map(|at| format!("[groups.g{at}]\ngroups = ['g{}']\n", at + 1)).collect();
    chain += "[groups.g20000]\nhosts = ['x']\n";
    assert_eq!(toml(&chain).hosts["x"].groups.len(), 20_001);
    let round = wrong("i.toml", &chain.replace("['g20000']", "['g0']"));
    assert!(round.len() == 1 && round[0].len() < 1000, "{round:?}");
    let hops: String = (0..2_000).map(|at| format!("[hosts.h{at}]\nvia = 'h{}'\n", at + 1)).collect();
    let found = wrong("i.toml", &format!("{hops}[hosts.h2000]\n"));
    assert!(found.len() == PROBLEMS_MAX && found[0].contains("is behind 16 hops or more"), "{}", found[0]);
}

#[test]
fn a_host_in_several_tables_is_one_host() {
    let inventory = toml("[hosts.a]\nport = 1\n[groups.g.hosts.a]\nuser = 'u'\n");
    let a = &inventory.hosts["a"].endpoint;
    assert_eq!((a.port, a.user.as_deref()), (Some(1), Some("u")));
    let found = wrong("i.toml", "[groups.g.hosts.a]\nport = 2\n[groups.h.hosts.a]\nport = 1\n");
    assert!(
        found[0].starts_with("i.toml:4:1: `port` of the host `a` was already set in line 2 |"),
        "{found:?}"
    );
    let found = wrong("i.toml", "[groups.g.groups.x]\n[groups.h.groups.x]\n");
    assert!(found.len() == 1 && found[0].contains("the group `x` is defined twice"), "{found:?}");
}

#[test]
fn files_are_read_with_bounds_and_paths_are_beside_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("i.toml");
    let file = path.to_str().expect("UTF-8");
    std::fs::write(&path, TOML).expect("a file");
    let inventory = Inventory::load(file, Some(Path::new("/home/op"))).expect("an inventory");
    let identities = &inventory.hosts["bastion"].endpoint.identities;
    assert_eq!(*identities, [PathBuf::from("/home/op/.ssh/b"), dir.path().join("keys/b")]);

    std::fs::write(&path, [0xff]).expect("a file");
    assert!(Inventory::load(file, None).expect_err("no text")[0].message.contains("is not UTF-8"));
    std::fs::File::create(&path)
        .and_then(|file| file.set_len(INVENTORY_BYTES_MAX + 1))
        .expect("a large file");
    assert_eq!(Inventory::load(file, None).expect_err("too large")[0].code, "input.long");
    assert!(
        Inventory::load("/nonexistent.toml", None).expect_err("missing")[0]
            .message
            .contains("/nonexistent.toml")
    );
}
