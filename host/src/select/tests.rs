use super::*;
use crate::inventory::Format;
use crate::tree::{Target, Transport};

const HOSTS: &str = r#"
user = "deploy"
[hosts.web1]
via = "bastion"
port = 2222
[hosts.web2]
host = "10.0.0.2"
[hosts.bastion]
[groups.web]
hosts = ["web1", "web2"]
allow = ["facts"]
[groups.db]
hosts = ["db[01-03]"]
[groups.empty]
"#;

fn inventory() -> Inventory {
    Inventory::parse("hosts.toml", HOSTS, Format::Toml).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn lists(name: &str) -> Result<String, Problem> {
    match name {
        "one" => Ok("web1 # the first\n\n# none\nweb2,db01\r\n".to_owned()),
        "bad" => Ok("web1\nnobody\n@one\n".to_owned()),
        "less" => Ok("!web1\nall".to_owned()),
        _ => Err(Problem::new("input.read", format!("the list of targets {name} cannot be read"))),
    }
}

fn within(selectors: &[&str], inventory: Option<&Inventory>) -> Result<Vec<Selected>, Vec<Problem>> {
    select(selectors, Context { inventory, lists: &lists })
}

fn names(selectors: &[&str]) -> Vec<String> {
    let selected =
        within(selectors, Some(&inventory())).unwrap_or_else(|problems| panic!("{selectors:?} {problems:?}"));
    selected.into_iter().map(|selected| selected.name).collect()
}

fn problems(selectors: &[&str], inventory: Option<&Inventory>) -> Vec<Problem> {
    within(selectors, inventory).expect_err("problems")
}

#[test]
fn names_groups_patterns_and_lists_are_a_union_in_order() {
    let cases: [(&[&str], &[&str]); 18] = [
        (&["web2", "web1", "web2"], &["web2", "web1"]),
        (&["web2,web"], &["web2", "web1"]),
        (&["db[01-02],web1"], &["db01", "db02", "web1"]),
        (&["[web1,bastion]"], &["web1", "bastion"]),
        (&["web?"], &["web1", "web2"]),
        (&["*2"], &["db02", "web2"]),
        (&["d*"], &["db01", "db02", "db03"]),
        (&["db0[1-2]*"], &["db01", "db02"]),
        (&["all"], &["bastion", "db01", "db02", "db03", "web1", "web2"]),
        (&["all", "!web", "!db[02-03]"], &["bastion", "db01"]),
        (&["!web1", "web"], &["web2"]),
        (&["all,!d*,!web1"], &["bastion", "web2"]),
        (&["@one"], &["web1", "web2", "db01"]),
        (&["all", "!@one"], &["bastion", "db02", "db03"]),
        (&["@less"], &["bastion", "db01", "db02", "db03", "web2"]),
        (&["local", "web1"], &["local", "web1"]),
        (&["empty", "web1"], &["web1"]),
        (&["db01 , web1"], &["db01", "web1"]),
    ];
    for (selectors, expected) in cases {
        assert_eq!(names(selectors), expected, "{selectors:?}");
    }
}

#[test]
fn addresses_need_no_inventory() {
    let selectors =
        ["web1,ops@h.example:2222", "[fe80::1%eth0]:22", "ssh://x:1/", "10.0.0.1", "ssh://[::1]", "local"];
    let selected = within(&selectors, None).expect("machines");
    let shown: Vec<(&str, Machine, Option<&str>, Option<u16>)> = selected
        .iter()
        .map(|one| (one.name.as_str(), one.machine.clone(), one.user.as_deref(), one.port))
        .collect();
    let address = |host: &str| Machine::Address(host.to_owned());
    let expected = [
        ("web1", address("web1"), None, None),
        ("ops@h.example:2222", address("h.example"), Some("ops"), Some(2222)),
        ("[fe80::1%eth0]:22", address("fe80::1%eth0"), None, Some(22)),
        ("x:1", address("x"), None, Some(1)),
        ("10.0.0.1", address("10.0.0.1"), None, None),
        ("[::1]", address("::1"), None, None),
        ("local", Machine::Local, None, None),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn an_address_of_the_inventory_is_its_host_with_another_login() {
    let inventory = inventory();
    let machine = |text: &str| {
        let mut found = within(&[text], Some(&inventory)).expect(text);
        assert_eq!(found.len(), 1);
        let found = found.remove(0);
        (found.name, found.machine)
    };
    assert_eq!(machine("ops@web1"), ("ops@web1".to_owned(), Machine::Inventory("web1".to_owned())));
    assert_eq!(machine("web1:22"), ("web1:22".to_owned(), Machine::Inventory("web1".to_owned())));
    assert_eq!(machine("other:22"), ("other:22".to_owned(), Machine::Address("other".to_owned())));
    assert_eq!(machine("ssh://web1"), ("ssh://web1".to_owned(), Machine::Address("web1".to_owned())));
    assert_eq!(machine("ssh://other"), ("other".to_owned(), Machine::Address("other".to_owned())));
    // Taking a host away takes it with any login; taking a login away only that one.
    assert_eq!(names(&["ops@web1", "web1", "web2", "!web1"]), ["web2"]);
    assert_eq!(names(&["ops@web1", "web1", "!ops@web1"]), ["web1"]);
}

#[test]
fn mistakes_are_errors_and_come_all_at_once() {
    let inventory = inventory();
    let cases: [(&[&str], &str, &str); 22] = [
        (&[], "select.none", "no target is given"),
        (&["wbe1"], "select.unknown", "`wbe1` is no host or group of hosts.toml"),
        (&["!nobody", "all"], "select.unknown", "`nobody`"),
        (
            &["web[1-9]"],
            "select.unknown",
            "`web[1-9]` names 7 hosts that are not in hosts.toml: web3, web4, web5, web6, web7, ...",
        ),
        (&["10.0.0.2"], "select.unknown", "`10.0.0.2`"),
        (&["x*"], "select.unknown", "`x*` matches no host or group"),
        (&["web:22"], "select.group", "`web`, which is a group"),
        (&["ops@web*"], "select.pattern", "joins a pattern with a user"),
        (&["all", "!all"], "select.nothing", "the selectors leave no target"),
        (&["!web1"], "select.nothing", "the selectors leave no target"),
        (&["empty"], "select.nothing", "the selectors leave no target"),
        (&["@missing"], "input.read", "missing cannot be read"),
        (&["web1,,web2"], "select.syntax", "`` is no selector"),
        (&["!!web1"], "select.syntax", "`!!web1` is no selector"),
        (&["web1", "!@less"], "select.syntax", "less:1: `!web1` takes away inside"),
        (&["-oProxyCommand=x"], "select.address", "`-oProxyCommand=x` is no address"),
        (&["fe80::1"], "select.address", "an IPv6 address in brackets"),
        (&["h:0"], "select.address", "a port from 1 to 65535"),
        (&["h:+1"], "select.address", "a port from 1 to 65535"),
        (&["@"], "input.read", ""),
        (&["-x@h"], "select.address", "the name of a user"),
        (&["a b"], "select.address", "a host name"),
    ];
    for (selectors, code, message) in cases {
        let found = problems(selectors, Some(&inventory));
        assert_eq!(found.len(), 1, "{selectors:?} {found:?}");
        assert!(found[0].code == code && found[0].message.contains(message), "{selectors:?} {found:?}");
    }
    let found = problems(&["wbe1", "@bad", "web[1", "h:0"], Some(&inventory));
    let messages: Vec<&str> = found.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages.len(), 5, "{messages:?}");
    assert_eq!(found[0].hint.as_deref(), Some("did you mean `web1`?"));
    assert!(
        messages[1].starts_with("bad:2: `nobody`") && messages[2].starts_with("bad:3: `@one`"),
        "{messages:?}"
    );
}

#[test]
fn names_of_an_inventory_need_one() {
    for selector in ["all", "web*", "!all"] {
        assert_eq!(problems(&[selector], None)[0].code, "select.inventory", "{selector}");
    }
}

#[test]
fn ranges_are_written_out() {
    let cases: [(&str, &[&str]); 9] = [
        ("a", &["a"]),
        ("a[1-3]", &["a1", "a2", "a3"]),
        ("a[08-11]b", &["a08b", "a09b", "a10b", "a11b"]),
        ("[a,b]-[1-2]", &["a-1", "a-2", "b-1", "b-2"]),
        ("n[1-2,07,x-y]", &["n1", "n2", "n07", "nx-y"]),
        ("a[5-5]", &["a5"]),
        ("a[0-1]", &["a0", "a1"]),
        ("[::1]", &["[::1]"]),
        ("u@[fe80::1]:2[1-2]", &["u@[fe80::1]:21", "u@[fe80::1]:22"]),
    ];
    for (text, expected) in cases {
        assert_eq!(ranges::expand(text).expect(text), expected, "{text}");
    }
    let wrong = ["a[1", "a[ab]", "a[]", "a[3-1]", "a[a,,b]", "a[01-100]", "a[8-010]", "a[a-d]", "a[[1-2]]"];
    for text in wrong {
        assert_eq!(ranges::expand(text).expect_err(text).code, "select.range", "{text}");
    }
}

#[test]
fn ranges_are_bounded_before_they_are_written_out() {
    assert_eq!(ranges::expand("a[1-65536]").expect("the most").len(), ranges::EXPANSION_MAX);
    let many = ["a[0-65536]", "a[1-99999999999999999999]", "a[0-18446744073709551615]", "[1-1000][1-1000]"];
    for text in many {
        let problem = ranges::expand(text).expect_err(text);
        assert!(problem.message.contains("at most 65536 names"), "{problem}");
    }
    let found = problems(&["a[1-65536],b[1-65536]"], None);
    assert_eq!(found[0].code, "select.many");
}

#[test]
fn patterns_are_matched() {
    let cases = [
        ("*", "", true),
        ("a*c", "abc", true),
        ("a*c", "abcd", false),
        ("*a*b", "xaab", true),
        ("?", "\u{e9}", true),
        ("?", "", false),
        ("a**", "a", true),
        ("*ab*ab", "abxabab", true),
        ("*ab?", "ababx", true),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn what_is_selected_becomes_targets() {
    let inventory = inventory();
    let selected = within(&["web", "ops@web1:9", "x:1", "local"], Some(&inventory)).expect("machines");
    let targets = |via: &[&str]| targets::targets(&selected, Some(&inventory), via);
    let shown = |target: &Target| {
        let end = &target.endpoint;
        let via = target.via.iter().map(|hop| hop.name.clone()).collect::<Vec<_>>().join(",");
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!(
            "{} {} {} {} [{via}] {:?}",
            end.name,
            text(&end.address),
            text(&end.user),
            end.port.unwrap_or(0),
            target.allow
        )
    };
    let found: Vec<String> = targets(&[]).expect("targets").iter().map(shown).collect();
    let expected = [
        r#"web1  deploy 2222 [bastion] ["facts"]"#,
        r#"web2 10.0.0.2 deploy 0 [] ["facts"]"#,
        r#"ops@web1:9 web1 ops 9 [bastion] ["facts"]"#,
        "x:1 x  1 [] []",
        "local   0 [] []",
    ];
    assert_eq!(found, expected);
    let local = targets(&[]).expect("targets").pop().expect("five");
    assert_eq!(local.endpoint.transport, Transport::Local);

    let forced = targets(&["op@jump:22", "web2"]).expect("targets");
    let via: Vec<Vec<&str>> = forced
        .iter()
        .take(2)
        .map(|target| target.via.iter().map(|hop| hop.name.as_str()).collect())
        .collect();
    assert_eq!(via, [vec!["op@jump:22", "web2"], vec!["op@jump:22"]], "web2 is not behind itself");

    for hop in ["web", "all", "db*", "@one", "!web1", "db[01-02]", "web1,web2", "", "nobody"] {
        assert_eq!(targets(&[hop]).expect_err(hop).len(), 1, "{hop}");
    }
}
