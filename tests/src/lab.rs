//! A lab: some hosts, the keys to them, and the files a client needs.
//!
//! ```text
//! lab directory (world-traversable; removed when the lab is dropped)
//!   id, id.pub          the operator's key; every host lets it in
//!   known_hosts         every host's key (or authority)
//!   ssh_config          Host h1..hN, each reached directly
//!   ssh_config_tree     the same with ProxyJump where a host has a `via`
//!   inventory.toml      [hosts.h1] host, port, user, via
//!   h1/ .. hN/          each sshd's own: host_key, sshd_config, sshd.log
//! ```
//!
//! `via` in the inventory names the parent only: a chain is the parents' own `via`.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::keys::{KeyKind, KeyPair};
use crate::process::{self, Finished, kill_trees, wait_until};
use crate::sshd::{Host, HostSpec, START_LIMIT};
use crate::{Context, Error, Result};

/// For one command over the system's ssh, connecting included.
pub const SSH_LIMIT: Duration = Duration::from_secs(30);
/// Each test process begins in a /24 of its own, picked by its pid, so that logs of neighbours are told apart. Ports
/// are free ones anyway: a collision costs nothing.
const ADDRESS_BLOCKS: u32 = 200;

/// Hosts that are up, and the files to reach them with.
pub struct Lab {
    pub hosts: Vec<Host>,
    /// The operator's key pair.
    pub key: KeyPair,
    pub known_hosts: PathBuf,
    pub ssh_config: PathBuf,
    pub ssh_config_tree: PathBuf,
    pub inventory: PathBuf,
    pub dir: TempDir,
}

/// What a lab shall contain; see [`Lab::builder`].
#[derive(Default)]
pub struct LabBuilder {
    specs: Vec<HostSpec>,
    key_kind: KeyKind,
}

impl LabBuilder {
    /// Adds `count` plain hosts, named on from the last: `h1`, `h2`, ...
    pub fn hosts(mut self, count: usize) -> Self {
        for _ in 0..count {
            let name = self.next_name();
            self.specs.push(HostSpec::new(name));
        }
        self
    }

    /// Adds one host as the specification says.
    pub fn host(mut self, spec: HostSpec) -> Self {
        self.specs.push(spec);
        self
    }

    /// Adds a tree: `tree(&[2, 3])` is two hosts near the controller with three behind each, named breadth first
    /// (`h1 h2`, then `h3 h4 h5` via `h1`, `h6 h7 h8` via `h2`).
    pub fn tree(mut self, fan_out: &[usize]) -> Self {
        let mut parents = vec![None];
        for width in fan_out {
            let mut level = Vec::new();
            for parent in &parents {
                for _ in 0..*width {
                    let name = self.next_name();
                    let spec = HostSpec::new(&name);
                    self.specs.push(match parent {
                        Some(parent) => spec.via(parent),
                        None => spec,
                    });
                    level.push(Some(name));
                }
            }
            parents = level;
        }
        self
    }

    /// Changes every host added so far.
    pub fn each(mut self, change: impl Fn(HostSpec) -> HostSpec) -> Self {
        self.specs = self.specs.into_iter().map(change).collect();
        self
    }

    /// The kind of the operator's key.
    pub fn user_key(mut self, kind: KeyKind) -> Self {
        self.key_kind = kind;
        self
    }

    fn next_name(&self) -> String {
        format!("h{}", self.specs.len() + 1)
    }

    /// Starts all hosts at once and returns when each has greeted a client.
    pub fn start(self) -> Result<Lab> {
        process::adopt_orphans();
        for spec in &self.specs {
            if let Some(parent) = &spec.via
                && !self.specs.iter().any(|other| other.name == *parent)
            {
                let name = &spec.name;
                return Err(Error::new(format!(
                    "{name} is to be reached via {parent}, which the lab does not have"
                )));
            }
        }
        let doing = || "cannot make the lab's directory".to_owned();
        let dir = tempfile::Builder::new().prefix("waft-lab-").tempdir().context(doing)?;
        // sshd reads authorized_keys as the account that logs in.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).context(doing)?;
        let key = KeyPair::generate(self.key_kind, &dir.path().join("id"))?;
        let authorized_keys = key.public_path();

        let mut lab = Lab {
            hosts: Vec::with_capacity(self.specs.len()),
            known_hosts: dir.path().join("known_hosts"),
            ssh_config: dir.path().join("ssh_config"),
            ssh_config_tree: dir.path().join("ssh_config_tree"),
            inventory: dir.path().join("inventory.toml"),
            key,
            dir,
        };
        for spec in &self.specs {
            let home = lab.dir.path().join(&spec.name);
            lab.hosts.push(Host::spawn(spec, next_address(), home, &authorized_keys)?);
        }
        for host in &mut lab.hosts {
            host.wait_listening()?;
        }
        lab.wait_idle()?;
        lab.write_files()?;
        Ok(lab)
    }
}

impl Lab {
    pub fn builder() -> LabBuilder {
        LabBuilder::default()
    }

    /// A lab of `count` plain hosts.
    pub fn of(count: usize) -> Result<Self> {
        Self::builder().hosts(count).start()
    }

    /// The host of that name. Asking for one the test did not make is a mistake in the test.
    pub fn host(&self, name: &str) -> &Host {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.unwrap_or_else(|| panic!("the lab has no host {name}"))
    }

    pub fn host_mut(&mut self, name: &str) -> &mut Host {
        let found = self.hosts.iter_mut().find(|host| host.name == name);
        found.unwrap_or_else(|| panic!("the lab has no host {name}"))
    }

    /// Waits until no host has a session or a half-open login. With `MaxStartups 1` the connections by which the
    /// lab saw that sshd is up would otherwise count against the test.
    pub fn wait_idle(&self) -> Result<()> {
        let roots: Vec<u32> = self.hosts.iter().map(Host::pid).collect();
        wait_until("the lab's sessions to end", START_LIMIT, || {
            process::descendants(&roots).is_empty().then_some(())
        })
    }

    /// Runs the system's ssh with the lab's `ssh_config`; `arguments` begin with the host's name.
    pub fn ssh(&self, arguments: &[&str]) -> Result<Finished> {
        process::run(self.ssh_command(&self.ssh_config, arguments), b"", SSH_LIMIT)
    }

    /// The same with `ssh_config_tree`: hosts with a `via` are reached through it.
    pub fn ssh_tree(&self, arguments: &[&str]) -> Result<Finished> {
        process::run(self.ssh_command(&self.ssh_config_tree, arguments), b"", SSH_LIMIT)
    }

    /// An ssh command line of which nothing comes from the account that runs the test.
    pub fn ssh_command(&self, config: &std::path::Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(config).args(arguments).env_remove("SSH_AUTH_SOCK").env_remove("SSH_ASKPASS");
        command
    }

    fn write_files(&self) -> Result<()> {
        let (mut known, mut direct, mut tree, mut inventory) = Default::default();
        for host in &self.hosts {
            write_host(host, self, &mut known, &mut direct, &mut tree, &mut inventory)
                .context(|| format!("cannot describe {}", host.name))?;
        }
        let files = [
            (&self.known_hosts, known),
            (&self.ssh_config, direct),
            (&self.ssh_config_tree, tree),
            (&self.inventory, inventory),
        ];
        for (path, text) in files {
            fs::write(path, text).context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // All at once: one by one, each of fifty hosts would read the whole of /proc several times.
        let mut children: Vec<&mut Child> = self.hosts.iter_mut().map(Host::sshd_mut).collect();
        kill_trees(&mut children);
    }
}

fn write_host(
    host: &Host,
    lab: &Lab,
    known: &mut String,
    direct: &mut String,
    tree: &mut String,
    inventory: &mut String,
) -> std::fmt::Result {
    let (name, ip, port, user) = (&host.name, host.address.ip(), host.address.port(), &host.user);
    writeln!(known, "{}", host.known_hosts_line())?;

    let mut entry = String::new();
    writeln!(entry, "Host {name}\n  HostName {ip}\n  Port {port}\n  User {user}")?;
    writeln!(entry, "  IdentityFile {}\n  IdentitiesOnly yes", lab.key.path.display())?;
    writeln!(entry, "  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null", lab.known_hosts.display())?;
    writeln!(entry, "  StrictHostKeyChecking yes\n  UpdateHostKeys no")?;
    direct.push_str(&entry);
    tree.push_str(&entry);
    writeln!(inventory, "[hosts.{name}]\nhost = \"{ip}\"\nport = {port}\nuser = \"{user}\"")?;
    if let Some(parent) = &host.via {
        writeln!(tree, "  ProxyJump {parent}")?;
        writeln!(inventory, "via = \"{parent}\"")?;
    }
    inventory.push('\n');
    Ok(())
}

fn next_address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    /// 127.0.1.0. The addresses before it are left out: 127.0.0.1 is the source of every client here.
    const FIRST: u32 = 0x7f00_0100;
    /// Skips .0 and .1, which look like a network and a router to a reader.
    const FIRST_IN_BLOCK: u32 = 2;
    let block = std::process::id() % ADDRESS_BLOCKS;
    let index = NEXT.fetch_add(1, Ordering::Relaxed);
    IpAddr::V4(Ipv4Addr::from_bits(FIRST + block * 256 + FIRST_IN_BLOCK + index))
}
