//! What a task was told about TLS, and what comes of it.

use crate::error;
use crate::provider::{load_key, provider};
use crate::spki;
use crate::trust::{self, Anybody, Verifier};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, WantsVerifier};
use std::io::Read;
use std::sync::{Arc, OnceLock};
use waft_sdk::Error;

/// A file of certificates or of a key, bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// As the parameters of these names in Ansible's uri.
#[derive(Clone, Debug)]
pub struct Options {
    pub validate_certs: bool,
    pub ca_path: Option<String>,
    pub client_cert: Option<String>,
    pub client_key: Option<String>,
}

/// Made of the options when the first connection needs it: without TLS no file is read.
pub struct Tls {
    options: Options,
    config: OnceLock<Arc<ClientConfig>>,
    /// The same without a certificate of this side.
    nameless: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    pub fn new(options: Options) -> Result<Tls, Error> {
        for (name, path) in [
            ("ca_path", &options.ca_path),
            ("client_cert", &options.client_cert),
            ("client_key", &options.client_key),
        ] {
            if let Some(path) = path.as_ref().filter(|path| !path.starts_with('/')) {
                let text = format!("`{name}` is `{path}`, which is not absolute");
                return Err(Error::new(&format!("params.{name}"), text));
            }
        }
        if options.client_key.is_some() && options.client_cert.is_none() {
            let text =
                "`client_key` is given without `client_cert`, the file with the certificate of that key";
            return Err(Error::new("params.client_key", text));
        }
        Ok(Tls { options, config: OnceLock::new(), nameless: OnceLock::new() })
    }

    /// `is_own`: of the server that the operator named. Another, where a redirect leads, is not shown who asks.
    pub(crate) fn config(&self, is_own: bool) -> Result<Arc<ClientConfig>, Error> {
        let place = if is_own { &self.config } else { &self.nameless };
        if let Some(config) = place.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make(is_own)?);
        Ok(Arc::clone(place.get_or_init(|| config)))
    }

    /// Where the authorities are that are believed; none when everybody is.
    pub(crate) fn authorities(&self) -> Option<&str> {
        self.options
            .validate_certs
            .then(|| self.options.ca_path.as_deref().or_else(trust::bundle).unwrap_or_default())
    }

    pub(crate) fn has_client_cert(&self) -> bool {
        self.options.client_cert.is_some()
    }

    fn make(&self, is_own: bool) -> Result<ClientConfig, Error> {
        let (builder, provider) = builder()?;
        let builder = if self.options.validate_certs {
            let named = self.options.ca_path.as_deref();
            let path = named.map_or_else(trust::needed_bundle, Ok)?;
            let verifier = Verifier::of(path, named.is_some(), provider)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody))
        };
        let mut config = match self.options.client_cert.as_ref().filter(|_| is_own) {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let shown = client(path, self.options.client_key.as_deref())?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

pub fn builder() -> Result<(ConfigBuilder<ClientConfig, WantsVerifier>, Arc<CryptoProvider>), Error> {
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|why| error::other("this task", &why))?;
    Ok((builder, provider))
}

/// A file of the target. The host says what is not granted.
pub fn file(path: &str) -> Result<Vec<u8>, Error> {
    let failed = |why: &dyn std::fmt::Display| {
        Error::new("tls.file", format!("{path} cannot be read: {why}"))
            .hint("the user as whom the task runs needs the right to read it")
    };
    if waft_sdk::file::stat(path)?.kind.is_none() {
        let text = format!("there is no file {path} on the target");
        return Err(
            Error::new("tls.file", text).hint("`ca_path`, `client_cert` and `client_key` name files there")
        );
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|why| failed(&why))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|why| failed(&why))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let text = format!(
            "{path} has more than {FILE_BYTES_MAX} bytes: expected certificates or a key in PEM form"
        );
        return Err(Error::new("tls.file", text));
    }
    Ok(bytes)
}

/// Certificates in PEM form.
pub fn certificates(path: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let wrong = |why: &str| {
        let text = format!("{path} holds no certificates in PEM form: {why}");
        Error::new("tls.file", text).hint("such a file has lines `-----BEGIN CERTIFICATE-----`")
    };
    match found {
        Ok(found) if found.is_empty() => Err(wrong("there is no `BEGIN CERTIFICATE` in it")),
        Ok(found) => Ok(found),
        Err(why) => Err(wrong(&why.to_string())),
    }
}

fn client(path: &str, key_path: Option<&str>) -> Result<CertifiedKey, Error> {
    let bytes = file(path)?;
    let chain = certificates(path, &bytes)?;
    // Both may be in one file, as in Ansible.
    let (key_path, bytes) = match key_path {
        None => (path, bytes),
        Some(path) => (path, file(path)?),
    };
    let wrong = |text: String| Error::new("tls.client_key", text);
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        wrong(format!("{key_path} holds no private key in PEM form that can be read"))
            .hint("an encrypted key cannot be used; `client_key` names the file, when it is not in that of `client_cert`")
    })?;
    let key = load_key(&key).map_err(|why| {
        let text = format!("the certificate in {path} cannot be shown with its key: {why}");
        Error::new("tls.client_cert", text)
    })?;
    let own = chain.first().and_then(|own| spki::of(own));
    // Not by rustls: that has to understand all of the certificate.
    if own.zip(key.public_key()).is_some_and(|(own, key)| !spki::is_same(&own, &key)) {
        return Err(wrong(format!("{key_path} holds another key than that of the certificate in {path}"))
            .hint("the first certificate in `client_cert` is that of the key; those in between follow it"));
    }
    Ok(CertifiedKey::new(chain, key))
}
