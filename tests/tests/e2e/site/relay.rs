//! A real relay that lies: controller, a hop that changes what it passes on, and behind it a stub over sshd. What is changed
//! before an installed stub is noticed; in tunnel mode there is nothing to change; before a pushed stub it is believed.

use super::lies::key;
use super::{Place, first_pieces, hex, stub, told};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use waft_policy::site::parse_key;
use waft_tests::lab::Lab;
use waft_tests::proxy::{Direction, Fault, FaultAfter, Settings};
use waft_tests::sshd::HostSpec;
use waft_tests::waft::Waft;
use waft_tests::{Context, Error, Result, need_root};

/// What the program is told by, as in hop/src/liar.rs.
const VARIABLE: &str = "WAFT_LIE";

/// The relay, which `make test` builds before.
fn liar() -> Result<PathBuf> {
    let liar = stub()?.with_file_name("liar");
    let how = "WAFT_STUB_PROFILE=dev scripts/build-stub.sh liar $(uname -m) target/site/liar";
    match liar.is_file() {
        true => Ok(liar),
        false => Err(Error::new(format!("there is no {}; build it: {how}", liar.display()))),
    }
}

/// A place behind the host `hub`, on which the liar is; beside it `db1`, to which a stub is pushed.
fn tree() -> Result<Place> {
    let place = Place::start_beside(
        Lab::builder().host(HostSpec::new("hub")).host(HostSpec::new("db1").via("hub")),
        |spec| spec.via("hub"),
    )?;
    fs::copy(liar()?, place.path("liar")).context(|| "the liar".to_owned())?;
    lie(&place, "up", b"", b"")?;
    let doing = || "the inventory".to_owned();
    let text = fs::read_to_string(&place.lab.inventory).context(doing)?;
    let script = place.path("hub.sh");
    let text = text.replace("[hosts.hub]\n", &format!("[hosts.hub]\ninstalled = \"{}\"\n", script.display()));
    fs::write(&place.lab.inventory, text).context(doing)?;
    assert_eq!(place.ping()?["status"], "ok");
    place.inventory(&format!("node_key = \"{}\"\n", key(&place)?))?;
    Ok(place)
}

/// From now on the relay puts `new` in the place of `old`.
fn lie(place: &Place, way: &str, old: &[u8], new: &[u8]) -> Result<()> {
    let script = place.path("hub.sh");
    let liar = place.path("liar");
    let text = format!(
        "#!/bin/sh\nexec env '{VARIABLE}={way} {} {}' {} \"$@\"\n",
        hex(old),
        hex(new),
        liar.display()
    );
    fs::write(&script, text).context(|| "the script".to_owned())?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).context(|| "its mode".to_owned())
}

/// `waft exec` of an echo on this host.
fn echo(place: &Place, host: &str) -> Result<Value> {
    let waft = place.waft(&["exec"])?.lab(&place.lab).args(["-t", host, "--format", "jsonl"]);
    waft.args(["--", "/bin/echo", "all-is-well"]).run()?.result_of(host)
}

fn is_well(result: &Value) {
    assert_eq!((told(result), &result["stdout"]), (("ok", ""), &"all-is-well\n".into()), "{result}");
}

#[test]
fn what_a_relay_changes_before_an_installed_stub_is_noticed() -> Result<()> {
    need_root!("an account of its own");
    let place = tree()?;
    is_well(&echo(&place, "web1")?);
    for (what, way, old, new, status, code) in [
        ("nothing", "up", "all-is-well", "all-is-well", "ok", ""),
        ("the result", "up", "all-is-well", "all-is-lost", "failed", "node.proof"),
        ("a grant", "down", "exec:*", "exec:/", "refused", "envelope.signature"),
        ("the parameters", "down", "all-is-well", "all-is-lost", "refused", "envelope.params"),
        ("the task", "down", "\u{4}exec", "\u{4}exit", "refused", "envelope.signature"),
    ] {
        lie(&place, way, old.as_bytes(), new.as_bytes())?;
        let result = echo(&place, "web1")?;
        let (found, problem) = told(&result);
        assert_eq!((found, problem), (status, code), "{what}: {result}");
    }
    let [is, becomes] = first_pieces();
    lie(&place, "down", &is, &becomes)?;
    let result = echo(&place, "web1")?;
    assert_eq!(told(&result), ("failed", "blob.damaged"), "{result}");
    assert_ne!(result["stdout"], "all-is-well\n", "{result}");
    lie(&place, "up", b"", b"")?;
    is_well(&echo(&place, "web1")?);
    Ok(())
}

#[test]
fn a_relay_that_shows_another_key_for_the_node_gets_no_order_for_it() -> Result<()> {
    need_root!("an account of its own");
    let place = tree()?;
    is_well(&echo(&place, "web1")?);
    let seen = || fs::read(place.path("state").join(&place.account.name).join("seen")).unwrap_or_default();
    let before = seen();
    let pinned = parse_key(&key(&place)?).expect("a key");
    // The key of the hello; and what it signs, which begins behind it.
    lie(&place, "up", &pinned, &[7; 32])?;
    let result = echo(&place, "web1")?;
    assert_eq!(told(&result), ("refused", "node.key"), "{result}");
    assert_eq!(seen(), before);
    lie(&place, "up", b"", b"")?;
    is_well(&echo(&place, "web1")?);
    assert_ne!(seen(), before);
    Ok(())
}

#[test]
fn what_a_relay_changes_before_a_pushed_stub_is_believed_and_explain_says_that_it_can() -> Result<()> {
    need_root!("an account of its own");
    let place = tree()?;
    is_well(&echo(&place, "db1")?);
    lie(&place, "up", b"all-is-well", b"all-is-lost")?;
    let result = echo(&place, "db1")?;
    assert_eq!((told(&result), &result["stdout"]), (("ok", ""), &"all-is-lost\n".into()), "{result}");
    let page =
        place.waft(&["explain"])?.lab(&place.lab).args(["facts", "-t", "db1"]).run()?.expect_code(0)?;
    // Where a line ends is the page's.
    let page: Vec<String> = page.stdout().split_whitespace().map(str::to_owned).collect();
    let said = page.join(" ");
    assert!(said.contains("hub: a relay that dials a target holds that account"), "{said}");
    assert!(said.contains("can read and change what it sends there"), "{said}");
    Ok(())
}

/// A place behind a plain sshd that carries the controller's own session to it, with this in between.
fn tunnelled(settings: Settings) -> Result<Place> {
    let place = Place::start_beside(Lab::builder().host(HostSpec::new("hub")), |spec| {
        spec.via("hub").proxied(settings)
    })?;
    place.inventory("via_mode = \"tunnel\"\n")?;
    Ok(place)
}

#[test]
fn in_a_tunnel_the_hop_reads_nothing_and_can_only_end_the_link() -> Result<()> {
    need_root!("an account of its own");
    let place = tunnelled(Settings { record: true, ..Settings::default() })?;
    is_well(&echo(&place, "web1")?);
    let proxy = place.lab.host("web1").proxy.as_ref().expect("a proxy");
    let carried: Vec<_> = proxy.recordings().into_iter().filter(|one| one.up.len() > 4096).collect();
    let [session] = carried.as_slice() else { panic!("{} sessions", carried.len()) };
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for text in ["all-is-well", "/bin/echo", "waft-stub", "wasi_snapshot_preview1", "exec:"] {
        assert!(!has(&session.up, text) && !has(&session.down, text), "{text}");
    }
    // That it is the session can be seen by what is never hidden.
    assert!(has(&session.up, "SSH-2.0-") && has(&session.down, "SSH-2.0-"));
    for (direction, bytes) in
        [(Direction::Up, session.up.len() / 2), (Direction::Down, session.down.len() / 2)]
    {
        let fault = FaultAfter { fault: Fault::Flip, direction, bytes: bytes as u64 };
        let place = tunnelled(Settings { fault: Some(fault), ..Settings::default() })?;
        let result = echo(&place, "web1")?;
        assert!(matches!(told(&result).0, "lost" | "unreachable"), "{direction:?}: {result}");
        let stdout = result["stdout"].as_str().unwrap_or_default();
        assert!("all-is-well\n".starts_with(stdout), "{direction:?}: {result}");
    }
    Ok(())
}

#[test]
fn nothing_that_is_shipped_can_lie() -> Result<()> {
    let has = |file: PathBuf| -> Result<bool> {
        let bytes = fs::read(&file).context(|| file.display().to_string())?;
        Ok(bytes.windows(VARIABLE.len()).any(|window| window == VARIABLE.as_bytes()))
    };
    assert!(has(liar()?)?);
    assert!(!has(stub()?)?);
    for kind in ["leaf", "hop"] {
        let waft = Waft::new("stub")?.args(["path", "--kind", kind]);
        let path = waft.run()?.expect_code(0)?.stdout();
        assert!(!has(PathBuf::from(path.trim()))?, "{kind}");
    }
    Ok(())
}
