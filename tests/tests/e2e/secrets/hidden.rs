//! A task tells its secret on every way out: nothing on the way, nothing that stays, and nothing that is shown has it.

use super::scan::Search;
use super::{NAME, attacks, fresh, parameters, private};
use crate::LIMIT;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use waft_tests::lab::Lab;
use waft_tests::leak::LeakGuard;
use waft_tests::process::{self, descendants, wait_until};
use waft_tests::sshd::HostSpec;
use waft_tests::user::User;
use waft_tests::waft::{Output, Waft};
use waft_tests::{Context, Result, need_root};

/// Where programs leave files.
const SHARED: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// A target `t1`, behind a hop `bas` or not, whose links are recorded without SSH's encryption around them.
struct Site {
    lab: Lab,
    account: User,
    behind: bool,
    secret: String,
    known: String,
    /// Granted to the task.
    place: PathBuf,
    /// Outside of what is looked through: it has the value.
    _keys: tempfile::TempDir,
    value: PathBuf,
}

impl Site {
    fn start(behind: bool) -> Result<Site> {
        let account = User::with_shell("/bin/sh").create()?;
        let target = HostSpec::new("t1").login(&account);
        let lab = match behind {
            true => Lab::builder().host(HostSpec::new("bas")).host(target.via("bas")).start()?,
            false => Lab::builder().host(target).start()?,
        };
        let keys = tempfile::tempdir().context(|| "a directory".to_owned())?;
        let (secret, known) = (fresh("secret"), fresh("known"));
        let value = private(keys.path().join("value"), secret.as_bytes())?;
        let place = lab.dir.path().join("place");
        let site = Site { lab, account, behind, secret, known, place, _keys: keys, value };
        site.directory(&site.place)?;
        site.record("t1", "leaf")?;
        if behind {
            site.record("bas", "hop")?;
        }
        Ok(site)
    }

    /// One that the account of the target can write to.
    fn directory(&self, path: &PathBuf) -> Result<()> {
        let doing = || format!("cannot make {}", path.display());
        fs::create_dir(path).context(doing)?;
        chown(path, Some(self.account.uid), None).context(doing)
    }

    /// Puts `tee` on both sides of the stub of a host, which is there already.
    fn record(&self, host: &str, kind: &str) -> Result<()> {
        let dir = self.lab.dir.path().join(format!("link-{host}"));
        self.directory(&dir)?;
        let (at, doing) = (dir.display(), || format!("cannot record {host}"));
        let path = Waft::new("stub")?.args(["path", "--kind", kind]).limit(LIMIT);
        let path = path.run()?.expect_code(0)?.stdout();
        fs::copy(path.trim(), dir.join("stub")).context(doing)?;
        let script = dir.join("stub.sh");
        let line = format!("tee -a '{at}/down' | '{at}/stub' \"$@\" | tee -a '{at}/up'");
        fs::write(&script, format!("#!/bin/sh\n{line}\n")).context(doing)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).context(doing)?;
        let inventory = fs::read_to_string(&self.lab.inventory).context(doing)?;
        let head = format!("[hosts.{host}]\n");
        // Without a hop it is the system's ssh that carries the link, for once.
        let transport = if self.behind { "" } else { "transport = \"openssh\"\n" };
        let lines = format!("{head}{transport}installed = \"{}\"\n", script.display());
        let inventory = inventory.replace(&head, &lines);
        fs::write(&self.lab.inventory, inventory).context(doing)
    }

    fn waft(&self, params: serde_json::Value, more: &[&str]) -> Result<Waft> {
        let dir = self.lab.dir.path();
        let mut all = json!({
            "attack": "tell-secret", "name": NAME, "known": self.known, "directory": self.place, "programs": true,
        });
        all.as_object_mut().expect("an object").extend(params.as_object().expect("an object").clone());
        let place = format!("fs:{}:rw", self.place.display());
        let waft = Waft::new("run")?.lab(&self.lab).arg(attacks(dir)?).arg("--params");
        let waft =
            waft.arg(parameters(dir, &all)?).args(["--allow", &format!("secret:{NAME}"), "--allow", &place]);
        let waft =
            waft.args(["--allow", "exec:/bin/cat", "--allow", "exec:/bin/sh -c **", "--allow", "env:KNOWN"]);
        let waft = waft.args(["--secret", &format!("{NAME}=file:{}", self.value.display())]).args(more);
        let waft = if more.contains(&"-t") { waft } else { waft.args(["-t", "t1"]) };
        Ok(waft
            .env("XDG_CACHE_HOME", self.made("cache")?)
            .env("XDG_STATE_HOME", self.made("state")?)
            .limit(LIMIT))
    }

    /// A directory of waft's own, below the lab's.
    fn made(&self, name: &str) -> Result<PathBuf> {
        let path = self.lab.dir.path().join(name);
        fs::create_dir_all(&path).context(|| format!("cannot make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).context(|| "a mode".to_owned())?;
        Ok(path)
    }

    /// What is shown has the text that is no secret, and no form of the one that is.
    fn shown(&self, what: &str, output: &Output) {
        let shown = [output.stdout(), output.stderr()].concat();
        assert!(
            Search::of(&self.known).is_in(shown.as_bytes()),
            "{what} was to show what is known: {output}"
        );
        let leaks: Vec<&str> =
            shown.lines().filter(|line| Search::of(&self.secret).is_in(line.as_bytes())).collect();
        assert!(leaks.is_empty(), "{what} shows the secret: {leaks:?}");
    }

    /// Runs while the task waits: arguments, environments and memory of all processes.
    fn look_at_processes(&self) -> Result<()> {
        let (secret, known) = (Search::of(&self.secret), Search::of(&self.known));
        let below = |host: &str| descendants(&[self.lab.host(host).pid()]);
        let stubs = || {
            let all = below("t1").into_iter().filter(|process| process.command.starts_with("waft-stub"));
            all.map(|process| process.id.pid).collect::<Vec<_>>()
        };
        // The search finds it where it has to be: in the worker, whose task knows it.
        wait_until("the task waits with its secret", LIMIT, || {
            let waits = below("t1").iter().any(|process| process.command.contains("while [ ! -e"));
            (waits && !secret.in_memory_of(stubs()).is_empty()).then_some(())
        })?;
        let [arguments, environments] = known.in_arguments_and_environments();
        assert!(!arguments.is_empty() && !environments.is_empty(), "the program has what is known in both");
        let [arguments, environments] = secret.in_arguments_and_environments();
        assert!(arguments.is_empty() && environments.is_empty(), "{arguments:?} {environments:?}");
        let ssh = process::all()
            .into_iter()
            .any(|process| process.command.contains(" -F ") && process.command.starts_with("ssh "));
        assert!(ssh || self.behind, "the system's ssh was among them");
        if self.behind {
            let target: Vec<u32> = below("t1").iter().map(|process| process.id.pid).collect();
            let hop: Vec<u32> = below("bas").iter().map(|process| process.id.pid).collect();
            assert!(hop.iter().all(|pid| !target.contains(pid)));
            assert!(!known.in_memory_of(hop.iter().copied()).is_empty(), "the hop passed on what is known");
            assert_eq!(secret.in_memory_of(hop), Vec::<u32>::new(), "the hop knows the secret");
        }
        Ok(())
    }

    /// Everything that stays: state, caches, logs and recorded links, and what the account left on the target.
    fn look_at_files(&self) {
        let (secret, known) = (Search::of(&self.secret), Search::of(&self.known));
        let lab = self.lab.dir.path();
        let found = known.in_files(lab);
        let mut expected =
            vec!["state/waft/audit/log", "params.json", "place/known", "link-t1/down", "link-t1/up"];
        if self.behind {
            expected.extend(["link-bas/down", "link-bas/up"]);
        }
        for file in expected {
            assert!(found.contains(&lab.join(file)), "{file} was to have what is known: {found:?}");
        }
        assert_eq!(secret.in_files(lab), Vec::<PathBuf>::new());
        let own = known.in_files_of(self.account.uid, lab);
        assert!(own.contains(&self.place.join("known")), "the account's files are found: {own:?}");
        for shared in SHARED.map(PathBuf::from).iter().chain([&self.account.home]) {
            assert_eq!(secret.in_files_of(self.account.uid, shared), Vec::<PathBuf>::new());
        }
    }
}

/// The way of all that a task does with a secret.
fn told_everywhere(behind: bool) -> Result<()> {
    let site = Site::start(behind)?;
    let guard = LeakGuard::start();
    let go = site.place.join("go");
    let waft = site.waft(json!({"hold": go}), &["--format", "jsonl", "-vvv"])?;
    let running = waft.spawn()?;
    let looked = site.look_at_processes();
    fs::write(&go, "").expect("written");
    let output = running.finish()?;
    looked.context(|| output.to_string())?;
    let output = output.expect_code(0)?;
    site.shown("JSON lines", &output);
    let result = output.result_of("t1")?;
    assert_eq!(
        (&result["result"]["value"], &result["result"]["known"], &result["result"]["answered"]),
        (&format!("[secret {NAME}]").into(), &site.known.as_str().into(), &true.into()),
        "{result}"
    );
    let progress = output.events_of("progress")?;
    let last = progress.last().and_then(|line| line["text"].as_str()).unwrap_or_default();
    assert_eq!(last, format!("[secret {NAME}] {}", site.known));
    let calls = output.events_of("call")?;
    assert!(
        calls.iter().any(|call| call["subject"].to_string().contains("[secret db/password]")),
        "{calls:?}"
    );
    assert!(calls.iter().any(|call| call["call"] == "exec"), "{calls:?}");
    site.look_at_files();
    drop(output);
    site.lab.wait_idle()?;
    guard.check()
}

#[test]
fn directly_no_value_is_anywhere_but_in_the_task() -> Result<()> {
    need_root!("reading the memory and the files of another account");
    told_everywhere(false)
}

#[test]
fn behind_a_hop_no_value_is_anywhere_but_in_the_task() -> Result<()> {
    need_root!("reading the memory and the files of another account");
    told_everywhere(true)
}

#[test]
fn no_kind_of_report_shows_a_value() -> Result<()> {
    need_root!("reading the files of another account");
    let site = Site::start(false)?;
    let guard = LeakGuard::start();
    for (what, params, more, code) in [
        ("a page", json!({"print": true}), &["-vvv"][..], 0),
        ("one document", json!({}), &["--format", "json"], 0),
        ("an error", json!({"print": true, "fail": true}), &["--format", "jsonl"], 5),
        ("an error on a page", json!({"fail": true}), &[], 5),
        // As root, who can make an overlay on any kernel.
        ("a dry run", json!({"write": true, "print": true}), &["--check", "--diff", "-t", "local"], 0),
    ] {
        let output = site.waft(params, more)?.run()?.expect_code(code)?;
        site.shown(what, &output);
    }
    let secret = Search::of(&site.secret);
    assert_eq!(secret.in_files(site.lab.dir.path()), Vec::<PathBuf>::new());
    site.lab.wait_idle()?;
    guard.check()
}
