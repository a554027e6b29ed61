//! One module with many attacks: `{"attack": NAME, ..}` chooses. Its result says what was tried, what worked although it must
//! not (`broke`), and what did not work although it must (`lost`): a test that only sees refusals proves nothing.

mod blob;
mod file;
mod net;
mod pointer;
mod proc;
mod race;
mod say;
mod secret;

use guests::report::Report;
use guests::{escape, flood};
use serde_json::Value;
use std::io::Read;

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
        "file" => file::file(&mut report),
        "file-read-only" => file::read_only(&mut report, &params),
        "file-inner" => file::inner(&mut report),
        "file-in-a-race" => file::race(&mut report, &params),
        "file-proc" => file::proc(&mut report),
        "special" => file::special(&params),
        "net" => net::net(&mut report, &params),
        "net-names" => net::names(&mut report, &params),
        "net-many" => net::many(&mut report, &params),
        "net-flood" => net::flood(&params),
        "net-silence" => net::silence(&params),
        "pointers" => pointer::pointers(&mut report, &params),
        "memory" => flood::memory(&mut report),
        "files" => flood::files(&mut report),
        "disk" => flood::disk(&mut report, &params),
        "output" => flood::output(1),
        "log" => flood::output(2),
        "lines" => flood::lines(),
        "recursion" => flood::recursion(&mut report),
        "loop" => flood::spin(),
        "sleep" => flood::sleep(),
        "exec" => say::exec(&mut report, &params),
        "call" => say::call(&mut report, &params),
        "blob" => blob::read(&mut report, &params),
        "deep-call" => say::deep_call(&mut report),
        "deep-result" => say::deep_result(&params),
        "say" => say::say(&params),
        "secrets-told" => secret::told(&mut report, &params),
        "tell-secret" => secret::tell(&mut report, &params),
        "trap" => panic!("as asked"),
        other => panic!("no such attack: {other}"),
    }
    println!("{}", report.result());
}
