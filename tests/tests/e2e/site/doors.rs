//! The doors of sshd: with site mode none but one is open. Each attempt is made twice, against an account that is not
//! locked, where it must succeed, and against the one that is.

use super::{Place, told};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use waft_tests::lab::SSH_LIMIT;
use waft_tests::process::{self, Finished, Running, wait_until};
use waft_tests::{Context, Result, need_root};

const SOON: Duration = Duration::from_secs(20);
/// The line of a controller.
const OURS: &str = "exec /usr/bin/waft-stub --link installed";

/// How the account is locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lock {
    /// By nothing: what a login can do else.
    Open,
    /// By the options of the key.
    Key,
    /// By sshd's configuration.
    Match,
}

impl Lock {
    fn start(self) -> Result<Place> {
        let place = Place::start(|spec| {
            spec.option("X11Forwarding", "yes").option("XAuthLocation", "/bin/true").user_rc()
        })?;
        match self {
            Lock::Key => {}
            Lock::Open => place.admit("pty")?,
            Lock::Match => {
                place.admit("pty")?;
                let dir = &place.lab.host("web1").dir;
                let text = format!(
                    "Match User {}\n  ForceCommand {}\n  DisableForwarding yes\n  PermitTTY no\n  PermitUserRC no\n",
                    place.account.name,
                    place.forced()
                );
                let config = fs::read_to_string(dir.join("sshd_config")).expect("it");
                fs::write(dir.join("sshd_config"), config + &text).expect("written");
                // It reads its configuration again.
                process::signal_pid(place.lab.host("web1").pid(), rustix::process::Signal::HUP);
                wait_until("sshd to read its configuration again", SOON, || {
                    let log = place.lab.host("web1").log();
                    (log.matches("Server listening").count() > 1).then_some(())
                })?;
            }
        }
        Ok(place)
    }
}

/// The system's ssh to the place.
fn command(place: &Place, words: &[&str]) -> Command {
    let mut command = place.lab.ssh_command(&place.lab.ssh_config, words);
    command.env("DISPLAY", "127.0.0.1:99");
    command
}

fn ssh(place: &Place, words: &[&str]) -> Result<Finished> {
    process::run(command(place, words), b"", SSH_LIMIT)
}

/// sftp or scp with the same files.
fn tool(place: &Place, name: &str, words: &[&str], input: &str) -> Result<Finished> {
    let mut command = Command::new(name);
    command.arg("-F").arg(&place.lab.ssh_config).args(words).env_remove("SSH_AUTH_SOCK");
    process::run(command, input.as_bytes(), SSH_LIMIT)
}

/// Two ports that are free, at the lab's own address, where no other test takes them.
fn free(place: &Place) -> [SocketAddr; 2] {
    let ip = place.lab.host("web1").sshd_address.ip();
    let both = [(); 2].map(|()| TcpListener::bind((ip, 0)).expect("a port"));
    both.map(|listener| listener.local_addr().expect("an address"))
}

/// What comes first from there, after this was said.
fn first(at: SocketAddr, say: &[u8], bytes: usize) -> Vec<u8> {
    let Ok(mut stream) = TcpStream::connect(at) else { return Vec::new() };
    let _ = stream.set_read_timeout(Some(SOON));
    let mut got = vec![0; bytes];
    match stream.write_all(say).and_then(|()| stream.read_exact(&mut got)) {
        Ok(()) => got,
        Err(_) => Vec::new(),
    }
}

/// Tries `attempt` on an account that is not locked, where it has to succeed, and on both that are.
fn only_open(attempt: impl Fn(&Place) -> Result<bool>) -> Result<()> {
    for (lock, succeeds) in [(Lock::Open, true), (Lock::Key, false), (Lock::Match, false)] {
        let place = lock.start()?;
        let done = attempt(&place).context(|| format!("{lock:?}"))?;
        assert_eq!(done, succeeds, "{lock:?}; the log of sshd: {}", place.lab.host("web1").log());
        if lock != Lock::Open {
            // The one door that is.
            assert_eq!(told(&place.exec(&["/bin/echo", "hello"])?.0), ("ok", ""), "{lock:?}");
        }
    }
    Ok(())
}

#[test]
fn commands_that_are_not_ours_are_never_executed() -> Result<()> {
    need_root!("accounts of their own");
    for (lock, succeeds) in [(Lock::Open, true), (Lock::Key, false), (Lock::Match, false)] {
        let place = lock.start()?;
        for words in [
            "echo in",
            "sh -c 'echo in'",
            "exec /bin/echo --link installed; echo in",
            "exec /bin/echo --link installed\necho in",
            "exec /bin/echo --link in",
            "exec echo --link installed",
        ] {
            let done = ssh(&place, &["web1", words])?;
            assert_eq!(done.stdout_text().contains("in"), succeeds, "{lock:?} {words}");
            if !succeeds {
                assert_eq!(done.status.code(), Some(5), "{lock:?} {words}: {}", done.stderr_text());
                assert_eq!(done.stdout, b"", "{lock:?} {words}");
                let said = done.stderr_text();
                let ours: Vec<&str> = said.lines().filter(|line| line.contains("waft-stub:")).collect();
                assert!(ours.len() == 1 && ours[0].contains("for waft only"), "{said}");
            }
        }
    }
    Ok(())
}

#[test]
fn files_cannot_be_fetched_or_left_there() -> Result<()> {
    need_root!("accounts of their own");
    only_open(|place| {
        let got = place.path("got");
        let get = format!("get /etc/hostname {}\n", got.display());
        let sftp = tool(place, "sftp", &["-b", "-", "web1"], &get)?;
        let fetched = sftp.status.success() && got.exists();
        let _ = fs::remove_file(&got);
        let to = got.display().to_string();
        let scp = tool(place, "scp", &["-O", "web1:/etc/hostname", &to], "")?;
        let copied = scp.status.success() && got.exists();
        let left = tool(place, "scp", &["-O", "/etc/hostname", "web1:left"], "")?;
        let put = left.status.success() && place.account.home.join("left").exists();
        assert!(fetched == copied && copied == put, "{fetched} {copied} {put}: {}", scp.stderr_text());
        Ok(fetched)
    })
}

#[test]
fn nothing_is_forwarded_from_here_to_there() -> Result<()> {
    need_root!("accounts of their own");
    only_open(|place| {
        let [local, dynamic] = free(place);
        let sshd = place.lab.host("web1").sshd_address;
        let forward = format!("{local}:{sshd}");
        let socks = dynamic.to_string();
        let words = ["-N", "-L", &forward, "-D", &socks, "-o", "ExitOnForwardFailure=yes", "web1"];
        let running = Running::start(command(place, &words), Vec::new()).context(|| "ssh".to_owned())?;
        wait_until("ssh to listen", SOON, || TcpStream::connect(local).is_ok().then_some(()))?;
        let by_local = first(local, b"", 4) == b"SSH-";
        // SOCKS 5, no authentication; connect, by an IPv4 address.
        let SocketAddr::V4(v4) = sshd else { unreachable!("the lab is in 127.0.0.0/8") };
        let mut ask = vec![5, 1, 0, 5, 1, 0, 1];
        ask.extend(v4.ip().octets());
        ask.extend(v4.port().to_be_bytes());
        let reply = first(dynamic, &ask, 2 + 10 + 4);
        let by_dynamic = reply.get(12..) == Some(b"SSH-".as_slice());
        drop(running);
        let stdio = ssh(place, &["-W", &sshd.to_string(), "web1"])?;
        let by_stdio = stdio.stdout.starts_with(b"SSH-");
        assert!(by_local == by_dynamic && by_dynamic == by_stdio, "{by_local} {by_dynamic} {by_stdio}");
        Ok(by_local)
    })
}

#[test]
fn nothing_is_forwarded_from_there_to_here() -> Result<()> {
    need_root!("accounts of their own");
    only_open(|place| {
        let words = ["-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:1", "web1", OURS];
        let done = ssh(place, &words)?;
        // Where it is forwarded the command runs, whatever becomes of it then.
        let said = done.stderr_text();
        Ok(!said.contains("remote port forwarding failed"))
    })
}

#[test]
fn no_agent_no_display_no_terminal_no_start_up_file() -> Result<()> {
    need_root!("accounts of their own");
    only_open(|place| {
        let agent = waft_tests::agent::Agent::start(&[])?;
        let words = ["-A", "-Y", "-o", "XAuthLocation=/bin/true", "web1", "sleep 60; exec true"];
        // The stub waits for its controller, the shell sleeps: meanwhile its environment can be read.
        let words = match ssh(place, &["web1", "echo in"])?.stdout_text().contains("in\n") {
            true => words,
            false => ["-A", "-Y", "-o", "XAuthLocation=/bin/true", "web1", OURS],
        };
        let mut command = command(place, &words);
        command.env("SSH_AUTH_SOCK", &agent.socket).stdin(std::process::Stdio::piped());
        let mut session = process::spawn_bound(command).context(|| "ssh".to_owned())?;
        let uid = place.account.uid;
        let is_it = |process: &process::Process| {
            process.uid == uid && (process.command.contains("sleep 60") || process.command.contains("--as"))
        };
        let seen = std::cell::RefCell::new(Vec::new());
        let environment = wait_until("the session to run", SOON, || {
            let running = place.lab.host("web1").sessions();
            let found = running.iter().find(|process| is_it(process)).cloned();
            if !running.is_empty() {
                *seen.borrow_mut() = running;
            }
            let found = found?;
            let raw = fs::read(format!("/proc/{}/environ", found.id.pid)).ok()?;
            // Before its exec it has that of sshd.
            let text = String::from_utf8_lossy(&raw).replace('\0', "\n");
            text.contains("SSH_CONNECTION=").then_some(text)
        });
        process::kill_trees(&mut [&mut session]);
        let environment = environment.context(|| format!("last seen: {:?}", seen.borrow()))?;
        let has = |name: &str| environment.lines().any(|line| line.starts_with(name));
        // Whoever insists on a terminal and gets none goes.
        let terminal = ssh(place, &["-tt", "web1", OURS])?.stderr_text();
        let has_terminal = !terminal.contains("PTY allocation request failed");
        let ran = place.account.home.join("rc-ran").exists();
        let found = [has("SSH_AUTH_SOCK="), has("DISPLAY="), has_terminal, ran];
        assert!(found == [true; 4] || found == [false; 4], "{found:?}: {environment}");
        Ok(found[0])
    })
}

#[test]
fn a_second_channel_of_a_session_opens_no_other_door() -> Result<()> {
    need_root!("accounts of their own");
    only_open(|place| {
        let socket = format!("ControlPath={}", place.path("mux").display());
        let words = ["-N", "-o", "ControlMaster=yes", "-o", &socket, "web1"];
        let running = Running::start(command(place, &words), Vec::new()).context(|| "ssh".to_owned())?;
        wait_until("a master", SOON, || place.path("mux").exists().then_some(()))?;
        let words = ["-o", "ControlMaster=no", "-o", &socket, "web1", "echo in"];
        let (one, two) = (ssh(place, &words)?, ssh(place, &words)?);
        drop(running);
        assert_eq!(one.status.code(), two.status.code());
        Ok(one.stdout == b"in\n" && two.stdout == b"in\n")
    })
}
