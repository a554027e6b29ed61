//! Programs that are started behind walls of their own.

use crate::lab::asks;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

async fn confined(script: &str, grants: &[String]) -> Value {
    let request = json!({"argv": ["sh", "-c", script], "confine": true}).to_string();
    let mut order = asks(&[("exec", request)]).grant("exec:sh **");
    for grant in grants {
        order = order.grant(grant);
    }
    order.run().await.answers().remove(0)
}

#[tokio::test]
async fn a_confined_program_reaches_only_what_was_granted() {
    let dirs = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dirs.path().join(name).display().to_string();
    for name in ["open", "shut", "read"] {
        std::fs::create_dir(path(name)).expect("made");
        std::fs::write(path(&format!("{name}/old")), "old").expect("written");
    }
    let grants = [format!("fs:{}:rw", path("open")), format!("fs:{}", path("read"))];
    let script = format!(
        "cat {open}/old {read}/old; echo new > {open}/new && echo wrote; mv {open}/old {open}/older && echo moved
         cat {shut}/old; echo x > {shut}/x; echo x > {read}/x; echo x > {read}/old; ls {shut}; true > {shut}/old; cat /dev/null && echo null; exit 0",
        open = path("open"),
        read = path("read"),
        shut = path("shut")
    );
    let answer = confined(&script, &grants).await;
    assert_eq!(answer["stdout"], "oldoldwrote\nmoved\nnull\n", "{answer}");
    let refusals =
        answer["stderr"].as_str().expect("text").lines().filter(|line| line.contains("ermission")).count();
    assert_eq!(refusals, 6, "{answer}");
    for name in ["shut", "read"] {
        assert_eq!(std::fs::read_to_string(path(&format!("{name}/old"))).expect("there"), "old");
        assert_eq!(std::fs::read_dir(path(name)).expect("there").count(), 1);
    }
}

#[tokio::test]
async fn the_same_program_reaches_all_of_it_when_it_is_not_confined() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = format!("echo x > {}/x && echo wrote", dir.path().display());
    let free = json!({"argv": ["sh", "-c", script]}).to_string();
    let ran = asks(&[("exec", free)]).grant("exec:sh **").run().await;
    assert_eq!(ran.answers()[0]["stdout"], "wrote\n");
    assert_eq!(confined(&script, &[]).await["stdout"], "");
}

#[tokio::test]
async fn a_confined_program_has_no_network_and_no_new_rights() {
    let status = confined("grep -E 'NoNewPrivs|Seccomp:' < /etc/passwd; exec 3< /usr; echo ok", &[]).await;
    assert_eq!(status["exit_code"], 0, "{status}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("bound").port();
    let script =
        format!("command -v bash >/dev/null || exit 7; exec bash -c 'echo x > /dev/tcp/127.0.0.1/{port}'");
    let free = json!({"argv": ["sh", "-c", script]}).to_string();
    let ran = asks(&[("exec", free)]).grant("exec:sh **").run().await;
    if ran.answers()[0]["exit_code"] == 7 {
        println!("SKIPPED: no bash, so nothing here dials");
        return;
    }
    assert_eq!(ran.answers()[0]["exit_code"], 0, "free it can");
    assert!(listener.accept().is_ok());
    let answer = confined(&script, &[]).await;
    assert_eq!(answer["exit_code"], 1, "{answer}");
    assert!(listener.accept().is_err(), "nobody came");
}

#[tokio::test]
async fn confined_root_has_no_more_than_files() {
    if !rustix::process::getuid().is_root() {
        println!("SKIPPED: only root has capabilities to lose");
        return;
    }
    let script = "mknod /tmp/waft-confined-node c 1 3; mount -t tmpfs none /mnt; chroot / true; true";
    let answer = confined(script, &["fs:/tmp:rw".to_owned()]).await;
    let text = answer["stderr"].as_str().expect("text");
    assert_eq!(
        text.lines().filter(|line| line.contains("ermi") || line.contains("denied")).count(),
        3,
        "{answer}"
    );
    assert!(!std::path::Path::new("/tmp/waft-confined-node").exists());
}

/// Landlock has no word for modes and times.
#[tokio::test]
async fn confined_root_changes_no_modes_and_times_of_other_users_files() {
    /// `nobody`, on every system that has one.
    const OTHER: u32 = 65534;
    if !rustix::process::getuid().is_root() {
        println!("SKIPPED: only root has capabilities to lose");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (own, theirs) = (dir.path().join("own"), dir.path().join("theirs"));
    for file in [&own, &theirs] {
        std::fs::write(file, "x").expect("written");
        std::fs::set_permissions(file, Permissions::from_mode(0o640)).expect("its mode");
    }
    std::os::unix::fs::chown(&theirs, Some(OTHER), Some(OTHER)).expect("an owner");
    let before = std::fs::metadata(&theirs).expect("it is there");
    let (own, file) = (own.display(), theirs.display());
    let script = format!(
        "chmod 600 {own} && echo own; chmod 666 {file} && echo chmod; touch -d 2000-01-01 {file} && echo touch; true"
    );
    let answer = confined(&script, &[]).await;
    assert_eq!(answer["stdout"], "own\n", "{answer}");
    let after = std::fs::metadata(&theirs).expect("it is there");
    assert_eq!((after.mode(), after.mtime()), (before.mode(), before.mtime()));
}
