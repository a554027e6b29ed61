//! What a task says: to the stub in calls, and to the operator in output, results, errors and names.

use super::arena::{Arena, attacks, held, shape};
use crate::LIMIT;
use serde_json::json;
use std::fs;
use waft_proto::run::Status;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::waft::{Output, Waft};

/// Sets a window's title, clears the screen, asks for the cursor, rings; and the same with one byte less.
const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[6n\u{9b}31m\u{8}\r\u{202e}";

#[test]
fn requests_that_are_deep_or_odd_are_answered() -> Result<()> {
    let arena = Arena::new()?;
    let guard = LeakGuard::start();
    let mut link = arena.connect(None)?;
    for (place, result) in arena.run(&mut link, arena.attack("deep-call"))? {
        // Nine requests to each of eight functions.
        assert_eq!(held(place, &result)["tried"], 72, "{}", place.name);
    }
    arena.stands(&mut link)?;
    // A result that is deep is output, and no more.
    for depth in [100, 200, 300_000] {
        for (place, result) in
            arena.run(&mut link, arena.with(json!({"attack": "deep-result", "depth": depth})))?
        {
            assert_eq!(result.status, Status::Ok, "{}: {:?}", place.name, result.problem);
            assert_eq!(result.stdout.len(), 2 * depth + 7, "{}", place.name);
            assert!(depth == 100 || result.result.is_none(), "{}", place.name);
        }
    }
    arena.stands(&mut link)?;
    link.stop()?;
    guard.check()
}

fn plain(what: &str, output: &Output) {
    for text in [output.stdout(), output.stderr()] {
        let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None, "{what}: {text:?}");
    }
}

/// waft's own colours are on a terminal, and lines that are drawn anew; none of these.
const OWNED: [&str; 6] = ["\u{1b}]0;", "\u{1b}[2J", "\u{1b}[6n", "\u{9b}", "\u{7}", "\u{202e}"];

#[test]
fn no_word_of_a_task_reaches_the_terminal_unescaped() -> Result<()> {
    let lab = Lab::of(2)?;
    let guard = LeakGuard::start();
    let task = |name: &str, wasm: &[u8]| {
        let path = lab.dir.path().join(name);
        fs::write(&path, wasm).expect("written");
        path
    };
    let wasm = attacks()?;
    let result = json!({"changed": true, "msg": EVIL, EVIL: EVIL}).to_string();
    // JSON allows most of them as they are.
    let raw = format!(r#"{{"changed":true,"msg":"{}"}}"#, "\u{9b}31m\u{202e}\u{7f}");
    let says = |stdout: &str, stderr: &str, code: u8| json!({"attack": "say", "stdout": stdout, "stderr": stderr, "code": code});
    let cases = [
        ("output of a failure", task("c.wasm", &wasm), says(EVIL, EVIL, 7), 3),
        ("a result", task("d.wasm", &wasm), says(&result, "", 0), 0),
        ("a raw result", task("e.wasm", &wasm), says(&raw, "", 0), 0),
        ("the name of a function", task("f.wasm", &shape("odd-names")), json!({}), 3),
        ("the name of the task", task("\u{1b}[2J\u{9b}g.wasm", &wasm), says("hello", "", 7), 3),
    ];
    let file = lab.dir.path().join("params.json");
    for (what, task, params, code) in cases {
        fs::write(&file, params.to_string()).expect("written");
        let waft = |target: &str, format: &str| -> Result<Waft> {
            let waft =
                Waft::new("run")?.lab(&lab).arg(&task).args(["-t", target, "--format", format, "--params"]);
            // Compiled once.
            Ok(waft.arg(&file).env("XDG_CACHE_HOME", lab.dir.path()).limit(LIMIT))
        };
        for format in ["human", "jsonl"] {
            // Of a single target a pipe gets the bytes as they are.
            let output = waft("all", format)?.run()?.expect_code(code)?;
            assert!(!output.stdout().is_empty() || !output.stderr().is_empty(), "{what}");
            plain(&format!("{what}, {format}"), &output);
        }
        let mut terminal = waft("h1", "human")?.on_terminal()?;
        assert_eq!(terminal.end()?, Some(code), "{what}: {:?}", terminal.text());
        let shown = terminal.text();
        let owned = OWNED.iter().find(|sequence| shown.contains(**sequence));
        assert_eq!(owned, None, "{what}: {shown:?}");
    }
    guard.check()
}
