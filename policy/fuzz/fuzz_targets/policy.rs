//! A policy, and a request to it that is made of the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waft_policy::{Decision, Effect, Policy, Request, lint};
use waft_proto::grant::{Grant, GrantSet};
use waft_proto::id::Hash;

/// Of the texts in quotes, for the request.
const TEXTS_MAX: usize = 64;

fuzz_target!(|text: &str| {
    let policy = match Policy::parse_placed(text) {
        Ok(policy) => policy,
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = text.matches('\n').count() + 1;
            assert!(problems.iter().all(|placed| (1..=lines).contains(&placed.line)), "{problems:?}");
            return;
        }
    };
    let quoted: Vec<&str> = text.split(['"', '\'']).skip(1).step_by(2).take(TEXTS_MAX).collect();
    let good = quoted.iter().copied().filter(|text| Grant::parse(text).is_ok());
    let grants = GrantSet::parse_all(good.rev()).expect("good grants make a set");
    let signers: Vec<String> = quoted.iter().map(|text| (*text).to_owned()).collect();
    for number in 0..quoted.len().max(1) {
        let of =
            |shift: usize| quoted.get((number + shift) % quoted.len().max(1)).copied().unwrap_or_default();
        let request = Request {
            who: of(0),
            task: of(1),
            hash: waft_policy::parse_hash(of(2)).unwrap_or(Hash([0; 32])),
            signers: &signers[..number.min(signers.len())],
            approvers: &[],
            grants: &grants,
            check: number % 2 == 0,
            now_unix: number as u64 * 50_000_000,
            precompiled: number % 3 == 0,
        };
        let decides =
            policy.trace(&request).pop().filter(|step| step.misses.is_empty()).map(|step| step.rule);
        match policy.decide(&request) {
            Decision::Refused(problem) => assert!(problem.code.starts_with("policy."), "{problem:?}"),
            Decision::Allowed(allowed) => {
                assert_eq!(decides, Some(allowed.rule));
                let Effect::Allow { grants: most, given, .. } = &allowed.rule.effect else {
                    panic!("{allowed:?}")
                };
                for grant in allowed.grants.iter() {
                    let is_right = !matches!(grant, Grant::Limit(_));
                    assert!(grants.check(&grant).is_ok(), "{grant} was not given");
                    assert!(most.check(&grant).is_ok() || (*given && is_right), "{grant} is not in the rule");
                }
            }
        }
    }
    let _ = lint::warnings(&policy, 1_800_000_000);
});
