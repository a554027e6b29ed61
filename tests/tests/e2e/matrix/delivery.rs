//! Targets that make it hard to bring a stub.

use super::{PLACES, Place, TARGET, exec, held, target};
use crate::component::made::guest;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::sshd::HostSpec;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Result, need_root};

/// A directory of tools and a forced command that lets a login see nothing else in its PATH.
struct Tools {
    dir: TempDir,
    logins: Cell<u32>,
}

const BASE: [&str; 9] = ["sh", "chmod", "rm", "head", "dd", "uname", "sleep", "mkdir", "cat"];

impl Tools {
    fn of(names: &[&str]) -> Tools {
        let dir = tempfile::Builder::new().prefix("waft-tools-").tempdir().expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("readable");
        for name in names {
            let found = ["/usr/bin", "/bin"].map(|bin| Path::new(bin).join(name));
            let found =
                found.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("there is no {name}"));
            symlink(found, dir.path().join(name)).expect("linked");
        }
        Tools { dir, logins: Cell::new(0) }
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
        path
    }

    /// A login that is prepared by `before`, which may replace the shell, and then finds only these tools.
    fn host(&self, before: &str) -> HostSpec {
        let path = self.dir.path().display();
        let text = format!(
            "{before}\nPATH={path}; export PATH; unset XDG_RUNTIME_DIR\nexec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\""
        );
        self.logins.update(|count| count + 1);
        let name = format!("login-{}.sh", self.logins.get());
        target().force_command(&self.script(&name, &text).display().to_string())
    }
}

fn with(lab: &Lab, line: &str) {
    let inventory = fs::read_to_string(&lab.inventory).expect("the lab's inventory");
    let section = format!("[hosts.{TARGET}]\n");
    fs::write(&lab.inventory, inventory.replace(&section, &format!("{section}{line}\n"))).expect("written");
}

/// The target is not reached, for this reason.
fn refused(case: &str, place: Place, host: HostSpec, line: &str, code: &str, words: &str) -> Result<()> {
    let lab = place.lab(host).start()?;
    with(&lab, line);
    let result = held(&format!("{place:?}, {case}"), &lab, exec(&lab, "true")?.run()?, &["unreachable"], 4)?;
    assert_eq!(result["error"]["code"], code, "{case}: {result}");
    let said = format!("{} {}", result["error"]["message"], result["error"]["hint"]);
    assert!(said.contains(words), "{case}: {result}");
    Ok(())
}

#[test]
fn tools_that_are_missing_are_named() -> Result<()> {
    let guard = LeakGuard::start();
    let no_gzip = Tools::of(&BASE);
    let memory_only = Tools::of(&[&BASE[..], &["gzip"]].concat());
    let other = Tools::of(&[&BASE[..5], &["gzip"]].concat());
    other.script("uname", "[ \"$1\" = -m ] && echo armv7l || echo Linux");
    for place in PLACES {
        refused("no gzip", place, no_gzip.host(""), "", "delivery.gzip", "gzip")?;
        refused(
            "no memfd",
            place,
            memory_only.host(""),
            "no_disk = true",
            "delivery.no_disk",
            "memory alone",
        )?;
        refused("armv7l", place, other.host(""), "", "delivery.arch", "armv7l")?;
    }
    guard.check()
}

/// Private mounts, so that nothing changes for anybody else; then the login goes on in there.
fn inside(mounts: &str) -> String {
    format!(
        "if [ -z \"$INSIDE\" ]; then INSIDE=1 exec unshare --mount --propagation private \"$0\"; fi\n{mounts}"
    )
}

#[test]
fn directories_that_cannot_take_a_program_are_named() -> Result<()> {
    need_root!("mounts of its own");
    let guard = LeakGuard::start();
    let tools = Tools::of(&[&BASE[..], &["gzip"]].concat());
    for (case, options) in [("noexec", "noexec"), ("read-only", "ro"), ("full", "size=64k")] {
        let before = inside(&format!("/bin/mount -t tmpfs -o {options} none /dev/shm"));
        for place in PLACES {
            refused(case, place, tools.host(&before), "", "delivery.dir", "/dev/shm")?;
        }
    }
    guard.check()
}

/// A namespace of pids has a sysctl of its own: memfds cannot be executed in there.
const NO_MEMFD: &str = "if [ -z \"$INSIDE\" ]; then INSIDE=1 exec unshare --mount --pid --fork --kill-child --mount-proc \"$0\"; fi\n\
                        echo 2 > /proc/sys/vm/memfd_noexec || exit 99";

#[test]
fn a_stub_goes_where_it_can() -> Result<()> {
    need_root!("namespaces of its own");
    let guard = LeakGuard::start();
    let simple = Tools::of(&[&BASE[..], &["gzip"]].concat());
    let perl = Tools::of(&[&BASE[..], &["gzip", "perl"]].concat());
    let python = Tools::of(&[&BASE[..], &["python3"]].concat());
    let all_noexec = format!("{NO_MEMFD}\n/bin/mount -t tmpfs -o noexec none /dev/shm");
    for place in PLACES {
        for (case, host, way) in [
            ("no perl, no python", simple.host(""), "dir:/dev/shm"),
            ("perl", perl.host(""), "memfd"),
            ("python, no gzip", python.host(""), "memfd"),
            ("memfds are not executed", perl.host(NO_MEMFD), "dir:/dev/shm"),
        ] {
            let lab = place.lab(host).start()?;
            let ping = Waft::new("ping")?.lab(&lab).args(["-t", TARGET, "--format", "json"]);
            let shown = ping.limit(super::DEADLINE).run()?.expect_code(0)?.stdout();
            assert!(shown.contains(&format!("\"{way}\"")), "{place:?}, {case}: {shown}");
            held(&format!("{place:?}, {case}"), &lab, exec(&lab, "true")?.run()?, &["ok"], 0)?;
        }
        refused("nothing is executed", place, perl.host(&all_noexec), "", "delivery.dir", "/dev/shm")?;
        refused("memory only", place, perl.host(NO_MEMFD), "no_disk = true", "delivery.no_disk", "memfd")?;
    }
    guard.check()
}

/// What runs components comes as bytes, and is started from memory or not at all.
#[test]
fn where_memfds_are_not_executed_no_component_runs_and_modules_do() -> Result<()> {
    need_root!("namespaces of its own");
    let guard = LeakGuard::start();
    let perl = Tools::of(&[&BASE[..], &["gzip", "perl"]].concat());
    let component = perl.dir.path().join("component.wasm");
    fs::write(&component, guest()?).expect("written");
    let run = |lab: &Lab| -> Result<Output> {
        let waft = Waft::new("run")?.lab(lab).args(["-t", TARGET, "--format", "jsonl"]);
        waft.arg(component.display().to_string()).limit(super::DEADLINE).run()
    };
    for place in PLACES {
        for (case, before, status, exit) in [("plain", "", "ok", 0), ("no memfd", NO_MEMFD, "failed", 3)] {
            let lab = place.lab(perl.host(before)).start()?;
            let case = format!("{place:?}, {case}");
            let result = held(&case, &lab, run(&lab)?, &[status], exit)?;
            if status == "failed" {
                held(&case, &lab, exec(&lab, "true")?.run()?, &["ok"], 0)?;
                assert_eq!(result["error"]["code"], "worker.start", "{case}: {result}");
                assert!(result["error"]["hint"].to_string().contains("vm.memfd_noexec"), "{case}: {result}");
                let message = result["error"]["message"].as_str().unwrap_or_default();
                assert!(
                    message.starts_with("no worker can be started on `t1` for task `component`"),
                    "{case}: {result}"
                );
                assert!(message.contains("ermission denied"), "{case}: {result}");
            }
        }
    }
    guard.check()
}
