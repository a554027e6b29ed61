//! A secret that no hop may read goes through a hop to a stub that is installed, locked in and pinned: the key that it is
//! sealed to is one that the key of the node vouches for. A hop that gives its own gets nothing.

use super::lies::key;
use super::{Place, WHO, told};
use crate::LIMIT;
use crate::secrets::scan::Search;
use crate::secrets::{NAME, attacks, fresh, parameters, private};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use waft_policy::site::parse_key;
use waft_proto::frame::Decoder;
use waft_proto::id::Hash;
use waft_proto::msg::{Msg, Order};
use waft_proto::secret::sealed::{Bound, open, public};
use waft_tests::lab::Lab;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Context, Result, need_root};

/// In the stub's place on the hop. It keeps what goes down; in what comes up it puts another key where the node of the
/// given key says which one secrets are to be sealed to.
const LIAR: &str = r#"import os, subprocess, sys, threading
log, node, own = open(sys.argv[1], 'ab', buffering=0), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
stub = subprocess.Popen(sys.argv[4:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
def write(sink, data):
    while data:
        data = data[os.write(sink, data):]
def down():
    while data := os.read(0, 65536):
        log.write(data)
        write(stub.stdin.fileno(), data)
    stub.stdin.close()
threading.Thread(target=down, daemon=True).start()
held, link = b'', False
while data := os.read(stub.stdout.fileno(), 65536):
    held += data
    if not link and b'\nWAFT-LINK\n' in held:
        intro, mark, held = held.partition(b'\nWAFT-LINK\n')
        write(1, intro + mark)
        link = True
    while link and len(held) >= 3 and len(held) >= (size := 3 + int.from_bytes(held[:2], 'little')):
        frame, held = held[:size], held[size:]
        at = frame.find(node)
        if own and at > 33:
            frame = frame[:at - 33] + own + frame[at - 1:]
        write(1, frame)
sys.exit(stub.wait())
"#;
/// The hop's own key for secrets.
const PRIVATE: [u8; 32] = [9; 32];

/// An installed stub on `web1` behind the hop `bas`, and what is told to it.
struct Site {
    place: Place,
    secret: String,
    known: String,
    key: String,
    value: PathBuf,
    _keys: tempfile::TempDir,
}

impl Site {
    fn start() -> Result<Site> {
        let lab = Lab::builder().host(HostSpec::new("bas"));
        let place = Place::start_beside(lab, |spec| spec.via("bas"))?;
        assert_eq!(place.ping()?["policy"], "enforced", "through the hop");
        let keys = tempfile::tempdir().context(|| "a directory".to_owned())?;
        let (secret, known, key) = (fresh("secret"), fresh("known"), key(&place)?);
        let value = private(keys.path().join("value"), secret.as_bytes())?;
        let site = Site { place, secret, known, key, value, _keys: keys };
        for name in ["granted", "audit", "audit/own"] {
            let path = site.place.path(name);
            let path = if name == "audit/own" { path.with_file_name(&site.place.account.name) } else { path };
            fs::create_dir(&path).expect("made");
            if name != "audit" {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("a mode");
                chown(&path, Some(site.place.account.uid), None).expect("its owner");
            }
        }
        site.place.policy(&format!(
            "audit = \"{}\"\n{}[[rule]]\nname = \"tell\"\ntasks = [\"attacks\"]\ngrants = [\"secret:{NAME}\", \"{}\", \"time:60s\"]\n",
            site.place.path("audit").display(),
            site.place.controller()?,
            site.grant(),
        ))?;
        Ok(site)
    }

    fn grant(&self) -> String {
        format!("fs:{}:rw", self.place.path("granted").display())
    }

    /// The inventory knows the key of the node.
    fn pin(&self) -> Result<()> {
        self.place.inventory(&format!("node_key = \"{}\"\n", self.key))
    }

    /// The inventory says where the value comes from, and who may read it.
    fn require(&self, end_to_end: bool) -> Result<()> {
        let require = if end_to_end { "require = \"end-to-end\"\n" } else { "" };
        let more = format!("\n[secrets.\"{NAME}\"]\nfrom = \"file:{}\"\n{require}", self.value.display());
        let text = fs::read_to_string(&self.place.lab.inventory).expect("it");
        let text = text.split("\n[secrets").next().unwrap_or_default().to_owned();
        fs::write(&self.place.lab.inventory, text + &more).context(|| "the inventory".to_owned())
    }

    /// Puts the liar on the hop. It knows the private half of `own`.
    fn lie(&self, own: Option<[u8; 32]>) -> Result<()> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let path = Waft::new("stub")?.args(["path", "--kind", "hop"]).limit(LIMIT);
        let path = path.run()?.expect_code(0)?.stdout();
        let [stub, liar, script] = ["hop-stub", "liar.py", "hop.sh"].map(|name| self.place.path(name));
        fs::copy(path.trim(), &stub).expect("the stub is where it says");
        fs::write(&liar, LIAR).expect("written");
        let node = hex(&parse_key(&self.key).expect("a key"));
        let own = own.map_or_else(String::new, |own| hex(&own));
        let (log, liar, stub) = (self.place.path("down"), liar.display(), stub.display());
        let _ = fs::remove_file(&log);
        let line = format!("exec python3 '{liar}' '{}' '{node}' '{own}' '{stub}' \"$@\"", log.display());
        fs::write(&script, format!("#!/bin/sh\n{line}\n")).expect("written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
        let text = fs::read_to_string(&self.place.lab.inventory).expect("it");
        let head = "[hosts.bas]\n";
        if text.contains("hop.sh") {
            return Ok(());
        }
        let text = text.replace(head, &format!("{head}installed = \"{}\"\n", script.display()));
        fs::write(&self.place.lab.inventory, text).context(|| "the inventory".to_owned())
    }

    fn run(&self) -> Result<Output> {
        let dir = self.place.dir.path();
        let params = parameters(
            dir,
            &json!({
                "attack": "tell-secret", "name": NAME, "known": self.known, "directory": self.place.path("granted"),
            }),
        )?;
        let waft = self.place.waft(&["run"])?.lab(&self.place.lab).arg(attacks(dir)?);
        let waft = waft.args(["-t", "web1", "--format", "jsonl", "--params"]).arg(params);
        let waft = waft.args(["--allow", &format!("secret:{NAME}"), "--allow", &self.grant()]);
        waft.env("XDG_CACHE_HOME", self.place.controller.path()).run()
    }

    fn result(&self) -> Result<Value> {
        self.run()?.result_of("web1")
    }

    /// What the hop can open of what went through it, with its own key.
    fn opened(&self) -> Vec<String> {
        let bytes = fs::read(self.place.path("down")).expect("what went down");
        let (mut left, mut decoder) = (&bytes[..], Decoder::default());
        let (mut sealed, mut orders) = (Vec::new(), Vec::new());
        while let Some(frame) = decoder.next(&mut left).expect("frames") {
            for (msg, _) in Msg::decode_all(&frame.body).expect("messages") {
                match msg {
                    Msg::Down { to, order: Order::Secrets { run, sealed: text } } => {
                        sealed.push((to[0].first, run, text));
                    }
                    Msg::Down { order: Order::Run(run), .. } => orders.push(Hash::of(&run.envelope)),
                    _ => {}
                }
            }
        }
        let mut opened = Vec::new();
        for (node, run, text) in sealed {
            for order in &orders {
                if let Ok(secrets) = open(&text, &PRIVATE.into(), &Bound { run, node, order: *order }) {
                    opened.extend(secrets.get(NAME).and_then(|secret| secret.text()).map(str::to_owned));
                }
            }
        }
        opened
    }
}

#[test]
fn a_pinned_stub_behind_a_hop_is_told_what_no_hop_may_read() -> Result<()> {
    need_root!("an account of its own");
    let site = Site::start()?;
    site.require(true)?;
    // Not pinned, it is refused before anything is dialled.
    let refused = site.run()?.expect_code(2)?;
    assert!(refused.stderr().contains("the hop `bas` before `web1` could read it"), "{refused}");
    site.pin()?;
    let output = site.run()?.expect_code(0)?;
    let result = output.result_of("web1")?;
    assert_eq!(told(&result), ("ok", ""), "{result}");
    assert_eq!(result["result"]["value"], format!("[secret {NAME}]"));
    // Neither what is shown nor the log of the node has it; both have what is known.
    let (secret, known) = (Search::of(&site.secret), Search::of(&site.known));
    let log = fs::read(site.place.path("audit").join(&site.place.account.name).join("log")).expect("a log");
    for (what, bytes) in [("output", output.stdout().into_bytes()), ("the node's log", log)] {
        assert!(known.is_in(&bytes), "{what} was to have what is known");
        let leaks: Vec<_> = bytes.split(|byte| *byte == b'\n').filter(|line| secret.is_in(line)).collect();
        let leaks: Vec<_> = leaks.into_iter().map(String::from_utf8_lossy).collect();
        assert!(leaks.is_empty(), "{what} has the secret: {leaks:?}");
    }
    let dir = site.place.dir.path();
    assert!(!known.in_files(dir).is_empty());
    assert_eq!(secret.in_files(dir), Vec::<PathBuf>::new());
    assert_eq!(secret.in_files(site.place.controller.path()), Vec::<PathBuf>::new());
    Ok(())
}

#[test]
fn a_hop_that_gives_its_own_key_for_the_nodes_is_caught_where_that_is_pinned() -> Result<()> {
    need_root!("an account of its own");
    let site = Site::start()?;
    site.require(false)?;
    // The hop tells what it hears: the task gets the secret, and the hop cannot open it.
    site.lie(None)?;
    let honest = site.result()?;
    assert_eq!((told(&honest), site.opened().len()), (("ok", ""), 0), "{honest}");
    // With its own key in the place of the node's it reads the secret of whoever did not pin that.
    site.lie(Some(public(&PRIVATE)))?;
    let read = site.result()?;
    assert_eq!(site.opened(), [site.secret.as_str()], "{read}");
    // Pinned, the node is not spoken to.
    site.pin()?;
    for end_to_end in [false, true] {
        site.require(end_to_end)?;
        site.lie(Some(public(&PRIVATE)))?;
        let caught = site.result()?;
        assert_eq!(told(&caught), ("refused", "node.key"), "{caught}");
        assert!(caught["error"]["message"].to_string().contains("without having it"), "{caught}");
        let down = fs::read(site.place.path("down")).expect("what went down");
        assert!(!down.is_empty() && site.opened().is_empty());
    }
    Ok(())
}

#[test]
fn a_pinned_stub_that_is_not_locked_in_is_not_told() -> Result<()> {
    need_root!("an account of its own");
    let site = Site::start()?;
    site.require(true)?;
    site.pin()?;
    assert_eq!(told(&site.result()?), ("ok", ""));
    // Whoever can write the stub has the node's key as well.
    chown(site.place.stub(), Some(site.place.account.uid), None).expect("its owner");
    assert_eq!(site.place.ping()?["policy"], "advisory");
    let output = site.run()?.expect_code(5)?;
    let refused = output.result_of("web1")?;
    assert_eq!(told(&refused), ("refused", "secret.end_to_end"), "{refused}");
    assert!(refused["error"]["message"].to_string().contains("not `enforced`"), "{refused}");
    site.require(false)?;
    assert_eq!(told(&site.result()?), ("ok", ""), "{WHO} may tell it what hops may read");
    Ok(())
}
