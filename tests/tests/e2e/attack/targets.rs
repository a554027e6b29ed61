//! Targets that belong to somebody else: `tests/reader/hostile_target.py`, which speaks the protocol and says what it should
//! not. waft goes on, every other target gets what is its own, and no byte reaches a terminal as it came.

use crate::LIMIT;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft};

const HOSTILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reader/hostile_target.py");
/// The one that lies, and one beside it.
const LIAR: &str = "t1";
const GOOD: &str = "t2";
/// What none of these may do to a terminal.
const OWNED: [&str; 8] =
    ["\u{1b}]0;", "\u{1b}[2J", "\u{1b}[6n", "\u{9b}", "\u{7}", "\u{8}", "\u{202e}", "\u{2066}"];

struct Place {
    lab: Lab,
    task: PathBuf,
}

impl Place {
    /// Both targets have a stub of the reader's kind installed: this is about the controller.
    fn new() -> Result<Place> {
        let lab = Lab::builder().host(HostSpec::new(LIAR)).host(HostSpec::new(GOOD)).start()?;
        let mut inventory = fs::read_to_string(&lab.inventory).expect("the lab's inventory");
        for name in [LIAR, GOOD] {
            let section = format!("[hosts.{name}]\n");
            assert!(inventory.contains(&section), "{inventory}");
            let installed = format!(
                "{section}installed = \"{}\"\n",
                lab.dir.path().join(format!("stub-{name}")).display()
            );
            inventory = inventory.replace(&section, &installed);
        }
        fs::write(&lab.inventory, inventory).expect("written");
        let task = lab.dir.path().join("task.wasm");
        let text = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
        fs::write(&task, wat::parse_str(text).expect("good text")).expect("written");
        let place = Place { lab, task };
        place.is(GOOD, "good");
        Ok(place)
    }

    /// From now on this target behaves like that.
    fn is(&self, name: &str, manner: &str) {
        let program = match manner {
            "good" => format!("'{}'", HOSTILE.replace("hostile_target", "waft_reader")),
            manner => format!("'{HOSTILE}' '{manner}'"),
        };
        let file = self.lab.dir.path().join(format!("stub-{name}"));
        // Without byte code: it would stay in the source tree.
        fs::write(&file, format!("#!/bin/sh\nexec python3 -B {program} \"$@\"\n")).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
    }

    fn waft(&self, command: &str, target: &str, arguments: &[&str]) -> Result<Waft> {
        let waft = Waft::new(command)?.lab(&self.lab).args(["-t", target]).args(arguments).limit(LIMIT);
        Ok(waft.env("XDG_STATE_HOME", self.lab.dir.path().join("state")))
    }

    fn run(&self, target: &str, arguments: &[&str]) -> Result<Waft> {
        // Compiled once.
        Ok(self
            .waft("run", target, arguments)?
            .arg(&self.task)
            .env("XDG_CACHE_HOME", self.lab.dir.path().join("cache")))
    }
}

fn is_harm(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[track_caller]
fn plain(what: &str, output: &Output) {
    for text in [output.stdout(), output.stderr()] {
        let bad = text.chars().find(|c| is_harm(*c));
        assert_eq!(bad, None, "{what}: {text:?}");
        assert!(!text.contains("panicked"), "{what}: {text}");
        // It made no line of its own, whatever it wrote.
        assert!(!text.lines().any(|line| line.starts_with("web9: ok")), "{what}: {text}");
    }
}

#[test]
fn no_word_of_a_target_reaches_the_terminal_unescaped() -> Result<()> {
    let place = Place::new()?;
    let guard = LeakGuard::start();
    for manner in ["words", "bye", "noise", "others"] {
        place.is(LIAR, manner);
        let lost = matches!(manner, "bye" | "noise");
        let formats = if manner == "words" { &["human", "jsonl"][..] } else { &["human"] };
        for format in formats {
            let arguments = ["--format", format, "-vv"];
            let output =
                place.waft("ping", "all", &arguments)?.run()?.expect_code(if lost { 4 } else { 0 })?;
            plain(&format!("ping, {manner}, {format}"), &output);
            let output = place.run("all", &arguments)?.run()?.expect_code(if lost { 4 } else { 3 })?;
            plain(&format!("run, {manner}, {format}"), &output);
            assert!(!output.stdout().is_empty());
        }
    }
    place.is(LIAR, "words");
    plain("tree", &place.waft("tree", "all", &[])?.run()?);
    for (command, waft) in [("ping", place.waft("ping", LIAR, &["-vv"])?), ("run", place.run(LIAR, &["-v"])?)]
    {
        let mut terminal = waft.on_terminal()?;
        let code = terminal.end()?;
        assert!(matches!(code, Some(0 | 3)), "{command}: {code:?}");
        let shown = terminal.text();
        let owned = OWNED.iter().find(|sequence| shown.contains(**sequence));
        assert_eq!(owned, None, "{command}: {shown:?}");
    }
    // What was kept of it.
    for format in ["human", "json", "jsonl"] {
        let output = Waft::new("audit")?
            .args(["show", "--format", format])
            .env("XDG_STATE_HOME", place.lab.dir.path().join("state"))
            .limit(LIMIT)
            .run()?
            .expect_code(0)?;
        assert!(output.stdout().contains(LIAR), "{output}");
        plain(&format!("audit show, {format}"), &output);
    }
    place.lab.wait_idle()?;
    guard.check()
}

/// How a run ends with a target of this manner.
fn ends(manners: &[(&str, &str)]) -> Result<()> {
    let place = Place::new()?;
    let guard = LeakGuard::start();
    for (manner, expected) in manners {
        place.is(LIAR, manner);
        let output = place.run("all", &["--format", "jsonl"])?.run()?;
        plain(manner, &output);
        let results = output.events_of("result")?;
        assert_eq!(results.len(), 2, "{manner}: one result for each: {output}");
        let of = |name: &str| results.iter().find(|result| result["target"] == name).expect("its result");
        assert_eq!(of(GOOD)["status"], "ok", "{manner}: {output}");
        let told = of(LIAR);
        assert_eq!(told["status"], *expected, "{manner}: {told}");
        assert!(*expected == "changed" || told["error"]["code"].is_string(), "{manner}: {told}");
        let kept = told["stdout"].as_str().map_or(0, str::len);
        assert!(kept <= 1 << 20, "{manner}: {kept} bytes are kept");
        // It begins once, so that it cannot have its running time anew.
        let states = output.events_of("target_state")?;
        let states: Vec<&Value> = states.iter().filter(|state| state["target"] == LIAR).collect();
        let began = states.iter().filter(|state| state["state"] == "running").count();
        assert!(began <= 1, "{manner}: it began {began} times");
        assert!(began == 0 || states.last().is_some_and(|state| state["state"] == "running"), "{manner}");
    }
    place.lab.wait_idle()?;
    guard.check()
}

#[test]
fn a_target_that_breaks_the_protocol_loses_its_link_and_no_other_does() -> Result<()> {
    ends(&[
        ("long hello", "unreachable"),
        ("old hello", "unreachable"),
        ("noise", "unreachable"),
        ("welcome", "lost"),
        ("unknown", "lost"),
        ("long frame", "lost"),
        ("garbage", "lost"),
    ])
}

#[test]
fn what_a_target_says_beyond_its_own_is_dropped() -> Result<()> {
    // More than it was given credit for is read as fast as it is told; what it says of itself is its own.
    ends(&[
        ("bye", "lost"),
        ("flood", "failed"),
        ("others", "failed"),
        ("large", "failed"),
        ("twice", "changed"),
    ])
}

/// As TOML can write it.
const WRITTEN: &str = r"\u001b]0;owned\u0007\u009b2J\r\n\u007f\u202etxt\u2066\u200b";

#[test]
fn no_word_of_an_inventory_reaches_the_terminal_unescaped() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("hosts.toml");
    let file_text = file.display().to_string();
    let mut shown = 0;
    // Some of these are refused: then the refusal names them.
    for host in [
        format!("[hosts.\"a{WRITTEN}\"]\n"),
        "[hosts.\"a\u{202e}\u{2066}b\"]\n".to_owned(),
        format!("[hosts.a]\nhost = \"x{WRITTEN}\"\n"),
        format!("[hosts.a]\nuser = \"x{WRITTEN}\"\n"),
        format!("[hosts.a]\ndir = \"/x{WRITTEN}\"\n"),
        format!("[hosts.a]\ninstalled = \"/x{WRITTEN}\"\n"),
        format!("[hosts.a]\nvia = \"x{WRITTEN}\"\n"),
        format!("[hosts.a]\nallow = [\"fs:/x{WRITTEN}\"]\n"),
        format!("[hosts.a]\n[hosts.a.vars]\n\"x{WRITTEN}\" = \"y{WRITTEN}\"\n"),
        format!("[hosts.a]\n\"x{WRITTEN}\" = 1\n"),
        format!("[hosts.a]\n[groups.\"g{WRITTEN}\"]\nhosts = [\"a\"]\n"),
        "[hosts.a]\nx\u{202e} = \u{9b}\n".to_owned(),
    ] {
        fs::write(&file, &host).expect("written");
        for arguments in [
            &["inventory", "list"][..],
            &["inventory", "show"],
            &["tree", "--dry", "-t", "all"],
            &["explain", "facts", "-t", "all"],
            &["explain", "facts", "-t", "all", "--format", "json"],
        ] {
            let (command, rest) = arguments.split_first().expect("a command");
            let output = Waft::new(command)?.args(rest).args(["-i", &file_text]).limit(LIMIT).run()?;
            plain(&format!("{arguments:?} {host:?}"), &output);
            shown += usize::from(output.code() == Some(0));
        }
    }
    assert!(shown > 10, "only {shown} pages were shown at all");
    Ok(())
}
