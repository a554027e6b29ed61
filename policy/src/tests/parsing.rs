use super::*;
use crate::rule::Effect;

/// All messages of a policy that is refused, each with its code.
fn problems(text: &str) -> Vec<String> {
    let problems = Policy::parse(text).expect_err("a policy with mistakes");
    problems.into_iter().map(|problem| format!("{}: {}", problem.code, problem.message)).collect()
}

#[test]
fn the_example_of_the_page_is_a_policy_and_has_every_key() {
    let policy = Policy::parse(example()).expect("the example");
    assert_eq!(policy.rules().len(), 4);
    assert_eq!(policy.max_timeout_ms, Some(600_000));
    let page = include_str!("../../../docs/policy.md");
    let keys = crate::read::TOP_KEYS.iter().chain(&crate::read::RULE_KEYS).chain(&crate::read::REVOKED_KEYS);
    for key in keys {
        let heading = format!("[{key}]");
        assert!(
            page.contains(&format!("`{key}`")) || page.contains(&heading),
            "the page does not tell of {key}"
        );
    }
    // Every key is also shown, but the one that is an error.
    for key in crate::read::RULE_KEYS {
        assert!(
            example().lines().any(|line| line.starts_with(&format!("{key} ="))),
            "{key} is not in the example"
        );
    }
    assert!(lint::warnings(&policy, at("2026-11-21T12:00:00Z")).is_empty());
}

#[test]
fn what_is_not_said_is_the_stricter_way() {
    let policy = policy("[[rule]]\nname = 'a'\n");
    assert!(!policy.check_only && policy.precompiled && !policy.relay);
    assert_eq!((policy.wall, policy.max_timeout_ms), (Wall::Best, None));
    let Effect::Allow { grants, given, .. } = &policy.rules()[0].effect else { panic!("it allows") };
    assert!(grants.is_empty() && !given);
    assert!(policy.check_relay().expect_err("no relay").hint.expect("a hint").contains("relay = true"));
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "\
check_onyl = true
wall = \"of\"
relay = \"yes\"
max_timeout = \"5\"
audit = \"var/log/waft\"

[[rule]]
who = []
tasks = \"facts\"
hashes = [
  \"abcd\",
  7,
]
grnats = []
until = 2026-01-01

[[rule]]
name = \"b\"
days = [\"monday\"]
hours = \"8-18\"
grants = [
  \"exec:/bin/true\",
  \"fs:relative\",
]
deny = true

[[rule]]
name = \"b\"
deny = false
reason = \"x\"
signers = [\"*@example.com\"]

[revokd]
[rule]
[[revoked]]
";
    assert_eq!(
        problems(text),
        [
            "policy.invalid: line 1: the version of the policy is missing",
            "policy.unknown: line 1: `check_onyl` is no key of a policy",
            "policy.invalid: line 2: `of` is no value of `wall`",
            "policy.invalid: line 3: `relay` is true or false, and a text stands there",
            "policy.invalid: line 4: `5` is no time: expected a duration: a whole number and one of ms, s, m, h",
            "policy.invalid: line 5: `var/log/waft` is no absolute path",
            "policy.invalid: line 7: the rule has no name",
            "policy.invalid: line 8: `who` is empty: nothing would match",
            "policy.invalid: line 9: `tasks` is a list of texts, and a text stands there",
            "policy.invalid: line 11: `abcd` is no hash of a module",
            "policy.invalid: line 12: `hashes` is a list of texts, and a number stands in it",
            "policy.unknown: line 14: `grnats` is no key of a rule",
            "policy.invalid: line 15: `2026-01-01` is no time with a date and a zone",
            "policy.invalid: line 17: a rule that denies says why",
            "policy.invalid: line 19: `monday` is no day",
            "policy.invalid: line 20: `8-18` are no hours",
            "policy.invalid: line 21: a rule that denies has no use for `grants`",
            "grant.syntax: line 23: the grant `fs:relative` cannot be read: expected an absolute path",
            "policy.invalid: line 27: the rule `b` is there twice, first in line 17",
            "policy.invalid: line 29: `deny = false` says nothing",
            "policy.invalid: line 30: `reason` belongs to a rule that denies",
            "policy.invalid: line 31: `*@example.com` is no signer",
            "policy.unknown: line 33: `revokd` is no table of a policy",
            "policy.invalid: line 34: [rule] is one of several",
            "policy.invalid: line 35: [[revoked]] is there once",
        ]
    );
    let hints: Vec<Option<String>> =
        Policy::parse(text).expect_err("mistakes").into_iter().map(|problem| problem.hint).collect();
    for hint in ["did you mean `check_only`?", "did you mean `grants`?", "did you mean `revoked`?"] {
        assert!(hints.contains(&Some(hint.to_owned())), "{hint}");
    }
}

#[test]
fn toml_that_means_nothing_here_is_refused_by_name() {
    for (text, message) in [
        ("a.b = 1", "line 2: `a...` is a dotted name"),
        ("[rule.x]\nname = 'y'", "line 2: `rule...` is a dotted name"),
        ("wall = { required = true }", "line 2: a table in braces"),
        ("[[rule]]\nwho = [['a']]", "line 3: a list within a list"),
        ("[[rule]]\nwho = [{ name = 'a' }]", "line 3: a table in braces"),
        ("relay = true\nrelay = false", "line 3: the key `relay` is there twice, first in line 2"),
        ("[revoked]\n[revoked]", "line 3: [revoked] is there twice"),
        ("rule = 'x'", "line 2: `rule` is a table, not a key"),
        ("grants = ['facts']", "line 2: the key `grants` belongs to a rule"),
        ("version = 1", "line 2: the key `version` is there twice"),
    ] {
        let found = problems(&format!("version = 1\n{text}\n"));
        assert!(found.iter().any(|problem| problem.contains(message)), "{text}: {found:?}");
    }
    assert!(problems("version = 2")[0].contains("policy.version: line 1: version 2"));
    assert!(problems("version = '1'")[0].contains("`version` is a number, and a text"));
}

#[test]
fn broken_syntax_has_a_line_and_no_consequences() {
    for (text, line) in [
        ("version = 1\nwall = \"best\n", 2),
        ("version = 1\n[[rule]\nname = 'a'\n", 2),
        ("version = 1\n\n[[rule]]\nwho = ['a'\n", 4),
        ("version = \n", 1),
    ] {
        let found = problems(text);
        assert!(found[0].starts_with("policy.syntax: line"), "{text}: {found:?}");
        // An unclosed bracket is noticed at its end.
        let said: usize =
            found[0]["policy.syntax: line ".len()..].split(':').next().unwrap().parse().unwrap();
        assert!((line..=line + 1).contains(&said), "{text}: {found:?}");
        assert!(found.iter().all(|problem| problem.starts_with("policy.syntax")), "{text}: {found:?}");
    }
}

#[test]
fn what_is_too_large_is_refused_and_bounded() {
    assert!(problems(&"#".repeat(POLICY_BYTES_MAX + 1))[0].starts_with("policy.long: line 1:"));
    let many: String = (0..=RULES_MAX).map(|number| format!("[[rule]]\nname='{number}'\n")).collect();
    let found = problems(&format!("version=1\n{many}"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(&format!("more than {RULES_MAX} rules")));
    // A thousand mistakes are not a thousand lines.
    let wrong: String = (0..1000).map(|number| format!("[[x{number}]]\n")).collect();
    let found = problems(&wrong);
    assert_eq!(found.last().map(String::as_str), Some("policy.more: line 49: there are 951 more problems"));
    let keys: String = (0..100_000).map(|number| format!("k{number}=1\n")).collect();
    assert!(problems(&keys).iter().all(|problem| problem.len() < 200));
    // Deep nesting ends in a problem, not in the stack.
    assert!(problems(&format!("version=1\nrelay={}", "[".repeat(500_000)))[0].starts_with("policy.syntax"));
}
