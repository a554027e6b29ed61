//! The SSH server of one demo host: who may come in, and what for.
//!
//! One key and one user name open every host of a fleet. Sessions run real processes as the user who started
//! the demo, with no more and no less than that user's rights: the key is the only wall, as it is on any
//! SSH server. Only the bastion opens TCP connections for its clients, and only to hosts of its own fleet.
//! Refused: passwords, agent and X11 forwarding, subsystems, listening ports, UNIX sockets.
//!
//! A handler never waits: russh calls it from the task that moves all bytes of the connection. What takes
//! time is a job of the connection, and the connection joins its jobs.

use super::backlog::{Backlog, Chunk, WINDOW_BYTES};
use super::link::{Link, PIPE_BYTES};
use super::pty::{Size, Terminal};
use super::session::{Control, Session, signal_number};
use super::tunnel::Tunnel;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, Pty, Sig, SshId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, Sender, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Open channels of one connection; sshd's default of ten is small for a bastion with one tunnel per host.
const CHANNELS_MAX: usize = 512;

/// Environment variables a client may set for one session.
const VARIABLES_MAX: usize = 32;

/// Name and value of one of them.
const VARIABLE_BYTES_MAX: usize = 4096;

/// Signals and resizes that wait for one session; what comes faster is dropped.
const CONTROLS_MAX: usize = 32;

/// For a client's first line.
const GREETING_WAIT: Duration = Duration::from_secs(30);

/// For russh to notice that its connection was cut.
const SESSION_END_WAIT: Duration = Duration::from_secs(1);

/// For the processes of a connection to end, all at once. Above what [`super::process`] takes when nothing listens.
const JOBS_END_WAIT: Duration = Duration::from_secs(3);

/// After a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One host of the fleet, as its server sees it.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) user: String,
    pub(super) home: PathBuf,
    /// The first half of all marks; see [`super::process`].
    pub(super) fleet: String,
    pub(super) link: Arc<Link>,
    pub(super) client_key: PublicKey,
    /// Where its clients may be connected to, by name and by address; empty on all but the bastion.
    pub(super) behind: HashMap<String, SocketAddr>,
    pub(super) sessions: AtomicU64,
}

impl Host {
    /// A mark that no other process of any fleet carries.
    pub(super) fn next_mark(&self) -> String {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        format!("{}.{}.{number}", self.fleet, self.name)
    }

    fn lets_in(&self, user: &str, key: &PublicKey) -> Auth {
        if user == self.user && key.key_data() == self.client_key.key_data() {
            Auth::Accept
        } else {
            Auth::reject()
        }
    }

    /// A host of the fleet that a client may be connected to.
    fn reach(&self, host: &str, port: u32) -> Option<SocketAddr> {
        self.behind.get(host).copied().filter(|address| u32::from(address.port()) == port)
    }
}

pub(super) fn config(key: PrivateKey) -> Config {
    Config {
        server_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-waft_demo_", env!("CARGO_PKG_VERSION")))),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        // The delay of a refusal protects passwords; here, it would only be felt as a slow link.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![key],
        window_size: WINDOW_BYTES,
        // An idle shell is no reason to hang up, and a keep-alive would blur the byte counts.
        inactivity_timeout: None,
        keepalive_interval: None,
        ..Config::default()
    }
}

/// Serves one host until `stop` turns true; ends what its clients started.
pub(super) async fn serve(
    listener: TcpListener,
    host: Arc<Host>,
    config: Arc<Config>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let (host, config, stop) = (Arc::clone(&host), Arc::clone(&config), stop.clone());
                    connections.spawn(connection(client, host, config, stop));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            () = told(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits for the order to stop; the fleet being gone is one too.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(
    client: TcpStream,
    host: Arc<Host>,
    config: Arc<Config>,
    mut stop: watch::Receiver<bool>,
) {
    // Without it, each small answer may wait for an acknowledgement: 40 ms. A closed socket is noticed below.
    let _ = client.set_nodelay(true);
    let backlog = Arc::new(Backlog::default());
    let jobs = Arc::new(Jobs::default());
    let (near, far) = tokio::io::duplex(PIPE_BYTES);

    let handler = Door {
        host: Arc::clone(&host),
        backlog: Arc::clone(&backlog),
        jobs: Arc::clone(&jobs),
        channels: HashMap::new(),
    };
    let head_start = host.link.far_end_delay();
    let mut session = JoinSet::new();
    session.spawn(async move {
        sleep(head_start).await;
        // How a client leaves is its own affair: every error ends this connection and nothing else.
        if let Ok(Ok(running)) = timeout(GREETING_WAIT, russh::server::run_stream(config, far, handler)).await
        {
            let _ = running.await;
        }
    });
    tokio::select! {
        () = host.link.carry(client, near, &backlog) => {}
        () = told(&mut stop) => {}
    }
    // The link is gone with its future, so the session reads its end and drops the handler; with it go the
    // inputs of all jobs, which is how they hear of it.
    let _ = timeout(SESSION_END_WAIT, session.join_next()).await;
    session.abort_all();
    let mut left = jobs.take();
    let _ = timeout(JOBS_END_WAIT, async { while left.join_next().await.is_some() {} }).await;
}

/// What runs on behalf of one connection.
#[derive(Default)]
struct Jobs(Mutex<JoinSet<()>>);

impl Jobs {
    fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(job);
    }

    fn take(&self) -> JoinSet<()> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The handler of one connection.
struct Door {
    host: Arc<Host>,
    backlog: Arc<Backlog>,
    jobs: Arc<Jobs>,
    channels: HashMap<ChannelId, Open>,
}

/// A channel, as long as the client keeps it. Dropping it tells its job that the client is gone.
struct Open {
    /// Until the client's end of input.
    input: Option<UnboundedSender<Chunk>>,
    control: Sender<Control>,
    /// Until the client says what to run.
    waiting: Option<Session>,
}

impl Door {
    /// Makes a channel's two queues; None when there are too many channels.
    fn open(&mut self, channel: Channel<Msg>) -> Option<(Open, Session)> {
        self.channels.retain(|_, open| !open.control.is_closed());
        if self.channels.len() >= CHANNELS_MAX {
            return None;
        }
        // Not bounded here but by the backlog: see there.
        let (input, input_end) = mpsc::unbounded_channel();
        let (control, control_end) = mpsc::channel(CONTROLS_MAX);
        // Without its reading half, russh delivers to the handler only, and never waits for us.
        let (_, write) = channel.split();
        let session = Session {
            write,
            input: input_end,
            control: control_end,
            environment: Vec::new(),
            terminal: None,
        };
        Some((Open { input: Some(input), control, waiting: None }, session))
    }

    fn waiting(&mut self, channel: ChannelId) -> Option<&mut Session> {
        self.channels.get_mut(&channel)?.waiting.as_mut()
    }

    /// Starts what the channel was opened for; only once.
    fn start(
        &mut self,
        channel: ChannelId,
        line: Option<Vec<u8>>,
        session: &mut russh::server::Session,
    ) -> Result<(), russh::Error> {
        match self.channels.get_mut(&channel).and_then(|open| open.waiting.take()) {
            Some(waiting) => {
                self.jobs.spawn(waiting.run(Arc::clone(&self.host), session.handle(), line));
                Ok(())
            }
            None => session.channel_failure(channel),
        }
    }

    fn send(&self, channel: ChannelId, control: Control) {
        if let Some(open) = self.channels.get(&channel) {
            // Full or gone: neither is worth stopping the connection for.
            let _ = open.control.try_send(control);
        }
    }
}

impl Handler for Door {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.host.lets_in(user, offer.public_key))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.host.lets_in(user, key.public_key))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        let id = channel.id();
        match self.open(channel) {
            Some((open, session)) => {
                self.channels.insert(id, Open { waiting: Some(session), ..open });
                reply.accept().await;
            }
            None => reply.reject(ChannelOpenFailure::ResourceShortage).await,
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        let Some(address) = self.host.reach(host, port) else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        let id = channel.id();
        match self.open(channel) {
            Some((open, Session { write, input, control, .. })) => {
                self.channels.insert(id, open);
                self.jobs.spawn(Tunnel { write, input, control }.run(address, reply, session.handle()));
            }
            None => reply.reject(ChannelOpenFailure::ResourceShortage).await,
        }
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        // sshd's usual list: anything else could change what a shell does.
        let wanted = (name == "LANG" || name.starts_with("LC_"))
            && name.len() + value.len() <= VARIABLE_BYTES_MAX
            && !name.contains(['=', '\0'])
            && !value.contains('\0');
        match self.waiting(channel) {
            Some(waiting) if wanted && waiting.environment.len() < VARIABLES_MAX => {
                waiting.environment.push((name.into(), value.into()));
                session.channel_success(channel)
            }
            _ => session.channel_failure(channel),
        }
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _pixel_width: u32,
        _pixel_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        match self.waiting(channel) {
            Some(waiting) => {
                waiting.terminal = Some(Terminal::new(term, Size { columns, rows }));
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        columns: u32,
        rows: u32,
        _pixel_width: u32,
        _pixel_height: u32,
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        self.send(channel, Control::Resize(Size { columns, rows }));
        Ok(())
    }

    async fn signal(
        &mut self,
        channel: ChannelId,
        signal: Sig,
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        if let Some(signal) = signal_number(&signal) {
            self.send(channel, Control::Signal(signal));
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        self.start(channel, Some(line.to_vec()), session)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        self.start(channel, None, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn agent_request(
        &mut self,
        channel: ChannelId,
        session: &mut russh::server::Session,
    ) -> Result<bool, Self::Error> {
        session.channel_failure(channel)?;
        Ok(false)
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        bytes: &[u8],
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        if let Some(input) = self.channels.get(&channel).and_then(|open| open.input.as_ref()) {
            // A job that has ended reads no more; its channel is about to close.
            let _ = input.send(self.backlog.hold(bytes));
        }
        Ok(())
    }

    fn adjust_window(&mut self, _channel: ChannelId, _current: u32) -> u32 {
        self.backlog.window_bytes()
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        if let Some(open) = self.channels.get_mut(&channel) {
            open.input = None;
        }
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut russh::server::Session,
    ) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        Ok(())
    }
}
