//! From an endpoint to its settings: the command line over the inventory over ssh's own configuration.

use super::known_hosts::Strict;
use super::settings::{CONNECT_TIMEOUT, OpenSsh, Settings};
use crate::controller::Resolver;
use crate::select::address::Address;
use crate::ssh_config::{self, Operator, Query, StrictHostKey};
use crate::tree::{Endpoint, Transport};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Semaphore;
use waft_hop::stream::Pending;
use waft_proto::run::Problem;

/// `ssh -G` processes at a time.
const QUESTIONS_MAX: usize = 8;

/// Asks `ssh -G` for each endpoint, as far as the command line and the inventory leave anything open.
pub struct SshResolver {
    operator: Operator,
    /// `--ssh-config`, `--known-hosts`, `--identity`.
    config: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    identities: Vec<PathBuf>,
    questions: Semaphore,
}

impl SshResolver {
    pub fn new(
        config: Option<PathBuf>,
        known_hosts: Option<PathBuf>,
        identities: Vec<PathBuf>,
    ) -> SshResolver {
        let questions = Semaphore::new(QUESTIONS_MAX);
        SshResolver { operator: Operator::from_env(), config, known_hosts, identities, questions }
    }

    async fn settings(&self, endpoint: &Endpoint) -> Result<Settings, Problem> {
        let host = endpoint.address.as_deref().unwrap_or(&endpoint.name);
        let query = Query {
            host,
            user: endpoint.user.as_deref(),
            port: endpoint.port,
            config: self.config.as_deref(),
        };
        let found = {
            let _one = self.questions.acquire().await;
            ssh_config::resolve(query, &self.operator).await?
        };
        if let Some(command) = found.proxy_command.filter(|_| endpoint.transport == Transport::Ssh) {
            let name = &endpoint.name;
            return Err(Problem::new(
                "ssh.proxy_command",
                format!(
                    "{name} is reached through the ProxyCommand `{command}`, which waft does not run itself"
                ),
            )
            .hint("set `transport = \"openssh\"` for it: then the system's ssh carries the link"));
        }
        let explicit: Vec<PathBuf> = self.identities.iter().chain(&endpoint.identities).cloned().collect();
        let known_hosts = match &self.known_hosts {
            Some(file) => vec![file.clone()],
            None if !endpoint.known_hosts.is_empty() => endpoint.known_hosts.clone(),
            None => found.user_known_hosts.into_iter().chain(found.global_known_hosts).collect(),
        };
        let mut jump = Vec::new();
        for hop in &found.proxy_jump {
            jump.push(jump_host(hop).ok_or_else(|| {
                Problem::new(
                    "ssh.proxy_jump",
                    format!("`{hop}` in the ProxyJump of {} is no host", endpoint.name),
                )
            })?);
        }
        let given = self.known_hosts.is_some() || !endpoint.known_hosts.is_empty();
        let openssh = OpenSsh {
            options: openssh_options(self.config.as_deref(), given.then_some(known_hosts.as_slice())),
            host: host.to_owned(),
        };
        Ok(Settings {
            openssh,
            name: endpoint.name.clone(),
            host: found.host,
            port: found.port,
            user: found.user,
            identities: if explicit.is_empty() { found.identities } else { explicit },
            certificates: found.certificates,
            identities_only: found.identities_only,
            agent: found.agent,
            known_hosts,
            strict: match found.strict {
                StrictHostKey::Yes => Strict::Yes,
                StrictHostKey::Ask => Strict::Ask,
                StrictHostKey::AcceptNew => Strict::AcceptNew,
                StrictHostKey::No => Strict::No,
            },
            known_as: found.host_key_alias,
            connect_timeout: endpoint
                .connect_timeout_ms
                .map(Duration::from_millis)
                .or(found.connect_timeout)
                .unwrap_or(CONNECT_TIMEOUT),
            jump,
        })
    }
}

/// So that the system's ssh looks where it was told to look, and nowhere else.
fn openssh_options(config: Option<&Path>, known_hosts: Option<&[PathBuf]>) -> Vec<String> {
    let mut options = Vec::new();
    if let Some(config) = config {
        options.extend(["-F".to_owned(), config.display().to_string()]);
    }
    if let Some(files) = known_hosts {
        let files: Vec<String> = files.iter().map(|file| format!("\"{}\"", file.display())).collect();
        options.extend(["-o".to_owned(), format!("UserKnownHostsFile={}", files.join(" "))]);
        options.extend(["-o".to_owned(), "GlobalKnownHostsFile=/dev/null".to_owned()]);
    }
    options
}

fn jump_host(text: &str) -> Option<Endpoint> {
    let address = Address::parse(text).ok()?;
    Some(Endpoint {
        address: Some(address.host),
        user: address.user,
        port: address.port,
        ..Endpoint::named(text)
    })
}

impl Resolver for SshResolver {
    fn resolve<'a>(&'a self, endpoint: &'a Endpoint) -> Pending<'a, Result<Settings, Problem>> {
        Box::pin(async move {
            if endpoint.transport == Transport::Local {
                return Ok(Settings::local(&endpoint.name));
            }
            self.settings(endpoint).await
        })
    }
}
