//! Keys and certificates of hosts, and how messages name them.

use crate::driver::unix_now;
use russh::keys::ssh_key::{self, Certificate, HashAlg, PublicKey};

/// Whether a host certificate is good for a name: signed by one of the authorities, a host certificate,
/// for this name, and valid now.
pub fn check_host_certificate(
    certificate: &Certificate,
    name: &str,
    authorities: &[PublicKey],
    now_unix: u64,
) -> Result<(), String> {
    if !certificate.cert_type().is_host() {
        return Err("it is a user's certificate".to_owned());
    }
    let principals = certificate.valid_principals();
    if !principals.is_empty() && !principals.iter().any(|principal| principal == name) {
        return Err(format!("it is for {}", principals.join(", ")));
    }
    let fingerprints: Vec<_> = authorities.iter().map(|key| key.fingerprint(HashAlg::Sha256)).collect();
    certificate
        .validate_at(now_unix, fingerprints.iter())
        .map_err(|_| "no known authority signed it, or its time is over".to_owned())
}

/// The same for wire forms: whether `key` is such a certificate.
pub fn is_host_certificate(key: &[u8], name: &str, authorities: &[Vec<u8>]) -> bool {
    let authorities: Vec<PublicKey> =
        authorities.iter().filter_map(|authority| PublicKey::from_bytes(authority).ok()).collect();
    Certificate::from_bytes(key)
        .is_ok_and(|certificate| check_host_certificate(&certificate, name, &authorities, unix_now()).is_ok())
}

/// The key type's name of a public key in wire form: `ssh-ed25519`.
pub fn key_type(wire: &[u8]) -> Option<String> {
    let length = usize::try_from(u32::from_be_bytes(*wire.first_chunk::<4>()?)).ok()?;
    let name = wire.get(4..4usize.checked_add(length)?)?;
    String::from_utf8(name.to_vec()).ok()
}

/// `ssh-ed25519 SHA256:...`, for messages about keys.
pub fn fingerprint(wire: &[u8]) -> String {
    match PublicKey::from_bytes(wire) {
        Ok(key) => format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256)),
        Err(_) => match Certificate::from_bytes(wire) {
            Ok(certificate) => format!(
                "certificate {}",
                ssh_key::PublicKey::from(certificate.public_key().clone()).fingerprint(HashAlg::Sha256)
            ),
            Err(_) => "of an unknown kind".to_owned(),
        },
    }
}
