//! One module with many attacks: `{"attack": NAME, ..}` chooses. Its result says what was tried, what worked although it must
//! not (`broke`), and what did not work although it must (`lost`): a test that only sees refusals proves nothing.

mod escape;
mod flood;
mod pointer;
mod proc;
mod race;
mod say;
mod wasi;

use serde_json::{Value, json};
use std::io::Read;

/// What came of an attack.
#[derive(Default)]
struct Report {
    tried: u64,
    broke: Vec<String>,
    lost: Vec<String>,
    /// What the test wants to know besides.
    more: Vec<(&'static str, Value)>,
}

impl Report {
    /// Must be refused.
    fn refused(&mut self, what: impl FnOnce() -> String, errno: u16) {
        self.tried += 1;
        if errno == 0 {
            self.broke.push(what());
        }
    }

    /// Must work.
    fn works(&mut self, what: &str, errno: u16) {
        if errno != 0 {
            self.lost.push(format!("{what}: error {errno}"));
        }
    }

    fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.more.push((name, value.into()));
    }
}

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("parameters");
    let params: Value = serde_json::from_str(&text).expect("parameters are JSON");
    let attack = params["attack"].as_str().expect("the name of an attack");
    let mut report = Report::default();
    match attack {
        "escape" => escape::escape(&mut report),
        "read-only" => escape::read_only(&mut report),
        "swap" => race::swap(&mut report, &params),
        "open-in-a-race" => race::open(&mut report, &params),
        "proc" => proc::proc(&mut report),
        "pointers" => pointer::pointers(&mut report, &params),
        "memory" => flood::memory(&mut report),
        "files" => flood::files(&mut report),
        "output" => flood::output(1),
        "log" => flood::output(2),
        "lines" => flood::lines(),
        "recursion" => flood::recursion(&mut report),
        "loop" => flood::spin(),
        "sleep" => flood::sleep(),
        "exec" => say::exec(&mut report, &params),
        "call" => say::call(&mut report, &params),
        "deep-call" => say::deep_call(&mut report),
        "deep-result" => say::deep_result(&params),
        "say" => say::say(&params),
        "trap" => panic!("as asked"),
        other => panic!("no such attack: {other}"),
    }
    let mut result = json!({ "tried": report.tried, "broke": report.broke, "lost": report.lost });
    for (name, value) in report.more {
        result[name] = value;
    }
    println!("{result}");
}
