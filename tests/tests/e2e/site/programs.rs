//! What an installed stub denies unless its policy gives it: to be a hop, and programs without walls of their own.

use super::orders::Desk;
use super::{Place, told};
use waft_proto::envelope::Callee;
use waft_proto::msg::BlobKind;
use waft_proto::run::Status;
use waft_tests::lab::Lab;
use waft_tests::sshd::HostSpec;
use waft_tests::{Result, need_root};

/// A task that starts /bin/echo, with `more` in its request, and fails when that was refused.
fn starts(more: &str) -> String {
    let request = format!(r#"{{"argv":["/bin/echo","hello"],"stdout":"inherit"{more}}}"#);
    let data = request.replace('"', "\\22");
    // Of an answer that is an error the third byte is that of the word `error`.
    format!(
        r#"(module
          (import "waft_v1" "exec" (func $exec (param i32 i32) (result i32)))
          (import "waft_v1" "take" (func $take (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          (data (i32.const 1024) "{data}")
          (func (export "_start")
            (drop (call $exec (i32.const 1024) (i32.const {length})))
            (drop (call $take (i32.const 0) (i32.const 4)))
            (if (i32.eq (i32.load8_u (i32.const 3)) (i32.const 114)) (then (call $exit (i32.const 1))))))"#,
        length = request.len()
    )
}

const GIVEN: [&str; 2] = ["--allow", "exec:/bin/echo *"];

#[test]
fn a_program_is_confined_unless_the_rule_says_otherwise() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let rule = |more: &str| format!("[[rule]]\nname = \"echo\"\ngrants = [\"exec:/bin/echo *\"]\n{more}");
    let (plain, confined) = (starts(""), starts(r#","confine":true"#));
    for said in ["", "unconfined = false\n"] {
        place.rules("", &rule(said))?;
        let result = place.run("plain", &plain, &GIVEN)?;
        assert_eq!(told(&result), ("refused", "grant.unconfined"), "{result}");
        assert_ne!(result["stdout"], "hello\n");
        let problem = &result["error"];
        let message = problem["message"].as_str().unwrap_or_default();
        assert!(
            message.starts_with("the rule `echo` of this node's policy starts `/bin/echo` only"),
            "{message}"
        );
        let hint = problem["hint"].as_str().unwrap_or_default();
        assert!(hint.starts_with("in the node's policy, rule `echo`: unconfined = true"), "{hint}");
        let result = place.run("confined", &confined, &GIVEN)?;
        assert_eq!((told(&result), &result["stdout"]), (("ok", ""), &"hello\n".into()), "{result}");
        // The program takes the place of the task: there is no way to ask.
        assert_eq!(told(&place.exec(&["/bin/echo", "hello"])?.0), ("refused", "grant.unconfined"));
    }
    place.rules("", &rule("unconfined = true\n"))?;
    for (name, module) in [("plain", &plain), ("confined", &confined)] {
        let result = place.run(name, module, &GIVEN)?;
        assert_eq!((told(&result), &result["stdout"]), (("ok", ""), &"hello\n".into()), "{name}: {result}");
    }
    assert_eq!(told(&place.exec(&["/bin/echo", "hello"])?.0), ("ok", ""));
    Ok(())
}

/// Calls the task `plain`, and says what it is answered.
const CALLS: &str = r#"(module
  (import "waft_v1" "task" (func $task (param i32 i32) (result i32)))
  (import "waft_v1" "take" (func $take (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22name\22:\22plain\22}")
  (func (export "_start") (local $length i32)
    (local.set $length (call $task (i32.const 1024) (i32.const 16)))
    (drop (call $take (i32.const 2048) (local.get $length)))
    (i32.store (i32.const 0) (i32.const 2048))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[test]
fn who_is_called_is_bound_by_the_rule_of_who_calls() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start("[[rule]]\nname = \"any\"\n")?;
    let (caller, called) =
        (wat::parse_str(CALLS).expect("a module"), wat::parse_str(starts("")).expect("a module"));
    let echo = "exec:/bin/echo *".to_owned();
    let run = |caller_may: &str, called_may: &str| -> Result<String> {
        let rule = |name: &str, more: &str| {
            format!("[[rule]]\nname = \"{name}\"\ntasks = [\"{name}\"]\ngrants = [\"given\"]\n{more}")
        };
        desk.policy("", &(rule("calls", caller_may) + &rule("plain", called_may)))?;
        let mut rig = desk.rig()?;
        let module = rig.offer(BlobKind::Task, &caller);
        let callee = Callee {
            name: "plain".to_owned(),
            module: rig.offer(BlobKind::Task, &called),
            artifacts: Vec::new(),
            grants: vec![echo.clone()],
        };
        let (outcome, stdout) = desk.run(&mut rig, |envelope| {
            envelope.task = "calls".to_owned();
            envelope.module = module;
            envelope.grants = vec![echo.clone(), "call:plain".to_owned()];
            envelope.callees = vec![callee];
        })?;
        assert_eq!(outcome.status, Status::Ok, "{outcome:?}");
        Ok(stdout)
    };
    let free = "unconfined = true\n";
    let said = run(free, free)?;
    assert!(said.contains(r#""status":"ok""#), "{said}");
    for (caller_may, called_may, rule) in [("", free, "calls"), (free, "", "plain"), ("", "", "plain")] {
        let said = run(caller_may, called_may)?;
        assert!(said.contains("grant.unconfined") && said.contains(&format!("rule `{rule}`")), "{said}");
    }
    Ok(())
}

#[test]
fn an_installed_stub_is_no_hop_unless_its_policy_says_so() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start_beside(Lab::builder().host(HostSpec::new("db1").via("web1")), |spec| spec)?;
    let exec = || {
        let waft = place.waft(&["exec"])?.lab(&place.lab).args(["-t", "db1", "--format", "jsonl"]);
        waft.args(["--", "/bin/echo", "hello"]).run()?.result_of("db1")
    };
    let refused = exec()?;
    assert_eq!(told(&refused).1, "policy.relay", "{refused}");
    place.rules("relay = true\n", super::RULES)?;
    let good = exec()?;
    assert_eq!((told(&good), &good["stdout"]), (("ok", ""), &"hello\n".into()), "{good}");
    Ok(())
}
