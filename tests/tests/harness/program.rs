//! Running a program in waft's place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::process::wait_until;
use waft_tests::waft::Waft;

use crate::SOON;

/// A stand-in for waft: a script.
fn fake(dir: &Path, script: &str) -> std::path::PathBuf {
    let path = dir.join("waft");
    fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn output_events_and_exit_code_are_read() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        echo '{"event":"run_started","seq":0}'
        echo '{"event":"result","target":"h1","status":"ok","exit_code":0}'
        echo '{"event":"result","target":"h2","status":"failed","exit_code":3}'
        echo '{"event":"result","target":"h2","status":"ok"}'
        echo "args: $*" >&2; cat >&2; exit 3"#;
    let waft = Waft::with_binary(fake(dir.path(), script), "run")?;
    let output = waft.args(["-t", "h1"]).stdin("from stdin").run()?.expect_code(3)?;
    assert_eq!(output.stderr(), "args: run -t h1\nfrom stdin");
    assert_eq!(output.events()?.len(), 4);
    assert_eq!(output.result_of("h1")?["status"], "ok");
    assert!(output.result_of("h2").unwrap_err().to_string().contains("2 results of h2"));
    assert!(output.result_of("h3").unwrap_err().to_string().contains("no result of h3"));
    assert!(output.expect_code(0).unwrap_err().to_string().contains("expected exit code 0"));
    Ok(())
}

#[test]
fn the_environment_is_its_own() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let waft = Waft::with_binary(fake(dir.path(), "env; pwd"), "x")?.env("EXTRA", "1");
    let said = waft.run()?.stdout();
    let names: Vec<_> = said.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "TMPDIR", "PATH", "EXTRA"] {
        assert!(names.contains(&name), "{name} is missing in {said}");
    }
    assert!(!names.contains(&"SSH_AUTH_SOCK") && !names.contains(&"CARGO_MANIFEST_DIR"), "{said}");
    let home = format!("HOME={}", waft.home().display());
    assert!(said.lines().any(|line| line == home), "{said}");
    Ok(())
}

#[test]
fn one_that_hangs_is_killed_at_the_limit_and_what_it_said_is_shown() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let waft = Waft::with_binary(fake(dir.path(), "echo stuck in a call; exec sleep 1000"), "ping")?;
    let started = Instant::now();
    let error = waft.limit(Duration::from_millis(300)).run().unwrap_err().to_string();
    assert!(error.contains("killed after 300 ms") && error.contains("stuck in a call"), "{error}");
    assert!(started.elapsed() < SOON);
    Ok(())
}

#[test]
fn an_interrupt_reaches_it() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'echo stopped; exit 130' INT; touch ready; while :; do sleep 0.05; done";
    let waft = Waft::with_binary(fake(dir.path(), script), "run")?;
    let running = waft.spawn()?;
    wait_until("the trap", SOON, || waft.home().join("ready").exists().then_some(()))?;
    running.interrupt();
    assert_eq!(running.finish()?.expect_code(130)?.stdout(), "stopped\n");
    Ok(())
}

#[test]
fn the_options_of_a_lab_lead_to_files_that_exist() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::of(1)?;
    let waft = Waft::with_binary(fake(dir.path(), r#"for a; do echo "$a"; done"#), "ping")?;
    let said = waft.lab(&lab).run()?.stdout();
    let paths: Vec<_> = said.lines().filter(|line| line.starts_with('/')).collect();
    assert_eq!(paths.len(), 4, "{said}");
    assert!(paths.iter().all(|path| Path::new(path).exists()), "{said}");
    Ok(())
}
