//! The host for tests, asked by the functions that tasks ask a real one with.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use waft_sdk::exec::Program;
use waft_sdk::serde_json::{Map, Value, json};
use waft_sdk::testing::{Dialog, Fake, Reply, run};
use waft_sdk::{Error, File, Outcome, Result, file};

type Any = Map<String, Value>;

fn program(words: &[&str]) -> Program {
    Program { argv: words.iter().map(|word| (*word).to_owned()).collect(), ..Program::default() }
}

/// What a task without parameters comes to.
fn does(host: &Fake, task: impl FnOnce() -> Result<()>) -> Result<()> {
    host.run(|_: Any| task().map(|()| Outcome::ok()), json!({})).map(drop)
}

fn code(done: Result<()>) -> String {
    done.unwrap_err().code
}

#[test]
fn programs_answer_in_order_and_are_kept() {
    let host = Fake::new()
        .program(&["is-active", "*"], Reply::new().exit(3))
        .program(&["is-active", "*"], Reply::new().stdout("active\n").stderr([0xff]))
        .program(&["kill", "**"], Reply::new().timed_out());
    does(&host, || {
        let (first, second) = (program(&["is-active", "a"]).run()?, program(&["is-active", "b"]).run()?);
        let third = program(&["is-active", "c"]).run()?;
        assert_eq!((first.exit_code, second.exit_code), (Some(3), Some(0)));
        assert_eq!((&second.stdout[..], &second.stderr[..]), (&b"active\n"[..], &[0xff][..]));
        assert_eq!(third, second, "the last one stays");
        let killed = program(&["kill", "-9", "1"]).run()?;
        assert!(killed.timed_out && killed.exit_code.is_none() && killed.signal == Some(9));
        Ok(())
    })
    .unwrap();
    assert_eq!(host.programs()[0], ["is-active", "a"]);
    assert_eq!((host.programs().len(), host.calls().len()), (4, 4));
}

#[test]
#[should_panic(expected = r#"the test does not expect: ["rm", "-rf", "/"]"#)]
fn a_program_that_nobody_expects_fails_the_test() {
    let host = Fake::new().program(&["rm", "*"], Reply::new());
    let _ = does(&host, || program(&["rm", "-rf", "/"]).run().map(drop));
}

#[test]
fn a_dry_run_starts_probes_only() {
    let host = Fake::new().probe(&["id"], Reply::new()).program(&["useradd", "*"], Reply::new()).check();
    let task = || {
        assert!(waft_sdk::is_check());
        program(&["id"]).run()?;
        program(&["useradd", "web"]).run().map(drop)
    };
    assert_eq!(code(does(&host, task)), "grant.check");
    assert_eq!(host.programs(), [["id"]]);
    assert_eq!(host.calls()[1].problem.as_deref(), Some("grant.check"));
    assert_eq!(code(does(&host, || waft_sdk::Connection::open("db", 1).map(drop))), "grant.check");
    assert!(!waft_sdk::is_check(), "outside of it");
}

#[test]
fn files_are_real_below_the_directory_and_nowhere_else() {
    let host = Fake::new();
    let dir = host.dir();
    let path = |name: &str| dir.join(name).display().to_string();
    let (a, b, c) = (path("a"), path("b"), path("c"));
    does(&host, || {
        assert_eq!(file::stat(&a)?.kind, None);
        fs::write(&a, "a")?;
        assert!(file::chmod(&a, 0o640)? && !file::chmod(&a, 0o640)?);
        let stat = file::stat(&a)?;
        assert_eq!((stat.kind.as_deref(), stat.mode.as_str(), stat.size), (Some("file"), "0640", 1));
        assert!(file::symlink(&b, "a")? && !file::symlink(&b, "a")?);
        assert_eq!(file::stat(&b)?.target.as_deref(), Some("a"));
        assert!(file::link(&a, &c)? && !file::rename(&a, &c)?, "one file with two names");
        assert!(file::utime(&a, Some("1767225600.5"), None)?);
        assert!(!file::utime(&a, Some("1767225600.500000000"), None)?);
        assert_eq!(file::stat(&a)?.mtime, "1767225600.500000000");
        assert!(!file::chown(&a, Some(&stat.uid.to_string()), None)?, "nothing to do");
        assert!(file::set_xattr(&a, "user.x", &[0xff])? && !file::set_xattr(&a, "user.x", &[0xff])?);
        assert_eq!(file::get_xattr(&a, "user.x")?, Some(vec![0xff]));
        assert!(file::remove_xattr(&a, "user.x")? && file::get_xattr(&a, "user.x")?.is_none());
        file::fsync(&a)
    })
    .unwrap();
    assert_eq!(fs::metadata(dir.join("a")).unwrap().mode() & 0o7777, 0o640);
    for (refused, expected) in [
        (file_of(&host, "/etc/passwd"), "grant.missing"),
        (file_of(&host, &format!("{a}/../../x")), "file.escape"),
        (does(&host, || file::chmod(&a, 0o4755).map(drop)), "file.setid"),
        (does(&host, || file::chmod(&b, 0o755).map(drop)), "file.symlink"),
        (does(&host, || file::chmod(&path("x"), 0o755).map(drop)), "file.not_found"),
        (does(&host, || file::chown(&a, Some("no such user"), None).map(drop)), "file.no_name"),
    ] {
        assert_eq!(code(refused), expected);
    }
    drop(host);
    assert!(!dir.exists(), "it is gone with the host");
}

fn file_of(host: &Fake, path: &str) -> Result<()> {
    does(host, || file::stat(path).map(drop))
}

#[test]
fn connections_follow_their_dialog() {
    let dialog = Dialog::new().expect("PING\r\n").answer("+PONG\r\n").answer("+BYE\r\n");
    let host = Fake::new().net("db", 6379, dialog);
    does(&host, || {
        assert_eq!(waft_sdk::resolve("db")?, ["192.0.2.1"]);
        let (mut connection, address) = waft_sdk::Connection::connect("db", 6379, None)?;
        assert_eq!(address, "192.0.2.1:6379");
        write!(connection, "PI")?;
        write!(connection, "NG\r\n")?;
        connection.shutdown()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        assert_eq!(answer, "+PONG\r\n+BYE\r\n");
        Ok(())
    })
    .unwrap();
    let asked: Vec<Value> = host.calls().into_iter().map(|call| call.request["op"].clone()).collect();
    assert_eq!(asked, ["resolve", "open", "shutdown", "close"]);
    let missing = does(&host, || waft_sdk::Connection::open("db", 6379).map(drop)).unwrap_err();
    assert_eq!(
        (missing.code.as_str(), missing.hint.as_deref()),
        ("grant.missing", Some("--allow net:db:6379"))
    );
}

#[test]
#[should_panic(expected = r#"the task wrote "QUIT", and the test expects "PING""#)]
fn other_words_than_expected_fail_the_test() {
    let host = Fake::new().net("db", 1, Dialog::new().expect("PING"));
    let _ = does(&host, || Ok(waft_sdk::Connection::open("db", 1)?.write_all(b"QUIT")?));
}

#[test]
#[should_panic(expected = r#"the task has ended, and the test still expects "QUIT""#)]
fn words_that_never_come_fail_the_test() {
    let host = Fake::new().net("db", 1, Dialog::new().expect("PING").expect("QUIT"));
    let _ = does(&host, || Ok(waft_sdk::Connection::open("db", 1)?.write_all(b"PING")?));
}

#[test]
fn a_program_that_is_not_there_is_told_as_by_a_target() {
    let missing = Error::new("exec.not_found", "There is no program apk.");
    let host = Fake::new().unstarted(&["apk", "**"], missing).probe(&["dpkg", "**"], Reply::new());
    let outcome = does(&host, || match program(&["apk", "info"]).run() {
        Err(error) if error.code == "exec.not_found" => program(&["dpkg", "-l"]).run().map(drop),
        other => other.map(drop),
    });
    assert_eq!((outcome, host.programs()), (Ok(()), vec![vec!["dpkg".to_owned(), "-l".to_owned()]]));
}

#[test]
fn facts_secrets_blobs_and_tasks_are_those_of_the_test() {
    let host = Fake::new()
        .facts(json!({"hostname": "web1"}))
        .secret("db/password", "geheim")
        .secret("key", [0xff])
        .task("facts", Ok(Outcome::changed(true).with("n", &1)))
        .task("bad", Err(Error::new("x.y", "No.")));
    let param = host.blob("app.tar", "0123456789");
    let task = |params: Any| -> Result<Outcome> {
        assert_eq!(waft_sdk::facts()?, r#"{"hostname":"web1"}"#);
        assert_eq!(
            (waft_sdk::secret("db/password")?, waft_sdk::secret("key")?),
            (b"geheim".to_vec(), vec![0xff])
        );
        let called = waft_sdk::call_task("facts", &json!({}))?;
        assert_eq!(
            (called.status.as_str(), called.result),
            ("changed", Some(json!({"changed": true, "n": 1})))
        );
        assert_eq!(waft_sdk::call_task("bad", &json!({}))?.exit_code, Some(1));
        let file: File = waft_sdk::serde_json::from_value(params["file"].clone())?;
        let mut text = String::new();
        file.open()?.read_to_string(&mut text)?;
        waft_sdk::log("a\nb")?;
        waft_sdk::progress(1, Some(2), None)?;
        Ok(Outcome::ok().with("text", &text))
    };
    let outcome = host.run(task, json!({"file": param})).unwrap();
    assert_eq!(outcome.field("text"), Some(r#""0123456789""#));
    assert_eq!(host.log(), ["a", "b"]);
    assert_eq!(host.progress(), [json!({"done": 1, "total": 2})]);
    let nothing = Fake::new();
    for task in [
        || waft_sdk::facts().map(drop),
        || waft_sdk::secret("x").map(drop),
        || waft_sdk::Blob::open("00").map(drop),
        || waft_sdk::call_task("x", &json!({})).map(drop),
    ] {
        assert_eq!(code(does(&nothing, task)), "grant.missing");
    }
}

#[test]
fn errors_that_come_out_of_a_read_are_the_hosts() {
    let done = run(
        |_: Any| -> Result<Outcome> {
            let error = std::io::Error::other(Error::new("net.closed", "Gone."));
            Err(error)?
        },
        json!({}),
    );
    assert_eq!(done.unwrap_err().code, "net.closed");
}
