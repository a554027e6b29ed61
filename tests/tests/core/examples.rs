//! The examples of manifests as they are printed for people to paste: each is explained, and each that can be run on a target
//! of its own is run there with the grants that it names, dry, really, and once more.

use crate::package::{publish, source};
use crate::whole::Whole;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use waft_tests::process::run_tool;
use waft_tests::waft::Waft;
use waft_tests::{Result, need_root};

/// Those that are not run: words of their line, and why.
const NOT_RUN: [(&str, &str); 4] = [
    ("run ansible ", "they need modules of Ansible: ansible.rs has some"),
    (
        "run reboot ",
        "a target of tests has no system that could begin again: reboot.rs has programs that stand for it",
    ),
    (
        "run service ",
        "a target of tests has no manager of services: service.rs has programs that stand for some",
    ),
    ("--allow net:", "nobody listens at such an address: the tests of these tasks have servers"),
];
/// Those of which only the dry run is run.
const ONLY_DRY: [(&str, &str); 1] = [("-p name=net.", "such a setting would be this machine's as well")];
/// Tasks that do what they are told as often as they are told.
const NOT_A_STATE: [&str; 1] = ["command"];
/// Fewer lines would say that they were not found.
const EXAMPLES_MIN: usize = 45;

/// The line of an example, cut into words by a shell, without `waft run` and the host.
#[derive(Clone)]
struct Example {
    line: String,
    words: Vec<String>,
    is_dry: bool,
}

impl Example {
    fn task(&self) -> &str {
        &self.words[0]
    }

    fn is(&self, list: &[(&str, &str)]) -> bool {
        list.iter().any(|(words, _)| self.line.contains(words))
    }
}

fn waft(command: &str) -> Result<Waft> {
    Ok(match std::env::var_os("WAFT_TASKS_DIR") {
        Some(dir) => Waft::new(command)?.env("WAFT_PATH", dir),
        None => Waft::new(command)?,
    })
}

/// What a task says of itself.
pub(crate) fn shown(task: &str) -> Result<Value> {
    let shown = waft("task")?.args(["show", task, "--format", "json"]).run()?.expect_code(0)?;
    Ok(serde_json::from_str(&shown.stdout()).expect("JSON"))
}

/// The examples of a task, in the order of its manifest.
fn examples(task: &str) -> Result<Vec<Example>> {
    let told = shown(task)?;
    let lines = told["examples"].as_array().expect("examples").iter();
    lines
        .map(|example| {
            let line = example["command"].as_str().expect("a line").to_owned();
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("printf '%s\\n' {line}")]);
            let words: Vec<String> = run_tool(shell, b"")?.lines().map(str::to_owned).collect();
            let [waft, run, task, target, host, rest @ ..] = &words[..] else { panic!("{line}") };
            assert_eq!([waft, run, target, host], ["waft", "run", "-t", "web1"], "{line}");
            let words = [task].into_iter().chain(rest).cloned().collect();
            Ok(Example { line, words, is_dry: told["check"] == true })
        })
        .collect()
}

/// Those of the folder; scripts in interpreters, which have a folder of their own, are run by tests/interpreters.
pub(crate) fn shipped() -> Vec<String> {
    let tasks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tasks");
    let folders = fs::read_dir(tasks).expect("the tasks").map(|entry| entry.expect("an entry").path());
    let names = folders.filter(|folder| folder.join("waft.toml").is_file());
    let mut names: Vec<String> =
        names.map(|folder| folder.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The files of the controller that examples name.
fn here() -> Result<TempDir> {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    write("app.conf", "port = 8080\n");
    write("app.conf.j2", "port = {{ port }}\n");
    write("my_module", "#!/bin/sh\n");
    write("ansible/modules/stat.py", "");
    write("utils.zip", "");
    write("release/app-42/README", "of 42\n");
    let mut tar = Command::new("tar");
    tar.arg("-C")
        .arg(dir.path().join("release"))
        .arg("-czf")
        .arg(dir.path().join("app-42.tar.gz"))
        .arg("app-42");
    run_tool(tar, b"")?;
    Ok(dir)
}

/// The words with the files of `here` by their whole paths.
fn words(example: &Example, here: &Path) -> Vec<String> {
    let whole = |word: &String| match word.split_once('=') {
        Some((name, value)) if here.join(value).is_file() => format!("{name}={}", here.join(value).display()),
        _ => word.clone(),
    };
    example.words.iter().map(whole).collect()
}

/// What examples are about.
fn prepare(whole: &Whole) -> Result<()> {
    for (path, text) in [
        ("/etc/hosts", "127.0.0.1 localhost\n10.0.0.9 old-db\n"),
        ("/etc/app.conf", "[app]\n[log]\n"),
        ("/etc/app/README", ""),
        ("/etc/ssl/private/ssl-cert-snakeoil.key", "made before\n"),
        ("/var/backups/README", ""),
        ("/var/log/app/app.log", "begun\n"),
        ("/var/log/app.log", "ERROR: not yet\nready in 12 ms\n"),
        ("/srv/app/key.pem", "a key\n"),
        ("/srv/app/cache/a/b", "cached\n"),
        ("/srv/app/releases/42/README", "of 42\n"),
        ("/etc/group", &format!("{}docker:x:998:\n", whole.read("/etc/group"))),
    ] {
        whole.write(path, text);
    }
    whole.program("/usr/local/bin/crontab", crate::cron::CRONTAB);
    let certificate = whole.path("/etc/ssl/site.pem");
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "90",
    ]);
    openssl.args(["-subj", "/CN=www.example.com", "-keyout", "/dev/null", "-out"]).arg(certificate);
    run_tool(openssl, b"")?;
    source(whole);
    for name in ["nginx", "certbot", "telnet"] {
        publish(whole, name, "1.0", "")?;
    }
    // A dry run fetches no lists.
    let mut update = Command::new("chroot");
    update.arg(whole.path("/")).args(["apt-get", "update", "-q"]);
    run_tool(update, b"").map(drop)
}

/// Runs the examples of these tasks on a target of their own.
fn run<S: AsRef<str>>(tasks: &[S]) -> Result<()> {
    let (here, whole) = (here()?, Whole::root()?);
    prepare(&whole)?;
    for example in tasks.iter().map(|task| examples(task.as_ref())).collect::<Result<Vec<_>>>()?.concat() {
        if example.is(&NOT_RUN) {
            continue;
        }
        let words = words(&example, here.path());
        let run = |more: &[&str]| -> Result<Value> {
            let words = words.iter().skip(1).map(String::as_str).chain(more.iter().copied());
            whole.result(example.task(), &json!({}), &[], &words.collect::<Vec<_>>(), 0)
        };
        let would = if example.is_dry { Some(run(&["--check"])?) } else { None };
        if example.is(&ONLY_DRY) {
            continue;
        }
        let done = run(&[])?;
        if let Some(would) = would {
            assert_eq!(would["status"], done["status"], "{}: {would} {done}", example.line);
        }
        if !NOT_A_STATE.contains(&example.task()) {
            assert_eq!(run(&[])?["status"], "ok", "a second time: {}", example.line);
        }
    }
    Ok(())
}

const ON_FILES: [&str; 7] = ["archive", "blockinfile", "copy", "file", "lineinfile", "template", "unarchive"];
const ON_THE_SYSTEM: [&str; 5] = ["cron", "group", "package", "sysctl", "user"];

#[test]
fn each_example_can_be_explained() -> Result<()> {
    let here = here()?;
    let mut unused: Vec<&str> = NOT_RUN.iter().chain(&ONLY_DRY).map(|(words, _)| *words).collect();
    let mut seen = 0;
    for task in shipped() {
        for example in examples(&task)? {
            waft("explain")?.args(words(&example, here.path())).run()?.expect_code(0)?;
            unused.retain(|words| !example.line.contains(words));
            seen += 1;
        }
    }
    assert!(seen >= EXAMPLES_MIN, "{seen} examples");
    assert!(unused.is_empty(), "no example is meant by {unused:?}");
    Ok(())
}

#[test]
fn examples_on_files_do_what_their_dry_run_says_and_nothing_a_second_time() -> Result<()> {
    need_root!("a target with an /etc of its own");
    run(&ON_FILES)
}

#[test]
fn examples_on_the_system_do_what_their_dry_run_says_and_nothing_a_second_time() -> Result<()> {
    need_root!("a target with packages and accounts of its own");
    run(&ON_THE_SYSTEM)
}

#[test]
fn all_other_examples_do_what_their_dry_run_says() -> Result<()> {
    need_root!("a target with logs of its own");
    let is_other = |task: &String| !ON_FILES.iter().chain(&ON_THE_SYSTEM).any(|known| known == task);
    run(&shipped().into_iter().filter(is_other).collect::<Vec<_>>())
}
