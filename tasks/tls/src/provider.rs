//! The cryptography that rustls is given: crates of RustCrypto and dalek, which compile to WebAssembly without a C compiler.
//! This only joins them. Why these: docs/decisions/0036-tls-in-tasks.md.

mod hash;
mod kx;
mod sign;
mod suites;
mod verify;

pub use sign::load as load_key;
pub use verify::{OF_ANYBODY, RSA_BITS_MIN, RSA_BITS_MIN_OF_ANYBODY};

use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom};
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;

#[derive(Debug)]
struct Random;

impl SecureRandom for Random {
    fn fill(&self, into: &mut [u8]) -> Result<(), GetRandomFailed> {
        getrandom::fill(into).map_err(|_| GetRandomFailed)
    }
}

#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(
        &self,
        key: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn rustls::sign::SigningKey>, rustls::Error> {
        sign::load(&key)
    }
}

pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: suites::ALL.to_vec(),
        kx_groups: kx::ALL.to_vec(),
        signature_verification_algorithms: verify::ALGORITHMS,
        secure_random: &Random,
        key_provider: &Keys,
    }
}

#[cfg(test)]
mod tests;
