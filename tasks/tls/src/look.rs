//! What a server shows, whether it can be believed or not.

use crate::error::{About, of};
use crate::options::builder;
use crate::stream::{client, greeting, name};
use crate::trust::{Anybody, Verifier, bundle, dir_of_bundle};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, ProtocolVersion, SignatureScheme};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use waft_sdk::{Connection, Error};

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// In DER form, its own first.
    pub chain: Vec<Vec<u8>>,
    /// As `TLSv1.3`; none when the server ended it before that was settled.
    pub version: Option<&'static str>,
    /// Why it is not to be believed; the other error: why nobody could tell.
    pub verdict: Result<Option<Error>, Error>,
}

#[derive(Debug, Default)]
struct Kept {
    chain: Vec<Vec<u8>>,
    fault: Option<rustls::Error>,
    /// It has shown that it has the key of its certificate, or has not.
    has_signed: bool,
}

/// Asks whoever decides, keeps what he says, and goes on.
#[derive(Debug)]
struct Looker {
    judge: Option<Verifier>,
    kept: Mutex<Kept>,
}

impl Looker {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<T>(&self, said: Result<T, rustls::Error>) {
        if let Err(fault) = said {
            self.kept().fault.get_or_insert(fault);
        }
    }

    fn signed<T>(&self, said: Result<T, rustls::Error>) {
        self.note(said);
        self.kept().has_signed = true;
    }
}

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(own).chain(others).map(|one| one.to_vec()).collect();
        self.kept().chain = chain;
        if let Some(judge) = &self.judge {
            self.note(judge.verify_server_cert(own, others, name, stapled, now));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(match &self.judge {
            Some(judge) => judge.verify_tls12_signature(message, own, signed),
            None => Anybody.verify_tls12_signature(message, own, signed),
        });
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(match &self.judge {
            Some(judge) => judge.verify_tls13_signature(message, own, signed),
            None => Anybody.verify_tls13_signature(message, own, signed),
        });
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Anybody.supported_verify_schemes()
    }
}

/// Greets the server at `host`, asks for `server_name`, and says what it showed. `who`: what an error calls it.
pub fn look(
    host: &str,
    port: u16,
    server_name: &str,
    ca_path: Option<&str>,
    limit_ms: u32,
    who: &str,
) -> Result<Seen, Error> {
    let (builder, provider) = builder()?;
    let authorities = ca_path.or_else(bundle);
    // Without any it is seen all the same, and not asked of the host, which would call the task refused.
    let (judge, unknown) = match authorities {
        Some(path) => (Some(Verifier::of(path, ca_path.is_some(), provider)?), None),
        None => {
            let text = "no file of authorities can be read, so nobody can tell whether to believe it";
            let error = Error::new("tls.authorities", text)
                .hint(format!("give fs:{}, or name a file with `ca_path`", dir_of_bundle()));
            (None, Some(error))
        }
    };
    let looker = Arc::new(Looker { judge, kept: Mutex::default() });
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&looker) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let mut connection = client(Arc::new(config), name(server_name)?, who)?;
    let mut to = Connection::open_within(host, port, limit_ms)?;
    let about = About { who, authorities, has_client_cert: false };
    let mut broken = None;
    while connection.is_handshaking() && broken.is_none() {
        broken = connection.complete_io(&mut to).err();
    }
    connection.send_close_notify();
    // Whoever is gone does not hear it.
    let _ = connection.write_tls(&mut to);
    let mut kept = looker.kept();
    let chain = std::mem::take(&mut kept.chain);
    // What it says after that is not of its certificate: it may want one of this side.
    if let Some(why) = broken.filter(|_| !kept.has_signed) {
        let why = greeting(&about, why);
        if chain.is_empty() {
            return Err(why);
        }
        return Ok(Seen { chain, version: None, verdict: Ok(Some(why)) });
    }
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
        Some(ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
        _ => None,
    };
    let fault = kept.fault.take().map(|fault| of(&about, &fault));
    let verdict = match (unknown, fault) {
        (Some(unknown), None) => Err(unknown),
        (_, fault) => Ok(fault),
    };
    Ok(Seen { chain, version, verdict })
}
