//! Secrets on a target: opened with a key that this process made and nobody else has, and taken out of what leaves.

use waft_proto::id::NodeId;
use waft_proto::node::ReadyRun;
use waft_proto::run::Problem;
use zeroize::Zeroizing;

pub use waft_proto::secret::redact::{Patterns, Redactor};
pub use waft_proto::secret::sealed::Bound;
pub use waft_proto::secret::{Secret, Secrets};

/// The key that secrets are sealed to. In memory only, and overwritten at the end.
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    pub fn new() -> std::io::Result<Key> {
        let mut key = Zeroizing::new([0; 32]);
        // So few bytes come at once, or not at all.
        let got = rustix::rand::getrandom(&mut *key, rustix::rand::GetRandomFlags::empty())?;
        if got == key.len() { Ok(Key(key)) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }

    pub fn public(&self) -> [u8; 32] {
        waft_proto::secret::sealed::public(&self.0)
    }

    /// What was sent for a run on `node`; nothing when nothing was.
    pub fn open(&self, ready: &ReadyRun, node: NodeId) -> Result<Secrets, Problem> {
        let bound = Bound { run: ready.envelope.run, node, order: ready.order };
        let sealed = ready.secrets.as_deref();
        sealed.map_or(Ok(Secrets::default()), |sealed| {
            waft_proto::secret::sealed::open(sealed, &self.0, &bound)
        })
    }
}
