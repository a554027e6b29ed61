//! Processes: starting them so that they cannot outlive the test, reading what runs below us, ending whole trees.
//!
//! A process is named by pid *and* start time ([`ProcessId`]), so that a reused pid is never mistaken for the one
//! that was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::{Context, Error, Result};

/// How often [`wait_until`] looks. Short beside the tens of milliseconds an sshd needs, long beside one look.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// For small programs that do no network (ssh-keygen, useradd); generous for a loaded machine.
pub const TOOL_LIMIT: Duration = Duration::from_secs(30);
/// How long a killed tree may need to disappear.
const KILL_LIMIT: Duration = Duration::from_secs(20);

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Asks `probe` until it answers, or until `limit` has passed; then the error says `what` was waited for.
pub fn wait_until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            return Err(Error::new(format!("waited {} ms for {what}, in vain", limit.as_millis())));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

type SpawnOrder = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a process which the kernel kills when this test process ends in whatever way.
///
/// The kernel ties that death signal to the *thread* that forked. Tests run in threads that come and go, so all such
/// processes are forked by one thread which lives as long as the process.
pub fn spawn_bound(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<SpawnOrder>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<SpawnOrder>();
        thread::spawn(move || {
            for (mut command, answer) in orders {
                // A caller that went away drops the child handle with the answer; nothing to do about it here.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only two async-signal-safe system calls are made and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above took effect.
            match rustix::process::getppid() == Some(parent) {
                true => Ok(()),
                false => Err(io::ErrorKind::NotConnected.into()),
            }
        });
    }
    let gone = || io::Error::other("the harness's spawning thread is gone");
    let (answer, child) = mpsc::sync_channel(1);
    spawner.lock().map_err(|_| gone())?.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// What a finished program left, and whether it had to be killed at its limit.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub elapsed: Duration,
    pub timed_out: bool,
}

impl Finished {
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// A started program whose output is being collected.
pub struct Running {
    child: Child,
    started: Instant,
    output: mpsc::Receiver<(Stream, Vec<u8>)>,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Stream {
    Out,
    Err,
}

impl Running {
    /// Starts `command` with `stdin` as its whole input. Output is read by threads, so no pipe can fill up.
    pub fn start(mut command: Command, stdin: Vec<u8>) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = spawn_bound(command)?;
        let (sender, output) = mpsc::channel();
        if let Some(mut pipe) = child.stdin.take() {
            // A program may end without reading its input: EPIPE is its right.
            thread::spawn(move || pipe.write_all(&stdin));
        }
        if let Some(pipe) = child.stdout.take() {
            collect(pipe, Stream::Out, sender.clone());
        }
        if let Some(pipe) = child.stderr.take() {
            collect(pipe, Stream::Err, sender);
        }
        Ok(Self { child, started, output })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        signal_pid(self.child.id(), signal);
    }

    /// Waits for the end, at most until `limit` after the *start*; then kills the program and says so in
    /// [`Finished::timed_out`]. Output that a grandchild still holds open is waited for within the same limit, and
    /// at least one second.
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        let deadline = self.started + limit;
        let mut timed_out = false;
        let status = loop {
            if let Some(status) = self.child.try_wait().context(|| "cannot wait for a child".to_owned())? {
                break status;
            }
            if Instant::now() >= deadline {
                timed_out = true;
                self.child.kill().context(|| "cannot kill a child at its time limit".to_owned())?;
                break self.child.wait().context(|| "cannot wait for a killed child".to_owned())?;
            }
            thread::sleep(POLL_INTERVAL);
        };
        let elapsed = self.started.elapsed();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let patience = deadline.max(Instant::now() + Duration::from_secs(1));
        loop {
            match self.output.recv_timeout(patience.saturating_duration_since(Instant::now())) {
                Ok((Stream::Out, bytes)) => stdout.extend(bytes),
                Ok((Stream::Err, bytes)) => stderr.extend(bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    timed_out = true;
                    break;
                }
            }
        }
        Ok(Finished { status, stdout, stderr, elapsed, timed_out })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `finish` both are no-ops: std remembers the status it reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static, stream: Stream, sink: mpsc::Sender<(Stream, Vec<u8>)>) {
    const CHUNK_BYTES: usize = 16 * 1024;
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            if sink.send((stream, chunk.get(..count).unwrap_or_default().to_vec())).is_err() {
                return;
            }
        }
    });
}

/// Runs a program to its end within `limit`; running out of time is an error here.
pub fn run(command: Command, stdin: &[u8], limit: Duration) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let running = Running::start(command, stdin.to_vec())
        .context(|| format!("cannot start {name}; is the package that brings it installed?"))?;
    let finished = running.finish(limit)?;
    if finished.timed_out {
        let (seconds, stderr) = (limit.as_secs(), finished.stderr_text());
        return Err(Error::new(format!("{name} did not end within {seconds} s; it said: {}", stderr.trim())));
    }
    Ok(finished)
}

/// Like [`run`] with [`TOOL_LIMIT`], for tools that must succeed; gives their standard output.
pub fn run_tool(command: Command, stdin: &[u8]) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let finished = run(command, stdin, TOOL_LIMIT)?;
    if !finished.status.success() {
        let said = finished.stderr_text();
        return Err(Error::new(format!("{name} failed ({}): {}", finished.status, said.trim())));
    }
    Ok(finished.stdout_text())
}

/// Which process, across reuse of pids: the start time is in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessId {
    pub pid: u32,
    pub start_ticks: u64,
}

/// One living process, as /proc tells it.
#[derive(Debug, Clone)]
pub struct Process {
    pub id: ProcessId,
    pub parent: u32,
    pub uid: u32,
    /// The command line, or the name in brackets where there is none.
    pub command: String,
}

impl fmt::Display for Process {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "pid {} (parent {}, uid {}): {}", self.id.pid, self.parent, self.uid, self.command)
    }
}

/// Makes this process inherit orphans from below, so that a descendant cannot hide by forking twice.
pub fn adopt_orphans() {
    // Refused only by kernels older than 3.4; then leaks of re-parented processes go unseen, which is no failure.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Every living process. One that has ended but was not reaped yet (a zombie) is not living, except when threads of
/// it still run after the first one ended.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| read_process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn read_process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses; what follows the last one is regular.
    let (head, tail) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    // Numbered from 3 in proc(5): 3 state, 4 ppid, 20 num_threads, 22 starttime.
    let field = |number: usize| fields.get(number - 3).copied();
    let ended = matches!(field(3)?, "Z" | "X");
    if ended && field(20)?.parse::<u32>().ok()? <= 1 {
        return None;
    }
    let uid = std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{pid}")).ok()?);
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut command = String::from_utf8_lossy(&raw).trim_end_matches('\0').replace('\0', " ");
    if command.is_empty() {
        command = format!("[{}]", head.split_once('(').map_or("?", |(_, name)| name));
    }
    let id = ProcessId { pid, start_ticks: field(22)?.parse().ok()? };
    Some(Process { id, parent: field(4)?.parse().ok()?, uid, command })
}

/// Everything living below the given pids, themselves not included.
pub fn descendants(roots: &[u32]) -> Vec<Process> {
    let mut children = BTreeMap::<u32, Vec<Process>>::new();
    for process in all() {
        children.entry(process.parent).or_default().push(process);
    }
    let (mut found, mut next) = (Vec::new(), roots.to_vec());
    while let Some(pid) = next.pop() {
        for process in children.remove(&pid).unwrap_or_default() {
            next.push(process.id.pid);
            found.push(process);
        }
    }
    found
}

pub fn is_alive(id: ProcessId) -> bool {
    read_process(id.pid).is_some_and(|process| process.id == id)
}

/// Sends a signal; a process that is already gone is no error.
pub fn signal_pid(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Kills children with all that is below them, and waits until they are gone.
///
/// All are stopped before the first is killed: one that forks while /proc is read would leave a child unseen, and
/// one whose parent died first would have moved out of the tree.
pub fn kill_trees(children: &mut [&mut Child]) {
    let roots: Vec<u32> = children.iter_mut().filter_map(|child| still_running(child)).collect();
    if roots.is_empty() {
        return;
    }
    for pid in &roots {
        signal_pid(*pid, Signal::STOP);
    }
    let mut below = BTreeSet::new();
    loop {
        let fresh: Vec<ProcessId> = descendants(&roots)
            .into_iter()
            .map(|process| process.id)
            .filter(|id| below.insert(*id))
            .collect();
        if fresh.is_empty() {
            break;
        }
        for id in fresh {
            signal_pid(id.pid, Signal::STOP);
        }
    }
    for pid in below.iter().map(|id| id.pid).chain(roots) {
        signal_pid(pid, Signal::KILL);
    }
    for child in children {
        let _ = child.wait();
    }
    let gone = wait_until("killed processes to disappear", KILL_LIMIT, || {
        below.retain(|id| is_alive(*id));
        below.is_empty().then_some(())
    });
    if let Err(error) = gone {
        eprintln!("{error}: {:?}", below.iter().map(|id| id.pid).collect::<Vec<_>>());
    }
}

/// The pid of a child that has not been reaped. Its pid must not be signalled once it has.
fn still_running(child: &mut Child) -> Option<u32> {
    matches!(child.try_wait(), Ok(None)).then(|| child.id())
}
