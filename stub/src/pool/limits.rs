//! Limits that only looking can keep: processor time of the worker and of all that runs below it, what they write to
//! disk, and how many programs there are at one time. What was granted to stay counts as long as its task runs.
//!
//! The kernel has no sum over a tree of processes without a cgroup of ones own, and few logins may make one. So the
//! stub looks again and again, and ends the execution when it is too much: it may be above the limit for one step.

use crate::process::{self, Process, Written};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use waft_proto::grant::{Limits, print_duration_ms, print_size_bytes};
use waft_proto::run::Problem;

/// Between two looks, at least, at most, and where programs are counted.
const STEP_MIN: Duration = Duration::from_millis(5);
const STEP_MAX: Duration = Duration::from_millis(250);
const STEP_PROCS: Duration = Duration::from_millis(50);
/// Where only a worker writes: one small file is read.
const STEP_DISK: Duration = Duration::from_millis(10);
/// Programs of one execution, those of called tasks included, that may leave something running, number: a process of ours
/// stays with each of them.
const STAYING_PROGRAMS_MAX: u32 = 100;

/// What one execution uses, those below it included.
#[derive(Debug, Default)]
pub(super) struct Meter {
    cpu: Option<Duration>,
    procs: Option<u64>,
    disk: Option<u64>,
    /// The worker, and what it had used before this execution.
    worker: Cell<Option<(u32, Duration)>>,
    /// The supervisor of the program that runs.
    supervisor: Cell<Option<u32>>,
    /// Of what has ended.
    before: Cell<Duration>,
    /// What the worker had written before this execution; none when that could not be seen.
    base: Cell<Option<Written>>,
    /// Bytes that were written by what has ended, and by the program when it was last looked at.
    written_before: Cell<u64>,
    seen: Cell<u64>,
    /// The task that was called.
    callee: RefCell<Option<Rc<Meter>>>,
    /// What programs that have ended left running.
    staying: RefCell<Vec<Left>>,
    /// How many programs did so, with those of the task that called this one.
    left: Rc<Cell<u32>>,
}

/// What one program left, and what of its use is counted in [`Meter::before`] and [`Meter::written_before`].
#[derive(Debug)]
struct Left {
    supervisor: Process,
    cpu: Duration,
    written: u64,
    /// The most beyond that: of what has ended meanwhile nothing is seen.
    more_cpu: Duration,
    more_written: u64,
}

impl Meter {
    /// In a dry run the overlays hold what is written.
    pub(super) fn new(limits: &Limits, check: bool) -> Meter {
        let disk = limits.disk_bytes.filter(|_| !check);
        Meter { cpu: limits.cpu_ms.map(Duration::from_millis), procs: limits.procs, disk, ..Meter::default() }
    }

    /// Of a task that is called.
    pub(super) fn of_callee(&self, limits: &Limits, check: bool) -> Rc<Meter> {
        let callee = Rc::new(Meter { left: Rc::clone(&self.left), ..Meter::new(limits, check) });
        self.callee.replace(Some(Rc::clone(&callee)));
        callee
    }

    pub(super) fn worker(&self, pid: Option<u32>) {
        self.worker.set(pid.map(|pid| (pid, clock(pid))));
        if let (Some(pid), Some(_)) = (pid, self.disk) {
            self.base.set(process::written(pid).ok());
        }
    }

    pub(super) fn program(&self, supervisor: Option<u32>) {
        self.supervisor.set(supervisor);
    }

    /// The program is over, and this is what it took, and who is above what stays of it.
    pub(super) fn program_ended(&self, cpu: Duration, written: u64, staying: Option<Process>) {
        self.supervisor.set(None);
        self.before.set(self.before.get() + cpu);
        let written = written.max(self.seen.take());
        self.add_written(written);
        if let Some(supervisor) = staying {
            self.left.set(self.left.get() + 1);
            let left = Left { supervisor, cpu, written, more_cpu: Duration::ZERO, more_written: 0 };
            self.staying.borrow_mut().push(left);
        }
    }

    /// Whether one more program may leave something running.
    pub(super) fn may_leave(&self, task: &str, target: &str) -> Result<(), Problem> {
        if self.left.get() < STAYING_PROGRAMS_MAX {
            return Ok(());
        }
        let text = format!(
            "{STAYING_PROGRAMS_MAX} programs of task `{task}` on `{target}` left something running, and one more may not"
        );
        Err(Problem::new("limit.daemons", text).hint("start the others in another run"))
    }

    /// Looks at what stays.
    fn used_by_staying(&self) -> process::Usage {
        let mut staying = self.staying.borrow_mut();
        let roots: Vec<_> = staying.iter().map(|left| left.supervisor).collect();
        let mut all = process::Usage::default();
        for (left, now) in staying.iter_mut().zip(process::usage_of(&roots)) {
            left.more_cpu = left.more_cpu.max(now.cpu.saturating_sub(left.cpu));
            all.cpu += left.more_cpu;
            all.processes += now.processes;
        }
        all
    }

    fn written_by_staying(&self) -> u64 {
        let mut staying = self.staying.borrow_mut();
        let roots: Vec<_> = staying.iter().map(|left| left.supervisor).collect();
        staying.iter_mut().zip(process::pages_of(&roots)).fold(0, |sum, (left, now)| {
            left.more_written = left.more_written.max(now.saturating_sub(left.written));
            sum.saturating_add(left.more_written)
        })
    }

    fn add_written(&self, bytes: u64) {
        self.written_before.set(self.written_before.get().saturating_add(bytes));
    }

    /// What it left goes on to count for its caller.
    pub(super) fn callee_ended(&self) {
        if let Some(callee) = self.callee.take() {
            callee.close();
            self.before.set(self.before.get() + callee.before.get());
            self.add_written(callee.written_before.get());
            self.staying.borrow_mut().append(&mut callee.staying.borrow_mut());
        }
    }

    /// The worker is about to be gone.
    pub(super) fn close(&self) {
        self.callee_ended();
        let spent = self.spent_otherwise();
        let written = self.written_otherwise().unwrap_or(0);
        self.written_before.set(written);
        self.seen.set(0);
        self.worker.set(None);
        self.supervisor.set(None);
        self.before.set(spent);
    }

    /// Processor time until now.
    pub(super) fn spent(&self) -> Duration {
        self.spent_otherwise() + self.used_by_staying().cpu
    }

    /// Without what stays.
    fn spent_otherwise(&self) -> Duration {
        let worker = self.worker.get().map_or(Duration::ZERO, |(pid, base)| clock(pid).saturating_sub(base));
        let program = self.supervisor.get().map_or(Duration::ZERO, |pid| process::usage(pid).cpu);
        let callee = self.callee.borrow().as_ref().map_or(Duration::ZERO, |callee| callee.spent());
        self.before.get() + worker + program + callee
    }

    /// Bytes written until now; none when that cannot be seen. Of a worker what it wrote to any file, of programs what the
    /// kernel has for a disk: their other writes go to pipes as well.
    fn written(&self) -> Option<u64> {
        if self.disk.is_none() {
            return Some(0);
        }
        Some(self.written_otherwise()?.saturating_add(self.written_by_staying()))
    }

    /// Without what stays.
    fn written_otherwise(&self) -> Option<u64> {
        if self.disk.is_none() {
            return Some(0);
        }
        let worker = match self.worker.get().map(|(pid, _)| process::written(pid)) {
            // A worker that has ended is there until somebody waits for it: where it was not, /proc hides it (hidepid).
            Some(_) if self.base.get().is_none() => return None,
            Some(Ok(now)) => {
                let base = self.base.get().unwrap_or_default();
                now.calls.saturating_sub(base.calls).max(now.pages.saturating_sub(base.pages))
            }
            Some(Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
            // It is gone; whoever waits for it says so.
            Some(Err(_)) | None => 0,
        };
        if let Some(pid) = self.supervisor.get() {
            self.seen.set(self.seen.get().max(process::pages_below(pid)));
        }
        let callee = self.callee.borrow().as_ref().map_or(Some(0), |callee| callee.written())?;
        Some(
            self.written_before
                .get()
                .saturating_add(worker)
                .saturating_add(self.seen.get())
                .saturating_add(callee),
        )
    }

    /// Why it wrote too much, if it did.
    pub(super) fn overwritten(&self, task: &str, target: &str) -> Option<Problem> {
        let most = self.disk?;
        let limit = print_size_bytes(most);
        let (text, hint) = match self.written() {
            Some(written) if written <= most => return None,
            Some(_) => (
                format!("task `{task}` on `{target}` wrote more to disk than its {limit} and was ended"),
                "give it more with --allow disk:SIZE",
            ),
            None => (
                format!(
                    "what task `{task}` on `{target}` writes to disk cannot be counted, and it may write {limit}"
                ),
                "leave out the limit, or the grant of a directory that shows /proc",
            ),
        };
        Some(Problem::new("limit.disk", text).hint(hint))
    }

    /// What of the limit is left, when there is one.
    pub(super) fn left(&self) -> Option<Duration> {
        self.cpu.map(|most| most.saturating_sub(self.spent()))
    }

    fn programs(&self) -> u64 {
        let own = self.supervisor.get().map_or(0, |pid| process::usage(pid).processes);
        let callee = self.callee.borrow().as_ref().map_or(0, |callee| callee.programs());
        own + callee + self.used_by_staying().processes
    }

    /// Whether one more program may be started.
    pub(super) fn may_start(&self, task: &str, target: &str) -> Result<(), Problem> {
        match self.procs {
            Some(most) if self.programs() >= most => Err(too_many(most, task, target)),
            _ => Ok(()),
        }
    }

    /// Ends with the limit that was reached, or never.
    pub(super) async fn exceeded(&self, task: &str, target: &str) -> Problem {
        if self.cpu.is_none() && self.procs.is_none() && self.disk.is_none() {
            return std::future::pending().await;
        }
        loop {
            let mut step = STEP_MAX;
            if let (Some(left), Some(most)) = (self.left(), self.cpu) {
                if left.is_zero() {
                    let most = print_duration_ms(u64::try_from(most.as_millis()).unwrap_or(u64::MAX));
                    let text = format!(
                        "task `{task}` on `{target}` used all of its {most} of processor time and was killed"
                    );
                    return Problem::new("limit.cpu", text).hint("give it more with --allow cpu:DURATION");
                }
                step = step.min(left);
            }
            if let Some(most) = self.procs {
                if self.programs() > most {
                    return too_many(most, task, target);
                }
                step = step.min(STEP_PROCS);
            }
            if self.disk.is_some() {
                if let Some(problem) = self.overwritten(task, target) {
                    return problem;
                }
                // Looking for programs goes through all of /proc.
                let alone = self.supervisor.get().is_none()
                    && self.callee.borrow().is_none()
                    && self.staying.borrow().is_empty();
                step = step.min(if alone { STEP_DISK } else { STEP_PROCS });
            }
            tokio::time::sleep(step.max(STEP_MIN)).await;
        }
    }
}

fn too_many(most: u64, task: &str, target: &str) -> Problem {
    let text = format!("task `{task}` on `{target}` may have {most} programs at one time, and wanted more");
    Problem::new("limit.procs", text).hint("give it more with --allow procs:NUMBER; a shell's children count")
}

/// Processor time of one process; nothing when it is gone.
fn clock(pid: u32) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut clock = 0;
    // SAFETY: writes to the two variables.
    let read = unsafe {
        libc::clock_getcpuclockid(pid.cast_signed(), &raw mut clock) == 0
            && libc::clock_gettime(clock, &raw mut time) == 0
    };
    match (read, u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (true, Ok(seconds), Ok(nanos)) => Duration::new(seconds, nanos),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::{Meter, clock};
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::time::Duration;
    use waft_proto::grant::GrantSet;

    /// Native code in the place of a worker: the first wall is not there, and the limit holds.
    #[tokio::test]
    async fn whatever_writes_to_disk_is_seen() {
        const MIB: u64 = 1 << 20;
        let dir = tempfile::tempdir().expect("a directory");
        let given = GrantSet::parse_all(["disk:4M"].into_iter()).expect("a limit");
        let writer = |mib: u64| {
            let line = format!("read go; exec dd if=/dev/zero of=flood bs=64k count={}", mib * 16);
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &line]).current_dir(dir.path()).stdin(Stdio::piped()).stderr(Stdio::null());
            command.spawn().expect("a shell")
        };
        let begin = |child: &mut std::process::Child, check: bool| {
            let meter = Meter::new(given.limits(), check);
            meter.worker(Some(child.id()));
            child.stdin.take().expect("a pipe").write_all(b"\n").expect("written");
            meter
        };
        let mut child = writer(64);
        let meter = begin(&mut child, false);
        let problem = meter.exceeded("t", "web1").await;
        assert_eq!(problem.code, "limit.disk");
        assert_eq!(problem.message, "task `t` on `web1` wrote more to disk than its 4M and was ended");
        child.kill().expect("killed");
        child.wait().expect("waited for");
        // Less is not too much; and in a dry run it is the overlay that holds it.
        for (mib, check) in [(2, false), (8, true)] {
            let mut child = writer(mib);
            let meter = begin(&mut child, check);
            child.wait().expect("waited for");
            assert_eq!(meter.overwritten("t", "web1"), None, "{} bytes", mib * MIB);
        }
    }

    #[test]
    fn a_worker_that_proc_hides_cannot_be_counted() {
        let given = GrantSet::parse_all(["disk:4M"].into_iter()).expect("a limit");
        let meter = Meter::new(given.limits(), false);
        // Above every limit of the kernel: as little there as another's process with hidepid=2.
        meter.worker(Some((1 << 22) + 1));
        let problem = meter.overwritten("t", "web1").expect("a problem");
        assert!(problem.message.contains("cannot be counted"), "{}", problem.message);
        meter.close();
        let without = Meter::new(GrantSet::default().limits(), false);
        without.worker(Some((1 << 22) + 1));
        assert_eq!(without.overwritten("t", "web1"), None);
    }

    /// A task that is called closes its meter before its caller reads it.
    #[test]
    fn what_a_program_wrote_counts_once_after_the_end() {
        let given = GrantSet::parse_all(["disk:4M"].into_iter()).expect("a limit");
        let meter = Meter::new(given.limits(), false);
        meter.program(Some(std::process::id()));
        // Files in memory have no pages on a disk; this is what was seen of others.
        meter.seen.set(3 << 20);
        let before = meter.written();
        assert!(before >= Some(3 << 20));
        meter.close();
        let after = meter.written();
        assert!(after >= before && after < Some(6 << 20), "{before:?}, {after:?}");
    }

    #[test]
    fn the_clock_of_a_process_runs_with_its_work() {
        let pid = std::process::id();
        let before = clock(pid);
        let mut sum = 0u64;
        while clock(pid).saturating_sub(before) < Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert_eq!(clock(1 << 24), Duration::ZERO, "no such process");
    }
}
