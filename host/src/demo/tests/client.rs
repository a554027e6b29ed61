//! A small SSH client for the tests: real handshakes, host keys checked against the fleet's own known_hosts.

use crate::demo::{Fleet, FleetOptions};
use russh::client::{Config, Handle, Msg};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Sig};
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No test takes as long; one that hangs ends here.
pub(super) const BOUND: Duration = Duration::from_secs(30);

static NEXT_DIR: AtomicU32 = AtomicU32::new(0);

/// A folder of its own that does not exist yet.
pub(super) fn new_dir() -> PathBuf {
    let number = NEXT_DIR.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("waft-demo-test-{}-{number}", std::process::id()))
}

pub(super) async fn fleet(hosts: usize, rtt_ms: u64) -> Fleet {
    let rtt = Duration::from_millis(rtt_ms);
    Fleet::start(FleetOptions { hosts, rtt, keep: false, dir: new_dir() }).await.expect("the fleet starts")
}

/// How a command ended, and what it said.
#[derive(Default, PartialEq, Debug)]
pub(super) struct Outcome {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) code: Option<u32>,
    pub(super) signal: Option<String>,
}

impl Outcome {
    pub(super) fn code(code: u32) -> Outcome {
        Outcome { code: Some(code), ..Outcome::default() }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Trusts the keys of one file, for one address.
pub(super) struct Trust {
    host: String,
    port: u16,
    known_hosts: PathBuf,
}

impl russh::client::Handler for Trust {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        Ok(russh::keys::check_known_hosts_path(&self.host, self.port, key, &self.known_hosts)
            .unwrap_or(false))
    }
}

pub(super) struct Client {
    pub(super) handle: Handle<Trust>,
}

impl Client {
    pub(super) async fn to(fleet: &Fleet, host: &str) -> Client {
        let (ip, port) = address(fleet, host);
        let stream = TcpStream::connect((ip.as_str(), port)).await.expect("the host listens");
        stream.set_nodelay(true).expect("a fresh socket");
        Client::over(fleet, host, stream).await
    }

    pub(super) async fn over(
        fleet: &Fleet,
        host: &str,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Client {
        let key = russh::keys::load_secret_key(fleet.identity_path(), None).expect("the fleet's key");
        Client::with_key(fleet, host, stream, "demo", key).await.expect("the fleet's key opens every host")
    }

    /// None when the host refuses.
    pub(super) async fn with_key(
        fleet: &Fleet,
        host: &str,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        user: &str,
        key: PrivateKey,
    ) -> Option<Client> {
        let (ip, port) = address(fleet, host);
        let trust = Trust { host: ip, port, known_hosts: fleet.known_hosts_path() };
        let connected = russh::client::connect_stream(Arc::new(Config::default()), stream, trust);
        let mut handle =
            timeout(BOUND, connected).await.expect("in time").expect("the host key is the known one");
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let answer = handle.authenticate_publickey(user, key).await.expect("an answer");
        answer.success().then_some(Client { handle })
    }

    pub(super) async fn session(&self) -> Channel<Msg> {
        self.handle.channel_open_session().await.expect("a session channel")
    }

    pub(super) async fn start(&self, line: &str) -> Channel<Msg> {
        let channel = self.session().await;
        channel.exec(true, line).await.expect("the connection lives");
        channel
    }

    /// Runs a line with this input to its end.
    pub(super) async fn run(&self, line: &str, input: &[u8]) -> Outcome {
        let mut channel = self.start(line).await;
        let writer = channel.make_writer();
        let both = async {
            // russh does not wake a writer whose channel was closed: the outcome alone says when it is over.
            tokio::select! {
                outcome = outcome(&mut channel) => outcome,
                () = async { feed(writer, input.to_vec()).await; pending().await } => unreachable!("it is pending"),
            }
        };
        timeout(BOUND, both).await.expect("in time")
    }
}

/// Writes all of it and the end. A process that has left before is no failure here.
pub(super) async fn feed(mut writer: impl AsyncWrite + Unpin, bytes: Vec<u8>) {
    use tokio::io::AsyncWriteExt;
    for chunk in bytes.chunks(64 * 1024) {
        if writer.write_all(chunk).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// Reads until the server closes the channel.
pub(super) async fn outcome(channel: &mut Channel<Msg>) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => outcome.stdout.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, ext: 1 } => outcome.stderr.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => outcome.code = Some(exit_status),
            ChannelMsg::ExitSignal { signal_name, .. } => outcome.signal = Some(signal_word(&signal_name)),
            _ => {}
        }
    }
    outcome
}

fn signal_word(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

/// Reads output until it holds `words`; what was read.
pub(super) async fn read_until(channel: &mut Channel<Msg>, words: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(words) {
            match channel.wait().await {
                Some(ChannelMsg::Data { data }) => text.push_str(&String::from_utf8_lossy(&data)),
                Some(_) => {}
                None => panic!("the channel closed before {words:?}, after {text:?}"),
            }
        }
    };
    let in_time = timeout(BOUND, reading).await.is_ok();
    assert!(in_time, "waited for {words:?}, got {text:?}");
    text
}

/// From known_hosts' order, which is that of the hosts.
pub(super) fn address(fleet: &Fleet, host: &str) -> (String, u16) {
    let place = fleet.hosts().position(|name| name == host).expect("a host of the fleet");
    let text = std::fs::read_to_string(fleet.known_hosts_path()).expect("known_hosts");
    let line = text.lines().nth(place).expect("a line for each host");
    let (ip, rest) = line.strip_prefix('[').and_then(|line| line.split_once("]:")).expect("[ADDRESS]:PORT");
    let port = rest.split(' ').next().and_then(|port| port.parse().ok()).expect("a port");
    (ip.into(), port)
}

/// Counts what crosses it.
pub(super) struct Counted<S> {
    pub(super) stream: S,
    pub(super) read: Arc<AtomicU64>,
    pub(super) written: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.read.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = polled {
            self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
