//! What the stub and its workers and supervisors say to each other, over one `SOCK_SEQPACKET` pair each: a
//! packet is a message, postcard-encoded, at most [`MESSAGE_BYTES_MAX`]. Both ends are of one build, so
//! there is no version; but the stub reads a worker's packets as it reads a stranger's, since a task may
//! have taken the worker over. Longer things come in [`Part`]s, which the receiver counts.
//!
//! ```text
//!   stub -> worker       Load, then per execution: Start, Input*, and after a Call Reply+ or Replaced,
//!                        after a Read Data or Reply+, after a Write Wrote or Reply+
//!   worker -> stub       in a dry run a Layer per writable directory; Loaded or Rejected, then per execution:
//!                        (Output | Call | Read | Write)*, Done
//!   stub -> supervisor   Supervise, Input*
//!   supervisor -> stub   Begun or Refused, then Exited or Signalled, then the end of the socket
//!   stub -> supervisor   Stay, after Exited
//!   supervisor -> stub   Stays
//! ```

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use waft_proto::envelope::Wall;
use waft_proto::limits::CHUNK_BYTES_MAX;
use waft_proto::msg::{Engine, Stream};

/// A packet, bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = CHUNK_BYTES_MAX + 16 * 1024;
/// Bytes of one part, or of one piece of output.
pub(crate) const PART_BYTES_MAX: usize = CHUNK_BYTES_MAX;
/// What a task may ask with one call, bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 1 << 20;
/// What a call may answer, bytes: two captured streams of a program, as JSON.
pub(crate) const REPLY_BYTES_MAX: usize = 3 << 20;
/// Text that a worker says about a failure, bytes; the rest is cut off.
pub(crate) const TEXT_BYTES_MAX: usize = 4096;

const _: () = assert!(PART_BYTES_MAX + TEXT_BYTES_MAX < MESSAGE_BYTES_MAX, "a part and its envelope fit");

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker<'a> {
    /// First, to a process that shall be a worker. Its artifact is its stdout.
    Load(Load),
    /// First, to a process that shall be a supervisor. Stdout and stderr are the program's.
    /// A [`crate::program::Order`] in parts.
    Supervise(#[serde(borrow)] Part<'a>),
    Start {
        execution: u64,
        args: Vec<&'a str>,
        env: Vec<(&'a str, &'a str)>,
        #[serde(borrow)]
        params: Part<'a>,
    },
    /// More of `params` or of an order.
    Input(#[serde(borrow)] Part<'a>),
    /// The answer to a call, JSON.
    Reply {
        execution: u64,
        #[serde(borrow)]
        part: Part<'a>,
    },
    /// The answer to a `Read`; empty at the end.
    Data {
        execution: u64,
        #[serde(with = "raw")]
        bytes: &'a [u8],
    },
    /// The answer to a `Write`: that many bytes were taken.
    Wrote { execution: u64, bytes: u32 },
    /// The answer to an `exec`: the execution is a program now, and the guest's is over.
    Replaced { execution: u64 },
    /// To a supervisor whose program has ended well: what is left below stays.
    Stay,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) engine: Engine,
    /// The artifact is a component's.
    pub(crate) component: bool,
    pub(crate) wall: Wall,
    pub(crate) dirs: Vec<Dir>,
    pub(crate) limits: Limits,
    /// In a dry run no directory is writable; an overlay may be.
    pub(crate) dry: Option<Dry>,
}

/// What a dry run writes to in place of the granted directories.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Dry {
    /// Which of the directories are granted for writing, by their place in the list.
    pub writable: Vec<u32>,
    /// All that is written, bytes.
    pub bytes: u64,
}

/// A granted directory, preopened under the same absolute path.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Dir {
    pub path: String,
    pub writable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory, bytes.
    pub memory_bytes: u64,
    /// Each of stdout and stderr, bytes; what is written beyond it is counted and dropped.
    pub out_bytes: u64,
    /// Open files of the worker, number.
    pub files: u64,
    /// The stub counts what it writes, and has to be able to look.
    pub counted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Part<'a> {
    /// Another part follows.
    pub(crate) more: bool,
    #[serde(with = "raw")]
    pub(crate) bytes: &'a [u8],
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker<'a> {
    Loaded {
        walls: Vec<&'a str>,
    },
    Rejected {
        fault: Fault,
        text: &'a str,
    },
    /// Of a dry run: an overlay stands for this directory, and with the message come [`LAYER_FDS`] descriptors; or none
    /// does, and why.
    Layer {
        dir: u32,
        missing: &'a str,
    },
    Output {
        execution: u64,
        stream: Stream,
        #[serde(with = "raw")]
        bytes: &'a [u8],
    },
    Call {
        execution: u64,
        function: Function,
        #[serde(borrow)]
        part: Part<'a>,
    },
    /// The next bytes behind a handle, at most `limit`.
    Read {
        execution: u64,
        handle: u32,
        limit: u32,
    },
    Write {
        execution: u64,
        handle: u32,
        #[serde(with = "raw")]
        bytes: &'a [u8],
    },
    Done {
        execution: u64,
        #[serde(borrow)]
        end: End<'a>,
        stdout_bytes: u64,
        stderr_bytes: u64,
    },
    Begun,
    /// The program could not be started.
    Refused {
        hitch: Hitch,
        text: &'a str,
    },
    /// With the processor time of the program and what it waited for, microseconds, and what they wrote to disk, bytes.
    Exited {
        code: u32,
        cpu_us: u64,
        written: u64,
    },
    Signalled {
        signal: i32,
        cpu_us: u64,
        written: u64,
    },
    /// The answer to [`ToWorker::Stay`]: the first of them by number, and how many there are.
    Stays {
        pids: Vec<u32>,
        count: u32,
    },
}

/// What kept a program from being started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Hitch {
    Start,
    /// There is no such directory to start it in.
    Cwd,
    /// It could not be confined.
    Confine,
}

/// Why a worker cannot run its module at all. The stub makes the sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fault {
    /// The walls could not be raised.
    Walls,
    /// The artifact cannot be loaded here.
    Artifact,
    /// It imports what no host has; the text is the name.
    Import,
    /// It has no `_start`, or does not export `wasi:cli/run`.
    Start,
    /// It needs more memory or larger tables from the beginning than it may have.
    Memory,
    /// A granted directory cannot be opened; the text names it.
    Dir,
    /// A dry run of a component, and a granted directory has no overlay; the text names it.
    Dry,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Function {
    Facts,
    Exec,
    File,
    Net,
    Task,
    Blob,
    Secret,
    Emit,
}

impl Function {
    /// Its name in `waft_v1`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Function::Facts => "facts",
            Function::Exec => "exec",
            Function::File => "file",
            Function::Net => "net",
            Function::Task => "task",
            Function::Blob => "blob",
            Function::Secret => "secret",
            Function::Emit => "emit",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum End<'a> {
    Exit(u32),
    Trap(&'a str),
    Replaced,
    /// A dry run asked for what it cannot keep from the real files: WASI's error number.
    Unkept(u32),
}

/// Byte strings in one piece instead of number by number.
pub(crate) mod raw {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'de [u8], D::Error> {
        Deserialize::deserialize(from)
    }
}

/// `bytes` as parts; always at least one.
pub(crate) fn parts(bytes: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let count = bytes.len().div_ceil(PART_BYTES_MAX).max(1);
    (0..count).map(move |at| {
        let from = at * PART_BYTES_MAX;
        let to = bytes.len().min(from + PART_BYTES_MAX);
        Part { more: at + 1 < count, bytes: bytes.get(from..to).unwrap_or_default() }
    })
}

/// The longest beginning of `text` that is at most [`TEXT_BYTES_MAX`].
pub(crate) fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

/// A packet into `buffer`, which is [`packet_buffer`].
pub(crate) fn encode<'b>(message: &impl Serialize, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let limit = buffer.len().min(MESSAGE_BYTES_MAX);
    postcard::to_slice(message, &mut buffer[..limit])
        .map(|packet| &*packet)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a message is longer than its limit"))
}

pub(crate) fn decode<'b, M: Deserialize<'b>>(packet: &'b [u8]) -> io::Result<M> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "a message that cannot be decoded");
    if packet.len() > MESSAGE_BYTES_MAX {
        return Err(broken());
    }
    match postcard::take_from_bytes(packet) {
        Ok((message, [])) => Ok(message),
        _ => Err(broken()),
    }
}

/// Room for one packet, and for one byte that no packet may have.
pub(crate) fn packet_buffer() -> Box<[u8]> {
    vec![0; MESSAGE_BYTES_MAX + 1].into_boxed_slice()
}

pub(crate) fn send(socket: impl AsFd, packet: &[u8]) -> io::Result<()> {
    loop {
        match rustix::net::send(&socket, packet, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => return sent.map(drop).map_err(Into::into),
        }
    }
}

/// What comes with [`FromWorker::Layer`]: the directory with what was written, the real one, both as the task sees
/// them.
pub(crate) const LAYER_FDS: usize = 3;

/// A packet with descriptors.
pub(crate) fn send_with(socket: impl AsFd, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LAYER_FDS))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !with.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(packet)], &mut with, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Like [`receive`], with the descriptors that came along.
pub(crate) fn receive_with(
    socket: impl AsFd,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LAYER_FDS))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut with, flags)?;
    for message in with.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = message {
            descriptors.extend(more);
        }
    }
    Ok(received.bytes)
}

/// The bytes of the next packet; none at the end.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::net::recv(&socket, &mut *buffer, RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            received => return received.map(|(read, _)| read).map_err(Into::into),
        }
    }
}

/// The worker's end of the channel: blocking.
#[derive(Debug)]
pub(crate) struct Link {
    socket: OwnedFd,
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Link {
    pub(crate) fn new(socket: OwnedFd) -> Link {
        Link { socket }
    }

    pub(crate) fn send(&self, message: &FromWorker<'_>) -> io::Result<()> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        send(&self.socket, encode(message, &mut buffer)?)
    }

    pub(crate) fn send_with(&self, message: &FromWorker<'_>, with: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        send_with(&self.socket, encode(message, &mut buffer)?, with)
    }

    /// The next message, or none when the stub has closed its end.
    pub(crate) fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<ToWorker<'b>>> {
        match receive(&self.socket, buffer)? {
            0 => Ok(None),
            read => decode(buffer.get(..read).unwrap_or_default()).map(Some),
        }
    }

    /// A long thing, whose first part is here, to its end.
    pub(crate) fn rest_of_input(&self, first: Part<'_>) -> io::Result<Vec<u8>> {
        let (mut bytes, mut more) = (first.bytes.to_vec(), first.more);
        let mut buffer = packet_buffer();
        while more {
            match self.receive(&mut buffer)? {
                Some(ToWorker::Input(part)) => {
                    bytes.extend_from_slice(part.bytes);
                    more = part.more;
                }
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(bytes)
    }
}
