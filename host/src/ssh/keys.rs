//! Private keys: files and agents. They sign here and never leave.

use crate::operator::{self, Echo};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer;
use russh::keys::ssh_encoding::Encode;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey, PublicKeyBase64};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use waft_proto::run::Problem;

/// An agent may ask its owner to confirm; longer than this nobody is there.
const AGENT_DEADLINE: Duration = Duration::from_secs(60);

/// Wrong passphrases that are taken for one key, as ssh does.
const PASSPHRASES_MAX: usize = 3;

/// Where a private key is.
#[derive(Clone)]
enum Source {
    File(Box<PrivateKey>),
    /// Encrypted; its owner is asked when it is needed.
    Locked(Arc<Locked>),
    Agent(PathBuf),
}

struct Locked {
    path: PathBuf,
    text: String,
    opened: OnceCell<PrivateKey>,
}

struct Identity {
    /// Public key or certificate, SSH wire form.
    wire: Vec<u8>,
    source: Source,
}

/// What a user can log in with, best first.
#[derive(Default)]
pub struct Ring {
    identities: Vec<Identity>,
    /// What was wrong with configured keys; told when a login fails.
    pub troubles: Vec<String>,
}

/// Where keys are looked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Places {
    pub files: Vec<PathBuf>,
    pub certificates: Vec<PathBuf>,
    pub only: bool,
    pub agent: Option<PathBuf>,
}

/// One ring per set of places, loaded when first needed.
#[derive(Default)]
pub struct Rings(std::sync::Mutex<std::collections::HashMap<Places, Arc<OnceCell<Arc<Ring>>>>>);

impl Rings {
    pub async fn get(&self, places: &Places) -> Arc<Ring> {
        let cell = {
            let mut rings = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            rings.entry(places.clone()).or_default().clone()
        };
        cell.get_or_init(|| async { Arc::new(Ring::load(places).await) }).await.clone()
    }
}

impl Ring {
    /// Configured files first (by the agent when it holds the key), then whatever else the agent has.
    pub async fn load(places: &Places) -> Ring {
        let mut ring = Ring::default();
        let held = match &places.agent {
            Some(socket) => list(socket).await.unwrap_or_else(|problem| {
                ring.troubles.push(problem);
                Vec::new()
            }),
            None => Vec::new(),
        };
        for file in &places.files {
            ring.add_file(file, &held, places.agent.as_deref());
        }
        for file in &places.certificates {
            match std::fs::read_to_string(file)
                .ok()
                .and_then(|text| Certificate::from_openssh(text.trim()).ok())
            {
                Some(certificate) => ring.certify(&certificate),
                None => ring.troubles.push(format!("{} is no OpenSSH certificate", file.display())),
            }
        }
        if !places.only
            && let Some(socket) = &places.agent
        {
            for wire in held {
                ring.add(wire, Source::Agent(socket.clone()));
            }
        }
        ring
    }

    fn add(&mut self, wire: Vec<u8>, source: Source) {
        if !self.identities.iter().any(|identity| identity.wire == wire) {
            self.identities.push(Identity { wire, source });
        }
    }

    fn add_file(&mut self, file: &Path, held: &[Vec<u8>], agent: Option<&Path>) {
        let mut public = file.as_os_str().to_owned();
        public.push(".pub");
        let public =
            std::fs::read_to_string(&public).ok().and_then(|text| PublicKey::from_openssh(text.trim()).ok());
        let by_agent = |wire: &Vec<u8>| held.contains(wire).then_some(agent).flatten();
        let beside = public.map(|key| key.public_key_bytes());
        if let Some(wire) = &beside
            && let Some(socket) = by_agent(wire)
        {
            return self.add(wire.clone(), Source::Agent(socket.to_owned()));
        }
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            // ssh's default names need not exist.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                return self.troubles.push(format!("{}: {}", file.display(), crate::files::plain(&error)));
            }
        };
        match russh::keys::decode_secret_key(&text, None) {
            Ok(key) => {
                let wire = key.public_key().public_key_bytes();
                self.add(wire, Source::File(Box::new(key)));
                self.certify_beside(file);
            }
            Err(russh::keys::Error::KeyIsEncrypted) => {
                // OpenSSH's own format tells the public half without a passphrase, older ones do not.
                let told =
                    PrivateKey::from_openssh(&text).ok().map(|key| key.public_key().public_key_bytes());
                match told.or(beside) {
                    Some(wire) => {
                        let opened = OnceCell::new();
                        let locked = Locked { path: file.to_owned(), text, opened };
                        self.add(wire, Source::Locked(Arc::new(locked)));
                        self.certify_beside(file);
                    }
                    None => self.troubles.push(format!(
                        "{} is encrypted and has no {0}.pub beside it: add it to an agent with `ssh-add {0}`",
                        file.display()
                    )),
                }
            }
            Err(error) => self.troubles.push(format!(
                "{} is not a usable key: {}",
                file.display(),
                crate::files::plain(&error)
            )),
        }
    }

    fn certify_beside(&mut self, file: &Path) {
        let mut certificate = file.as_os_str().to_owned();
        certificate.push("-cert.pub");
        if let Ok(text) = std::fs::read_to_string(&certificate)
            && let Ok(certificate) = Certificate::from_openssh(text.trim())
        {
            self.certify(&certificate);
        }
    }

    /// A certificate goes before the plain key that it is for.
    fn certify(&mut self, certificate: &Certificate) {
        let plain = PublicKey::from(certificate.public_key().clone()).public_key_bytes();
        let Ok(wire) = certificate.to_bytes() else { return };
        let Some(at) = self.identities.iter().position(|identity| identity.wire == plain) else {
            return self.troubles.push("a certificate has no private key beside it".to_owned());
        };
        let Some(source) = self.identities.get(at).map(|identity| identity.source.clone()) else { return };
        self.identities.insert(at, Identity { wire, source });
    }

    /// Public halves, SSH wire form, best first.
    pub fn wires(&self) -> Vec<Vec<u8>> {
        self.identities.iter().map(|identity| identity.wire.clone()).collect()
    }

    /// The signature blob over `data` by that identity.
    pub async fn sign(&self, wire: &[u8], data: &[u8]) -> Result<Vec<u8>, Problem> {
        let failed = |why: String| Problem::new("ssh.sign", format!("no signature by the key: {why}"));
        let identity = self
            .identities
            .iter()
            .find(|identity| identity.wire == wire)
            .ok_or_else(|| failed("it is none of ours".to_owned()))?;
        let by = |key: &PrivateKey| {
            let signature = key.try_sign(data).map_err(|error| failed(error.to_string()))?;
            signature.encode_vec().map_err(|error| failed(error.to_string()))
        };
        match &identity.source {
            Source::File(key) => by(key),
            Source::Locked(locked) => by(locked.open().await?),
            Source::Agent(socket) => {
                let work = ask_agent(socket, wire, data);
                let signature = tokio::time::timeout(AGENT_DEADLINE, work).await;
                signature
                    .unwrap_or_else(|_| {
                        Err(format!("the agent did not answer within {} s", AGENT_DEADLINE.as_secs()))
                    })
                    .map_err(failed)
            }
        }
    }
}

impl Locked {
    /// The key, for which its owner is asked once.
    async fn open(&self) -> Result<&PrivateKey, Problem> {
        self.opened.get_or_try_init(|| self.ask()).await
    }

    async fn ask(&self) -> Result<PrivateKey, Problem> {
        let path = self.path.display();
        let locked = |why: &str| {
            Problem::new("ssh.key_locked", format!("the key {path} is encrypted, and {why}"))
                .hint(format!("add it to an agent: `ssh-add {path}`"))
        };
        let mut question = format!("Enter passphrase for key '{path}': ");
        for _ in 0..PASSPHRASES_MAX {
            let answer = operator::ask(&question, Echo::Hidden).await;
            let passphrase =
                answer.ok_or_else(|| locked("there is no terminal to ask for its passphrase"))?;
            if let Ok(key) = russh::keys::decode_secret_key(&self.text, Some(&passphrase)) {
                return Ok(key);
            }
            question = format!("That was not it. Enter passphrase for key '{path}': ");
        }
        Err(locked("none of the passphrases opened it"))
    }
}

async fn list(socket: &Path) -> Result<Vec<Vec<u8>>, String> {
    let trouble = |error: russh::keys::Error| {
        format!("the agent at {}: {}", socket.display(), crate::files::plain(&error))
    };
    let work = async {
        let mut agent = AgentClient::connect_uds(socket).await.map_err(trouble)?;
        let identities = agent.request_identities().await.map_err(trouble)?;
        Ok(identities
            .into_iter()
            .filter_map(|identity| match identity {
                AgentIdentity::PublicKey { key, .. } => Some(key.public_key_bytes()),
                AgentIdentity::Certificate { certificate, .. } => certificate.to_bytes().ok(),
            })
            .collect())
    };
    let timeout = || format!("the agent at {} does not answer", socket.display());
    tokio::time::timeout(Duration::from_secs(5), work).await.unwrap_or_else(|_| Err(timeout()))
}

async fn ask_agent(socket: &Path, wire: &[u8], data: &[u8]) -> Result<Vec<u8>, String> {
    let mut agent = AgentClient::connect_uds(socket).await.map_err(|error| error.to_string())?;
    let identity = match Certificate::from_bytes(wire) {
        Ok(certificate) => AgentIdentity::Certificate { certificate, comment: String::new() },
        Err(_) => AgentIdentity::PublicKey {
            key: PublicKey::from_bytes(wire).map_err(|error| error.to_string())?,
            comment: String::new(),
        },
    };
    let hash = matches!(identity.public_key().algorithm(), Algorithm::Rsa { .. }).then_some(HashAlg::Sha512);
    let signed =
        agent.sign_request(&identity, hash, data.to_vec()).await.map_err(|error| error.to_string())?;
    // The client gives the data back with the signature behind it, as an SSH string.
    let signature = signed.get(data.len() + 4..).ok_or("the agent gave no signature")?;
    Ok(signature.to_vec())
}
