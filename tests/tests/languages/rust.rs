use crate::page;
use crate::project::{Project, TARGET, lab, repository};
use crate::scene::{BLOB_BYTES, Scene, kernel};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use waft_tests::Result;
use waft_tests::waft::Waft;

/// Of a module as the template makes it, bytes.
const MODULE_BYTES_MAX: u64 = 200 * 1000;

#[test]
fn what_is_new_builds_tests_and_runs() -> Result<()> {
    let (project, said) = page::followed("rust", "greets-rust")?;
    // What cargo says after warnings of the compiler.
    assert!(!said.contains(" generated "), "{said}");
    let bytes = fs::metadata(project.wasm()).expect("a module").len();
    assert!(bytes <= MODULE_BYTES_MAX, "{bytes}");
    assert!(said.contains("it_greets ... ok") && said.contains("3 passed"), "{said}");
    // Of the dry run, which is the last.
    assert!(said.contains("+Hello, you!"), "{said}");
    project.greets()?;

    let lab = lab()?;
    let dir = tempfile::Builder::new().prefix("waft-greeting-").tempdir_in("/tmp").expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let file = dir.path().join("greeting");
    let (path, grant) = (format!("path={}", file.display()), format!("fs:{}:rw", dir.path().display()));
    let words = ["-p", "name=you", "-p", &path, "--allow", &grant];

    let checked = project.run(Some(&lab), &[&words[..], &["--check", "--diff"]].concat())?.expect_code(0)?;
    assert!(checked.stdout().contains("+Hello, you!"), "{checked}");
    assert!(!file.exists(), "a dry run wrote");
    for (status, changed) in [("changed", true), ("ok", false)] {
        let result = project.result(Some(&lab), &words, 0)?;
        assert_eq!(
            (&result["status"], &result["result"]["changed"]),
            (&status.into(), &changed.into()),
            "{result}"
        );
        assert_eq!(fs::read_to_string(&file).expect("a file"), "Hello, you!\n");
    }
    // What the task was not given the host refuses, with the line to paste.
    let refused = project.result(Some(&lab), &["-p", "name=you", "-p", &path], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    assert!(refused["error"]["hint"].as_str().is_some_and(|hint| hint.contains("--allow fs:")), "{refused}");
    Ok(())
}

/// Of `waft_v1`, sorted.
const IMPORTS: [&str; 11] =
    ["blob", "emit", "exec", "facts", "file", "net", "read", "secret", "take", "task", "write"];
/// Beyond what each needs.
const GRANTS: [&str; 3] = ["exec:/usr/bin/env", "exec:/bin/sleep 60", "env:GREETING"];

#[test]
fn every_import_can_be_called_by_the_crate() -> Result<()> {
    let project = Project::new("rust", "calls")?;
    let source = repository().join("tests/languages/rust/calls.rs");
    fs::copy(source, project.path("src/main.rs")).expect("copied");
    project.make(None)?;
    let module = fs::read(project.wasm()).expect("a module");
    assert_eq!(waft::manifest::imports(&module)["waft_v1"], IMPORTS);

    let scene = Scene::new()?;
    let output = scene.run(&project, &project.wasm(), &GRANTS, "geheimes Wort")?;
    let kernel = kernel();
    let expected = json!({
        "changed": true,
        "facts": [kernel, kernel],
        "exec": [[97, 255, 0, 98], 0, true, true, "grant.missing"],
        "file": {
            "stat": ["file", "0644", 5, null],
            "chmod": [true, false],
            "chown": false,
            "symlink": [true, "file", 5],
            "rename": [true, [true, true, true]],
            "utime": [true, "1767225600.500000000"],
            "xattr": [true, ["user.x"], [97, 255], true],
        },
        "net": [["127.0.0.1"], true, "HELLO OVER THERE"],
        "task": {"changed": false, "facts": {"kernel": kernel}},
        "blob": [BLOB_BYTES, scene.sum, BLOB_BYTES, [2, 3, 4], "blob.bin"],
        "secret": "troW semieheg".as_bytes(),
        "refused": "grant.missing",
        "wrong": "file.request",
        "check": false,
    });
    assert_eq!(output.result_of(TARGET)?["result"], expected, "{output}");
    assert_eq!(fs::read_link(scene.given().join("c")).expect("exchanged"), Path::new("file"));
    assert_eq!(scene.end(&output)?.0, "hello over there");
    Ok(())
}

#[test]
fn what_is_wrong_is_told_where_it_is() -> Result<()> {
    let project = Project::new("rust", "wrong")?;
    let source = fs::read_to_string(project.path("src/main.rs")).expect("the template");
    for (right, wrong, said) in [
        (
            "min_length = 1",
            "min_lenght = 1",
            "src/main.rs:9:13: error: `min_lenght` is no word of `#[param(..)]`",
        ),
        ("name: String", "name: std::time::Instant", "error: `min_length` is said of a String"),
        ("path: Option<String>", "path: Option<std::time::Instant>", "is not the type of a parameter"),
        ("check)]", "chek)]", "error: `chek` is no word of `#[waft::task]`; known are name"),
        ("run(params: Greeting)", "run(params: String)", "String` is not the parameters of a task"),
        (
            "-> Result<Outcome> {",
            "-> Result<Outcome, u8> {",
            "src/main.rs:17:26: error[E0277]: the trait bound `waft_sdk::Error: From<u8>`",
        ),
        ("-> Result<Outcome> {", "{", "error: a task returns its outcome: -> waft::Result<Outcome>"),
    ] {
        let changed = source.replacen(right, wrong, 1);
        assert_ne!(changed, source, "{right}");
        fs::write(project.path("src/main.rs"), changed).expect("written");
        let checked = project.program("cargo", &["check", "--message-format", "short"])?;
        assert!(
            !checked.status.success() && checked.stderr_text().contains(said),
            "{}",
            checked.stderr_text()
        );
    }
    // Over what is there nothing is written; and what is wrong with the command is all told.
    let again = Waft::new("new")?.args(["task", "wrong", "--lang", "rust", "--dir"]).arg(project.path(""));
    let again = again.run()?.expect_code(2)?;
    assert!(again.stderr().contains("is there already, and is not empty"), "{again}");
    let unknown = Waft::new("new")?.args(["task", "wrong", "--lang", "rsut"]).run()?.expect_code(2)?;
    assert!(unknown.stderr().contains("'rust'"), "{unknown}");
    let name = Waft::new("new")?.args(["task", "a/b", "--lang", "rust"]).run()?.expect_code(2)?;
    assert!(name.stderr().contains("`a/b` is no name"), "{name}");
    Ok(())
}
