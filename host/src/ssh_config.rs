//! What ssh's own configuration says about a host, asked from ssh itself: `ssh -G HOST` knows Match blocks,
//! tokens, includes and the system's files, and whatever its next version adds. Without an ssh client the
//! defaults of ssh count, and no configuration file is read.
//!
//! ssh is started directly, never through a shell (ssh may start what the user's own `Match exec` names), with
//! no input and for at most [`SSH_TIMEOUT`]. Nothing connects to anything here.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use waft_proto::run::Problem;

/// For one `ssh -G`. It only reads files; a `Match exec` that takes longer than this is stuck.
pub const SSH_TIMEOUT: Duration = Duration::from_secs(10);
/// What `ssh -G` may print, bytes; it prints about 6 kB.
const OUTPUT_BYTES_MAX: u64 = 1024 * 1024;
const PORT: u16 = 22;
/// In the order in which ssh tries them.
const IDENTITIES: [&str; 5] = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];

/// What to ask for. User and port are those given to ssh with `-l` and `-p`, and win over its files.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub host: &'a str,
    pub user: Option<&'a str>,
    pub port: Option<u16>,
    /// Instead of the user's and the system's files (`--ssh-config`).
    pub config: Option<&'a Path>,
}

/// Who and where the operator is: read from the environment once, by the caller.
#[derive(Clone, Debug, Default)]
pub struct Operator {
    pub home: Option<PathBuf>,
    pub user: Option<String>,
    /// `$SSH_AUTH_SOCK`.
    pub agent: Option<PathBuf>,
}

impl Operator {
    pub fn from_env() -> Operator {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Operator {
            home: var("HOME").map(PathBuf::from),
            user: var("USER").or_else(|| var("LOGNAME")).and_then(|user| user.into_string().ok()),
            agent: var("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StrictHostKey {
    /// Unknown keys are refused.
    Yes,
    /// Unknown keys are asked about; where nobody is at a terminal, refused.
    #[default]
    Ask,
    AcceptNew,
    /// Whatever key is accepted.
    No,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AddressFamily {
    #[default]
    Any,
    V4,
    V6,
}

/// How ssh would reach and trust one host. Files may not exist: ssh lists those that it would try.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SshSettings {
    /// As it was asked for.
    pub name: String,
    pub host: String,
    pub user: String,
    pub port: u16,
    pub identities: Vec<PathBuf>,
    pub identities_only: bool,
    pub certificates: Vec<PathBuf>,
    pub agent: Option<PathBuf>,
    pub user_known_hosts: Vec<PathBuf>,
    pub global_known_hosts: Vec<PathBuf>,
    pub strict: StrictHostKey,
    pub host_key_alias: Option<String>,
    /// `[user@]host[:port]`, nearest to the controller first.
    pub proxy_jump: Vec<String>,
    pub proxy_command: Option<String>,
    pub connect_timeout: Option<Duration>,
    pub address_family: AddressFamily,
}

/// Asks ssh, or takes its defaults when there is no ssh.
pub async fn resolve(query: Query<'_>, operator: &Operator) -> Result<SshSettings, Problem> {
    resolve_with(OsStr::new("ssh"), query, operator).await
}

async fn resolve_with(ssh: &OsStr, query: Query<'_>, operator: &Operator) -> Result<SshSettings, Problem> {
    check(query)?;
    let host = query.host;
    let mut command = Command::new(ssh);
    command.arg("-G");
    if let Some(config) = query.config {
        command.arg("-F").arg(config);
    }
    if let Some(user) = query.user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = query.port {
        command.arg("-p").arg(port.to_string());
    }
    command.arg("--").arg(host);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let failed = |why: &str| {
        Problem::new("ssh.config", format!("ssh cannot say how to reach {host}: {why}"))
            .hint(format!("try `ssh -G {host}`"))
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(why) if why.kind() == ErrorKind::NotFound && query.config.is_none() => {
            return Ok(defaults(query, operator));
        }
        Err(why) => return Err(failed(&why.to_string())),
    };
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed("its output cannot be read"));
    };
    let work = async {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (mut out, mut err) = (out.take(OUTPUT_BYTES_MAX), err.take(OUTPUT_BYTES_MAX));
        // Both at once: whoever is not read would block ssh.
        tokio::try_join!(out.read_to_end(&mut stdout), err.read_to_end(&mut stderr))?;
        Ok::<_, std::io::Error>((child.wait().await?, stdout, stderr))
    };
    let (status, stdout, stderr) = match tokio::time::timeout(SSH_TIMEOUT, work).await {
        Ok(done) => done.map_err(|why| failed(&why.to_string()))?,
        Err(_) => return Err(failed(&format!("`ssh -G` did not end within {} s", SSH_TIMEOUT.as_secs()))),
    };
    if !status.success() {
        let words = String::from_utf8_lossy(&stderr);
        let last = words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it gave no reason");
        return Err(failed(&waft_hop::stream::printable(last.as_bytes())));
    }
    Ok(parse(&String::from_utf8_lossy(&stdout), query, operator))
}

/// A name that ssh would read as an option is no host.
fn check(query: Query<'_>) -> Result<(), Problem> {
    let odd = |text: &str| {
        text.is_empty()
            || text.starts_with('-')
            || text.contains(|c: char| c.is_control() || c.is_whitespace())
    };
    if odd(query.host) {
        let bad = format!("`{}` is no host name", query.host.escape_debug());
        return Err(
            Problem::new("ssh.host", bad).hint("a host name is not empty and does not begin with `-`")
        );
    }
    match query.user {
        Some(user) if odd(user) => {
            let bad = format!("`{}` is no user name for {}", user.escape_debug(), query.host);
            Err(Problem::new("ssh.user", bad).hint("a user name is not empty and does not begin with `-`"))
        }
        _ => Ok(()),
    }
}

/// What counts when nobody configured anything.
fn defaults(query: Query<'_>, operator: &Operator) -> SshSettings {
    let ssh_dir = operator.home.as_ref().map(|home| home.join(".ssh"));
    let below = |names: &[&str]| -> Vec<PathBuf> {
        ssh_dir.iter().flat_map(|dir| names.iter().map(move |name| dir.join(name))).collect()
    };
    SshSettings {
        name: query.host.to_owned(),
        host: query.host.to_owned(),
        user: query
            .user
            .map(str::to_owned)
            .or_else(|| operator.user.clone())
            .unwrap_or_else(|| "root".to_owned()),
        port: query.port.unwrap_or(PORT),
        identities: below(&IDENTITIES),
        identities_only: false,
        certificates: Vec::new(),
        agent: operator.agent.clone(),
        user_known_hosts: below(&["known_hosts", "known_hosts2"]),
        global_known_hosts: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
            .map(PathBuf::from)
            .to_vec(),
        strict: StrictHostKey::default(),
        host_key_alias: None,
        proxy_jump: Vec::new(),
        proxy_command: None,
        connect_timeout: None,
        address_family: AddressFamily::default(),
    }
}

/// Reads what `ssh -G` printed: a key in lower case, a space, a value. What is not printed stays as by default.
pub fn parse(text: &str, query: Query<'_>, operator: &Operator) -> SshSettings {
    let lines = || {
        text.lines()
            .filter_map(|line| line.trim_end().split_once(' '))
            .map(|(key, value)| (key, value.trim()))
    };
    let all = |wanted: &'static str| lines().filter(move |(key, _)| *key == wanted).map(|(_, value)| value);
    // `none` is how ssh prints what was switched off.
    let one = |wanted: &'static str| all(wanted).next().filter(|value| !value.eq_ignore_ascii_case("none"));
    let listed = |wanted: &'static str| all(wanted).any(|_| true);

    let mut settings = defaults(query, operator);
    settings.host = one("hostname").unwrap_or(query.host).to_owned();
    settings.user = one("user").map_or(settings.user, str::to_owned);
    settings.port = one("port").and_then(|port| port.parse().ok()).unwrap_or(settings.port);
    settings.identities_only = one("identitiesonly").is_some_and(is_yes);
    settings.host_key_alias = one("hostkeyalias").map(str::to_owned);
    settings.proxy_command = one("proxycommand").map(str::to_owned);
    settings.proxy_jump =
        one("proxyjump").into_iter().flat_map(|hops| hops.split(',')).map(str::to_owned).collect();
    settings.connect_timeout = one("connecttimeout")
        .and_then(|seconds| seconds.parse().ok())
        .filter(|s| *s > 0)
        .map(Duration::from_secs);
    settings.address_family = match one("addressfamily") {
        Some("inet") => AddressFamily::V4,
        Some("inet6") => AddressFamily::V6,
        _ => AddressFamily::Any,
    };
    settings.strict = match one("stricthostkeychecking") {
        Some("accept-new") => StrictHostKey::AcceptNew,
        Some("no" | "false" | "off") => StrictHostKey::No,
        Some("yes" | "true") => StrictHostKey::Yes,
        _ => StrictHostKey::Ask,
    };
    let expand = |value: &str| expand(value, &settings, operator);
    let files = |wanted: &'static str| -> Vec<PathBuf> {
        let paths = one(wanted).into_iter().flat_map(str::split_whitespace);
        paths.filter(|path| *path != "/dev/null").filter_map(expand).collect()
    };
    let several = |wanted: &'static str| -> Vec<PathBuf> {
        all(wanted).filter(|value| !value.eq_ignore_ascii_case("none")).filter_map(expand).collect()
    };
    let (user_known, global_known) = (files("userknownhostsfile"), files("globalknownhostsfile"));
    let (identities, certificates) = (several("identityfile"), several("certificatefile"));
    let agent = match all("identityagent").next() {
        None | Some("SSH_AUTH_SOCK" | "$SSH_AUTH_SOCK" | "${SSH_AUTH_SOCK}") => operator.agent.clone(),
        Some(none) if none.eq_ignore_ascii_case("none") => None,
        Some(variable) if variable.starts_with('$') => {
            let name = variable.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
            std::env::var_os(name).map(PathBuf::from)
        }
        Some(path) => expand(path),
    };
    if listed("identityfile") {
        settings.identities = identities;
    }
    if listed("userknownhostsfile") {
        settings.user_known_hosts = user_known;
    }
    if listed("globalknownhostsfile") {
        settings.global_known_hosts = global_known;
    }
    settings.certificates = certificates;
    settings.agent = agent;
    settings
}

fn is_yes(value: &str) -> bool {
    matches!(value, "yes" | "true")
}

/// `~` and the tokens that ssh leaves in what it prints. `None` for a path that cannot be known here, which
/// is then not tried.
fn expand(path: &str, settings: &SshSettings, operator: &Operator) -> Option<PathBuf> {
    let mut text = String::new();
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next()? {
            '%' => text.push('%'),
            'd' => text.push_str(operator.home.as_ref()?.to_str()?),
            'h' => text.push_str(&settings.host),
            'k' => text.push_str(settings.host_key_alias.as_deref().unwrap_or(&settings.name)),
            'n' => text.push_str(&settings.name),
            'p' => text.push_str(&settings.port.to_string()),
            'r' => text.push_str(&settings.user),
            'u' => text.push_str(operator.user.as_ref()?),
            _ => return None,
        }
    }
    match text.strip_prefix("~/") {
        Some(below) => Some(operator.home.as_ref()?.join(below)),
        None => Some(PathBuf::from(text)),
    }
}

#[cfg(test)]
mod tests;
