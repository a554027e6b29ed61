//! Tasks that call tasks, as an operator gives them: `--allow call:NAME`. What a stub holds of such calls is tried by
//! `stub/tests/runner/tasks.rs`.

use crate::LIMIT;
use crate::attack::arena::attacks;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::proxy::Settings;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft};

/// A module that calls any function of its host, under several names.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Result<Desk> {
        let desk = Desk { dir: tempfile::tempdir().expect("a directory") };
        fs::write(desk.path("caller.wasm"), attacks()?).expect("written");
        Ok(desk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same module as a task in a directory of WAFT_PATH, with a manifest that asks for these.
    fn task(&self, name: &str, asks: &[&str]) -> Result<()> {
        fs::create_dir_all(self.path("lib")).expect("a directory");
        fs::write(self.path("lib").join(format!("{name}.wasm")), attacks()?).expect("written");
        fs::write(self.path("lib").join(format!("{name}.toml")), format!("grants = {}", json!(asks)))
            .expect("written");
        Ok(())
    }

    fn waft(&self, command: &str) -> Result<Waft> {
        Ok(Waft::new(command)?.env("WAFT_PATH", self.path("lib")).arg(self.path("caller.wasm")).limit(LIMIT))
    }

    /// `caller.wasm` with one call.
    fn run(&self, lab: &Lab, targets: &str, request: &Value, words: &[&str]) -> Result<Output> {
        let params = call("task", request);
        let waft = self.waft("run")?.lab(lab).args(["-t", targets, "--format", "jsonl", "-p", "attack=call"]);
        let waft = waft
            .args(["-p", "function=task", "-p"])
            .arg(format!("request={}", params["request"].as_str().expect("text")));
        waft.args(words).run()
    }
}

/// Parameters of the module: that function, with that request.
fn call(function: &str, request: &Value) -> Value {
    json!({"attack": "call", "function": function, "request": request.to_string()})
}

/// What a call was answered, in the result of the module or of one that it called.
fn reply(result: &Value) -> Value {
    let text = result["result"]["reply"].as_str().unwrap_or_else(|| panic!("no reply in {result}"));
    serde_json::from_str(text).expect("a reply is JSON")
}

fn lab() -> Result<Lab> {
    let behind = |name: &str| HostSpec::new(name).via("bas");
    let hosts =
        Lab::builder().host(HostSpec::new("h1")).host(HostSpec::new("bas").proxied(Settings::default()));
    hosts.host(behind("t1")).host(behind("t2")).host(behind("t3")).start()
}

#[test]
fn a_task_calls_what_it_was_given_directly_and_behind_a_hop() -> Result<()> {
    let (lab, desk) = (lab()?, Desk::new()?);
    let guard = LeakGuard::start();
    // Built in.
    let request = json!({"name": "facts"});
    let output =
        desk.run(&lab, "h1,t1", &request, &["--allow", "call:facts", "--allow", "facts"])?.expect_code(0)?;
    for target in ["h1", "t1"] {
        let answer = reply(&output.result_of(target)?);
        assert_eq!(answer["status"], "ok", "{answer}");
        assert!(answer["result"]["facts"]["kernel"].is_string(), "{answer}");
    }
    // From WAFT_PATH, and it calls on: each gets what all before it have, and its manifest asks for.
    desk.task("middle", &["call:inner", "facts"])?;
    desk.task("inner", &["facts", "env:HOME"])?;
    let inner = json!({"name": "inner", "params": call("facts", &json!({}))});
    let request = json!({"name": "middle", "params": call("task", &inner)});
    let grants = ["--allow", "call:middle", "--allow", "call:inner", "--allow", "facts"];
    let output = desk.run(&lab, "h1,t1", &request, &grants)?.expect_code(0)?;
    for target in ["h1", "t1"] {
        let facts = reply(&reply(&reply(&output.result_of(target)?)));
        assert!(facts["kernel"].is_string(), "{facts}");
    }
    let calls = output.events_of("call")?;
    let subjects: Vec<&str> = calls.iter().filter_map(|call| call["subject"].as_str()).collect();
    assert!(["middle", "inner"].iter().all(|name| subjects.contains(name)), "{calls:?}");
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn a_called_task_gets_no_more_than_its_manifest_asks_for_and_its_caller_has() -> Result<()> {
    let (lab, desk) = (Lab::of(1)?, Desk::new()?);
    desk.task("asks-nothing", &[])?;
    desk.task("asks-facts", &["facts"])?;
    let code = |name: &str, grants: &[&str]| -> Result<Value> {
        let request = json!({"name": name, "params": call("facts", &json!({}))});
        let words: Vec<&str> = grants.iter().flat_map(|grant| ["--allow", grant]).collect();
        let result = desk.run(&lab, "h1", &request, &words)?.result_of("h1")?;
        Ok(reply(&reply(&result))["error"]["code"].clone())
    };
    assert_eq!(code("asks-facts", &["facts", "call:asks-facts"])?, Value::Null);
    assert_eq!(code("asks-nothing", &["facts", "call:asks-nothing"])?, "grant.missing");
    assert_eq!(code("asks-facts", &["call:asks-facts"])?, "grant.missing");
    // A dry run is one all the way down.
    desk.task("starts", &["exec:/bin/true"])?;
    let exec = call("exec", &json!({"argv": ["/bin/true"]}));
    let request = json!({"name": "starts", "params": exec});
    let grants = ["--allow", "call:starts", "--allow", "exec:/bin/true"];
    let real = desk.run(&lab, "h1", &request, &grants)?.result_of("h1")?;
    assert_eq!(reply(&reply(&real))["exit_code"], 0, "{real}");
    let check = desk.run(&lab, "h1", &request, &[&grants[..], &["--check"]].concat())?.result_of("h1")?;
    assert_eq!(reply(&reply(&check))["error"]["code"], "grant.check", "{check}");
    Ok(())
}

/// Nothing is dialled.
#[test]
fn what_has_no_room_in_an_order_is_told_before_a_run() -> Result<()> {
    let desk = Desk::new()?;
    fs::create_dir_all(desk.path("lib")).expect("a directory");
    let mut run = desk.waft("run")?.args(["-t", "nobody@192.0.2.1"]);
    for at in 0..32 {
        fs::write(desk.path("lib").join(format!("t{at}.wasm")), b"\0asm\x01\0\0\0").expect("a module");
        fs::write(desk.path(&format!("f{at}")), [at]).expect("a file");
        let file = format!("p{at}@{}", desk.path(&format!("f{at}")).display());
        run = run.args(["--allow", &format!("call:t{at}"), "-p", &file]);
    }
    let refused = run.run()?.expect_code(2)?;
    for text in
        ["no room in it", "32 called tasks with their grants", "32 files", "give called tasks manifests"]
    {
        assert!(refused.stderr().contains(text), "{text} in {refused}");
    }
    assert_eq!(refused.stdout(), "");
    Ok(())
}

/// Nothing is dialled.
#[test]
fn a_task_of_a_directory_that_hides_a_built_in_one_is_told() -> Result<()> {
    let desk = Desk::new()?;
    desk.task("facts", &["facts"])?;
    desk.task("other", &["facts"])?;
    let explain = |name: &str| {
        Waft::new("explain")?.env("WAFT_PATH", desk.path("lib")).arg(name).limit(LIMIT).run()?.expect_code(0)
    };
    let file = desk.path("lib").join("facts.wasm");
    let text =
        format!("the task facts is {}, not the one of that name that is built into waft", file.display());
    let told = explain("facts")?;
    assert!(told.stderr().contains(&text), "{told}");
    let called = desk.waft("explain")?.args(["--allow", "call:facts"]).run()?.expect_code(0)?;
    assert!(called.stderr().contains(&text), "{called}");
    assert_eq!(explain("other")?.stderr(), "");
    Ok(())
}

/// Nothing is dialled.
#[test]
fn a_called_task_may_require_that_no_relay_can_read_a_secret() -> Result<()> {
    let desk = Desk::new()?;
    let manifest = |require: &str| {
        desk.task("inner", &["secret:pw"])?;
        let text = format!("grants = ['secret:pw']\n[secrets.pw]\n{require}\n");
        fs::write(desk.path("lib").join("inner.toml"), text).expect("written");
        Result::Ok(())
    };
    let words = ["--allow", "call:inner", "--allow", "secret:pw", "-t", "web", "--via", "bastion"];
    manifest("require = 'end-to-end'")?;
    let run = desk.waft("run")?.args(words).args(["--secret", "pw=env:PW"]).env("PW", "correct horse");
    let refused = run.run()?.expect_code(2)?;
    let text = "the secret `pw` requires `end-to-end`, and the hop `bastion` before `web` could read it";
    assert!(refused.stderr().contains(text), "{refused}");
    let page = desk.waft("explain")?.args(words).run()?.expect_code(0)?;
    for text in [
        "pw (text, requires end-to-end)",
        "and the task with those that it may call and that get it: inner",
        "bastion could read it: a run is refused before anything is sent",
    ] {
        assert!(page.stdout().contains(text), "{text} in {page}");
    }
    manifest("type = 'text'")?;
    let page = desk.waft("explain")?.args(words).run()?.expect_code(0)?;
    assert!(!page.stdout().contains("end-to-end)"), "{page}");
    Ok(())
}

#[test]
fn the_code_of_called_tasks_crosses_the_outer_link_once() -> Result<()> {
    let (lab, desk) = (lab()?, Desk::new()?);
    let outer = lab.host("bas").proxy.as_ref().expect("counted");
    desk.task("inner", &["facts"])?;
    let up = |targets: &str, grants: &[&str]| -> Result<u64> {
        let mark = outer.mark();
        let request = json!({"name": "inner", "params": call("facts", &json!({}))});
        desk.run(&lab, targets, &request, grants)?.expect_code(0)?;
        Ok(outer.since(mark).up_bytes)
    };
    let grants = ["--allow", "call:inner", "--allow", "facts"];
    let (one, three) = (up("t1", &grants)?, up("t[1-3]", &grants)?);
    let module = attacks()?.len() as u64;
    assert!(three < one + module / 2, "{one} bytes for one target, {three} for three");
    Ok(())
}

/// Nothing is dialled: the target could not be reached, which would be another exit code.
#[test]
fn a_callee_that_is_not_there_is_told_before_anything_is_dialled() -> Result<()> {
    let desk = Desk::new()?;
    let run = |grant: &str| {
        desk.waft("run")?
            .args(["-t", "ops@192.0.2.1:9", "--allow", grant, "--timeout", "1s"])
            .run()?
            .expect_code(2)
    };
    let output = run("call:backup")?;
    let lib = desk.path("lib").display().to_string();
    for words in ["`call:backup`", &lib, "./tasks", "WAFT_PATH", "do not give call:backup"] {
        assert!(output.stderr().contains(words), "{words} in {output}");
    }
    fs::create_dir_all(desk.path("lib")).expect("a directory");
    fs::write(desk.path("lib/backup.wasm"), "\0asm").expect("written");
    let broken = run("call:backup")?;
    assert!(broken.stderr().contains("backup is WebAssembly of another version"), "{broken}");
    let explained = desk.waft("explain")?.args(["--allow", "call:none"]).run()?.expect_code(2)?;
    assert!(explained.stderr().contains("`call:none`"), "{explained}");
    Ok(())
}

#[test]
fn explain_says_what_a_called_task_may_do() -> Result<()> {
    let desk = Desk::new()?;
    desk.task("inner", &["facts", "fs:/srv:ro", "call:middle"])?;
    desk.task("middle", &["mem:1M"])?;
    let grants = ["--allow", "call:inner", "--allow", "facts", "--allow", "fs:/srv:rw"];
    let page = desk.waft("explain")?.args(grants).args(["--format", "json"]).run()?.expect_code(0)?;
    let page: Value = serde_json::from_str(&page.stdout()).expect("JSON");
    let calls = &page["gets"][0]["calls"];
    assert_eq!(
        (&calls[0]["name"], &calls[0]["missing"], &calls[1]),
        (&"inner".into(), &json!(["call:middle"]), &Value::Null)
    );
    let rights: Vec<&str> = calls[0]["rights"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|line| line["grant"].as_str())
        .collect();
    assert_eq!(rights, ["facts", "fs:/srv:ro"]);
    let text =
        desk.waft("explain")?.args(grants).args(["--allow", "call:middle"]).run()?.expect_code(0)?.stdout();
    for words in
        ["may call inner, which then gets", "may call middle, which then gets", "no right", "within mem:1M"]
    {
        assert!(text.contains(words), "{words} in {text}");
    }
    Ok(())
}

#[test]
fn a_name_is_found_in_waft_path_and_in_tasks() -> Result<()> {
    let desk = Desk::new()?;
    desk.task("hello", &[])?;
    let found = |waft: Waft| -> Result<String> {
        let page = waft.args(["hello", "--format", "json"]).run()?.expect_code(0)?;
        let page: Value = serde_json::from_str(&page.stdout()).expect("JSON");
        Ok(page["task"]["file"].as_str().unwrap_or_default().to_owned())
    };
    let named = Waft::new("explain")?.env("WAFT_PATH", desk.path("lib"));
    assert_eq!(found(named)?, desk.path("lib/hello.wasm").display().to_string());
    // waft runs in its home.
    let here = Waft::new("explain")?;
    fs::create_dir(here.home().join("tasks")).expect("a directory");
    fs::copy(desk.path("lib/hello.wasm"), here.home().join("tasks/hello.wasm")).expect("copied");
    assert_eq!(found(here)?, "./tasks/hello.wasm");
    let none = Waft::new("run")?.args(["hello", "-t", "local"]).run()?.expect_code(2)?;
    assert!(none.stderr().contains("there is no task `hello`"), "{none}");
    Ok(())
}
