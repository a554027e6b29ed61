//! By the real program, with settings of System V IPC: those are the target's own, whose namespace is.

use crate::whole::Whole;
use serde_json::json;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use waft_tests::{Result, need_root};

const KEY: &str = "kernel.msgmnb";

#[test]
fn settings_of_the_kernel_now_and_in_a_file() -> Result<()> {
    need_root!("a target with settings of its own");
    let whole = Whole::root()?;
    let here = || std::fs::read_to_string("/proc/sys/kernel/msgmnb").unwrap_or_default();
    let before = here();
    let file = || whole.read("/etc/sysctl.d/99-waft.conf");
    let set = json!({"name": KEY, "value": 12345, "sysctl_set": true, "reload": false});
    let would = whole.result("sysctl", &set, &["asked"], &["--check", "--diff"], 0)?;
    assert_eq!(would["status"], "changed", "{would}");
    assert_eq!(would["changes"][0]["path"], "/etc/sysctl.d/99-waft.conf", "{would}");
    assert_eq!((would["result"]["after"].as_str(), file().as_str()), (Some("12345"), ""), "{would}");
    assert_ne!(would["result"]["kernel"], "12345", "{would}");
    let done = whole.answer("sysctl", &set, true)?;
    assert_eq!((&done["kernel"], file()), (&json!("12345"), format!("{KEY} = 12345\n")), "{done}");
    whole.answer("sysctl", &set, false)?;
    whole.would("sysctl", &set, false)?;
    // Without `sysctl_set` it is the file that counts, and what reading it again makes of it.
    let done = whole.answer("sysctl", &json!({"key": KEY, "value": "12346"}), true)?;
    assert_eq!((&done["kernel"], &done["before"]), (&json!("12346"), &json!("12345")), "{done}");
    whole.answer("sysctl", &json!({"name": "kernel/msgmnb", "state": "absent"}), true)?;
    assert_eq!(file(), "");
    whole.answer("sysctl", &json!({"name": KEY, "state": "absent"}), false)?;
    assert_eq!(here(), before, "this machine's own has changed");

    // As Debian has it: a symlink stays one, and what it leads to as open as it was.
    let main = whole.path("/etc/sysctl.conf");
    std::fs::write(&main, "# of the system\n").expect("a file");
    std::fs::set_permissions(&main, Permissions::from_mode(0o600)).expect("a mode");
    let link = whole.path("/etc/sysctl.d/99-sysctl.conf");
    symlink("../sysctl.conf", &link).expect("a symlink");
    let linked = json!({"name": KEY, "value": 12345, "sysctl_file": "/etc/sysctl.d/99-sysctl.conf"});
    whole.would("sysctl", &linked, true)?;
    whole.answer("sysctl", &linked, true)?;
    whole.answer("sysctl", &linked, false)?;
    assert_eq!(whole.read("/etc/sysctl.conf"), format!("# of the system\n{KEY} = 12345\n"));
    let mode = std::fs::symlink_metadata(&main).expect("a file").permissions().mode() & 0o7777;
    assert!(mode == 0o600 && link.is_symlink(), "{mode:o}");

    // A value that the kernel does not take stays nowhere.
    let bad = json!({"name": KEY, "value": "many", "sysctl_set": true});
    assert_eq!(whole.failure("sysctl", &bad, &[])?["code"], "sysctl.failed");
    assert_eq!(file(), "");
    let unknown = whole.failure("sysctl", &json!({"name": "kernel.nothing", "value": 1}), &["--check"])?;
    assert_eq!(unknown["code"], "sysctl.unknown", "{unknown}");
    let anyway = json!({"name": "kernel.nothing", "value": 1, "ignoreerrors": true});
    whole.answer("sysctl", &anyway, true)?;
    for bad in
        [json!({"name": KEY}), json!({"name": "a b", "value": 1}), json!({"name": KEY, "value": "1\n2"})]
    {
        assert_eq!(whole.failure("sysctl", &bad, &[])?["code"], "params.invalid", "{bad}");
    }
    let look = ["exec:sysctl -n *", "fs:/etc/sysctl.d"];
    let refused = whole.result("sysctl", &set, &look, &[], 5)?;
    assert_eq!(refused["error"]["code"], "grant.missing", "{refused}");
    drop(whole);

    let whole = Whole::ordinary()?;
    let denied = whole.failure("sysctl", &json!({"name": KEY, "value": 1}), &[])?;
    assert!(denied["message"].as_str().is_some_and(|said| said.contains("/etc/sysctl.d")), "{denied}");
    Ok(())
}
