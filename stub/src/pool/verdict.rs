//! From the way an execution ended to its status, and to the sentence that people read.

use super::job::Job;
use crate::program::Ended;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use waft_proto::run::{Problem, Status};

/// Exit codes from here on are no task's: shells use them for what is not a program's own end.
const EXIT_CODE_FOREIGN: u32 = 126;

/// Why an execution is over.
#[derive(Debug)]
pub(super) enum Finish {
    Exit(u32),
    Trap(String),
    /// A dry run wanted what no overlay keeps.
    Unkept(Problem),
    Program(Ended),
    /// The worker's channel ended.
    Died,
    /// The worker broke a rule: it sent this.
    Broken(&'static str),
    /// Nobody receives the events.
    Unheard,
    Deadline,
    /// A limit was reached.
    Limit(Problem),
    Cancelled,
}

#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) exit_code: Option<u32>,
    pub(super) signal: Option<i32>,
    pub(super) problem: Option<Problem>,
}

/// `death`: how the worker ended, where it did by itself. `refusal`: the first grant that was missing.
pub(super) fn verdict(
    finish: Finish,
    job: &Job,
    death: Option<ExitStatus>,
    refusal: Option<Problem>,
) -> Verdict {
    let (task, target) = (&job.task, &job.target);
    let of = |status, problem| Verdict { status, exit_code: None, signal: None, problem };
    let failed = |code, text: String| of(Status::Failed, Some(Problem::new(code, text)));
    let mut verdict = match finish {
        Finish::Exit(0) | Finish::Program(Ended::Exit(0)) => {
            Verdict { exit_code: Some(0), ..of(Status::Ok, None) }
        }
        Finish::Exit(code) if code >= EXIT_CODE_FOREIGN => {
            let text = format!(
                "task `{task}` ended with exit code {code} on `{target}`; a task's codes are 0 to 125"
            );
            Verdict { exit_code: Some(code), ..failed("task.exit_code", text) }
        }
        Finish::Exit(code) | Finish::Program(Ended::Exit(code)) => {
            Verdict { exit_code: Some(code), ..of(Status::Failed, None) }
        }
        Finish::Trap(text) => failed("task.trap", format!("task `{task}` trapped on `{target}`: {text}")),
        Finish::Unkept(problem) => of(Status::Refused, Some(problem)),
        Finish::Program(Ended::Signal(number)) => {
            let text =
                format!("the program that task `{task}` became on `{target}` was ended by signal {number}");
            Verdict { signal: Some(number), ..failed("exec.signal", text) }
        }
        Finish::Program(Ended::Unknown) => {
            let text = format!(
                "how the program of task `{task}` ended on `{target}` is not known: its supervisor was killed"
            );
            failed("exec.lost", text)
        }
        Finish::Died => died(job, death),
        Finish::Broken(rule) => {
            let text = format!("the worker of task `{task}` on `{target}` sent {rule} and was killed");
            let hint = "the task may have broken out of WebAssembly: keep the module and report it";
            of(Status::Failed, Some(Problem::new("worker.protocol", text).hint(hint)))
        }
        Finish::Deadline => {
            let (seconds, ms) = (job.timeout.as_secs(), job.timeout.subsec_millis());
            let rest = if ms == 0 { String::new() } else { format!(".{ms:03}") };
            let text =
                format!("task `{task}` did not end within {seconds}{rest} s on `{target}` and was killed");
            of(
                Status::TimedOut,
                Some(Problem::new("task.timeout", text).hint("give it longer with --timeout")),
            )
        }
        Finish::Limit(problem) => of(Status::Failed, Some(problem)),
        Finish::Cancelled | Finish::Unheard => of(Status::Cancelled, Some(stopped(job))),
    };
    // A task that failed after a refusal was refused; one that found another way was not.
    if verdict.status == Status::Failed
        && let Some(refusal) = refusal
    {
        verdict.status = Status::Refused;
        verdict.problem = Some(refusal);
    }
    verdict
}

fn died(job: &Job, death: Option<ExitStatus>) -> Verdict {
    let (task, target) = (&job.task, &job.target);
    let signal = death.and_then(|status| status.signal());
    let text = match signal {
        Some(signal) => format!("the worker of task `{task}` on `{target}` was killed by signal {signal}"),
        None => format!("the worker of task `{task}` on `{target}` ended without a word"),
    };
    let mut problem = Problem::new("worker.died", text);
    if signal == Some(libc::SIGKILL) {
        problem = problem.hint("somebody on the target killed it, or the kernel did because memory ran out");
    }
    Verdict { status: Status::Failed, exit_code: None, signal, problem: Some(problem) }
}

pub(super) fn stopped(job: &Job) -> Problem {
    Problem::new(
        "task.cancelled",
        format!("task `{}` was stopped on `{}` before it had ended", job.task, job.target),
    )
}
