//! One dial by the controller itself: through tunnels, by russh, by the system's ssh, or on this machine.

use super::Resolver;
use crate::ssh::keys::{Places, Ring, Rings};
use crate::ssh::known_hosts;
use crate::ssh::login::Direct;
use crate::ssh::settings::{OpenSsh, Settings};
use crate::stubs::Shelf;
use crate::tree::{Endpoint, Transport};
use std::sync::Arc;
use waft_hop::dial::{self, Dialled};
use waft_hop::process;
use waft_hop::ssh::{self, Address, Gate, Session};
use waft_proto::msg::{Delivery, StubKind};
use waft_proto::run::Problem;

/// Hosts that ssh's ProxyJump may lead through, one behind the other.
const JUMPS_MAX: usize = 8;

pub(super) fn troubles(ring: &Ring) -> String {
    if ring.troubles.is_empty() { String::new() } else { format!(" ({})", ring.troubles.join("; ")) }
}

pub(super) fn places(settings: &Settings) -> Places {
    Places {
        files: settings.identities.clone(),
        certificates: settings.certificates.clone(),
        only: settings.identities_only,
        agent: settings.agent.clone(),
    }
}

/// One dial by the controller itself.
pub(super) struct DialJob {
    pub(super) name: String,
    pub(super) kind: StubKind,
    pub(super) transport: Transport,
    pub(super) delivery: Delivery,
    pub(super) tunnel: Vec<Endpoint>,
    pub(super) settings: Settings,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) rings: Arc<Rings>,
    pub(super) gate: Arc<Gate>,
    pub(super) shelf: Arc<Shelf>,
}

impl DialJob {
    pub(super) async fn run(self) -> Result<Dialled, Problem> {
        match self.transport {
            Transport::Ssh => {
                let session = self.session().await?;
                ssh::deliver(session, self.kind, &self.delivery, self.shelf.as_ref()).await
            }
            Transport::OpenSsh => {
                let line = dial::command(&self.delivery)?;
                let OpenSsh { options, host } = self.settings.openssh.clone();
                let mut args = options;
                args.extend(["-T", "-o", "ClearAllForwardings=yes", "-o"].map(str::to_owned));
                args.push(format!("ConnectTimeout={}", self.settings.connect_timeout.as_secs().max(1)));
                for identity in &self.settings.identities {
                    args.extend(["-i".to_owned(), identity.display().to_string()]);
                }
                args.extend([
                    "-p".to_owned(),
                    self.settings.port.to_string(),
                    "-l".to_owned(),
                    self.settings.user.clone(),
                ]);
                args.extend(["--".to_owned(), host, line]);
                let stream = process::spawn("ssh", &args)?;
                dial::deliver(&self.name, self.kind, &self.delivery, self.shelf.as_ref(), stream).await
            }
            Transport::Local => {
                let line = dial::command(&self.delivery)?;
                let stream = process::spawn("sh", &["-c", line.as_str()])?;
                dial::deliver(&self.name, self.kind, &self.delivery, self.shelf.as_ref(), stream).await
            }
        }
    }

    /// A session with the target, through the tunnel's hosts when there are any.
    async fn session(&self) -> Result<Session, Problem> {
        let mut before: Option<Session> = None;
        for settings in self.chain().await? {
            before = Some(self.step(&settings, before).await?);
        }
        self.step(&self.settings, before).await
    }

    /// The hosts before the target, nearest first. As for ssh, the first of them may have a ProxyJump of its own.
    async fn chain(&self) -> Result<Vec<Settings>, Problem> {
        if !self.tunnel.is_empty() {
            return self.resolve_all(&self.tunnel).await;
        }
        let mut chain = self.resolve_all(&self.settings.jump).await?;
        while let Some(before) = chain.first().map(|first| first.jump.clone()).filter(|jump| !jump.is_empty())
        {
            let mut longer = self.resolve_all(&before).await?;
            longer.append(&mut chain);
            chain = longer;
            if chain.len() > JUMPS_MAX {
                let name = &self.settings.name;
                let message = format!("{name} is behind more than {JUMPS_MAX} hosts of ssh's ProxyJump");
                return Err(Problem::new("ssh.proxy_jump", message)
                    .hint("does a host jump through itself? `ssh -G HOST` shows what it is told"));
            }
        }
        Ok(chain)
    }

    async fn resolve_all(&self, hosts: &[Endpoint]) -> Result<Vec<Settings>, Problem> {
        let mut all = Vec::new();
        for host in hosts {
            all.push(self.resolver.resolve(host).await?);
        }
        Ok(all)
    }

    async fn step(&self, settings: &Settings, before: Option<Session>) -> Result<Session, Problem> {
        let address = Address {
            name: settings.name.clone(),
            host: settings.host.clone(),
            port: settings.port,
            user: settings.user.clone(),
            timeout: settings.connect_timeout,
        };
        let ring = self.rings.get(&places(settings)).await;
        let (known_name, known_port) = settings.known_name();
        let login = Arc::new(Direct {
            known: known_hosts::lookup(&settings.known_hosts, known_name, known_port),
            settings: settings.clone(),
            ring: ring.clone(),
        });
        let session = match before {
            None => self.gate.pass(&address, ssh::connect(&address, login)).await,
            Some(before) => {
                let stream = before.tunnel(&settings.host, settings.port).await?;
                ssh::connect_over(&address, login, stream).await.map(|session| session.keeping(before))
            }
        };
        session.map_err(|problem| match problem.code.as_str() {
            "ssh.auth" if !ring.troubles.is_empty() => {
                Problem { message: format!("{}{}", problem.message, troubles(&ring)), ..problem }
            }
            _ => problem,
        })
    }
}
