//! What a task asks for, what it is given and what it gets: said before, and true afterwards.

use crate::LIMIT;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::waft::{Output, Waft};

const ASKS: &str = r#"name = 'echoes'
grants = ['exec:/bin/echo *', 'facts']
"#;

/// Modules in a directory of their own.
struct Tasks(TempDir);

impl Tasks {
    fn new() -> Tasks {
        Tasks(tempfile::tempdir().expect("a directory"))
    }

    /// A task that becomes `program` with the argument `through`; 125 when it may not.
    fn task(&self, name: &str, program: &str, manifest: Option<&str>) -> PathBuf {
        let request = format!(r#"{{"argv":["{program}","through"],"replace":true}}"#);
        let section = manifest.map(|text| format!("(@custom \"waft.task\" {text:?})")).unwrap_or_default();
        let text = format!(
            r#"(module {section}
              (import "waft_v1" "exec" (func $exec (param i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) {request:?})
              (func (export "_start")
                (drop (call $exec (i32.const 0) (i32.const {})))
                (call $exit (i32.const 125))))"#,
            request.len()
        );
        let path = self.0.path().join(format!("{name}.wasm"));
        fs::write(&path, wat::parse_str(text).expect("good text")).expect("written");
        path
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("written");
        path
    }
}

fn run(task: &PathBuf, more: &[&str]) -> Result<Output> {
    Waft::new("run")?.arg(task).args(["--format", "jsonl"]).args(more).limit(LIMIT).run()
}

fn explain(more: &[&str]) -> Result<Output> {
    Waft::new("explain")?.args(more).limit(LIMIT).run()
}

fn hint(output: &Output, target: &str) -> Result<String> {
    let result = output.result_of(target)?;
    Ok(result["error"]["hint"].as_str().unwrap_or_default().to_owned())
}

/// The flags that a warning names, as a shell would read them.
fn flags(stderr: &str) -> Vec<String> {
    let line = stderr.lines().find_map(|line| line.trim().strip_prefix("hint: to give it: "));
    let line = line.and_then(|line| line.split_once("  (")).map_or("", |(flags, _)| flags);
    let output = std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]).output();
    let words = String::from_utf8(output.expect("a shell").stdout).expect("text");
    words.lines().map(str::to_owned).collect()
}

#[test]
fn it_dials_nothing_and_is_the_same_every_time() -> Result<()> {
    let (hop, target) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
    let (hop, target) = (hop.expect("a port"), target.expect("a port"));
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let tasks = Tasks::new();
    let inventory = tasks.file(
        "hosts.toml",
        &format!(
            "user = 'deploy'\n[hosts.hop]\nhost = '127.0.0.1'\nport = {}\nuser = 'ops'\n[hosts.web]\nhost = '127.0.0.1'\nport = {}\nvia = 'hop'\nallow = ['facts']\n",
            port(&hop),
            port(&target)
        ),
    );
    let config = tasks.file("ssh_config", "");
    let task = tasks.task("echo", "/bin/echo", Some(ASKS));
    let arguments = |format: &str| {
        let words = [&task, &inventory, &config].map(|path| path.to_string_lossy().into_owned());
        let [task, inventory, config] = words;
        let words = [&task, "-i", &inventory, "--ssh-config", &config, "-t", "all", "--format", format];
        words.map(str::to_owned)
    };
    let page = |format: &str| -> Result<String> {
        let words = arguments(format);
        let output = explain(&words.each_ref().map(String::as_str))?.expect_code(0)?;
        assert_eq!(output.stderr(), "");
        Ok(output.stdout())
    };
    let text = page("human")?;
    assert_eq!(text, page("human")?);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    for line in [
        "task echoes:".to_owned(),
        "    start /bin/echo with one argument (no option)".to_owned(),
        "would get on web:".to_owned(),
        "  given by the inventory: facts".to_owned(),
        "    to give it: --allow \"exec:/bin/echo *\"".to_owned(),
        format!("    at: deploy@127.0.0.1:{}", port(&target)),
        format!("    way: through hop (ops@127.0.0.1:{}, relay)", port(&hop)),
        "      nobody: SSH goes end to end, from here to there".to_owned(),
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} in {text}");
    }
    assert!(text.contains("      hop: a relay that dials a target holds that account: "), "{text}");
    let json: Value = serde_json::from_str(&page("json")?).expect("one document");
    assert_eq!((&json["v"], &json["task"]["name"]), (&1.into(), &"echoes".into()));
    let hash = blake3::hash(&fs::read(&task).expect("the module")).to_hex().to_string();
    assert_eq!(json["task"]["hash"], hash.as_str());
    assert_eq!(json["hosts"][1]["exposed_to"][0]["who"], "hop", "{json}");
    for listener in [hop, target] {
        listener.set_nonblocking(true).expect("a listener");
        let asked = listener.accept().map(|(_, from)| from);
        assert_eq!(asked.map_err(|why| why.kind()), Err(std::io::ErrorKind::WouldBlock));
    }
    Ok(())
}

#[test]
fn a_task_gets_what_it_asks_for_and_is_given_and_nothing_else() -> Result<()> {
    let guard = LeakGuard::start();
    let tasks = Tasks::new();
    let honest = tasks.task("honest", "/bin/echo", Some(ASKS));
    // Nothing is given: it runs, is refused, and the line to paste is the right one.
    let output = run(&honest, &["-t", "local"])?.expect_code(5)?;
    assert!(output.stderr().contains("echoes asks for what is not given"), "{output}");
    assert_eq!(flags(&output.stderr()), ["--allow", "exec:/bin/echo *", "--allow", "facts"], "{output}");
    assert_eq!(hint(&output, "local")?, "the operator did not give it: --allow \"exec:/bin/echo through\"");
    let pasted = flags(&output.stderr());
    let mut words: Vec<&str> = pasted.iter().map(String::as_str).collect();
    words.extend(["-t", "local"]);
    let output = run(&honest, &words)?.expect_code(0)?;
    assert_eq!(output.stderr(), "");
    assert_eq!(output.result_of("local")?["stdout"], "through\n");
    let output = run(&honest, &["-t", "local", "--allow", "asked"])?.expect_code(0)?;
    assert_eq!((output.stderr().as_str(), &output.result_of("local")?["stdout"]), ("", &"through\n".into()));
    // What it does not ask for is not sent, and that is said.
    let output = run(&honest, &["-t", "local", "--allow", "asked", "--allow", "env:TZ"])?.expect_code(0)?;
    assert!(output.stderr().contains("does not ask for what is given by --allow env:TZ"), "{output}");
    let other = tasks.task("other", "/bin/cat", Some(ASKS));
    let output = run(&other, &["-t", "local", "--allow", "exec:*", "--allow", "facts"])?.expect_code(5)?;
    let said = hint(&output, "local")?;
    assert!(said.starts_with("it is given, but the manifest of echoes does not ask for it"), "{said}");
    assert!(said.contains(r#"grants = ["exec:/bin/cat through"]"#), "{said}");
    // Without a manifest it asks for exactly what is given.
    let plain = tasks.task("plain", "/bin/echo", None);
    let output = run(&plain, &["-t", "local", "--allow", "exec:*"])?.expect_code(0)?;
    assert_eq!(output.stderr(), "");
    // So does one that says that it takes whatever it is given.
    let given = tasks.task("given", "/bin/echo", Some("grants = 'given'"));
    let output = run(&given, &["-t", "local", "--allow", "exec:*"])?.expect_code(0)?;
    assert_eq!((output.stderr().as_str(), &output.result_of("local")?["stdout"]), ("", &"through\n".into()));
    let output = run(&given, &["-t", "local", "--allow", "asked"])?.expect_code(2)?;
    assert!(output.stderr().contains("given asks for whatever it is given"), "{output}");
    let output = run(&plain, &["-t", "local"])?.expect_code(5)?;
    assert!(hint(&output, "local")?.starts_with("the operator did not give it"), "{output}");
    guard.check()
}

/// Of what is given in part nothing is said, and what a hint names first suffices for this run.
#[test]
fn a_hint_names_what_suffices_and_what_is_narrowed_is_no_warning() -> Result<()> {
    let guard = LeakGuard::start();
    let dir = tempfile::tempdir().expect("a directory");
    let (above, path) = (dir.path().display().to_string(), dir.path().join("made"));
    let file = |grants: &[String]| {
        let param = format!("path={}", path.display());
        let words = ["file", "-t", "local", "--format", "jsonl", "-p", "state=directory", "-p", &param];
        Waft::new("run")?.args(words).args(grants).limit(LIMIT).run()
    };
    let refused = file(&[])?.expect_code(5)?;
    let said = format!("as in the examples of file: --allow fs:{above}:rw; to give all: --allow fs:/:rw  (");
    assert!(refused.stderr().contains(&said), "{refused}");
    let said = format!(
        "the operator did not give it: --allow fs:{above}:ro to read it, --allow fs:{above}:rw to change it"
    );
    assert_eq!(hint(&refused, "local")?, said);
    let narrow = |access: &str| ["--allow".to_owned(), format!("fs:{above}:{access}")];
    let made = file(&narrow("rw"))?.expect_code(0)?;
    assert_eq!((made.stderr().as_str(), path.is_dir()), ("", true), "{made}");
    let read = file(&narrow("ro"))?.expect_code(0)?;
    assert_eq!((read.stderr().as_str(), &read.result_of("local")?["status"]), ("", &"ok".into()), "{read}");
    guard.check()
}

#[test]
fn what_the_inventory_gives_counts_and_is_narrowed_behind_a_hop_too() -> Result<()> {
    let lab = Lab::builder().tree(&[1, 2]).start()?;
    let guard = LeakGuard::start();
    let hosts = fs::read_to_string(&lab.inventory).expect("the inventory");
    fs::write(&lab.inventory, format!("allow = ['exec:*', 'env:TZ']\n{hosts}")).expect("written");
    let tasks = Tasks::new();
    let asks = "grants = ['exec:/bin/echo *']";
    let honest = tasks.task("honest", "/bin/echo", Some(asks));
    let all = ["-t", "h2,h3", "--format", "jsonl"];
    let output = Waft::new("run")?.lab(&lab).arg(&honest).args(all).limit(LIMIT).run()?.expect_code(0)?;
    assert_eq!(output.stderr(), "");
    for target in ["h2", "h3"] {
        assert_eq!(output.result_of(target)?["stdout"], "through\n");
    }
    let other = tasks.task("other", "/bin/cat", Some(asks));
    let output = Waft::new("run")?.lab(&lab).arg(&other).args(all).limit(LIMIT).run()?.expect_code(5)?;
    for target in ["h2", "h3"] {
        let said = hint(&output, target)?;
        assert!(said.starts_with("it is given, but the manifest of other does not ask"), "{said}");
    }
    let page =
        Waft::new("explain")?.lab(&lab).arg(&honest).args(["-t", "h2"]).limit(LIMIT).run()?.expect_code(0)?;
    let host = lab.host("h1");
    let way = format!("way: through h1 ({}@{}, relay)", host.user, host.address);
    assert!(page.stdout().contains(&way), "{way} in {page}");
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn at_a_terminal_the_operator_is_asked_once() -> Result<()> {
    let tasks = Tasks::new();
    let task = tasks.task("honest", "/bin/echo", Some(ASKS));
    let waft = Waft::new("run")?.arg(&task).args(["-t", "local"]).limit(LIMIT);
    let mut terminal = waft.on_terminal()?;
    terminal.wait_for("Give them for this run? [y/N] ", 1)?;
    assert!(
        terminal.text().contains("facts: ask the stub for facts about the machine"),
        "{}",
        terminal.text()
    );
    terminal.types("y\n")?;
    assert_eq!(terminal.end()?, Some(0), "{}", terminal.text());
    assert!(terminal.text().contains("through"), "{}", terminal.text());
    let mut terminal = waft.on_terminal()?;
    terminal.wait_for("[y/N] ", 1)?;
    terminal.types("\n")?;
    assert_eq!(terminal.end()?, Some(5), "{}", terminal.text());
    assert_eq!(terminal.text().matches("[y/N]").count(), 1, "{}", terminal.text());
    // Programs that read the output are not asked.
    let waft = Waft::new("run")?.arg(&task).args(["-t", "local", "--format", "json"]).limit(LIMIT);
    let mut terminal = waft.on_terminal()?;
    assert_eq!(terminal.end()?, Some(5), "{}", terminal.text());
    assert!(!terminal.text().contains("[y/N]"), "{}", terminal.text());
    Ok(())
}

#[test]
fn a_manifest_that_is_wrong_stops_before_anything_is_sent() -> Result<()> {
    let tasks = Tasks::new();
    let wrong = tasks.task("wrong", "/bin/echo", Some("nmae = 'a'\ngrants = ['fs:x']\n"));
    let plain = tasks.task("plain", "/bin/echo", None);
    let contrary = tasks.task("contrary", "/bin/echo", Some(ASKS));
    tasks.file("contrary.toml", "grants = []\n");
    let beside = tasks.task("beside", "/bin/echo", None);
    tasks.file("beside.toml", "grants = ['exec:/bin/echo *']\ncheck = 'no'\n");
    for (task, more, words) in [
        (&wrong, &["-t", "nobody@192.0.2.1"][..], &["line 1", "did you mean `name`?", "line 2", "fs:x"][..]),
        (&plain, &["-t", "nobody@192.0.2.1", "--allow", "asked"], &["the task plain has no manifest"]),
        (&contrary, &["-t", "nobody@192.0.2.1"], &["differ", "contrary.toml"]),
        (&beside, &["-t", "nobody@192.0.2.1"], &["beside.toml, line 2", "`check` is true or false"]),
    ] {
        let output = run(task, more)?.expect_code(2)?;
        for word in words {
            assert!(output.stderr().contains(word), "{word} in {output}");
        }
        assert_eq!(output.stdout(), "");
        let words: Vec<String> = std::iter::once(task.to_string_lossy().into_owned())
            .chain(more.iter().map(|word| (*word).to_owned()))
            .collect();
        explain(&words.iter().map(String::as_str).collect::<Vec<_>>())?.expect_code(2)?;
    }
    Ok(())
}

#[test]
fn a_task_is_given_every_kind_of_right_and_limit() -> Result<()> {
    let tasks = Tasks::new();
    let task = tasks.task("plain", "/bin/true", None);
    let hash = format!("blob:{}", "a5".repeat(32));
    let given = ["exec:*", "fs:/etc", "net:h:1", "env:TZ", "secret:a", &hash, "call:facts", "facts"];
    let words = |grants: &[&str]| {
        let pairs = grants.iter().flat_map(|grant| ["--allow".to_owned(), (*grant).to_owned()]);
        pairs.chain(["-t".to_owned(), "local".to_owned()]).collect::<Vec<_>>()
    };
    let go = |grants: &[&str], more: &[&str]| {
        let words = words(grants);
        run(&task, &words.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    go(&given, &["--secret", "a=cmd:/bin/echo a-value"])?.expect_code(0)?;
    go(&["exec:*", "disk:1M", "cpu:1m", "procs:9"], &[])?.expect_code(0)?;
    Ok(())
}
