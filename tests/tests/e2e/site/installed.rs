//! What an installed stub takes, from whom, and what it says of itself.

use super::{Place, RULES, WHO, told};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use waft_tests::process::{TOOL_LIMIT, run, run_tool};
use waft_tests::{Result, need_root};

#[test]
fn a_known_controller_runs_what_the_policy_allows_and_it_is_enforced() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let answer = place.ping()?;
    assert_eq!(
        (&answer["policy"], &answer["delivery"]),
        (&"enforced".into(), &"installed".into()),
        "{answer}"
    );
    let (good, _) = place.exec(&["/bin/echo", "hello"])?;
    assert_eq!(
        (told(&good), &good["stdout"], &good["policy"]),
        (("ok", ""), &"hello\n".into(), &"enforced".into())
    );
    let (refused, output) = place.exec(&["/bin/true"])?;
    assert_eq!((told(&refused), output.code()), (("refused", "grant.missing"), Some(5)), "{refused}");
    Ok(())
}

#[test]
fn the_node_records_what_is_done_to_it_and_each_log_carries_the_head_of_the_other() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let log = place.path("audit").join(&place.account.name);
    fs::create_dir_all(&log).expect("made");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o700)).expect("a mode");
    std::os::unix::fs::chown(&log, Some(place.account.uid), None).expect("its owner");
    let audit = format!("audit = \"{}\"\n", place.path("audit").display());
    place.policy(&format!("{audit}{}{RULES}", place.controller()?))?;
    let (good, _) = place.exec(&["/bin/echo", "hello"])?;
    assert_eq!(told(&good), ("ok", ""), "{good}");
    let (refused, _) = place.exec(&["/bin/true"])?;
    assert_eq!(told(&refused), ("refused", "grant.missing"), "{refused}");

    let file = log.join("log").to_string_lossy().into_owned();
    let lines = |words: &[&str]| -> Result<Vec<Value>> {
        let shown = place.waft(&["audit", "show", "--format", "jsonl"])?.args(words).run()?;
        let text = shown.expect_code(0)?.stdout();
        Ok(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
    };
    let (node, ours) = (lines(&[&file])?, lines(&[])?);
    let events: Vec<&str> = node.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(events, ["ordered", "call", "result", "ordered", "call", "result"], "{node:?}");
    assert_eq!((&node[0]["who"], &node[0]["task"]), (&"ops".into(), &"exec".into()), "{node:?}");
    assert!(node[0]["from"].as_str().is_some_and(|from| from.contains("127.0.0.1")), "{node:?}");
    assert_eq!((&node[1]["subject"], &node[1]["ok"]), (&"/bin/echo hello".into(), &true.into()));
    assert_eq!((&node[4]["code"], &node[5]["status"]), (&"grant.missing".into(), &"refused".into()));
    let of = |event: &str| ours.iter().filter(|line| line["event"] == event).cloned().collect::<Vec<_>>();
    let (started, results) = (of("run_started"), of("result"));
    assert_eq!(
        (&started[0]["hash"], &started[1]["hash"]),
        (&node[0]["controller_head"], &node[3]["controller_head"])
    );
    assert_eq!((&results[0]["node_head"], &results[1]["node_head"]), (&node[2]["hash"], &node[5]["hash"]));
    let head = results[1]["node_head"].as_str().unwrap_or_default().to_owned();
    place.waft(&["audit", "verify", "--head", &head, &file])?.run()?.expect_code(0)?;
    // Its tail cut off, the controller's log still knows it.
    let text = fs::read_to_string(&file).expect("a log");
    let cut: String = text.split_inclusive('\n').take(5).collect();
    fs::write(&file, cut).expect("written");
    place.waft(&["audit", "verify", "--head", &head, &file])?.run()?.expect_code(5)?;

    // What cannot be recorded is not done.
    fs::set_permissions(&log, fs::Permissions::from_mode(0o777)).expect("a mode");
    let (unrecorded, output) = place.exec(&["/bin/echo", "hello"])?;
    assert_eq!((told(&unrecorded), output.code()), (("refused", "audit.mode"), Some(5)), "{unrecorded}");
    Ok(())
}

#[test]
fn another_controller_or_another_login_of_a_known_one_is_refused() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let other = place.controller()?.replace("name = \"ops\"", "name = \"night\"");
    // The login is for `ops`, and the key is that of `night`.
    place.policy(&format!("{other}{RULES}"))?;
    let (refused, _) = place.exec(&["/bin/echo", "hello"])?;
    assert_eq!(told(&refused), ("refused", "policy.controller"), "{refused}");
    let stranger = "[[controller]]\nname = \"ops\"\nkey = \"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n";
    place.policy(&format!("{stranger}{RULES}"))?;
    let (refused, _) = place.exec(&["/bin/echo", "hello"])?;
    assert_eq!(told(&refused), ("refused", "policy.controller"), "{refused}");
    place.policy(&format!("{}{RULES}", place.controller()?))?;
    assert_eq!(told(&place.exec(&["/bin/echo", "hello"])?.0), ("ok", ""));
    Ok(())
}

#[test]
fn without_a_policy_that_is_roots_alone_nothing_runs() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let policy = place.path("policy.toml");
    let text = fs::read_to_string(&policy).expect("it");
    let code = || -> Result<String> {
        let (refused, output) = place.exec(&["/bin/echo", "hello"])?;
        assert_eq!(output.code(), Some(5), "{output}");
        Ok(refused["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    fs::remove_file(&policy).expect("removed");
    assert_eq!(code()?, "policy.missing");
    fs::write(&policy, &text).expect("written");
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o666)).expect("a mode");
    assert_eq!(code()?, "policy.unsafe");
    // The account's own file is not root's, though nobody else can write it.
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o644)).expect("a mode");
    std::os::unix::fs::chown(&policy, Some(place.account.uid), None).expect("its owner");
    assert_eq!(code()?, "policy.unsafe");
    std::os::unix::fs::chown(&policy, Some(0), None).expect("its owner");
    assert_eq!(told(&place.exec(&["/bin/echo", "hello"])?.0), ("ok", ""));
    // A stub that the account can write binds nobody.
    assert_eq!(place.ping()?["policy"], "enforced");
    std::os::unix::fs::chown(place.stub(), Some(place.account.uid), None).expect("its owner");
    assert_eq!(place.ping()?["policy"], "advisory");
    Ok(())
}

#[test]
fn without_a_place_for_its_state_nothing_runs() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let own = place.path("state").join(&place.account.name);
    assert_eq!(told(&place.exec(&["/bin/echo", "hello"])?.0), ("ok", ""));
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).expect("a mode");
    let (refused, _) = place.exec(&["/bin/echo", "hello"])?;
    assert_eq!(refused["error"]["code"], "node.state", "{refused}");
    Ok(())
}

#[test]
fn the_node_key_is_made_once_and_is_the_accounts() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let text = fs::read_to_string(place.path("policy.toml")).expect("it");
    assert_eq!(place.ping()?["status"], "ok");
    let own = place.path("state").join(&place.account.name).join("node.key");
    let made = fs::metadata(&own).expect("a key");
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
    assert_eq!(place.ping()?["status"], "ok");
    assert_eq!(fs::metadata(&own).expect("it").modified().ok(), made.modified().ok());
    assert!(text.contains(WHO));
    // Nobody but sshd starts it so, and nothing of what it is asked for is done.
    let mut by_hand = Command::new(place.stub());
    by_hand.args(["--as", WHO]).env_remove("SSH_CONNECTION");
    let done = run(by_hand, b"", TOOL_LIMIT)?;
    assert_eq!((done.status.code(), done.stdout_text().as_str()), (Some(5), ""));
    let mut version = Command::new(place.stub());
    version.arg("--version");
    assert!(run_tool(version, b"")?.starts_with("waft-stub "));
    Ok(())
}
