use crate::desk::{Desk, Script};
use crate::{text, works};
use serde_json::{Value, json};
use waft_tests::Result;
use waft_tests::machine::is_possible;

fn script(what: &str, params: Value) -> Script {
    let text = match what {
        "write" => {
            r#"
const { path, text } = waft.params();
waft.writeFile(path, text);
const dir = path.slice(0, path.lastIndexOf("/"));
if (waft.listDir(dir).join() !== "made") throw new Error(waft.listDir(dir).join());
waft.result(true, "written", { check: waft.check, read: waft.readFile(path), args: scriptArgs.slice(1) });
"#
        }
        "run" => {
            "waft.result(false, null, { stdout: waft.run(waft.params().argv, { check: true }).stdout });"
        }
        "loop" => "for (;;) {}",
        "exit" => "console.log('before');\nwaft.exit(waft.params().code);",
        other => panic!("there is no script {other}"),
    };
    of(text, params)
}

fn of(text: &'static str, params: Value) -> Script {
    Script { task: "javascript", name: "try.js", text, params }
}

#[test]
fn a_javascript_script_runs_where_there_is_no_javascript() -> Result<()> {
    if !is_possible() {
        eprintln!("SKIPPED: a machine with a root of its own, for which user namespaces are needed");
        return Ok(());
    }
    let desk = Desk::of("javascript")?;
    works(&desk, script)?;
    its_own(&desk)
}

/// What only JavaScript has.
fn its_own(desk: &Desk) -> Result<()> {
    let throws = "
function inner(value) {
    throw new RangeError(`not ${value}`);
}
inner(1);
";
    let result = desk.result(&of(throws, json!({})), &[], &[], 3)?;
    let said = text(&result, "stderr");
    assert_eq!(result["exit_code"], 1, "{result}");
    assert!(said.starts_with("RangeError: not 1\n"), "{said}");
    assert!(said.contains("at inner (try.js:3:") && said.contains("at <script> (try.js:5:"), "{said}");
    assert!(!said.contains("main.js"), "{said}");
    let result = desk.result(&of("let a = 1;\nlet b c;\n", json!({})), &[], &[], 3)?;
    let said = text(&result, "stderr");
    assert!(said.starts_with("SyntaxError") && said.contains("try.js:2"), "{said}");
    let result = desk.result(
        &of("console.log('plain', 1, { a: [2] }); console.error('log')", json!({})),
        &[],
        &[],
        0,
    )?;
    let said = (text(&result, "stdout"), text(&result, "stderr"));
    assert_eq!(said, ("plain 1 {\"a\":[2]}\n", "log\n"), "{result}");

    // Half of a surrogate pair is no text that waft could read; and each run draws other numbers.
    let cut = "waft.result(true, '\\u{1f600}'.slice(0, 1), { drawn: Math.random() });";
    let printed = "console.log({ changed: true, msg: '\\ud83d', drawn: Math.random() })";
    let [first, second] = [cut, printed].map(|script| desk.result(&of(script, json!({})), &[], &[], 0));
    let (first, second) = (first?, second?);
    for result in [&first, &second] {
        assert_eq!(
            (&result["status"], text(&result["result"], "msg")),
            (&"changed".into(), "\u{fffd}"),
            "{result}"
        );
    }
    let drawn = [&first, &second].map(|result| &result["result"]["drawn"]);
    assert!(drawn[0].is_f64() && drawn[0] != drawn[1], "{first} {second}");

    let calls = r#"
waft.log("a line", 1);
waft.progress(1, 2, "half");
let refused;
try {
    waft.secret("none");
} catch (error) {
    refused = error.code;
}
const made = "/home/ops/data/made";
waft.appendFile(made, "!");
const missing = waft.exists(made + "2");
waft.result(false, null, {
    kernel: "kernel" in waft.facts(), kind: waft.file("stat", made).kind, read: waft.readFile(made), refused, missing,
});
"#;
    let result = desk.result(&of(calls, json!({})), &["facts", "fs:/home/ops/data:rw"], &[], 0)?;
    let expected = json!({ "changed": false, "kernel": true, "kind": "file", "read": "h\u{e9}llo!",
        "refused": "grant.missing", "missing": false });
    assert_eq!(result["result"], expected, "{result}");
    Ok(())
}
