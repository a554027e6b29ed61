//! A task that tells what it knows: a secret, and a parameter that is none, in every form and on every way out.

use crate::say::ask;
use guests::report::Report;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;

/// What is around a value inside base64, for each alignment.
const BEFORE: [&str; 3] = ["", "a", "ab"];
const AFTER: &str = "zz";

fn text<'a>(params: &'a Value, name: &str) -> &'a str {
    params[name].as_str().unwrap_or_else(|| panic!("the parameter {name} is a text"))
}

fn value(name: &str) -> Value {
    let reply = ask("secret", json!({ "name": name }).to_string().as_bytes()).expect("an answer");
    serde_json::from_str(&reply).expect("JSON")
}

/// Reads secrets and says what they are in words that nobody looks for.
pub(crate) fn told(report: &mut Report, params: &Value) {
    let names = params["names"].as_array().expect("names").iter().filter_map(Value::as_str);
    let backwards = |text: &str| text.chars().rev().collect::<String>();
    let told = |name: &str| match value(name) {
        Value::Object(answer) => {
            let field = |field: &str| answer.get(field).and_then(Value::as_str).map(backwards);
            json!({"value": field("value"), "base64": field("base64"), "error": answer.get("error")})
        }
        other => other,
    };
    report.note("told", names.map(|name| (name.to_owned(), told(name))).collect::<serde_json::Map<_, _>>());
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let bits =
            chunk.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        (0..4).map(move |at| match at <= chunk.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        })
    });
    digits.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("to a text");
        text
    })
}

/// Raw, JSON-, URL- and shell-escaped, base64 at each alignment, hex in either case.
fn forms(value: &str) -> Vec<String> {
    let json = Value::from(value).to_string();
    let url = value.bytes().fold(String::new(), |mut text, byte| {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => text.push(char::from(byte)),
            false => write!(text, "%{byte:02X}").expect("to a text"),
        }
        text
    });
    let hex = hex(value.as_bytes());
    let mut forms = vec![value.to_owned(), json, url, value.replace('\'', r"'\''"), hex.to_uppercase(), hex];
    forms.extend(BEFORE.map(|before| base64(format!("{before}{value}{AFTER}").as_bytes())));
    forms.push(base64(value.as_bytes()));
    forms
}

/// In one write, in two that meet in its middle, and in pieces that are shorter than anything that is looked for.
fn print(to: &mut impl Write, form: &str) {
    let bytes = form.as_bytes();
    for step in [bytes.len(), bytes.len().div_ceil(2), 3] {
        for piece in bytes.chunks(step) {
            to.write_all(piece).and_then(|()| to.flush()).expect("written");
        }
        to.write_all(b"\n").and_then(|()| to.flush()).expect("written");
    }
}

fn emit(request: Value) {
    ask("emit", request.to_string().as_bytes()).expect("an answer");
}

/// Tells `known`, a parameter, and the secret `name` in all ways that a task has, also to `programs`. With `hold`, a file, a
/// program waits until that is there. Without `print` its stdout is one JSON object.
pub(crate) fn tell(report: &mut Report, params: &Value) {
    let secret = value(text(params, "name"));
    let secret = secret["value"].as_str().unwrap_or_else(|| panic!("a value: {secret}"));
    let known = text(params, "known");
    let directory = text(params, "directory");
    let (prints, programs) = (params["print"] == true, params["programs"] == true);
    let mut calls = Vec::new();
    for value in [secret, known] {
        for form in forms(value) {
            if prints {
                print(&mut std::io::stdout(), &form);
            }
            print(&mut std::io::stderr(), &form);
            emit(json!({ "log": form }));
            // Where a line of the log, a text and a subject are cut, in the middle of it.
            let half = form.len() / 2;
            emit(json!({ "log": format!("{}{form}", "-".repeat(8192 - half)) }));
            for before in [0, 512 - half] {
                emit(json!({"progress": {"done": 1, "text": format!("{}{form}", "-".repeat(before))}}));
            }
        }
        if params["calls"] == false {
            continue;
        }
        // One is refused and the other is not: records, and the text of a problem.
        for path in [format!("/nowhere/{value}"), format!("{directory}/{value}")] {
            calls.push(ask("file", json!({"op": "stat", "path": path}).to_string().as_bytes()));
        }
        let name = format!("{}{value}", "n".repeat(512 - value.len() / 2));
        calls.push(ask("task", json!({"name": name, "params": {}}).to_string().as_bytes()));
        let streams = if prints { ["inherit", "capture"] } else { ["capture", "null"] };
        for stream in streams.into_iter().filter(|_| programs) {
            let request = json!({"argv": ["/bin/cat"], "stdin": value, "stdout": stream});
            calls.push(ask("exec", request.to_string().as_bytes()));
        }
    }
    if let Some(hold) = params["hold"].as_str() {
        std::fs::write(format!("{directory}/known"), known).expect("written");
        emit(json!({"log": "holding"}));
        let wait = r#"x=$(cat); while [ ! -e "$1" ]; do sleep 0.05; done; printf '%s\n' "$x""#;
        let request = json!({
            "argv": ["/bin/sh", "-c", wait, known, hold],
            "env": {"KNOWN": known},
            "stdin": if programs { format!("{secret} {known}") } else { known.to_owned() },
            "stdout": if prints { "inherit" } else { "null" },
        });
        calls.push(ask("exec", request.to_string().as_bytes()));
    }
    // The last one always comes through.
    emit(json!({"progress": {"done": 2, "text": format!("{secret} {known}")}}));
    if params["write"] == true {
        std::fs::write(format!("{directory}/written"), format!("{secret}\n{known}\n")).expect("written");
    }
    if params["fail"] == true {
        eprintln!("{secret} {known}");
        std::process::exit(1);
    }
    report.note("value", secret);
    report.note("known", known);
    report.note("forms", forms(secret));
    report.note("forms_of_known", forms(known));
    let answered = calls.iter().filter(|reply| reply.is_ok()).count();
    report.note("answered", answered == calls.len());
}
