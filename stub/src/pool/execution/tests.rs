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
use std::process::Command;
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
        order: Hash::of(b""),
        secrets: None,
    };
    Job::prepare(ready, "web1", &NodePolicy::default(), 0).expect("a good order")
}

/// Runs one execution against `hostile`, which gets its number and the worker's end of the channel.
async fn against(hostile: impl FnOnce(u64, &OwnedFd) + Send + 'static) -> (Outcome, Vec<u8>, bool) {
    let job = job();
    let (channel, theirs) = Channel::pair().expect("a pair");
    let process = Command::new("sleep").arg("1000").spawn().expect("sleep runs");
    let pid = process.id();
    let worker = Worker::impostor(&job, channel, Kin::new(process));
    let other = std::thread::spawn(move || {
        let mut buffer = packet_buffer();
        let read = receive(&theirs, &mut buffer).expect("an order");
        let ToWorker::Start { execution, .. } = decode(&buffer[..read]).expect("a message") else {
            panic!("the first order is to start")
        };
        hostile(execution, &theirs);
        theirs
    });
    let pool = Pool::with_program(PathBuf::from("/no/such/program"));
    let (events, mut receiver) = mpsc::channel(64);
    let (outcome, spare) = carry_out(&pool.shared, &job, &Rc::default(), worker, &events, pending()).await;
    drop(events);
    let mut stdout = Vec::new();
    while let Some(event) = receiver.recv().await {
        if let JobEvent::Output { bytes, .. } = event {
            stdout.extend(bytes);
        }
    }
    other.join().expect("the impostor does not fail");
    let reused = spare.is_some();
    if !reused {
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "the worker was killed and waited for"
        );
    }
    (outcome, stdout, reused)
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
    let odd: [fn(u64) -> FromWorker<'static>; 7] = [
        |_| FromWorker::Loaded { walls: vec!["all"] },
        |_| FromWorker::Begun,
        |_| FromWorker::Exited { code: 0, cpu_us: 0 },
        |_| FromWorker::Refused { hitch: Hitch::Start, text: "no" },
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
