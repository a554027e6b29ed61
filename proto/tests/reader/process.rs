//! The Python reader as a process: its pipes, and the messages that come out of it.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use waft_proto::frame::{Decoder, Lane, encode};
use waft_proto::msg::{Msg, PREAMBLE};

/// Far more than a slow machine needs; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn python() -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/reader/waft_reader.py"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The reader as a stub, its bytes and its messages.
pub(crate) struct Reader {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    reading: Option<JoinHandle<()>>,
    tap: Decoder,
    pub(crate) said: Vec<Msg>,
}

impl Reader {
    /// The running stub, and what it wrote after the preamble so far.
    pub(crate) fn start() -> (Reader, Vec<u8>) {
        let mut child = python().args(["--link", "local"]).spawn().expect("python3 runs");
        let input = child.stdin.take();
        let mut stdout = child.stdout.take().expect("a pipe");
        let (send, output) = channel();
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count) = stdout.read(&mut buffer)
                && count > 0
                && send.send(buffer[..count].to_vec()).is_ok()
            {}
        });
        let reading = Some(reading);
        let mut reader = Reader { child, input, output, reading, tap: Decoder::default(), said: Vec::new() };
        let mut noise = Vec::new();
        let begin = loop {
            noise.extend(reader.output.recv_timeout(PATIENCE).expect("a preamble"));
            if let Some(at) = noise.windows(PREAMBLE.len()).position(|window| window == PREAMBLE) {
                break at + PREAMBLE.len();
            }
        };
        let first = noise.split_off(begin);
        reader.tap(&first);
        (reader, first)
    }

    fn tap(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = self.tap.next(&mut bytes).expect("frames") {
            let messages = Msg::decode_all(&frame.body).expect("messages");
            self.said.extend(messages.into_iter().map(|(msg, _)| msg));
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("an open link");
        input.write_all(bytes).and_then(|()| input.flush()).expect("the stub reads");
    }

    pub(crate) fn say(&mut self, msg: &Msg) {
        let lane = if msg.is_of_blob() { Lane::Bulk } else { Lane::Control };
        self.send(&frame(lane, &msg.encode()));
    }

    /// What it writes next; none when it has ended.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        match self.output.recv_timeout(PATIENCE) {
            Ok(bytes) => {
                self.tap(&bytes);
                Some(bytes)
            }
            Err(RecvTimeoutError::Timeout) => panic!("nothing in time after {:?}", self.said),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    pub(crate) fn wait(&mut self, what: &str, done: impl Fn(&Msg) -> bool) {
        while !self.said.iter().any(&done) {
            if self.next().is_none() {
                panic!("it ended before {what}: {:?}", self.end());
            }
        }
    }

    /// Its exit code and its last words.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        while self.next().is_some() {}
        let mut words = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut words).expect("text");
        (self.child.wait().expect("its end").code(), words)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.input = None;
        // It may have ended by itself, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
    }
}

pub(crate) fn frame(lane: Lane, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(lane, body, &mut out).expect("a body that fits");
    out
}
