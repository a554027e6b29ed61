//! Secrets on their way to one node: sealed to the key that its process made for itself.
//!
//! X25519 with a key pair for this one message, blake3 (`derive_key`) over the shared secret and both public keys,
//! ChaCha20-Poly1305 over the padded values. What is sealed for one node, run and order opens for no other: they are
//! part of what is authenticated. Who only looks learns how many blocks of 64 bytes there are. A hop that gives its own
//! key for the node's reads all of it: against that stands `require = "end-to-end"` of the controller.

use super::{SECRET_BYTES_MAX, SECRET_NAME_BYTES_MAX, SECRETS_BYTES_MAX, SECRETS_MAX, Secret, Secrets};
use crate::id::{Hash, NodeId, RunId};
use crate::limits::BODY_BYTES_MAX;
use crate::run::Problem;
use alloc::vec::Vec;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use curve25519_dalek::montgomery::MontgomeryPoint;
use zeroize::Zeroizing;

/// What is derived is for this and nothing else.
const CONTEXT: &str = "waft 2026-11-21 secrets of a run, sealed to a node v1";
/// Lengths show in steps of this, bytes.
const PAD_BYTES: usize = 64;
const TAG_BYTES: usize = 16;
/// Of one secret besides name and value, bytes.
const ENTRY_BYTES: usize = 4;
const PLAIN_BYTES_MAX: usize =
    SECRETS_BYTES_MAX + SECRETS_MAX * (SECRET_NAME_BYTES_MAX + ENTRY_BYTES) + 1 + PAD_BYTES;
/// The longest sealed text: the key, the values, the tag. Bytes.
pub const SEALED_BYTES_MAX: usize = 32 + PLAIN_BYTES_MAX + TAG_BYTES;

const _: () = assert!(SEALED_BYTES_MAX + 64 <= BODY_BYTES_MAX, "sealed secrets fit a frame");

/// X25519 of u = 9.
const BASE: MontgomeryPoint = {
    let mut u = [0; 32];
    u[0] = 9;
    MontgomeryPoint(u)
};

/// What sealed secrets are bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    pub run: RunId,
    pub node: NodeId,
    /// blake3 of the envelope's bytes.
    pub order: Hash,
}

impl Bound {
    fn text(&self) -> [u8; 52] {
        let mut text = [0; 52];
        let parts = self.run.0.iter().chain(&self.order.0);
        let node = self.node.0.to_le_bytes();
        text.iter_mut().zip(parts.chain(&node)).for_each(|(to, from)| *to = *from);
        text
    }
}

/// kind (0 bytes, 1 text) u8, length of the name u8, length of the value u16 little-endian, name, value; then zeros.
fn write(secrets: &Secrets) -> Zeroizing<Vec<u8>> {
    // Its size is known before, so that no copy stays behind from growing.
    let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_BYTES_MAX));
    for (name, secret) in secrets.iter() {
        let value = secret.bytes();
        plain.extend([u8::from(secret.text), name.len() as u8]);
        plain.extend((value.len() as u16).to_le_bytes());
        plain.extend_from_slice(name.as_bytes());
        plain.extend_from_slice(value);
    }
    let padded = (plain.len() + 1).next_multiple_of(PAD_BYTES);
    plain.resize(padded, 0);
    plain
}

fn read(mut plain: &[u8]) -> Option<Secrets> {
    let mut secrets = Secrets::default();
    // No name is empty: this is the padding.
    while let [kind, name, low, high, rest @ ..] = plain
        && *name > 0
    {
        let (name, rest) = rest.split_at_checked(usize::from(*name))?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
        let secret = Secret::new(Zeroizing::new(value.to_vec()), *kind == 1)?;
        if !secrets.put(core::str::from_utf8(name).ok()?, secret) {
            return None;
        }
        plain = rest;
    }
    Some(secrets)
}

const _: () = assert!(SECRET_NAME_BYTES_MAX <= u8::MAX as usize && SECRET_BYTES_MAX <= u16::MAX as usize);

/// The public half of a private key, which is any 32 random bytes.
pub fn public(private: &[u8; 32]) -> [u8; 32] {
    BASE.mul_clamped(*private).to_bytes()
}

/// Seals to the holder of `to`. `ephemeral` is 32 random bytes that are used this once.
pub fn seal(
    secrets: &Secrets,
    to: &[u8; 32],
    ephemeral: &Zeroizing<[u8; 32]>,
    bound: &Bound,
) -> Result<Vec<u8>, Problem> {
    let failed = || {
        Problem::new("secret.seal", "secrets cannot be sealed to the key of this target")
            .hint("the target, or a hop before it, sent a key that is none")
    };
    let mut plain = write(secrets);
    let from = public(ephemeral);
    let key = key(ephemeral, to, &from, to).ok_or_else(failed)?;
    let tag = ChaCha20Poly1305::new(&(*key).into())
        .encrypt_inout_detached(&Nonce::default(), &bound.text(), plain.as_mut_slice().into())
        .map_err(|_| failed())?;
    Ok([&from[..], &plain, &tag].concat())
}

/// Opens what was sealed to this key for this run.
pub fn open(sealed: &[u8], private: &Zeroizing<[u8; 32]>, bound: &Bound) -> Result<Secrets, Problem> {
    let refused = || {
        Problem::new("secret.sealed", "the secrets of this run are not sealed to this target for this run")
            .hint("a hop between here and the controller changed them, or is broken")
    };
    if sealed.len() > SEALED_BYTES_MAX {
        return Err(refused());
    }
    let (from, rest) = sealed.split_first_chunk::<32>().ok_or_else(refused)?;
    let (cipher, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or_else(refused)?;
    let key = key(private, from, from, &public(private)).ok_or_else(refused)?;
    let mut plain = Zeroizing::new(cipher.to_vec());
    ChaCha20Poly1305::new(&(*key).into())
        .decrypt_inout_detached(
            &Nonce::default(),
            &bound.text(),
            plain.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .map_err(|_| refused())?;
    read(&plain).ok_or_else(refused)
}

/// `None` for a peer's key that makes the shared secret no secret.
fn key(
    private: &Zeroizing<[u8; 32]>,
    theirs: &[u8; 32],
    from: &[u8; 32],
    to: &[u8; 32],
) -> Option<Zeroizing<[u8; 32]>> {
    let shared = Zeroizing::new(MontgomeryPoint(*theirs).mul_clamped(**private).to_bytes());
    if *shared == [0; 32] {
        return None;
    }
    let mut derive = blake3::Hasher::new_derive_key(CONTEXT);
    derive.update(&*shared).update(from).update(to);
    let key = Zeroizing::new(*derive.finalize().as_bytes());
    Some(key)
}

#[cfg(test)]
mod tests;
