//! Addresses and lengths that lead out of a task's memory, in each function that takes some.

use super::arena::Arena;
use serde_json::json;
use std::collections::BTreeSet;
use waft_proto::run::Status;
use waft_tests::Result;
use waft_tests::leak::LeakGuard;

/// Functions with an address among their parameters: 32 of WASI, and all of `waft_v1`.
const FUNCTIONS: usize = 32 + 11;

#[test]
fn a_bad_address_ends_the_task_or_is_an_error() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(Some("rw"))?;
    let (mut from, mut functions, mut traps) = (0, BTreeSet::new(), 0);
    // The places behave alike, so they go from trap to trap together.
    let cases = loop {
        let mut at = BTreeSet::new();
        let mut cases = None;
        for (place, result) in
            arena.run(&mut link, arena.with(json!({"attack": "pointers", "from": from})))?
        {
            let said = String::from_utf8_lossy(&result.stderr).into_owned();
            let calls = said.lines().filter_map(|line| {
                let (number, name) = line.split_once(' ')?;
                Some((number.parse::<u64>().ok()?, name.to_owned()))
            });
            let calls: Vec<_> = calls.collect();
            functions.extend(calls.iter().map(|(_, name)| name.clone()));
            match result.status {
                Status::Ok => {
                    let report = result.result.unwrap_or_default();
                    assert_eq!(
                        (&report["broke"], &report["lost"]),
                        (&json!([]), &json!([])),
                        "{}",
                        place.name
                    );
                    cases = report["cases"].as_u64();
                }
                _ => {
                    let code = result.problem.as_ref().map(|problem| problem.code.as_str());
                    // A worker that died would have a signal.
                    assert_eq!((code, result.signal), (Some("task.trap"), None), "{}: {said}", place.name);
                    at.insert(calls.last().expect("a call before the trap").0);
                }
            }
        }
        assert!(at.len() + usize::from(cases.is_some()) == 1, "the places differ: {at:?}");
        match (cases, at.first()) {
            (Some(cases), _) => break cases,
            (None, Some(at)) => (from, traps) = (at + 1, traps + 1),
            (None, None) => unreachable!("one of both"),
        }
    };
    assert!(cases > 150 && traps > 50, "{cases} cases, {traps} traps");
    assert_eq!(functions.len(), FUNCTIONS, "{functions:?}");
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}
