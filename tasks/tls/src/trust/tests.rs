use super::*;

use crate::provider::provider;
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};

/// A certificate of version 1 with the key in it, and no more than that.
fn certificate(key: &p256::SecretKey) -> CertificateDer<'static> {
    let part = |tag: u8, inside: &[u8]| [&[tag, u8::try_from(inside.len()).unwrap()], inside].concat();
    let (spki, empty) = (key.public_key().to_public_key_der().unwrap(), part(0x30, b""));
    let before = [part(2, b"\x01"), empty.repeat(4)].concat();
    let inside = part(0x30, &[&before, spki.as_bytes()].concat());
    part(0x30, &[&inside[..], &empty, b"\x03\x01\x00"].concat()).into()
}

/// Until both agree, or one of them breaks off.
fn greet(config: &ClientConfig, served: CertifiedKey) -> Result<(), rustls::Error> {
    let mut client: Connection =
        ClientConnection::new(Arc::new(config.clone()), "a".try_into().unwrap()).unwrap().into();
    let server = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(served)));
    let mut server: Connection = ServerConnection::new(Arc::new(server)).unwrap().into();
    while client.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn anybody_needs_the_key_of_what_he_shows() {
    let keys = [[1; 32], [2; 32]].map(|bytes| p256::SecretKey::from_slice(&bytes).unwrap());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        for (key, is_own) in keys.iter().zip([true, false]) {
            let der = PrivatePkcs8KeyDer::from(key.to_pkcs8_der().unwrap().as_bytes().to_vec());
            let key = provider().key_provider.load_private_key(der.into()).unwrap();
            let said = greet(&config, CertifiedKey::new(vec![certificate(&keys[0])], key));
            match said {
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) => {
                    assert!(!is_own && why.is::<BadHandshake>(), "{version:?} {why}");
                }
                said => assert!(is_own && said.is_ok(), "{version:?} {said:?}"),
            }
        }
    }
}
