//! The audit log: what was run is in it, what is secret is not, and what is done to it shows.

use crate::LIMIT;
use crate::via::behind_a_bastion;
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{self, wait_until};
use waft_tests::waft::{Output, Waft, binary};
use waft_tests::{Result, need_root};

const SECRET: &str = "hunter2-in-an-argument";

/// State and cache that several wafts share.
struct Site(TempDir);

impl Site {
    fn new() -> Site {
        Site(tempfile::tempdir().expect("a directory"))
    }

    fn waft(&self, command: &str) -> Result<Waft> {
        let waft = Waft::new(command)?.limit(LIMIT);
        Ok(waft.env("XDG_STATE_HOME", self.0.path()).env("XDG_CACHE_HOME", self.0.path().join("cache")))
    }

    /// `waft exec -t local -- /bin/sh -c SCRIPT`.
    fn shell(&self, script: &str) -> Result<Waft> {
        Ok(self.waft("exec")?.args(["-t", "local", "--", "/bin/sh", "-c", script]))
    }

    fn audit(&self, arguments: &[&str]) -> Result<Output> {
        self.waft("audit")?.args(arguments).run()
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("waft/audit")
    }

    fn log(&self) -> PathBuf {
        self.dir().join("log")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.log()).expect("a log")
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// Reads a log by nothing but docs/operators.md: the hashes of its lines.
fn hashes(log: &str) -> Vec<String> {
    let mut hashes = vec!["0".repeat(64)];
    for (at, text) in log.lines().enumerate() {
        let line: Value = serde_json::from_str(text).expect("JSON");
        let hash = line["hash"].as_str().expect("a hash").to_owned();
        let hashed = text.replacen(&format!("\"hash\":\"{hash}\","), "", 1);
        let derived = blake3::derive_key("waft audit line v1", hashed.as_bytes());
        assert_eq!(blake3::Hash::from_bytes(derived).to_hex().as_str(), hash, "{text}");
        assert_eq!((&line["prev"], &line["seq"]), (&json!(hashes.last()), &json!(at + 1)), "{text}");
        hashes.push(hash);
    }
    hashes.split_off(1)
}

fn blake3_of(text: &str) -> Value {
    blake3::hash(text.as_bytes()).to_hex().as_str().into()
}

#[test]
fn a_run_is_in_the_log_and_its_secrets_are_not() -> Result<()> {
    let lab = behind_a_bastion(1)?;
    let guard = LeakGuard::start();
    let site = Site::new();
    // The words of a program are in the log, what it prints is not.
    let (first, rest) = SECRET.split_at(3);
    let script = format!("echo {first}''{rest}; echo com''plaint >&2; exit 3");
    let output = site
        .waft("exec")?
        .lab(&lab)
        .env("SSH_CONNECTION", "192.0.2.7 50022 192.0.2.1 22")
        .args(["-t", "t1", "--allow", "out:1M", "--format", "jsonl", "--", "/bin/sh", "-c", &script])
        .run()?
        .expect_code(3)?;
    let events = output.events()?;
    let (told, result) = (&events[0], output.result_of("t1")?);

    let log = site.text();
    assert!(!log.contains(SECRET) && !log.contains("complaint"), "{log}");
    let lines = site.lines();
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(kinds, ["run_started", "call", "result", "run_finished"]);
    let words = format!("/bin/sh -c {script}");
    assert_eq!((&lines[1]["call"], &lines[1]["subject"]), (&json!("exec"), &json!(words)));
    assert!(lines.iter().all(|line| line["run"] == told["run"]), "{log}");
    let started = &lines[0];
    assert_eq!((&started["task"], &started["module"]), (&json!("exec"), &told["hash"]));
    let params = json!({ "argv": ["/bin/sh", "-c", script] }).to_string();
    assert_eq!(started["params"], blake3_of(&params));
    assert_eq!(started["grants"], json!(["exec:*", "out:1M"]));
    assert_eq!((&started["check"], &started["timeout_ms"]), (&json!(false), &json!(300_000)));
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(
        (&started["user"]["uid"], &started["from"]["ssh_client"]),
        (&json!(uid), &json!("192.0.2.7:50022"))
    );
    let at = |name: &str| {
        let host = lab.host(name);
        json!(format!("{}@{}", host.user, host.address))
    };
    let target = json!({
        "name": "t1", "at": at("t1"), "grants": [], "way": [{ "hop": "bas", "mode": "relay" }],
    });
    assert_eq!((&started["targets"], &started["hops"]), (&json!([target]), &json!({ "bas": at("bas") })));
    let ended = &lines[2];
    for field in ["target", "status", "exit_code", "signal", "walls", "policy", "ms"] {
        assert_eq!(ended[field], result[field], "{field}");
    }
    let out = format!("{SECRET}\n");
    assert_eq!(ended["stdout"], json!({ "blake3": blake3_of(&out), "bytes": out.len(), "truncated": false }));
    assert_eq!(ended["stderr"]["blake3"], blake3_of("complaint\n"));
    assert_eq!(lines[3]["counts"]["failed"], 1);

    let head = hashes(&log).pop().expect("a head");
    let verified = site.audit(&["verify"])?.expect_code(0)?.stdout();
    assert_eq!(verified, format!("4 lines, each naming the one before it; head {head}\n"));
    drop(output);
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn refused_and_unreachable_targets_are_in_it_too() -> Result<()> {
    let lab = Lab::of(1)?;
    let site = Site::new();
    let params = r#"argv:=["/bin/id"]"#;
    site.waft("run")?.lab(&lab).args(["exec", "-p", params, "-t", "h1"]).run()?.expect_code(5)?;
    site.waft("exec")?.args(["-t", "127.0.0.1:1", "--", "/bin/true"]).run()?.expect_code(4)?;
    // Bad input: nothing was to be run.
    site.waft("run")?.args(["nothing.wasm", "-t", "local"]).run()?.expect_code(2)?;
    let lines = site.lines();
    let ends: Vec<&Value> =
        lines.iter().filter(|line| line["event"] == "result").map(|line| &line["status"]).collect();
    assert_eq!(ends, ["refused", "unreachable"]);
    assert_eq!(lines.len(), 7);
    assert_eq!((&lines[1]["event"], &lines[1]["code"]), (&json!("call"), &json!("grant.missing")));
    assert_eq!(lines[2]["error"], "grant.missing");
    assert_eq!(lines[5]["target"], "127.0.0.1:1");
    hashes(&site.text());
    Ok(())
}

#[test]
fn it_is_shown_for_people_and_for_programs() -> Result<()> {
    let site = Site::new();
    site.audit(&["show"])?.expect_code(2)?;
    for code in [0, 3] {
        site.shell(&format!("exit {code}"))?.run()?.expect_code(code)?;
    }
    let lines = site.lines();
    let table = site.audit(&["show"])?.expect_code(0)?.stdout();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 9, "{table}");
    let run = lines[4]["run"].as_str().expect("a run");
    let short = &run[..13];
    for (row, words) in [
        (0, &["time", "run", "target", "what"][..]),
        (1, &["exec by ", "uid ", "grants exec:*", "targets local", "module "]),
        (2, &["local", "exec /bin/sh -c exit 0: ok"]),
        (3, &["local", "ok, exit code 0"]),
        (7, &[short, "local", "failed, exit code 3"]),
        (8, &[short, "finished: 1 failed"]),
    ] {
        for word in words {
            assert!(rows[row].contains(word), "{word:?} is not in {:?}", rows[row]);
        }
    }
    let parse = |output: &str| serde_json::from_str::<Value>(output).expect("JSON");
    let json = |arguments: &[&str]| -> Result<Value> {
        Ok(parse(&site.audit(&[&["show", "--format", "json"], arguments].concat())?.expect_code(0)?.stdout()))
    };
    assert_eq!(json(&[])?, json!(lines));
    assert_eq!(site.audit(&["show", "--format", "jsonl"])?.expect_code(0)?.stdout(), site.text());
    assert_eq!(json(&["--run", run])?, json!(lines[4..]));
    assert_eq!(json(&["--run", "nonesuch"])?, json!([]));
    assert_eq!(json(&["--target", "local", "--since", "1h"])?, json!(lines));
    assert_eq!(json(&["--target", "loc"])?, json!([]));
    let since = lines[4]["time"].as_str().expect("a time");
    let later = json(&["--since", since])?;
    assert!(later.as_array().is_some_and(|later| later.ends_with(&lines[4..])), "{later}");
    assert_eq!(json(&["--since", "2999-01-01"])?, json!([]));
    for command in ["show", "verify"] {
        let help = site.audit(&[command, "--help"])?.expect_code(0)?.stdout();
        assert!(help.contains(&format!("Examples:\n  waft audit {command}")), "{help}");
    }
    site.audit(&["show", "--since", "yesterday"])?.expect_code(2)?;
    site.audit(&["verify", "--head", "abc"])?.expect_code(2)?;
    site.audit(&["verify", "/nonexistent"])?.expect_code(2)?;
    Ok(())
}

#[test]
fn what_was_done_to_it_is_told_with_the_line() -> Result<()> {
    let site = Site::new();
    for _ in 0..2 {
        site.shell("true")?.run()?.expect_code(0)?;
    }
    let whole = site.text();
    let head = hashes(&whole).pop().expect("a head");
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let text = |picked: &[usize]| picked.iter().map(|at| lines[*at]).collect::<String>();
    let changed = whole.replacen("\"status\":\"ok\"", "\"status\":\"failed\"", 1);
    let copy = site.0.path().join("copy");
    for (log, line, kind) in [
        (changed, 3, "changed"),
        (text(&[0, 2, 3, 4, 5, 6, 7]), 2, "removed"),
        (text(&[0, 1, 1, 2, 3, 4, 5, 6, 7]), 3, "inserted"),
        (text(&[0, 2, 1, 3, 4, 5, 6, 7]), 2, "moved"),
        (text(&[0, 1, 2, 3, 4, 5, 6]), 8, "cut"),
        (whole[..whole.len() - 7].to_owned(), 8, "torn"),
    ] {
        fs::write(&copy, log).expect("written");
        let file = copy.to_str().expect("a path");
        let said = site.audit(&["verify", "--head", &head, file])?.expect_code(5)?;
        let expected = format!("error: {file}:{line}: {kind}: this line ");
        assert!(said.stderr().starts_with(&expected), "{}", said.stderr());
        assert_eq!(said.stdout(), "");
        let json = site.audit(&["verify", "--head", &head, "--format", "json", file])?.expect_code(5)?;
        let verdict: Value = serde_json::from_str(&json.stdout()).expect("JSON");
        assert_eq!((&verdict["good"], &verdict["defect"]["kind"]), (&json!(false), &json!(kind)));
        assert_eq!((&verdict["defect"]["line"], &verdict["lines"]), (&json!(line), &json!(line - 1)));
        assert_eq!(json.stderr(), "");
        let shown = site.audit(&["show", file])?.expect_code(0)?;
        // A tail that is cut at a line shows by its head alone.
        assert_eq!(shown.stderr().contains(&format!("warning: {file}:{line}: {kind}")), kind != "cut");
    }
    let good = site.audit(&["verify", "--head", &head, "--format", "json"])?.expect_code(0)?;
    let verdict: Value = serde_json::from_str(&good.stdout()).expect("JSON");
    let expected = json!({
        "file": site.log(), "good": true, "lines": 8, "torn": 0, "head": head, "lines_after_head": 0, "defect": null,
    });
    assert_eq!(verdict, expected);
    Ok(())
}

#[test]
fn two_at_once_make_one_chain() -> Result<()> {
    const PAIRS: usize = 10;
    let site = Site::new();
    for _ in 0..PAIRS {
        let both = [site.shell("exit 0")?.spawn()?, site.shell("exit 0")?.spawn()?];
        for waft in both {
            waft.finish()?.expect_code(0)?;
        }
    }
    assert_eq!(hashes(&site.text()).len(), PAIRS * 2 * 4);
    let said = site.audit(&["verify"])?.expect_code(0)?.stdout();
    assert!(said.starts_with("80 lines, "), "{said}");
    Ok(())
}

#[test]
fn what_a_crash_tore_is_recorded_by_the_next_run() -> Result<()> {
    let site = Site::new();
    site.shell("true")?.run()?.expect_code(0)?;
    let torn = site.text() + "{\"event\":\"run_sta";
    fs::write(site.log(), &torn).expect("written");
    let said = site.audit(&["verify"])?.expect_code(5)?.stderr();
    assert!(said.contains(":5: torn: this line is torn (17 bytes without a line end)"), "{said}");
    site.shell("true")?.run()?.expect_code(0)?;
    assert!(site.text().starts_with(&torn), "nothing is rewritten");
    let said = site.audit(&["verify"])?.expect_code(0)?.stdout();
    assert!(said.starts_with("9 lines, ") && said.contains("\n1 line torn by a crash"), "{said}");
    let shown = site.audit(&["show"])?.expect_code(0)?;
    assert!(shown.stdout().contains("a line of 17 bytes was torn"), "{}", shown.stdout());
    assert_eq!(shown.stderr(), "");
    Ok(())
}

#[test]
fn a_name_and_an_output_that_look_like_lines_are_none() -> Result<()> {
    let site = Site::new();
    let module = "(module (memory (export \"memory\") 1) (func (export \"_start\")))";
    let name = "x\"}\n{\"event\":\"forged\",\u{1b}]0;\u{202e}";
    let task = site.0.path().join(format!("{name}.wasm"));
    fs::write(&task, wat::parse_str(module).expect("good text")).expect("written");
    site.waft("run")?.arg(&task).args(["-t", "local"]).run()?.expect_code(0)?;
    site.shell("printf '\\n{\"event\":\"forged\"}\\n\\033[2J\\377'")?.run()?.expect_code(0)?;
    assert_eq!(hashes(&site.text()).len(), 7);
    assert_eq!(site.lines()[0]["task"], name);
    for format in ["human", "json", "jsonl"] {
        let shown = site.audit(&["show", "--format", format])?.expect_code(0)?.stdout();
        let hostile = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
        assert_eq!(shown.chars().find(hostile), None, "{format}: {shown:?}");
    }
    assert_eq!(site.audit(&["show"])?.stdout().lines().count(), 8);
    Ok(())
}

#[test]
fn where_it_cannot_be_written_nothing_runs() -> Result<()> {
    let site = Site::new();
    site.shell("true")?.run()?.expect_code(0)?;
    let ran = site.0.path().join("ran");
    let refused = |what: &str| -> Result<()> {
        let output = site.shell(&format!("touch {}", ran.display()))?.run()?.expect_code(2)?;
        let said = output.stderr();
        assert!(said.contains(what) && said.contains("hint: "), "{said}");
        assert!(!ran.exists());
        Ok(())
    };
    let chmod = |path: PathBuf, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
    };
    for path in [site.dir(), site.log(), site.0.path().join("waft")] {
        let good = fs::metadata(&path).expect("it is there").permissions().mode();
        chmod(path.clone(), 0o777);
        refused("can be written by others (mode 777)")?;
        chmod(path, good);
    }
    let before = site.text();
    let elsewhere = site.0.path().join("elsewhere");
    fs::rename(site.log(), &elsewhere).expect("moved");
    symlink(&elsewhere, site.log()).expect("made");
    refused("is a symbolic link")?;
    assert_eq!(fs::read_to_string(&elsewhere).expect("it is there"), before);
    fs::remove_file(site.log()).expect("removed");
    fs::write(site.log(), before.replacen("\"seq\":4", "\"seq\":5", 1)).expect("written");
    chmod(site.log(), 0o600);
    refused("the last line of")?;
    fs::remove_file(site.log()).expect("removed");
    site.shell("true")?.run()?.expect_code(0)?;
    Ok(())
}

#[test]
fn the_directory_of_another_user_is_refused() -> Result<()> {
    need_root!("giving a directory away");
    let site = Site::new();
    fs::create_dir_all(site.dir()).expect("made");
    chown(site.dir(), Some(4711), None).expect("root may");
    let output = site.shell("true")?.run()?.expect_code(2)?;
    assert!(output.stderr().contains("belongs to another user (uid 4711"), "{}", output.stderr());
    Ok(())
}

#[test]
fn on_a_full_disk_nothing_runs() -> Result<()> {
    need_root!("a file system of its own");
    let site = Site::new();
    let ran = site.0.path().join("ran");
    let state = site.0.path().join("state");
    fs::create_dir(&state).expect("made");
    let script = format!(
        "mount -t tmpfs -o size=64k none {state} && mkdir -m 700 -p {state}/waft/audit && \
         head -c 1000000 /dev/zero > {state}/waft/filler; \
         XDG_STATE_HOME={state} exec {waft} exec -t local -- /bin/touch {ran}",
        state = state.display(),
        waft = binary()?.display(),
        ran = ran.display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", &script]);
    command.env("HOME", site.0.path()).env_remove("SSH_AUTH_SOCK");
    let finished = process::run(command, b"", LIMIT)?;
    let said = finished.stderr_text();
    assert_eq!(finished.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no room for the audit log"), "{said}");
    assert!(!ran.exists());
    Ok(())
}

#[test]
fn a_run_that_cannot_be_recorded_any_more_fails() -> Result<()> {
    let site = Site::new();
    let go = site.0.path().join("go");
    let wait = format!("until test -e {}; do sleep 0.05; done", go.display());
    let waft = site.shell(&wait)?.spawn()?;
    wait_until("the run is in the log", LIMIT, || {
        fs::read_to_string(site.log()).is_ok_and(|log| log.ends_with('\n')).then_some(())
    })?;
    fs::set_permissions(site.dir(), Permissions::from_mode(0o777)).expect("changed");
    fs::write(&go, "").expect("written");
    let output = waft.finish()?.expect_code(1)?;
    assert!(output.stderr().contains("can be written by others (mode 777)"), "{}", output.stderr());
    let lines = site.lines();
    assert_eq!(lines[0]["event"], "run_started");
    assert!(lines[1..].iter().all(|line| line["event"] == "call"), "{lines:?}");
    Ok(())
}

#[test]
fn a_run_that_cannot_be_shown_is_recorded_to_its_end() -> Result<()> {
    let site = Site::new();
    let line =
        format!("exec {} exec -t local --format jsonl -- /bin/sleep 60 > /dev/full", binary()?.display());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &line]).env_remove("SSH_AUTH_SOCK");
    command.env("HOME", site.0.path()).env("XDG_STATE_HOME", site.0.path());
    let finished = process::run(command, b"", LIMIT)?;
    let said = finished.stderr_text();
    assert_eq!(finished.status.code(), Some(1), "{said}");
    assert!(said.contains("the report could not be written"), "{said}");
    let lines = site.lines();
    let ends: Vec<&Value> = lines.iter().map(|line| &line["event"]).collect();
    assert_eq!(ends, ["run_started", "result", "run_finished"]);
    assert_eq!(lines[1]["status"], "cancelled");
    Ok(())
}
