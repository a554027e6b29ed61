//! Messages: what nodes say to each other. `docs/protocol.md` has a paragraph on each: payload, who may
//! send it, what is verified first, what follows. Encoded with postcard, in this order of variants; a new
//! variant goes to the end and needs a new version.

use crate::id::{Hash, NodeId, NodeRange, RunId};
use crate::limits::MESSAGES_PER_FRAME_MAX;
use crate::run::{Problem, Status, TargetState};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a child writes before its first frame, so that its parent can tell it from a noisy login.
pub const PREAMBLE: &[u8] = b"\nWAFT-LINK\n";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Msg {
    /// Child to parent, first.
    Hello(Box<Hello>),
    /// Parent to child, first. Does not wait for the hello when the parent chose the stub itself.
    Welcome(Welcome),
    Ping,
    Pong,
    /// That many more bulk bytes may be sent.
    Credit(u32),
    /// The link ends, and why.
    Bye(Problem),
    /// A blob comes, from this offset on.
    Offer {
        hash: Hash,
        kind: BlobKind,
        bytes: u64,
    },
    /// Child to parent: send this blob.
    Want {
        hash: Hash,
        kind: BlobKind,
    },
    /// Parent to child: nobody above has it.
    Missing {
        hash: Hash,
    },
    /// Child to parent: it has this blob no longer (quota), or never could keep it.
    Dropped {
        hash: Hash,
    },
    /// Bytes of an offered blob, in order. Bulk.
    Chunk {
        hash: Hash,
        offset: u64,
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// To nodes below.
    Down {
        to: Vec<NodeRange>,
        order: Order,
    },
    /// From a node below to the root.
    Up {
        from: NodeId,
        report: Report,
    },
    /// As `Chunk`, deflated: `size` bytes. Bulk.
    Packed {
        hash: Hash,
        offset: u64,
        size: u32,
        dictionary: Option<Dictionary>,
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// As `Chunk`: so many bytes stand in another blob, which the child has. Bulk.
    Copy {
        hash: Hash,
        offset: u64,
        from: Hash,
        at: u64,
        bytes: u64,
    },
}

impl Msg {
    /// Whether it is of a blob that is under way.
    pub fn is_of_blob(&self) -> bool {
        matches!(self, Msg::Chunk { .. } | Msg::Packed { .. } | Msg::Copy { .. })
    }
}

/// Bytes of a blob that the child has: as if they stood before those that were deflated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dictionary {
    pub from: Hash,
    pub at: u64,
    pub bytes: u32,
}

/// Byte strings as one length and the bytes, not as a sequence of integers.
pub(crate) mod bytes {
    use alloc::vec::Vec;
    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }
        from.deserialize_byte_buf(Bytes)
    }
}

/// What a blob is for. Asked for and kept together with it: a user's file can never be had as an artifact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum BlobKind {
    Task,
    Artifact,
    File,
    Stub,
    /// The program that runs components.
    Worker,
}

impl BlobKind {
    pub const ALL: [BlobKind; 5] =
        [BlobKind::Task, BlobKind::Artifact, BlobKind::File, BlobKind::Stub, BlobKind::Worker];

    pub fn word(self) -> &'static str {
        match self {
            BlobKind::Task => "task",
            BlobKind::Artifact => "artifact",
            BlobKind::File => "file",
            BlobKind::Stub => "stub",
            BlobKind::Worker => "worker",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum StubKind {
    Leaf,
    Hop,
}

impl StubKind {
    pub fn word(self) -> &'static str {
        match self {
            StubKind::Leaf => "leaf",
            StubKind::Hop => "hop",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// As `uname -m` prints it on Linux.
    pub fn word(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    pub fn parse(word: &str) -> Option<Arch> {
        match word {
            "x86_64" | "amd64" => Some(Arch::X86_64),
            "aarch64" | "arm64" => Some(Arch::Aarch64),
            _ => None,
        }
    }

    /// The architecture this code was compiled for.
    pub fn here() -> Option<Arch> {
        if cfg!(target_arch = "x86_64") {
            Some(Arch::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Arch::Aarch64)
        } else {
            None
        }
    }
}

/// How wasmtime lays out linear memory: `fast` reserves 4 GiB of addresses each, `small` does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Profile {
    Fast,
    Small,
}

/// What an artifact was compiled for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Engine {
    pub arch: Arch,
    pub profile: Profile,
}

/// What a policy is worth on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Policy {
    Enforced,
    Advisory,
    None,
}

impl Policy {
    pub fn word(self) -> &'static str {
        match self {
            Policy::Enforced => "enforced",
            Policy::Advisory => "advisory",
            Policy::None => "none",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub version_min: u16,
    pub version_max: u16,
    pub kind: StubKind,
    pub engine: Engine,
    /// The stub's own release.
    pub release: String,
    pub hostname: String,
    pub kernel: String,
    pub user: String,
    pub uid: u32,
    pub pid: u32,
    /// How the stub came here: `memfd`, `dir:/dev/shm`, `installed`, `local`.
    pub delivery: String,
    pub policy: Policy,
    /// Walls that executions will stand behind here.
    pub walls: Vec<String>,
    /// X25519 key of this process: secrets are sealed to it.
    pub seal_key: [u8; 32],
    /// Of an installed stub with a key of its own.
    pub identity: Option<Identity>,
    /// It takes modules and no artifacts: it compiles itself.
    pub compiles: bool,
}

/// The key of a node, which outlives the stub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// ed25519.
    pub key: [u8; 32],
    /// By that key, over `seal_key` (see [`crate::seal::identity_text`]).
    #[serde(with = "bytes")]
    pub signature: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub version_min: u16,
    pub version_max: u16,
    /// The child, and the last of its descendants.
    pub node: NodeId,
    pub last: NodeId,
    /// The target's name, as its tasks see it.
    pub name: String,
    /// ed25519 key that signs run envelopes.
    pub controller: [u8; 32],
}

/// From the root to nodes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Order {
    Run(Run),
    Cancel {
        run: RunId,
    },
    /// To one hop: make these your children.
    Dial(Dial),
    /// To one hop: the answer to `Report::Sign`.
    Signed {
        node: NodeId,
        signature: Result<Vec<u8>, Problem>,
    },
    /// End, with everything below.
    Stop,
    /// Answer with `Report::Pong`: measures the way through all hops.
    Ping {
        nonce: u32,
    },
    /// To one node, before its run: the secrets of it, sealed to the node's key.
    Secrets {
        run: RunId,
        #[serde(with = "bytes")]
        sealed: Vec<u8>,
    },
}

/// An execution on each of the nodes it is sent to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// A postcard-encoded [`crate::envelope::Envelope`].
    #[serde(with = "bytes")]
    pub envelope: Vec<u8>,
    /// ed25519 over the envelope's bytes, by the key in `Welcome`.
    #[serde(with = "bytes")]
    pub signature: Vec<u8>,
    pub input: Input,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input {
    Inline(#[serde(with = "bytes")] Vec<u8>),
    /// A blob of kind `File`, this many bytes.
    Blob {
        hash: Hash,
        bytes: u64,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dial {
    pub targets: Vec<DialTarget>,
    /// Stubs to choose from, the likeliest of each kind first: its blob comes by itself, another is asked for.
    pub stubs: Vec<StubBlob>,
    /// Public keys (SSH wire form) to try, best first. The private halves stay with the controller.
    pub identities: Vec<Vec<u8>>,
    /// From the first packet to the login, milliseconds.
    pub connect_ms: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StubBlob {
    pub arch: Arch,
    pub kind: StubKind,
    /// The gzip blob.
    pub hash: Hash,
    pub bytes: u64,
    pub bytes_raw: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DialTarget {
    pub node: NodeId,
    pub last: NodeId,
    pub kind: StubKind,
    pub name: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Host keys (SSH wire form) known for this name. None else is accepted.
    pub host_keys: Vec<Vec<u8>>,
    /// Certificate authorities (SSH wire form) trusted for this name.
    pub host_cas: Vec<Vec<u8>>,
    pub delivery: Delivery,
}

/// How the stub is to be brought there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Delivery {
    /// Fail instead of writing to a directory.
    pub no_disk: bool,
    /// Try this directory as well, after the usual ones.
    pub dir: Option<String>,
    /// Push nothing, run this program.
    pub installed: Option<String>,
    /// What the target was the last time: spares the question.
    pub remembered: Option<Remembered>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Remembered {
    pub arch: Arch,
    /// Its reader takes exactly the stub's bytes, so that more may follow at once.
    pub exact: bool,
}

/// From a node to the root. A hop checks that `from` is the child it came from, or below it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Report {
    /// Said by the parent of the node: its hello arrived.
    Joined(Box<Hello>),
    /// Said by the parent: the node, and all below it, cannot be reached or is gone. Bulk, so that it stays
    /// behind the output and results that came before it.
    Gone {
        lost: bool,
        problem: Problem,
    },
    /// Said by the parent: the peer is silent, or back.
    Silent(bool),
    /// Said by the parent while it dials: what was learned about the target.
    Learned(Remembered),
    /// A hop asks for a signature to log in to `node`.
    Sign(Box<SignRequest>),
    State {
        run: RunId,
        state: TargetState,
    },
    /// Bulk.
    Output {
        run: RunId,
        stream: Stream,
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// Bulk, so that it stays behind the output.
    Result {
        run: RunId,
        outcome: Box<Outcome>,
        /// By the node's key, over the result (see [`crate::seal::result_text`]); empty when it has none.
        #[serde(with = "bytes")]
        proof: Vec<u8>,
    },
    /// No artifact of this run fits the node.
    NoArtifact {
        run: RunId,
        engine: Engine,
    },
    /// An order could not be passed on to these nodes.
    DeadLetter {
        to: Vec<NodeRange>,
        problem: Problem,
    },
    /// A child said something it may not say. Counted since the link began.
    Violation {
        count: u32,
        problem: Problem,
    },
    Pong {
        nonce: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Stream {
    Stdout,
    Stderr,
    /// What the task logs through the host.
    Log,
    /// How far the task is: one JSON object a line.
    Progress,
    /// What a dry run would change: one JSON object a line.
    Change,
    /// What the task asked of the host: one JSON object a line.
    Call,
}

impl Stream {
    pub fn word(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Log => "log",
            Stream::Progress => "progress",
            Stream::Change => "change",
            Stream::Call => "call",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub status: Status,
    pub exit_code: Option<u32>,
    pub signal: Option<i32>,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    pub stdout_truncated: bool,
    pub stderr_truncated: bool,
    pub ms: u64,
    pub walls: Vec<String>,
    pub problem: Option<Problem>,
    /// Of a dry run: how much it would change.
    pub changes: u32,
    /// Head of the node's own audit log, after this execution.
    pub audit: Option<Hash>,
}

impl Outcome {
    /// Of an execution that never began.
    pub fn without_start(status: Status, problem: Option<Problem>) -> Outcome {
        Outcome {
            status,
            exit_code: None,
            signal: None,
            stdout_bytes: 0,
            stderr_bytes: 0,
            stdout_truncated: false,
            stderr_truncated: false,
            ms: 0,
            walls: Vec::new(),
            problem,
            changes: 0,
            audit: None,
        }
    }
}

/// All that the controller needs to decide whether it signs (DESIGN: trust). In one message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignRequest {
    /// The node to be logged in to.
    pub node: NodeId,
    /// The host key of the session, SSH wire form (a certificate when the host showed one).
    #[serde(with = "bytes")]
    pub host_key: Vec<u8>,
    #[serde(with = "bytes")]
    pub session_id: Vec<u8>,
    /// The host's signature over the session id.
    #[serde(with = "bytes")]
    pub host_signature: Vec<u8>,
    pub user: String,
    /// SSH public key, wire form, and the signature algorithm.
    #[serde(with = "bytes")]
    pub public_key: Vec<u8>,
    pub algorithm: String,
    /// What the relay's SSH library wants signed: the user-auth request.
    #[serde(with = "bytes")]
    pub to_sign: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a frame whose messages cannot be decoded")
    }
}

impl Msg {
    /// The encoded message.
    pub fn encode(&self) -> Vec<u8> {
        // Serialization of these types into a growing vector has no failing case.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Decodes a frame's body. Memory is bounded by the body (at most 64 KiB): every element of every
    /// sequence takes at least one byte on the wire, and strings take their length.
    pub fn decode_all(mut body: &[u8]) -> Result<Vec<(Msg, usize)>, Malformed> {
        let mut messages = Vec::new();
        while !body.is_empty() {
            if messages.len() == MESSAGES_PER_FRAME_MAX {
                return Err(Malformed);
            }
            let (msg, rest) = postcard::take_from_bytes::<Msg>(body).map_err(|_| Malformed)?;
            let used = body.len() - rest.len();
            if used == 0 {
                return Err(Malformed);
            }
            messages.push((msg, used));
            body = rest;
        }
        Ok(messages)
    }
}
