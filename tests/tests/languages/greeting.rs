//! The templates whose task keeps a greeting in a file.

use crate::project::{Project, lab};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use waft_tests::Result;

/// A project that no other run of the tests has the name of, because the task writes to /tmp/NAME.txt where it is told no
/// place; that file is removed.
pub(crate) struct Kept {
    name: String,
    file: PathBuf,
}

impl Kept {
    pub(crate) fn new(language: &str) -> Kept {
        let name = format!("greets-{language}-{}", std::process::id());
        let file = PathBuf::from(format!("/tmp/{name}.txt"));
        Kept { name, file }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Here, and over sshd: it greets, and once; a dry run says what it would do; what it cannot use it refuses, and what it
/// was not given it says.
pub(crate) fn keeps(project: &Project, kept: &Kept) -> Result<()> {
    as_the_page_says(project, kept)?;
    let lab = lab()?;
    let dir = tempfile::Builder::new().prefix("waft-greeting-").tempdir_in("/tmp").expect("a directory");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a mode");
    for (lab, file) in [(None, "here"), (Some(&lab), "there")] {
        let file = dir.path().join(file);
        let text = || fs::read_to_string(&file).expect("a greeting");
        let path = format!("path={}", file.display());
        let grant = format!("fs:{}:rw", dir.path().display());
        let words = |name: &'static str| ["-p", path.as_str(), "-p", name, "--allow", grant.as_str()];

        let first = project.result(lab, &words("name=y\"ö\\u"), 0)?;
        assert_eq!(
            (&first["status"], &first["result"]["changed"]),
            (&"changed".into(), &true.into()),
            "{first}"
        );
        assert_eq!(first["result"]["line"], "Hello, y\"ö\\u!", "{first}");
        assert_eq!(text(), "Hello, y\"ö\\u!\n");
        let again = project.result(lab, &words("name=y\"ö\\u"), 0)?;
        assert_eq!((&again["status"], &again["result"]["changed"]), (&"ok".into(), &false.into()), "{again}");

        let check =
            project.run(lab, &[&words("name=me")[..], &["--check", "--diff"]].concat())?.expect_code(0)?;
        assert!(format!("{}{}", check.stdout(), check.stderr()).contains("+Hello, me!"), "{check}");
        assert_eq!(text(), "Hello, y\"ö\\u!\n");

        // By the manifest, or by the task itself: the problem names the parameter.
        let wrong = project.run(lab, &words("nmae=me"))?;
        assert!(matches!(wrong.code(), Some(2 | 3)), "{wrong}");
        assert!(format!("{}{}", wrong.stdout(), wrong.stderr()).contains("nmae"), "{wrong}");
        // What no manifest can say is for the task.
        let wrong = project.result(lab, &["-p", "path=here", "--allow", &grant], 3)?;
        assert_eq!((problem(&wrong), &wrong["exit_code"]), ("params.path", &2.into()), "{wrong}");

        let refused = project.result(lab, &["-p", path.as_str()], 5)?;
        assert_eq!(
            (&refused["status"], problem(&refused)),
            (&"refused".into(), "grant.missing"),
            "{refused}"
        );
        assert!(
            refused["error"]["hint"].as_str().is_some_and(|hint| hint.contains("--allow fs:")),
            "{refused}"
        );
        assert_eq!(text(), "Hello, y\"ö\\u!\n");
    }
    Ok(())
}

/// What the template's page says that `make` is makes the same module; and the command that it and `waft new` end with runs.
fn as_the_page_says(project: &Project, kept: &Kept) -> Result<()> {
    let wasm = project.wasm();
    let page = fs::read_to_string(project.path("README.md")).expect("a page");
    fs::remove_file(&wasm).expect("removed");
    let said = project.make(None)?;
    let made = fs::read(&wasm).expect("a module");
    fs::remove_file(&wasm).expect("removed");
    let typed =
        page.split_once("`make` is `").and_then(|(_, rest)| rest.split('`').next()).expect("a command");
    // What the page says of Debian's clang.
    let typed = match said.contains("--target=wasm32-wasi ") && page.contains("`wasm32-wasi`") {
        true => typed.replace("wasm32-wasip1", "wasm32-wasi"),
        false => typed.to_owned(),
    };
    let built = project.program("sh", &["-c", &typed])?;
    assert!(built.status.success(), "{typed}: {}", built.stderr_text());
    assert!(fs::read(&wasm).expect("a module") == made, "{typed} makes another module than make");
    let command = format!("waft run {}.wasm -t local -p name=you --allow asked", kept.name);
    assert!(page.lines().any(|line| line.trim() == command), "{page}");
    // The page's own line has made it.
    fs::remove_file(&kept.file).expect("a greeting");
    let first = project.result(None, &["-p", "name=you", "--allow", "asked"], 0)?;
    assert_eq!(first["status"], "changed", "{first}");
    assert_eq!(fs::read_to_string(&kept.file).expect("a greeting"), "Hello, you!\n");
    Ok(())
}

/// The code of the task's own error.
fn problem(result: &Value) -> &str {
    result["result"]["error"]["code"].as_str().unwrap_or_default()
}
