//! The aarch64 stubs, leaf and hop, as programs: run by qemu-user behind real sshds, driven by `waft`.
//!
//! A host becomes an aarch64 machine by a forced command: each session enters a user namespace with a binfmt_misc of
//! its own (Linux 6.7), in which the kernel starts aarch64 programs by qemu, and finds a `uname` that says `aarch64`.
//! Nothing of that is seen outside of the session. Where the machine starts aarch64 programs anyway, that is used.
//!
//! One thing qemu-user cannot do: start a program once more whose file has no name left, which is how a *pushed* stub
//! starts its workers (qemu answers `/proc/self/exe` with the name it was given). So tasks run in installed stubs;
//! pushed ones answer and relay.
//!
//! What is missing is said, and the test skipped; `WAFT_AARCH64=required` makes that a failure.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use waft_tests::lab::{Lab, LabBuilder};
use waft_tests::leak::LeakGuard;
use waft_tests::process::{self, TOOL_LIMIT};
use waft_tests::sshd::HostSpec;
use waft_tests::waft::Waft;
use waft_tests::{Context, Error, Result};

/// Everything is some ten times slower in qemu.
const LIMIT: Duration = Duration::from_secs(120);
const QEMU: &str = "/usr/bin/qemu-aarch64-static";
const KINDS: [&str; 2] = ["leaf", "hop"];

/// A directory with both stubs and what makes a session one of an aarch64 machine.
struct Machine {
    dir: TempDir,
}

impl Machine {
    /// Or nothing, when this machine cannot have one, which has then been said.
    fn new() -> Result<Option<Machine>> {
        if cfg!(target_arch = "aarch64") {
            eprintln!("SKIPPED: this is an aarch64 machine, on which all other tests are of these stubs");
            return Ok(None);
        }
        match Machine::prepare()? {
            Ok(machine) => Ok(Some(machine)),
            Err(missing) if std::env::var_os("WAFT_AARCH64").is_some_and(|value| value == "required") => {
                Err(Error::new(format!("{missing}, and WAFT_AARCH64=required")))
            }
            Err(missing) => {
                eprintln!("SKIPPED (needs aarch64 stubs and qemu-user): {missing}");
                Ok(None)
            }
        }
    }

    fn prepare() -> Result<std::result::Result<Machine, String>> {
        let doing = || "cannot make an aarch64 machine".to_owned();
        let machine = Machine { dir: tempfile::Builder::new().prefix("waft-arm-").tempdir().context(doing)? };
        fs::set_permissions(machine.dir.path(), fs::Permissions::from_mode(0o755)).context(doing)?;
        for kind in KINDS {
            let path = Waft::new("stub")?.args(["path", "--arch", "aarch64", "--kind", kind]);
            let output = path.run()?;
            if output.code() != Some(0) {
                let said = output.stderr();
                let why = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
                return Ok(Err(format!("{why}; `scripts/aarch64.sh` and then `cargo build` make both")));
            }
            // The program's home, where it unpacked the stub, goes with `path`.
            fs::copy(output.stdout().trim(), machine.stub(kind)).context(doing)?;
        }
        fs::create_dir(machine.memory()).context(doing)?;
        machine.script("uname", "case $1 in -s) echo Linux ;; *) echo aarch64 ;; esac\n")?;
        // As it is, then with a binfmt_misc of the session's own.
        let mut heard = String::new();
        for enter in [String::new(), own_binfmt()] {
            let (path, memory) = (machine.dir.path().display(), machine.memory());
            let text = format!(
                "export \"PATH={path}:$PATH\" XDG_RUNTIME_DIR={}\n{enter}exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
                memory.display()
            );
            machine.script("session", &text)?;
            let mut probe = Command::new(machine.session());
            probe.env("SSH_ORIGINAL_COMMAND", format!("{} --version", machine.stub("leaf").display()));
            let said = process::run(probe, b"", TOOL_LIMIT)?;
            if said.status.success() && said.stdout_text().ends_with("leaf aarch64\n") {
                return Ok(Ok(machine));
            }
            heard = said.stderr_text();
        }
        Ok(Err(format!("no aarch64 program can be run here ({})", heard.trim())))
    }

    fn script(&self, name: &str, text: &str) -> Result<()> {
        let file = self.dir.path().join(name);
        let written = fs::write(&file, format!("#!/bin/sh\n{text}"))
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o755)));
        written.context(|| format!("cannot write {}", file.display()))
    }

    fn session(&self) -> PathBuf {
        self.dir.path().join("session")
    }

    fn stub(&self, kind: &str) -> PathBuf {
        self.dir.path().join(kind)
    }

    /// Where stubs are put that cannot be in a memfd.
    fn memory(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// A host whose sessions are those of this machine.
    fn host(&self, name: &str) -> HostSpec {
        HostSpec::new(name).force_command(&self.session().display().to_string())
    }
}

/// Shell lines that go on in namespaces in which aarch64 programs are started by qemu.
fn own_binfmt() -> String {
    // ELF, 64 bits, little-endian, EXEC or DYN, EM_AARCH64. Flags: argv[0] is kept; qemu gets the program as an open
    // file; qemu itself is opened now, so that it is found in any root directory.
    let magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
    let mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
    let at = "/proc/sys/fs/binfmt_misc";
    format!(
        "if [ -z \"$WAFT_ARM\" ]; then WAFT_ARM=1 exec unshare --user --map-root-user --mount \"$0\"; fi\n\
         mount -t binfmt_misc none {at} || exit\n\
         printf %s ':waft:M::{magic}:{mask}:{QEMU}:POF' >{at}/register || exit\n"
    )
}

/// A lab in which `installed` hosts have a stub that is there already.
fn start(lab: LabBuilder, installed: &[(&str, &Path)]) -> Result<Lab> {
    let lab = lab.start()?;
    let mut inventory = fs::read_to_string(&lab.inventory).context(|| "no inventory".to_owned())?;
    for (host, stub) in installed {
        let (table, key) = (format!("[hosts.{host}]\n"), format!("installed = \"{}\"\n", stub.display()));
        assert!(inventory.contains(&table), "{inventory}");
        inventory = inventory.replace(&table, &format!("{table}{key}"));
    }
    fs::write(&lab.inventory, inventory).context(|| "cannot write the inventory".to_owned())?;
    Ok(lab)
}

fn facts(lab: &Lab, targets: &str) -> Result<waft_tests::waft::Output> {
    let run = Waft::new("run")?.lab(lab).args(["facts", "--allow", "facts", "--format", "jsonl"]);
    run.args(["-t", targets]).limit(LIMIT).run()
}

/// What `waft ping` says, by target.
fn ping(lab: &Lab, targets: &str) -> Result<Vec<Value>> {
    let ping = Waft::new("ping")?.lab(lab).args(["--format", "jsonl", "-t", targets]).limit(LIMIT);
    let output = ping.run()?.expect_code(0)?;
    let line =
        |line: &str| serde_json::from_str(line).map_err(|error| Error::new(format!("{line}: {error}")));
    output.stdout().lines().map(line).collect()
}

fn answer<'a>(answers: &'a [Value], target: &str) -> &'a Value {
    let found = answers.iter().find(|answer| answer["target"] == target);
    found.unwrap_or_else(|| panic!("{target} does not answer: {answers:?}"))
}

/// A module of one memory and one function `_start` with this body.
fn module(body: &[u8]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01".to_vec();
    module.extend(b"\x07\x13\x02\x06memory\x02\0\x06_start\0\0");
    let size = u8::try_from(body.len()).expect("a short body");
    module.extend([0x0a, size + 3, 1, size + 1, 0]);
    module.extend(body);
    module
}

#[test]
fn an_aarch64_leaf_runs_tasks_to_their_results() -> Result<()> {
    let Some(machine) = Machine::new()? else { return Ok(()) };
    let leaf = machine.stub("leaf");
    let lab = start(Lab::builder().host(machine.host("h1")), &[("h1", &leaf)])?;
    let guard = LeakGuard::start();
    let result = facts(&lab, "h1")?.expect_code(0)?.result_of("h1")?;
    assert_eq!(result["status"], "ok", "{result}");
    assert_eq!(result["result"]["facts"]["architecture"], "aarch64", "{result}");

    // Programs are started by the stub for a worker.
    let exec = Waft::new("exec")?.lab(&lab).args(["-t", "h1", "--format", "jsonl", "--", "/bin/echo", "ran"]);
    let result = exec.limit(LIMIT).run()?.expect_code(0)?.result_of("h1")?;
    assert_eq!(result["stdout"], "ran\n", "{result}");
    guard.check()
}

/// Traps are signals, and the end of a loop without end is an epoch: both are the machine's own code.
#[test]
fn an_aarch64_leaf_stops_what_goes_wrong() -> Result<()> {
    let Some(machine) = Machine::new()? else { return Ok(()) };
    let leaf = machine.stub("leaf");
    let lab = start(Lab::builder().host(machine.host("h1")), &[("h1", &leaf)])?;
    let guard = LeakGuard::start();
    // unreachable; i32.load at 2^31, far beyond the memory; loop that branches to itself.
    let far = b"\x41\x80\x80\x80\x80\x78\x28\x02\0\x1a\x0b";
    let cases: [(&str, &[u8], &str); 3] = [
        ("unreachable", b"\0\x0b", "failed"),
        ("outside", far, "failed"),
        ("endless", b"\x03\x40\x0c\0\x0b\x0b", "timed_out"),
    ];
    for (name, body, status) in cases {
        let file = lab.dir.path().join(format!("{name}.wasm"));
        fs::write(&file, module(body)).context(|| format!("cannot write {}", file.display()))?;
        let run = Waft::new("run")?.lab(&lab).arg(&file).args(["-t", "h1", "--format", "jsonl"]);
        let output = run.args(["--timeout", "2s"]).limit(LIMIT).run()?.expect_code(3)?;
        let result = output.result_of("h1")?;
        assert_eq!(result["status"], status, "{name}: {result}");
    }
    guard.check()
}

/// The normal way in: `uname -m` chooses the stub, which goes over the link and into memory.
#[test]
fn aarch64_stubs_are_delivered_and_relay() -> Result<()> {
    let Some(machine) = Machine::new()? else { return Ok(()) };
    let leaf = machine.stub("leaf");
    let lab = Lab::builder()
        .host(machine.host("h1"))
        .host(machine.host("h2").via("h1"))
        .host(HostSpec::new("h3").via("h1"))
        .host(machine.host("h4").via("h1"));
    let lab = start(lab, &[("h4", &leaf)])?;
    let guard = LeakGuard::start().watch_dir(machine.memory());

    let answers = ping(&lab, "h1,h2,h3,h4")?;
    let expected = [
        ("h1", "aarch64", "hop"),
        ("h2", "aarch64", "leaf"),
        ("h3", "x86_64", "leaf"),
        ("h4", "aarch64", "leaf"),
    ];
    for (target, arch, kind) in expected {
        let answer = answer(&answers, target);
        assert_eq!([&answer["arch"], &answer["stub"]["kind"]], [arch, kind], "{answer}");
        // Into which memory is this machine's choice: its perl is no aarch64 program and makes no memfd as one.
        assert_eq!(answer["delivery"] == "installed", target == "h4", "{answer}");
    }

    // One task for two architectures, both behind the aarch64 hop.
    let output = facts(&lab, "h3,h4")?.expect_code(0)?;
    for (target, arch) in [("h3", "x86_64"), ("h4", "aarch64")] {
        let result = output.result_of(target)?;
        assert_eq!(result["result"]["facts"]["architecture"], arch, "{result}");
    }
    guard.check()
}

/// A hop that runs the task itself, too; and an x86_64 hop, which passes on what it could not run.
#[test]
fn hops_pass_on_artifacts_of_either_architecture() -> Result<()> {
    let Some(machine) = Machine::new()? else { return Ok(()) };
    let (leaf, hop) = (machine.stub("leaf"), machine.stub("hop"));
    let lab = Lab::builder()
        .host(machine.host("h1"))
        .host(machine.host("h2").via("h1"))
        .host(HostSpec::new("h3"))
        .host(machine.host("h4").via("h3"));
    let lab = start(lab, &[("h1", &hop), ("h2", &leaf), ("h4", &leaf)])?;
    let guard = LeakGuard::start();
    let output = facts(&lab, "h1,h2,h3,h4")?.expect_code(0)?;
    for (target, arch) in [("h1", "aarch64"), ("h2", "aarch64"), ("h3", "x86_64"), ("h4", "aarch64")] {
        let result = output.result_of(target)?;
        assert_eq!(result["result"]["facts"]["architecture"], arch, "{result}");
    }
    guard.check()
}
