//! Signs with the key of a client's certificate.

use ed25519_dalek::Signer as _;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use p256::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey};
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::fmt;
use std::sync::Arc;

enum Kind {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
    Rsa(Box<RsaPrivateKey>),
}

struct Key(Arc<Kind>);

struct With {
    key: Arc<Kind>,
    scheme: SignatureScheme,
}

// What is secret has no text.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl fmt::Debug for With {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("With")
    }
}

/// In any of the three forms that a file has.
pub fn load(key: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, Error> {
    let kind = match key {
        PrivateKeyDer::Pkcs8(der) => of_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Sec1(der) => of_sec1(der.secret_sec1_der()),
        PrivateKeyDer::Pkcs1(der) => {
            RsaPrivateKey::from_pkcs1_der(der.secret_pkcs1_der()).ok().map(|key| Kind::Rsa(Box::new(key)))
        }
        _ => None,
    };
    match kind {
        Some(kind) => Ok(Arc::new(Key(Arc::new(kind)))),
        None => Err(Error::General("it is no key of RSA, ECDSA with P-256 or P-384, or Ed25519".to_owned())),
    }
}

fn of_pkcs8(der: &[u8]) -> Option<Kind> {
    if let Ok(key) = p256::SecretKey::from_pkcs8_der(der) {
        return Some(Kind::P256(key.into()));
    }
    if let Ok(key) = p384::SecretKey::from_pkcs8_der(der) {
        return Some(Kind::P384(key.into()));
    }
    if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_der(der) {
        return Some(Kind::Ed25519(key));
    }
    RsaPrivateKey::from_pkcs8_der(der).ok().map(|key| Kind::Rsa(Box::new(key)))
}

fn of_sec1(der: &[u8]) -> Option<Kind> {
    if let Ok(key) = p256::SecretKey::from_sec1_der(der) {
        return Some(Kind::P256(key.into()));
    }
    p384::SecretKey::from_sec1_der(der).ok().map(|key| Kind::P384(key.into()))
}

impl Kind {
    fn schemes(&self) -> &'static [SignatureScheme] {
        match self {
            Kind::P256(_) => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            Kind::P384(_) => &[SignatureScheme::ECDSA_NISTP384_SHA384],
            Kind::Ed25519(_) => &[SignatureScheme::ED25519],
            Kind::Rsa(_) => &[
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::RSA_PSS_SHA384,
                SignatureScheme::RSA_PSS_SHA512,
                SignatureScheme::RSA_PKCS1_SHA256,
                SignatureScheme::RSA_PKCS1_SHA384,
                SignatureScheme::RSA_PKCS1_SHA512,
            ],
        }
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Kind::P256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            Kind::P384(key) => {
                let signature: p384::ecdsa::Signature = key.try_sign(message).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }
            Kind::Ed25519(key) => Some(key.try_sign(message).ok()?.to_bytes().to_vec()),
            Kind::Rsa(key) => of_rsa(key, scheme, message),
        }
    }
}

/// With numbers at random in between: how long it takes says nothing of the key (RUSTSEC-2023-0071).
fn of_rsa(key: &RsaPrivateKey, scheme: SignatureScheme, message: &[u8]) -> Option<Vec<u8>> {
    let random = &mut UnwrapErr(SysRng);
    let (short, middle, long) =
        (|| Sha256::digest(message), || Sha384::digest(message), || Sha512::digest(message));
    match scheme {
        SignatureScheme::RSA_PSS_SHA256 => key.sign_with_rng(random, Pss::<Sha256>::new(), &short()),
        SignatureScheme::RSA_PSS_SHA384 => key.sign_with_rng(random, Pss::<Sha384>::new(), &middle()),
        SignatureScheme::RSA_PSS_SHA512 => key.sign_with_rng(random, Pss::<Sha512>::new(), &long()),
        SignatureScheme::RSA_PKCS1_SHA256 => {
            key.sign_with_rng(random, Pkcs1v15Sign::new::<Sha256>(), &short())
        }
        SignatureScheme::RSA_PKCS1_SHA384 => {
            key.sign_with_rng(random, Pkcs1v15Sign::new::<Sha384>(), &middle())
        }
        SignatureScheme::RSA_PKCS1_SHA512 => {
            key.sign_with_rng(random, Pkcs1v15Sign::new::<Sha512>(), &long())
        }
        _ => return None,
    }
    .ok()
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self.0.schemes().iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(With { key: Arc::clone(&self.0), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let der = match &*self.0 {
            Kind::P256(key) => p256::PublicKey::from(key.verifying_key()).to_public_key_der(),
            Kind::P384(key) => p384::PublicKey::from(key.verifying_key()).to_public_key_der(),
            Kind::Ed25519(key) => key.verifying_key().to_public_key_der(),
            Kind::Rsa(key) => key.to_public_key().to_public_key_der(),
        };
        der.ok().map(|der| der.into_vec().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match &*self.0 {
            Kind::P256(_) | Kind::P384(_) => SignatureAlgorithm::ECDSA,
            Kind::Ed25519(_) => SignatureAlgorithm::ED25519,
            Kind::Rsa(_) => SignatureAlgorithm::RSA,
        }
    }
}

impl Signer for With {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.key.sign(self.scheme, message);
        signature.ok_or_else(|| Error::General("the key signs nothing".to_owned()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
