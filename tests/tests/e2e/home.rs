//! What of the user's keys gets to a target: nothing. What waft changes and leaves there is in `whole`.

use crate::LIMIT;
use crate::via::behind_a_bastion;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use waft_tests::agent::Agent;
use waft_tests::lab::Lab;
use waft_tests::process::{descendants, wait_until};
use waft_tests::waft::Waft;
use waft_tests::{Result, need_root};

/// Everything readable of a process: memory, environment, open files.
fn holds(pid: u32, needle: &[u8]) -> bool {
    holds_some(pid, |bytes| has(bytes, needle))
}

/// The same, for whatever is looked for.
pub(crate) fn holds_some(pid: u32, in_bytes: impl Fn(&[u8]) -> bool) -> bool {
    let proc = std::path::PathBuf::from(format!("/proc/{pid}"));
    if fs::read(proc.join("environ")).is_ok_and(|environ| in_bytes(&environ)) {
        return true;
    }
    let links = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
    if links
        .filter_map(|link| fs::read_link(link.path()).ok())
        .any(|to| in_bytes(to.as_os_str().as_encoded_bytes()))
    {
        return true;
    }
    let Ok(maps) = fs::read_to_string(proc.join("maps")) else { return false };
    let Ok(memory) = fs::File::open(proc.join("mem")) else { return false };
    use std::os::unix::fs::FileExt;
    for map in maps.lines() {
        let mut words = map.split_whitespace();
        let (Some(range), Some(mode)) = (words.next(), words.next()) else { continue };
        let Some((from, to)) = range.split_once('-') else { continue };
        let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else {
            continue;
        };
        if !mode.starts_with('r') || to - from > 1 << 30 {
            continue;
        }
        let mut bytes = vec![0; (to - from) as usize];
        if memory.read_exact_at(&mut bytes, from).is_ok() && in_bytes(&bytes) {
            return true;
        }
    }
    false
}

/// 32 secret bytes of an unencrypted ed25519 key in OpenSSH's format.
fn secret_of(key: &std::path::Path) -> Vec<u8> {
    let text = fs::read_to_string(key).expect("the lab's key");
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let bytes = decode_base64(&body);
    // The private part ends with: string(64 bytes: seed and public key), string(comment), padding.
    let marker = [0, 0, 0, 64];
    let at = bytes.windows(4).rposition(|window| window == marker).expect("an ed25519 key");
    bytes[at + 4..at + 36].to_vec()
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> = text.bytes().filter(|c| *c != b'=').map(value).collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let joined = group.iter().fold(0, |sum, digit| (sum << 6) | digit) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&joined.to_be_bytes()[1..group.len()]);
    }
    bytes
}

/// Lets the bastion's stub be one that is there already, behind `tee`: what crosses the link to it, without SSH's
/// encryption around it. Gives the files for both directions.
fn record_the_link(lab: &Lab) -> Result<[PathBuf; 2]> {
    let [up, down, script, stub] =
        ["link.up", "link.down", "stub.sh", "stub"].map(|name| lab.dir.path().join(name));
    // Copied, because it lies in the home of a waft that is gone in a moment.
    let waft = Waft::new("stub")?.args(["path", "--kind", "hop"]).limit(LIMIT);
    let path = waft.run()?.expect_code(0)?;
    fs::copy(path.stdout().trim(), &stub).expect("the stub is where it says");
    let line = format!("tee '{}' | '{}' \"$@\" | tee '{}'", up.display(), stub.display(), down.display());
    fs::write(&script, format!("#!/bin/sh\n{line}\n")).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    let inventory = fs::read_to_string(&lab.inventory).expect("the lab's inventory");
    let installed = format!("[hosts.bas]\ninstalled = \"{}\"\n", script.display());
    fs::write(&lab.inventory, inventory.replace("[hosts.bas]\n", &installed)).expect("written");
    Ok([up, down])
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn keys_stay_home() -> Result<()> {
    need_root!("reading the memory of a relay");
    // The key is read from its file once, and once an agent signs.
    keys_stay(false)?;
    keys_stay(true)
}

fn keys_stay(with_agent: bool) -> Result<()> {
    let lab = behind_a_bastion(1)?;
    let [up, down] = record_the_link(&lab)?;
    let secret = secret_of(&lab.key.path);
    let agent = Agent::start(&[&lab.key.path])?;
    let socket = agent.socket.as_os_str().as_encoded_bytes();
    // The canary proves that each search finds what is there: it goes to the target as an argument.
    let canary = format!("canary-{}", std::process::id());
    let waft = Waft::new("exec")?.lab(&lab);
    let waft = if with_agent { waft.agent(&agent) } else { waft };
    let waft = waft
        .args(["-t", "t1", "--timeout", "60s", "--", "/bin/sh", "-c", &format!(": {canary}; sleep 30")])
        .limit(LIMIT)
        .spawn()?;
    let relay = wait_until("the task runs behind the relay", LIMIT, || {
        let below = descendants(&[lab.host("t1").pid()]);
        let runs = below.iter().any(|process| process.command.contains(&canary));
        let relay = descendants(&[lab.host("bas").pid()]);
        let found = relay.iter().any(|process| holds(process.id.pid, canary.as_bytes()));
        (runs && found).then_some(relay)
    })?;
    for process in &relay {
        assert!(!holds(process.id.pid, &secret), "the secret key is in {process}");
        assert!(!holds(process.id.pid, socket), "the agent's socket is known to {process}");
    }
    // The SSH library knows the name of the variable; nobody may have set it.
    let stubs = relay.iter().filter(|process| process.command.contains("--link"));
    let set = stubs.map(|process| holds(process.id.pid, b"SSH_AUTH_SOCK=")).collect::<Vec<_>>();
    assert!(set.len() >= 2 && !set.contains(&true), "the stub and its keeper: {set:?}");
    waft.interrupt();
    waft.finish()?;
    let link = [up, down].map(|file| fs::read(file).expect("the link was recorded"));
    assert!(has(&link[0], canary.as_bytes()), "what goes to the target is in the recording");
    for bytes in &link {
        assert!(!bytes.is_empty() && !has(bytes, &secret) && !has(bytes, socket));
    }
    Ok(())
}

#[test]
fn an_unknown_host_key_behind_a_hop_is_refused_and_names_the_tunnel() -> Result<()> {
    let lab = behind_a_bastion(1)?;
    let known = fs::read_to_string(&lab.known_hosts).expect("known_hosts");
    let t1 = lab.host("t1").known_hosts_line();
    let without: String =
        known.lines().filter(|line| line.trim() != t1.trim()).map(|line| format!("{line}\n")).collect();
    assert!(without.len() < known.len(), "t1 was in known_hosts");
    fs::write(&lab.known_hosts, without).expect("written");
    let output = Waft::new("exec")?
        .lab(&lab)
        .args(["-t", "t1", "--format", "jsonl", "--", "/bin/true"])
        .limit(LIMIT)
        .run()?
        .expect_code(4)?;
    let error = &output.result_of("t1")?["error"];
    assert_eq!(error["code"], "ssh.host_key", "{error}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("tunnel")), "{error}");
    Ok(())
}

/// Stub and worker together, resident, KiB.
const MEMORY_KIB_MAX: u64 = 12 * 1024;

#[test]
fn a_stub_and_its_worker_take_little_memory() -> Result<()> {
    let lab = Lab::of(1)?;
    let waft =
        Waft::new("exec")?.lab(&lab).args(["-t", "h1", "--", "/bin/sleep", "60"]).limit(LIMIT).spawn()?;
    let sshd = lab.host("h1").pid();
    let resident = wait_until("the program runs", LIMIT, || {
        let all = descendants(&[sshd]);
        all.iter().find(|process| process.command.contains("sleep 60"))?;
        let own = all.iter().filter(|process| process.command.starts_with("waft-stub"));
        let kib = own.map(|process| {
            let status = fs::read_to_string(format!("/proc/{}/status", process.id.pid)).unwrap_or_default();
            let line =
                status.lines().find_map(|line| line.strip_prefix("VmRSS:")).map(str::trim).unwrap_or("0");
            line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
        });
        Some(kib.collect::<Vec<_>>())
    })?;
    waft.interrupt();
    waft.finish()?;
    // Keeper, stub, worker, and the one that watches the program.
    assert!(resident.len() >= 3 && resident.iter().sum::<u64>() <= MEMORY_KIB_MAX, "{resident:?} KiB");
    Ok(())
}
