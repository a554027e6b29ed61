//! Limits that only looking can keep: processor time of the worker and of all that runs below it, and how many
//! programs there are at one time.
//!
//! The kernel has no sum over a tree of processes without a cgroup of ones own, and few logins may make one. So the
//! stub looks again and again, and ends the execution when it is too much: it may be above the limit for one step.

use crate::process;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use waft_proto::grant::{Limits, print_duration_ms};
use waft_proto::run::Problem;

/// Between two looks, at least, at most, and where programs are counted.
const STEP_MIN: Duration = Duration::from_millis(5);
const STEP_MAX: Duration = Duration::from_millis(250);
const STEP_PROCS: Duration = Duration::from_millis(50);

/// What one execution uses, those below it included.
#[derive(Debug, Default)]
pub(super) struct Meter {
    cpu: Option<Duration>,
    procs: Option<u64>,
    /// The worker, and what it had used before this execution.
    worker: Cell<Option<(u32, Duration)>>,
    /// The supervisor of the program that runs.
    supervisor: Cell<Option<u32>>,
    /// Of what has ended.
    before: Cell<Duration>,
    /// The task that was called.
    callee: RefCell<Option<Rc<Meter>>>,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Meter {
        Meter { cpu: limits.cpu_ms.map(Duration::from_millis), procs: limits.procs, ..Meter::default() }
    }

    pub(super) fn worker(&self, pid: Option<u32>) {
        self.worker.set(pid.map(|pid| (pid, clock(pid))));
    }

    pub(super) fn program(&self, supervisor: Option<u32>) {
        self.supervisor.set(supervisor);
    }

    /// The program is over, and this is what it took.
    pub(super) fn program_ended(&self, cpu: Duration) {
        self.supervisor.set(None);
        self.before.set(self.before.get() + cpu);
    }

    pub(super) fn called(&self, callee: &Rc<Meter>) {
        self.callee.replace(Some(Rc::clone(callee)));
    }

    pub(super) fn callee_ended(&self) {
        if let Some(callee) = self.callee.take() {
            self.before.set(self.before.get() + callee.spent());
        }
    }

    /// The worker is about to be gone.
    pub(super) fn close(&self) {
        let spent = self.spent();
        self.worker.set(None);
        self.supervisor.set(None);
        self.callee.replace(None);
        self.before.set(spent);
    }

    /// Processor time until now.
    pub(super) fn spent(&self) -> Duration {
        let worker = self.worker.get().map_or(Duration::ZERO, |(pid, base)| clock(pid).saturating_sub(base));
        let program = self.supervisor.get().map_or(Duration::ZERO, |pid| process::usage(pid).cpu);
        let callee = self.callee.borrow().as_ref().map_or(Duration::ZERO, |callee| callee.spent());
        self.before.get() + worker + program + callee
    }

    /// What of the limit is left, when there is one.
    pub(super) fn left(&self) -> Option<Duration> {
        self.cpu.map(|most| most.saturating_sub(self.spent()))
    }

    fn programs(&self) -> u64 {
        let own = self.supervisor.get().map_or(0, |pid| process::usage(pid).processes);
        own + self.callee.borrow().as_ref().map_or(0, |callee| callee.programs())
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
        if self.cpu.is_none() && self.procs.is_none() {
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
    use super::clock;
    use std::time::Duration;

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
