//! Keys and certificates of hosts, and how messages name them.

use crate::driver::unix_now;
use russh::keys::ssh_key::{self, Certificate, HashAlg, PublicKey};

/// Whether a host certificate is good for a name: signed by one of the authorities, a host certificate without critical
/// options, for this name, and valid now.
pub fn check_host_certificate(
    certificate: &Certificate,
    name: &str,
    authorities: &[PublicKey],
    now_unix: u64,
) -> Result<(), String> {
    if !certificate.cert_type().is_host() {
        return Err("it is a user's certificate".to_owned());
    }
    // Who does not know one must refuse the certificate, and for hosts there are none to know.
    if let Some(option) = certificate.critical_options().keys().next() {
        return Err(format!("it has the critical option {option}, and no host certificate may have one"));
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

#[cfg(test)]
mod tests {
    use super::check_host_certificate;
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::certificate::{Builder, CertType};
    use russh::keys::ssh_key::private::Ed25519Keypair;

    const HOST: &str = "web-1.example";
    const NOW: u64 = 1_000_000;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    /// The verdict on a certificate that is good but for what `change` does to it.
    fn verdict(change: impl FnOnce(&mut Builder)) -> Result<(), String> {
        let mut builder =
            Builder::new([7; 16], key(1).public_key().clone(), NOW - 1, NOW + 1).expect("times in order");
        builder.cert_type(CertType::Host).expect("a kind").valid_principal(HOST).expect("a name");
        change(&mut builder);
        let certificate = builder.sign(&key(2)).expect("a certificate");
        check_host_certificate(&certificate, HOST, &[key(2).public_key().clone()], NOW)
    }

    #[test]
    fn a_critical_option_is_refused_and_an_extension_is_not() {
        assert_eq!(verdict(|_| {}), Ok(()));
        let extension = verdict(|builder| {
            builder.extension("new@example.com", "").expect("an extension");
        });
        assert_eq!(extension, Ok(()));
        for option in ["force-command", "source-address", "new@example.com"] {
            let why = verdict(|builder| {
                builder.critical_option(option, "10.0.0.0/8").expect("an option");
            });
            let why = why.expect_err("it cannot be kept");
            assert!(why.contains(&format!("the critical option {option},")), "{why}");
        }
    }
}
