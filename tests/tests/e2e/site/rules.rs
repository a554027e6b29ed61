//! What else a policy can say, each on a stub that sshd starts: walls, dry runs, times, revocations.

use super::orders::{Desk, SIGNED, code, is_ok, mode};
use super::{Place, told};
use serde_json::Value;
use std::fs;
use std::process::Command;
use waft_proto::run::Status;
use waft_tests::process::run_tool;
use waft_tests::{Result, need_root};

/// Has the kernel refuse landlock (system call 444 on all machines) to the program behind it.
const NO_LANDLOCK: &str = r#"import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, 0x50026), (6, 0, 0, 0x7fff0000)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
"#;

fn walls(result: &Value) -> Vec<&str> {
    result["walls"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn walls_that_the_policy_demands_have_to_stand() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let echo = || Ok::<_, waft_tests::Error>(place.exec(&["/bin/echo", "hello"])?.0);
    // Whoever gives the order cannot go without.
    place.inventory("wall = \"off\"\n")?;
    let all = echo()?;
    assert_eq!((told(&all), walls(&all)), (("ok", ""), waft_proto::envelope::WALLS.to_vec()), "{all}");
    let script = place.path("no-landlock.py");
    fs::write(&script, NO_LANDLOCK).expect("written");
    mode(&script, 0o644);
    let forced = format!("exec /usr/bin/python3 {} {}", script.display(), place.forced());
    place.admit(&format!("restrict,command=\"{forced}\""))?;
    let most = echo()?;
    assert_eq!(told(&most), ("ok", ""), "{most}");
    assert!(!walls(&most).contains(&"landlock") && walls(&most).contains(&"seccomp"), "{most}");
    for (top, line) in [("wall = \"required\"\n", ""), ("", "wall = \"required\"\n")] {
        let rule = "[[rule]]\nname = \"echo\"\ngrants = [\"exec:/bin/echo *\"]\nunconfined = true\n";
        place.rules(top, &format!("{rule}{line}"))?;
        let refused = echo()?;
        assert_eq!(told(&refused), ("refused", "wall.missing"), "{top}{line}: {refused}");
        assert!(refused.to_string().contains("landlock"), "{refused}");
    }
    place.admit(&format!("restrict,command=\"{}\"", place.forced()))?;
    assert_eq!(told(&echo()?), ("ok", ""));
    Ok(())
}

#[test]
fn where_only_dry_runs_are_allowed_every_run_is_one() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let home = place.account.home.display().to_string();
    let made = place.account.home.join("made");
    let rule = format!(
        "[[rule]]\nname = \"touch\"\ngrants = [\"exec:/usr/bin/touch {home}/*\"]\nunconfined = true\n"
    );
    let touch = || Ok::<_, waft_tests::Error>(place.exec(&["/usr/bin/touch", &format!("{home}/made")])?.0);
    for (top, line) in [("check_only = true\n", ""), ("", "check = \"only\"\n")] {
        place.rules(top, &format!("{rule}{line}"))?;
        let refused = touch()?;
        assert_eq!(told(&refused), ("refused", "grant.check"), "{top}{line}: {refused}");
        assert!(!made.exists());
    }
    place.rules("", &rule)?;
    assert_eq!(told(&touch()?), ("ok", ""));
    assert!(made.exists());
    Ok(())
}

#[test]
fn times_of_the_policy_are_the_nodes_own() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start("[[rule]]\nname = \"any\"\n")?;
    is_ok(&desk.run(&mut desk.rig()?, |_| {})?);
    for (line, word) in [
        ("until = 2020-01-01T00:00:00Z", "it ended at 2020-01-01T00:00:00Z"),
        ("from = 2100-01-01T00:00:00Z", "it begins at 2100-01-01T00:00:00Z"),
        ("from = 2020-01-01T00:00:00Z\nuntil = 2020-01-02T00:00:00Z", "it ended at"),
    ] {
        desk.policy("", &format!("[[rule]]\nname = \"then\"\n{line}\n"))?;
        let (outcome, stdout) = desk.run(&mut desk.rig()?, |_| {})?;
        assert_eq!((code(&outcome), stdout.as_str()), ("policy.no_rule", ""), "{line}: {outcome:?}");
        let said = outcome.problem.map(|problem| problem.message).unwrap_or_default();
        assert!(said.contains(word), "{said}");
    }
    desk.policy(
        "",
        "[[rule]]\nname = \"then\"\nfrom = 2020-01-01T00:00:00Z\nuntil = 2100-01-01T00:00:00Z\n",
    )?;
    is_ok(&desk.run(&mut desk.rig()?, |_| {})?);
    Ok(())
}

#[test]
fn a_run_ends_when_the_time_of_the_policy_is_over() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    place.rules(
        "max_timeout = \"1s\"\n",
        "[[rule]]\nname = \"sleep\"\ngrants = [\"exec:/bin/sleep *\"]\nunconfined = true\n",
    )?;
    let (result, _) = place.exec(&["/bin/sleep", "600"])?;
    assert_eq!(told(&result).0, "timed_out", "{result}");
    Ok(())
}

#[test]
fn what_is_revoked_does_not_run_whatever_the_rules_say() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start("[[rule]]\nname = \"any\"\n")?;
    let signed = desk.task("audit")?;
    let run = || desk.run(&mut desk.rig()?, |envelope| envelope.task_signatures = vec![signed.clone()]);
    is_ok(&run()?);
    for revoked in
        [format!("hashes = [\"{}\"]\n", desk.hash), "signers = [\"audit@example.com\"]\n".to_owned()]
    {
        desk.policy(&revoked, "[[rule]]\nname = \"any\"\n")?;
        let (outcome, stdout) = run()?;
        assert_eq!((outcome.status, code(&outcome)), (Status::Refused, "policy.revoked"), "{outcome:?}");
        assert_eq!(stdout, "");
    }
    Ok(())
}

#[test]
fn a_revocation_list_counts_and_one_that_cannot_be_read_refuses_all() -> Result<()> {
    need_root!("an account of its own");
    let desk = Desk::start(SIGNED)?;
    let list = desk.place.path("revoked");
    let make = |names: &[&str]| -> Result<()> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-k", "-f"]).arg(&list);
        keygen.args(names.iter().map(|name| desk.place.path(&format!("{name}.pub"))));
        run_tool(keygen, b"").map(drop)
    };
    let signed = desk.task("release")?;
    let run = || desk.run(&mut desk.rig()?, |envelope| envelope.task_signatures = vec![signed.clone()]);
    make(&["old"])?;
    is_ok(&run()?);
    make(&["old", "release"])?;
    let (outcome, _) = run()?;
    assert_eq!((outcome.status, code(&outcome)), (Status::Refused, "signature.revoked"), "{outcome:?}");
    // Cut in the middle; what others may write; not there: nobody knows what it said.
    let whole = fs::read(&list).expect("a list");
    for cut in [whole.len() - 1, 12] {
        fs::write(&list, &whole[..cut]).expect("written");
        let (outcome, _) = run()?;
        assert_eq!(outcome.status, Status::Refused, "{cut}: {outcome:?}");
        assert!(code(&outcome).starts_with("signature."), "{cut}: {outcome:?}");
    }
    make(&["old"])?;
    mode(&list, 0o666);
    assert_eq!(code(&run()?.0), "policy.unsafe");
    fs::remove_file(&list).expect("removed");
    assert_eq!(code(&run()?.0), "policy.missing");
    make(&["old"])?;
    is_ok(&run()?);
    Ok(())
}

#[test]
fn a_policy_with_a_mistake_or_below_a_directory_of_others_allows_nothing() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    let policy = place.path("policy.toml");
    let good = fs::read_to_string(&policy).expect("it");
    let refused = |wanted: &str| -> Result<()> {
        let (refused, output) = place.exec(&["/bin/echo", "hello"])?;
        assert_eq!((told(&refused), output.code()), (("refused", wanted), Some(5)), "{refused}");
        Ok(())
    };
    for (text, wanted) in [
        (String::new(), "policy.invalid"),
        (format!("{good}\n[[rul"), "policy.syntax"),
        (format!("unconfind = true\n{good}"), "policy.unknown"),
        (good.replace("version = 1", "version = 2"), "policy.version"),
        ("\0".repeat(64), "policy.syntax"),
    ] {
        fs::write(&policy, text).expect("written");
        refused(wanted)?;
    }
    fs::write(&policy, &good).expect("written");
    mode(place.dir.path(), 0o777);
    refused("policy.unsafe")?;
    mode(place.dir.path(), 0o755);
    // A link is not followed, wherever it leads.
    fs::rename(&policy, place.path("real.toml")).expect("moved");
    std::os::unix::fs::symlink(place.path("real.toml"), &policy).expect("a link");
    refused("policy.unsafe")?;
    fs::rename(place.path("real.toml"), &policy).expect("moved back");
    assert_eq!(told(&place.exec(&["/bin/echo", "hello"])?.0), ("ok", ""));
    Ok(())
}
