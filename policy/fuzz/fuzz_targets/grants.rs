//! Two sets of grants, a line each, with an empty line between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waft_proto::grant::{Grant, GrantSet};

/// Grants of one input: what they make together is quadratic.
const GRANTS_MAX: usize = 64;

fuzz_target!(|text: &str| {
    for line in text.lines().take(GRANTS_MAX) {
        match Grant::parse(line) {
            Ok(grant) => {
                let printed = grant.to_string();
                assert_eq!(Grant::parse(&printed).as_ref(), Ok(&grant), "{printed}");
                assert!(grant.covers(&grant), "{printed}");
                assert!(!printed.chars().any(char::is_control), "{printed:?}");
            }
            Err(problem) => assert!(problem.code.starts_with("grant.") && !problem.message.is_empty()),
        }
    }
    let (ours, theirs) = text.split_once("\n\n").unwrap_or((text, text));
    let set = |text: &str| {
        let good = text.lines().filter(|line| Grant::parse(line).is_ok()).take(GRANTS_MAX);
        GrantSet::parse_all(good).expect("good grants make a set")
    };
    let (ours, theirs) = (set(ours), set(theirs));
    let Ok(both) = ours.intersect(&theirs) else { return };
    for grant in both.iter() {
        assert!(
            ours.check(&grant).is_ok() && theirs.check(&grant).is_ok(),
            "{grant} is more than both allow"
        );
    }
    for grant in both.for_check().iter() {
        assert!(both.check(&grant).is_ok(), "{grant} is more in a dry run");
    }
    // What a set lets start is let start by both sides.
    for argv in text.lines().take(GRANTS_MAX).map(|line| line.split(' ').collect::<Vec<_>>()) {
        let may = |set: &GrantSet| set.check_exec(&argv, |name| Some(format!("/bin/{name}"))).is_ok();
        assert!(!may(&both) || (may(&ours) && may(&theirs)), "{argv:?}");
    }
});
