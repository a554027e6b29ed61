//! What holds for every policy and every request, tried with many.

use super::*;
use crate::rule::Effect;

/// SplitMix64: the same numbers each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn some<'a>(&mut self, of: &[&'a str], most: usize) -> Vec<&'a str> {
        (0..self.below(most + 1)).map(|_| self.one(of)).collect()
    }
}

const GRANTS: [&str; 25] = [
    "fs:/",
    "fs:/a:rw",
    "fs:/a/b",
    "fs:/a/b:rw",
    "fs:/ab",
    "exec:*",
    "exec:/x",
    "exec:/x *",
    "exec:/x **",
    "exec:/x a* *b",
    "exec:/x -*",
    "exec:/x a -b:probe",
    "exec:/y **:probe",
    "exec:*:probe",
    "exec:/y **:daemon",
    "net:h:1",
    "net:h:2",
    "env:A",
    "secret:s",
    "call:t",
    "facts",
    "mem:1M",
    "mem:64M",
    "time:1s",
    "files:7",
];
const ARGV: [&[&str]; 8] = [
    &["/x"],
    &["/x", "a"],
    &["/x", "ab", "b"],
    &["/x", "-v"],
    &["/x", "a", "-b"],
    &["/y"],
    &["/y", "z", "-z"],
    &["/z"],
];

fn quote(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("'{text}'")).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_decision_never_holds_more_than_request_and_rule() {
    let mut numbers = Numbers(1);
    let (mut allowed_runs, mut cut_runs, mut refused_runs) = (0, 0, 0);
    for _ in 0..4000 {
        let mut text = String::new();
        for rule in 0..1 + numbers.below(3) {
            text.push_str(&format!("[[rule]]\nname = 'r{rule}'\n"));
            let who = numbers.some(&["alice", "a*", "bob"], 2);
            if !who.is_empty() {
                text.push_str(&format!("who = [{}]\n", quote(&who)));
            }
            match numbers.below(8) {
                0 => text.push_str("deny = true\nreason = 'x'\n"),
                1 => text.push_str("grants = ['given', 'mem:2M', 'files:3']\n"),
                _ => text.push_str(&format!("grants = [{}]\n", quote(&numbers.some(&GRANTS, 8)))),
            }
        }
        let policy = policy(&text);
        let given = grants(&numbers.some(&GRANTS, 8));
        let ask =
            Ask { who: numbers.one(&["alice", "bob", "carol"]), grants: given.clone(), ..Ask::default() };
        let request = ask.request();
        let allowed = match policy.decide(&request) {
            Decision::Allowed(allowed) => allowed,
            Decision::Refused(problem) => {
                assert!(problem.code.starts_with("policy."), "{problem:?}");
                refused_runs += 1;
                continue;
            }
        };
        allowed_runs += 1;
        cut_runs += usize::from(!allowed.cut.is_empty());
        let Effect::Allow { grants: most, given: all, .. } = &allowed.rule.effect else { panic!("{text}") };
        // The rule is the first that matches.
        let first = policy.rules().iter().find(|rule| rule.misses(&request).next().is_none());
        assert_eq!(first, Some(allowed.rule));
        for grant in allowed.grants.iter() {
            assert!(given.check(&grant).is_ok(), "{grant} was not given\n{text}");
            let is_right = !matches!(grant, Grant::Limit(_));
            assert!(most.check(&grant).is_ok() || (*all && is_right), "{grant} is not in the rule\n{text}");
        }
        // Limits of either side are still there.
        for limit in given.limits().iter().chain(most.limits().iter()) {
            let kind = std::mem::discriminant(&limit);
            let kept = allowed.grants.limits().iter().find(|kept| std::mem::discriminant(kept) == kind);
            assert!(
                kept.is_some_and(|kept| Grant::Limit(limit).covers(&Grant::Limit(kept))),
                "{limit} is gone\n{text}"
            );
        }
        // Cut or kept, and the same holds for what a set lets start.
        for grant in given.iter() {
            assert!(
                allowed.grants.check(&grant).is_ok() != allowed.cut.iter().any(|cut| cut == grant),
                "{grant}\n{text}"
            );
        }
        for argv in ARGV {
            let may = |set: &GrantSet| set.check_exec(argv, |_| None).is_ok();
            assert!(!may(&allowed.grants) || (may(&given) && (*all || may(most))), "{argv:?}\n{text}");
        }
    }
    // The three ways are all taken.
    assert!(
        allowed_runs > 500 && cut_runs > 500 && refused_runs > 500,
        "{allowed_runs} {cut_runs} {refused_runs}"
    );
}

#[test]
fn any_text_is_a_policy_or_a_problem() {
    let mut numbers = Numbers(2);
    let pieces = [
        "version = 1\n",
        "[[rule]]\n",
        "[revoked]\n",
        "name = 'x'\n",
        "who = [",
        "]",
        "\"",
        "'",
        "'''",
        "\n",
        "=",
        ".",
        "{",
        "}",
        "#",
        "\u{feff}",
        "\0",
        "grants = ['exec:*']",
        "hours = '22:00-06:00'",
        "until = 2026-01-01T00:00:00Z",
        "é",
        "\\u00e9",
        ",",
        "[",
        "true",
        "1e9",
        "0x1",
        "days",
    ];
    let (mut good, mut bad) = (0, 0);
    for round in 0..6000 {
        let mut text = if round % 2 == 0 { example().to_owned() } else { String::new() };
        for _ in 0..1 + numbers.below(3) {
            if round % 2 == 0 {
                // One place of a good policy, with another text in it or nothing.
                let at = (0..=text.len())
                    .cycle()
                    .skip(numbers.below(text.len()))
                    .find(|at| text.is_char_boundary(*at));
                let (before, after) = text.split_at(at.unwrap_or_default());
                let gone = numbers.below(3).min(after.chars().count());
                let after: String = after.chars().skip(gone).collect();
                text = format!(
                    "{before}{}{after}",
                    if numbers.below(2) == 0 { "" } else { numbers.one(&pieces) }
                );
            } else {
                (0..8).for_each(|_| text.push_str(numbers.one(&pieces)));
            }
        }
        match Policy::parse(&text) {
            Ok(policy) => {
                good += 1;
                let ask = Ask::default();
                let _ =
                    (policy.decide(&ask.request()), policy.trace(&ask.request()), lint::warnings(&policy, 0));
            }
            Err(problems) => {
                bad += 1;
                assert!(!problems.is_empty(), "{text}");
                assert!(problems.iter().all(|problem| problem.message.starts_with("line ")), "{problems:?}");
            }
        }
    }
    assert!(good > 100 && bad > 1000, "{good} {bad}");
}
