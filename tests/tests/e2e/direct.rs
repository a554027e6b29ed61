//! One target, without hops.

use crate::LIMIT;
use waft_tests::Result;
use waft_tests::agent::Agent;
use waft_tests::keys::{KeyKind, KeyPair};
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::Waft;

#[test]
fn one_host_prints_as_ssh_would() -> Result<()> {
    let lab = Lab::of(1)?;
    let guard = LeakGuard::start();
    let output = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "h1", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
        .limit(LIMIT)
        .run()?
        .expect_code(3)?;
    assert_eq!(output.stdout(), "out\n");
    assert!(output.stderr().contains("err\n"), "{}", output.stderr());
    drop(output);
    lab.wait_idle()?;
    guard.check()
}

#[test]
fn events_have_the_fields_of_the_interface_and_count_without_gaps() -> Result<()> {
    let lab = Lab::of(1)?;
    let output = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "h1", "--format", "jsonl", "--", "/bin/echo", "hi"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    let events = output.events()?;
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(kinds.first(), Some(&"run_started"));
    assert_eq!(kinds.last(), Some(&"run_finished"));
    let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    let first = seqs[0];
    assert_eq!(seqs, (first..first + events.len() as u64).collect::<Vec<_>>());
    let states: Vec<&str> = events.iter().filter_map(|event| event["state"].as_str()).collect();
    assert_eq!(states, ["selected", "connecting", "ready", "running"]);
    let result = output.result_of("h1")?;
    for field in [
        "v",
        "event",
        "run",
        "seq",
        "time",
        "target",
        "status",
        "exit_code",
        "signal",
        "result",
        "stdout",
        "stderr",
        "stdout_truncated",
        "stderr_truncated",
        "ms",
        "bytes",
        "walls",
        "policy",
        "error",
    ] {
        assert!(result.get(field).is_some(), "{field} is missing in {result}");
    }
    assert_eq!((&result["stdout"], &result["exit_code"]), (&"hi\n".into(), &0.into()));
    Ok(())
}

#[test]
fn ping_says_what_it_found_there() -> Result<()> {
    let lab = Lab::of(2)?;
    let output = Waft::new("ping")?
        .lab(&lab)
        .args(["-t", "all", "--format", "json"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    let found: serde_json::Value = serde_json::from_str(&output.stdout()).expect("JSON");
    assert_eq!(found.as_array().map(Vec::len), Some(2), "{found}");
    assert_eq!(found[0]["delivery"], "memfd", "{found}");
    assert_eq!(found[0]["stub"]["kind"], "leaf");
    assert_eq!(found[0]["policy"], "none");
    assert!(found[0]["rtt_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{found}");
    Ok(())
}

#[test]
fn an_agent_a_certificate_and_an_rsa_key_log_in() -> Result<()> {
    let lab = Lab::of(1)?;
    let agent = Agent::start(&[&lab.key.path])?;
    let host = lab.host("h1");
    let target = format!("{}@{}", host.user, host.address);
    let by_agent = Waft::new("exec")?
        .agent(&agent)
        .args(["--known-hosts", lab.known_hosts.to_str().unwrap_or_default()])
        .args(["-t", &target, "--", "/bin/true"])
        .limit(LIMIT)
        .run()?;
    by_agent.expect_code(0)?;

    let rsa = Lab::builder().hosts(1).user_key(KeyKind::Rsa).start()?;
    Waft::new("exec")?.lab(&rsa).args(["-t", "h1", "--", "/bin/true"]).limit(LIMIT).run()?.expect_code(0)?;

    let dir = tempfile::tempdir().expect("a directory");
    let ca = KeyPair::generate(KeyKind::Ed25519, &dir.path().join("ca"))?;
    let by_ca = Lab::builder().host(HostSpec::new("h1").host_certificate(&ca)).start()?;
    Waft::new("exec")?
        .lab(&by_ca)
        .args(["-t", "h1", "--", "/bin/true"])
        .limit(LIMIT)
        .run()?
        .expect_code(0)?;
    Ok(())
}

#[test]
fn what_is_not_granted_is_refused_with_the_line_to_paste() -> Result<()> {
    let lab = Lab::of(1)?;
    let output = Waft::new("run")?
        .lab(&lab)
        .args(["exec", "-p", r#"argv:=["/bin/id"]"#, "-t", "h1", "--format", "jsonl"])
        .limit(LIMIT)
        .run()?
        .expect_code(5)?;
    let result = output.result_of("h1")?;
    assert_eq!(result["status"], "refused", "{result}");
    let hint = result["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("--allow") && hint.contains("exec:/bin/id"), "{result}");
    Ok(())
}

#[test]
fn this_machine_is_a_target_too() -> Result<()> {
    let guard = LeakGuard::start();
    let output = Waft::new("exec")?.args(["-t", "local", "--", "/bin/echo", "here"]).limit(LIMIT).run()?;
    assert_eq!(output.expect_code(0)?.stdout(), "here\n");
    guard.check()
}

#[test]
fn output_that_no_queue_could_hold_arrives_whole() -> Result<()> {
    const BYTES: usize = 8 * 1024 * 1024;
    let output = Waft::new("exec")?
        .args(["-t", "local", "--", "/usr/bin/head", "-c", &BYTES.to_string(), "/dev/zero"])
        .limit(LIMIT / 4)
        .run()?;
    // Not in the error: eight megabytes of zeros.
    assert_eq!((output.code(), output.finished.stdout.len()), (Some(0), BYTES), "{}", output.stderr());
    Ok(())
}
