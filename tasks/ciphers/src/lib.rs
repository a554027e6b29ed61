//! What encrypts and decrypts records: AES-GCM and ChaCha20-Poly1305, in the forms of TLS 1.2 and 1.3.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, NONCE_LEN, Nonce, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
    Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError, make_tls12_aad, make_tls13_aad,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion};

const TAG_BYTES: usize = 16;
/// The part of a nonce that is written in front of each record of TLS 1.2 with AES-GCM.
const EXPLICIT_BYTES: usize = 8;
/// The rest of it, which comes of the handshake.
const SALT_BYTES: usize = NONCE_LEN - EXPLICIT_BYTES;
/// What a record may hold, bytes.
const PLAIN_BYTES_MAX: usize = 16_384;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Aes128,
    Aes256,
    ChaCha20,
}

enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes256(Box<Aes256Gcm>),
    ChaCha20(Box<ChaCha20Poly1305>),
}

impl Algorithm {
    const fn key_bytes(self) -> usize {
        match self {
            Algorithm::Aes128 => 16,
            Algorithm::Aes256 | Algorithm::ChaCha20 => 32,
        }
    }

    /// None: the key has not the length that was asked for. Then nothing is sent or understood.
    fn cipher(self, key: &AeadKey) -> Option<Cipher> {
        let key = key.as_ref();
        match self {
            Algorithm::Aes128 => {
                Aes128Gcm::new_from_slice(key).ok().map(|cipher| Cipher::Aes128(cipher.into()))
            }
            Algorithm::Aes256 => {
                Aes256Gcm::new_from_slice(key).ok().map(|cipher| Cipher::Aes256(cipher.into()))
            }
            Algorithm::ChaCha20 => {
                ChaCha20Poly1305::new_from_slice(key).ok().map(|cipher| Cipher::ChaCha20(cipher.into()))
            }
        }
    }
}

impl Cipher {
    fn seal(&self, nonce: [u8; NONCE_LEN], about: &[u8], bytes: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        let (nonce, bytes) = (&nonce.into(), bytes.into());
        let tag = match self {
            Cipher::Aes128(cipher) => cipher.encrypt_inout_detached(nonce, about, bytes),
            Cipher::Aes256(cipher) => cipher.encrypt_inout_detached(nonce, about, bytes),
            Cipher::ChaCha20(cipher) => cipher.encrypt_inout_detached(nonce, about, bytes),
        };
        tag.ok().map(Into::into)
    }

    /// In place; how many bytes it was.
    fn open(&self, nonce: [u8; NONCE_LEN], about: &[u8], sealed: &mut [u8]) -> Option<usize> {
        let plain = sealed.len().checked_sub(TAG_BYTES)?;
        let (bytes, tag) = sealed.split_at_mut_checked(plain)?;
        let tag = <[u8; TAG_BYTES]>::try_from(&*tag).ok()?;
        let (nonce, bytes, tag) = (&nonce.into(), bytes.into(), &tag.into());
        match self {
            Cipher::Aes128(cipher) => cipher.decrypt_inout_detached(nonce, about, bytes, tag),
            Cipher::Aes256(cipher) => cipher.decrypt_inout_detached(nonce, about, bytes, tag),
            Cipher::ChaCha20(cipher) => cipher.decrypt_inout_detached(nonce, about, bytes, tag),
        }
        .ok()?;
        (plain <= PLAIN_BYTES_MAX + 1).then_some(plain)
    }
}

/// One direction of a connection.
struct Records {
    cipher: Option<Cipher>,
    iv: Iv,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Tls13,
    /// TLS 1.2, with a part of the nonce in front of each record or without.
    Tls12 {
        explicit: bool,
    },
}

impl Records {
    fn explicit_bytes(&self) -> usize {
        if self.form == (Form::Tls12 { explicit: true }) { EXPLICIT_BYTES } else { 0 }
    }
}

impl MessageEncrypter for Records {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let cipher = self.cipher.as_ref().ok_or(Error::EncryptError)?;
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        let nonce = Nonce::new(&self.iv, number).0;
        let explicit = self.explicit_bytes();
        payload.extend_from_slice(nonce.get(NONCE_LEN - explicit..).unwrap_or_default());
        payload.extend_from_chunks(&message.payload);
        let (kind, version, tag) = if self.form == Form::Tls13 {
            payload.extend_from_slice(&message.typ.to_array());
            let tag = cipher.seal(nonce, &make_tls13_aad(length), payload.as_mut());
            (ContentType::ApplicationData, ProtocolVersion::TLSv1_2, tag)
        } else {
            let about = make_tls12_aad(number, message.typ, message.version, message.payload.len());
            let bytes = payload.as_mut().get_mut(explicit..).ok_or(Error::EncryptError)?;
            (message.typ, message.version, cipher.seal(nonce, &about, bytes))
        };
        payload.extend_from_slice(&tag.ok_or(Error::EncryptError)?);
        Ok(OutboundOpaqueMessage::new(kind, version, payload))
    }

    fn encrypted_payload_len(&self, payload: usize) -> usize {
        let kind = usize::from(self.form == Form::Tls13);
        self.explicit_bytes() + payload + kind + TAG_BYTES
    }
}

impl MessageDecrypter for Records {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let cipher = self.cipher.as_ref().ok_or(Error::DecryptError)?;
        let mut nonce = Nonce::new(&self.iv, number).0;
        let explicit = self.explicit_bytes();
        let payload = &mut message.payload;
        if self.form == Form::Tls13 {
            let about = make_tls13_aad(payload.len());
            let plain = cipher.open(nonce, &about, payload).ok_or(Error::DecryptError)?;
            payload.truncate(plain);
            return message.into_tls13_unpadded_message();
        }
        let inside =
            payload.len().checked_sub(explicit + TAG_BYTES).filter(|inside| *inside <= PLAIN_BYTES_MAX);
        let inside = inside.ok_or(Error::DecryptError)?;
        if explicit > 0 {
            // The server's own count is what it says, not what was expected.
            let said = payload.get(..EXPLICIT_BYTES).ok_or(Error::DecryptError)?;
            let salt = self.iv.as_ref().get(..SALT_BYTES).ok_or(Error::DecryptError)?;
            for (to, from) in nonce.iter_mut().zip(salt.iter().chain(said)) {
                *to = *from;
            }
        }
        let about = make_tls12_aad(number, message.typ, message.version, inside);
        let sealed = payload.get_mut(explicit..).ok_or(Error::DecryptError)?;
        let plain = cipher.open(nonce, &about, sealed).ok_or(Error::DecryptError)?;
        payload.copy_within(explicit..explicit + plain, 0);
        payload.truncate(plain);
        Ok(message.into_plain_message())
    }
}

impl Tls13AeadAlgorithm for Algorithm {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Records { cipher: self.cipher(&key), iv, form: Form::Tls13 })
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Records { cipher: self.cipher(&key), iv, form: Form::Tls13 })
    }

    fn key_len(&self) -> usize {
        self.key_bytes()
    }

    /// For the kernel's TLS, which nobody here uses.
    fn extract_keys(
        &self,
        _key: AeadKey,
        _iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

impl Algorithm {
    fn tls12(self, key: &AeadKey, parts: [&[u8]; 2]) -> Records {
        let mut iv = [0; NONCE_LEN];
        for (to, from) in iv.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        let form = Form::Tls12 { explicit: self != Algorithm::ChaCha20 };
        Records { cipher: self.cipher(key), iv: Iv::from(iv), form }
    }
}

impl Tls12AeadAlgorithm for Algorithm {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(self.tls12(&key, [iv, extra]))
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(self.tls12(&key, [iv, &[]]))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        let explicit_nonce_len = if *self == Algorithm::ChaCha20 { 0 } else { EXPLICIT_BYTES };
        KeyBlockShape {
            enc_key_len: self.key_bytes(),
            fixed_iv_len: NONCE_LEN - explicit_nonce_len,
            explicit_nonce_len,
        }
    }

    fn extract_keys(
        &self,
        _key: AeadKey,
        _iv: &[u8],
        _explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

#[cfg(test)]
mod tests;
