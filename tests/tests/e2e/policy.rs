//! `waft policy`, as an operator uses it before a node gets the file.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use waft_tests::waft::{Output, Waft};
use waft_tests::{Context, Result};

const POLICY: &str = r#"version = 1
max_timeout = "1m"

[revoked]
hashes = ["1111111111111111111111111111111111111111111111111111111111111111"]

[[rule]]
name = "releases"
who = ["ci-*"]
signers = ["release@example.com"]
grants = ["fs:/srv:rw", "exec:/usr/bin/id", "time:10s"]

[[rule]]
name = "look"
tasks = ["facts"]
days = ["sat"]
hours = "22:00-06:00"
grants = ["facts", "fs:/etc"]

[[rule]]
name = "dry"
tasks = ["dry-*"]
check = "only"
wall = "required"
grants = ["given"]
"#;
/// In the hours of the rule `look`, which begin on Saturday.
const SUNDAY_MORNING: &str = "2026-11-22T05:59:59Z";

fn policy(words: &[&str]) -> Result<Waft> {
    Ok(Waft::new("policy")?.args(words))
}

/// A policy beside waft's home, and the way to it.
fn written(waft: &Waft, text: &str) -> Result<PathBuf> {
    let file = waft.home().join("policy.toml");
    fs::write(&file, text).context(|| "cannot write a policy".to_owned())?;
    mode(&file, 0o644)?;
    Ok(file)
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context(|| "cannot set a mode".to_owned())
}

fn check(text: &str, words: &[&str]) -> Result<Output> {
    let waft = policy(&["check"])?.args(words);
    let file = written(&waft, text)?;
    waft.arg(file).run()
}

fn explain(words: &[&str]) -> Result<Output> {
    let waft = policy(&["explain"])?;
    let file = written(&waft, POLICY)?;
    waft.arg(file).args(words).run()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&output.stdout()).expect("one JSON document, and nothing else")
}

#[test]
fn the_example_of_the_page_is_good() -> Result<()> {
    let page = include_str!("../../../docs/policy.md");
    let example = page.split("```").find_map(|block| block.strip_prefix("toml\n")).expect("an example");
    let output = check(example, &[])?.expect_code(0)?;
    assert!(
        output.stdout().ends_with("policy.toml: 4 rules, no problems, no warnings\n"),
        "{}",
        output.stdout()
    );
    assert_eq!(output.stderr(), "");
    Ok(())
}

#[test]
fn every_mistake_has_its_place_and_what_to_do() -> Result<()> {
    let text = "version = 1\nwal = \"best\"\n[[rule]]\nname = \"a\"\ngrants = [\"exec:x\", \"fs:etc\"]\n";
    let output = check(text, &[])?.expect_code(2)?;
    let said = output.stderr();
    assert_eq!(output.stdout(), "");
    assert!(
        said.contains("policy.toml:2: `wal` is no key of a policy\n  hint: did you mean `wall`?\n"),
        "{said}"
    );
    assert!(
        said.contains("policy.toml:5: the grant `fs:etc` cannot be read: expected an absolute path"),
        "{said}"
    );
    let output = check(text, &["--format", "json"])?.expect_code(2)?;
    let value = json_of(&output);
    assert_eq!((&value["valid"], &value["rules"]), (&json!(false), &Value::Null));
    assert_eq!(value["problems"][0]["line"], 2);
    assert_eq!(value["problems"][1]["code"], "grant.syntax");
    assert_eq!(output.stderr(), "");
    // What a file holds never reaches the terminal as it is.
    let output = check("version = 1\n\"\\u001b[31m\" = 1\n", &[])?.expect_code(2)?;
    assert!(!output.stderr().contains('\u{1b}'), "{}", output.stderr());
    let output = policy(&["check", "/no/such/policy.toml"])?.run()?.expect_code(2)?;
    assert!(output.stderr().contains("/no/such/policy.toml cannot be read"), "{}", output.stderr());
    Ok(())
}

#[test]
fn what_is_hardly_meant_is_a_warning_and_no_failure() -> Result<()> {
    let text = "version = 1\n[[rule]]\nname = \"all\"\ngrants = [\"exec:/bin/sh -c *\"]\n\
                [[rule]]\nname = \"late\"\nuntil = 2020-01-01T00:00:00Z\n";
    let output = check(text, &[])?.expect_code(0)?;
    assert!(output.stdout().ends_with("2 rules, no problems, 3 warnings\n"), "{}", output.stdout());
    let said = output.stderr();
    assert!(said.contains("policy.toml:2: `exec:/bin/sh -c *` in the rule `all` starts"), "{said}");
    assert!(said.contains("everything this user can do"), "{said}");
    assert!(
        said.contains("policy.toml:5: the rule `late` never decides: `all` before it (line 2)"),
        "{said}"
    );
    assert!(said.contains("policy.toml:5: the rule `late` expired at 2020-01-01T00:00:00Z"), "{said}");
    let value = json_of(&check(text, &["--format", "json"])?.expect_code(0)?);
    let codes: Vec<&Value> =
        value["warnings"].as_array().into_iter().flatten().map(|warning| &warning["code"]).collect();
    assert_eq!(codes, ["policy.exec", "policy.unreachable", "policy.expired"]);
    Ok(())
}

#[test]
fn an_installed_policy_must_be_out_of_the_reach_of_others() -> Result<()> {
    let waft = policy(&["check", "--installed"])?;
    let file = written(&waft, POLICY)?;
    let real = fs::canonicalize(&file).context(|| "no policy".to_owned())?;
    let run = |path: &Path| policy(&["check", "--installed"])?.arg(path).run();
    run(&real)?.expect_code(0)?;
    mode(&real, 0o664)?;
    let said = run(&real)?.expect_code(2)?.stderr();
    assert!(
        said.contains("others can write") && said.contains(&format!("hint: chmod go-w {}", real.display())),
        "{said}"
    );
    mode(&real, 0o644)?;
    let link = real.with_file_name("link.toml");
    symlink(&real, &link).context(|| "no link".to_owned())?;
    assert!(run(&link)?.expect_code(2)?.stderr().contains("is a symbolic link"));
    // Without --installed a draft may lie anywhere.
    policy(&["check"])?.arg(&link).run()?.expect_code(0)?;
    assert!(run(&real.with_file_name("none.toml"))?.expect_code(2)?.stderr().contains("there is no"));
    Ok(())
}

#[test]
fn explain_names_the_rule_and_what_is_left() -> Result<()> {
    let output = explain(&[
        "--task",
        "facts",
        "--who",
        "bob",
        "--allow",
        "facts",
        "--allow",
        "fs:/etc/ssl:rw",
        "--at",
        SUNDAY_MORNING,
    ])?;
    assert_eq!(
        output.expect_code(0)?.stdout(),
        "rule `releases` (line 7) does not match: it is for `ci-*`, not for `bob`; the module is not signed by \
         `release@example.com`\n\
         rule `look` (line 13) decides\n\
         note: without --hash, no rule with `hashes` matches\n\
         allowed, with:\n  facts\n  fs:/etc/ssl:ro\n\
         cut by the policy:\n  fs:/etc/ssl:rw\n\
         dry run: no; walls: best; time: at most 1m\n"
    );
    let dry = [
        "--task",
        "dry-1",
        "--who",
        "bob",
        "--allow",
        "exec:id",
        "--allow",
        "exec:ls:probe",
        "--format",
        "json",
    ];
    let value = json_of(&explain(&dry)?.expect_code(0)?);
    assert_eq!(
        (&value["rule"], &value["check"], &value["check_forced"], &value["wall"], &value["timeout_ms"]),
        (&json!("dry"), &json!(true), &json!(true), &json!("required"), &json!(60_000))
    );
    assert_eq!((&value["grants"], &value["withdrawn"]), (&json!(["exec:ls:probe"]), &json!(["exec:id"])));
    assert_eq!(value["steps"][2]["matches"], true);
    Ok(())
}

#[test]
fn explain_and_check_say_where_programs_have_to_be_confined() -> Result<()> {
    let words =
        ["--task", "x", "--who", "ci-1", "--signer", "release@example.com", "--allow", "exec:/usr/bin/id"];
    let said = explain(&words)?.expect_code(0)?.stdout();
    assert!(
        said.contains(
            "in site mode, where a task does not ask for `confine`, refused:\n  grant.unconfined: the rule `releases` of \
             this node's policy starts `/usr/bin/id` only confined, and that was not asked for\n  in the node's policy, \
             rule `releases`: unconfined = true; or in the task: \"confine\": true\n"
        ),
        "{said}"
    );
    let value = json_of(&explain(&[&words[..], &["--format", "json"]].concat())?);
    assert_eq!(value["unconfined"], false);
    let key = policy(&["key", "--name", "ci-1"])?.run()?.expect_code(0)?.stdout();
    let with = |line: &str| POLICY.replace("\"time:10s\"]\n", &format!("\"time:10s\"]\n{line}")) + &key;
    let said = check(&with(""), &[])?.expect_code(0)?.stderr();
    assert!(said.contains("in site mode the rule `releases` starts programs only confined"), "{said}");
    assert!(said.contains("`unconfined = true` below it"), "{said}");
    assert!(!check(&with("unconfined = true\n"), &[])?.expect_code(0)?.stderr().contains("confined"));
    Ok(())
}

#[test]
fn explain_ends_with_5_when_the_run_would_be_refused() -> Result<()> {
    // A minute later the rule's hours are over.
    let late = ["--task", "facts", "--who", "bob", "--at", "2026-11-22T06:00:00Z"];
    let output = explain(&late)?.expect_code(5)?;
    let said = output.stderr();
    assert!(
        said.contains("error: no rule of this node's policy matches: `bob` with the task `facts`"),
        "{said}"
    );
    assert!(said.contains("the rule `look` would, but it holds on sat 22:00-06:00 UTC"), "{said}");
    assert!(!output.stdout().contains("decides"), "{}", output.stdout());
    let revoked = "1".repeat(64);
    let words = ["--task", "dry-1", "--hash", &revoked, "--format", "json"];
    let output = explain(&words)?.expect_code(5)?;
    let value = json_of(&output);
    assert_eq!((&value["allowed"], &value["error"]["code"]), (&json!(false), &json!("policy.revoked")));
    assert_eq!((&value["steps"], &value["rule"]), (&json!([]), &Value::Null));
    for (words, wrong) in [
        (["--task", "x", "--hash", "12"], "64 hex digits"),
        (["--task", "x", "--at", "yesterday"], "a date and a zone"),
        (["--task", "x", "--allow", "fs:etc"], "an absolute path"),
    ] {
        let said = explain(&words)?.expect_code(2)?.stderr();
        assert!(said.contains(wrong), "{said}");
    }
    Ok(())
}
