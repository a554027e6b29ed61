//! What the policy of a node leaves of a run. Each test says what would have been without it.

use crate::lab::{Order, asks, command, task};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use waft_proto::envelope::Wall;
use waft_proto::msg;
use waft_proto::run::Status;
use waft_stub::policy::NodePolicy;

/// A policy as this user's file, with this text behind the version.
fn policy(text: &str) -> (tempfile::TempDir, NodePolicy) {
    let dir = place();
    let file = dir.path().join("policy.toml");
    std::fs::write(&file, format!("version = 1\n{text}")).expect("a file");
    let read = NodePolicy::read(&file, mine());
    (dir, read)
}

/// Below the home of the build, not below `/tmp`: nobody else may write above a policy.
fn place() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("waft-policy-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a directory")
}

fn mine() -> u32 {
    rustix::process::getuid().as_raw()
}

fn hello() -> Order {
    task(command("hello", "(call $write (i32.const 1) (i32.const 1024) (i32.const 5))"))
}

/// A task that becomes a shell.
fn shell() -> Order {
    let request = r#"{"argv": ["/bin/sh", "-c", "echo here"], "replace": true}"#;
    let body = format!(
        "(drop (call $exec (i32.const 1024) (i32.const {}))) (call $proc_exit (i32.const 9))",
        request.len()
    );
    task(command(request, &body)).grant("exec:/bin/sh **").grant("time:30s")
}

/// Status, and code and sentence of the problem. A run that cannot even be prepared is refused by the stub's loop.
async fn ended(order: Order) -> (Status, String, String) {
    if let Err(problem) = order.job() {
        return (Status::Refused, problem.code, problem.message);
    }
    let outcome = order.run().await.outcome;
    let (code, message) = outcome.problem.map_or_else(Default::default, |p| (p.code, p.message));
    (outcome.status, code, message)
}

#[tokio::test]
async fn without_a_rule_that_matches_nothing_runs() {
    let (_dir, policy) = policy("[[rule]]\nname = \"others\"\ntasks = [\"other-*\"]\n");
    assert_eq!(policy.word(), msg::Policy::Advisory);
    let (status, code, message) = ended(hello().policy(policy)).await;
    assert_eq!((status, code.as_str()), (Status::Refused, "policy.no_rule"), "{message}");
    assert_eq!(ended(hello()).await.0, Status::Ok);
}

#[tokio::test]
async fn a_rule_that_names_whoever_sent_it_or_signed_it_does_not_match() {
    // Nobody has been verified on this link.
    for condition in ["who = [\"alice\"]", "signers = [\"release@example.com\"]"] {
        let (_dir, policy) = policy(&format!("[[rule]]\nname = \"known\"\n{condition}\n"));
        assert_eq!(ended(hello().policy(policy)).await.1, "policy.no_rule", "{condition}");
    }
    let (_dir, policy) = policy("[[rule]]\nname = \"all\"\nwho = [\"*\"]\n");
    assert_eq!(ended(hello().policy(policy)).await.0, Status::Ok);
}

#[tokio::test]
async fn what_a_rule_denies_is_refused_with_its_reason() {
    let text = "[[rule]]\nname = \"freeze\"\nfrom = 2026-06-15T00:00:00Z\ndeny = true\nreason = \"inventory week\"\n";
    let (_dir, denying) = policy(text);
    let (status, code, message) = ended(hello().policy(denying)).await;
    assert_eq!((status, code.as_str()), (Status::Refused, "policy.denied"));
    assert!(message.contains("inventory week"), "{message}");
    let later = format!("{}[[rule]]\nname = \"rest\"\n", text.replace("06-15", "06-16"));
    let (_dir, later) = policy(&later);
    assert_eq!(ended(hello().policy(later)).await.0, Status::Ok);
}

#[tokio::test]
async fn a_grant_that_the_policy_lacks_is_said_to_be_the_policys() {
    let (_dir, little) = policy("[[rule]]\nname = \"little\"\ngrants = [\"exec:/bin/true\", \"facts\"]\n");
    let (status, code, message) = ended(shell().policy(little)).await;
    assert_eq!((status, code.as_str()), (Status::Refused, "grant.missing"));
    let expected = "the policy of this node lacks `exec:/bin/sh **`: its rule `little` does not give it";
    assert_eq!(message, expected);
    let (_dir, enough) = policy("[[rule]]\nname = \"enough\"\ngrants = [\"exec:/bin/sh -c *\"]\n");
    assert_eq!(ended(shell().policy(enough)).await, (Status::Ok, String::new(), String::new()));
    // What was not given is not the policy's to lack.
    let (_dir, much) = policy("[[rule]]\nname = \"much\"\ngrants = [\"exec:*\"]\n");
    let mut order = shell().policy(much);
    order.grants.clear();
    let (_, code, message) = ended(order).await;
    assert!(code == "grant.missing" && !message.contains("policy"), "{message}");
}

#[tokio::test]
async fn a_dry_run_that_the_policy_wants_is_one() {
    for text in [
        "check_only = true\n[[rule]]\nname = \"a\"\ngrants = [\"exec:*\"]\n",
        "[[rule]]\nname = \"a\"\ncheck = \"only\"\ngrants = [\"exec:*\"]\n",
    ] {
        let (_dir, policy) = policy(text);
        let (status, code, _) = ended(shell().policy(policy)).await;
        assert_eq!((status, code.as_str()), (Status::Refused, "grant.check"), "{text}");
    }
}

#[tokio::test]
async fn the_walls_are_those_of_the_stricter_side() {
    let walls = |order: Order| async move { order.run().await.outcome.walls };
    assert!(!walls(hello().wall(Wall::Off)).await.iter().any(|wall| wall == "seccomp"));
    let (_dir, policy) = policy("wall = \"required\"\n[[rule]]\nname = \"a\"\n");
    assert_eq!(walls(hello().wall(Wall::Off).policy(policy)).await, waft_proto::envelope::WALLS);
}

#[tokio::test]
async fn the_shorter_time_counts() {
    let forever = task(command("", "(loop $again (br $again))"));
    let (_dir, policy) = policy("max_timeout = \"200ms\"\n[[rule]]\nname = \"a\"\n");
    assert_eq!(ended(forever.policy(policy)).await.0, Status::TimedOut);
}

#[tokio::test]
async fn a_policy_that_cannot_be_trusted_or_read_allows_nothing() {
    let all = "version = 1\n[[rule]]\nname = \"all\"\n";
    let cases = [
        (all, 0o600, None),
        (all, 0o666, Some("policy.unsafe")),
        ("version = 1\n[[rul", 0o600, Some("policy.syntax")),
    ];
    for (text, mode, refused) in cases {
        let dir = place();
        let file = dir.path().join("policy.toml");
        std::fs::write(&file, text).expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("its mode");
        let policy = NodePolicy::read(&file, mine());
        assert_eq!((policy.word(), policy.check_relay().is_err()), (msg::Policy::Advisory, true));
        let (status, code, message) = ended(hello().policy(policy)).await;
        match refused {
            Some(expected) => {
                assert_eq!((status, code.as_str()), (Status::Refused, expected), "{message}");
                assert!(message.contains(&file.display().to_string()), "{message}");
            }
            None => assert_eq!(status, Status::Ok, "{message}"),
        }
    }
    let none = NodePolicy::read(Path::new("/nonexistent/waft/policy.toml"), 0);
    assert_eq!((none.word(), none.check_relay()), (msg::Policy::None, Ok(())));
    assert_eq!(ended(hello().policy(none)).await.0, Status::Ok);
}

#[tokio::test]
async fn a_called_task_is_judged_by_itself() {
    let called = || {
        asks(&[("task", r#"{"name":"other"}"#.to_owned())]).grant("call:other").grant("facts").callee(
            "other",
            asks(&[("facts", String::new())]).wat,
            &["facts"],
        )
    };
    let told = |order: Order| async move { order.run().await.answers().remove(0) };
    assert!(told(called()).await["result"]["hostname"].is_string());
    let (_dir, denying) =
        policy("[[rule]]\nname = \"probes\"\ntasks = [\"probe\"]\ngrants = [\"call:other\", \"facts\"]\n");
    assert_eq!(told(called().policy(denying)).await["error"]["code"], "policy.no_rule");
    let both = "[[rule]]\nname = \"probes\"\ntasks = [\"probe\"]\ngrants = [\"call:other\", \"facts\"]\n[[rule]]\nname = \"others\"\ntasks = [\"other\"]\ngrants = []\n";
    let (_dir, little) = policy(both);
    let answer = told(called().policy(little)).await;
    let text = answer["result"]["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains("its rule `others` does not give it"), "{answer}");
}

#[tokio::test]
async fn files_and_addresses_that_the_policy_lacks_are_said_to_be_the_policys() {
    let requests = [
        ("file", r#"{"op":"chmod","path":"/tmp/x","mode":"0600"}"#.to_owned()),
        ("net", r#"{"op":"open","host":"db.internal","port":5432}"#.to_owned()),
        ("secret", r#"{"name":"s"}"#.to_owned()),
    ];
    let grants = ["fs:/tmp:rw", "net:db.internal:5432", "secret:s"];
    let (_dir, nothing) = policy("[[rule]]\nname = \"nothing\"\ngrants = []\n");
    let order = grants.iter().fold(asks(&requests), |order, grant| order.grant(*grant));
    for (answer, grant) in order.policy(nothing).run().await.answers().iter().zip(grants) {
        let expected =
            format!("the policy of this node lacks `{grant}`: its rule `nothing` does not give it");
        assert_eq!(answer["error"]["message"], expected, "{answer}");
    }
}
