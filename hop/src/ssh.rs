//! SSH by russh: one connection, one login, one channel. The same code dials for the controller and for a
//! relay; they differ in their [`Login`], which is where keys, passwords and known hosts live (for a relay:
//! nowhere near it, it asks the controller).

mod channel;
mod gate;
mod keys;
mod login;

pub use gate::Gate;
pub use keys::{check_host_certificate, fingerprint, is_host_certificate, key_type};

use crate::dial::{self, Dialled, Stubs};
use crate::stream::{Epitaph, LinkStream, Pending};
use channel::{FromChannel, ToChannel};
use login::log_in;
use russh::client::{self, Handle};
use russh::keys::ssh_key::EcdsaCurve;
use russh::keys::{Algorithm, PublicKeyBase64, PublicKeyOrCertificate};
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{DuplexStream, copy_bidirectional};
use tokio::net::TcpStream;
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
/// From the open channel until the stub's bytes are handed over.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(300);

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
