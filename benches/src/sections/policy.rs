//! How long a node takes to judge a run by its policy.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use waft_policy::{Decision, Policy, Request};
use waft_proto::grant::GrantSet;
use waft_proto::id::Hash;
use waft_tests::{Error, Result};

use crate::bench::Bench;
use crate::measure::take_turns;
use crate::report::{Row, Table};

pub(super) const NAME: &str = "policy";
const ABOUT: &str = "One decision by a policy of 1 000 rules, each with five conditions, of which the last one matches. \
                     The bound is absolute: 1 ms.";
const ROUNDS: usize = 300;
const RULES: usize = 1000;

pub(super) fn measure(_: &Bench) -> Result<Table> {
    let text = policy();
    let parse = |text: &str| {
        Policy::parse(text).map_err(|problems| Error::new(format!("the policy has mistakes: {problems:?}")))
    };
    let policy = parse(&text)?;
    let given = ["fs:/srv/app/data:rw", "exec:/usr/bin/systemctl restart app", "facts", "mem:64M"];
    let grants =
        GrantSet::parse_all(given.into_iter()).map_err(|_| Error::new("the grants have mistakes"))?;
    let (task, signers) = (format!("task-{}-x", RULES - 1), ["release@example.com".to_owned()]);
    let request = Request {
        who: "ci-runner",
        task: &task,
        hash: Hash([7; 32]),
        signers: &signers,
        approvers: &[],
        grants: &grants,
        check: false,
        // Saturday, 21 November 2026, noon.
        now_unix: 1_795_262_400,
        precompiled: true,
    };
    let mut decide = || {
        let started = Instant::now();
        let decision = black_box(&policy).decide(black_box(&request));
        let took = started.elapsed();
        match decision {
            Decision::Allowed(allowed) if Some(allowed.rule) == policy.rules().last() => Ok(took),
            other => Err(Error::new(format!("not the last rule decided: {other:?}"))),
        }
    };
    let mut read = || {
        let started = Instant::now();
        let policy = parse(black_box(&text));
        let took = started.elapsed();
        policy.map(|_| took)
    };
    // As many with --quick: they take no time, and a median wants some.
    let [decision, reading] = take_turns(ROUNDS, [&mut decide, &mut read])?;
    let rows = vec![
        Row::time("deciding by the last of 1 000 rules, milliseconds", &decision).bounded_ms(&decision),
        Row::time(format!("reading these rules, {} kB", text.len() / 1000), &reading),
    ];
    Ok(Table { name: NAME, about: ABOUT, rows })
}

fn policy() -> String {
    let mut text = "version = 1\n".to_owned();
    for rule in 0..RULES {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "[[rule]]\nname = \"rule {rule}\"\nwho = [\"alice\", \"ci-*\"]\ntasks = [\"*-{rule}-*\"]\n\
             signers = [\"release@example.com\"]\nuntil = 2099-01-01T00:00:00Z\n\
             days = [\"mon\", \"sat\"]\nhours = \"06:00-20:00\"\n\
             grants = [\"fs:/srv/app:rw\", \"exec:/usr/bin/systemctl restart *\", \"facts\", \"time:5m\"]\n"
        );
    }
    text
}
