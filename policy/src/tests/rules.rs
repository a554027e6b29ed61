use super::*;

const TWO: &str = "
[[rule]]
name = 'first'
who = ['ci-*']
tasks = ['deploy']
signers = ['release@example.com', 'audit@example.com']
grants = ['fs:/srv/app:rw', 'exec:/usr/bin/id', 'time:1m']

[[rule]]
name = 'look'
tasks = ['facts', 'ping-?']
grants = ['facts', 'fs:/proc', 'mem:64M']
";

#[test]
fn the_first_rule_that_matches_decides_and_gives_what_both_allow() {
    let policy = policy(TWO);
    let ask = Ask {
        grants: grants(&["facts", "fs:/proc/self:rw", "fs:/etc", "mem:1G", "out:1K"]),
        ..Ask::default()
    };
    let allowed = ask.allowed(&policy);
    assert_eq!(allowed.rule.name, "look");
    assert_eq!(texts(&allowed.grants), ["facts", "fs:/proc/self:ro", "mem:64M", "out:1K"]);
    assert_eq!(texts(&allowed.cut), ["fs:/proc/self:rw", "fs:/etc:ro", "mem:1G"]);
    assert_eq!((allowed.check_forced, allowed.wall, allowed.timeout_ms), (false, Wall::Best, None));
    // All of who, task and both signatures.
    let signers = vec!["audit@example.com".to_owned(), "release@example.com".to_owned()];
    let deploy = Ask { who: "ci-1", task: "deploy", signers, grants: grants(&["time:5m"]), ..Ask::default() };
    let allowed = deploy.allowed(&policy);
    assert_eq!((allowed.rule.name.as_str(), allowed.timeout_ms), ("first", Some(60_000)));
    for other in [
        Ask { who: "bob", ..deploy.clone() },
        Ask { task: "deploy2", ..deploy.clone() },
        Ask { signers: deploy.signers[..1].to_vec(), ..deploy.clone() },
        Ask { signers: Vec::new(), ..deploy.clone() },
    ] {
        assert_eq!(other.refused(&policy).code, "policy.no_rule");
    }
}

#[test]
fn a_refusal_names_what_is_missing_and_the_line_to_add() {
    let policy = policy(TWO);
    let signers = vec!["release@example.com".to_owned()];
    let ask = Ask { who: "ci-1", task: "deploy", signers, ..Ask::default() };
    let problem = ask.refused(&policy);
    assert_eq!(
        problem.message,
        format!(
            "no rule of this node's policy matches: `ci-1` with the task `deploy`, module blake3:{}, signed by \
             `release@example.com`; the rule `first` would, but the module is not signed by `audit@example.com`",
            ask.hash
        )
    );
    assert!(problem.hint.expect("a hint").contains("waft sign"));
    let problem = Ask { task: "fact", ..Ask::default() }.refused(&policy);
    assert!(
        problem
            .message
            .ends_with("the rule `look` would, but it is for the tasks `facts`, `ping-?`, not for `fact`")
    );
    assert!(problem.hint.expect("a hint").contains("tasks = [\"fact\"]"), "a rule of its own");
    let for_ci = super::policy("[[rule]]\nname = 'x'\ntasks = ['y']\n[[rule]]\nname = 'ci'\nwho = ['ci']\n");
    let problem = Ask { who: "bob", ..Ask::default() }.refused(&for_ci);
    assert_eq!(problem.hint.as_deref(), Some("in rule `ci`, add \"bob\" to `who`"));
    // Nothing is near when there is no rule: the hint is a rule, and it works.
    let nothing = super::policy("");
    let ask = Ask {
        who: "a\"b",
        task: "x\ny",
        grants: grants(&["exec:sh -c \"a b\"", "mem:1M"]),
        ..Ask::default()
    };
    let hint = ask.refused(&nothing).hint.expect("a hint");
    let (_, rule) = hint.split_once(":\n").expect("a rule to paste");
    let mended = super::policy(rule);
    assert_eq!(ask.allowed(&mended).grants, ask.grants);
}

#[test]
fn revocations_win_over_every_rule() {
    let hash = Hash([0xab; 32]);
    let revoked =
        format!("[revoked]\nhashes = ['blake3:{hash}']\nsigners = ['mallory']\n[[rule]]\nname = 'all'\n");
    let policy = policy(&revoked);
    assert_eq!(Ask::default().refused(&policy).code, "policy.revoked");
    let other = Ask { hash: Hash([1; 32]), ..Ask::default() };
    assert_eq!(other.allowed(&policy).rule.name, "all");
    let signed = Ask { signers: vec!["alice".to_owned(), "mallory".to_owned()], ..other };
    assert!(signed.refused(&policy).message.contains("`mallory`"));
}

#[test]
fn artifacts_from_elsewhere_walls_dry_runs_and_times() {
    let strict = policy(
        "precompiled = 'deny'\nwall = 'required'\ncheck_only = true\nmax_timeout = '30s'\n\
         [[rule]]\nname = 'a'\nwall = 'best'\ncheck = 'allow'\ngrants = ['time:1m']\n",
    );
    assert_eq!(Ask::default().refused(&strict).code, "policy.precompiled");
    let ask = Ask { precompiled: false, ..Ask::default() };
    let allowed = ask.allowed(&strict);
    // A rule cannot loosen what holds for the node.
    assert_eq!(
        (allowed.check_forced, allowed.wall, allowed.timeout_ms),
        (true, Wall::Required, Some(30_000))
    );
    assert!(!Ask { check: true, ..ask }.allowed(&strict).check_forced);
    let lax = policy("[[rule]]\nname = 'a'\nwall = 'required'\ncheck = 'only'\n");
    let allowed = Ask::default().allowed(&lax);
    assert_eq!((allowed.check_forced, allowed.wall), (true, Wall::Required));
}

#[test]
fn a_rule_that_denies_stops_those_after_it() {
    let policy = policy(
        "[[rule]]\nname = 'freeze'\nfrom = 2026-11-21T12:00:00Z\nuntil = '2026-11-21T13:00:00+00:00'\n\
         deny = true\nreason = 'freeze'\n[[rule]]\nname = 'all'\ngrants = ['given']\n",
    );
    let denied = Ask::default().refused(&policy);
    assert_eq!(
        (denied.code.as_str(), denied.message.contains("`freeze` of this node's policy denies it: freeze")),
        ("policy.denied", true)
    );
    for (time, name) in [("2026-11-21T11:59:59Z", "all"), ("2026-11-21T13:00:00Z", "all")] {
        assert_eq!(Ask { now: at(time), ..Ask::default() }.allowed(&policy).rule.name, name);
    }
    let steps = Ask { now: at("2026-11-21T13:00:00Z"), ..Ask::default() };
    let request = steps.request();
    let steps = policy.trace(&request);
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].misses, [("until", "it ended at 2026-11-21T13:00:00Z".to_owned())]);
    assert!(steps[1].misses.is_empty());
}

#[test]
fn given_is_all_rights_within_the_limits() {
    let policy = policy("[[rule]]\nname = 'a'\ngrants = ['given', 'mem:64M', 'time:10s']\n");
    let ask = Ask { grants: grants(&["exec:*", "env:TZ", "mem:1G", "time:1s"]), ..Ask::default() };
    let allowed = ask.allowed(&policy);
    assert_eq!(texts(&allowed.grants), ["exec:*", "env:TZ", "mem:64M", "time:1s"]);
    assert_eq!(texts(&allowed.cut), ["mem:1G"]);
    assert!(Policy::parse("version = 1\n[[rule]]\nname = 'a'\ngrants = ['given', 'facts']\n").is_err());
}

#[test]
fn a_task_that_lacks_something_is_told_when_it_is_the_policy() {
    let policy = policy(TWO);
    let ask = Ask { grants: grants(&["fs:/etc:rw", "exec:/usr/bin/id *"]), ..Ask::default() };
    let allowed = ask.allowed(&policy);
    let wanted = Grant::parse("fs:/etc/ssl:rw").expect("a grant");
    let problem = allowed.withheld(&wanted).expect("the policy lacks it");
    assert_eq!(problem.code, "grant.missing");
    assert!(problem.message.contains("the policy of this node lacks `fs:/etc/ssl:rw`"), "{problem:?}");
    assert!(problem.hint.expect("a hint").contains("rule `look`, add to `grants`: \"fs:/etc/ssl:rw\""));
    assert!(allowed.cut.check_exec(&["/usr/bin/id", "-u"], |_| None).is_err(), "a pattern takes no option");
    assert!(allowed.cut.check_exec(&["/usr/bin/id", "root"], |_| None).is_ok());
    // Never given, so nothing that the policy took.
    assert_eq!(allowed.withheld(&Grant::parse("fs:/var").expect("a grant")), None);
}

#[test]
fn programs_meet_by_path_when_both_are_resolved() {
    let resolve = |name: &str| (name == "id").then(|| "/usr/bin/id".to_owned());
    let policy = policy("[[rule]]\nname = 'a'\ngrants = ['exec:id', 'exec:gone']\n").resolved(resolve);
    let given = grants(&["exec:/usr/bin/id", "exec:gone"]).resolved(resolve);
    let ask = Ask { grants: given, ..Ask::default() };
    assert_eq!(texts(&ask.allowed(&policy).grants), ["exec:/usr/bin/id"]);
}

#[test]
fn a_name_of_what_the_task_brings_along_is_known() {
    for name in [
        "/dev/fd/3",
        "/dev//fd/3",
        "/dev/./fd/31",
        "/usr/../dev/stdin",
        "/dev/stdin",
        "/proc/self/fd/0",
        "/proc/1234/fd/7",
        "/proc/thread-self/fd/0",
        "/proc/self/task/1/fd/0",
        "/proc/self/cwd/x",
    ] {
        assert!(lint::is_brought_along(name), "{name}");
    }
    for name in
        ["", "stdin", "/dev/fdx", "/dev/fd", "/proc", "/opt/dev/fd/3", "/usr/bin/proc", "/opt/proc/self/fd/0"]
    {
        assert!(!lint::is_brought_along(name), "{name}");
    }
}

#[test]
fn what_is_hardly_meant_is_warned_about() {
    let policy = policy(
        "wall = 'required'\n[revoked]\nhashes = ['2222222222222222222222222222222222222222222222222222222222222222']\n\
         [[rule]]\nname = 'a'\ntasks = ['web-*']\n\
         [[rule]]\nname = 'b'\ntasks = ['web-1', 'web-?']\nwho = ['x']\nuntil = 2020-01-01T00:00:00Z\n\
         [[rule]]\nname = 'c'\ntasks = ['*']\nwall = 'best'\ngrants = ['exec:/usr/bin/python3.13 *', 'exec:/dev/fd/3', 'exec:/dev/stdin', 'exec:ls']\n\
         [[rule]]\nname = 'd'\nhashes = ['2222222222222222222222222222222222222222222222222222222222222222']\n\
         [[rule]]\nname = 'e'\ngrants = ['given']\n",
    );
    let said: Vec<String> = lint::warnings(&policy, at("2026-01-01T00:00:00Z"))
        .into_iter()
        .map(|placed| format!("{}: line {}: {}", placed.problem.code, placed.line, placed.problem.message))
        .collect();
    assert_eq!(
        said,
        [
            "policy.unreachable: line 8: the rule `b` never decides: `a` before it (line 5) matches all that it matches",
            "policy.expired: line 8: the rule `b` expired at 2020-01-01T00:00:00Z",
            "policy.exec: line 13: `exec:/usr/bin/python3.13 *` in the rule `c` starts what it is told to: everything this user can do",
            "policy.exec: line 13: `exec:/dev/fd/3` in the rule `c` starts what it is told to: everything this user can do",
            "policy.exec: line 13: `exec:/dev/stdin` in the rule `c` starts what it is told to: everything this user can do",
            "policy.no_effect: line 13: `wall = \"best\"` in the rule `c` does nothing: the policy demands all",
            "policy.unreachable: line 18: the rule `d` never decides: `c` before it (line 13) matches all that it matches",
            "policy.revoked: line 18: the rule `d` names the module blake3:2222222222222222222222222222222222222222222222222222222222222222, which is revoked",
            "policy.unreachable: line 21: the rule `e` never decides: `c` before it (line 13) matches all that it matches",
            "policy.open: line 21: the rule `e` gives every controller and every module all that is given",
        ]
    );
    assert_eq!(lint::warnings(&super::policy(""), 0)[0].problem.code, "policy.no_rules");
}

#[test]
fn a_rule_is_called_unreachable_only_when_it_is() {
    let twice = |first: &str, second: &str| {
        let text = format!("[[rule]]\nname = 'a'\n{first}\n[[rule]]\nname = 'b'\n{second}\n");
        lint::warnings(&policy(&text), 0).iter().any(|placed| placed.problem.code == "policy.unreachable")
    };
    for (first, second, is) in [
        ("", "who = ['x']", true),
        ("who = ['x']", "", false),
        ("who = ['*']", "", true),
        ("signers = ['s']", "signers = ['s', 't']", true),
        ("signers = ['s', 't']", "signers = ['s']", false),
        ("until = 2026-01-02T00:00:00Z", "until = 2026-01-01T00:00:00Z", true),
        ("from = 2026-01-02T00:00:00Z", "from = 2026-01-01T00:00:00Z", false),
        ("days = ['sat']", "days = ['sat']\nhours = '22:00-06:00'", false),
        ("days = ['sat', 'sun']", "days = ['sat']\nhours = '22:00-06:00'", true),
        ("tasks = ['a?']", "tasks = ['a*']", false),
        ("tasks = ['a*', 'b']", "tasks = ['b', 'a?']", true),
    ] {
        assert_eq!(twice(first, second), is, "{first} / {second}");
    }
}

const CONTROLLER: &str =
    "[[controller]]\nname = 'ops'\nkey = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='\n";

#[test]
fn keys_are_base64_and_have_one_text() {
    use crate::site::{key_text, parse_key};
    let text = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let key = parse_key(text).expect("a key");
    // RFC 8032, 7.1, test 1.
    assert_eq!((key[0], key[1], key[31]), (0xd7, 0x5a, 0x1a));
    assert_eq!(key_text(&key), text);
    for number in 0..=u8::MAX {
        let key = std::array::from_fn(|at| number.wrapping_mul(at as u8 ^ 0x5a).wrapping_add(at as u8));
        assert_eq!(parse_key(&key_text(&key)), Some(key));
    }
    // Cut, too long, an unknown digit, bits that say nothing.
    let wrong =
        [&text[..40], &text[..43], &format!("{text}="), &text.replace('q', "!"), &text.replace("Ro=", "Rp=")];
    for text in wrong {
        assert_eq!(parse_key(text), None, "{text}");
    }
}

#[test]
fn a_controller_is_known_by_its_key() {
    let open = policy("");
    assert_eq!(open.check_controller(&[7; 32]), Ok(None));
    let closed = policy(CONTROLLER);
    let key = closed.site.controllers[0].key;
    assert_eq!(closed.check_controller(&key), Ok(Some("ops")));
    let refused = closed.check_controller(&[7; 32]).expect_err("a stranger");
    assert_eq!(refused.code, "policy.controller");
    assert!(refused.message.contains("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="), "{}", refused.message);
}

#[test]
fn a_node_may_know_its_names() {
    assert_eq!(policy("").site.check_name("any"), Ok(()));
    let named = policy("names = ['web1', 'web1.example.com']").site;
    assert_eq!(named.check_name("web1"), Ok(()));
    assert_eq!(named.check_name("web2").expect_err("another").code, "policy.target");
}

#[test]
fn a_rule_may_want_approvals_of_different_people() {
    let policy = policy(
        "[[rule]]\nname = 'two'\napprovals = 2\napprovers = ['a', 'b', 'c']\n[[rule]]\nname = 'all'\n",
    );
    let ask = |names: &[&str]| Ask {
        approvers: names.iter().map(|person| person.split(' ').map(str::to_owned).collect()).collect(),
        ..Ask::default()
    };
    for few in [&[] as &[&str], &["a"], &["a b"], &["a", "mallory"]] {
        // The rule without approvals, which comes after it, is not tried.
        assert_eq!(ask(few).refused(&policy).code, "policy.approval", "{few:?}");
    }
    assert_eq!(ask(&["c mallory", "a"]).allowed(&policy).rule.name, "two");
}

#[test]
fn who_starts_a_run_is_none_of_those_who_approve_it() {
    let named = policy(
        "[[rule]]\nname = 'two'\napprovals = 2\napprovers = ['alice', 'bob', 'carol', 'carol@work']\n",
    );
    let all = policy("[[rule]]\nname = 'two'\napprovals = 2\n");
    let ask = |who: &'static str, people: &[&[&str]]| Ask {
        who,
        approvers: people.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect(),
        ..Ask::default()
    };
    for policy in [&named, &all] {
        let own = ask("alice", &[&["alice"], &["bob"]]).refused(policy);
        assert_eq!(own.code, "policy.approval");
        assert!(own.message.contains("2 people, and 1 have approved; `alice` starts the run"), "{own:?}");
        // One of several names of a person is enough to know him.
        let own = ask("carol", &[&["carol@work", "carol"], &["bob"]]).refused(policy);
        assert!(own.message.contains("and 1 have approved; `carol` starts"), "{own:?}");
        // Others are enough, also beside him.
        ask("alice", &[&["alice"], &["bob"], &["carol"]]).allowed(policy);
        ask("dave", &[&["alice"], &["bob"]]).allowed(policy);
        let few = ask("dave", &[&["alice"]]).refused(policy);
        assert!(few.message.ends_with("and 1 have approved"), "{few:?}");
    }
}

#[test]
fn keys_of_a_site_are_read_and_their_mistakes_told() {
    let text = "allowed_signers = '/etc/waft/signers'\nstate = '/srv/waft'\nnode_key = '/srv/key'\n[revoked]\nkeys = ['/etc/waft/krl']\n";
    let site = policy(text).site;
    assert_eq!(site.allowed_signers.as_deref(), Some("/etc/waft/signers"));
    assert_eq!((site.state.as_deref(), site.node_key.as_deref()), (Some("/srv/waft"), Some("/srv/key")));
    assert_eq!(site.revoked_keys, ["/etc/waft/krl"]);
    for (text, wrong) in [
        ("allowed_signers = 'signers'", "no absolute path"),
        ("state = '/srv/../etc'", "no absolute path"),
        ("[controller]\nname = 'a'", "one of several"),
        ("[[controller]]\nname = 'a'", "has no key"),
        ("[[controller]]\nname = 'a'\nkey = 'AAAA'", "no key of a controller"),
        ("[[rule]]\nname = 'a'\napprovals = 0", "no number of approvals"),
        ("[[rule]]\nname = 'a'\napprovals = 3\napprovers = ['a', 'b', 'a']", "can never have agreed"),
        ("[[rule]]\nname = 'a'\napprovers = ['a']", "does not say how many"),
        ("[[rule]]\nname = 'a'\ndeny = true\nreason = 'no'\napprovals = 1", "has no use for `approvals`"),
    ] {
        let problems = Policy::parse(&format!("version = 1\n{text}\n")).expect_err(text);
        assert!(problems.iter().any(|problem| problem.message.contains(wrong)), "{text}: {problems:?}");
    }
}

#[test]
fn lint_tells_what_cannot_be_kept() {
    let codes = |text: &str| -> Vec<String> {
        let found = lint::warnings(&policy(text), at("2026-11-21T12:00:00Z"));
        found.into_iter().map(|placed| placed.problem.code).collect()
    };
    let rule = |keys: &str| format!("{CONTROLLER}[[rule]]\nname = 'a'\n{keys}\n");
    assert!(codes(&rule("who = ['o*']")).is_empty());
    assert_eq!(codes(&rule("who = ['alice']")), ["policy.nobody"]);
    assert_eq!(codes(&rule("approvals = 1")), ["policy.nobody", "policy.approvers", "policy.names"]);
    let known = format!("allowed_signers = '/s'\nnames = ['web1']\n{}", rule("approvals = 1"));
    assert_eq!(codes(&known), ["policy.approvers"]);
    assert!(codes(&format!("{known}approvers = ['a']\n")).is_empty());
    let signed = format!("allowed_signers = '/s'\n{}", rule("signers = ['a']"));
    assert_eq!(codes(&signed), ["policy.precompiled"]);
    assert!(codes(&format!("precompiled = 'deny'\n{signed}")).is_empty());
    for (grant, warned) in [
        ("/", true),
        ("/etc", true),
        ("/etc/ssh", true),
        ("/etc/nginx", false),
        ("/var", true),
        ("/srv", false),
        ("/home", true),
        ("/usr/local/sbin", true),
        ("/usr/lib/systemd/system", true),
        ("/etc/logrotate.d", true),
        ("/var/lib/waft", true),
        ("/usr/local/share/app", false),
    ] {
        let found = codes(&rule(&format!("grants = ['fs:{grant}:rw']")));
        assert_eq!(found == ["policy.way_in"], warned, "{grant}: {found:?}");
    }
    assert!(codes(&rule("grants = ['fs:/:ro']")).is_empty());
    // Of programs it is said whether they are confined: where nothing is, in site mode they have to be.
    assert_eq!(codes(&rule("grants = ['exec:id']")), ["policy.confined"]);
    for said in ["true", "false"] {
        assert!(codes(&rule(&format!("grants = ['exec:id']\nunconfined = {said}"))).is_empty(), "{said}");
    }
    assert!(codes("[[rule]]\nname = 'a'\ngrants = ['exec:id']").is_empty());
    assert_eq!(codes(&rule("grants = ['facts']\nunconfined = true")), ["policy.no_effect"]);
}

#[test]
fn programs_are_unconfined_only_where_a_rule_says_so() {
    for (line, unconfined) in [("", false), ("unconfined = false", false), ("unconfined = true", true)] {
        let policy = policy(&format!("[[rule]]\nname = 'a'\ngrants = ['exec:id']\n{line}"));
        let ask = Ask { grants: grants(&["exec:id"]), ..Ask::default() };
        assert_eq!(ask.allowed(&policy).unconfined, unconfined, "{line}");
    }
    let problem = crate::unconfined("a", "/usr/bin/id");
    assert_eq!(problem.code, "grant.unconfined");
    assert!(problem.hint.expect("a hint").contains("rule `a`: unconfined = true"));
}
