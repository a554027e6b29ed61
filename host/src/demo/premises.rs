//! The folder of a fleet: keys, the settings that clients need, and a home for each host.

use super::fleet_problem;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use waft_proto::run::Problem;

const HOMES: &str = "home";
const IDENTITY: &str = "identity";
const INVENTORY: &str = "inventory.toml";
const KNOWN_HOSTS: &str = "known_hosts";
const SSH_CONFIG: &str = "ssh_config";

/// A host, as its clients see it.
pub(super) struct Address {
    pub(super) name: String,
    pub(super) at: SocketAddr,
    pub(super) key: PublicKey,
}

/// The folder, with what the fleet put into it. Dropping it removes that, unless it is to be kept.
pub(super) struct Premises {
    dir: PathBuf,
    /// Whether the folder itself is ours to remove.
    made: bool,
    keep: bool,
}

impl Premises {
    /// Makes the folder, or takes one that nobody else can enter.
    pub(super) fn enter(dir: &Path, keep: bool) -> Result<Premises, Problem> {
        let dir = std::path::absolute(dir).map_err(|error| cannot("use", dir, &error))?;
        // Every file below is named in ssh_config, one setting a line, where quotes have no escape.
        if dir.to_str().is_none_or(|text| text.contains(['"', '\n', '\\'])) {
            let message =
                format!("the demo's folder {} has a name that ssh_config cannot hold", dir.display());
            let hint = "choose a folder without quotes, backslashes and line breaks in its name, in UTF-8";
            return Err(fleet_problem("demo.dir", message).hint(hint));
        }
        let made = match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(&dir).map_err(|error| cannot("look at", &dir, &error))?;
                let ours = found.uid() == rustix::process::geteuid().as_raw();
                if !(found.is_dir() && ours && found.mode() & 0o077 == 0) {
                    let message = format!(
                        "the demo's folder {} must be a folder of your own that only you can enter: keys go there",
                        dir.display()
                    );
                    return Err(fleet_problem("demo.dir", message).hint(format!(
                        "chmod 700 {}, or name a folder that does not exist yet",
                        dir.display()
                    )));
                }
                false
            }
            Err(error) => return Err(cannot("make", &dir, &error)),
        };
        Ok(Premises { dir, made, keep })
    }

    pub(super) fn identity(&self) -> PathBuf {
        self.dir.join(IDENTITY)
    }

    pub(super) fn inventory(&self) -> PathBuf {
        self.dir.join(INVENTORY)
    }

    pub(super) fn known_hosts(&self) -> PathBuf {
        self.dir.join(KNOWN_HOSTS)
    }

    pub(super) fn ssh_config(&self) -> PathBuf {
        self.dir.join(SSH_CONFIG)
    }

    /// Makes the home of one host.
    pub(super) fn home(&self, host: &str) -> Result<PathBuf, Problem> {
        let home = self.dir.join(HOMES).join(host);
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&home)
            .map_err(|error| cannot("make", &home, &error))?;
        Ok(home)
    }

    /// Writes everything a client needs. The first address is the bastion.
    pub(super) fn furnish(
        &self,
        user: &str,
        identity: &PrivateKey,
        addresses: &[Address],
    ) -> Result<(), Problem> {
        let key = identity.to_openssh(LineEnding::LF).map_err(|error| {
            fleet_problem("demo.key", format!("the demo's key cannot be written: {error}"))
        })?;
        write(&self.identity(), &key)?;
        write(&self.known_hosts(), &known_hosts(addresses)?)?;
        write(&self.ssh_config(), &self.ssh_config_text(user, addresses))?;
        write(&self.inventory(), &self.inventory_text(user, addresses))
    }

    fn ssh_config_text(&self, user: &str, addresses: &[Address]) -> String {
        // A percent sign begins a token there.
        let quoted = |path: PathBuf| format!("\"{}\"", path.display().to_string().replace('%', "%%"));
        let mut text = String::new();
        for (place, Address { name, at, .. }) in addresses.iter().enumerate() {
            let _ = writeln!(text, "Host {name}\n  HostName {}\n  Port {}", at.ip(), at.port());
            if place > 0 {
                let _ = writeln!(text, "  ProxyJump {}", super::BASTION);
            }
            text.push('\n');
        }
        let _ = write!(
            text,
            "Host *\n  User {user}\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
             UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  UpdateHostKeys no\n",
            quoted(self.identity()),
            quoted(self.known_hosts()),
        );
        text
    }

    fn inventory_text(&self, user: &str, addresses: &[Address]) -> String {
        let identity = toml_string(&self.identity());
        let known_hosts = toml_string(&self.known_hosts());
        let mut text = String::new();
        for Address { name, at, .. } in addresses {
            let _ = writeln!(
                text,
                "[hosts.{name}]\nhost = \"{}\"\nport = {}\nuser = \"{user}\"\nidentity = {identity}\n\
                 known_hosts = {known_hosts}\n",
                at.ip(),
                at.port(),
            );
        }
        let behind = addresses.len().saturating_sub(1);
        let _ = write!(
            text,
            "[groups.{}]\nhosts = [\"{}[1-{behind}]\"]\nvia = \"{}\"\n",
            super::GROUP,
            super::HOST_PREFIX,
            super::BASTION
        );
        text
    }
}

impl Drop for Premises {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // Nothing can be said here, and what is missing is as good as removed.
        if self.made {
            let _ = fs::remove_dir_all(&self.dir);
        } else {
            let _ = fs::remove_dir_all(self.dir.join(HOMES));
            for file in [IDENTITY, INVENTORY, KNOWN_HOSTS, SSH_CONFIG] {
                let _ = fs::remove_file(self.dir.join(file));
            }
        }
    }
}

/// A fresh ed25519 key.
pub(super) fn new_key(comment: &str) -> Result<PrivateKey, Problem> {
    let seed: [u8; 32] = random()?;
    PrivateKey::new(Ed25519Keypair::from_seed(&seed).into(), comment)
        .map_err(|error| fleet_problem("demo.key", format!("no key for {comment} could be made: {error}")))
}

/// Bytes that nobody can guess.
pub(super) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], Problem> {
    let mut bytes = [0; LENGTH];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        // Up to 256 bytes come whole or not at all.
        Ok(got) if got == LENGTH => Ok(bytes),
        Ok(_) => Err(fleet_problem("demo.random", "the kernel gave too few random bytes")),
        Err(error) => Err(fleet_problem("demo.random", format!("the kernel gave no random bytes: {error}"))),
    }
}

fn known_hosts(addresses: &[Address]) -> Result<String, Problem> {
    let mut text = String::new();
    for Address { name, at, key } in addresses {
        let key = key.to_openssh().map_err(|error| {
            fleet_problem("demo.key", format!("the host key of {name} cannot be written: {error}"))
        })?;
        let _ = writeln!(text, "[{}]:{} {key}", at.ip(), at.port());
    }
    Ok(text)
}

/// A basic string. The folder's name has no quotes, backslashes or line breaks: see [`Premises::enter`].
fn toml_string(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// For nobody else's eyes: one of these is a key.
fn write(path: &Path, text: &str) -> Result<(), Problem> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| cannot("write", path, &error))
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> Problem {
    fleet_problem("demo.dir", format!("the demo cannot {verb} {}: {error}", path.display()))
        .hint("choose another folder, or free some space")
}
