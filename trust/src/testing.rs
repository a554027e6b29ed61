//! Keys and signatures for the tests of this module: made from seeds, without a file.

use signature::Signer;
use ssh_key::PrivateKey;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::{HashAlg, SshSig};

use super::time::Civil;
use super::{HASH_BYTES, TASK_NAMESPACE, task_message};

/// Of a module that nobody has.
pub(crate) const HASH: [u8; HASH_BYTES] = [7; HASH_BYTES];

pub(crate) fn ed25519(seed: u8) -> PrivateKey {
    let pair = Ed25519Keypair::from(Ed25519PrivateKey::from_bytes(&[seed; 32]));
    PrivateKey::new(KeypairData::Ed25519(pair), "").expect("a key")
}

/// `ssh-ed25519 AAAA...`
pub(crate) fn public(key: &PrivateKey) -> String {
    key.public_key().to_openssh().expect("a line").trim().to_owned()
}

pub(crate) fn seal(key: &PrivateKey, hash: &[u8; HASH_BYTES]) -> String {
    seal_in(key, TASK_NAMESPACE, hash)
}

pub(crate) fn seal_in(key: &PrivateKey, namespace: &str, hash: &[u8; HASH_BYTES]) -> String {
    seal_over(key, namespace, task_message(hash).as_bytes())
}

pub(crate) fn seal_over(key: &PrivateKey, namespace: &str, message: &[u8]) -> String {
    let data = SshSig::signed_data(namespace, HashAlg::Sha512, message).expect("data");
    let signature = key.try_sign(&data).expect("a signature");
    let made = SshSig::new(key.public_key().into(), namespace, HashAlg::Sha512, signature).expect("made");
    made.to_pem(ssh_key::LineEnding::LF).expect("written")
}

/// A machine whose clocks show UTC.
pub(crate) fn utc(civil: Civil) -> Option<u64> {
    let Civil { year, month, day, hour, minute, second } = civil;
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    super::time::parse(&text, &|_| None).ok()
}
