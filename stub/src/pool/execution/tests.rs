//! Executions whose worker has been taken over: it says what it likes.

use super::carry_out;
use crate::policy::NodePolicy;
use crate::pool::channel::Channel;
use crate::pool::worker::Worker;
use crate::pool::{Job, JobEvent, Pool};
use crate::process::Kin;
use crate::worker::wire::{
    End, FromWorker, Function, Hitch, MESSAGE_BYTES_MAX, PART_BYTES_MAX, Part, REQUEST_BYTES_MAX, ToWorker,
    decode, encode, packet_buffer, receive, send,
};
use std::collections::BTreeMap;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use waft_proto::envelope::{Envelope, Wall};
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::{Outcome, Stream};
use waft_proto::node::ReadyRun;
use waft_proto::run::Status;

const TEXT: &[u8] = b"text";

fn job() -> Job {
    let envelope = Envelope {
        run: RunId([0; 16]),
        task: "probe".to_owned(),
        targets: Vec::new(),
        module: Hash::of(b""),
        artifacts: Vec::new(),
        params: Hash::of(b""),
        grants: Vec::new(),
        check: false,
        timeout_ms: 30_000,
        expires: u64::MAX,
        nonce: [0; 8],
        wall: Wall::Best,
        diff: false,
        task_signatures: Vec::new(),
        approval: None,
        callees: Vec::new(),
        files: Vec::new(),
        audit: None,
    };
    let ready = ReadyRun {
        envelope,
        artifact: Hash::of(b""),
        code: Arc::from([]),
        input: Arc::from([]),
        blobs: BTreeMap::new(),
        workers: BTreeMap::new(),
        order: Hash::of(b""),
        secrets: None,
    };
    Job::prepare(ready, "web1", &NodePolicy::default(), 0).expect("a good order")
}

/// Runs one execution against `hostile`, which gets its number and the worker's end of the channel.
async fn against(hostile: impl FnOnce(u64, &OwnedFd) + Send + 'static) -> (Outcome, Vec<u8>, bool) {
    let process = Command::new("sleep").arg("1000").spawn().expect("sleep runs");
    let pid = process.id();
    let (outcome, stdout, spare) = against_a(process, &idle_pool(), &job(), hostile).await;
    let reused = spare.is_some();
    if !reused {
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "the worker was killed and waited for"
        );
    }
    (outcome, stdout, reused)
}

fn idle_pool() -> Pool {
    Pool::with_program(PathBuf::from("/no/such/program"))
}

/// The same with a process of the test's choice, which comes back if it may be used again.
async fn against_a(
    process: Child,
    pool: &Pool,
    job: &Job,
    hostile: impl FnOnce(u64, &OwnedFd) + Send + 'static,
) -> (Outcome, Vec<u8>, Option<Worker>) {
    let (channel, theirs) = Channel::pair().expect("a pair");
    let worker = Worker::impostor(job, channel, Kin::new(process));
    let other = std::thread::spawn(move || {
        let mut buffer = packet_buffer();
        let read = receive(&theirs, &mut buffer).expect("an order");
        let ToWorker::Start { execution, .. } = decode(&buffer[..read]).expect("a message") else {
            panic!("the first order is to start")
        };
        hostile(execution, &theirs);
        theirs
    });
    let (events, mut receiver) = mpsc::channel(64);
    let (outcome, spare) = carry_out(&pool.shared, job, &Rc::default(), worker, &events, pending()).await;
    drop(events);
    let mut stdout = Vec::new();
    while let Some(event) = receiver.recv().await {
        if let JobEvent::Output { bytes, .. } = event {
            stdout.extend(bytes);
        }
    }
    other.join().expect("the impostor does not fail");
    (outcome, stdout, spare)
}

fn say(socket: &OwnedFd, message: &FromWorker<'_>) {
    let mut buffer = packet_buffer();
    // Whoever is killed for his words may find the channel closed.
    let _ = send(socket, encode(message, &mut buffer).expect("fits"));
}

fn done(execution: u64, end: End<'_>) -> FromWorker<'_> {
    FromWorker::Done { execution, end, stdout_bytes: 0, stderr_bytes: 0 }
}

fn refused(outcome: &Outcome) {
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(outcome.problem.as_ref().map(|problem| problem.code.as_str()), Some("worker.protocol"));
}

#[tokio::test]
async fn an_honest_worker_comes_back() {
    let (outcome, stdout, reused) = against(|execution, socket| {
        say(socket, &FromWorker::Output { execution, stream: Stream::Stdout, bytes: TEXT });
        say(socket, &done(execution, End::Exit(0)));
    })
    .await;
    assert_eq!((outcome.status, stdout.as_slice(), reused), (Status::Ok, TEXT, true));
}

/// Waits until a process is stopped, or is not.
async fn until_stopped(pid: u32, wanted: bool) {
    let stopped = async {
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
            let (_, rest) = stat.rsplit_once(") ").expect("a name");
            if rest.starts_with('T') == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), stopped).await;
    waited.unwrap_or_else(|_| panic!("stopped: {wanted} was waited for"));
}

#[tokio::test]
async fn a_worker_that_goes_on_after_its_last_word_is_stopped_until_it_is_taken_again() {
    let (pool, job) = (idle_pool(), job());
    let mut busy = Command::new("sh");
    busy.args(["-c", "while :; do :; done"]);
    let process = busy.spawn().expect("a shell");
    let pid = process.id();
    let (outcome, _, spare) =
        against_a(process, &pool, &job, |execution, socket| say(socket, &done(execution, End::Exit(0))))
            .await;
    assert_eq!(outcome.status, Status::Ok);
    // Its other end of the channel is gone, so this one is not well any more; that is not what is looked at here.
    let mut worker = spare.expect("a clean end");
    until_stopped(pid, true).await;
    let (channel, theirs) = Channel::pair().expect("a pair");
    worker.channel = channel;
    pool.shared.keep(worker);
    let worker = pool.shared.worker(&job).await.expect("the warm one");
    assert_eq!(worker.pid(), Some(pid));
    until_stopped(pid, false).await;
    // That it is stopped saves it from nothing.
    worker.pause();
    until_stopped(pid, true).await;
    worker.end().await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "killed and waited for");
    drop(theirs);
}

#[tokio::test]
async fn words_about_another_execution_end_it() {
    let other = [
        |id: u64| FromWorker::Output { execution: id + 1, stream: Stream::Stdout, bytes: TEXT },
        |id| FromWorker::Call {
            execution: id + 1,
            function: Function::Facts,
            part: Part { more: false, bytes: b"" },
        },
        |id: u64| done(id.wrapping_sub(1), End::Exit(0)),
    ];
    for message in other {
        let (outcome, stdout, reused) =
            against(move |execution, socket| say(socket, &message(execution))).await;
        refused(&outcome);
        assert!(stdout.is_empty() && !reused);
    }
}

#[tokio::test]
async fn words_of_another_role_end_it() {
    let odd: [fn(u64) -> FromWorker<'static>; 16] = [
        |id| FromWorker::Output { execution: id, stream: Stream::Call, bytes: b"{}\n" },
        |id| FromWorker::Output { execution: id, stream: Stream::Progress, bytes: b"{}\n" },
        |id| FromWorker::Read { execution: id, handle: 1, limit: 0 },
        |id| FromWorker::Read { execution: id, handle: 1, limit: u32::MAX },
        |id| FromWorker::Read { execution: id + 1, handle: 1, limit: 1 },
        |id| FromWorker::Write { execution: id, handle: 1, bytes: b"" },
        |id| FromWorker::Write { execution: id, handle: 1, bytes: &[0; PART_BYTES_MAX + 1] },
        |id| FromWorker::Write { execution: id + 1, handle: 1, bytes: b"x" },
        |_| FromWorker::Loaded { walls: vec!["all"] },
        |_| FromWorker::Begun,
        |_| FromWorker::Exited { code: 0, cpu_us: 0, written: 0 },
        |_| FromWorker::Refused { hitch: Hitch::Start, text: "no" },
        |_| FromWorker::Stays { pids: vec![1], count: 1 },
        // It became no program.
        |id| done(id, End::Replaced),
        |id| FromWorker::Output { execution: id, stream: Stream::Log, bytes: TEXT },
        |id| FromWorker::Output { execution: id, stream: Stream::Stdout, bytes: b"" },
    ];
    for message in odd {
        let (outcome, _, reused) = against(move |execution, socket| say(socket, &message(execution))).await;
        refused(&outcome);
        assert!(!reused);
    }
}

#[tokio::test]
async fn noise_and_giants_end_it() {
    let piece = vec![0; PART_BYTES_MAX + 1];
    let (outcome, ..) = against(move |execution, socket| {
        say(socket, &FromWorker::Output { execution, stream: Stream::Stdout, bytes: &piece });
    })
    .await;
    refused(&outcome);
    for packet in
        [vec![0xff; 10], vec![2; MESSAGE_BYTES_MAX], vec![2; MESSAGE_BYTES_MAX + 1000], vec![2, 0xff, 0xff]]
    {
        let (outcome, ..) = against(move |_, socket| drop(send(socket, &packet))).await;
        refused(&outcome);
    }
    // A good message with something behind it.
    let (outcome, ..) = against(|execution, socket| {
        let mut buffer = packet_buffer();
        let packet = encode(&done(execution, End::Exit(0)), &mut buffer).expect("fits");
        drop(send(socket, &[packet, b"x"].concat()));
    })
    .await;
    refused(&outcome);
}

#[tokio::test]
async fn a_request_without_end_ends_it() {
    let (outcome, ..) = against(|execution, socket| {
        let part = Part { more: true, bytes: &[b' '; PART_BYTES_MAX] };
        for _ in 0..=REQUEST_BYTES_MAX / PART_BYTES_MAX {
            say(socket, &FromWorker::Call { execution, function: Function::Exec, part });
        }
    })
    .await;
    refused(&outcome);
    // Half a request, and then something else.
    for other in [
        |id| FromWorker::Read { execution: id, handle: 1, limit: 1 },
        |id| FromWorker::Write { execution: id, handle: 1, bytes: b"x" },
    ] as [fn(u64) -> FromWorker<'static>; 2]
    {
        let (outcome, ..) = against(move |execution, socket| {
            let part = Part { more: true, bytes: b"{" };
            say(socket, &FromWorker::Call { execution, function: Function::Facts, part });
            say(socket, &other(execution));
        })
        .await;
        refused(&outcome);
    }
    // One request, two functions.
    let (outcome, ..) = against(|execution, socket| {
        for function in [Function::Facts, Function::Exec] {
            say(socket, &FromWorker::Call { execution, function, part: Part { more: true, bytes: b"{" } });
        }
    })
    .await;
    refused(&outcome);
}

#[tokio::test]
async fn grants_are_the_stubs_own() {
    let (outcome, _, reused) = against(|execution, socket| {
        let part = Part { more: false, bytes: br#"{"argv":["/bin/true"],"replace":true}"# };
        say(socket, &FromWorker::Call { execution, function: Function::Exec, part });
        let mut buffer = packet_buffer();
        let read = receive(socket, &mut buffer).expect("an answer");
        let answer: ToWorker<'_> = decode(&buffer[..read]).expect("a message");
        assert!(matches!(answer, ToWorker::Reply { .. }), "nothing was started");
        say(socket, &done(execution, End::Exit(1)));
    })
    .await;
    assert_eq!((outcome.status, reused), (Status::Refused, true));
}

#[tokio::test]
async fn a_closed_channel_is_a_death_even_if_the_process_lives() {
    let (outcome, _, reused) =
        against(|_, socket| rustix::net::shutdown(socket, rustix::net::Shutdown::Both).expect("shut")).await;
    assert_eq!(outcome.problem.map(|problem| problem.code), Some("worker.died".to_owned()));
    assert!(!reused);
    assert!(outcome.ms < u64::try_from(Duration::from_secs(5).as_millis()).expect("fits"));
}
