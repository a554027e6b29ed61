//! SHA-2, and HMAC of it.

use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::crypto::hmac::{Hmac as HmacOf, Key, Tag};
use sha2::digest::Digest;
use sha2::{Sha256, Sha384};

pub struct Sha256Hash;
pub struct Sha384Hash;
pub struct Sha256Hmac;
pub struct Sha384Hmac;

struct Running<D>(D);

impl<D: Digest + Clone + Send + Sync + 'static> Context for Running<D> {
    fn fork_finish(&self) -> Output {
        Output::new(&self.0.clone().finalize())
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Running(self.0.clone()))
    }

    fn finish(self: Box<Self>) -> Output {
        Output::new(&self.0.finalize())
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// With the beginning of the message taken in.
struct Keyed<M>(M);

impl<M: Mac + Clone + Send + Sync> Key for Keyed<M> {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut mac = self.0.clone();
        mac.update(first);
        for bytes in middle {
            mac.update(bytes);
        }
        mac.update(last);
        Tag::new(&mac.finalize().into_bytes())
    }

    fn tag_len(&self) -> usize {
        M::output_size()
    }
}

macro_rules! sha {
    ($hash:ident, $hmac:ident, $sha:ty, $algorithm:expr) => {
        impl Hash for $hash {
            fn start(&self) -> Box<dyn Context> {
                Box::new(Running(<$sha>::new()))
            }

            fn hash(&self, bytes: &[u8]) -> Output {
                Output::new(&<$sha>::digest(bytes))
            }

            fn output_len(&self) -> usize {
                <$sha as Digest>::output_size()
            }

            fn algorithm(&self) -> HashAlgorithm {
                $algorithm
            }
        }

        impl HmacOf for $hmac {
            fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
                // As HMAC has it: a key is filled up to a block, one that is longer is hashed before.
                let mut block = hmac::digest::Key::<Hmac<$sha>>::default();
                match block.get_mut(..key.len()) {
                    Some(part) => part.copy_from_slice(key),
                    None => {
                        let short = <$sha>::digest(key);
                        for (to, from) in block.iter_mut().zip(short) {
                            *to = from;
                        }
                    }
                }
                Box::new(Keyed(Hmac::<$sha>::new(&block)))
            }

            fn hash_output_len(&self) -> usize {
                <$sha as Digest>::output_size()
            }
        }
    };
}

sha!(Sha256Hash, Sha256Hmac, Sha256, HashAlgorithm::SHA256);
sha!(Sha384Hash, Sha384Hmac, Sha384, HashAlgorithm::SHA384);
