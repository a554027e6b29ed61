//! Whom a task believes.

use crate::options::{certificates, file};
use crate::provider::OF_ANYBODY;
use crate::spki;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, PeerMisbehaved, RootCertStore, SignatureScheme,
};
use std::fmt;
use std::sync::Arc;
use waft_sdk::Error;

/// Where systems keep the authorities that they believe: Debian and Alpine; Fedora and its kin; SUSE; others. First the file
/// itself: a link to one outside of what is granted cannot be followed.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The first that is there and may be read. Not asked of the host: what is not granted is no fault as long as there is another.
pub fn bundle<'a>() -> Option<&'a str> {
    BUNDLES.into_iter().find(|path| std::fs::metadata(path).is_ok_and(|found| found.is_file()))
}

/// Of the most usual of them.
pub fn dir_of_bundle() -> &'static str {
    BUNDLES[0].rsplit_once('/').map_or("/", |(dir, _)| dir)
}

/// That, or why there is none.
pub fn needed_bundle<'a>() -> Result<&'a str, Error> {
    if let Some(path) = bundle() {
        return Ok(path);
    }
    // So that the host says what is missing.
    for path in BUNDLES {
        waft_sdk::file::stat(path)?;
    }
    let text = format!("the target has no file of authorities: looked for {}", BUNDLES.join(", "));
    Err(Error::new("tls.authorities", text).hint("`ca_path` names another"))
}

fn authorities(path: &str, is_named: bool) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let found = certificates(path, &file(path)?)?;
    let mut roots = RootCertStore::empty();
    // A bundle of a system may have one that nobody understands.
    let (good, _) = roots.add_parsable_certificates(found.iter().cloned());
    if good == 0 {
        return Err(Error::new("tls.file", format!("no certificate in {path} can be read")));
    }
    // Of a bundle nobody means one certificate.
    let named = if is_named { found } else { Vec::new() };
    Ok((roots, named))
}

/// A handshake is not signed with the key of the certificate, or with one that is too short. Those who signed the certificate
/// are another matter, for which rustls has the same word.
#[derive(Debug)]
pub struct BadHandshake;

impl fmt::Display for BadHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the handshake is not signed with the key of the certificate")
    }
}

impl std::error::Error for BadHandshake {}

fn bad_handshake() -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(BadHandshake))).into()
}

fn of_handshake(
    said: Result<HandshakeSignatureValid, rustls::Error>,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    said.map_err(|why| match why {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => bad_handshake(),
        why => why,
    })
}

/// Believes what authorities have signed, and the certificates that were named themselves.
#[derive(Debug)]
pub struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl Verifier {
    pub fn of(path: &str, is_named: bool, provider: Arc<CryptoProvider>) -> Result<Verifier, Error> {
        let (roots, named) = authorities(path, is_named)?;
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(
            |why| Error::new("tls.file", format!("the authorities of the target cannot be used: {why}")),
        )?;
        Ok(Verifier { chains, named })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let said = self.chains.verify_server_cert(own, others, name, stapled, now);
        match said {
            // What a server signed for itself is often marked as an authority. It has ended or not before this is said.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))))
                if why.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
            {
                if !self.named.contains(own) {
                    return Err(CertificateError::UnknownIssuer.into());
                }
                verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            said => said,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        of_handshake(self.chains.verify_tls12_signature(message, own, signed))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        of_handshake(self.chains.verify_tls13_signature(message, own, signed))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Believes whatever is shown: `validate_certs` is false. Who answers still has to have the key of it; nothing else of the
/// certificate is looked at, so it may be as old as what shows it.
#[derive(Debug)]
pub struct Anybody;

fn key<'a>(own: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, rustls::Error> {
    spki::of(own).ok_or_else(|| CertificateError::BadEncoding.into())
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = key(own)?;
        let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        let Some((_, algorithms)) = OF_ANYBODY.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme)
        else {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        };
        let is_good = |algorithm| key.verify_signature(algorithm, message, signed.signature()).is_ok();
        if algorithms.iter().any(|algorithm| is_good(*algorithm)) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        Err(bad_handshake())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        of_handshake(verify_tls13_signature_with_raw_key(message, &key(own)?, signed, &OF_ANYBODY))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        OF_ANYBODY.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
