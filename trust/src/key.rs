//! Public keys and certificates: reading them, naming them, and what a signature by one must be.

use signature::Verifier;
use ssh_key::public::{KeyData, PublicKey};
use ssh_key::{Algorithm, Fingerprint, HashAlg, Signature};
use waft_proto::run::Problem;

use super::wire::Wire;

/// Bytes of one public key or certificate; a certificate with RSA keys of 16384 bits has some 6 KB.
pub(crate) const KEY_BYTES_MAX: usize = 16 << 10;

/// Shorter RSA keys are not accepted: NIST SP 800-131A gives them up.
const RSA_BITS_MIN: u32 = 2048;
/// Longer ones are not verified by the library used here.
const RSA_BITS_MAX: u32 = 8192;

/// What the name of every certificate type has in it.
const CERTIFICATE: &[u8] = b"-cert-v01@";

/// Whether decoding these bytes could go more than a few certificates deep: a certificate may name another as its
/// authority, and the decoder calls itself for that. Real ones have the word once, and perhaps in a name.
pub fn is_deep(bytes: &[u8]) -> bool {
    const DEPTH_MAX: usize = 4;
    bytes.windows(CERTIFICATE.len()).filter(|window| *window == CERTIFICATE).count() > DEPTH_MAX
}

/// `TYPE BASE64` of a line.
pub(crate) fn read(kind: &str, base64: &str) -> Result<KeyData, String> {
    let unreadable = |why: &str| format!("the key is unreadable: {why}");
    if base64.len() > KEY_BYTES_MAX * 4 / 3 + 4 {
        return Err(unreadable(&format!("it has more than {KEY_BYTES_MAX} bytes")));
    }
    let bytes = data_encoding::BASE64.decode(base64.as_bytes()).map_err(|_| unreadable("it is no base64"))?;
    let told = Wire::new(&bytes).string().ok_or_else(|| unreadable("it is cut off"))?;
    if told != kind.as_bytes() {
        let told = String::from_utf8_lossy(told);
        return Err(unreadable(&format!("it is called {kind} and says of itself {told}")));
    }
    if is_deep(&bytes) {
        return Err(unreadable("it has certificates within certificates"));
    }
    PublicKey::from_bytes(&bytes).map(KeyData::from).map_err(|error| unreadable(&error.to_string()))
}

/// The name of its type, as in a public key file.
pub(crate) fn kind(key: &KeyData) -> String {
    match key {
        KeyData::Certificate(certificate) => certificate.algorithm().to_certificate_type(),
        key => key.algorithm().to_string(),
    }
}

/// `SHA256:...`; of a certificate that of its key, as ssh-keygen shows it.
pub(crate) fn fingerprint(key: &KeyData) -> Fingerprint {
    plain(key).fingerprint(HashAlg::Sha256)
}

/// The key, also of a certificate.
pub(crate) fn plain(key: &KeyData) -> &KeyData {
    match key {
        KeyData::Certificate(certificate) => certificate.public_key(),
        key => key,
    }
}

/// SSH wire form. Decoding and encoding again gives one form of each key, so that none has a second name.
pub(crate) fn wire(key: &KeyData) -> Option<Vec<u8>> {
    PublicKey::from(key.clone()).to_bytes().ok()
}

/// Whether signatures by such a key can be verified here.
pub(crate) fn is_usable(key: &KeyData) -> Result<(), String> {
    if let Some(missing) = left_out(key) {
        return Err(format!("{missing} keys are left out of this build of waft; Ed25519 keys can be used"));
    }
    let point = match key {
        KeyData::Ed25519(_) | KeyData::SkEd25519(_) => return Ok(()),
        KeyData::Ecdsa(key) => key.as_sec1_bytes(),
        KeyData::SkEcdsaSha2NistP256(key) => key.ec_point().as_bytes(),
        KeyData::Rsa(key) => {
            let bits = key.key_size();
            return match bits {
                RSA_BITS_MIN..=RSA_BITS_MAX => Ok(()),
                _ => Err(format!(
                    "RSA keys have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits here, this one has {bits}"
                )),
            };
        }
        KeyData::Certificate(_) => return Err("it is a certificate".to_owned()),
        _ => return Err(format!("keys of the type {} are not supported", key.algorithm())),
    };
    // A compressed point would be a second name of the same key.
    let is_uncompressed = point.first() == Some(&4);
    is_uncompressed.then_some(()).ok_or_else(|| "its point is not written as OpenSSH writes it".to_owned())
}

/// What this build cannot verify. A stub may be built without, for its size.
fn left_out(key: &KeyData) -> Option<&'static str> {
    match key {
        KeyData::Ecdsa(_) | KeyData::SkEcdsaSha2NistP256(_) if cfg!(not(feature = "nist")) => Some("ECDSA"),
        KeyData::Rsa(_) if cfg!(not(feature = "rsa")) => Some("RSA"),
        _ => None,
    }
}

/// Whether the key (of a certificate: its key) made that signature over `data`.
pub(crate) fn is_signed(key: &KeyData, data: &[u8], signature: &Signature) -> Result<(), Problem> {
    let key = plain(key);
    let unusable = |why: String| Problem::new("signature.algorithm", why);
    is_usable(key).map_err(|why| unusable(format!("its key cannot be used: {why}")))?;
    let algorithm = signature.algorithm();
    match (&algorithm, key) {
        (Algorithm::Rsa { hash: Some(_) }, KeyData::Rsa(_)) => {}
        (Algorithm::Rsa { hash: None }, KeyData::Rsa(_)) => {
            return Err(unusable(
                "it was made with SHA-1 (ssh-rsa); rsa-sha2-256 and rsa-sha2-512 count".to_owned(),
            ));
        }
        (algorithm, key) if *algorithm == key.algorithm() => {}
        (algorithm, key) => {
            return Err(unusable(format!(
                "it is of the type {algorithm} and its key of the type {}",
                key.algorithm()
            )));
        }
    }
    key.verify(data, signature).map_err(|_| {
        Problem::new(
            "signature.bytes",
            "it is not over these bytes: what was signed or the signature was changed",
        )
    })
}
