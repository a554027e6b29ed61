//! docs/task-authors.md, as a user follows it: the lines under the heading of a language are typed one after another, in an
//! empty directory, with the usual toolchain of that language in PATH.

use crate::project::{Project, TARGET, lab, repository};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use waft_tests::{Error, Result};

/// What a project is called on the page.
const NAME: &str = "greet";
/// From nothing to a first result.
const FIRST_RESULT: [&str; 3] = ["waft new ", "make ", "waft run "];
/// What the page has the tasks say.
const GREETING: &str = "Hello, you!";

/// Lines that are not typed here: how they begin, and why.
const NOT_TYPED: [(&str, &str); 2] = [
    (
        "rustup target add ",
        "where rustup can download nothing, scripts/wasm-toolchain.sh has made the target",
    ),
    ("sudo apt-get install ", "it would change this machine; scripts/languages/c.sh has asked for the same"),
];

/// Where the page writes. Here it writes to a directory of its own in there, which the templates ask for as well.
const PLACE: &str = "/tmp/";

/// Follows the page with a project of this name; what was made, and all that was said. Whatever runs with `-t local` then runs
/// on a target behind a real sshd as well.
pub(crate) fn followed(language: &str, name: &str) -> Result<(Project, String)> {
    let page = fs::read_to_string(repository().join("docs/task-authors.md")).expect("the page");
    let dir = tempfile::Builder::new().prefix("waft-page-").tempdir_in(PLACE).expect("a directory");
    // The target's user may come by.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a mode");
    let own_place = format!("{}/", dir.path().display());
    let lines = lines(&section(&page, language).replace(PLACE, &own_place), name);
    let typed =
        || lines.iter().filter(|(line, _)| NOT_TYPED.iter().all(|(start, _)| !line.starts_with(start)));
    is_short(typed().map(|(line, _)| line.as_str()), name);

    let project = Project::none_yet(language, name)?;
    let lab = lab()?;
    let mut all = String::new();
    for (line, comment) in typed() {
        let said = project.typed(line)?;
        if line.starts_with("make ") {
            is_what_make_does(&project, line, comment)?;
        }
        if let Some(words) = line.strip_prefix("waft run ") {
            assert!(said.contains(GREETING), "{line}\n{said}");
            let words: Vec<&str> = words.split(' ').collect();
            let [module, "-t", "local", words @ ..] = &words[..] else {
                return Err(Error::new(format!("{line}: expected `waft run MODULE -t local ..`")));
            };
            assert_eq!(project.wasm().strip_prefix(project.top()).ok(), Some(Path::new(module)), "{line}");
            let there = project.run(Some(&lab), words)?.expect_code(0)?;
            assert!(format!("{}{}", there.stdout(), there.stderr()).contains(GREETING), "{line}: {there}");
            let result = there.result_of(TARGET)?;
            assert!(matches!(result["status"].as_str(), Some("ok" | "changed")), "{result}");
        }
        all.push_str(&said);
    }
    for made in typed().filter_map(|(line, _)| line.strip_prefix("mkdir ")) {
        assert_eq!(fs::read_dir(made).expect("a directory").count(), 0, "a dry run wrote to {made}");
    }
    Ok((project, all))
}

/// The part of the page that is about a language.
fn section<'a>(page: &'a str, language: &str) -> &'a str {
    let new = format!("    waft new task {NAME} --lang {language}\n");
    let mut about = page.split("\n## ").filter(|section| section.contains(&new));
    let section = about.next().unwrap_or_else(|| panic!("the page says nothing of {language}"));
    assert!(about.next().is_none(), "two sections of the page are about {language}");
    section
}

/// The lines to type, each with its comment, for a project of this name. What is between fences is code.
fn lines(section: &str, name: &str) -> Vec<(String, String)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in section.lines() {
        is_code ^= line.starts_with("```");
        if let (false, Some(line)) = (is_code, line.strip_prefix("    ")) {
            let (line, comment) = line.split_once("  # ").unwrap_or((line, ""));
            lines.push((named(line.trim(), name), named(comment.trim(), name)));
        }
    }
    lines
}

/// The text with this name in place of the page's, where that is a word.
fn named(text: &str, name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric();
    let mut named = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(NAME) {
        let (before, after) = (&rest[..at], &rest[at + NAME.len()..]);
        let is_other = before.ends_with(is_word) || after.starts_with(is_word);
        named.push_str(before);
        named.push_str(if is_other { NAME } else { name });
        rest = after;
    }
    named + rest
}

/// `waft new`, `make`, `waft run`, and no more than that.
fn is_short<'a>(lines: impl Iterator<Item = &'a str>, name: &str) {
    let test = format!("make -C {name} test");
    let lines: Vec<&str> =
        lines.skip_while(|line| !line.starts_with("waft new ")).filter(|line| *line != test).collect();
    let first = lines.iter().position(|line| line.starts_with("waft run ")).map_or(0, |at| at + 1);
    let is_so = first == FIRST_RESULT.len()
        && lines.iter().zip(FIRST_RESULT).all(|(line, start)| line.starts_with(start));
    assert!(is_so, "three commands from `waft new` to a first result, not {lines:#?}");
}

/// What the page says beside a line with `make` is what `make` does; `..` stands for anything.
fn is_what_make_does(project: &Project, line: &str, comment: &str) -> Result<()> {
    let does = project.typed(&format!("{line} --always-make --dry-run"))?;
    let mut rest = does.as_str();
    assert!(!comment.is_empty(), "{line}: the page does not say what that does");
    for piece in comment.split(" .. ") {
        let Some((_, after)) = rest.split_once(piece) else {
            return Err(Error::new(format!("{line}: the page says {comment}, and make does\n{does}")));
        };
        rest = after;
    }
    Ok(())
}

#[test]
fn the_first_task_is_the_same_on_each_page() {
    let read = |file: &str| fs::read_to_string(repository().join(file)).expect("a page");
    let page = read("docs/task-authors.md");
    let of_rust: Vec<String> =
        lines(section(&page, "rust"), "hello").into_iter().map(|(line, _)| line).collect();
    let readme = read("README.md");
    let readme =
        readme.split("\n## ").find(|section| section.starts_with("Your own tasks")).expect("a section");
    for (first, text) in
        [("README.md", readme), ("the page's beginning", page.split("\n## ").next().unwrap_or_default())]
    {
        let lines = lines(text, "hello");
        for (line, _) in &lines[..FIRST_RESULT.len()] {
            assert!(of_rust.contains(line), "{first}: {line} is none of {of_rust:#?}");
        }
        is_short(lines.iter().map(|(line, _)| line.as_str()).take(FIRST_RESULT.len()), "hello");
        // Languages that are named, and no other.
        let known = lines[0].1.strip_prefix("or ").expect("other languages").split(", ");
        for language in known {
            section(&page, language);
        }
    }
}

/// What the pages and templates name is what the tests have in PATH.
#[test]
fn versions_are_those_that_are_tested() {
    let read = |file: &str| fs::read_to_string(repository().join(file)).expect("a file");
    for (script, variable, said) in [
        (
            "zig",
            "version",
            &[("docs/task-authors.md", "ziglang=="), ("sdk/templates/zig/README.md", "ziglang==")][..],
        ),
        ("python", "version", &[("sdk/templates/python/README.md", "componentize-py==")]),
        ("javascript", "version", &[("sdk/templates/javascript/package.json", "\"componentize-qjs\": \"")]),
        (
            "assemblyscript",
            "compiler",
            &[("sdk/templates/assemblyscript/package.json", "\"assemblyscript\": \"")],
        ),
        ("assemblyscript", "shim", &[("sdk/templates/assemblyscript/package.json", "wasi-shim\": \"")]),
    ] {
        let script = read(&format!("scripts/languages/{script}.sh"));
        let mut words = script.split_whitespace();
        let version =
            words.find_map(|word| word.strip_prefix(variable)?.strip_prefix('=')).expect("a version");
        for (file, before) in said {
            let named = format!("{before}{version}");
            assert!(read(file).contains(&named), "{file} does not say {named}");
        }
    }
}
