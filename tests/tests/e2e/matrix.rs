//! The matrix of faults: whatever goes wrong, and wherever the target is, waft ends in time with exactly one status per
//! target, a sentence that a person understands, the right exit code, and nothing left on any host.

mod controller;
mod delivery;
mod dials;
mod guests;
mod links;
mod logins;
mod silence;
mod together;

use std::time::Duration;

use serde_json::Value;
use waft_tests::Result;
use waft_tests::lab::{Lab, LabBuilder};
use waft_tests::proxy::Settings;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft};

/// Every case here is over within this, on a busy machine too; most take a second.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where the target is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Direct,
    BehindABastion,
}

const PLACES: [Place; 2] = [Place::Direct, Place::BehindABastion];
const TARGET: &str = "t1";

impl Place {
    /// The target with this specification, and what is before it.
    fn lab(self, target: HostSpec) -> LabBuilder {
        match self {
            Place::Direct => Lab::builder().host(target),
            Place::BehindABastion => Lab::builder().host(HostSpec::new("bas")).host(target.via("bas")),
        }
    }
}

fn target() -> HostSpec {
    HostSpec::new(TARGET)
}

fn proxied(settings: Settings) -> HostSpec {
    target().proxied(settings)
}

/// `waft exec` of a shell line on the target.
fn exec(lab: &Lab, line: &str) -> Result<Waft> {
    Ok(Waft::new("exec")?
        .lab(lab)
        .args(["-t", TARGET, "--format", "jsonl", "--timeout", "40s", "--", "/bin/sh", "-c", line])
        .limit(DEADLINE))
}

/// Words of a program's inside, which no user should read.
const INSIDE: [&str; 6] = ["panicked", "RUST_BACKTRACE", "Some(", "Err(", "Os {", "src/"];

/// What holds for every case. Gives the one result.
fn held(case: &str, lab: &Lab, output: Output, expected: &[&str], exit: i32) -> Result<Value> {
    let output = output.expect_code(exit)?;
    let results = output.events_of("result")?;
    assert_eq!(results.len(), 1, "{case}: {output}");
    let result = output.result_of(TARGET)?;
    let status = result["status"].as_str().unwrap_or_default();
    assert!(expected.contains(&status), "{case}: {result}");
    let said = output.stderr();
    assert!(!INSIDE.iter().any(|word| said.contains(word)), "{case}: {said}");
    if !["ok", "cancelled"].contains(&status) {
        let message = result["error"]["message"].as_str().unwrap_or_default();
        let names = [TARGET, "bas", "task"].iter().any(|name| message.contains(name));
        let plain = !message.contains(char::is_control) && !INSIDE.iter().any(|word| message.contains(word));
        assert!(names && plain && message.contains(' '), "{case}: {result}");
    }
    drop(output);
    lab.wait_idle()?;
    Ok(result)
}
