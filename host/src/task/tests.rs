//! What `waft task` prints and writes. The tasks that are built in have docs/tasks.md and a page each in docs/tasks: after a
//! wanted change `UPDATE=1 cargo nextest run -p waft the_pages_of_tasks` writes them anew.

use super::module::{embed, strip};
use super::*;
use crate::manifest::agree::{given, may_cover, rights};
use crate::manifest::schema::{Object, Others, Schema};
use crate::manifest::{Place, of_module};
use crate::report::paint::Paint;
use crate::{search, stubs};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waft_proto::grant::GrantSet;

/// What writes the pages.
const UPDATE: &str = "UPDATE=1 cargo nextest run -p waft the_pages_of_tasks, and commit it";

const MANIFEST: &str = r#"
    name = "deploy"
    version = "2.0"
    description = "Puts `it` | there. And <b>more</b> [x](y)."
    grants = ["fs:/srv:rw", "secret:token"]
    check = true
    [secrets.token]
    description = "of the store"
    [params.path]
    type = "string"
    required = true
    description = "Where | it is."
    aliases = ["dest"]
    [params.force]
    type = ["boolean", "string"]
    default = false
    [params.port]
    type = "integer"
    minimum = 1
    maximum = 65535
    [params.tags]
    type = "array"
    items = { type = "string" }
    [params.mounts]
    type = "array"
    items = { type = "object", properties = { path = { type = "string", pattern = "^/|x" } } }
    [params.src]
    type = "file"
    [params.password]
    type = "string"
    sensitive = true
    [result.state]
    type = "string"
    enum = ["a", "b"]
    description = "What it is now."
    [[examples]]
    description = "Everything at once"
    grants = ["fs:/srv:rw", "exec:sh -c *"]
    [examples.params]
    path = "/srv/it's"
    force = "yes"
    port = 22
    tags = ["a b", "c"]
    mounts = [{ path = "/x" }]
    src = "./app.conf"
    [[examples]]
    params = { dest = "two\nlines", tags = ["a,b"] }
    grants = "asked"
"#;

fn found(text: &str) -> Found {
    let manifest = Manifest::parse("t", text, Place::Section).expect("a manifest");
    Found {
        name: "deploy".to_owned(),
        wasm: Arc::from(*b"\0asm\x01\0\0\0"),
        file: None,
        manifest: Some(manifest),
    }
}

#[test]
fn an_example_is_a_line_for_a_shell_and_means_the_same() {
    let found = found(MANIFEST);
    let manifest = found.manifest.as_ref().expect("a manifest");
    let lines: Vec<String> = manifest
        .examples
        .iter()
        .map(|example| example::command("deploy", found.manifest.as_ref(), example))
        .collect();
    assert_eq!(
        lines,
        [
            "waft run deploy -t web1 -p \"path=/srv/it's\" -p 'force:=\"yes\"' -p port=22 -p \"tags=a b,c\" \
             -p 'mounts:=[{\"path\":\"/x\"}]' -p src=./app.conf --allow fs:/srv:rw --allow \"exec:sh -c *\"",
            "waft run deploy -t web1 -p 'dest:=\"two\\nlines\"' -p 'tags:=[\"a,b\"]' --allow asked",
        ]
    );
    means_the_same(&found);
}

/// What a shell and the schema make of the lines of the examples is what the manifest has.
fn means_the_same(task: &Found) {
    let manifest = task.manifest.as_ref().expect("a manifest");
    let schema = manifest.params.as_ref().expect("a schema");
    for example in &manifest.examples {
        let line = example::command(&task.name, Some(manifest), example);
        let words = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\0' {}", line.trim_start_matches("waft run "))])
            .output()
            .expect("a shell");
        let words = String::from_utf8(words.stdout).expect("text");
        let words: Vec<&str> = words.split('\0').collect();
        let flags = |flag: &str| -> Vec<&str> {
            words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1]).collect()
        };
        let given = crate::params::merge(&flags("-p"), None).expect("parameters");
        let given = given.fit(&task.name, schema).unwrap_or_else(|why| panic!("{line}: {why:#?}"));
        for (name, value) in &example.params {
            let first = schema.find(name).expect("known").0;
            match given.files.iter().find(|(file, _)| file == first) {
                Some((_, path)) => assert_eq!(Some(path.as_path()), value.as_str().map(Path::new)),
                None => assert_eq!(&given.object[first], value, "{line}"),
            }
        }
        assert_eq!(given_by(task, &flags("--allow")), given_by(task, &example.grants), "{line}");
    }
}

fn given_by<S: AsRef<str>>(task: &Found, flags: &[S]) -> GrantSet {
    given(flags, task.manifest.as_ref(), &task.name).expect("grants")
}

#[test]
fn a_page_is_markdown_that_a_manifest_cannot_break_out_of() {
    let page = doc::one(&found(MANIFEST), 1);
    for line in [
        "# deploy",
        "Puts `it` \\| there. And &lt;b>more&lt;/b> \\[x](y).",
        "Everything at once:",
        "| `path` | string | required | Where \\| it is. Also called `dest`. |",
        "| `force` | boolean or string | `false` |  |",
        "| `port` | integer |  | Allowed: 1 to 65535. |",
        "| `tags` | array of string |  |  |",
        "| `mounts[].path` | string |  | Matches `^/\\|x`. |",
        "| `password` | string |  | Sensitive: never shown. |",
        "| `state` | string | What it is now. One of `\"a\"`, `\"b\"`. |",
        "| `fs:/srv:rw` | read and write files under /srv |",
        "Dry run (`--check`): supported.",
    ] {
        assert!(page.lines().any(|other| other == line), "{line}\nin {page}");
    }
    let bare = Found { manifest: None, ..found("") };
    assert!(doc::one(&bare, 1).contains("It has no manifest"));
    assert!(doc::one(&found("grants = \"given\"\n[params]"), 1).contains("It takes no parameters."));
    let heading = found("description = '''```\n# x'''\n[params.a]\ndescription = \"# \\u001b[2J\\u202e\"\n");
    let page = doc::one(&heading, 1);
    assert!(page.contains("\n` # x`\n") && page.contains("| \\# \\x1b\\[2J\\u{202e} |"), "{page}");
    let shown = text::show(&heading, "x", Paint::Plain);
    assert!(shown.contains("# \\x1b[2J\\u{202e}\n"), "{shown}");
    let hostile = found("description = 'a `b\\u001b | ## x'\n[params.a]\ndescription = '`'\n[params.b]\n");
    let page = doc::one(&hostile, 1);
    assert!(page.contains("| `a` | any | `` |") && page.contains("| `b` | any |  |"), "{page}");
}

#[test]
fn it_is_shown_to_people_and_to_programs() {
    let text = text::show(&found(MANIFEST), "./deploy.wasm", Paint::Plain);
    for line in [
        "task deploy:",
        "  path: string, required",
        "    also called dest",
        "  force: boolean or string, default false",
        "    1 to 65535",
        "  password: string, sensitive",
        "  secret token (text): of the store",
        "result, beside changed and msg:",
        "  # Everything at once",
        "  waft run ./deploy.wasm -t web1 -p 'dest:=\"two\\nlines\"' -p 'tags:=[\"a,b\"]' --allow asked",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\nin {text}");
    }
    let json = super::json(&found(MANIFEST), "deploy");
    assert_eq!((&json["v"], &json["name"], &json["version"]), (&1.into(), &"deploy".into(), &"2.0".into()));
    assert_eq!(json["params"]["properties"]["port"]["maximum"], 65535);
    assert_eq!(json["result"]["properties"]["state"]["enum"], json!(["a", "b"]));
    assert_eq!(json["grants"], json!(["fs:/srv:rw", "secret:token"]));
    assert_eq!(super::json(&found("grants = 'given'"), "x")["grants"], "given");
}

#[test]
fn a_manifest_is_put_in_and_the_same_bytes_come_out() {
    let module = wat::parse_str(
        r#"(module (@custom "waft.task" "name = 'old'") (@custom "other" "kept")
            (func $deep (result i32) i32.const 7) (export "f" (func $deep)))"#,
    )
    .expect("a module");
    let made = embed("t.wasm", &module, "t.toml", "name = 'new'\n").expect("made");
    assert_eq!(made, embed("t.wasm", &made, "t.toml", "name = 'new'\n").expect("made again"));
    let read = of_module("t", &made, None).expect("a manifest").expect("one");
    assert_eq!(read.name.as_deref(), Some("new"));
    wasmparser::Validator::new().validate_all(&made).expect("a valid module");
    assert!(made.windows(4).any(|part| part == b"kept") && made.windows(4).any(|part| part == b"deep"));
    let problems = embed("t.wasm", &module, "t.toml", "nmae = 1\nversion = 2\n").expect_err("two mistakes");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].message.starts_with("t.toml, line 1: "), "{problems:?}");
    let long = format!("#{}\n", "x".repeat(crate::manifest::MANIFEST_BYTES_MAX));
    assert_eq!(embed("t.wasm", &module, "t.toml", &long).expect_err("too long")[0].code, "manifest.size");
    for broken in
        [&b"(module)"[..], b"\0asm", &module[..module.len() - 1], b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff"]
    {
        let problem = embed("t.wasm", broken, "t.toml", "").expect_err("no module").remove(0);
        assert!(["task.not_wasm", "task.invalid"].contains(&problem.code.as_str()), "{problem}");
        assert!(strip("t.wasm", broken, false).is_err());
    }
}

#[test]
fn a_component_has_its_manifest_outside_and_is_stripped_inside() {
    let component = wat::parse_str(
        r#"(component $outer
            (core module $m (@custom "waft.task" "name = 'inner'") (@custom "producers" "x") (func $deepest))
            (component $c (core module $n (func $deeper))))"#,
    )
    .expect("a component");
    let read = |wasm: &[u8]| of_module("t", wasm, None).expect("readable").and_then(|manifest| manifest.name);
    assert_eq!(read(&component).as_deref(), Some("inner"));
    let made = embed("t.wasm", &component, "t.toml", "name = 'outer'").expect("made");
    assert_eq!(read(&made).as_deref(), Some("outer"));
    let has = |wasm: &[u8], text: &str| wasm.windows(text.len()).any(|part| part == text.as_bytes());
    let kept = strip("t.wasm", &made, true).expect("stripped");
    assert!(has(&kept, "deepest") && has(&kept, "deeper") && !has(&kept, "producers"));
    let small = strip("t.wasm", &made, false).expect("stripped");
    assert!(!has(&small, "deepest") && !has(&small, "deeper") && has(&small, "name = 'inner'"));
    assert!(small.len() < kept.len() && kept.len() < made.len());
    assert_eq!(read(&small).as_deref(), Some("outer"));
    for wasm in [&made, &kept, &small] {
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
            .validate_all(wasm)
            .expect("a valid component");
    }
    assert_eq!(strip("t.wasm", &small, false).expect("again"), small);
}

/// Nothing that is no module breaks it, and what it accepts stays a list of sections.
#[test]
fn damaged_modules_are_refused_or_copied() {
    let module =
        wat::parse_str("(component (core module (func $f) (func $g)) (component))").expect("good text");
    for at in 0..module.len() {
        for byte in [0, 1, 4, 0x7f, 0x80, 0xff, module[at] ^ 1] {
            let mut damaged = module.clone();
            damaged[at] = byte;
            if let Ok(made) = strip("t.wasm", &damaged, false) {
                assert!(made.len() <= damaged.len() && strip("t.wasm", &made, false).as_ref() == Ok(&made));
            }
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What is built in, by the sources: an interpreter is only built in where it was made before.
fn shipped() -> Vec<Found> {
    let mut files = Vec::new();
    for dir in ["tasks", "interpreters"].map(|dir| root().join(dir)) {
        let folders = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        files.extend(folders.map(|entry| entry.path().join("waft.toml")).filter(|file| file.is_file()));
    }
    let read = |file: PathBuf| {
        let what = file.display().to_string();
        let text = std::fs::read_to_string(&file).expect("a manifest");
        let manifest = Manifest::parse(&what, &text, Place::Section).unwrap_or_else(|why| panic!("{why:#?}"));
        let name = manifest.name.clone().unwrap_or_else(|| panic!("{what} has no name"));
        Found { name, wasm: Arc::from([]), file: None, manifest: Some(manifest) }
    };
    let mut tasks: Vec<Found> = files.into_iter().map(read).collect();
    tasks.sort_by(|a, b| a.name.cmp(&b.name));
    tasks
}

#[test]
fn what_is_built_in_has_the_manifest_of_its_sources() {
    let shipped = shipped();
    let mut seen = 0;
    // Those of interpreters are large, and are looked at where they are built.
    for name in stubs::builtin_tasks().filter(|name| root().join("tasks").join(name).is_dir()) {
        let found = search::builtin(name).expect("a good manifest");
        let source = shipped.iter().find(|task| task.name == found.name);
        let source = source.unwrap_or_else(|| panic!("{name} has no tasks/{name}/waft.toml"));
        assert_eq!(doc::one(&found, 2), doc::one(source, 2), "{name}");
        seen += 1;
    }
    assert!(seen > 0, "no task is built in");
}

/// What every task that waft ships has to say.
#[test]
fn each_shipped_task_says_what_it_takes() {
    let tasks = shipped();
    assert!(tasks.iter().any(|task| task.name == "facts"), "no task is built in");
    for task in &tasks {
        let name = &task.name;
        let manifest = task.manifest.as_ref().unwrap_or_else(|| panic!("{name} has no manifest"));
        assert_eq!(manifest.name.as_ref(), Some(name));
        assert!(manifest.version.is_some() && manifest.description.is_some(), "{name}");
        let params = manifest.params.as_ref().unwrap_or_else(|| panic!("{name} does not say its parameters"));
        told(name, params);
        if let Some(result) = &manifest.result {
            told(name, result);
        }
        assert!(!manifest.examples.is_empty(), "{name} has no example");
        means_the_same(task);
        for example in &manifest.examples {
            let what = example::command(name, Some(manifest), example);
            assert!(example.description.is_some(), "{what}");
            let given = given_by(task, &example.grants);
            if let Some(asked) = manifest.asked() {
                let outside: Vec<String> = rights(&given)
                    .filter(|right| !may_cover(asked, right))
                    .map(|right| right.to_string())
                    .collect();
                assert!(
                    outside.is_empty(),
                    "{name} does not ask for {outside:?}, which it is given by {what}"
                );
            }
        }
    }
}

/// That each property has a description, those inside of others, too.
fn told(task: &str, object: &Object) {
    let each = match &object.others {
        Others::Each(each) => Some(&**each),
        _ => None,
    };
    let all = object.properties.iter().map(|(name, schema)| (name.as_str(), schema));
    for (name, schema) in all {
        assert!(schema.description.is_some(), "`{name}` of {task} has no description");
        inner(task, schema);
    }
    each.into_iter().for_each(|each| inner(task, each));
}

fn inner(task: &str, schema: &Schema) {
    told(task, &schema.object);
    if let Some(items) = &schema.items {
        inner(task, items);
    }
}

#[test]
fn the_pages_of_tasks_are_made_of_their_manifests() {
    let docs = root().join("docs");
    let folder = docs.join(doc::PAGES);
    let shipped = shipped();
    let mut pages: BTreeMap<PathBuf, String> =
        shipped.iter().map(|task| (folder.join(doc::file_name(&task.name)), doc::page(task))).collect();
    assert_eq!(pages.len(), shipped.len(), "two tasks have one page");
    pages.insert(docs.join("tasks.md"), doc::index(&shipped));
    let there: Vec<PathBuf> =
        fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let gone = |file: &&PathBuf| !pages.contains_key(*file);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::create_dir_all(&folder).expect("a folder");
        there.iter().filter(gone).for_each(|file| fs::remove_file(file).expect("removed"));
        pages.iter().for_each(|(file, page)| fs::write(file, page).expect("written"));
    } else {
        assert_eq!(there.iter().find(gone), None, "the page of a task that is gone: {UPDATE}");
    }
    for (file, page) in &pages {
        let committed = fs::read_to_string(file).unwrap_or_default();
        assert!(*page == committed, "{} is not what the manifests say: {UPDATE}", file.display());
    }
}

/// The page of a task is what `waft task doc` prints, and each link of the list leads to one.
#[test]
fn a_page_is_the_same_as_printed() {
    let task = found(MANIFEST);
    let page = doc::page(&task);
    let lines: Vec<&str> = page.lines().filter(|line| !line.starts_with("<!--")).collect();
    let printed = doc::one(&task, 1);
    assert_eq!(
        lines[1..].join("\n").trim_start(),
        printed.lines().skip(1).collect::<Vec<_>>().join("\n").trim()
    );
    let named = Found { name: "db/my_task".to_owned(), ..task };
    let index = doc::index(std::slice::from_ref(&named));
    assert!(index.contains("| [db/my\\_task](tasks/db-my_task.md) | Puts `it` \\| there |\n"), "{index}");
    assert!(doc::all(&[named]).contains("(#dbmy_task) |"));
}
