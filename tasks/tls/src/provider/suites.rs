//! What is offered to a server. ChaCha20 first: it is quicker where nothing of AES is in the machine, as in WebAssembly.

use super::hash::{Sha256Hash, Sha256Hmac, Sha384Hash, Sha384Hmac};
use rustls::crypto::tls12::PrfUsingHmac;
use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::crypto::{CipherSuiteCommon, KeyExchangeAlgorithm};
use rustls::{CipherSuite, SignatureScheme, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use waft_tasks_ciphers::Algorithm;

/// Records under one key, as the limits of AES-GCM have it.
const GCM_RECORDS_MAX: u64 = 1 << 24;

const ECDSA: &[SignatureScheme] = &[
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP256_SHA256,
];

const RSA: &[SignatureScheme] = &[
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

macro_rules! tls13 {
    ($suite:ident, $hash:expr, $hmac:expr, $aead:expr, $most:expr) => {
        SupportedCipherSuite::Tls13(&Tls13CipherSuite {
            common: CipherSuiteCommon {
                suite: CipherSuite::$suite,
                hash_provider: &$hash,
                confidentiality_limit: $most,
            },
            hkdf_provider: &HkdfUsingHmac(&$hmac),
            aead_alg: &$aead,
            quic: None,
        })
    };
}

macro_rules! tls12 {
    ($suite:ident, $sign:expr, $hash:expr, $hmac:expr, $aead:expr, $most:expr) => {
        SupportedCipherSuite::Tls12(&Tls12CipherSuite {
            common: CipherSuiteCommon {
                suite: CipherSuite::$suite,
                hash_provider: &$hash,
                confidentiality_limit: $most,
            },
            kx: KeyExchangeAlgorithm::ECDHE,
            sign: $sign,
            prf_provider: &PrfUsingHmac(&$hmac),
            aead_alg: &$aead,
        })
    };
}

#[rustfmt::skip]
pub static ALL: [SupportedCipherSuite; 9] = [
    tls13!(TLS13_CHACHA20_POLY1305_SHA256, Sha256Hash, Sha256Hmac, Algorithm::ChaCha20, u64::MAX),
    tls13!(TLS13_AES_128_GCM_SHA256, Sha256Hash, Sha256Hmac, Algorithm::Aes128, GCM_RECORDS_MAX),
    tls13!(TLS13_AES_256_GCM_SHA384, Sha384Hash, Sha384Hmac, Algorithm::Aes256, GCM_RECORDS_MAX),
    tls12!(TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, ECDSA, Sha256Hash, Sha256Hmac, Algorithm::ChaCha20, u64::MAX),
    tls12!(TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, RSA, Sha256Hash, Sha256Hmac, Algorithm::ChaCha20, u64::MAX),
    tls12!(TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, ECDSA, Sha256Hash, Sha256Hmac, Algorithm::Aes128, GCM_RECORDS_MAX),
    tls12!(TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, RSA, Sha256Hash, Sha256Hmac, Algorithm::Aes128, GCM_RECORDS_MAX),
    tls12!(TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, ECDSA, Sha384Hash, Sha384Hmac, Algorithm::Aes256, GCM_RECORDS_MAX),
    tls12!(TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, RSA, Sha384Hash, Sha384Hmac, Algorithm::Aes256, GCM_RECORDS_MAX),
];
