//! One real OpenSSH sshd, run as this user on a loopback address of its own.
//!
//! A [`HostSpec`] says how the host shall be; a [`Lab`](crate::lab::Lab) starts it. As root, any account of the
//! machine can be logged into; as another user, only that user.
//!
//! PAM is off: it would drag in the machine's own login rules. Passwords still work (sshd reads the shadow file).

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use crate::keys::{KeyKind, KeyPair};
use crate::process::{self, Process, kill_trees, spawn_bound, wait_until};
use crate::proxy::{Proxy, Settings};
use crate::user::User;
use crate::{Context, Error, Result};

const SSHD: &str = "/usr/sbin/sshd";
/// sshd as root refuses to start without this empty directory.
const PRIVILEGE_SEPARATION_DIR: &str = "/run/sshd";
/// Generous: fifty of them start within a second on two quiet cores.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(20);
const BANNER_LIMIT: Duration = Duration::from_secs(20);
/// Between asking the kernel for a free port and sshd's bind, someone else may take it.
const PORT_ATTEMPTS: u32 = 3;

/// How one host of a lab shall be.
#[derive(Clone, Default)]
pub struct HostSpec {
    pub name: String,
    pub(crate) via: Option<String>,
    pub(crate) proxied: Option<Settings>,
    /// Where sshd listens, and by which address it is reached.
    at: Option<(IpAddr, IpAddr)>,
    login: Option<String>,
    host_key: KeyKind,
    certified_by: Option<KeyPair>,
    banner: Option<String>,
    noise: Option<String>,
    options: Vec<(String, String)>,
}

impl HostSpec {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Log in as this account instead of the one that runs the test.
    pub fn login(mut self, user: &User) -> Self {
        self.login = Some(user.name.clone());
        self
    }

    /// The host is reached through another host of the lab. The tree files say so; no packet is blocked.
    pub fn via(mut self, parent: impl Into<String>) -> Self {
        self.via = Some(parent.into());
        self
    }

    /// Puts a [`Proxy`] in front: all files of the lab name the proxy's port instead of sshd's.
    pub fn proxied(mut self, settings: Settings) -> Self {
        self.proxied = Some(settings);
        self
    }

    /// sshd listens on `own`, and all files of the lab name `reached`, behind which something leads there.
    pub fn reached_at(mut self, own: IpAddr, reached: IpAddr) -> Self {
        self.at = Some((own, reached));
        self
    }

    pub fn host_key(mut self, kind: KeyKind) -> Self {
        self.host_key = kind;
        self
    }

    /// The host shows a certificate signed by `ca`, valid for its address and name; known_hosts then trusts the
    /// authority instead of the key.
    pub fn host_certificate(mut self, ca: &KeyPair) -> Self {
        self.certified_by = Some(ca.clone());
        self
    }

    /// User certificates signed by `ca` log in.
    pub fn trusted_user_ca(self, ca: &KeyPair) -> Self {
        let path = ca.public_path();
        self.option("TrustedUserCAKeys", path.to_string_lossy())
    }

    /// Text shown before authentication.
    pub fn banner(mut self, text: &str) -> Self {
        self.banner = Some(text.to_owned());
        self
    }

    /// Text that each session prints on standard output before its command runs, as a careless start-up file would.
    /// Done by a forced command, so it needs no account of its own and works with every shell. The real thing is
    /// [`UserBuilder::file`](crate::user::UserBuilder::file).
    pub fn noise(mut self, text: &str) -> Self {
        self.noise = Some(text.to_owned());
        self
    }

    /// Passwords are accepted beside keys.
    pub fn password_login(self) -> Self {
        self.option("PasswordAuthentication", "yes")
    }

    /// Nothing but passwords is accepted.
    pub fn password_only(self) -> Self {
        self.password_login().option("PubkeyAuthentication", "no")
    }

    /// `~/.ssh/rc` is run (it is not by default here: the account may be a real person's).
    pub fn user_rc(self) -> Self {
        self.option("PermitUserRC", "yes")
    }

    /// `start:rate:full`, as in sshd_config.
    pub fn max_startups(self, value: &str) -> Self {
        self.option("MaxStartups", value)
    }

    pub fn max_sessions(self, count: u32) -> Self {
        self.option("MaxSessions", count.to_string())
    }

    /// Refuses the tunnels that ProxyJump needs.
    pub fn no_tcp_forwarding(self) -> Self {
        self.option("AllowTcpForwarding", "no")
    }

    pub fn force_command(self, command: &str) -> Self {
        self.option("ForceCommand", command)
    }

    /// Any other line of sshd_config. It replaces what the harness would write for that keyword.
    pub fn option(mut self, keyword: &str, value: impl Into<String>) -> Self {
        self.options.push((keyword.to_owned(), value.into()));
        self
    }
}

/// A running sshd. Dropped: killed with all its sessions, and reaped.
pub struct Host {
    pub name: String,
    /// Where clients connect: sshd's own address, or the proxy's in front of it.
    pub address: SocketAddr,
    /// Where sshd itself listens.
    pub sshd_address: SocketAddr,
    /// The account to log in as.
    pub user: String,
    /// The host it is reached through.
    pub via: Option<String>,
    pub host_key: KeyPair,
    pub proxy: Option<Proxy>,
    /// Configuration, keys and log of this host.
    pub dir: PathBuf,
    certified_by: Option<KeyPair>,
    sshd: Child,
}

impl Host {
    /// Makes keys and configuration in `dir` and starts sshd without waiting for it; see [`Host::wait_listening`].
    pub(crate) fn spawn(spec: &HostSpec, ip: IpAddr, dir: PathBuf, authorized_keys: &Path) -> Result<Self> {
        check_installed()?;
        let name = &spec.name;
        let (ip, reached) = spec.at.unwrap_or((ip, ip));
        let doing = || format!("cannot prepare {name} in {}", dir.display());
        fs::create_dir(&dir).context(doing)?;
        let host_key = KeyPair::generate(spec.host_key, &dir.join("host_key"))?;
        let mut certificate = None;
        if let Some(ca) = &spec.certified_by {
            certificate = Some(ca.certify_host(&host_key, &[&ip.to_string(), name])?);
        }
        if let Some(text) = &spec.banner {
            fs::write(dir.join("banner"), text).context(doing)?;
        }
        if let Some(text) = &spec.noise {
            write_noise(&dir, text).context(doing)?;
        }
        let (sshd_address, sshd) =
            start_on_free_port(spec, ip, &dir, authorized_keys, certificate.as_deref())?;
        let mut host = Self {
            name: name.clone(),
            address: SocketAddr::new(reached, sshd_address.port()),
            sshd_address,
            user: spec.login.clone().map_or_else(current_user, Ok)?,
            via: spec.via.clone(),
            host_key,
            proxy: None,
            dir,
            certified_by: spec.certified_by.clone(),
            sshd,
        };
        if let Some(settings) = &spec.proxied {
            let proxy = Proxy::start_on(ip, sshd_address, settings.clone())?;
            host.address = proxy.addr;
            host.proxy = Some(proxy);
        }
        Ok(host)
    }

    /// Waits until sshd greets, with an SSH banner, whoever connects.
    pub(crate) fn wait_listening(&mut self) -> Result<()> {
        let what = format!("the sshd of {} at {}", self.name, self.sshd_address);
        let (address, sshd) = (self.sshd_address, &mut self.sshd);
        let greeted = wait_until(&what, START_LIMIT, || match sshd.try_wait() {
            Ok(None) => greets(address).then_some(true),
            _ => Some(false),
        });
        match greeted {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::new(format!("{what} ended at once; its log: {}", self.log().trim()))),
            Err(error) => Err(error).context(|| format!("its log: {}", self.log().trim())),
        }
    }

    /// What sshd has logged so far (LogLevel VERBOSE).
    pub fn log(&self) -> String {
        let raw = fs::read(self.dir.join("sshd.log")).unwrap_or_default();
        String::from_utf8_lossy(&raw).into_owned()
    }

    /// The pid of the listening sshd.
    pub fn pid(&self) -> u32 {
        self.sshd.id()
    }

    /// What runs below sshd now: its session processes and the commands in them.
    pub fn sessions(&self) -> Vec<Process> {
        process::descendants(&[self.pid()])
    }

    /// The line of known_hosts by which a client trusts this host.
    pub fn known_hosts_line(&self) -> String {
        match &self.certified_by {
            Some(ca) => format!("@cert-authority {} {}", self.known_as(), ca.public_without_comment()),
            None => format!("{} {}", self.known_as(), self.host_key.public_without_comment()),
        }
    }

    fn known_as(&self) -> String {
        format!("[{}]:{}", self.address.ip(), self.address.port())
    }

    /// Kills sshd and all its sessions now, as a machine that loses power would, but for the missing silence: the
    /// kernel still closes the connections.
    pub fn stop(&mut self) {
        kill_trees(&mut [&mut self.sshd]);
    }

    pub(crate) fn sshd_mut(&mut self) -> &mut Child {
        &mut self.sshd
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

fn check_installed() -> Result<()> {
    if !Path::new(SSHD).exists() {
        return Err(Error::new(format!("there is no {SSHD}; install openssh-server")));
    }
    if process::is_root() {
        fs::create_dir_all(PRIVILEGE_SEPARATION_DIR)
            .context(|| format!("cannot make {PRIVILEGE_SEPARATION_DIR}, which sshd demands"))?;
    }
    Ok(())
}

fn current_user() -> Result<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let text = fs::read_to_string("/etc/passwd").context(|| "cannot read /etc/passwd".to_owned())?;
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&uid.as_str()))
        .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
        .ok_or_else(|| Error::new(format!("uid {uid} has no line in /etc/passwd; sshd could not log it in")))
}

fn write_noise(dir: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let (noise, script) = (dir.join("noise.txt"), dir.join("noise.sh"));
    fs::write(&noise, text)?;
    let lines = [
        "#!/bin/sh".to_owned(),
        format!("cat '{}'", noise.display()),
        r#"[ -n "$SSH_ORIGINAL_COMMAND" ] && exec "$SHELL" -c "$SSH_ORIGINAL_COMMAND""#.to_owned(),
        r#"exec "$SHELL""#.to_owned(),
    ];
    fs::write(&script, lines.join("\n") + "\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
}

fn start_on_free_port(
    spec: &HostSpec,
    ip: IpAddr,
    dir: &Path,
    authorized_keys: &Path,
    certificate: Option<&Path>,
) -> Result<(SocketAddr, Child)> {
    let name = &spec.name;
    for _ in 0..PORT_ATTEMPTS {
        let address = TcpListener::bind((ip, 0))
            .and_then(|listener| listener.local_addr())
            .context(|| format!("no free port on {ip} for {name}"))?;
        let config = dir.join("sshd_config");
        fs::write(&config, config_text(spec, address, dir, authorized_keys, certificate))
            .context(|| format!("cannot write {}", config.display()))?;
        let mut child =
            launch(&config, &dir.join("sshd.log")).context(|| format!("cannot start {SSHD} for {name}"))?;
        if !lost_its_port(&mut child, &dir.join("sshd.log")) {
            return Ok((address, child));
        }
    }
    Err(Error::new(format!(
        "{name}: on {ip} each of {PORT_ATTEMPTS} free ports was taken before sshd could bind it"
    )))
}

fn launch(config: &Path, log: &Path) -> std::io::Result<Child> {
    let mut command = Command::new(SSHD);
    command.args(["-D", "-e", "-f"]).arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?);
    spawn_bound(command)
}

/// Waits for sshd to say that it listens, or to end, and tells whether it ended because its port was taken.
/// Every other outcome is left to [`Host::wait_listening`], which reports it better.
fn lost_its_port(child: &mut Child, log: &Path) -> bool {
    let settled = wait_until("sshd to bind", BANNER_LIMIT, || {
        let text = fs::read_to_string(log).unwrap_or_default();
        match child.try_wait() {
            Ok(None) => text.contains("Server listening").then_some(false),
            _ => Some(text.contains("Address already in use")),
        }
    });
    settled.unwrap_or(false)
}

fn config_text(
    spec: &HostSpec,
    address: SocketAddr,
    dir: &Path,
    authorized_keys: &Path,
    certificate: Option<&Path>,
) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    lines.extend(spec.options.iter().map(|(keyword, value)| (keyword.as_str(), value.clone())));
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    lines.push(("Port", address.port().to_string()));
    lines.push(("ListenAddress", address.ip().to_string()));
    lines.push(("HostKey", path("host_key")));
    if let Some(certificate) = certificate {
        lines.push(("HostCertificate", certificate.to_string_lossy().into_owned()));
    }
    if spec.banner.is_some() {
        lines.push(("Banner", path("banner")));
    }
    if spec.noise.is_some() {
        lines.push(("ForceCommand", path("noise.sh")));
    }
    lines.push(("AuthorizedKeysFile", authorized_keys.to_string_lossy().into_owned()));
    let fixed = [
        ("PidFile", "none"),
        ("UsePAM", "no"),
        // The keys lie in a temporary directory below the world-writable /tmp.
        ("StrictModes", "no"),
        ("PermitRootLogin", "yes"),
        ("PasswordAuthentication", "no"),
        ("KbdInteractiveAuthentication", "no"),
        ("PermitUserRC", "no"),
        // What an account's shell does at a login may take a lock (pyenv's does). A login that a test kills leaves it, and
        // every later one would wait for it.
        ("SetEnv", "PYENV_REHASH_TIMEOUT=0"),
        ("PrintMotd", "no"),
        ("PrintLastLog", "no"),
        ("UseDNS", "no"),
        // Tests fan out at once and must not depend on sshd's dice; a test of the dice sets its own.
        ("MaxStartups", "500"),
        ("LogLevel", "VERBOSE"),
        ("Subsystem", "sftp internal-sftp"),
    ];
    // Left out rather than written after: sshd takes the first of most keywords, but the last MaxStartups.
    let ordered = |keyword: &str| spec.options.iter().any(|(own, _)| own.eq_ignore_ascii_case(keyword));
    let fixed = fixed.into_iter().filter(|(keyword, _)| !ordered(keyword));
    lines.extend(fixed.map(|(keyword, value)| (keyword, value.to_owned())));
    if punishes_sources() {
        // All clients are 127.0.0.1: one test of a refused login would lock out its neighbours.
        lines.push(("PerSourcePenalties", "no".to_owned()));
    }
    lines.iter().map(|(keyword, value)| format!("{keyword} {value}\n")).collect()
}

/// PerSourcePenalties came with OpenSSH 9.8; an older sshd does not start when it is named.
fn punishes_sources() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let mut command = Command::new(SSHD);
        command.arg("-V");
        // Before 9.3 `-V` is an error whose message names the version; that is why the status is not looked at.
        let said = process::run(command, b"", process::TOOL_LIMIT)
            .map(|done| done.stderr_text())
            .unwrap_or_default();
        let version = said.split_once("OpenSSH_").and_then(|(_, rest)| {
            let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            let (major, minor) = number.split_once('.')?;
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        version.is_some_and(|version| version >= (9, 8))
    })
}

fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, BANNER_LIMIT) else { return false };
    let mut banner = [0; 4];
    stream.set_read_timeout(Some(BANNER_LIMIT)).is_ok()
        && stream.read_exact(&mut banner).is_ok()
        && &banner == b"SSH-"
}
