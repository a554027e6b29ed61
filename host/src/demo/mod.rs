//! A fleet to try waft on, without a machine to spare: real SSH servers with real shells, on loopback.
//!
//! ```text
//! controller ==(link, rtt)==> bastion ==(link)==> web1
//!                                     ==(link)==> web2 ...
//! ```
//!
//! Each host is an SSH server of this process with an address, a host key and a home folder of its own; its
//! sessions are processes of the user who started the fleet, *not* sandboxed: whoever has the key has the account.
//! The key lives in a private folder and goes with it. In the story the hosts are only reachable behind the bastion,
//! and the settings written for clients say so; nothing stops a local program from dialling one directly.
//!
//! Linux only: it needs all of 127/8, pidfds and `/proc`. It never touches `~/.ssh`, listens on nothing but loopback,
//! and what it started ends with it. A fleet whose process is killed outright leaves its folder behind, and
//! processes that ignore the end of their input. Signals that this process ignores, its shells ignore too: a fleet started
//! with `&` from a script has no Ctrl-C in its terminals.

mod backlog;
mod link;
mod premises;
mod process;
mod pty;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod tunnel;

pub use link::LinkCount;

use link::Link;
use premises::{Address, Premises};
use russh::keys::{PrivateKey, PublicKey};
use server::Host;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use waft_proto::run::Problem;

/// As many as fit into the last number of an IPv4 address, rounded down.
pub const HOSTS_MAX: usize = 250;

/// More than a link to the moon.
pub const RTT_MAX: Duration = Duration::from_secs(10);

/// The host that all others are behind.
pub const BASTION: &str = "bastion";

/// The group of the inventory that holds all the others.
pub const GROUP: &str = "demo";

/// The others are this and a number, from 1.
const HOST_PREFIX: &str = "web";

/// The account on every host. It needs not exist: a host's processes are the user's own.
const USER: &str = "demo";

/// What the far end of the outer link is called in counts.
const CONTROLLER: &str = "controller";

/// Tried first on each address, so that what is printed is easy to read; else any that is free.
const PORT: u16 = 2222;

/// For all servers and processes to end. Above what one connection takes in its worst case.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(6);

/// What fleet to start.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// Behind the bastion, which comes on top: 1 to [`HOSTS_MAX`].
    pub hosts: usize,
    /// Of the link to the bastion, up to [`RTT_MAX`]; the inner links have none of their own.
    pub rtt: Duration,
    /// Leaves the folder where it is when the fleet ends.
    pub keep: bool,
    /// Made with mode 0700 when it does not exist; else it must be the user's, with mode 0700.
    pub dir: PathBuf,
}

/// A running fleet. End it with [`Fleet::shutdown`]; dropping it kills what it started, without waiting.
pub struct Fleet {
    /// The mark of its processes.
    name: String,
    hosts: Vec<Arc<Host>>,
    stop: watch::Sender<bool>,
    servers: JoinSet<()>,
    ended: bool,
    // Last: its files go when nothing uses them any more.
    premises: Premises,
}

impl Fleet {
    /// Starts all servers; when it returns they accept connections. Must be called on a tokio runtime with IO and
    /// time, which must live as long as the fleet.
    pub async fn start(options: FleetOptions) -> Result<Fleet, Problem> {
        let FleetOptions { hosts, rtt, keep, dir } = options;
        if !(1..=HOSTS_MAX).contains(&hosts) {
            let message = format!("a demo fleet has 1 to {HOSTS_MAX} hosts, not {hosts}");
            return Err(fleet_problem("demo.hosts", message).hint("give another number: --hosts 8"));
        }
        if rtt > RTT_MAX {
            let message = format!("a demo link has a round trip of at most {RTT_MAX:?}, not {rtt:?}");
            return Err(fleet_problem("demo.rtt", message).hint("give a shorter one: --rtt 60ms"));
        }

        let premises = Premises::enter(&dir, keep)?;
        let identity = premises::new_key("waft-demo")?;
        let mut plots = vec![Plot::take(BASTION, 0, &premises).await?];
        for number in 1..=hosts {
            plots.push(Plot::take(&format!("{HOST_PREFIX}{number}"), number, &premises).await?);
        }
        let addresses: Vec<Address> = plots.iter().map(Plot::address).collect();
        premises.furnish(USER, &identity, &addresses)?;

        let mut fleet = Fleet {
            name: hex(&premises::random::<8>()?),
            hosts: Vec::new(),
            stop: watch::Sender::new(false),
            servers: JoinSet::new(),
            ended: false,
            premises,
        };
        let behind = |address: &Address| {
            [(address.name.clone(), address.at), (address.at.ip().to_string(), address.at)]
        };
        let mut behind: HashMap<String, SocketAddr> = addresses.iter().skip(1).flat_map(behind).collect();
        for plot in plots {
            // The first is the bastion, which takes the whole map; nothing is behind the others.
            let link = if plot.name == BASTION {
                Link::new(CONTROLLER, BASTION, rtt)
            } else {
                Link::new(BASTION, &plot.name, Duration::ZERO)
            };
            fleet.open(plot, link, identity.public_key(), std::mem::take(&mut behind));
        }
        Ok(fleet)
    }

    fn open(&mut self, plot: Plot, link: Link, client: &PublicKey, behind: HashMap<String, SocketAddr>) {
        let host = Arc::new(Host {
            name: plot.name,
            user: USER.into(),
            home: plot.home,
            fleet: self.name.clone(),
            link: Arc::new(link),
            client_key: client.clone(),
            behind,
            sessions: AtomicU64::new(0),
        });
        let config = Arc::new(server::config(plot.key));
        self.servers.spawn(server::serve(plot.listener, Arc::clone(&host), config, self.stop.subscribe()));
        self.hosts.push(host);
    }

    /// The names of all hosts, the bastion first.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| host.name.as_str())
    }

    /// What crossed each link so far, the one to the bastion first.
    pub fn links(&self) -> Vec<LinkCount> {
        self.hosts.iter().map(|host| host.link.count()).collect()
    }

    /// For `ssh -F`: all hosts by name, those behind the bastion through it.
    pub fn ssh_config_path(&self) -> PathBuf {
        self.premises.ssh_config()
    }

    /// The key of every host.
    pub fn known_hosts_path(&self) -> PathBuf {
        self.premises.known_hosts()
    }

    /// The one key that opens every host.
    pub fn identity_path(&self) -> PathBuf {
        self.premises.identity()
    }

    /// For `waft -i`: all hosts, and those behind the bastion as the group [`GROUP`].
    pub fn inventory_path(&self) -> PathBuf {
        self.premises.inventory()
    }

    /// A line for the user's shell which enters a host with the system's ssh.
    pub fn enter_command(&self, host: &str) -> String {
        format!("ssh -F {} {}", shell_word(&self.ssh_config_path()), shell_word(Path::new(host)))
    }

    /// Ends all sessions with their processes, all servers, and removes the folder unless it is to be kept.
    pub async fn shutdown(mut self) -> Result<(), Problem> {
        self.stop.send_replace(true);
        let joined =
            timeout(SHUTDOWN_WAIT, async { while self.servers.join_next().await.is_some() {} }).await;
        self.servers.shutdown().await;
        process::end_fleet(&self.name).await;
        self.ended = true;
        joined.map_err(|_| {
            let message = format!("the demo's servers did not end within {SHUTDOWN_WAIT:?} and were cut off");
            fleet_problem("demo.shutdown", message)
        })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if !self.ended {
            self.stop.send_replace(true);
            self.servers.abort_all();
            process::kill_fleet_now(&self.name);
        }
    }
}

/// A host before it opens: its name, its place, its key.
struct Plot {
    name: String,
    listener: TcpListener,
    at: SocketAddr,
    key: PrivateKey,
    home: PathBuf,
}

impl Plot {
    async fn take(name: &str, number: usize, premises: &Premises) -> Result<Plot, Problem> {
        // 127.77.0.1 is the bastion, and 127.77.1.N webN: easy to tell apart, and unlikely to be taken.
        let ip = match u8::try_from(number) {
            Ok(number @ 1..) => Ipv4Addr::new(127, 77, 1, number),
            _ => Ipv4Addr::new(127, 77, 0, 1),
        };
        let bound = match TcpListener::bind((ip, PORT)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => TcpListener::bind((ip, 0)).await,
            other => other,
        };
        let problem = |error: io::Error| {
            fleet_problem("demo.address", format!("the demo's host {name} cannot listen on {ip}: {error}"))
                .hint("the demo needs the loopback addresses 127.77.0.0/16, which Linux has from the start")
        };
        let listener = bound.map_err(problem)?;
        let at = listener.local_addr().map_err(problem)?;
        Ok(Plot {
            name: name.into(),
            listener,
            at,
            key: premises::new_key(name)?,
            home: premises.home(name)?,
        })
    }

    fn address(&self) -> Address {
        Address { name: self.name.clone(), at: self.at, key: self.key.public_key().clone() }
    }
}

/// Every problem of the demo is made here, so that they share their prefix.
fn fleet_problem(code: &str, message: impl Into<String>) -> Problem {
    debug_assert!(code.starts_with("demo."));
    Problem::new(code, message)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// As one word of a POSIX shell, quoted only when it must be.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@:,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
