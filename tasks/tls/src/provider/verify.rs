//! Whose signatures are understood.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// An RSA key below this signs nothing that is believed, bits.
pub const RSA_BITS_MIN: usize = 2048;
/// And below this nothing at all: where nobody is verified old appliances are, whose keys are no better.
pub const RSA_BITS_MIN_OF_ANYBODY: usize = 1024;

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha256 => Sha256::digest(message).to_vec(),
            Hash::Sha384 => Sha384::digest(message).to_vec(),
            Hash::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Key {
    P256,
    P384,
    Ed25519,
    Pkcs1,
    Pss,
}

#[derive(Debug)]
struct Algorithm {
    key: Key,
    rsa_bits_min: usize,
    hash: Hash,
    key_id: AlgorithmIdentifier,
    id: AlgorithmIdentifier,
}

impl SignatureVerificationAlgorithm for Algorithm {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        self.verify(key, message, signature).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key_id
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.id
    }
}

impl Algorithm {
    fn verify(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
        let hashed = || self.hash.of(message);
        match self.key {
            Key::P256 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
                let signature = p256::ecdsa::Signature::from_der(signature).ok()?;
                key.verify_prehash(&hashed(), &signature).ok()
            }
            Key::P384 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
                let signature = p384::ecdsa::Signature::from_der(signature).ok()?;
                key.verify_prehash(&hashed(), &signature).ok()
            }
            Key::Ed25519 => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
                let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
                key.verify_strict(message, &signature).ok()
            }
            Key::Pkcs1 | Key::Pss => {
                let public = RsaPublicKey::from_pkcs1_der(key).ok()?;
                if public.size() * 8 < self.rsa_bits_min {
                    return None;
                }
                let hashed = hashed();
                match (self.key, self.hash) {
                    (Key::Pss, Hash::Sha256) => public.verify(Pss::<Sha256>::new(), &hashed, signature),
                    (Key::Pss, Hash::Sha384) => public.verify(Pss::<Sha384>::new(), &hashed, signature),
                    (Key::Pss, Hash::Sha512) => public.verify(Pss::<Sha512>::new(), &hashed, signature),
                    (_, Hash::Sha256) => public.verify(Pkcs1v15Sign::new::<Sha256>(), &hashed, signature),
                    (_, Hash::Sha384) => public.verify(Pkcs1v15Sign::new::<Sha384>(), &hashed, signature),
                    (_, Hash::Sha512) => public.verify(Pkcs1v15Sign::new::<Sha512>(), &hashed, signature),
                }
                .ok()
            }
        }
    }
}

macro_rules! algorithm {
    ($key:ident, $hash:ident, $key_id:ident, $id:ident, $bits:expr) => {
        &Algorithm {
            key: Key::$key,
            rsa_bits_min: $bits,
            hash: Hash::$hash,
            key_id: alg_id::$key_id,
            id: alg_id::$id,
        }
    };
}

macro_rules! algorithms {
    ($bits:expr) => {
        WebPkiSupportedAlgorithms {
            all: &[
                algorithm!(P256, Sha256, ECDSA_P256, ECDSA_SHA256, $bits),
                algorithm!(P256, Sha384, ECDSA_P256, ECDSA_SHA384, $bits),
                algorithm!(P384, Sha256, ECDSA_P384, ECDSA_SHA256, $bits),
                algorithm!(P384, Sha384, ECDSA_P384, ECDSA_SHA384, $bits),
                algorithm!(Ed25519, Sha512, ED25519, ED25519, $bits),
                algorithm!(Pkcs1, Sha256, RSA_ENCRYPTION, RSA_PKCS1_SHA256, $bits),
                algorithm!(Pkcs1, Sha384, RSA_ENCRYPTION, RSA_PKCS1_SHA384, $bits),
                algorithm!(Pkcs1, Sha512, RSA_ENCRYPTION, RSA_PKCS1_SHA512, $bits),
                algorithm!(Pss, Sha256, RSA_ENCRYPTION, RSA_PSS_SHA256, $bits),
                algorithm!(Pss, Sha384, RSA_ENCRYPTION, RSA_PSS_SHA384, $bits),
                algorithm!(Pss, Sha512, RSA_ENCRYPTION, RSA_PSS_SHA512, $bits),
            ],
            // The first of each is the one that TLS 1.3 has; 1.2 leaves the curve open.
            mapping: &[
                (
                    SignatureScheme::ECDSA_NISTP384_SHA384,
                    &[
                        algorithm!(P384, Sha384, ECDSA_P384, ECDSA_SHA384, $bits),
                        algorithm!(P256, Sha384, ECDSA_P256, ECDSA_SHA384, $bits),
                    ],
                ),
                (
                    SignatureScheme::ECDSA_NISTP256_SHA256,
                    &[
                        algorithm!(P256, Sha256, ECDSA_P256, ECDSA_SHA256, $bits),
                        algorithm!(P384, Sha256, ECDSA_P384, ECDSA_SHA256, $bits),
                    ],
                ),
                (SignatureScheme::ED25519, &[algorithm!(Ed25519, Sha512, ED25519, ED25519, $bits)]),
                (
                    SignatureScheme::RSA_PSS_SHA512,
                    &[algorithm!(Pss, Sha512, RSA_ENCRYPTION, RSA_PSS_SHA512, $bits)],
                ),
                (
                    SignatureScheme::RSA_PSS_SHA384,
                    &[algorithm!(Pss, Sha384, RSA_ENCRYPTION, RSA_PSS_SHA384, $bits)],
                ),
                (
                    SignatureScheme::RSA_PSS_SHA256,
                    &[algorithm!(Pss, Sha256, RSA_ENCRYPTION, RSA_PSS_SHA256, $bits)],
                ),
                (
                    SignatureScheme::RSA_PKCS1_SHA512,
                    &[algorithm!(Pkcs1, Sha512, RSA_ENCRYPTION, RSA_PKCS1_SHA512, $bits)],
                ),
                (
                    SignatureScheme::RSA_PKCS1_SHA384,
                    &[algorithm!(Pkcs1, Sha384, RSA_ENCRYPTION, RSA_PKCS1_SHA384, $bits)],
                ),
                (
                    SignatureScheme::RSA_PKCS1_SHA256,
                    &[algorithm!(Pkcs1, Sha256, RSA_ENCRYPTION, RSA_PKCS1_SHA256, $bits)],
                ),
            ],
        }
    };
}

pub static ALGORITHMS: WebPkiSupportedAlgorithms = algorithms!(RSA_BITS_MIN);
/// Of handshakes where nobody is verified.
pub static OF_ANYBODY: WebPkiSupportedAlgorithms = algorithms!(RSA_BITS_MIN_OF_ANYBODY);
