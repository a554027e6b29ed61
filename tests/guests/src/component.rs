//! The same attacks as of a component, and the calls of `waft:task`: `{"attack": NAME, ..}` chooses. It is built as a module of
//! WASI 0.1, and a test makes the component of it.

mod world;

use guests::report::Report;
use guests::{escape, flood, wasi};
use serde_json::{Value, json};
use std::io::Read;

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("parameters");
    let params: Value = serde_json::from_str(&text).expect("parameters are JSON");
    let mut report = Report::default();
    match params["attack"].as_str().unwrap_or("say") {
        "escape" => escape::escape(&mut report),
        "read-only" => escape::read_only(&mut report),
        "memory" => flood::memory(&mut report),
        "files" => flood::files(&mut report),
        "output" => flood::output(1),
        "log" => flood::output(2),
        "lines" => flood::lines(),
        "recursion" => flood::recursion(&mut report),
        "loop" => flood::spin(),
        "sleep" => flood::sleep(),
        "trap" => panic!("as asked"),
        "exit" => std::process::exit(params["code"].as_i64().unwrap_or(1) as i32),
        "call" => {
            let name = params["call"].as_str().expect("the name of a call");
            report.note("answer", world::call(name, &params["request"].to_string()));
        }
        "astray" => report.note("answer", world::astray(&params)),
        "special" => {
            let name = params["name"].as_str().expect("a name");
            for (way, rights) in [("to read", wasi::READ), ("to write", wasi::WRITE)] {
                eprintln!("{way}");
                eprintln!("{way}: {}", wasi::opens(name, 0, rights));
            }
        }
        "read" => report.note("read", world::read_blob(params["hash"].as_str().expect("a hash"))),
        "write" => {
            let file = params["file"].as_str().expect("a path");
            report.note("wrote", std::fs::write(file, "by a component").is_ok());
        }
        "cat" => {
            let read = wasi::open("file", 0, wasi::READ).and_then(wasi::read);
            report.note("text", read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok());
        }
        "say" => {
            eprintln!("a component says");
            report.note("args", std::env::args().collect::<Vec<_>>());
            report
                .note("env", std::env::vars().map(|(name, value)| json!([name, value])).collect::<Vec<_>>());
        }
        other => panic!("no such attack: {other}"),
    }
    println!("{}", report.result());
}
