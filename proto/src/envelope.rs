//! The signed envelope of a run: everything that decides what an execution may do, under one signature
//! by the controller. A relay can drop it or repeat it, but not change it unseen by a node that checks.

use crate::id::{Hash, NodeRange, RunId};
use crate::limits::ENVELOPE_BYTES_MAX;
use crate::msg::Engine;
use crate::run::Problem;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Envelope {
    pub run: RunId,
    /// Names the task for logs and `WAFT_TASK`.
    pub task: String,
    pub targets: Vec<NodeRange>,
    /// The task's identity.
    pub module: Hash,
    /// What it was compiled to, per engine. The only place where this pair is stated.
    pub artifacts: Vec<Artifact>,
    /// blake3 of the parameters' bytes.
    pub params: Hash,
    /// Canonical text of each grant and limit.
    pub grants: Vec<String>,
    pub check: bool,
    /// Running time per target, milliseconds.
    pub timeout_ms: u64,
    /// Unix time, seconds. After this nobody starts it.
    pub expires: u64,
    pub nonce: [u8; 8],
    /// How much of the kernel's walls an execution needs.
    pub wall: Wall,
    /// A dry run tells what would change in files line by line.
    pub diff: bool,
    /// SSH signatures over the module, as `waft sign` makes them, without armour.
    pub task_signatures: Vec<Bytes>,
    /// Who agreed to this run, beside the one who started it.
    pub approval: Option<Approval>,
    /// Tasks that this one may call.
    pub callees: Vec<Callee>,
    /// Files that it may read as blobs. They are here before it starts.
    pub files: Vec<FileBlob>,
    /// Head of the controller's audit log before this order.
    pub audit: Option<Hash>,
}

/// Bytes that travel in one piece.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Bytes(#[serde(with = "crate::msg::bytes")] pub Vec<u8>);

/// What several people signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Approval {
    /// Canonical JSON.
    #[serde(with = "crate::msg::bytes")]
    pub document: Vec<u8>,
    /// SSH signatures over it, without armour.
    pub signatures: Vec<Bytes>,
}

/// A task that may be called, with what was given to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Callee {
    pub name: String,
    pub module: Hash,
    pub artifacts: Vec<Artifact>,
    pub grants: Vec<String>,
}

/// A blob of kind `File`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileBlob {
    pub hash: Hash,
    pub bytes: u64,
}

/// The walls around an execution, in the order in which they are raised: what each takes away is in
/// docs/threat-model.md. A result names those that stood.
pub const WALLS: [&str; 8] = [
    "no_environment",
    "no_new_privs",
    "mount_namespace",
    "capabilities",
    "landlock",
    "rlimits",
    "seccomp",
    "no_new_code",
];

/// What is done when a kernel cannot raise all walls around a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Wall {
    /// None beyond wasmtime's and the process border are raised.
    Off,
    /// Those that can be raised are; each result says which.
    #[default]
    Best,
    /// The task is refused unless all stand.
    Required,
}

impl Wall {
    pub const ALL: [Wall; 3] = [Wall::Off, Wall::Best, Wall::Required];

    pub fn word(self) -> &'static str {
        match self {
            Wall::Off => "off",
            Wall::Best => "best",
            Wall::Required => "required",
        }
    }

    pub fn read(word: &str) -> Option<Wall> {
        Wall::ALL.into_iter().find(|wall| wall.word() == word)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Artifact {
    pub engine: Engine,
    pub hash: Hash,
    pub bytes: u64,
    /// Of a component: the program that runs it, a blob of kind `Worker`. A module is run by the stub's own.
    pub worker: Option<Hash>,
}

/// A task of a run: the one that is started, or one that it may call.
#[derive(Clone, Copy, Debug)]
pub struct TaskRef<'a> {
    pub module: Hash,
    pub artifacts: &'a [Artifact],
}

impl TaskRef<'_> {
    pub fn artifact(&self, engine: Engine) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.engine == engine)
    }
}

impl Envelope {
    /// The task itself, then those that it may call.
    pub fn tasks(&self) -> impl Iterator<Item = TaskRef<'_>> {
        let own = TaskRef { module: self.module, artifacts: &self.artifacts };
        let callees =
            self.callees.iter().map(|callee| TaskRef { module: callee.module, artifacts: &callee.artifacts });
        core::iter::once(own).chain(callees)
    }

    pub fn decode(bytes: &[u8]) -> Result<Envelope, Problem> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(Problem::new("envelope.size", "the envelope of the run is longer than allowed"));
        }
        postcard::from_bytes(bytes)
            .map_err(|_| Problem::new("envelope.malformed", "the envelope of the run cannot be decoded"))
    }

    /// Encodes and signs.
    pub fn seal(&self, key: &SigningKey) -> Result<(Vec<u8>, Vec<u8>), Problem> {
        let bytes = postcard::to_allocvec(self)
            .map_err(|_| Problem::new("envelope.encode", "the envelope of the run cannot be encoded"))?;
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(Problem::new(
                "envelope.size",
                format!("grants and targets of this run take {} bytes, at most {ENVELOPE_BYTES_MAX} travel with it", bytes.len()),
            )
            .hint("give fewer grants, or run on fewer groups of targets at once"));
        }
        let signature = key.sign(&bytes).to_bytes().to_vec();
        Ok((bytes, signature))
    }

    /// Checks the signature, the input and the expiry, in that order, before anything is believed.
    pub fn open(
        bytes: &[u8],
        signature: &[u8],
        controller: &[u8; 32],
        now_unix: u64,
    ) -> Result<Envelope, Problem> {
        let refused = || {
            Problem::new("envelope.signature", "the run is not signed by the controller of this link")
                .hint("a hop between here and the controller changed the order, or is broken")
        };
        let key = VerifyingKey::from_bytes(controller).map_err(|_| refused())?;
        let signature = Signature::from_slice(signature).map_err(|_| refused())?;
        key.verify_strict(bytes, &signature).map_err(|_| refused())?;
        let envelope = Envelope::decode(bytes)?;
        if now_unix > envelope.expires {
            return Err(Problem::new(
                "envelope.expired",
                format!(
                    "the order of this run expired {} s ago by this host's clock",
                    now_unix - envelope.expires
                ),
            )
            .hint("compare the clocks of the controller and the target"));
        }
        Ok(envelope)
    }
}
