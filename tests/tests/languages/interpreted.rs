//! What the tasks tests/languages/LANG/calls.* of three languages do, all with the same answer: each calls everything that
//! the binding has.

use crate::calls;
use crate::project::{Project, TARGET, repository};
use crate::scene::{BLOB_BYTES, Scene, kernel};
use serde_json::json;
use std::fs;
use std::path::Path;
use waft_tests::Result;

/// Puts tests/languages/FILE into the project, which asks for whatever it is given then.
pub(crate) fn put(project: &Project, file: &str, place: &str) {
    fs::remove_file(project.wasm().with_extension("toml")).expect("a manifest");
    fs::copy(repository().join("tests/languages").join(file), project.path(place)).expect("copied");
}

/// Runs tests of the binding itself, tests/languages/LANG/FILE, in the project: the last of the program's words is the file.
pub(crate) fn tests_pass(project: &Project, language: &str, program: &str, words: &[&str]) -> Result<()> {
    let file = words.last().expect("a file");
    fs::copy(calls::source(language, file), project.path(file)).expect("copied");
    let tested = project.program(program, words)?;
    assert!(tested.status.success(), "{}{}", tested.stdout_text(), tested.stderr_text());
    Ok(())
}

/// A component is a snapshot of when it was built, with the state of its generators: each run has to seed them anew.
pub(crate) fn draws_other_numbers_each_time(project: &Project) -> Result<()> {
    let [first, second] = [(); 2].map(|()| project.result(None, &["-p", "only=random"], 0));
    let (first, second) = (first?, second?);
    let drawn = [&first, &second].map(|result| &result["result"]["drawn"]);
    assert!(drawn[0].is_f64() && drawn[0] != drawn[1], "{first} {second}");
    Ok(())
}

/// Runs the module of a project that was built from such a file.
pub(crate) fn calls_everything(project: &Project) -> Result<()> {
    let scene = Scene::new()?;
    let output = scene.run(project, &project.wasm(), &[], "geheimes Wort")?;
    let kernel = kernel();
    let expected = json!({
        "changed": true,
        "facts": kernel,
        "exec": [[97, 255, 98], 0, "grant.missing"],
        "file": ["file", "0644", true, false, "symlink"],
        "written": "h\u{e9}llo",
        "net": [["127.0.0.1"], "HELLO THERE"],
        "task": kernel,
        "blob": [BLOB_BYTES, BLOB_BYTES, scene.sum],
        // As it is, it would not be shown.
        "secret": "troW semieheg",
        "wrong": "file.request",
        "check": false,
    });
    assert_eq!(output.result_of(TARGET)?["result"], expected, "{output}");
    assert_eq!(fs::read_link(scene.given().join("c")).expect("renamed"), Path::new("file"));
    assert_eq!(scene.end(&output)?.0, "hello there");
    Ok(())
}
