//! The processes below one process, from `/proc`, and their end.

use super::pid;
use rustix::process::{PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, pidfd_send_signal};
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Rounds of stopping: each finds the children that the round before had begun to fork.
const STOP_ROUNDS_MAX: u32 = 32;
/// Between two looks at processes that were killed.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Looks that must find nothing. `/proc` is not read in one moment: the child of a process that ends just
/// then is seen below a parent that is not there, and only the next look finds it with its new parent.
const QUIET_LOOKS: u32 = 2;

/// One living process. Pids come back; together with the time of its start it is unique.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Process {
    pub pid: u32,
    /// Clock ticks since boot.
    started: u64,
}

/// Those that stay, with all below them: nobody finds them. Only the stub adds to it, and its keeper what the stub told.
static SPARED: Mutex<Vec<Process>> = Mutex::new(Vec::new());

impl Process {
    /// As it is told to the keeper, bytes.
    const TOLD_BYTES: usize = size_of::<u32>() + size_of::<u64>();

    /// None when there is no such process.
    pub(super) fn find(pid: u32) -> Option<Process> {
        stat(pid).map(|stat| Process { pid, started: stat.started })
    }

    /// Also while nobody has waited for it.
    fn lives(self) -> bool {
        Process::find(self.pid) == Some(self)
    }

    pub(super) fn told(self) -> [u8; Process::TOLD_BYTES] {
        let mut bytes = [0; Process::TOLD_BYTES];
        let fields = self.pid.to_le_bytes().into_iter().chain(self.started.to_le_bytes());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }

    /// All that were told.
    pub(super) fn heard(bytes: &[u8]) -> impl Iterator<Item = Process> {
        bytes.chunks_exact(Process::TOLD_BYTES).filter_map(|bytes| {
            let (pid, started) = bytes.split_at_checked(size_of::<u32>())?;
            let pid = u32::from_le_bytes(pid.try_into().ok()?);
            Some(Process { pid, started: u64::from_le_bytes(started.try_into().ok()?) })
        })
    }
}

/// From now on it is not found, nor anything below it.
pub(super) fn spare(process: Process) {
    if let Ok(mut spared) = SPARED.lock() {
        spared.push(process);
    }
}

fn is_spared(pid: u32, started: u64) -> bool {
    SPARED.lock().is_ok_and(|spared| spared.contains(&Process { pid, started }))
}

/// Who started it, or took it in.
pub(super) fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.parent)
}

struct Stat {
    state: char,
    parent: u32,
    /// Processor time of it and of what it waited for, clock ticks.
    ticks: u64,
    started: u64,
}

/// What the processes below one use together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Usage {
    /// Living ones.
    pub processes: u64,
    /// Processor time of them, of what they waited for, and of what ended below.
    pub cpu: Duration,
}

/// One clock tick, as `/proc` counts on every architecture of ours.
const TICK: Duration = Duration::from_millis(10);

/// `/proc/PID/stat`: the name in parentheses may hold anything, also spaces and parentheses.
fn parse(stat: &str) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Fields 14 to 17 of the whole line, then 22; the two before the name and these two are gone.
    let mut ticks = 0u64;
    for skipped in [9, 0, 0, 0] {
        ticks = ticks.saturating_add(fields.nth(skipped)?.parse::<i64>().ok()?.unsigned_abs());
    }
    let started = fields.nth(4)?.parse().ok()?;
    Some(Stat { state, parent, ticks, started })
}

fn stat(pid: u32) -> Option<Stat> {
    // Bytes, because a process may call itself something that is no UTF-8.
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(&String::from_utf8_lossy(&bytes))
}

/// All living processes below `root`, without it and without those that may stay. Zombies count as gone.
pub fn below(root: u32) -> Vec<Process> {
    walk(&mut table(), root).0
}

/// Whether anything lives below `root`.
pub(crate) fn has_below(root: u32) -> bool {
    (0..QUIET_LOOKS).any(|_| !below(root).is_empty())
}

/// What is used below `root`. Its own work is no part of it, what it waited for is.
pub(crate) fn usage(root: u32) -> Usage {
    used(&mut table(), root)
}

/// The same below each of these, at one look; nothing below one that is gone.
pub(crate) fn usage_of(roots: &[Process]) -> Vec<Usage> {
    if roots.is_empty() {
        return Vec::new();
    }
    let mut table = table();
    let of = |root: &Process| if root.lives() { used(&mut table, root.pid) } else { Usage::default() };
    roots.iter().map(of).collect()
}

fn used(table: &mut Table, root: u32) -> Usage {
    let (found, ticks) = walk(table, root);
    let waited = waited(root);
    Usage {
        processes: found.len() as u64,
        cpu: TICK.saturating_mul(u32::try_from(ticks.saturating_add(waited)).unwrap_or(u32::MAX)),
    }
}

/// What a process and those that it waited for wrote to files: by system calls, and as pages of files on a disk; bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) calls: u64,
    pub(crate) pages: u64,
}

pub(crate) fn written(pid: u32) -> io::Result<Written> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    Ok(Written { calls: of("wchar:"), pages: of("write_bytes:") })
}

/// The pages that all below `root` wrote, bytes. A process is read before its children: what one of them wrote counts for
/// it when it was waited for meanwhile, and may be missing now, but is never there twice.
pub(crate) fn pages_below(root: u32) -> u64 {
    pages(&mut table(), root)
}

/// The same of each of these, at one look; nothing of one that is gone.
pub(crate) fn pages_of(roots: &[Process]) -> Vec<u64> {
    if roots.is_empty() {
        return Vec::new();
    }
    let mut table = table();
    roots.iter().map(|root| if root.lives() { pages(&mut table, root.pid) } else { 0 }).collect()
}

fn pages(table: &mut Table, root: u32) -> u64 {
    let (below, _) = walk(table, root);
    let all = std::iter::once(root).chain(below.iter().map(|process| process.pid));
    all.filter_map(|pid| written(pid).ok()).fold(0, |sum, written| sum.saturating_add(written.pages))
}

/// Processor time of what `pid` waited for, clock ticks.
fn waited(pid: u32) -> u64 {
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let Some((_, fields)) = text.rsplit_once(')') else { return 0 };
    let of =
        |at| fields.split_ascii_whitespace().nth(at).and_then(|ticks| ticks.parse().ok()).unwrap_or(0u64);
    of(13).saturating_add(of(14))
}

/// All processes by their parent.
type Table = HashMap<u32, Vec<(u32, Stat)>>;

fn table() -> Table {
    let mut children = Table::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return children };
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push((pid, stat));
        }
    }
    children
}

/// The living processes below `root`, and the clock ticks that all below took. They are not in the table any more.
fn walk(children: &mut Table, root: u32) -> (Vec<Process>, u64) {
    let (mut found, mut next, mut ticks) = (Vec::new(), vec![root], 0u64);
    while let Some(parent) = next.pop() {
        for (pid, stat) in children.remove(&parent).unwrap_or_default() {
            if is_spared(pid, stat.started) {
                continue;
            }
            next.push(pid);
            ticks = ticks.saturating_add(stat.ticks);
            if !matches!(stat.state, 'Z' | 'X') {
                found.push(Process { pid, started: stat.started });
            }
        }
    }
    (found, ticks)
}

fn send(process: Process, signal: Signal) {
    let Some(target) = pid(process.pid) else { return };
    let same = || stat(process.pid).is_some_and(|now| now.started == process.started);
    match pidfd_open(target, PidfdFlags::empty()) {
        // Whoever has this pid now, the descriptor is his: if he is the one we saw, the signal cannot miss.
        Ok(descriptor) if same() => {
            let _ = pidfd_send_signal(&descriptor, signal);
        }
        // Before Linux 5.3 a moment remains in which the pid may change hands.
        Err(rustix::io::Errno::NOSYS) if same() => {
            let _ = kill_process(target, signal);
        }
        _ => {}
    }
}

/// Kills everything below `root`, not `root` itself; true when nothing is left. Blocks, for at most `limit`.
pub fn kill_below(root: u32, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    let mut quiet = 0;
    loop {
        let mut stopped = HashSet::new();
        for _ in 0..STOP_ROUNDS_MAX {
            let fresh: Vec<_> = below(root).into_iter().filter(|process| stopped.insert(*process)).collect();
            if fresh.is_empty() {
                break;
            }
            fresh.iter().for_each(|process| send(*process, Signal::STOP));
        }
        if stopped.is_empty() {
            quiet += 1;
            if quiet == QUIET_LOOKS {
                return true;
            }
            continue;
        }
        quiet = 0;
        stopped.iter().for_each(|process| send(*process, Signal::KILL));
        if root == std::process::id() {
            reap(&stopped);
        }
        if Instant::now() >= deadline {
            return below(root).is_empty();
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Waits for those among them that are our own children, so that their pids are free again.
fn reap(processes: &HashSet<Process>) {
    for target in processes.iter().filter_map(|process| pid(process.pid)) {
        let _ = rustix::process::waitpid(Some(target), WaitOptions::NOHANG);
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let rest = "S 41 1 1 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 777 3 4";
        let stat = parse(&format!("42 (a) R 1 (b)) {rest}")).expect("parses");
        assert_eq!((stat.state, stat.parent, stat.ticks, stat.started), ('S', 41, 10, 777));
        assert!(parse("42 (cut off) S 41").is_none());
        assert!(parse("").is_none());
    }
}
