//! The keeper: whichever of the two processes is killed, nothing of them is left, but what was spared.
//!
//! No test harness, because [`waft_stub::process::keep`] must be called by a process with one thread: this
//! program is the test, and with `kept` as its argument the stub that is tested.

use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("kept") => return kept(args.get(1).map_or("", String::as_str)),
        Some(how @ ("leaves" | "leaves late")) => leaves(how == "leaves late"),
        // What asks for a list of tests must be told that this is one, and then which are ignored: none.
        Some("--list") if args.iter().any(|argument| argument == "--ignored") => {}
        Some("--list") => println!("keeper: test"),
        _ => {
            killing_either_leaves_nothing();
            what_was_spared_stays_however_the_stub_ends();
            the_code_of_the_stub_is_the_keepers();
            println!("keeper: ok");
        }
    }
    ExitCode::SUCCESS
}

/// Like the supervisor of a program that left something. `late`: the stub and its keeper are gone before it waits for that.
fn leaves(late: bool) {
    let above = waft_stub::process::above();
    let stub = parent(std::process::id());
    let those = [stub, parent(stub)];
    set_child_subreaper(Some(getpid())).expect("a subreaper");
    // It gets away from the shell, and so falls to us.
    let script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!";
    let shell = Command::new("sh").args(["-c", script]).output().expect("a shell");
    print!("{}", String::from_utf8_lossy(&shell.stdout));
    std::io::stdout().flush().expect("a pipe");
    while late && those.contains(&parent(std::process::id())) {
        std::thread::sleep(Duration::from_millis(2));
    }
    waft_stub::process::outlast(above);
}

/// Says who stays, the one above it, and one that does not stay.
fn spares(leaves: &str) -> [Child; 2] {
    let program = std::env::current_exe().expect("our own path");
    let mut above = Command::new(program).arg(leaves).stdout(Stdio::piped()).spawn().expect("ourselves");
    let mut stays = String::new();
    BufReader::new(above.stdout.take().expect("a pipe")).read_line(&mut stays).expect("a number");
    let goes = Command::new("sleep").arg("1000").spawn().expect("sleep");
    assert!(waft_stub::process::spare(above.id()).is_some());
    println!("{}\n{}\n{}", stays.trim(), above.id(), goes.id());
    std::io::stdout().flush().expect("a pipe");
    [above, goes]
}

/// Like a stub: kept, with descendants that tried to get away, says its own pid and theirs.
fn kept(code: &str) -> ExitCode {
    waft_stub::process::keep().expect("a keeper");
    if let Ok(code) = code.parse::<u8>() {
        return ExitCode::from(code);
    }
    if code.starts_with("spares") {
        let children = spares(if code == "spares late" { "leaves late" } else { "leaves" });
        // To be killed, or to end by itself.
        if code == "spares" {
            std::thread::sleep(PATIENCE);
        }
        drop(children);
        return ExitCode::SUCCESS;
    }
    let script = "setsid sh -c 'sleep 1000 & echo $!; echo $$; exec sleep 1000' & sleep 1000 & echo $!; wait";
    let mut child = Command::new("sh").args(["-c", script]).spawn().expect("a shell");
    println!("{}", std::process::id());
    std::io::stdout().flush().expect("a pipe");
    // The shell ends when somebody cleans up. Ending now would cut that short: a stub goes when all is gone.
    child.wait().expect("waited for");
    loop {
        std::thread::park();
    }
}

fn start(argument: &str) -> (Child, BufReader<ChildStdout>) {
    let program = std::env::current_exe().expect("our own path");
    let mut keeper =
        Command::new(program).args(["kept", argument]).stdout(Stdio::piped()).spawn().expect("ourselves");
    let stdout = keeper.stdout.take().expect("a pipe");
    (keeper, BufReader::new(stdout))
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn killing_either_leaves_nothing() {
    for kill_keeper in [false, true] {
        let (mut keeper, stdout) = start("");
        // In any order: the stub's pid, and those of three descendants.
        let pids: Vec<u32> =
            stdout.lines().take(4).map_while(Result::ok).flat_map(|line| line.parse()).collect();
        assert_eq!(pids.len(), 4, "{pids:?}");
        assert!(pids.iter().all(|pid| alive(*pid)), "{pids:?}");
        let stub = waft_stub::process::below(keeper.id());
        assert!(
            pids.iter().all(|pid| stub.iter().any(|process| process.pid == *pid)),
            "all are below the keeper"
        );
        let victim = if kill_keeper { keeper.id() } else { stub_of(keeper.id(), &pids) };
        kill_process(Pid::from_raw(victim.cast_signed()).expect("a pid"), Signal::KILL).expect("killed");
        let deadline = Instant::now() + PATIENCE;
        while pids.iter().any(|pid| alive(*pid)) {
            assert!(Instant::now() < deadline, "{pids:?} outlived {victim}");
            std::thread::sleep(Duration::from_millis(2));
        }
        let status = keeper.wait().expect("the keeper ends");
        let code = std::os::unix::process::ExitStatusExt::signal(&status)
            .map_or(status.code(), |signal| Some(128 + signal));
        assert_eq!(code, Some(137));
    }
}

fn gone(what: &str, pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    while alive(pid) {
        assert!(Instant::now() < deadline, "{what} {pid} is not gone");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid"), Signal::KILL).expect("killed");
}

fn what_was_spared_stays_however_the_stub_ends() {
    for end in ["by itself", "by itself, at once", "the stub is killed", "the keeper is killed"] {
        let (mut keeper, stdout) = start(match end {
            "by itself" => "spares and ends",
            "by itself, at once" => "spares late",
            _ => "spares",
        });
        let pids: Vec<u32> =
            stdout.lines().take(3).map_while(Result::ok).flat_map(|line| line.parse()).collect();
        let [stays, above, goes] = pids[..] else { panic!("{end}: {pids:?}") };
        match end {
            "by itself" | "by itself, at once" => {}
            "the keeper is killed" => kill(keeper.id()),
            _ => kill(parent(above)),
        }
        keeper.wait().expect("the keeper ends");
        gone(end, goes);
        gone(end, above);
        assert!(alive(stays), "{end}");
        assert!(![keeper.id(), above].contains(&parent(stays)), "{end}");
        kill(stays);
        gone(end, stays);
    }
}

fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    parent.expect("it has a parent")
}

/// The one of `pids` that is a child of the keeper.
fn stub_of(keeper: u32, pids: &[u32]) -> u32 {
    *pids.iter().find(|pid| parent(**pid) == keeper).expect("the stub is the keeper's child")
}

fn the_code_of_the_stub_is_the_keepers() {
    for code in [0, 7] {
        let (mut keeper, _) = start(&code.to_string());
        assert_eq!(keeper.wait().expect("it ends").code(), Some(code));
    }
}
