//! What a task gets from another that calls it no controller has looked at: each task that waft ships refuses by itself what it
//! cannot use, before it does anything.

use crate::desk::Desk;
use crate::examples::{shipped, shown};
use serde_json::{Value, json};
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::waft::Waft;

/// Calls of one execution.
const CALLS_MAX: usize = 64;
/// The exit code of a task whose parameters are none.
const USAGE: u32 = 2;

/// No task has such a parameter.
const UNKNOWN: &str = "no_such_parameter";

/// A task that makes these calls, and prints an answer a line.
fn caller(requests: &[Value]) -> Vec<u8> {
    let (mut data, mut calls, mut at) = (String::new(), String::new(), 65_536);
    for request in requests {
        let request = request.to_string();
        let bytes: String = request.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        data += &format!("(data (i32.const {at}) \"{bytes}\")\n");
        calls += &format!("(call $one (i32.const {at}) (i32.const {}))\n", request.len());
        at += request.len();
    }
    let text = format!(
        r#"(module
          (import "waft_v1" "task" (func $task (param i32 i32) (result i32)))
          (import "waft_v1" "take" (func $take (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 4)
          {data}
          (func $print (param $length i32)
            (i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (local.get $length))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
          (func $one (param $at i32) (param $length i32) (local $left i32)
            (local.set $left (call $task (local.get $at) (local.get $length)))
            (if (i32.or (i32.lt_s (local.get $left) (i32.const 0)) (i32.gt_s (local.get $left) (i32.const 60000)))
              (then unreachable))
            (drop (call $take (i32.const 100) (local.get $left)))
            (i32.store8 (i32.add (i32.const 100) (local.get $left)) (i32.const 10))
            (call $print (i32.add (local.get $left) (i32.const 1))))
          (func (export "_start") {calls}))"#
    );
    wat::parse_str(text).expect("good text")
}

/// For a task: a parameter that it does not have, one of another type than it has, and each by its other names.
fn wrong(task: &str) -> Result<Vec<Value>> {
    let schema = shown(task)?["params"].clone();
    let properties = schema["properties"].as_object().cloned().unwrap_or_default();
    let scalar = |kind: &Value| ["string", "integer", "boolean"].iter().any(|scalar| kind == scalar);
    let typed = properties.iter().find(|(_, schema)| scalar(&schema["type"])).map(|(name, _)| name.as_str());
    let aliases = properties.values().filter_map(|schema| schema["x-aliases"].as_array()).flatten();
    let mut all = vec![json!({UNKNOWN: 1})];
    all.extend(typed.into_iter().chain(aliases.filter_map(Value::as_str)).map(|name| json!({name: [[[]]]})));
    Ok(all)
}

#[test]
fn each_shipped_task_refuses_by_itself_what_it_cannot_use() -> Result<()> {
    let (lab, dir) = (Lab::of(1)?, tempfile::tempdir().expect("a directory"));
    let mut requests = Vec::new();
    for task in shipped() {
        requests.extend(wrong(&task)?.into_iter().map(|params| json!({"name": task, "params": params})));
    }
    assert!(requests.len() > shipped().len(), "{} requests", requests.len());
    let mut strangers = Vec::new();
    for some in requests.chunks(CALLS_MAX) {
        let file = dir.path().join("calls.wasm");
        std::fs::write(&file, caller(some)).expect("written");
        let grants: std::collections::BTreeSet<String> =
            some.iter().filter_map(|request| Some(format!("call:{}", request["name"].as_str()?))).collect();
        let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
        let file = file.to_string_lossy();
        let waft: Waft = Desk::waft(&lab, dir.path(), "h1", &file, &json!({}), &grants, &[])?;
        let result = waft.run()?.expect_code(0)?.result_of("h1")?;
        let answers: Vec<Value> = result["stdout"]
            .as_str()
            .unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str(line).expect("an answer"))
            .collect();
        assert_eq!(answers.len(), some.len(), "{result}");
        for (request, answer) in some.iter().zip(&answers) {
            assert_eq!(
                (&answer["status"], &answer["exit_code"]),
                (&json!("failed"), &json!(USAGE)),
                "{request} {answer}"
            );
            let error = &answer["result"]["error"];
            // Those that become a program have no result of their own.
            let is_told = error["code"].as_str().is_some_and(|code| code.starts_with("params."));
            assert!(is_told || answer["result"].is_null(), "{request} {answer}");
            let is_known = request["params"].get(UNKNOWN).is_none();
            let is_unknown = error["message"].as_str().is_some_and(|text| text.contains("unknown field"));
            if is_told && is_known == is_unknown {
                strangers.push(format!("{request}: {}", error["message"]));
            }
        }
    }
    assert!(strangers.is_empty(), "{strangers:#?}");
    Ok(())
}
