//! For tests and fuzzing: an execution whose worker says whatever it is told to, in this process and without another.

use super::carry_out;
use crate::policy::NodePolicy;
use crate::pool::channel::Channel;
use crate::pool::worker::Worker;
use crate::pool::{Job, JobEvent, Pool};
use crate::process::Kin;
use crate::worker::wire::{
    End, FromWorker, Function, MESSAGE_BYTES_MAX, Part, ToWorker, decode, encode, packet_buffer, receive,
    send,
};
use rustix::net::Shutdown;
use std::collections::BTreeMap;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use waft_proto::envelope::{Envelope, Wall};
use waft_proto::id::{Hash, RunId};
use waft_proto::msg::{Outcome, Stream};
use waft_proto::node::ReadyRun;

/// The only execution there is.
pub const EXECUTION: u64 = 1;
/// What each stream of it may have, bytes.
pub const OUT_BYTES: usize = 4096;
/// What is granted beside that: a blob, and a task that is not there.
const BLOB: &[u8] = b"the bytes of a blob";

/// What came of it.
#[derive(Debug)]
pub struct Heard {
    pub outcome: Outcome,
    /// What was passed on, by stream, bytes.
    pub output: BTreeMap<&'static str, usize>,
    /// The answers to calls, each whole.
    pub replies: Vec<String>,
    /// It was told that it is a program now.
    pub replaced: bool,
    /// The worker would be used again.
    pub reused: bool,
}

fn job() -> Job {
    let blob = Hash::of(BLOB);
    let envelope = Envelope {
        run: RunId([0; 16]),
        task: "probe".to_owned(),
        targets: Vec::new(),
        module: Hash::of(b""),
        artifacts: Vec::new(),
        params: Hash::of(b""),
        grants: vec![format!("blob:{blob}"), "call:other".to_owned(), format!("out:{OUT_BYTES}")],
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
        blobs: BTreeMap::from([(blob, Arc::from(BLOB))]),
        order: Hash::of(b""),
        secrets: None,
    };
    Job::prepare(ready, "web1", &NodePolicy::default(), 0).expect("a good order")
}

/// An execution to whose stub these packets are said, one after the other, and then nothing more.
pub async fn hear(packets: &[&[u8]]) -> Heard {
    let job = job();
    let (channel, theirs) = Channel::pair().expect("a pair");
    rustix::io::ioctl_fionbio(&theirs, true).expect("a socket");
    // SAFETY: the socket belongs to the `AsyncFd` from here on, and is closed when that is dropped.
    let theirs = unsafe { AsyncFd::register(theirs) }.expect("a socket");
    let worker = Worker::impostor(&job, channel, Kin::nobody());
    let pool = Pool::with_program(PathBuf::from("/no/such/program"));
    let (events, mut receiver) = mpsc::channel(1);
    let execution = async {
        let (outcome, spare) =
            carry_out(&pool.shared, &job, &Rc::default(), worker, &events, pending()).await;
        drop(events);
        // The channel ends with it.
        (outcome, spare.is_some())
    };
    let mut output = BTreeMap::new();
    let listener = async {
        while let Some(event) = receiver.recv().await {
            if let JobEvent::Output { stream, bytes } = event {
                let name = match stream {
                    Stream::Stdout => "stdout",
                    Stream::Stderr | Stream::Log => "stderr",
                    _ => "other",
                };
                *output.entry(name).or_default() += bytes.len();
            }
        }
    };
    let ((outcome, reused), (), (), (replies, replaced)) =
        tokio::join!(execution, listener, speak(&theirs, packets), answers(&theirs));
    Heard { outcome, output, replies, replaced, reused }
}

/// Until nobody listens.
async fn speak(socket: &AsyncFd<OwnedFd>, packets: &[&[u8]]) {
    for packet in packets.iter().filter(|packet| !packet.is_empty()) {
        let packet = packet.get(..MESSAGE_BYTES_MAX + 1).unwrap_or(packet);
        loop {
            let Ok(mut ready) = socket.writable().await else { return };
            match ready.try_io(|socket| send(socket, packet)) {
                Ok(Ok(())) => break,
                Ok(Err(_)) => return,
                Err(_) => {}
            }
        }
    }
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
}

/// Each message of the stub must be one that a worker understands.
async fn answers(socket: &AsyncFd<OwnedFd>) -> (Vec<String>, bool) {
    let (mut replies, mut reply, mut replaced) = (Vec::new(), Vec::new(), false);
    let mut buffer = packet_buffer();
    loop {
        let Ok(mut ready) = socket.readable().await else { return (replies, replaced) };
        let read = match ready.try_io(|socket| receive(socket, &mut buffer)) {
            Ok(Ok(read @ 1..)) => read,
            Ok(_) => return (replies, replaced),
            Err(_) => continue,
        };
        match decode(&buffer[..read]).expect("a message of the stub") {
            ToWorker::Reply { execution: EXECUTION, part } => {
                reply.extend_from_slice(part.bytes);
                if !part.more {
                    let text = String::from_utf8(std::mem::take(&mut reply));
                    replies.push(text.expect("an answer is text"));
                }
            }
            ToWorker::Replaced { execution: EXECUTION } => replaced = true,
            ToWorker::Data { execution: EXECUTION, .. } | ToWorker::Start { execution: EXECUTION, .. } => {}
            _ => panic!("a message about another execution"),
        }
    }
}

fn packet(message: &FromWorker<'_>) -> Vec<u8> {
    encode(message, &mut packet_buffer()).expect("fits").to_vec()
}

/// The packets of a call in `parts`, of the function with this number; none when there are not so many functions.
pub fn call(function: u8, parts: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
    let function: Function = decode(&[function]).ok()?;
    let last = parts.len().saturating_sub(1);
    let said = |(at, bytes): (usize, &&[u8])| {
        packet(&FromWorker::Call { execution: EXECUTION, function, part: Part { more: at < last, bytes } })
    };
    Some(parts.iter().enumerate().map(said).collect())
}

/// The last word of a good worker.
pub fn done() -> Vec<u8> {
    packet(&FromWorker::Done { execution: EXECUTION, end: End::Exit(0), stdout_bytes: 0, stderr_bytes: 0 })
}

/// Whether that is one.
pub fn is_done(packet: &[u8]) -> bool {
    matches!(decode(packet), Ok(FromWorker::Done { execution: EXECUTION, end: End::Exit(_), .. }))
}

#[cfg(test)]
mod tests {
    use super::{Heard, OUT_BYTES, call, done, hear, is_done};
    use waft_proto::run::Status;

    /// What must hold whatever was said; the fuzz targets say the same.
    fn holds(heard: &Heard, packets: &[&[u8]]) {
        assert!(!heard.replaced && heard.outcome.signal.is_none(), "{heard:?}");
        assert!(!heard.reused || packets.iter().any(|packet| is_done(packet)), "{heard:?}");
        assert!(heard.output.get("stdout").is_none_or(|bytes| *bytes <= OUT_BYTES), "{heard:?}");
    }

    #[tokio::test]
    async fn every_function_answers_what_it_does_not_understand() {
        let mut functions = 0;
        for function in 0..=u8::MAX {
            let Some(packets) = call(function, &[b"{\"a\":", b"1}"]) else { break };
            let mut packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
            let end = done();
            packets.push(&end);
            let heard = hear(&packets).await;
            holds(&heard, &packets);
            assert_eq!(heard.replies.len(), 1, "{function}: {heard:?}");
            let reply: serde_json::Value = serde_json::from_str(&heard.replies[0]).expect("JSON");
            assert!(reply["error"]["code"].is_string(), "{function}: {reply}");
            functions += 1;
        }
        assert_eq!(functions, waft_engine::imports::WAFT_FUNCTIONS.len() - 3, "all but take, read and write");
    }

    #[tokio::test]
    async fn silence_is_a_death() {
        let heard = hear(&[]).await;
        holds(&heard, &[]);
        assert_eq!(heard.outcome.status, Status::Failed);
    }
}
