//! A hop's own dialling: SSH sessions to the targets behind it, with nobody's keys.
//!
//! Every secret step goes up: a signature is asked of the controller together with the proof of what it is
//! for; a host key is compared with those that the controller sent. There is nothing here to steal but the
//! sessions themselves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use waft_hop::dial::{Dialled, Stubs};
use waft_hop::ssh::{self, Address, Binding, Gate, Login};
use waft_hop::stream::Pending;
use waft_proto::id::{Hash, NodeId};
use waft_proto::msg::{Arch, Dial, DialTarget, SignRequest, StubBlob, StubKind};
use waft_proto::run::Problem;
use waft_stub::resolve::Resolver;

/// The controller's answer to a request for a signature.
pub(crate) type Signature = Result<Vec<u8>, Problem>;
/// A whole blob.
pub(crate) type Blob = Arc<[u8]>;

/// What a dial asks of the loop that owns the node.
pub(crate) enum Ask {
    Dialled { node: NodeId, name: String, dialled: Box<Dialled> },
    Failed { node: NodeId, problem: Problem },
    Sign { request: Box<SignRequest>, reply: oneshot::Sender<Signature> },
    Blob { hash: Hash, reply: oneshot::Sender<Option<Blob>> },
}

/// Questions of dials that wait for the loop.
const ASKS: usize = 64;
/// How long the bytes of a stub may take to come down, once they are needed.
const STUB_DEADLINE: Duration = Duration::from_secs(300);

pub(crate) struct Relay {
    asks: mpsc::Sender<Ask>,
    gate: Arc<Gate>,
    /// For a second attempt without assumptions.
    orders: HashMap<NodeId, Arc<Job>>,
    tasks: tokio::task::JoinSet<()>,
}

struct Job {
    target: DialTarget,
    stubs: Vec<StubBlob>,
    identities: Vec<Vec<u8>>,
    timeout: Duration,
    /// Why it is dialled once more.
    again: Option<Problem>,
}

impl Relay {
    pub(crate) fn new() -> (Relay, mpsc::Receiver<Ask>) {
        let (asks, receiver) = mpsc::channel(ASKS);
        let relay = Relay {
            asks,
            gate: Arc::new(Gate::default()),
            orders: HashMap::new(),
            tasks: tokio::task::JoinSet::new(),
        };
        (relay, receiver)
    }

    pub(crate) fn dial(&mut self, dial: Dial) {
        for target in dial.targets {
            let job = Arc::new(Job {
                stubs: dial.stubs.clone(),
                identities: dial.identities.clone(),
                timeout: Duration::from_millis(u64::from(dial.connect_ms)),
                again: None,
                target,
            });
            self.orders.insert(job.target.node, job.clone());
            self.start(job);
        }
    }

    /// What was remembered of a target did not hold: asks it this time.
    pub(crate) fn redial(&mut self, node: NodeId, problem: Problem) {
        let Some(job) = self.orders.get(&node) else { return };
        let mut target = job.target.clone();
        target.delivery.remembered = None;
        let job = Job {
            target,
            stubs: job.stubs.clone(),
            identities: job.identities.clone(),
            timeout: job.timeout,
            again: Some(problem),
        };
        self.start(Arc::new(job));
    }

    fn start(&mut self, job: Arc<Job>) {
        while self.tasks.try_join_next().is_some() {}
        let (asks, gate) = (self.asks.clone(), self.gate.clone());
        self.tasks.spawn(async move {
            let node = job.target.node;
            let ask = match dial(&job, asks.clone(), &gate).await {
                Ok(dialled) => {
                    Ask::Dialled { node, name: job.target.name.clone(), dialled: Box::new(dialled) }
                }
                // What went wrong first says more: the controller signs for one login only.
                Err(problem) => Ask::Failed { node, problem: job.again.clone().unwrap_or(problem) },
            };
            let _ = asks.send(ask).await;
        });
    }
}

async fn dial(job: &Job, asks: mpsc::Sender<Ask>, gate: &Gate) -> Result<Dialled, Problem> {
    let target = &job.target;
    let address = Address {
        name: target.name.clone(),
        host: target.host.clone(),
        port: target.port,
        user: target.user.clone(),
        timeout: job.timeout,
    };
    let login =
        Arc::new(Relayed { target: target.clone(), identities: job.identities.clone(), asks: asks.clone() });
    let session = gate.pass(&address, ssh::connect(&address, login)).await?;
    let stubs = FromStore { stubs: &job.stubs, asks };
    ssh::deliver(session, target.kind, &target.delivery, &stubs).await
}

struct Relayed {
    target: DialTarget,
    identities: Vec<Vec<u8>>,
    asks: mpsc::Sender<Ask>,
}

fn gone() -> Problem {
    Problem::new("relay.stopping", "the hop is stopping")
}

impl Login for Relayed {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Pending<'a, Result<Vec<SocketAddr>, String>> {
        Box::pin(async move { Resolver::here().resolve(host, port).await })
    }

    fn identities(&self) -> Pending<'_, Vec<Vec<u8>>> {
        Box::pin(async { self.identities.clone() })
    }

    fn sign<'a>(
        &'a self,
        binding: Binding,
        identity: &'a [u8],
        algorithm: String,
        to_sign: Vec<u8>,
    ) -> Pending<'a, Result<Vec<u8>, Problem>> {
        let request = Box::new(SignRequest {
            node: self.target.node,
            host_key: binding.host_key,
            session_id: binding.session_id,
            host_signature: binding.host_signature,
            user: self.target.user.clone(),
            public_key: identity.to_vec(),
            algorithm,
            to_sign,
        });
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.asks.send(Ask::Sign { request, reply }).await.map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        })
    }

    /// Passwords never go through a relay's hands.
    fn answer<'a>(&'a self, _question: &'a str) -> Pending<'a, Option<String>> {
        Box::pin(async { None })
    }

    fn check_host_key<'a>(&'a self, key: &'a [u8]) -> Pending<'a, Result<(), Problem>> {
        Box::pin(async move {
            let known = self.target.host_keys.iter().any(|known| known == key)
                || ssh::is_host_certificate(key, &self.target.host, &self.target.host_cas);
            if known {
                return Ok(());
            }
            let name = &self.target.name;
            Err(Problem::new(
                "ssh.host_key",
                format!("{name} showed a host key that the controller does not know for it: {}", ssh::fingerprint(key)),
            )
            .hint("behind a hop only known host keys are accepted; check it, then add it to known_hosts, or use via_mode = \"tunnel\""))
        })
    }

    fn host_key_types(&self) -> Vec<String> {
        self.target.host_keys.iter().filter_map(|key| ssh::key_type(key)).collect()
    }

    fn knows_authority(&self) -> bool {
        !self.target.host_cas.is_empty()
    }
}

/// Stubs as they come down from the controller.
struct FromStore<'a> {
    stubs: &'a [StubBlob],
    asks: mpsc::Sender<Ask>,
}

impl Stubs for FromStore<'_> {
    fn choose(&self, arch: Arch, kind: StubKind) -> Option<StubBlob> {
        self.stubs.iter().find(|stub| stub.arch == arch && stub.kind == kind).cloned()
    }

    fn bytes(&self, stub: &StubBlob) -> Pending<'_, Result<Arc<[u8]>, Problem>> {
        let hash = stub.hash;
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.asks.send(Ask::Blob { hash, reply }).await.map_err(|_| gone())?;
            let bytes = tokio::time::timeout(STUB_DEADLINE, answer).await;
            bytes.ok().and_then(Result::ok).flatten().ok_or_else(|| {
                Problem::new(
                    "delivery.stub",
                    format!("the stub {} did not reach this hop whole", hash.short()),
                )
            })
        })
    }
}
