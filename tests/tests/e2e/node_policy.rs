//! A target with a policy of its own: a stub that is pushed there obeys it, says so, and calls it advisory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::LIMIT;
use serde_json::Value;
use waft_tests::lab::Lab;
use waft_tests::machine::{Login, Machine};
use waft_tests::waft::Waft;
use waft_tests::{Result, need_root};

const POLICY: &str = r#"version = 1
max_timeout = "20s"

[[rule]]
name = "look"
tasks = ["facts"]
grants = ["facts"]

[[rule]]
name = "true only"
tasks = ["exec"]
grants = ["exec:/bin/true"]
wall = "required"
"#;

/// Puts a policy on a machine, as root's.
fn install(machine: &Machine, text: &str, mode: u32) {
    let dir = machine.path("/etc/waft");
    fs::create_dir_all(&dir).expect("a directory");
    let file = dir.join("policy.toml");
    fs::write(&file, text).expect("a file");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("its mode");
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("its mode");
    for path in [dir, file] {
        chown(path, Some(0), Some(0)).expect("its owner");
    }
}

/// The one result of a command on the machine, and the exit code of waft.
fn result(lab: &Lab, words: &[&str], behind: &[&str]) -> Result<(Value, Option<i32>)> {
    let (command, arguments) = words.split_first().expect("a command");
    let waft = Waft::new(command)?.lab(lab).args(["-t", "t1", "--format", "jsonl"]).limit(LIMIT);
    let output = waft.args(arguments).args(behind).run()?;
    Ok((output.result_of("t1")?, output.code()))
}

fn exec(lab: &Lab, argv: &[&str]) -> Result<(Value, Option<i32>)> {
    result(lab, &["exec"], &[&["--"], argv].concat())
}

#[test]
fn a_policy_on_the_target_is_obeyed_and_said() -> Result<()> {
    need_root!("a policy that is root's");
    let lab = Lab::of(0)?;
    let machine = Machine::start(&lab, "t1", Login::Ordinary, None)?;
    let policy = |lab: &Lab| -> Result<String> {
        let ping = Waft::new("ping")?.lab(lab).args(["-t", "t1", "--format", "json"]).limit(LIMIT);
        let answer: Value = serde_json::from_str(&ping.run()?.expect_code(0)?.stdout()).expect("JSON");
        Ok(answer[0]["policy"].as_str().expect("a word").to_owned())
    };
    assert_eq!(policy(&lab)?, "none");
    let (without, code) = exec(&lab, &["/bin/echo", "hello"])?;
    assert_eq!((without["status"].as_str(), code), (Some("ok"), Some(0)), "{without}");

    install(&machine, POLICY, 0o644);
    assert_eq!(policy(&lab)?, "advisory");
    let (good, code) = exec(&lab, &["/bin/true"])?;
    assert_eq!((good["status"].as_str(), code), (Some("ok"), Some(0)), "{good}");
    assert_eq!(good["policy"], "advisory");
    let walls: Vec<&str> =
        good["walls"].as_array().expect("walls").iter().filter_map(Value::as_str).collect();
    assert_eq!(walls, waft_proto::envelope::WALLS);
    let (refused, code) = exec(&lab, &["/bin/echo", "hello"])?;
    assert_eq!((refused["status"].as_str(), code), (Some("refused"), Some(5)), "{refused}");
    assert_eq!(refused["error"]["code"], "grant.missing");
    let said = refused["error"]["message"].as_str().expect("a sentence");
    assert!(said.starts_with("the policy of this node lacks `exec:"), "{said}");
    let (facts, _) = result(&lab, &["run", "facts", "--allow", "facts"], &[])?;
    assert_eq!(facts["status"], "ok", "{facts}");
    Ok(())
}

#[test]
fn a_policy_that_others_may_write_allows_nothing() -> Result<()> {
    need_root!("a policy that is root's");
    let lab = Lab::of(0)?;
    let machine = Machine::start(&lab, "t1", Login::Ordinary, None)?;
    for (text, mode, code) in
        [(POLICY, 0o666, "policy.unsafe"), ("version = 1\n[[rul", 0o644, "policy.syntax")]
    {
        install(&machine, text, mode);
        let (refused, exit) = exec(&lab, &["/bin/true"])?;
        assert_eq!((refused["status"].as_str(), exit), (Some("refused"), Some(5)), "{refused}");
        assert_eq!(refused["error"]["code"], code, "{refused}");
    }
    Ok(())
}

#[test]
fn a_node_whose_policy_does_not_say_so_is_no_hop() -> Result<()> {
    need_root!("a policy that is root's");
    let lab = Lab::of(0)?;
    let hop = Machine::start(&lab, "bas", Login::Ordinary, None)?;
    let _target = Machine::start(&lab, "t1", Login::Ordinary, Some("bas"))?;
    install(&hop, POLICY, 0o644);
    let (refused, exit) = exec(&lab, &["/bin/true"])?;
    assert_eq!(
        (refused["error"]["code"].as_str(), exit.is_some_and(|code| code != 0)),
        (Some("policy.relay"), true),
        "{refused}"
    );
    install(&hop, &format!("relay = true\n{POLICY}"), 0o644);
    let (good, code) = exec(&lab, &["/bin/true"])?;
    assert_eq!((good["status"].as_str(), code), (Some("ok"), Some(0)), "{good}");
    Ok(())
}
