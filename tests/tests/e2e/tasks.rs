//! `waft task`: lists, pages, and files of tasks, as a user types it.

use crate::LIMIT;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use waft_tests::Result;
use waft_tests::waft::{Output, Waft};

const MANIFEST: &str = "name = 'hello'
version = '1.0'
description = 'Greets. Nothing else.'
grants = ['facts']
[params.who]
type = 'string'
required = true
sensitive = true
[[examples]]
params = { who = 'the world' }
";

/// A command with names, and with a section that no runtime needs.
const MODULE: &str = r#"(module (@custom "producers" "somebody")
  (func $inner unreachable) (func $outer (call $inner))
  (memory (export "memory") 1) (func (export "_start") (call $outer)))"#;

fn task(words: &[&str], path: &Path) -> Result<Output> {
    Waft::new("task")?.args(words).env("WAFT_PATH", path).limit(LIMIT).run()
}

fn written(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(&path, bytes).expect("written");
    path
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout()).expect("one document")
}

#[test]
fn what_a_name_can_mean_is_listed_and_what_is_broken_with_its_problem() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let module = wat::parse_str(MODULE).expect("a module");
    written(dir.path(), "db/hello.wasm", &module);
    written(dir.path(), "db/hello.toml", MANIFEST.as_bytes());
    let output = task(&["list"], dir.path())?.expect_code(0)?;
    let row = |name: &str| {
        let text = output.stdout();
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.map(str::to_owned).unwrap_or_else(|| panic!("{name} in {output}"))
    };
    assert!(row("db/hello").contains(" 1.0 ") && row("db/hello").contains("Greets"), "{output}");
    assert!(row("facts").contains("built in"), "{output}");
    written(dir.path(), "broken.wasm", b"no module");
    written(dir.path(), "bad.wasm", &module);
    written(dir.path(), "bad.toml", b"nmae = 1\nversion = 2\n");
    let output = task(&["list"], dir.path())?.expect_code(2)?;
    assert!(output.stdout().contains("db/hello"), "the others are listed: {output}");
    for words in ["broken", "bad.toml, line 1: `nmae` is no key", "bad.toml, line 2", "did you mean `name`?"]
    {
        assert!(output.stderr().contains(words), "{words} in {output}");
    }
    let list = json(&task(&["list", "--format", "json"], dir.path())?.expect_code(2)?);
    let of = |name: &str| {
        let found = list["tasks"].as_array().into_iter().flatten().find(|task| task["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {list}")).clone()
    };
    assert_eq!((&list["v"], of("db/hello")["version"].as_str()), (&1.into(), Some("1.0")));
    assert_eq!(of("broken")["problems"][0]["code"], "task.not_wasm");
    assert_eq!(of("bad")["problems"].as_array().map(Vec::len), Some(2));
    Ok(())
}

#[test]
fn a_manifest_is_put_in_shown_and_kept_when_the_rest_is_stripped() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let raw = written(dir.path(), "raw.wasm", &wat::parse_str(MODULE).expect("a module"));
    let manifest = written(dir.path(), "m.toml", MANIFEST.as_bytes());
    let (raw, manifest) = (raw.display().to_string(), manifest.display().to_string());
    let made = dir.path().join("hello.wasm").display().to_string();
    let output = task(&["embed", &raw, &manifest, "-o", &made], dir.path())?.expect_code(0)?;
    assert!(output.stdout().contains(&format!("{} of them the manifest", MANIFEST.len())), "{output}");
    let bytes = fs::read(&made).expect("made");
    // In place, and the same again.
    task(&["embed", &made, &manifest], dir.path())?.expect_code(0)?;
    assert_eq!(fs::read(&made).expect("made"), bytes);
    let shown = task(&["show", "hello"], dir.path())?.expect_code(0)?;
    assert!(shown.stdout().contains("  who: string, required, sensitive\n"), "{shown}");
    assert!(shown.stdout().contains("  waft run hello -t web1 -p \"who=the world\"\n"), "{shown}");
    let told = json(&task(&["show", &made, "--format", "json"], dir.path())?.expect_code(0)?);
    assert_eq!(told["params"]["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(told["params"]["required"], serde_json::json!(["who"]));
    let page = task(&["doc", "hello"], dir.path())?.expect_code(0)?;
    assert!(page.stdout().starts_with("# hello\n\nGreets. Nothing else.\n"), "{page}");
    assert!(task(&["doc", "--all"], dir.path())?.expect_code(0)?.stdout().contains("\n## facts\n"));
    // A trap names the functions as long as the names are there, and says how to keep them.
    let message = |words: &[&str]| -> Result<(String, String)> {
        let run = Waft::new("run")?.arg(&made).args(["-t", "local", "-p", "who=me", "--format", "jsonl"]);
        let error = run.args(words).limit(LIMIT).run()?.expect_code(3)?.result_of("local")?["error"].clone();
        assert_eq!(error["code"], "task.trap", "{error}");
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        Ok((text("message"), text("hint")))
    };
    let (named, _) = message(&[])?;
    assert!(named.contains("`inner`") && named.contains("`outer`"), "{named}");
    task(&["strip", &made, "--keep-names"], dir.path())?.expect_code(0)?;
    assert!(message(&[])?.0.contains("`inner`"));
    let output = task(&["strip", &made, "--format", "json"], dir.path())?.expect_code(0)?;
    assert!(json(&output)["bytes"].as_u64() < json(&output)["before_bytes"].as_u64(), "{output}");
    let (nameless, hint) = message(&[])?;
    assert!(
        !nameless.contains("inner") && hint.contains("waft task strip --keep-names"),
        "{nameless} {hint}"
    );
    let left = fs::read(&made).expect("stripped");
    assert!(!left.windows(8).any(|part| part == b"somebody"));
    assert!(task(&["show", &made], dir.path())?.expect_code(0)?.stdout().contains("version: 1.0"));
    Ok(())
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_written() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let raw = written(dir.path(), "raw.wasm", &wat::parse_str(MODULE).expect("a module"));
    let bad = written(dir.path(), "bad.toml", b"[params.a]\ntype = 'text'\n[params.b]\nrequired = 1\n");
    let text = written(dir.path(), "text.wasm", b"(module)");
    let names = [&raw, &bad, &text].map(|path| path.display().to_string());
    let [raw, bad, text] = names.each_ref().map(String::as_str);
    let before = fs::read(raw).expect("there");
    let output = task(&["embed", raw, bad], dir.path())?.expect_code(2)?;
    assert_eq!(output.stderr().matches("error:").count(), 2, "{output}");
    assert!(output.stderr().contains("bad.toml, line 2: `type` is `text`"), "{output}");
    assert_eq!(fs::read(raw).expect("there"), before);
    for words in [
        &["embed", text, bad][..],
        &["strip", text],
        &["show", text],
        &["show", "nothing"],
        &["doc", "nothing"],
    ] {
        let output = task(words, dir.path())?.expect_code(2)?;
        assert!(output.stderr().contains("error:") && output.stdout().is_empty(), "{output}");
    }
    task(&["doc"], dir.path())?.expect_code(2)?;
    task(&["strip", raw, "-o", "/nonexistent/x.wasm"], dir.path())?.expect_code(2)?;
    Ok(())
}
