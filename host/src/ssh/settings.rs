//! What is known about one host after all configuration was read: the inventory over ssh's own files.

use super::known_hosts::Strict;
use crate::tree::Endpoint;
use std::path::PathBuf;
use std::time::Duration;

/// From the first packet to the login, unless configured otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How to reach and trust one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub identities: Vec<PathBuf>,
    pub certificates: Vec<PathBuf>,
    /// Only `identities`, nothing else that an agent may hold.
    pub identities_only: bool,
    pub agent: Option<PathBuf>,
    /// Read in this order; new keys go to the first.
    pub known_hosts: Vec<PathBuf>,
    pub strict: Strict,
    /// The name under which the host is known, when it is not `host`.
    pub known_as: Option<String>,
    pub connect_timeout: Duration,
    /// For `transport = "openssh"`: what makes the system's ssh read the same files, and the host as it was typed, by
    /// which those files may know it.
    pub openssh: OpenSsh,
    /// Hosts that ssh's own configuration tunnels through (ProxyJump).
    pub jump: Vec<Endpoint>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenSsh {
    pub options: Vec<String>,
    pub host: String,
}

impl Settings {
    /// Of this machine, which is reached without SSH.
    pub fn local(name: &str) -> Settings {
        Settings {
            name: name.to_owned(),
            host: name.to_owned(),
            port: 0,
            user: String::new(),
            identities: Vec::new(),
            certificates: Vec::new(),
            identities_only: true,
            agent: None,
            known_hosts: Vec::new(),
            strict: Strict::Yes,
            known_as: None,
            connect_timeout: CONNECT_TIMEOUT,
            openssh: OpenSsh::default(),
            jump: Vec::new(),
        }
    }

    /// Name and port to look up in known_hosts.
    pub fn known_name(&self) -> (&str, u16) {
        match &self.known_as {
            // An alias stands for the host whatever its port, as in ssh.
            Some(alias) => (alias, 22),
            None => (&self.host, self.port),
        }
    }
}
