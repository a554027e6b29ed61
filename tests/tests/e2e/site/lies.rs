//! A hop that changes what passes: what the stub notices, and what the controller does.
//!
//! The hop is a program in the place of the stub that starts it and changes bytes on the way, as whoever controls a
//! relay can.

use super::{Place, first_pieces, hex, told};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use waft_tests::process::run_tool;
use waft_tests::{Result, need_root};

/// Changes the first argument to the second, both in hex, in what goes `down` to the program behind them or comes `up` from it.
const LIAR: &str = r#"import os, subprocess, sys, threading
way, old, new = sys.argv[1], bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
assert len(old) == len(new)
stub = subprocess.Popen(sys.argv[4:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
def carry(source, sink, lie):
    while True:
        data = os.read(source, 65536)
        if not data:
            break
        data = data.replace(old, new) if lie else data
        while data:
            data = data[os.write(sink, data):]
    os.close(sink)
threading.Thread(target=carry, args=(0, stub.stdin.fileno(), way == "down"), daemon=True).start()
carry(stub.stdout.fileno(), 1, way == "up")
sys.exit(stub.wait())
"#;

/// A place with a node key in the inventory.
fn place() -> Result<Place> {
    let place = Place::start(|spec| spec)?;
    assert_eq!(place.ping()?["status"], "ok");
    place.inventory(&format!("node_key = \"{}\"\n", key(&place)?))?;
    Ok(place)
}

/// The key of the node, as the stub prints it for root.
pub(super) fn key(place: &Place) -> Result<String> {
    let mut command = Command::new(place.stub());
    command.args(["--node-key", &place.account.name, "--policy"]).arg(place.path("policy.toml"));
    Ok(run_tool(command, b"")?.trim().to_owned())
}

/// Puts the liar between sshd and the stub.
fn lie(place: &Place, way: &str, old: impl AsRef<[u8]>, new: impl AsRef<[u8]>) -> Result<()> {
    let (old, new) = (hex(old.as_ref()), hex(new.as_ref()));
    let script = place.path("liar.py");
    fs::write(&script, LIAR).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
    let forced = place.forced();
    place.admit(&format!(
        "restrict,command=\"exec /usr/bin/python3 {} {way} '{old}' '{new}' {forced}\"",
        script.display()
    ))
}

#[test]
fn a_result_that_a_hop_changed_is_noticed() -> Result<()> {
    need_root!("an account of its own");
    let place = place()?;
    assert_eq!(told(&place.exec(&["/bin/echo", "all-is-well"])?.0), ("ok", ""));
    // Changes nothing, so that what follows is by the change.
    lie(&place, "up", "all-is-well", "all-is-well")?;
    assert_eq!(told(&place.exec(&["/bin/echo", "all-is-well"])?.0), ("ok", ""));
    lie(&place, "up", "all-is-well", "all-is-lost")?;
    let (result, output) = place.exec(&["/bin/echo", "all-is-well"])?;
    assert_eq!((told(&result), output.code()), (("failed", "node.proof"), Some(3)), "{result}");
    Ok(())
}

#[test]
fn without_a_key_in_the_inventory_nobody_notices() -> Result<()> {
    need_root!("an account of its own");
    let place = Place::start(|spec| spec)?;
    lie(&place, "up", "all-is-well", "all-is-lost")?;
    let (result, _) = place.exec(&["/bin/echo", "all-is-well"])?;
    assert_eq!((told(&result), &result["stdout"]), (("ok", ""), &"all-is-lost\n".into()), "{result}");
    Ok(())
}

#[test]
fn an_order_that_a_hop_changed_is_refused_by_the_stub() -> Result<()> {
    need_root!("an account of its own");
    let place = place()?;
    for (what, old, new, code) in [
        ("a grant", "exec:*", "exec:/", "envelope.signature"),
        ("parameters", "all-is-well", "all-is-lost", "envelope.params"),
        ("the name of the task", "\u{4}exec", "\u{4}exit", "envelope.signature"),
    ] {
        lie(&place, "down", old, new)?;
        let (result, _) = place.exec(&["/bin/echo", "all-is-well"])?;
        assert_eq!(told(&result), ("refused", code), "{what}: {result}");
    }
    Ok(())
}

#[test]
fn code_that_a_hop_changed_is_never_run() -> Result<()> {
    need_root!("an account of its own");
    let place = place()?;
    let [is, becomes] = first_pieces();
    lie(&place, "down", is, becomes)?;
    let (result, _) = place.exec(&["/bin/echo", "all-is-well"])?;
    assert_eq!(told(&result), ("failed", "blob.damaged"), "{result}");
    assert_ne!(result["stdout"], "all-is-well\n", "{result}");
    Ok(())
}

#[test]
fn a_node_without_the_key_of_the_inventory_gets_nothing() -> Result<()> {
    need_root!("an account of its own");
    let place = place()?;
    let state = place.path("state").join(&place.account.name);
    fs::rename(state.join("node.key"), state.join("old.key")).expect("moved");
    let (result, output) = place.exec(&["/bin/echo", "all-is-well"])?;
    assert_eq!((told(&result), output.code()), (("refused", "node.key"), Some(5)), "{result}");
    assert_eq!(told(&place.ping()?), ("refused", "node.key"));
    // The order was not sent: the new node remembers none.
    assert!(!state.join("seen").exists());
    fs::rename(state.join("old.key"), state.join("node.key")).expect("moved back");
    assert_eq!(told(&place.exec(&["/bin/echo", "all-is-well"])?.0), ("ok", ""));
    Ok(())
}
