//! For tests and fuzzing: an execution whose worker says whatever it is told to, in this process and without another.

use super::carry_out;
use crate::policy::NodePolicy;
use crate::pool::channel::Channel;
use crate::pool::worker::Worker;
use crate::pool::{Job, JobEvent, Pool};
use crate::process::Kin;
use crate::secret::{Secret, Secrets};
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
/// What is always granted beside that: a blob, facts, a task and a program that are not there.
const BLOB: &[u8] = b"the bytes of a blob";
/// The program. Nothing is started, and yet a request of it is read to its end.
pub const PROGRAM: &str = "/nothing/there";
/// In requests these stand for a directory of which `in` is granted, for one beside it, and for a port that is granted.
const IN: &str = "/g/";
const OUT: &str = "/o/";
const PORT: &str = "4242";

/// What is granted besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    pub grants: &'a [String],
    /// The value of the secret `db`.
    pub secret: Option<&'a str>,
}

/// A request in which the names of a place are put: seeds cannot know them.
pub fn placed(request: &[u8], top: &str, port: u16) -> Vec<u8> {
    String::from_utf8(request.to_vec()).map_or_else(
        |bad| bad.into_bytes(),
        |text| {
            let text = text.replace(IN, &format!("{top}/in/")).replace(OUT, &format!("{top}/out/"));
            text.replace(PORT, &port.to_string()).into_bytes()
        },
    )
}

/// The grants of a place.
pub fn grants(top: &str, port: u16) -> Vec<String> {
    vec![format!("fs:{top}/in:rw"), format!("fs:{top}/in/ro:ro"), format!("net:127.0.0.1:{port}")]
}

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

fn job(given: &Given<'_>) -> Job {
    let blob = Hash::of(BLOB);
    let envelope = Envelope {
        run: RunId([0; 16]),
        task: "probe".to_owned(),
        targets: Vec::new(),
        module: Hash::of(b""),
        artifacts: Vec::new(),
        params: Hash::of(b""),
        grants: [
            format!("blob:{blob}"),
            "call:other".to_owned(),
            format!("out:{OUT_BYTES}"),
            format!("exec:{PROGRAM} **"),
            "env:NAME".to_owned(),
            "secret:db".to_owned(),
            "facts".to_owned(),
        ]
        .into_iter()
        .chain(given.grants.iter().cloned())
        .collect(),
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
        workers: BTreeMap::new(),
        order: Hash::of(b""),
        secrets: None,
    };
    let job = Job::prepare(ready, "web1", &NodePolicy::default(), 0).expect("a good order");
    let Some(value) = given.secret else { return job };
    let mut secrets = Secrets::default();
    let secret = Secret::new(value.as_bytes().to_vec().into(), true).expect("a value");
    secrets.insert("db", secret).expect("a name");
    job.with_secrets(&secrets)
}

/// An execution to whose stub these packets are said, one after the other, and then nothing more.
pub async fn hear(packets: &[&[u8]], given: &Given<'_>) -> Heard {
    let job = job(given);
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
    use super::{Given, Heard, OUT_BYTES, call, done, grants, hear, is_done, placed};
    use std::collections::BTreeSet;
    use std::path::Path;
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
            let heard = hear(&packets, &Given::default()).await;
            holds(&heard, &packets);
            assert_eq!(heard.replies.len(), 1, "{function}: {heard:?}");
            let reply: serde_json::Value = serde_json::from_str(&heard.replies[0]).expect("JSON");
            assert!(reply["error"]["code"].is_string(), "{function}: {reply}");
            functions += 1;
        }
        assert_eq!(functions, waft_engine::imports::WAFT_FUNCTIONS.len() - 3, "all but take, read and write");
    }

    /// The seeds reach each function behind its grant: what they ask for is decided and done, not only refused.
    #[tokio::test]
    async fn each_function_has_a_seed_that_its_grant_lets_through() {
        let top = tempfile::tempdir().expect("a directory");
        for dir in ["in", "in/ro", "in/dir", "out"] {
            std::fs::create_dir(top.path().join(dir)).expect("a directory");
        }
        for file in ["in/file", "in/ro/file", "out/file"] {
            std::fs::write(top.path().join(file), file).expect("written");
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let top = top.path().to_str().expect("a plain path");
        let granted = grants(top, port);
        let (mut asked, mut done_functions, mut refused) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/calls");
        for seed in std::fs::read_dir(&seeds).expect("the seeds").flatten() {
            let bytes = std::fs::read(seed.path()).expect("a seed");
            let (&[function, cut], request) = bytes.split_first_chunk().expect("a function and a place");
            assert_eq!(cut, 0, "{:?}", seed.path());
            let secret = Some("a secret value");
            let request = placed(request, top, port);
            let packets = call(function, &[&request]).expect("a function");
            let end = done();
            let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).chain([end.as_slice()]).collect();
            let heard = hear(&packets, &Given { grants: &granted, secret }).await;
            assert_eq!(heard.replies.len(), 1, "{:?}: {heard:?}", seed.path());
            let reply: serde_json::Value = serde_json::from_str(&heard.replies[0]).expect("JSON");
            let code = reply["error"]["code"].as_str().unwrap_or_default().to_owned();
            asked.insert(function);
            match code.as_str() {
                // What is not there was looked for behind the grant.
                "" | "exec.start" | "exec.not_found" | "task.missing" => done_functions.extend([function]),
                _ => refused.push(code),
            }
        }
        let functions = (0..=u8::MAX).take_while(|number| call(*number, &[b""]).is_some()).count();
        assert_eq!((asked.len(), done_functions.len()), (functions, functions), "{refused:?}");
        // Some are ways out.
        assert!(refused.iter().any(|code| code == "file.escape"), "{refused:?}");
        assert_eq!(std::fs::read_to_string(Path::new(top).join("out/file")).expect("a file"), "out/file");
    }

    #[tokio::test]
    async fn silence_is_a_death() {
        let heard = hear(&[], &Given::default()).await;
        holds(&heard, &[]);
        assert_eq!(heard.outcome.status, Status::Failed);
    }
}
