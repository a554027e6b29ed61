//! SSH by russh: one connection, one login, one channel. The same code dials for the controller and for a
//! relay; they differ in their [`Login`], which is where keys, passwords and known hosts live (for a relay:
//! nowhere near it, it asks the controller).

use crate::dial::{self, Dialled, Stubs};
use crate::driver::unix_now;
use crate::stream::{Epitaph, Incoming, LinkStream, Outgoing, Pending};
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::{self, Certificate, EcdsaCurve, HashAlg, PublicKey};
use russh::keys::{Algorithm, PublicKeyBase64, PublicKeyOrCertificate};
use russh::{ChannelMsg, MethodKind, client};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{DuplexStream, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use waft_proto::msg::{Delivery, StubKind};
use waft_proto::run::Problem;

/// Attempts at a server that closes the door before the login (MaxStartups), and the pause after the first;
/// it doubles each time and is jittered.
const KNOCKS_MAX: u32 = 6;
const KNOCK_PAUSE: Duration = Duration::from_millis(150);
/// While somebody is asked something, a login looks at its deadline this often.
const DEADLINE_STEP: Duration = Duration::from_millis(50);
/// Portions of a channel that wait to be read. With 32 KiB each this bounds the memory of a link.
const CHANNEL_PORTIONS: usize = 8;
/// What waits between a session and the one that is carried inside of it, bytes each way: more than the window of the inner
/// one (russh's 2 MiB), so that the outer never has to wait for the inner to read. It would wait for good: an inner session
/// that writes does not read until the outer has taken what it writes.
const TUNNEL_BYTES: usize = 4 << 20;
/// Public keys tried on one server; sshd gives up after 6 failures (MaxAuthTries).
const IDENTITIES_MAX: usize = 6;
/// Rounds of keyboard-interactive questions.
const QUESTION_ROUNDS_MAX: usize = 4;

/// What the session is about: proof that a request to sign belongs to this host and this connection.
#[derive(Clone)]
pub struct Binding {
    pub host_key: Vec<u8>,
    pub session_id: Vec<u8>,
    pub host_signature: Vec<u8>,
}

/// Who logs in, and whom they trust.
pub trait Login: Send + Sync {
    /// The addresses of a host, best first. The error ends the sentence "the name could not be resolved: ".
    ///
    /// Not done here: the controller asks its libc, and a static program has none that could.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Pending<'a, Result<Vec<SocketAddr>, String>>;
    /// Public keys and certificates to try, SSH wire form, best first.
    fn identities(&self) -> Pending<'_, Vec<Vec<u8>>>;
    /// The signature blob (algorithm and bytes) over `to_sign` by that identity.
    fn sign<'a>(
        &'a self,
        binding: Binding,
        identity: &'a [u8],
        algorithm: String,
        to_sign: Vec<u8>,
    ) -> Pending<'a, Result<Vec<u8>, Problem>>;
    /// A password, or the answer to a question of the server; `None`: there is none to give.
    fn answer<'a>(&'a self, question: &'a str) -> Pending<'a, Option<String>>;
    /// For how long people were asked something until now: no login's deadline runs meanwhile.
    fn time_asked(&self) -> Duration {
        Duration::ZERO
    }
    /// Whether that key (or certificate, wire form) is this host's.
    fn check_host_key<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<(), Problem>>;
    /// Names of the key types known for this host, so that it shows a key we can judge.
    fn host_key_types(&self) -> Vec<String>;
    /// Whether an authority is known that may vouch for this host.
    fn knows_authority(&self) -> bool;
}

/// Where to.
#[derive(Clone, Debug)]
pub struct Address {
    /// As the user knows it, for messages.
    pub name: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    /// From the first packet to the end of the login.
    pub timeout: Duration,
}

impl Address {
    /// `web1`, or `web1 (10.0.0.5:22)` when that says more.
    fn shown(&self) -> String {
        let colons = self.host.contains(':');
        let host = if colons { format!("[{}]", self.host) } else { self.host.clone() };
        let address = format!("{host}:{}", self.port);
        // As typed it may have a user in front.
        let typed = self.name.rsplit('@').next() == Some(&address);
        if typed || (self.name == self.host && self.port == 22) {
            self.name.clone()
        } else {
            format!("{} ({address})", self.name)
        }
    }
}

/// A session that is logged in.
pub struct Session {
    handle: Handle<Watch>,
    address: Address,
    /// The session whose tunnel carries this one.
    carrier: Option<Box<Session>>,
}

struct Watch {
    login: Arc<dyn Login>,
    /// Why the host key was refused: russh only says that it was.
    refusal: Arc<Mutex<Option<Problem>>>,
}

impl client::Handler for Watch {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let key = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.public_key_bytes(),
            PublicKeyOrCertificate::Certificate(certificate) => certificate.to_bytes()?,
        };
        match self.login.check_host_key(&key).await {
            Ok(()) => Ok(true),
            Err(problem) => {
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
                Ok(false)
            }
        }
    }
}

/// Connects and logs in over TCP.
pub async fn connect(address: &Address, login: Arc<dyn Login>) -> Result<Session, Problem> {
    within(address, login.as_ref(), async {
        let addresses =
            login.resolve(&address.host, address.port).await.map_err(|why| unresolved(address, &why))?;
        let mut knock = 0;
        loop {
            let socket = TcpStream::connect(addresses.as_slice())
                .await
                .map_err(|error| unreachable(address, &error))?;
            // Most tools lose 42 ms a step to Nagle's algorithm against delayed acknowledgements.
            socket.set_nodelay(true).map_err(|error| unreachable(address, &error))?;
            match handshake(address, login.clone(), socket).await {
                Err(Handshake::Door) if knock + 1 < KNOCKS_MAX => {
                    let jitter =
                        Duration::from_millis(u64::from(std::process::id().wrapping_mul(knock + 7919) % 97));
                    tokio::time::sleep(KNOCK_PAUSE * 2u32.pow(knock) + jitter).await;
                    knock += 1;
                }
                Err(Handshake::Door) => {
                    return Err(Problem::new(
                        "ssh.closed",
                        format!(
                            "{} closed the connection {KNOCKS_MAX} times before the login",
                            address.shown()
                        ),
                    )
                    .hint("its sshd may limit logins at a time (MaxStartups), or refuse this address"));
                }
                Err(Handshake::Problem(problem)) => return Err(problem),
                Ok(mut session) => {
                    log_in(&mut session, address, login.as_ref()).await?;
                    return Ok(session);
                }
            }
        }
    })
    .await
}

/// Connects and logs in over a stream that somebody else opened (tunnel mode).
pub async fn connect_over<S>(address: &Address, login: Arc<dyn Login>, stream: S) -> Result<Session, Problem>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    within(address, login.as_ref(), async {
        match handshake(address, login.clone(), stream).await {
            Ok(mut session) => {
                log_in(&mut session, address, login.as_ref()).await?;
                Ok(session)
            }
            Err(Handshake::Problem(problem)) => Err(problem),
            Err(Handshake::Door) => Err(Problem::new(
                "ssh.closed",
                format!("{} closed the connection before the login", address.shown()),
            )),
        }
    })
    .await
}

/// Does a login within its time, in which the time that people took for answers does not count.
async fn within<T>(
    address: &Address,
    login: &dyn Login,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let (began, asked_before) = (tokio::time::Instant::now(), login.time_asked());
    let mut work = std::pin::pin!(work);
    loop {
        let asked = login.time_asked().saturating_sub(asked_before);
        let spent = began.elapsed().saturating_sub(asked);
        if spent >= address.timeout {
            let seconds = address.timeout.as_secs();
            let message = format!("{} did not complete the login within {seconds} s", address.shown());
            return Err(Problem::new("ssh.timeout", message)
                .hint("is it up, and is a firewall in between? `connect_timeout` gives it longer"));
        }
        let left = (address.timeout - spent).max(DEADLINE_STEP);
        if let Ok(done) = tokio::time::timeout(left, work.as_mut()).await {
            return done;
        }
    }
}

enum Handshake {
    /// Closed before anything was said: perhaps only busy.
    Door,
    Problem(Problem),
}

async fn handshake<S>(address: &Address, login: Arc<dyn Login>, stream: S) -> Result<Session, Handshake>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let refusal = Arc::new(Mutex::new(None));
    let config = Arc::new(config(login.as_ref()));
    let watch = Watch { login, refusal: refusal.clone() };
    match client::connect_stream(config, stream, watch).await {
        Ok(handle) => Ok(Session { handle, address: address.clone(), carrier: None }),
        Err(error) => {
            if let Some(problem) = refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Err(Handshake::Problem(problem));
            }
            Err(match error {
                russh::Error::Disconnect | russh::Error::HUP => Handshake::Door,
                russh::Error::IO(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::BrokenPipe
                    ) =>
                {
                    Handshake::Door
                }
                error => Handshake::Problem(Problem::new(
                    "ssh.handshake",
                    format!("no SSH session with {}: {}", address.shown(), said(&error)),
                )),
            })
        }
    }
}

/// russh's own sentence, except where it would print Rust.
fn said(error: &russh::Error) -> String {
    match error {
        russh::Error::NoCommonAlgo { ours, theirs, .. } => {
            format!("no algorithm in common (ours: {}; theirs: {})", ours.join(", "), theirs.join(", "))
        }
        russh::Error::ChannelOpenFailure(_) => "it would not open a channel".to_owned(),
        error => error.to_string(),
    }
}

fn config(login: &dyn Login) -> client::Config {
    let mut config = client::Config {
        channel_buffer_size: CHANNEL_PORTIONS,
        inactivity_timeout: None,
        nodelay: true,
        ..Default::default()
    };
    // Known types first, as ssh does: else a host could only show keys that we cannot judge.
    let known = login.host_key_types();
    let (first, rest): (Vec<Algorithm>, Vec<Algorithm>) =
        config.preferred.key.iter().cloned().partition(|algorithm| {
            let name = algorithm.to_string();
            known.iter().any(|known| *known == name || (known == "ssh-rsa" && name.starts_with("rsa-sha2")))
        });
    config.preferred.key = Cow::Owned(first.into_iter().chain(rest).collect());
    if login.knows_authority() {
        config.preferred.host_key_certificates = Cow::Owned(vec![
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        ]);
    }
    config
}

fn unresolved(address: &Address, why: &str) -> Problem {
    Problem::new("ssh.resolve", format!("the name {} could not be resolved: {why}", address.host))
        .hint("check the spelling, or give the address with `host` in the inventory")
}

fn unreachable(address: &Address, error: &io::Error) -> Problem {
    let shown = address.shown();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Problem::new("ssh.refused", format!("{shown} refused the connection"))
                .hint("is sshd running on that port?")
        }
        io::ErrorKind::TimedOut => Problem::new("ssh.timeout", format!("{shown} does not answer")),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Problem::new("ssh.route", format!("there is no route to {shown}"))
        }
        _ => Problem::new("ssh.connect", format!("no connection to {shown}: {error}")),
    }
}

/// Public keys first, then questions (keyboard-interactive), then a password, as far as the server offers
/// them and the login has something to offer.
async fn log_in(session: &mut Session, address: &Address, login: &dyn Login) -> Result<(), Problem> {
    let lost = |error: russh::Error| {
        Problem::new(
            "ssh.closed",
            format!("{} ended the session during the login: {}", address.shown(), said(&error)),
        )
    };
    let mut offered: Option<russh::MethodSet> = None;
    let mut refusal = None;
    let mut tried = 0;
    for identity in login.identities().await.into_iter().take(IDENTITIES_MAX) {
        if offered.as_ref().is_some_and(|methods| !methods.contains(&MethodKind::PublicKey)) {
            break;
        }
        let mut signer = Signer { login, binding: binding(session, address)?, identity: &identity };
        let certificate = Certificate::from_bytes(&identity).ok();
        let result = match certificate {
            Some(certificate) => {
                let hash = rsa_hash(&certificate.algorithm());
                session
                    .handle
                    .authenticate_certificate_with(&address.user, certificate, hash, &mut signer)
                    .await
            }
            None => {
                let Ok(key) = PublicKey::from_bytes(&identity) else { continue };
                let hash = rsa_hash(&key.algorithm());
                session.handle.authenticate_publickey_with(&address.user, key, hash, &mut signer).await
            }
        };
        tried += 1;
        match result {
            Ok(AuthResult::Success) => return Ok(()),
            Ok(AuthResult::Failure { remaining_methods, .. }) => offered = Some(remaining_methods),
            Err(Refused::Problem(problem)) => refusal = Some(problem),
            Err(Refused::Ssh(error)) => return Err(lost(error)),
        }
    }
    if let Some(problem) = refusal {
        return Err(problem);
    }
    let offered = match offered {
        Some(offered) => offered,
        None => match session.handle.authenticate_none(&address.user).await.map_err(lost)? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => remaining_methods,
        },
    };
    if offered.contains(&MethodKind::Password)
        && let Some(password) = login.answer(&format!("{}@{}'s password: ", address.user, address.name)).await
        && session.handle.authenticate_password(&address.user, password).await.map_err(lost)?.success()
    {
        return Ok(());
    }
    if offered.contains(&MethodKind::KeyboardInteractive)
        && questions(session, address, login).await.map_err(lost)?
    {
        return Ok(());
    }
    let methods: Vec<&str> = offered.iter().map(<&str>::from).collect();
    let asks = offered.contains(&MethodKind::Password) || offered.contains(&MethodKind::KeyboardInteractive);
    let passwords = if asks {
        "; a password is asked for at a terminal, behind a hop only with `via_mode = \"tunnel\"`"
    } else {
        ""
    };
    Err(Problem::new(
        "ssh.auth",
        format!(
            "{} refused the login of {} ({tried} keys tried; it accepts: {})",
            address.shown(),
            address.user,
            if methods.is_empty() { "nothing more".to_owned() } else { methods.join(", ") }
        ),
    )
    .hint(format!(
        "check the user and the key (`--identity`, `identity` in the inventory, or a running ssh-agent){passwords}"
    )))
}

fn rsa_hash(algorithm: &Algorithm) -> Option<HashAlg> {
    matches!(algorithm, Algorithm::Rsa { .. }).then_some(HashAlg::Sha512)
}

async fn questions(
    session: &mut Session,
    address: &Address,
    login: &dyn Login,
) -> Result<bool, russh::Error> {
    let mut reply = session.handle.authenticate_keyboard_interactive_start(&address.user, None).await?;
    for _ in 0..QUESTION_ROUNDS_MAX {
        let prompts = match reply {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
        };
        let mut answers = Vec::new();
        for prompt in prompts {
            match login.answer(&prompt.prompt).await {
                Some(answer) => answers.push(answer),
                None => return Ok(false),
            }
        }
        reply = session.handle.authenticate_keyboard_interactive_respond(answers).await?;
    }
    Ok(false)
}

fn binding(session: &Session, address: &Address) -> Result<Binding, Problem> {
    let binding = session.handle.agent_session_binding().ok_or_else(|| {
        Problem::new(
            "ssh.handshake",
            format!("the session with {} has no identity to sign for", address.shown()),
        )
    })?;
    Ok(Binding {
        host_key: binding.host_key().to_vec(),
        session_id: binding.session_id().to_vec(),
        host_signature: binding.signature().to_vec(),
    })
}

struct Signer<'a> {
    login: &'a dyn Login,
    binding: Binding,
    identity: &'a [u8],
}

enum Refused {
    Problem(Problem),
    Ssh(russh::Error),
}

impl From<russh::SendError> for Refused {
    fn from(_: russh::SendError) -> Refused {
        Refused::Ssh(russh::Error::SendError)
    }
}

impl russh::Signer for Signer<'_> {
    type Error = Refused;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash_alg: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Refused> {
        let algorithm = match key {
            AgentIdentity::PublicKey { key, .. } => key.algorithm(),
            AgentIdentity::Certificate { certificate, .. } => certificate.algorithm(),
        };
        let algorithm = match algorithm {
            Algorithm::Rsa { .. } => Algorithm::Rsa { hash: hash_alg },
            other => other,
        };
        let algorithm = algorithm.to_string();
        let signature = self
            .login
            .sign(self.binding.clone(), self.identity, algorithm, to_sign.clone())
            .await
            .map_err(Refused::Problem)?;
        // russh wants the request with the signature behind it, as an SSH string.
        let length = u32::try_from(signature.len()).unwrap_or(u32::MAX);
        to_sign.extend_from_slice(&length.to_be_bytes());
        to_sign.extend_from_slice(&signature);
        Ok(to_sign)
    }
}

/// Whether a host certificate is good for a name: signed by one of the authorities, a host certificate,
/// for this name, and valid now.
pub fn check_host_certificate(
    certificate: &Certificate,
    name: &str,
    authorities: &[PublicKey],
    now_unix: u64,
) -> Result<(), String> {
    if !certificate.cert_type().is_host() {
        return Err("it is a user's certificate".to_owned());
    }
    let principals = certificate.valid_principals();
    if !principals.is_empty() && !principals.iter().any(|principal| principal == name) {
        return Err(format!("it is for {}", principals.join(", ")));
    }
    let fingerprints: Vec<_> = authorities.iter().map(|key| key.fingerprint(HashAlg::Sha256)).collect();
    certificate
        .validate_at(now_unix, fingerprints.iter())
        .map_err(|_| "no known authority signed it, or its time is over".to_owned())
}

/// The same for wire forms: whether `key` is such a certificate.
pub fn is_host_certificate(key: &[u8], name: &str, authorities: &[Vec<u8>]) -> bool {
    let authorities: Vec<PublicKey> =
        authorities.iter().filter_map(|authority| PublicKey::from_bytes(authority).ok()).collect();
    Certificate::from_bytes(key)
        .is_ok_and(|certificate| check_host_certificate(&certificate, name, &authorities, unix_now()).is_ok())
}

impl Session {
    /// Keeps the session that this one goes through.
    pub fn keeping(self, carrier: Session) -> Session {
        Session { carrier: Some(Box::new(carrier)), ..self }
    }

    /// Runs a command line and gives its stdin and stdout as a stream. Nothing waits for the server's yes:
    /// what is written follows at once.
    pub async fn exec(self, line: &str) -> Result<LinkStream, Problem> {
        let shown = self.address.shown();
        let lost = |error: russh::Error| {
            Problem::new("ssh.channel", format!("{shown} opened no channel for the stub: {}", said(&error)))
                .hint("its sshd may allow no sessions (MaxSessions, ForceCommand)")
        };
        let channel = self.handle.channel_open_session().await.map_err(lost)?;
        channel.exec(true, line).await.map_err(lost)?;
        let (from, to) = channel.split();
        let epitaph = Epitaph::default();
        Ok(LinkStream {
            incoming: Box::new(FromChannel { from, epitaph: epitaph.clone() }),
            outgoing: Box::new(ToChannel(to)),
            epitaph,
            guard: Box::new((self.handle, self.carrier)),
        })
    }

    /// A stream through this host to another, as ssh's ProxyJump does: this host sees only ciphertext.
    pub async fn tunnel(&self, host: &str, port: u16) -> Result<DuplexStream, Problem> {
        let channel =
            self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await.map_err(
                |error| {
                    Problem::new(
                        "ssh.tunnel",
                        format!("{} opened no way to {host}:{port}: {}", self.address.shown(), said(&error)),
                    )
                    .hint("the host may be down, or forwarding forbidden there (AllowTcpForwarding)")
                },
            )?;
        let mut channel = channel.into_stream();
        let (ours, mut theirs) = tokio::io::duplex(TUNNEL_BYTES);
        // Ends with either side, and the other then sees that end.
        tokio::spawn(async move { copy_bidirectional(&mut channel, &mut theirs).await });
        Ok(ours)
    }
}

struct FromChannel {
    from: russh::ChannelReadHalf,
    epitaph: Epitaph,
}

impl Incoming for FromChannel {
    fn next(&mut self) -> Pending<'_, Option<Vec<u8>>> {
        Box::pin(async {
            loop {
                match self.from.wait().await? {
                    ChannelMsg::Data { data } if !data.is_empty() => return Some(data.to_vec()),
                    ChannelMsg::ExtendedData { data, .. } => self.epitaph.stderr(&data),
                    ChannelMsg::ExitStatus { exit_status } => {
                        self.epitaph.exit(format!("exit status {exit_status}"));
                    }
                    ChannelMsg::ExitSignal { signal_name, .. } => {
                        let name = match signal_name {
                            russh::Sig::Custom(name) => name,
                            name => format!("{name:?}"),
                        };
                        self.epitaph.exit(format!("killed by SIG{name}"));
                    }
                    ChannelMsg::Failure => {
                        self.epitaph.exit("the server refused to run a command");
                        return None;
                    }
                    ChannelMsg::Close => return None,
                    _ => {}
                }
            }
        })
    }
}

struct ToChannel(russh::ChannelWriteHalf<client::Msg>);

impl Outgoing for ToChannel {
    fn send(&mut self, bytes: Vec<u8>) -> Pending<'_, io::Result<()>> {
        Box::pin(async move {
            self.0.data_bytes(bytes).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
        })
    }
}

/// The key type's name of a public key in wire form: `ssh-ed25519`.
pub fn key_type(wire: &[u8]) -> Option<String> {
    let length = usize::try_from(u32::from_be_bytes(*wire.first_chunk::<4>()?)).ok()?;
    let name = wire.get(4..4usize.checked_add(length)?)?;
    String::from_utf8(name.to_vec()).ok()
}

/// `ssh-ed25519 SHA256:...`, for messages about keys.
pub fn fingerprint(wire: &[u8]) -> String {
    match PublicKey::from_bytes(wire) {
        Ok(key) => format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256)),
        Err(_) => match Certificate::from_bytes(wire) {
            Ok(certificate) => format!(
                "certificate {}",
                ssh_key::PublicKey::from(certificate.public_key().clone()).fingerprint(HashAlg::Sha256)
            ),
            Err(_) => "of an unknown kind".to_owned(),
        },
    }
}

/// Logins under way at one sshd, at most; its MaxStartups begins to refuse at 10.
const LOGINS_PER_SERVER_MAX: usize = 8;
/// Logins under way in all: each costs both ends some milliseconds of CPU and us a descriptor.
const LOGINS_MAX: usize = 64;
/// From the open channel until the stub's bytes are handed over.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(300);

/// Bounds the logins that are under way at a time. One per node that dials.
pub struct Gate {
    all: Semaphore,
    servers: Mutex<HashMap<(String, u16), Arc<Semaphore>>>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { all: Semaphore::new(LOGINS_MAX), servers: Mutex::default() }
    }
}

impl Gate {
    fn server(&self, address: &Address) -> Arc<Semaphore> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address.host.clone(), address.port);
        servers.entry(key).or_insert_with(|| Arc::new(Semaphore::new(LOGINS_PER_SERVER_MAX))).clone()
    }

    /// Does a login when there is room for it. The login's own time begins then.
    pub async fn pass<T>(&self, address: &Address, login: impl Future<Output = T>) -> T {
        let server = self.server(address);
        let _one = server.acquire().await;
        let _any = self.all.acquire().await;
        login.await
    }
}

/// From a session to a stub that is being started on it.
pub async fn deliver(
    session: Session,
    kind: StubKind,
    delivery: &Delivery,
    stubs: &dyn Stubs,
) -> Result<Dialled, Problem> {
    let host = session.address.name.clone();
    let work = async {
        let stream = session.exec(&dial::command(delivery)?).await?;
        dial::deliver(&host, kind, delivery, stubs, stream).await
    };
    tokio::time::timeout(DELIVERY_DEADLINE, work).await.unwrap_or_else(|_| {
        Err(Problem::new(
            "delivery.timeout",
            format!("{host} did not take its stub within {} s", DELIVERY_DEADLINE.as_secs()),
        ))
    })
}
