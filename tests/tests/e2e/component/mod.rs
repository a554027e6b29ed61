//! Components (WASI 0.2) on real targets: by a program of their own, which comes with the run.

pub(crate) mod made;

use crate::LIMIT;
use crate::library::{Connected, module, wire_bytes};
use crate::via::behind_a_bastion;
use made::{guest, world};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use waft::run::Request;
use waft::stubs::{Shelf, builtin_task};
use waft_proto::msg::{Arch, BlobKind};
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Context, Error, Result};

/// A component in a file.
struct Task {
    _dir: TempDir,
    path: PathBuf,
}

impl Task {
    fn new(wasm: &[u8]) -> Result<Task> {
        let dir = tempfile::tempdir().context(|| "cannot make a directory".to_owned())?;
        let path = dir.path().join("component.wasm");
        fs::write(&path, wasm).context(|| "cannot write the component".to_owned())?;
        Ok(Task { _dir: dir, path })
    }

    fn run(&self, lab: &Lab, params: &Value, args: &[&str]) -> Result<Output> {
        let params = params.as_object().into_iter().flatten();
        let params = params.flat_map(|(name, value)| ["-p".to_owned(), format!("{name}:={value}")]);
        let waft = Waft::new("run")?.lab(lab).arg(self.path.display().to_string()).args(args).args(params);
        waft.args(["-t", "h1", "--format", "jsonl"]).limit(LIMIT).run()
    }
}

fn problem(result: &Value) -> (&str, &str) {
    let of = |field: &str| result["error"][field].as_str().unwrap_or_default();
    (of("code"), of("message"))
}

#[test]
fn the_wit_has_the_world_that_is_documented() -> Result<()> {
    assert_eq!(world()?, "import waft:task/host@1.0.0\nexport wasi:cli/run@0.2.0\n");
    Ok(())
}

#[test]
fn a_component_runs_behind_all_walls_and_ends_as_it_says() -> Result<()> {
    let lab = Lab::of(1)?;
    let task = Task::new(&guest()?)?;
    let guard = LeakGuard::start();
    let said = task.run(&lab, &json!({ "attack": "say" }), &[])?.expect_code(0)?;
    let result = said.result_of("h1")?;
    assert_eq!((&result["status"], &result["exit_code"]), (&"ok".into(), &0.into()), "{result}");
    assert_eq!(result["stderr"], "a component says\n");
    assert_eq!(result["result"]["args"], json!(["component"]));
    let env = result["result"]["env"].to_string();
    assert!(env.contains("WAFT_TASK") && env.contains("WAFT_TARGET") && !env.contains("PATH"), "{env}");
    assert!(result["walls"].as_array().is_some_and(|walls| walls.contains(&"seccomp".into())), "{result}");

    // `wasi:cli/exit` of the adapter says ok or failed.
    let failed = task.run(&lab, &json!({ "attack": "exit", "code": 3 }), &[])?.expect_code(3)?;
    assert_eq!(failed.result_of("h1")?["exit_code"], 1);
    let trapped = task.run(&lab, &json!({ "attack": "trap" }), &[])?.expect_code(3)?;
    let result = trapped.result_of("h1")?;
    assert_eq!(problem(&result).0, "task.trap", "{result}");
    assert!(problem(&result).1.contains("unreachable"), "{result}");
    drop((said, failed, trapped));
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn calls_of_the_world_are_those_of_modules() -> Result<()> {
    let lab = Lab::of(1)?;
    let task = Task::new(&guest()?)?;
    let call = |name: &str, request: Value, args: &[&str]| -> Result<(Value, Output)> {
        let output = task.run(&lab, &json!({ "attack": "call", "call": name, "request": request }), args)?;
        let answer = output.result_of("h1")?["result"]["answer"].clone();
        Ok((answer, output))
    };
    let (facts, _) = call("facts", json!({}), &["--allow", "facts"])?;
    assert!(facts["kernel"].is_string(), "{facts}");
    let (refused, _) = call("facts", json!({}), &[])?;
    assert_eq!(problem(&refused).0, "grant.missing", "{refused}");
    assert!(refused["error"]["hint"].as_str().is_some_and(|hint| hint.contains("--allow")), "{refused}");
    let echo = json!({ "argv": ["/bin/echo", "from", "a", "program"] });
    let (said, output) = call("exec", echo.clone(), &["--allow", "exec:/bin/echo **"])?;
    assert_eq!(said["stdout"], "from a program\n", "{said}");
    let calls = output.events_of("call")?;
    assert!(calls.iter().any(|call| call["call"] == "exec"), "{calls:?}");
    let (refused, output) = call("exec", echo, &[])?;
    assert_eq!(problem(&refused).0, "grant.missing", "{refused}");
    let calls = output.events_of("call")?;
    assert!(calls.iter().any(|call| call["code"] == "grant.missing"), "{calls:?}");
    let (wrong, _) = call("emit", json!({ "no": "such" }), &[])?;
    assert!(problem(&wrong).0.starts_with("emit."), "{wrong}");
    Ok(())
}

#[test]
fn limits_hold_for_components() -> Result<()> {
    let lab = Lab::of(1)?;
    let task = Task::new(&guest()?)?;
    let attack = |name: &str, args: &[&str], code: i32| -> Result<Value> {
        task.run(&lab, &json!({ "attack": name }), args)?.expect_code(code)?.result_of("h1")
    };
    let memory = attack("memory", &["--allow", "mem:32M"], 0)?;
    let mib = memory["result"]["mib"].as_u64();
    assert!((Some(24)..=Some(32)).contains(&mib), "{memory}");
    for without_end in ["loop", "sleep"] {
        let result = attack(without_end, &["--timeout", "500ms"], 3)?;
        assert_eq!(
            (&result["status"], problem(&result).0),
            (&"timed_out".into(), "task.timeout"),
            "{result}"
        );
    }
    let flood = attack("output", &["--allow", "out:64K", "--timeout", "500ms"], 3)?;
    assert_eq!(flood["stdout_truncated"], true, "{}", flood["status"]);
    let deep = attack("recursion", &[], 3)?;
    assert_eq!(problem(&deep).0, "task.trap", "{deep}");
    // As small as it is, it has to begin with more.
    let small = attack("say", &["--allow", "mem:64K"], 3)?;
    assert!(["limit.mem", "task.trap"].contains(&problem(&small).0), "{small}");
    Ok(())
}

#[test]
fn worker_and_artifact_cross_the_link_to_a_hop_once() -> Result<()> {
    /// Orders, reports and frames of a run with two targets, bytes.
    const REST_BYTES_MAX: u64 = 40_000;
    let lab = behind_a_bastion(2)?;
    let mut connected = Connected::to(&lab, &["t1", "t2"])?;
    connected.wait_joined()?;
    let request = module("component", guest()?);
    let worker = Arch::here().and_then(|arch| Shelf::worker(arch).ok().flatten()).expect("a worker for here");
    let needed = wire_bytes(BlobKind::Worker, &[&worker.bytes]) + connected.artifact_bytes(&request)?;
    assert!(needed < worker.bytes.len() as u64, "{needed} bytes: neither travels as it is");
    let first = connected.run(&request)?;
    assert_eq!(first.results.len(), 2);
    let up = first.frames.up;
    assert!((needed..needed + needed / 50 + REST_BYTES_MAX).contains(&up), "{up} bytes up for {needed}");
    let second = connected.run(&request)?.frames.up;
    assert!(second < REST_BYTES_MAX, "{second} bytes up when all is there");
    connected.stop()?;
    lab.wait_idle()
}

#[test]
fn an_interpreter_crosses_the_link_to_a_hop_once_whatever_the_scripts() -> Result<()> {
    /// Orders, scripts, reports and frames of a run with two targets, bytes.
    const REST_BYTES_MAX: u64 = 40_000;
    let missing = || Error::new("there is no task `javascript`: scripts/interpreters.sh, then build waft");
    let wasm = builtin_task("javascript").ok_or_else(missing)?;
    let script = |text: &str| {
        let params = json!({ "script": text }).to_string().into_bytes();
        Request { params, ..module("javascript", Arc::from(wasm)) }
    };
    let lab = behind_a_bastion(2)?;
    let mut connected = Connected::to(&lab, &["t1", "t2"])?;
    connected.wait_joined()?;
    let request = script("console.log('first')");
    let worker = Arch::here().and_then(|arch| Shelf::worker(arch).ok().flatten()).expect("a worker for here");
    let needed = wire_bytes(BlobKind::Worker, &[&worker.bytes]) + connected.artifact_bytes(&request)?;
    let up = connected.run(&request)?.frames.up;
    assert!((needed..needed + needed / 50 + REST_BYTES_MAX).contains(&up), "{up} bytes up for {needed}");
    let second = connected.run(&script("console.log('another one')"))?;
    assert!(second.results.iter().all(|result| result.stdout == b"another one\n"), "{second:?}");
    assert!(second.frames.up < REST_BYTES_MAX, "{} bytes up when all is there", second.frames.up);
    connected.stop()?;
    lab.wait_idle()
}

#[test]
fn a_dry_run_of_a_component_changes_nothing_and_says_what_it_would() -> Result<()> {
    let lab = Lab::of(1)?;
    let task = Task::new(&guest()?)?;
    let dir = lab.dir.path().join("granted");
    fs::create_dir(&dir).context(|| "cannot make a directory".to_owned())?;
    let (file, grant) = (dir.join("new"), format!("fs:{}:rw", dir.display()));
    let write = json!({ "attack": "write", "file": file });
    let dry = task.run(&lab, &write, &["--allow", &grant, "--check"])?;
    let result = dry.result_of("h1")?;
    assert!(!file.exists(), "{result}");
    if result["status"] == "refused" {
        assert_eq!(problem(&result).0, "check.overlay", "{result}");
        eprintln!("SKIPPED (no overlay here): what a dry run of a component says");
    } else {
        assert_eq!(result["status"], "changed", "{result}");
        let change = dry.events_of("change")?;
        assert!(change.iter().any(|change| change.to_string().contains("new")), "{change:?}");
    }
    // What it may only read needs an overlay as well: there could be a FIFO.
    let part = task.run(&lab, &write, &["--allow", &grant, "--allow", "fs:/proc:ro", "--check"])?;
    let result = part.result_of("h1")?;
    assert_eq!((&result["status"], problem(&result).0), (&"refused".into(), "check.overlay"), "{result}");
    task.run(&lab, &write, &["--allow", &grant])?.expect_code(0)?;
    assert_eq!(fs::read_to_string(&file).context(|| "nothing written".to_owned())?, "by a component");
    Ok(())
}

#[test]
fn what_no_host_has_is_refused_before_any_is_dialled() -> Result<()> {
    let lab = Lab::of(1)?;
    let of = |import: &str| format!(r#"(component (import "{import}" (instance (export "new" (func)))))"#);
    for (import, words) in [
        ("wasi:http/outgoing-handler@0.2.0", "imports wasi:http/outgoing-handler@0.2.0"),
        ("wasi:cli/environment@0.3.0", "of version 0.3.0"),
        ("wasi:cli/environment@0.2.3", "imports wasi:cli/environment@0.2.3#new"),
        ("waft:task/host@2.0.0", "of version 2.0.0"),
    ] {
        let task = Task::new(&wat::parse_str(of(import)).expect("a component"))?;
        let refused = task.run(&lab, &json!({}), &[])?.expect_code(2)?;
        assert!(refused.stderr().contains(words), "{refused}");
        assert!(refused.stderr().contains("without wasi:cli/run@0.2.0"), "{refused}");
    }
    Ok(())
}
