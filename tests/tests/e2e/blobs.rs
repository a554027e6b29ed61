//! Files that are sent with a run: `-p NAME@FILE`.

use crate::LIMIT;
use crate::attack::arena::attacks;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use waft_proto::id::Hash;
use waft_tests::Result;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::proxy::Settings;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft};

const LARGE_BYTES: usize = 8 << 20;
/// What goes to a hop and through it beside a file: stubs, the module's code, and what SSH adds.
const BESIDE_BYTES_MAX: u64 = 6 << 20;

/// The task, and files.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Result<Desk> {
        let desk = Desk { dir: tempfile::tempdir().expect("a directory") };
        fs::write(desk.path("reads.wasm"), attacks()?).expect("written");
        Ok(desk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).expect("written");
        format!("file@{}", self.path(name).display())
    }

    fn waft(&self, command: &str) -> Result<Waft> {
        Ok(Waft::new(command)?.arg(self.path("reads.wasm")).args(["-p", "attack=blob"]).limit(LIMIT))
    }

    fn run(&self, lab: &Lab, targets: &str, words: &[&str]) -> Result<Output> {
        self.waft("run")?.lab(lab).args(["-t", targets, "--format", "jsonl"]).args(words).run()
    }
}

/// No compression makes it small.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn fnv(bytes: &[u8]) -> String {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

fn lab() -> Result<Lab> {
    let behind = |name: &str| HostSpec::new(name).via("bas");
    let hosts =
        Lab::builder().host(HostSpec::new("h1")).host(HostSpec::new("bas").proxied(Settings::default()));
    hosts.host(behind("t1")).host(behind("t2")).host(behind("t3")).start()
}

#[test]
fn a_file_is_read_by_the_task_and_crosses_the_outer_link_once() -> Result<()> {
    let (lab, desk) = (lab()?, Desk::new()?);
    let guard = LeakGuard::start();
    let outer = lab.host("bas").proxy.as_ref().expect("counted");
    let bytes = noise(LARGE_BYTES);
    let param = desk.file("big data.bin", &bytes);
    let mark = outer.mark();
    let output = desk.run(&lab, "h1,t[1-3]", &["-p", &param])?.expect_code(0)?;
    let up = outer.since(mark).up_bytes;
    for target in ["h1", "t1", "t2", "t3"] {
        let result = output.result_of(target)?["result"].clone();
        assert_eq!(
            (&result["length"], &result["fnv"]),
            (&LARGE_BYTES.into(), &fnv(&bytes).into()),
            "{result}"
        );
        let told = serde_json::json!({"hash": Hash::of(&bytes).to_string(), "bytes": LARGE_BYTES, "name": "big data.bin"});
        assert_eq!(result["params"], told);
    }
    let large = LARGE_BYTES as u64;
    assert!(up > large && up < large + BESIDE_BYTES_MAX, "{up} bytes for three targets behind the hop");
    lab.wait_idle()?;
    guard.check()
}

/// What no other run was given, and what is nothing.
#[test]
fn an_empty_file_is_one_and_no_other_blob_can_be_read() -> Result<()> {
    let (lab, desk) = (lab()?, Desk::new()?);
    let empty = desk.file("empty", b"");
    let output = desk.run(&lab, "h1,t1", &["-p", &empty])?.expect_code(0)?;
    for target in ["h1", "t1"] {
        assert_eq!(output.result_of(target)?["result"]["length"], 0, "{output}");
    }
    // The hash alone opens nothing.
    let hash = format!("file:={{\"hash\":\"{}\"}}", Hash::of(b""));
    let result = desk.run(&lab, "h1", &["-p", &hash])?.result_of("h1")?;
    assert_eq!(result["result"]["reply"]["error"]["code"], "grant.missing", "{result}");
    // A grant opens nothing either that was not sent: that is said before.
    let grant = format!("blob:{}", Hash::of(b"other"));
    let hash = format!("file:={{\"hash\":\"{}\"}}", Hash::of(b"other"));
    let output = desk.run(&lab, "h1", &["-p", &hash, "--allow", &grant])?;
    assert_eq!(output.result_of("h1")?["result"]["reply"]["error"]["code"], "blob.missing", "{output}");
    assert!(output.stderr().contains("no file of that hash is sent"), "{output}");
    Ok(())
}

/// A manifest cannot ask for a hash: whoever names a file gives it.
#[test]
fn a_file_is_given_by_being_named_and_explain_says_so() -> Result<()> {
    let desk = Desk::new()?;
    fs::write(desk.path("reads.toml"), "grants = ['facts']").expect("written");
    let param = desk.file("app.conf", b"port = 1\n");
    let grant = format!("blob:{}", Hash::of(b"port = 1\n"));
    let page = desk.waft("explain")?.args(["-p", &param, "--format", "json"]).run()?.expect_code(0)?;
    let page: Value = serde_json::from_str(&page.stdout()).expect("JSON");
    assert_eq!(page["gets"][0]["rights"][0]["grant"], grant.as_str(), "{page}");
    assert_eq!(
        (&page["files"][0]["param"], &page["files"][0]["bytes"]),
        (&"file".into(), &9.into()),
        "{page}"
    );
    let text = desk.waft("explain")?.args(["-p", &param]).run()?.expect_code(0)?.stdout();
    assert!(text.contains("files sent with it:") && text.contains("app.conf (9 bytes)"), "{text}");
    let output =
        desk.waft("run")?.args(["-p", &param, "-t", "local", "--format", "jsonl"]).run()?.expect_code(0)?;
    assert_eq!(output.result_of("local")?["result"]["length"], 9, "{output}");
    Ok(())
}

/// The target could not be reached, which would be another exit code.
#[test]
fn what_cannot_be_sent_is_told_before_anything_is_dialled() -> Result<()> {
    let desk = Desk::new()?;
    let told = |param: &str, words: &str| -> Result<()> {
        let output = desk.waft("run")?.args(["-t", "ops@192.0.2.1:9", "-p", param]).run()?.expect_code(2)?;
        assert!(output.stderr().contains(words), "{words} in {output}");
        Ok(())
    };
    let param = |name: &str| format!("file@{}", desk.path(name).display());
    told(&param("missing"), "No such file or directory")?;
    told(&param("."), "is no regular file but a directory")?;
    rustix::fs::mknodat(rustix::fs::CWD, desk.path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("a FIFO");
    told(&param("fifo"), "is no regular file but a FIFO")?;
    let long = fs::File::create(desk.path("long")).expect("created");
    long.set_len((64 << 20) + 1).expect("sparse");
    told(&param("long"), "(64 MiB)")?;
    told("file@", "-p name@FILE")
}

/// The most memory that a process ever had, bytes, looked at until it is gone.
fn peak(pid: u32) -> u64 {
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let Some(kib) = line.and_then(|line| line.trim().strip_suffix(" kB")) else { return peak };
        peak = kib.parse::<u64>().expect("a number") * 1024;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn the_largest_file_is_held_once() -> Result<()> {
    let desk = Desk::new()?;
    let run = |param: &str| -> Result<u64> {
        let running = desk.waft("run")?.args(["-p", param, "-t", "local", "--format", "jsonl"]).spawn()?;
        let peak = peak(running.pid());
        running.finish()?.expect_code(0)?;
        Ok(peak)
    };
    const BYTES: u64 = 64 << 20;
    let small = run(&desk.file("small", b"x"))?;
    let large = fs::File::create(desk.path("large")).expect("created");
    large.set_len(BYTES).expect("sparse");
    let grown = run(&format!("file@{}", desk.path("large").display()))?.saturating_sub(small);
    assert!((BYTES / 2..BYTES * 3 / 2).contains(&grown), "{grown} bytes more for a file of {BYTES}");
    Ok(())
}
