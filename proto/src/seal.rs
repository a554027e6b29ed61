//! What a node with a key of its own signs, as bytes.

use crate::id::{Hash, RunId};
use crate::msg::Outcome;
use alloc::vec::Vec;
use ed25519_dalek::{Signature, VerifyingKey};

/// Begins what is signed for a hello: that the key which secrets are sealed to is the node's.
const IDENTITY: &[u8] = b"waft-node-identity-v1\n";
/// Begins what is signed for a result.
const RESULT: &[u8] = b"waft-node-result-v1\n";

/// What [`crate::msg::Identity::signature`] signs.
pub fn identity_text(seal_key: &[u8; 32]) -> Vec<u8> {
    [IDENTITY, seal_key].concat()
}

/// What the proof of a result signs: the order that was obeyed, and all that came of it.
pub fn result_text(run: RunId, envelope: Hash, output: Hash, outcome: &Outcome) -> Vec<u8> {
    let mut text = RESULT.to_vec();
    text.extend_from_slice(&run.0);
    text.extend_from_slice(&envelope.0);
    text.extend_from_slice(&output.0);
    // Serialization of these types into a growing vector has no failing case.
    text.extend_from_slice(&postcard::to_allocvec(outcome).unwrap_or_default());
    text
}

/// All output of an execution as one hash: of the bytes of each stream, in the order of the streams.
#[derive(Clone, Debug, Default)]
pub struct OutputHash([blake3::Hasher; STREAMS]);

const STREAMS: usize = 6;

impl OutputHash {
    pub fn add(&mut self, stream: crate::msg::Stream, bytes: &[u8]) {
        if let Some(hasher) = self.0.get_mut(stream as usize) {
            hasher.update(bytes);
        }
    }

    pub fn finish(&self) -> Hash {
        let mut all = blake3::Hasher::new();
        for hasher in &self.0 {
            all.update(hasher.finalize().as_bytes());
        }
        Hash(*all.finalize().as_bytes())
    }
}

/// Whether `signature` is the holder's of `key` over `text`.
pub fn is_signed(key: &[u8; 32], text: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(key), Signature::from_slice(signature)) else {
        return false;
    };
    key.verify_strict(text, &signature).is_ok()
}
