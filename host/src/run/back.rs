//! After a task that has its machine boot again: how it is waited for, and what is made of what was seen.
//!
//! Which boot lasts is what the task itself says in a dry run, with the grants that the run has: nothing else has to be
//! given, and no policy has to know of another task. [`super::again`] does the dialling.

use crate::event::TargetResult;
use serde_json::{Map, Value};
use std::time::Duration;
use waft_proto::run::{Problem, Status};

/// Parameters of a task by which it says how it is waited for, all in whole seconds.
pub const PARAMS: [&str; 4] = [TIMEOUT, BEFORE, AFTER, CONNECT];
const TIMEOUT: &str = "reboot_timeout";
const BEFORE: &str = "pre_reboot_delay";
const AFTER: &str = "post_reboot_delay";
const CONNECT: &str = "connect_timeout";
/// How long is waited where the task has no parameter for it, as in Ansible.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// Longer than any machine takes, and no sum of several overflows.
const SECONDS_MAX: u64 = 7 * 24 * 3600;
/// The name of a boot, bytes: a UUID in hexadecimal digits has 36.
const BOOT_BYTES_MAX: usize = 64;
/// Why a machine is not ready, bytes: it is told again with each look.
const WHY_BYTES_MAX: usize = 1024;

/// How it is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AfterReboot {
    /// Until it has to be there, from when it was to go down.
    pub timeout: Duration,
    /// Until it goes down.
    pub before: Duration,
    /// Between the end of its link and the first dial.
    pub after: Duration,
    /// Of each dial, in place of what the inventory and ssh's configuration say.
    pub connect: Option<Duration>,
}

impl AfterReboot {
    /// By the finished parameters of a task.
    pub fn of(params: &Map<String, Value>) -> AfterReboot {
        let seconds = |name| {
            let seconds = params.get(name).and_then(Value::as_u64)?;
            Some(Duration::from_secs(seconds.min(SECONDS_MAX)))
        };
        AfterReboot {
            timeout: seconds(TIMEOUT).unwrap_or(TIMEOUT_DEFAULT),
            before: seconds(BEFORE).unwrap_or_default(),
            after: seconds(AFTER).unwrap_or_default(),
            connect: seconds(CONNECT).filter(|connect| !connect.is_zero()),
        }
    }
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Waited {
    pub(super) elapsed: Duration,
    pub(super) boot: Boot,
    /// Why that is not good.
    pub(super) bad: Option<(Status, Problem)>,
}

/// Which boot lasts.
#[derive(Debug)]
pub(super) enum Boot {
    Other(String),
    /// That from before.
    Same,
    Unknown,
}

/// What one look at the machine found.
#[derive(Clone, Debug)]
pub(super) enum Look {
    Ready(String),
    /// Another boot, and not ready yet, with the reason.
    Unready(String, String),
    SameBoot,
    Unreachable(Problem),
    /// It is there, and does not say which boot it is.
    Unknown(Status, Problem),
}

/// Its link is as it was when the task answered.
pub(super) fn never_left(name: &str, elapsed: Duration) -> Waited {
    let text = format!(
        "{name} did not go down within {} s after its reboot was ordered: its link never ended",
        elapsed.as_secs()
    );
    let problem = Problem::new("reboot.not_begun", text)
        .hint("its log may say what holds the reboot up; a larger reboot_timeout waits longer");
    Waited { elapsed, boot: Boot::Same, bad: Some((Status::TimedOut, problem)) }
}

/// It is over, by what was seen last. `is_known`: the boot from before is.
pub(super) fn over(name: &str, is_known: bool, elapsed: Duration, last: Option<Look>) -> Waited {
    let seconds = elapsed.as_secs();
    let longer = "a larger reboot_timeout waits longer";
    let (boot, status, problem) = match last {
        None => {
            let text =
                format!("{name} did not come back within {seconds} s: no connection came about in time");
            (Boot::Unknown, Status::Lost, Problem::new("reboot.not_back", text).hint(longer))
        }
        Some(Look::Unreachable(why)) => {
            let text =
                format!("{name} did not come back within {seconds} s; the last dial said: {}", why.message);
            let hint = format!("`waft ping` says when it is there; {longer}");
            (Boot::Unknown, Status::Lost, Problem::new("reboot.not_back", text).hint(hint))
        }
        Some(Look::SameBoot) if !is_known => {
            let text = format!(
                "the link to {name} was lost while the task ran, and after {seconds} s that machine was not rebooted"
            );
            (Boot::Same, Status::Lost, Problem::new("reboot.same_boot", text))
        }
        Some(Look::SameBoot) => {
            let text = format!("{name} is there, and after {seconds} s it is still by the boot from before");
            let hint = "its log may say what holds the reboot up; a larger reboot_timeout waits longer";
            (Boot::Same, Status::TimedOut, Problem::new("reboot.same_boot", text).hint(hint))
        }
        Some(Look::Unready(boot, why)) => {
            let text = format!("{name} was rebooted, and is not ready after {seconds} s: {why}");
            (Boot::Other(boot), Status::TimedOut, Problem::new("reboot.not_ready", text).hint(longer))
        }
        Some(Look::Unknown(status, why)) => {
            let text = format!(
                "{name} is there after {seconds} s, and whether it was rebooted is not known, because the dry run that \
                 would say so ended badly: {}",
                why.message
            );
            (Boot::Unknown, status, Problem { hint: why.hint, ..Problem::new("reboot.unknown", text) })
        }
        Some(Look::Ready(boot)) => return Waited { elapsed, boot: Boot::Other(boot), bad: None },
    };
    Waited { elapsed, boot, bad: Some((status, problem)) }
}

impl Look {
    pub(super) fn said(&self) -> String {
        match self {
            Look::Ready(_) => "it is there".to_owned(),
            Look::Unready(_, why) => format!("it is there, and not ready: {why}"),
            Look::SameBoot => "it is still by the boot from before".to_owned(),
            Look::Unreachable(why) | Look::Unknown(_, why) => why.message.clone(),
        }
    }
}

/// By the result of the dry run. Without the boot from before, what was up for less time than `since` was booted since.
pub(super) fn look_at(result: &TargetResult, before: Option<&str>, since: Duration) -> Look {
    let problem = |otherwise: &str| {
        let said = || Some(result.result.as_ref()?.get("msg")?.as_str()?.to_owned());
        let said = || Problem::new("reboot.unknown", said().unwrap_or_else(|| otherwise.to_owned()));
        result.problem.clone().unwrap_or_else(said)
    };
    match result.status {
        Status::Unreachable | Status::Lost => return Look::Unreachable(problem("its link was lost")),
        status if !status.is_done() => return Look::Unknown(status, problem(status.word())),
        _ => {}
    }
    let field = |name| result.result.as_ref()?.get(name);
    let boot = field("boot_id").and_then(Value::as_str).filter(|boot| boot.len() <= BOOT_BYTES_MAX);
    let Some(boot) = boot else {
        return Look::Unknown(Status::Failed, Problem::new("reboot.unknown", "it has no `boot_id`"));
    };
    let is_other = match before {
        Some(before) => before != boot,
        None => field("uptime_seconds").and_then(Value::as_u64).is_some_and(|up| up < since.as_secs()),
    };
    match field("not_ready").and_then(Value::as_str) {
        _ if !is_other => Look::SameBoot,
        Some(why) => {
            let cut = why.get(..why.floor_char_boundary(WHY_BYTES_MAX)).unwrap_or_default();
            Look::Unready(boot.to_owned(), cut.to_owned())
        }
        None => Look::Ready(boot.to_owned()),
    }
}

/// Completes the answer of a task by what was waited for. Of an answer that was lost only this is known.
pub(super) fn complete(answer: &mut Map<String, Value>, before: Option<&str>, waited: &Waited) {
    let seconds = waited.elapsed.as_secs();
    let rebooted = match &waited.boot {
        Boot::Other(_) => Value::Bool(true),
        Boot::Same => Value::Bool(false),
        Boot::Unknown => Value::Null,
    };
    answer.insert("rebooted".to_owned(), rebooted);
    answer.insert("elapsed".to_owned(), seconds.into());
    if let Boot::Other(boot) = &waited.boot {
        answer.insert("changed".to_owned(), true.into());
        answer.insert("boot_id".to_owned(), boot.as_str().into());
        answer.insert("boot_id_before".to_owned(), before.map_or(Value::Null, Value::from));
        answer.insert("msg".to_owned(), format!("rebooted in {seconds} s").into());
    }
}

#[cfg(test)]
mod tests;
