//! Time: how long a process takes, cases that take turns, and what is told of many samples.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use waft_tests::process::spawn_bound;
use waft_tests::{Context, Error, Result};

/// More than anything here takes on a loaded machine; what reaches it is stuck.
const PROCESS_LIMIT: Duration = Duration::from_secs(120);
/// What a failed program said, bytes of it that are shown.
const WORDS_BYTES_MAX: usize = 2000;

/// Durations of one case, ascending; never none.
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Of at least one duration.
    pub(crate) fn new(mut durations: Vec<Duration>) -> Result<Samples> {
        durations.sort_unstable();
        match durations.is_empty() {
            true => Err(Error::new("nothing was measured")),
            false => Ok(Samples(durations)),
        }
    }

    pub(crate) fn median(&self) -> Duration {
        let (lower, upper) = (self.0[(self.0.len() - 1) / 2], self.0[self.0.len() / 2]);
        (lower + upper) / 2
    }

    pub(crate) fn min(&self) -> Duration {
        self.0[0]
    }

    pub(crate) fn max(&self) -> Duration {
        self.0[self.0.len() - 1]
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many times as long as the other, by the medians.
    pub(crate) fn ratio_to(&self, other: &Samples) -> f64 {
        self.median().as_secs_f64() / other.median().as_secs_f64()
    }
}

/// One thing to measure. It times itself, so that what it prepares and tidies up does not count.
pub(crate) type Case<'a> = &'a mut dyn FnMut() -> Result<Duration>;

/// Lets the cases take turns: whatever disturbs the machine for a while disturbs all of them. The first turn of each
/// only warms caches and does not count.
pub(crate) fn take_turns<const N: usize>(rounds: usize, mut cases: [Case; N]) -> Result<[Samples; N]> {
    let mut taken = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for (case, durations) in cases.iter_mut().zip(&mut taken) {
            let duration = case()?;
            if round > 0 {
                durations.push(duration);
            }
        }
    }
    let mut samples = Vec::with_capacity(N);
    for durations in taken {
        samples.push(Samples::new(durations)?);
    }
    samples.try_into().map_err(|_| Error::new("a case was lost"))
}

/// How long it takes until a program writes its first byte to stdout. It must write one and end well.
pub(crate) fn first_byte(mut command: Command) -> Result<Duration> {
    let name = command.get_program().to_string_lossy().into_owned();
    let doing = || format!("cannot run {name}");
    let said = tempfile::tempfile().context(doing)?;
    command.stdout(Stdio::piped()).stderr(said.try_clone().context(doing)?);
    let started = Instant::now();
    let mut child = spawn_bound(command).context(doing)?;
    let mut byte = [0];
    let read = child.stdout.as_mut().map_or(Ok(0), |stdout| stdout.read(&mut byte)).context(doing)?;
    let took = started.elapsed();
    let ended = wait(child.id()).context(doing)?;
    if !ended {
        let _ = child.kill();
    }
    let status = child.wait().context(doing)?;
    match read {
        1 if ended && status.success() => Ok(took),
        _ => Err(Error::new(format!("{name} wrote {read} bytes and ended with {status}: {}", tail(&said)))),
    }
}

/// How long it takes from starting a program until it ended, which must be well.
///
/// The harness's own way to wait looks every few milliseconds, which is fine for a test; here the kernel wakes us.
pub(crate) fn process(mut command: Command) -> Result<Duration> {
    let name = command.get_program().to_string_lossy().into_owned();
    let doing = || format!("cannot run {name}");
    // A file, because nobody reads while the clock runs and a pipe could fill up.
    let said = tempfile::tempfile().context(doing)?;
    command.stdin(Stdio::null()).stdout(said.try_clone().context(doing)?);
    command.stderr(said.try_clone().context(doing)?);
    let started = Instant::now();
    let mut child = spawn_bound(command).context(doing)?;
    let ended = wait(child.id());
    let took = started.elapsed();
    if !matches!(ended, Ok(true)) {
        // It may just have ended; then there is nothing to kill.
        let _ = child.kill();
    }
    let status = child.wait().context(doing)?;
    match ended.context(doing)? {
        true if status.success() => Ok(took),
        true => Err(Error::new(format!("{name} failed ({status}): {}", tail(&said)))),
        false => {
            let seconds = PROCESS_LIMIT.as_secs();
            Err(Error::new(format!("{name} did not end within {seconds} s: {}", tail(&said))))
        }
    }
}

/// False when the time is over first.
fn wait(pid: u32) -> rustix::io::Result<bool> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec { tv_sec: PROCESS_LIMIT.as_secs().cast_signed(), tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit))?;
    Ok(ready > 0)
}

fn tail(said: &std::fs::File) -> String {
    use std::os::unix::fs::FileExt;
    let length = said.metadata().map_or(0, |metadata| metadata.len());
    let mut words = vec![0; WORDS_BYTES_MAX];
    let read = said.read_at(&mut words, length.saturating_sub(WORDS_BYTES_MAX as u64)).unwrap_or(0);
    words.truncate(read);
    String::from_utf8_lossy(&words).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        let of = |numbers: &[u32]| Samples::new(numbers.iter().map(|n| MS * *n).collect());
        assert_eq!(of(&[9, 1, 4]).unwrap().median(), 4 * MS);
        assert_eq!(of(&[8, 1, 4, 2]).unwrap().median(), 3 * MS);
        let ten = of(&[10]).unwrap();
        assert_eq!((ten.min(), ten.median(), ten.max()), (10 * MS, 10 * MS, 10 * MS));
        assert!((ten.ratio_to(&of(&[4]).unwrap()) - 2.5).abs() < 1e-9);
        assert!(of(&[]).is_err());
    }

    #[test]
    fn cases_take_turns_and_the_first_turn_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let turn = |letter: char| {
            order.borrow_mut().push(letter);
            Ok(MS * order.borrow().len() as u32)
        };
        let [a, b] = take_turns(2, [&mut || turn('a'), &mut || turn('b')]).unwrap();
        assert_eq!(*order.borrow(), "ababab");
        assert_eq!((a.count(), a.min(), b.max()), (2, 3 * MS, 6 * MS));
    }

    #[test]
    fn a_program_that_fails_is_an_error_that_says_what_it_said() {
        let mut good = Command::new("sh");
        good.args(["-c", "exit 0"]);
        assert!(process(good).unwrap() < PROCESS_LIMIT);
        let mut bad = Command::new("sh");
        bad.args(["-c", "echo because; exit 3"]);
        assert!(process(bad).unwrap_err().to_string().contains("because"));
    }
}
