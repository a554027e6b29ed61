//! A stub that is not ours: the reader of `tests/reader`, in Python, made from docs/protocol.md. A target has it
//! installed, and `waft` works with it as with its own.

use crate::LIMIT;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft};

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reader/waft_reader.py");
const TARGET: &str = "t1";
/// Of data in the module, so that its artifact takes many chunks, and credit while they come.
const DATA_BYTES: usize = 200_000;
/// Far more than travels inside an order.
const LARGE_BYTES: usize = 100_000;
/// Before the artifact in a file of the controller's cache: a word of 8 bytes, the hash of its module and its own.
const CACHE_HEADER_BYTES: usize = 8 + 32 + 32;

/// A lab whose target starts the reader where it would start an installed stub.
fn lab(via: Option<&str>) -> Result<Lab> {
    let builder = via.iter().fold(Lab::builder(), |lab, hop| lab.host(HostSpec::new(*hop)));
    let target = HostSpec::new(TARGET);
    let lab = builder.host(via.into_iter().fold(target, HostSpec::via)).start()?;
    let stub = lab.dir.path().join("other-stub");
    // Without byte code: it would stay in the source tree.
    fs::write(&stub, format!("#!/bin/sh\nexec python3 -B '{READER}' \"$@\"\n")).expect("written");
    fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).expect("executable");
    let inventory = fs::read_to_string(&lab.inventory).expect("the lab's inventory");
    let section = format!("[hosts.{TARGET}]\n");
    assert!(inventory.contains(&section), "{inventory}");
    let installed = format!("{section}installed = \"{}\"\n", stub.display());
    fs::write(&lab.inventory, inventory.replace(&section, &installed)).expect("written");
    Ok(lab)
}

fn waft(lab: &Lab, command: &str, arguments: &[&str]) -> Result<Waft> {
    Ok(Waft::new(command)?.lab(lab).args(["-t", TARGET]).args(arguments).limit(LIMIT))
}

fn answers(lab: &Lab, hops: usize) -> Result<()> {
    let ping = waft(lab, "ping", &["--format", "json"])?.run()?.expect_code(0)?.stdout();
    let found: Value = serde_json::from_str(&ping).expect("JSON");
    let [found] = found.as_array().map(Vec::as_slice).unwrap_or_default() else { panic!("{ping}") };
    for (field, value) in
        [("target", TARGET), ("status", "ok"), ("delivery", "installed"), ("policy", "none")]
    {
        assert_eq!(found[field], value, "{ping}");
    }
    assert_eq!((&found["stub"]["release"], &found["stub"]["kind"]), (&"reader".into(), &"leaf".into()));
    assert!(found["rtt_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{ping}");

    let tree = waft(lab, "tree", &[])?.run()?.expect_code(0)?.stdout();
    let (_, met) = tree.split_once("\n\n").expect("two trees");
    let drawn = |line: &&str| line.contains(TARGET) && line.contains(" leaf, ") && line.contains("installed");
    assert_eq!(met.lines().filter(drawn).count(), 1, "{tree}");
    assert_eq!(met.lines().filter(|line| line.contains(" hop, ")).count(), hops, "{tree}");
    Ok(())
}

/// A task which a stub with an engine could run as well.
fn task(lab: &Lab) -> String {
    let data: String = (0..DATA_BYTES).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let text = format!(
        r#"(module (memory (export "memory") 4) (data (i32.const 0) "{data}") (func (export "_start")))"#
    );
    let path = lab.dir.path().join("task.wasm");
    fs::write(&path, wat::parse_str(text).expect("good text")).expect("written");
    path.display().to_string()
}

/// Everything that this waft compiled, as the reader would name it.
fn artifacts(home: &Path) -> Vec<String> {
    let files = fs::read_dir(home.join("cache/waft/artifacts")).expect("the cache of waft");
    let artifact = |file: fs::DirEntry| {
        let bytes = fs::read(file.path()).expect("an artifact");
        let artifact = bytes.get(CACHE_HEADER_BYTES..).expect("more than the header");
        format!("artifact of {} bytes, {}", artifact.len(), blake3::hash(artifact))
    };
    files.map(|file| artifact(file.expect("an entry"))).collect()
}

/// The reader has no engine: it logs what came, gives the input back, and ends as the input says.
fn runs(lab: &Lab, task: &str, params: &Value) -> Result<()> {
    let text = params.to_string();
    let file = lab.dir.path().join("params.json");
    fs::write(&file, &text).expect("written");
    let file = file.display().to_string();
    let waft = waft(lab, "run", &["--format", "jsonl", "--params", &file, task])?;
    // The second time the artifact comes from the cache, and goes to a new process.
    for _ in 0..2 {
        let exit_code = &params["exit_code"];
        let (code, status) = if *exit_code == 0 { (0, "ok") } else { (3, "failed") };
        let output = waft.run()?.expect_code(code)?;
        let result = output.result_of(TARGET)?;
        assert_eq!((&result["status"], &result["exit_code"]), (&status.into(), exit_code), "{output}");
        assert_eq!((&result["result"], &result["error"]), (params, &Value::Null), "{output}");
        let stdout = streamed(&output, "stdout")?;
        assert_eq!(serde_json::from_str::<Value>(&stdout).ok().as_ref(), Some(params), "{output}");

        let log = streamed(&output, "log")?;
        let made = artifacts(waft.home());
        assert!(made.iter().any(|artifact| log.starts_with(&format!("{artifact};"))), "{log}: {made:?}");
        assert!(log.ends_with(&format!("input of {} bytes\n", stdout.len())), "{log}");
    }
    Ok(())
}

/// What one stream of the target gave, from the first byte to the last.
fn streamed(output: &Output, stream: &str) -> Result<String> {
    let parts = output.events_of("output")?;
    let of_stream = parts.iter().filter(|part| part["stream"] == stream && part["target"] == TARGET);
    Ok(of_stream.filter_map(|part| part["text"].as_str()).collect())
}

fn serves(via: Option<&str>) -> Result<()> {
    let lab = lab(via)?;
    let guard = LeakGuard::start();
    answers(&lab, via.iter().count())?;
    let task = task(&lab);
    runs(&lab, &task, &json!({ "exit_code": 0, "word": "in the order" }))?;
    let large = "of a blob ".repeat(LARGE_BYTES / 10);
    runs(&lab, &task, &json!({ "exit_code": 7, "words": large }))?;
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn a_stub_made_from_the_page_serves_waft() -> Result<()> {
    serves(None)
}

#[test]
fn a_stub_made_from_the_page_serves_waft_behind_a_hop() -> Result<()> {
    serves(Some("bas"))
}
