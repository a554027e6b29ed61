//! The books of one run on the side of the command line.

use crate::audit::{self, Actor, Recorder};
use crate::cli::{Failure, interrupt};
use crate::event::{Body, Event};
use crate::report::is_closed_pipe;
use crate::run::Request;
use crate::tree::Shape;
use std::future::Future;
use std::io;
use std::sync::Arc;
use tokio::sync::Notify;
use waft_proto::run::Problem;

/// Records a run, and has it shown. A run that cannot be recorded any more is cancelled.
pub(in crate::cli) struct Recorded {
    recorder: Recorder,
    stop: Arc<Notify>,
    unrecorded: Option<Problem>,
    unshown: Option<io::Error>,
}

impl Recorded {
    /// Before anything is dialled.
    pub(in crate::cli) fn begin(request: &Request, shape: &Shape) -> Result<Recorded, Problem> {
        let recorder = Recorder::begin(audit::of_user()?, request, shape, &Actor::here())?;
        Ok(Recorded { recorder, stop: Arc::default(), unrecorded: None, unshown: None })
    }

    /// A reader that went away is no reason to record less. So an error of `show` is not passed on, after which a run
    /// tells nothing more, but cancels the run from here. Only a run whose beginning cannot be recorded is not begun.
    pub(in crate::cli) fn event(
        &mut self,
        event: &Event,
        show: impl FnOnce(&Event) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Err(problem) = self.recorder.event(event) {
            let error = io::Error::other(problem.message.clone());
            self.unrecorded = Some(problem);
            self.stop.notify_one();
            if let Body::RunStarted { .. } = &event.body {
                return Err(error);
            }
        }
        if self.unshown.is_none()
            && let Err(error) = show(event)
        {
            self.unshown = Some(error);
            self.stop.notify_one();
        }
        Ok(())
    }

    /// Resolves when the run has to stop: by the operator, or because of this.
    pub(in crate::cli) fn interrupt(&self) -> impl Future<Output = ()> + use<> {
        let stop = self.stop.clone();
        async move {
            tokio::select! {
                () = interrupt() => {}
                () = stop.notified() => {}
            }
        }
    }

    pub(in crate::cli) fn end(self) -> Result<(), Failure> {
        if let Some(problem) = self.unrecorded {
            return Err(Failure::Own(problem));
        }
        match self.unshown.filter(|error| !is_closed_pipe(error)) {
            Some(error) => {
                let text = format!("the report could not be written: {}", crate::files::plain(&error));
                Err(Failure::Own(Problem::new("report.write", text)))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Log;
    use crate::event::Sequence;
    use crate::tree::{Endpoint, Target, shape};
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};
    use waft_proto::id::RunId;

    fn request() -> Request {
        Request {
            task: "t".to_owned(),
            wasm: Arc::from(&b"\0asm"[..]),
            params: b"{}".to_vec(),
            allow: Vec::new(),
            check: false,
            diff: false,
            timeout: Duration::from_secs(1),
            head: crate::run::Head::default(),
            vouched: Default::default(),
            along: Default::default(),
            secrets: crate::secret::Sent::default(),
            after_reboot: None,
        }
    }

    fn recorded(log: &Log) -> Recorded {
        let target = Target { endpoint: Endpoint::named("h1"), via: Vec::new(), allow: Vec::new() };
        let shape = shape(&[target]).expect("a tree");
        let recorder = Recorder::begin(log.clone(), &request(), &shape, &Actor::here()).expect("recorded");
        Recorded { recorder, stop: Arc::default(), unrecorded: None, unshown: None }
    }

    fn events() -> [Event; 2] {
        let mut sequence = Sequence::new(RunId([1; 16]));
        let started = Body::RunStarted { task: "t".to_owned(), hash: None, targets: Vec::new() };
        let finished = Body::RunFinished { counts: Default::default(), ms: 1, bytes: Default::default() };
        [started, finished].map(|body| sequence.event(SystemTime::UNIX_EPOCH, None, body))
    }

    fn lines(log: &Log) -> usize {
        std::fs::read_to_string(log.file()).expect("a log").lines().count()
    }

    /// Whether the run has to stop now.
    async fn stops(recorded: &Recorded) -> bool {
        tokio::time::timeout(Duration::from_millis(1), recorded.interrupt()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_went_away_stops_the_run_and_not_the_record() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = audit::at(dir.path().join("waft/audit"));
        for (kind, code) in [(io::ErrorKind::BrokenPipe, None), (io::ErrorKind::StorageFull, Some(()))] {
            let before = if log.file().exists() { lines(&log) } else { 0 };
            let mut recorded = recorded(&log);
            assert!(!stops(&recorded).await);
            let mut shown = 0;
            for event in events() {
                let show = |_: &Event| {
                    shown += 1;
                    Err(io::Error::from(kind))
                };
                recorded.event(&event, show).expect("the run goes on to its end");
            }
            assert!(stops(&recorded).await);
            assert_eq!((shown, lines(&log)), (1, before + 2));
            assert_eq!(recorded.end().is_err().then_some(()), code);
        }
    }

    /// What a record says of a directory that was opened to others after so many events of a run.
    async fn broken_after(recorded_events: usize) -> (Vec<bool>, usize, usize) {
        let dir = tempfile::tempdir().expect("a directory");
        let log = audit::at(dir.path().join("waft/audit"));
        let mut recorded = recorded(&log);
        let (mut shown, mut goes_on) = (0, Vec::new());
        for (at, event) in events().into_iter().enumerate() {
            if at == recorded_events {
                let open = std::fs::Permissions::from_mode(0o777);
                std::fs::set_permissions(dir.path().join("waft/audit"), open).expect("changed");
            }
            let show = |_: &Event| {
                shown += 1;
                Ok(())
            };
            goes_on.push(recorded.event(&event, show).is_ok());
        }
        assert!(stops(&recorded).await);
        let Err(Failure::Own(problem)) = recorded.end() else { panic!("it ended well") };
        assert_eq!(problem.code, "audit.mode");
        (goes_on, shown, lines(&log))
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_cannot_be_recorded_any_more_stops_and_is_still_shown() {
        assert_eq!(broken_after(1).await, (vec![true, true], 2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_whose_beginning_cannot_be_recorded_is_not_begun() {
        let (goes_on, _, lines) = broken_after(0).await;
        assert!(!goes_on[0]);
        assert_eq!(lines, 0);
    }
}
