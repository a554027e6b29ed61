//! Keys that both sides agree on.

use p256::elliptic_curve::sec1::ToSec1Point;
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

const X25519_BYTES: usize = 32;

pub static ALL: [&dyn SupportedKxGroup; 3] = [&X25519, &P256, &P384];

fn odd() -> Error {
    PeerMisbehaved::InvalidKeyShare.into()
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|_| GetRandomFailed)?;
    Ok(bytes)
}

#[derive(Debug)]
struct X25519;

struct X25519Key {
    secret: Zeroizing<[u8; X25519_BYTES]>,
    public: [u8; X25519_BYTES],
}

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = random()?;
        let public = x25519(*secret, X25519_BASEPOINT_BYTES);
        Ok(Box::new(X25519Key { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for X25519Key {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = peer.try_into().map_err(|_| odd())?;
        let shared = Zeroizing::new(x25519(*self.secret, peer));
        // A point that makes every secret the same one.
        if shared.iter().all(|byte| *byte == 0) {
            return Err(odd());
        }
        Ok(SharedSecret::from(&shared[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

macro_rules! curve {
    ($group:ident, $key:ident, $curve:ident, $name:expr, $bytes:expr) => {
        #[derive(Debug)]
        struct $group;

        struct $key {
            secret: $curve::SecretKey,
            public: Vec<u8>,
        }

        impl SupportedKxGroup for $group {
            fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
                // Nearly all numbers of that length are good.
                let secret = loop {
                    if let Ok(secret) = $curve::SecretKey::from_slice(&*random::<$bytes>()?) {
                        break secret;
                    }
                };
                let public = secret.public_key().to_sec1_point(false).as_bytes().to_vec();
                Ok(Box::new($key { secret, public }))
            }

            fn name(&self) -> NamedGroup {
                $name
            }
        }

        impl ActiveKeyExchange for $key {
            fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
                // Uncompressed is the one form that TLS has.
                if peer.first() != Some(&4) {
                    return Err(odd());
                }
                let peer = $curve::PublicKey::from_sec1_bytes(peer).map_err(|_| odd())?;
                let shared = $curve::ecdh::diffie_hellman(self.secret.to_nonzero_scalar(), peer.as_affine());
                Ok(SharedSecret::from(&shared.raw_secret_bytes()[..]))
            }

            fn pub_key(&self) -> &[u8] {
                &self.public
            }

            fn group(&self) -> NamedGroup {
                $name
            }
        }
    };
}

curve!(P256, P256Key, p256, NamedGroup::secp256r1, 32);
curve!(P384, P384Key, p384, NamedGroup::secp384r1, 48);
